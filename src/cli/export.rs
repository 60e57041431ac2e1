//! `export`: exports a review and follows the export to its end.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tara_export_client::{
    Client, ClientError,
    proto::{
        Destination, Fallback, PreviewDocument, PreviewExportRequest, StartExportRequest,
        document::Source,
    },
    session::{self, LoadedRequest},
    to_json,
};
use uuid::Uuid;

use super::{
    CliError, ExitStatus, Interruption, Output, ServerArguments,
    format::{printable, printable_json, size},
    server::shell_word,
    table::{Column, Table},
    upload::upload,
    watch::{FollowError, Following, follow, observed},
};

/// Maximum number of warnings that are printed.
const MAX_WARNINGS: usize = 100;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportCommand {
    /// Folder with session.json, before.*, after.* and guidelines.*, or a file with the request in proto3 JSON
    pub path: PathBuf,
    /// Store for the bundle; by default, S3 if the server has a bucket, else the local store
    #[arg(long, value_enum)]
    pub destination: Option<DestinationArgument>,
    /// Behavior if S3 fails; by default, the bundle is stored in the local store
    #[arg(long, value_enum)]
    pub fallback: Option<FallbackArgument>,
    /// Id of the export; repeating an id with the same content never creates a second bundle
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<Uuid>,
    /// Name of the reviewer; overrides the one in the review
    #[arg(long, value_name = "NAME")]
    pub reviewer: Option<String>,
    /// Print the files that the bundle would have, and store nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print each event as one line of proto3 JSON; with --dry-run, the preview
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

/// A destination on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DestinationArgument {
    /// The server's S3 bucket
    S3,
    /// The server's local store
    Local,
}

/// A fallback on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FallbackArgument {
    /// Store the complete bundle in the server's local store
    Local,
    /// Fail the export
    None,
}

impl ExportCommand {
    /// Starts the export and follows it to its end.
    ///
    /// # Errors
    /// If the input cannot be read, the call fails or contact is lost.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let (path, protocol) = (self.path.clone(), self.server.protocol());
        let loaded = tokio::task::spawn_blocking(move || session::read_for(&path, protocol))
            .await
            .map_err(|error| CliError::Internal(error.to_string()))?;
        let mut loaded = loaded?;
        if self.dry_run {
            print_warnings(&loaded.warnings, out);
            return self.preview(&client, loaded, out).await;
        }
        for document in std::mem::take(&mut loaded.large_documents) {
            let uploaded = upload(&client, &document.path, out).await?;
            loaded.set_uploaded(&document, &uploaded);
        }
        let LoadedRequest { mut request, warnings, .. } = loaded;
        print_warnings(&warnings, out);
        self.apply_arguments(&mut request);
        let request_id = request.request_id.clone();
        if self.server.server.is_some() {
            // The request may be on its way.
            out.set_interruption(Interruption {
                message: "It is not known whether the server accepted the export. To find out, or to finish it, run:"
                    .to_owned(),
                command: self.repeat_command(&request_id),
            });
        }
        let accepted = Some(self.accepted_interruption(&request_id));
        let (client, reconnects) = observed(client);
        let following = Following { events: client.export(request), reconnects };
        match follow(following, self.json, accepted, out).await {
            Ok(ExitStatus::Unknown) if self.server.server.is_some() => {
                out.note("The export continues on the server. To follow it to its end, run:");
                out.note(&format!("  {}", self.repeat_command(&request_id)));
                Ok(ExitStatus::Unknown)
            }
            Err(FollowError::Client(source @ ClientError::LostContact { .. })) => {
                Err(CliError::OutcomeUnknown { source, command: self.repeat_command(&request_id) })
            }
            result => Ok(result?),
        }
    }

    /// Prints the files that the bundle would have. The server checks the request and stores nothing.
    async fn preview(
        &self,
        client: &Client,
        loaded: LoadedRequest,
        out: &mut Output,
    ) -> Result<ExitStatus, CliError> {
        let LoadedRequest { mut request, large_documents, .. } = loaded;
        self.apply_arguments(&mut request);
        let documents = request.documents.iter().enumerate().map(|(index, document)| {
            let large = large_documents.iter().find(|large| large.index == index);
            let size_bytes = match (&document.source, large) {
                (_, Some(large)) => large.size_bytes,
                (Some(Source::Content(content)), None) => content.len() as u64,
                (_, None) => 0,
            };
            PreviewDocument {
                kind: document.kind,
                file_name: document.file_name.clone(),
                size_bytes: size_bytes.try_into().unwrap_or(i64::MAX),
            }
        });
        let preview = client
            .preview(PreviewExportRequest {
                documents: documents.collect(),
                review: request.review,
            })
            .await?;
        if self.json {
            out.line(&printable_json(&to_json(&preview)))?;
            return Ok(ExitStatus::Done);
        }
        let columns = [Column::new("FILE").shrinks_to(16, 8), Column::new("SIZE").right()];
        let mut table = Table::new(columns, out.width());
        let files = preview.artifacts.iter();
        let rows = files.map(|file| [printable(&file.path), size(file.size_bytes)]);
        let rows: Vec<_> = table.head().into_iter().chain(rows).collect();
        for line in table.lines(&rows) {
            out.line(&line)?;
        }
        out.note(&format!(
            "{} files, {}, and manifest.json. Nothing was stored.",
            preview.artifacts.len(),
            size(preview.size_bytes)
        ));
        for warning in &preview.warnings {
            out.note(&format!("warning: {}", printable(&warning.message)));
        }
        Ok(ExitStatus::Done)
    }

    /// Overrides fields of the request with the arguments, and generates an id if there is none.
    fn apply_arguments(&self, request: &mut StartExportRequest) {
        if let Some(id) = self.request_id {
            request.request_id = id.to_string();
        } else if request.request_id.is_empty() {
            request.request_id = Uuid::new_v4().to_string();
        }
        if let Some(reviewer) = &self.reviewer {
            request.review.get_or_insert_default().reviewer.clone_from(reviewer);
        }
        if let Some(destination) = self.destination {
            request.set_destination(match destination {
                DestinationArgument::S3 => Destination::S3,
                DestinationArgument::Local => Destination::Local,
            });
        }
        if let Some(fallback) = self.fallback {
            request.set_fallback(match fallback {
                FallbackArgument::Local => Fallback::Local,
                FallbackArgument::None => Fallback::None,
            });
        }
    }

    /// What to print if a signal ends the command after acceptance.
    fn accepted_interruption(&self, request_id: &str) -> Interruption {
        let name = format!("exports/{request_id}");
        if self.server.server.is_none() {
            let message = format!("{name} is accepted and not finished. To finish it, run:");
            return Interruption { message, command: format!("tara-export resume {name}") };
        }
        let message =
            format!("{name} is accepted, and the server continues it. To follow it, run:");
        let command = format!("tara-export watch {name}{}", self.server.command_arguments());
        Interruption { message, command }
    }

    /// The command that repeats the export with the same content and id.
    fn repeat_command(&self, request_id: &str) -> String {
        let mut command = format!(
            "tara-export export {} --request-id {request_id}",
            shell_word(&self.path.to_string_lossy())
        );
        let mut add = |option: &str, value: Option<String>| {
            if let Some(value) = value {
                command.push_str(&format!(" {option} {}", shell_word(&value)));
            }
        };
        add("--destination", self.destination.and_then(value_name));
        add("--fallback", self.fallback.and_then(value_name));
        add("--reviewer", self.reviewer.clone());
        command.push_str(&self.server.command_arguments());
        command
    }
}

