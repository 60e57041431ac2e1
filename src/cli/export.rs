//! `export`: a review in, a committed bundle out.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use uuid::Uuid;

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::printable,
    upload::upload,
    watch::{FollowError, follow},
};
use crate::{
    client::{
        Client, ClientError,
        session::{self, LoadedRequest},
    },
    proto::{Destination, Fallback, StartExportRequest},
};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take the comment for the command's own")]
    pub server: ServerArguments,
    /// A folder with session.json beside before.*, after.* and guidelines.*, or a file with the
    /// request in proto3 JSON
    pub path: PathBuf,
    /// Where the bundle is to be stored; by default S3 if the server has a bucket
    #[arg(long, value_enum)]
    pub destination: Option<DestinationArgument>,
    /// What happens when S3 can't take the bundle; by default it goes to the local store
    #[arg(long, value_enum)]
    pub fallback: Option<FallbackArgument>,
    /// The export's id; the same id with the same content never makes a second bundle
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<Uuid>,
    /// Who reviewed the document, instead of what the review says
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
    /// The whole bundle goes to the server's local store
    Local,
    /// The export fails
    None,
}

impl ExportCommand {
    /// Exports the review and follows it to its end.
    ///
    /// # Errors
    /// Input that can't be read, the server's refusal, or lost contact.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let path = self.path.clone();
        let loaded = tokio::task::spawn_blocking(move || session::read(&path))
            .await
            .map_err(|error| CliError::Internal(error.to_string()))?;
        let mut loaded = loaded?;
        for document in std::mem::take(&mut loaded.large_documents) {
            let uploaded = upload(&client, &document.path, out).await?;
            loaded.set_uploaded(&document, &uploaded);
        }
        let LoadedRequest { mut request, warnings, .. } = loaded;
        for warning in warnings {
            out.note(&format!("warning: {}", printable(&warning)));
        }
        self.complete(&mut request);
        let request_id = request.request_id.clone();
        match follow(client.export(request), self.json, out).await {
            Ok(ExitStatus::Unknown) => {
                out.note("The export goes on at the server. To follow it to its end, run:");
                out.note(&format!("  {}", self.command_again(&request_id)));
                Ok(ExitStatus::Unknown)
            }
            Err(FollowError::Client(source @ ClientError::LostContact { .. })) => {
                Err(CliError::OutcomeUnknown { source, command: self.command_again(&request_id) })
            }
            result => Ok(result?),
        }
    }

    /// Puts the arguments over what was read.
    fn complete(&self, request: &mut StartExportRequest) {
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

    /// The command that sends the same export again: the same content, and the same id.
    fn command_again(&self, request_id: &str) -> String {
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
        command
    }
}

fn value_name(value: impl ValueEnum) -> Option<String> {
    value.to_possible_value().map(|value| value.get_name().to_owned())
}

/// The text as one word of a POSIX shell.
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
    fn arguments_go_over_what_was_read() {
        let mut request =
            StartExportRequest { request_id: "kept".to_owned(), ..Default::default() };
        command().complete(&mut request);
        assert_eq!(request.request_id, "kept");
        assert_eq!(request.destination(), Destination::S3);
        assert_eq!(request.fallback(), Fallback::None);
        assert_eq!(
            request.review.as_ref().map(|review| review.reviewer.as_str()),
            Some("R. Viewer")
        );
        let id = Uuid::from_u128(1);
        ExportCommand { request_id: Some(id), ..command() }.complete(&mut request);
        assert_eq!(request.request_id, id.to_string());
    }

    #[test]
    fn an_id_is_made_so_that_the_export_can_be_sent_again() {
        let mut request = StartExportRequest::default();
        command().complete(&mut request);
        assert!(Uuid::parse_str(&request.request_id).is_ok());
    }

    #[test]
    fn the_command_to_run_again_is_whole_and_quoted() {
        assert_eq!(
            command().command_again("id-1"),
            "tara-export export 'a review/it'\\''s' --request-id id-1 --destination s3 --fallback \
             none --reviewer 'R. Viewer' --server http://127.0.0.1:8080"
        );
    }
}
