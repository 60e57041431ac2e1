//! `download`: downloads a bundle as a ZIP file, or one artifact.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use tara_export_client::{
    ArtifactDownload, BundleDownload, Client, ClientError, file_name_violation,
};
use tempfile::NamedTempFile;
use tokio::{fs::File, io::AsyncWriteExt as _};

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{printable, printable_json, size},
    names::export_name,
    progress::style,
};

/// Arguments of `download`.
#[derive(Debug, Args)]
pub struct DownloadCommand {
    /// Export, as exports/ID, an ID or its start, or the bundle's folder
    pub name: String,
    /// Artifact to download, such as manifest.json; by default, the complete bundle as a ZIP file
    #[arg(long, value_name = "PATH")]
    pub artifact: Option<String>,
    /// File to write, folder to write it to, or - for standard output; by default, a file in the current folder, named
    /// after the bundle's folder or the artifact
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Print the file and its size as one line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

/// The output that means standard output.
const STDOUT: &str = "-";

impl DownloadCommand {
    /// Downloads into a new file and never replaces an existing one.
    ///
    /// # Errors
    /// If the call fails, the content is damaged or the file exists.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let name = export_name(&client, &self.name).await?;
        let failed = |error| self.server.with_next(error, &name, None);
        let download = match &self.artifact {
            Some(path) => {
                let artifact = client.open_artifact(&name, path).await.map_err(failed)?;
                Download::Artifact(Box::new(artifact))
            }
            None => {
                let bundle = client.open_bundle(&name).await.map_err(failed)?;
                Download::Bundle(Box::new(bundle))
            }
        };
        if self.output.as_deref() == Some(Path::new(STDOUT)) {
            return write_to_stdout(download, self.json, out).await;
        }
        let target = self.target(download.file_name())?;
        let size_bytes = write_new_file(download, &target, out).await?;
        if self.json {
            let file = json!({ "file": target.to_string_lossy(), "sizeBytes": size_bytes });
            out.line(&printable_json(&file.to_string()))?;
            return Ok(ExitStatus::Done);
        }
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

/// Writes the bytes to standard output, and nothing else. A failure after the first bytes leaves an incomplete output;
/// the exit code reports it.
async fn write_to_stdout(
    mut download: Download,
    is_json: bool,
    out: &mut Output,
) -> Result<ExitStatus, CliError> {
    if is_json {
        let message = "--json prints a line on standard output, and so does --output -: leave out one of them";
        return Err(CliError::Usage(message.to_owned()));
    }
    if out.stdout_is_terminal() {
        let message =
            "standard output is a terminal: redirect it, or choose a file with --output FILE";
        return Err(CliError::Usage(message.to_owned()));
    }
    while !out.is_closed()
        && let Some(data) = download.next().await?
    {
        out.bytes(&data)?;
    }
    Ok(if out.is_closed() { ExitStatus::Failed } else { ExitStatus::Done })
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
