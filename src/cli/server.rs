//! Which server a command speaks to, and how.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use clap::Args;

use super::CliError;
use crate::{
    client::{Client, ClientIdentity, ConnectOptions, Protocol, Token},
    small_file,
};

/// A token itself. No flag: everybody on a machine sees the flags of its processes.
const TOKEN_VARIABLE: &str = "TARA_EXPORT_TOKEN";

/// Which server to speak to.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerArguments {
    /// The server's URL, `http://` or `https://`; without it, one is started in this process
    #[arg(long, value_name = "URL", env = "TARA_EXPORT_SERVER")]
    pub server: Option<String>,

    /// Speak gRPC-Web over HTTP/1.1, for platforms that let nothing else through
    #[arg(long, env = "TARA_EXPORT_GRPC_WEB", value_parser = clap::builder::FalseyValueParser::new())]
    pub grpc_web: bool,

    /// File with the bearer token for that server; or set TARA_EXPORT_TOKEN to the token itself
    #[arg(long, value_name = "FILE", env = "TARA_EXPORT_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Certificates of the authorities that the server's must be from, PEM; without it, the system's
    #[arg(long, value_name = "FILE", env = "TARA_EXPORT_TLS_CA_FILE")]
    pub tls_ca_file: Option<PathBuf>,

    /// This client's certificate, PEM, for servers that want one
    #[arg(
        long,
        value_name = "FILE",
        env = "TARA_EXPORT_TLS_CLIENT_CERT_FILE",
        requires = "tls_client_key_file"
    )]
    pub tls_client_cert_file: Option<PathBuf>,

    /// Its private key, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "TARA_EXPORT_TLS_CLIENT_KEY_FILE",
        requires = "tls_client_cert_file"
    )]
    pub tls_client_key_file: Option<PathBuf>,
}

impl ServerArguments {
    /// Connects to the server that the caller named. None where there is none.
    ///
    /// # Errors
    /// [`CliError`] where a file can't be read, or the server is not reached.
    pub async fn connect(&self) -> Result<Option<Client>, CliError> {
        let Some(url) = &self.server else { return Ok(None) };
        Ok(Some(Client::connect_with(url, self.options()?).await?))
    }

    /// What goes with the connection.
    ///
    /// # Errors
    /// [`CliError`] where a file can't be read, or holds no token.
    pub(super) fn options(&self) -> Result<ConnectOptions, CliError> {
        let token = match &self.token_file {
            Some(path) => Some((path.display().to_string(), text(path)?)),
            None => env::var(TOKEN_VARIABLE)
                .ok()
                .filter(|token| !token.is_empty())
                .map(|token| (TOKEN_VARIABLE.to_owned(), token)),
        };
        let token = token
            .map(|(place, token)| Token::new(&token).ok_or(CliError::Token { place }))
            .transpose()?;
        let identity = match (&self.tls_client_cert_file, &self.tls_client_key_file) {
            (Some(certificates), Some(key)) => Some(ClientIdentity {
                certificates_pem: bytes(certificates)?,
                key_pem: bytes(key)?,
            }),
            _ => None,
        };
        let authorities_pem = self.tls_ca_file.as_deref().map(bytes).transpose()?;
        let protocol = if self.grpc_web { Protocol::GrpcWeb } else { Protocol::Grpc };
        Ok(ConnectOptions { authorities_pem, identity, token, protocol })
    }
}

/// Certificates and keys: an operating system's whole set of authorities has some hundred kilobytes.
const PEM_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// A token travels in a header; no server takes as much there.
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
