//! `download`: downloads a bundle as a ZIP file, or one artifact.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use tara_export_client::{
    ArtifactDownload, BundleDownload, Client, ClientError, file_name_violation,
};
use tempfile::NamedTempFile;
use tokio::{fs::File, io::AsyncWriteExt as _};

use super::{
    CliError, ExitStatus, Output, ServerArguments, format::printable, format::size,
    progress::style, resource_name,
};

/// Arguments of `download`.
#[derive(Debug, Args)]
pub struct DownloadCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
    /// Export, as exports/ID or ID
    pub name: String,
    /// Artifact to download, such as manifest.json; by default, the complete bundle as a ZIP file
    #[arg(long, value_name = "PATH")]
    pub artifact: Option<String>,
    /// File to write, or folder to write it to; by default, a file in the current folder, named after the
    /// bundle's folder or the artifact
    #[arg(long, value_name = "PATH")]
    pub output: Option<PathBuf>,
}

impl DownloadCommand {
    /// Downloads into a new file and never replaces an existing one.
    ///
    /// # Errors
    /// If the call fails, the content is damaged or the file exists.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let name = resource_name(&self.name);
        let download = match &self.artifact {
            Some(path) => Download::Artifact(Box::new(client.open_artifact(name, path).await?)),
            None => Download::Bundle(Box::new(client.open_bundle(name).await?)),
        };
        let target = self.target(download.file_name())?;
        let size_bytes = write_new_file(download, &target, out).await?;
        out.line(&format!("{}  {}", printable(&target.to_string_lossy()), size(size_bytes)))?;
        Ok(ExitStatus::Done)
    }

    /// The path of the new file.
    fn target(&self, file_name: &str) -> Result<PathBuf, CliError> {
        let target = match &self.output {
            Some(output) if !output.is_dir() => output.clone(),
            folder => {
                let folder = folder.clone().unwrap_or_default();
                folder.join(checked_file_name(file_name)?)
            }
        };
        // Fail before the download rather than after it. The rename checks again.
        if target.symlink_metadata().is_ok() {
            return Err(CliError::Exists(target.display().to_string()));
        }
        Ok(target)
    }
}

/// Accepts the server's file name only if it is valid and cannot leave the folder.
fn checked_file_name(name: &str) -> Result<&str, CliError> {
    match file_name_violation(name) {
        None => Ok(name),
        Some(reason) => Err(CliError::FileName { name: printable(name), reason }),
    }
}

enum Download {
    Artifact(Box<ArtifactDownload>),
    Bundle(Box<BundleDownload>),
}

impl Download {
    /// The default name of the new file.
    fn file_name(&self) -> &str {
        match self {
            Self::Artifact(download) => {
                let path = &download.artifact().path;
                path.rsplit('/').next().unwrap_or(path)
            }
            Self::Bundle(download) => &download.archive().file_name,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self {
            Self::Artifact(download) => download.next().await,
            Self::Bundle(download) => download.next().await,
        }
    }

    /// A bar if the size is known, a counter otherwise.
    fn bar(&self, out: &Output) -> ProgressBar {
        if !out.stderr_is_terminal() {
            return ProgressBar::hidden();
        }
        let (bar, template) = match self {
            Self::Artifact(download) => {
                let length = download.artifact().size_bytes.try_into().unwrap_or_default();
                (ProgressBar::new(length), "{bar:30} {bytes} of {total_bytes}  {bytes_per_sec}")
            }
            Self::Bundle(_) => (ProgressBar::new_spinner(), "{spinner} {bytes}  {bytes_per_sec}"),
        };
        bar.with_style(style(template))
    }
}

/// Writes to a temporary file beside the target and renames it when it is complete.
async fn write_new_file(
    mut download: Download,
    target: &Path,
    out: &Output,
) -> Result<i64, CliError> {
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = new_temporary_file(folder)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))?;
    let mut file = File::from_std(temporary.as_file().try_clone()?);
    let bar = download.bar(out);
    let mut size_bytes = 0;
    while let Some(data) = download.next().await? {
        file.write_all(&data).await?;
        bar.inc(data.len() as u64);
        size_bytes += data.len() as i64;
    }
    bar.finish_and_clear();
    file.flush().await?;
    file.sync_all().await?;
    temporary.persist_noclobber(target).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => CliError::Exists(target.display().to_string()),
        _ => CliError::Write(error.error),
    })?;
    Ok(size_bytes)
}

/// A temporary file with the default permissions of a new file instead of owner-only ones.
fn new_temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tara-export-").suffix(".part");
    #[cfg(unix)]
    {
        use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};
        builder.permissions(Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
