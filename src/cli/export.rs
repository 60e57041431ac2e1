//! `export`: exports a review and follows the export to its end.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tara_export_client::{
    Client, ClientError,
    proto::{Destination, Fallback, StartExportRequest},
    session::{self, LoadedRequest},
};
use uuid::Uuid;

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::printable,
    upload::upload,
    watch::{FollowError, follow},
};

/// Maximum number of warnings that are printed.
const MAX_WARNINGS: usize = 100;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
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
    /// Print each event as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
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
        for document in std::mem::take(&mut loaded.large_documents) {
            let uploaded = upload(&client, &document.path, out).await?;
            loaded.set_uploaded(&document, &uploaded);
        }
        let LoadedRequest { mut request, warnings, .. } = loaded;
        for warning in warnings.iter().take(MAX_WARNINGS) {
            out.note(&format!("warning: {}", printable(warning)));
        }
        if let Some(more) = warnings.len().checked_sub(MAX_WARNINGS + 1) {
            let more = more + 1;
            out.note(&format!(
                "warning: {more} more; the bundle's manifest.json lists replaced values"
            ));
        }
        self.apply_arguments(&mut request);
        let request_id = request.request_id.clone();
        match follow(client.export(request), self.json, out).await {
            Ok(ExitStatus::Unknown) => {
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
        add("--server", self.server.server.clone());
        let path = |path: &Option<PathBuf>| Some(path.as_ref()?.to_string_lossy().into_owned());
        add("--token-file", path(&self.server.token_file));
        add("--tls-ca-file", path(&self.server.tls_ca_file));
        add("--tls-client-cert-file", path(&self.server.tls_client_cert_file));
        add("--tls-client-key-file", path(&self.server.tls_client_key_file));
        if self.server.grpc_web {
            command.push_str(" --grpc-web");
        }
        command
    }
}

fn value_name(value: impl ValueEnum) -> Option<String> {
    value.to_possible_value().map(|value| value.get_name().to_owned())
}

/// Quotes the text as one word for a POSIX shell.
fn shell_word(text: &str) -> String {
    let is_plain = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '/' | '.' | '-' | '_' | ':' | '=')
    };
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
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