fn print_warnings(warnings: &[String], out: &mut Output) {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        out.note(&format!("warning: {}", printable(warning)));
    }
    if let Some(more) = warnings.len().checked_sub(MAX_WARNINGS + 1) {
        let more = more + 1;
        out.note(&format!(
            "warning: {more} more; the bundle's manifest.json lists replaced values"
        ));
    }
}

fn value_name(value: impl ValueEnum) -> Option<String> {
    value.to_possible_value().map(|value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> ExportCommand {
        ExportCommand {
            server: ServerArguments {
                server: Some("http://127.0.0.1:8080".to_owned()),
                ..ServerArguments::default()
            },
            path: "a review/it's".into(),
            destination: Some(DestinationArgument::S3),
            fallback: Some(FallbackArgument::None),
            request_id: None,
            reviewer: Some("R. Viewer".to_owned()),
            dry_run: false,
            json: false,
        }
    }

    #[test]
    fn arguments_override_the_request() {
        let mut request =
            StartExportRequest { request_id: "kept".to_owned(), ..Default::default() };
        command().apply_arguments(&mut request);
        assert_eq!(request.request_id, "kept");
        assert_eq!(request.destination(), Destination::S3);
        assert_eq!(request.fallback(), Fallback::None);
        assert_eq!(
            request.review.as_ref().map(|review| review.reviewer.as_str()),
            Some("R. Viewer")
        );
        let id = Uuid::from_u128(1);
        ExportCommand { request_id: Some(id), ..command() }.apply_arguments(&mut request);
        assert_eq!(request.request_id, id.to_string());
    }

    #[test]
    fn request_without_id_gets_a_random_one() {
        let mut request = StartExportRequest::default();
        command().apply_arguments(&mut request);
        assert!(Uuid::parse_str(&request.request_id).is_ok());
    }

    #[test]
    fn repeat_command_is_complete_and_quoted() {
        assert_eq!(
            command().repeat_command("id-1"),
            "tara-export export 'a review/it'\\''s' --request-id id-1 --destination s3 --fallback \
             none --reviewer 'R. Viewer' --server http://127.0.0.1:8080"
        );
    }
}
