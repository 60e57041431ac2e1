//! `upload`: uploads a document, so that a request can name it.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use tara_export_client::{Client, ClientError, UploadedFile};
use tempfile::NamedTempFile;

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{printable, printable_json, size},
    progress::style,
};

/// Maximum size of a document from a pipe, which is copied to the disk first.
const MAX_PIPE_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// Arguments of `upload`.
#[derive(Debug, Args)]
pub struct UploadCommand {
    /// File to upload, or pipe such as /dev/stdin, which is copied to a temporary file first
    pub file: PathBuf,
    /// Print the upload's name, size and SHA-256 as one line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

impl UploadCommand {
    /// Uploads the file and prints the upload's name. A repeated command continues the upload.
    ///
    /// # Errors
    /// If the file cannot be read, the call fails or contact is lost.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let copied = copied_pipe(&self.file).await?;
        let file = copied.as_ref().map_or(self.file.as_path(), NamedTempFile::path);
        let uploaded = upload_as(&client, file, &self.file, out).await?;
        if self.json {
            let upload = json!({
                "name": uploaded.name,
                "sizeBytes": uploaded.size_bytes,
                "sha256": uploaded.sha256.to_string(),
            });
            out.line(&printable_json(&upload.to_string()))?;
        } else {
            out.line(&uploaded.name)?;
        }
        Ok(ExitStatus::Done)
    }
}

/// Copies the content of a pipe to a temporary file: an upload reads its file again if the connection is lost.
/// `None` if the path is not a pipe.
async fn copied_pipe(path: &Path) -> Result<Option<NamedTempFile>, CliError> {
    let metadata = tokio::fs::metadata(path).await;
    if !metadata.is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Ok(None);
    }
    let pipe = path.to_owned();
    let copying = tokio::task::spawn_blocking(move || {
        let mut copy = NamedTempFile::new()?;
        let mut content = File::open(pipe)?.take(MAX_PIPE_BYTES + 1);
        if io::copy(&mut content, &mut copy)? > MAX_PIPE_BYTES {
            let message = format!(
                "the pipe has more than {MAX_PIPE_BYTES} bytes; upload its content from a file"
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(copy)
    });
    let copied = copying.await.map_err(|error| CliError::Internal(error.to_string()))?;
    let copied = copied.map_err(|source| ClientError::Read { path: path.to_owned(), source })?;
    Ok(Some(copied))
}

/// Uploads a file and shows the progress.
pub(super) async fn upload(
    client: &Client,
    path: &Path,
    out: &mut Output,
) -> Result<UploadedFile, CliError> {
    upload_as(client, path, path, out).await
}

/// Uploads a file and shows the progress under the name of another.
async fn upload_as(
    client: &Client,
    path: &Path,
    shown: &Path,
    out: &mut Output,
) -> Result<UploadedFile, CliError> {
    let total_bytes = tokio::fs::metadata(path).await.map_or(0, |metadata| metadata.len());
    let name = printable(&shown.file_name().unwrap_or_default().to_string_lossy());
    let bar = match out.stderr_is_terminal() {
        true => ProgressBar::new(total_bytes),
        false => ProgressBar::hidden(),
    };
    bar.set_style(style("{bar:20} {bytes:>10} of {total_bytes} {bytes_per_sec}  {wide_msg}"));
    bar.set_message(name.clone());
    let uploaded = client.upload_file(path, |sent_bytes| bar.set_position(sent_bytes)).await;
    bar.finish_and_clear();
    let uploaded = uploaded?;
    let shown = size(i64::try_from(uploaded.size_bytes).unwrap_or(i64::MAX));
    out.note(&format!("uploaded {name}  {shown}  as {}", printable(&uploaded.name)));
    Ok(uploaded)
}
