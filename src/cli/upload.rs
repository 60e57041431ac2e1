//! `upload`: a document to the server, to be named by an export.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{printable, size},
    progress::style,
};
use crate::client::{Client, UploadedFile};

/// Arguments of `upload`.
#[derive(Debug, Args)]
pub struct UploadCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take the comment for the command's own")]
    pub server: ServerArguments,
    /// The document
    pub file: PathBuf,
}

impl UploadCommand {
    /// Uploads the file, and prints the name by which a request names it. Run again, it goes on where it
    /// was.
    ///
    /// # Errors
    /// A file that can't be read, the server's refusal, or lost contact.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let uploaded = upload(&client, &self.file, out).await?;
        out.line(&uploaded.name)?;
        Ok(ExitStatus::Done)
    }
}

/// Uploads a file, and shows how far it is.
pub(super) async fn upload(
    client: &Client,
    path: &Path,
    out: &mut Output,
) -> Result<UploadedFile, CliError> {
    let total_bytes = tokio::fs::metadata(path).await.map_or(0, |metadata| metadata.len());
    let name = printable(&path.file_name().unwrap_or_default().to_string_lossy());
    let bar = match out.stderr_is_terminal() {
        true => ProgressBar::new(total_bytes),
        false => ProgressBar::hidden(),
    };
    bar.set_style(style("{bar:30} {bytes:>10} of {total_bytes} {bytes_per_sec}  {msg}"));
    bar.set_message(name.clone());
    let uploaded = client.upload_file(path, |sent_bytes| bar.set_position(sent_bytes)).await;
    bar.finish_and_clear();
    let uploaded = uploaded?;
    let shown = size(i64::try_from(uploaded.size_bytes).unwrap_or(i64::MAX));
    out.note(&format!("uploaded {name}  {shown}  as {}", printable(&uploaded.name)));
    Ok(uploaded)
}
