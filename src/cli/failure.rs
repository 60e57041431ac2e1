//! A failed command, as text for people and as JSON for programs.

use serde_json::json;
use tara_export_client::{ClientError, FieldViolation};

use super::{
    CliError, ExitStatus,
    format::{printable, printable_json},
};

/// A failed command: what failed, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFailure {
    /// The machine-readable reason in UPPER_SNAKE_CASE, one of the API's or of the commands.
    pub code: String,
    /// The human-readable message.
    pub message: String,
    /// The command that helps; empty if there is none.
    pub next_command: String,
    /// The exit status of the process.
    pub status: ExitStatus,
}

impl CommandFailure {
    /// A failure without a next command.
    pub fn new(code: &str, message: impl Into<String>, status: ExitStatus) -> Self {
        let (code, next_command) = (code.to_owned(), String::new());
        Self { code, message: message.into(), next_command, status }
    }

    /// A failure with the command that helps.
    pub fn with_next(mut self, command: impl Into<String>) -> Self {
        self.next_command = command.into();
        self
    }

    /// The lines for people, without `error: `.
    pub fn text(&self) -> String {
        match self.next_command.as_str() {
            "" => self.message.clone(),
            command => format!("{}\n  {command}", self.message),
        }
    }

    /// One line of JSON: `{"error":{"code":…,"message":…,"next":…,"exitCode":…}}`.
    pub fn json(&self) -> String {
        let Self { code, message, next_command, status } = self;
        let mut error = json!({ "code": code, "message": message, "exitCode": status.code() });
        if !next_command.is_empty() {
            error["next"] = json!(next_command);
        }
        printable_json(&json!({ "error": error }).to_string())
    }
}

impl From<CliError> for CommandFailure {
    fn from(error: CliError) -> Self {
        let status = error.exit_status();
        let code = code(&error).to_owned();
        match error {
            CliError::OutcomeUnknown { source, command } => {
                let message = format!(
                    "{source}\nIt is not known whether there is a bundle. To find out, or to finish the export, run:"
                );
                Self::new(&code, message, status).with_next(command)
            }
            CliError::WithNext { source, command } => {
                Self { next_command: command, ..Self::new(&code, client_text(&source), status) }
            }
            CliError::Client(error) => Self::new(&code, client_text(&error), status),
            error => Self::new(&code, error.to_string(), status),
        }
    }
}

/// What the API calls something, and what the commands call it.
const WORDS: [(&str, &str); 14] = [
    (
        "STATE_RUNNING, STATE_PENDING, STATE_FELL_BACK, STATE_COMMITTED or STATE_FAILED",
        "running, pending, \"fell back\", committed or failed",
    ),
    ("DESTINATION_S3 or DESTINATION_LOCAL", "S3 or local"),
    ("; call GetExport for its state", ""),
    ("use DownloadArtifact to read it", "download it instead"),
    ("DownloadArtifact reads it", "download it instead"),
    ("use DownloadArtifact, which has no limit", "download it instead, which has no limit"),
    (
        "send StartExport again with its request_id to make sure that it is exported",
        "run the export again with --request-id to make sure that it is exported",
    ),
    (
        "or send StartExport again with the same request_id",
        "or run the export again with the same --request-id",
    ),
    ("use a new request_id", "use a new --request-id"),
    (": create a new upload with CreateUpload", ": run the command again"),
    ("stored_in = DESTINATION_LOCAL", "stored_in = local"),
    ("review.reviewer", "--reviewer"),
    ("request_id", "--request-id"),
    ("page_token", "the position in the list"),
];

/// The message of a client error, with the options of the commands instead of the fields of the API.
fn client_text(error: &ClientError) -> String {
    let ClientError::Rejected(rejection) = error else { return error.to_string() };
    let mut lines: Vec<String> = rejection.field_violations.iter().map(violation_text).collect();
    let reason = rejection.reason.as_deref().map(|reason| format!(" ({})", printable(reason)));
    let is_repeated =
        |violation: &FieldViolation| rejection.message.contains(violation.description.as_str());
    let mut text = match &rejection.field_violations[..] {
        // The message only repeats the one fault.
        [violation] if is_repeated(violation) => lines.remove(0),
        _ if rejection.message.is_empty() => rejection.code.description().to_owned(),
        _ => in_words(&printable(&rejection.message)),
    };
    text.push_str(&reason.unwrap_or_default());
    for line in lines {
        text.push_str(&format!("\n  {line}"));
    }
    if let Some(delay) = rejection.retry_delay {
        text.push_str(&format!("\n  retry in {} s", delay.as_secs_f64().ceil()));
    }
    text
}

fn violation_text(violation: &FieldViolation) -> String {
    let field = match violation.field.as_str() {
        "filter" => "--filter".to_owned(),
        "name" => "the export".to_owned(),
        "time_to_live" => "--ttl".to_owned(),
        "path" => "the artifact".to_owned(),
        field => in_words(&printable(field)),
    };
    format!("{field}: {}", in_words(&printable(&violation.description)))
}

fn in_words(text: &str) -> String {
    WORDS.iter().fold(text.to_owned(), |text, (api, command)| text.replace(api, command))
}

/// The machine-readable reason.
fn code(error: &CliError) -> &str {
    match error {
        CliError::Client(error)
        | CliError::OutcomeUnknown { source: error, .. }
        | CliError::WithNext { source: error, .. } => client_code(error),
        CliError::Input(_) | CliError::NoRequests => "INVALID_INPUT",
        CliError::Write(_) => "WRITE_FAILED",
        CliError::ReadFile { .. } => "READ_FAILED",
        CliError::Token { .. } => "INVALID_TOKEN",
        CliError::Exists(_) => "FILE_EXISTS",
        CliError::FileName { .. } => "INVALID_FILE_NAME",
        CliError::Targets(_) => "INVALID_TARGETS",
        CliError::Ambiguous { .. } => "AMBIGUOUS_NAME",
        CliError::NoMatch { .. } => "EXPORT_NOT_FOUND",
        CliError::Usage(_) => "USAGE",
        CliError::Internal(_) => "INTERNAL",
    }
}

fn client_code(error: &ClientError) -> &str {
    if let Some(reason) = error.reason() {
        return reason;
    }
    match error {
        ClientError::Url { .. } => "INVALID_URL",
        ClientError::Connect { .. } => "CONNECT_FAILED",
        ClientError::Rejected(_) => "REJECTED",
        ClientError::LostContact { .. } => "LOST_CONTACT",
        ClientError::RequestTooLarge { .. } => "REQUEST_TOO_LARGE",
        ClientError::Damaged { .. } => "DAMAGED",
        ClientError::Protocol(_) | ClientError::Untrusted { .. } => "INVALID_RESPONSE",
        ClientError::Token(_) => "INVALID_TOKEN",
        ClientError::Read { .. } => "READ_FAILED",
        ClientError::Write(_) => "WRITE_FAILED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_code_message_next_command_and_exit_code() {
        let failure = CommandFailure::new("DATA_DIR_IN_USE", "in use \u{1b}", ExitStatus::Failed);
        assert_eq!(failure.text(), "in use \u{1b}");
        let expected =
            r#"{"error":{"code":"DATA_DIR_IN_USE","exitCode":1,"message":"in use \u001b"}}"#;
        assert_eq!(failure.json(), expected);
        let failure = failure.with_next("tara-export list");
        assert_eq!(failure.text(), "in use \u{1b}\n  tara-export list");
        assert!(failure.json().contains(r#""next":"tara-export list""#), "{}", failure.json());
    }
}
