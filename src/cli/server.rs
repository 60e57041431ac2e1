//! The server that a command calls, and the options of the connection.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use clap::Args;
use tara_export_client::{Client, ClientIdentity, ConnectOptions, Protocol, Token};
use tara_export_disk::small_file;

use super::CliError;

/// The token itself. It has no flag, because all users of a machine can see the flags of its processes.
const TOKEN_VARIABLE: &str = "TARA_EXPORT_TOKEN";

/// The server to call.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct ServerArguments {
    /// URL of the server, `http://`, `https://` or `unix:PATH` for its Unix socket; unset: the command starts an embedded server
    #[arg(long, value_name = "URL", env = "TARA_EXPORT_SERVER", hide_env_values = true)]
    pub server: Option<String>,

    /// Use gRPC-Web over HTTP/1.1, for platforms that do not support gRPC
    #[arg(long, env = "TARA_EXPORT_GRPC_WEB", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub grpc_web: bool,

    /// File with the bearer token, read before every call; alternatively, set TARA_EXPORT_TOKEN to the token itself
    #[arg(long, value_name = "FILE", env = "TARA_EXPORT_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,

    /// Send the token without TLS to other machines, where another layer encrypts, such as a service mesh
    #[arg(long, env = "TARA_EXPORT_ALLOW_INSECURE_TOKEN", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub allow_insecure_token: bool,

    /// CA certificates (PEM) that may have issued the server's certificate; unset: those of the system
    #[arg(long, value_name = "FILE", env = "TARA_EXPORT_TLS_CA_FILE", hide_env_values = true)]
    pub tls_ca_file: Option<PathBuf>,

    /// Client certificate (PEM), for servers that require one
    #[arg(
        long,
        value_name = "FILE",
        env = "TARA_EXPORT_TLS_CLIENT_CERT_FILE",
        hide_env_values = true,
        requires = "tls_client_key_file"
    )]
    pub tls_client_cert_file: Option<PathBuf>,

    /// Private key (PEM) of the client certificate
    #[arg(
        long,
        value_name = "FILE",
        env = "TARA_EXPORT_TLS_CLIENT_KEY_FILE",
        hide_env_values = true,
        requires = "tls_client_cert_file"
    )]
    pub tls_client_key_file: Option<PathBuf>,
}

impl ServerArguments {
    /// Connects to the server. `None` if no URL is set.
    ///
    /// # Errors
    /// [`CliError`] if a file cannot be read or the server cannot be reached.
    pub async fn connect(&self) -> Result<Option<Client>, CliError> {
        let Some(url) = &self.server else { return Ok(None) };
        Ok(Some(Client::connect_with(url, self.options()?).await?))
    }

    /// The options of the connection.
    ///
    /// # Errors
    /// [`CliError`] if a file cannot be read or contains no valid token.
    pub(super) fn options(&self) -> Result<ConnectOptions, CliError> {
        let from_environment = env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        let token = match (&self.token_file, from_environment) {
            (Some(path), _) => {
                // Reports a wrong file at the start. It is read again before every call.
                let origin = path.display().to_string();
                Token::new(&text(path)?).ok_or(CliError::Token { origin })?;
                Some(Token::from_file(path))
            }
            (None, Some(token)) => {
                let origin = TOKEN_VARIABLE.to_owned();
                Some(Token::new(&token).ok_or(CliError::Token { origin })?)
            }
            (None, None) => None,
        };
        let identity = match (&self.tls_client_cert_file, &self.tls_client_key_file) {
            (Some(certificates), Some(key)) => Some(ClientIdentity {
                certificates_pem: bytes(certificates)?,
                key_pem: bytes(key)?,
            }),
            _ => None,
        };
        let authorities_pem = self.tls_ca_file.as_deref().map(bytes).transpose()?;
        Ok(ConnectOptions {
            authorities_pem,
            identity,
            token,
            protocol: self.protocol(),
            allow_insecure_token: self.allow_insecure_token,
        })
    }

    /// The options for another command that calls the same server, with a leading space; empty without a server.
    pub(super) fn command_arguments(&self) -> String {
        let mut arguments = String::new();
        let mut add = |option: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.push_str(&format!(" {option} {}", shell_word(&value)));
            }
        };
        let path = |path: &Option<PathBuf>| Some(path.as_ref()?.to_string_lossy().into_owned());
        add("--server", self.server.clone());
        add("--token-file", path(&self.token_file));
        add("--tls-ca-file", path(&self.tls_ca_file));
        add("--tls-client-cert-file", path(&self.tls_client_cert_file));
        add("--tls-client-key-file", path(&self.tls_client_key_file));
        if self.grpc_web {
            arguments.push_str(" --grpc-web");
        }
        if self.allow_insecure_token {
            arguments.push_str(" --allow-insecure-token");
        }
        arguments
    }

    /// The protocol of the calls.
    pub(super) fn protocol(&self) -> Protocol {
        if self.grpc_web { Protocol::GrpcWeb } else { Protocol::Grpc }
    }
}

/// Quotes the text as one word for a POSIX shell.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '/' | '.' | '-' | '_' | ':' | '=')
    };
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Limit for certificates and keys. The CA certificates of an operating system have some hundred kilobytes.
const PEM_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// Limit for a token. Servers accept less in a header.
const TOKEN_LIMIT_BYTES: u64 = 64 * 1024;

fn bytes(path: &Path) -> Result<Vec<u8>, CliError> {
    small_file::read(path, PEM_LIMIT_BYTES)
        .map_err(|source| CliError::ReadFile { path: path.to_owned(), source })
}

fn text(path: &Path) -> Result<String, CliError> {
    let bytes = small_file::read(path, TOKEN_LIMIT_BYTES);
    let text = bytes.and_then(|bytes| {
        String::from_utf8(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
    });
    text.map_err(|source| CliError::ReadFile { path: path.to_owned(), source })
}
