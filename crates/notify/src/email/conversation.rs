//! One conversation with a mail server: connect, TLS, authentication, mails, end.
//!
//! Nothing here limits the time of the conversation: callers do, for the whole of it, because lettre's own timeout starts
//! again with every read (lettre/lettre#1027).

use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use lettre::transport::smtp::{
    authentication::{Credentials, DEFAULT_MECHANISMS},
    client::{
        AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
        TlsParametersBuilder,
    },
    commands::{Data, Mail, Noop, Quit, Rcpt, Rset},
    extension::ClientId,
    response::Response,
};
use tara_export_disk::small_file;
use tara_export_outbound::Authorities;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{
    address::EmailAddress,
    failure::{Answer, Step, unavailable},
    server::{Security, Server},
    stream::LimitedStream,
};
use crate::SendError;

/// Maximum size of a file with a password.
const PASSWORD_LIMIT_BYTES: u64 = 4 * 1024;
/// Maximum number of addresses of a server that are tried.
const MAX_ADDRESSES: usize = 8;
/// Time for a connection to one address of several, so that the next one is tried too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The user name and the password. The password is read for each conversation, so that it can be replaced.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password_file: PathBuf,
}

/// A server, with all that a conversation needs.
#[derive(Clone)]
pub(super) struct Mailer {
    server: Server,
    login: Option<Login>,
    /// For [`Security::Tls`].
    config: Arc<ClientConfig>,
    /// For [`Security::StartTls`]: the same authorities, as lettre has them.
    parameters: TlsParameters,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mailer").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Mailer {
    /// Conversations with this server, which has a certificate of one of these authorities.
    ///
    /// # Errors
    /// A message: TLS cannot be configured.
    pub(super) fn new(
        server: Server,
        login: Option<Login>,
        authorities: &Authorities,
    ) -> Result<Self, String> {
        let config = Arc::new(authorities.client_config()?);
        let builder = TlsParametersBuilder::new(server.host.clone());
        let mut builder = builder.certificate_store(CertificateStore::None);
        for certificate in authorities.certificates() {
            let certificate = Certificate::from_der(certificate.to_vec());
            builder = builder.add_root_certificate(certificate.map_err(|error| error.to_string())?);
        }
        let parameters = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { server, login, config, parameters })
    }

    /// Connects, starts TLS and authenticates.
    ///
    /// # Errors
    /// The target is unavailable.
    pub(super) async fn open(&self) -> Result<Conversation, SendError> {
        let password = match &self.login {
            None => String::new(),
            Some(login) => password_of(login).await?,
        };
        let (stream, peer) = self.connect().await?;
        let local = stream.local_addr().map_err(|error| self.broken("connect to", &error))?;
        let hello_name = match local {
            SocketAddr::V4(address) => ClientId::Ipv4(*address.ip()),
            SocketAddr::V6(address) => ClientId::Ipv6(*address.ip()),
        };
        let stream: Box<dyn AsyncTokioStream> = match self.server.security {
            Security::Tls => Box::new(LimitedStream::tls(self.handshake(stream).await?, peer)),
            Security::StartTls => Box::new(LimitedStream::before_tls(stream, peer)),
            Security::Loopback => Box::new(LimitedStream::plain(stream, peer)),
        };
        let answer = Answer { server: &self.server, step: Step::Greeting, password: &password };
        let connected = AsyncSmtpConnection::connect_with_transport(stream, &hello_name).await;
        let mut smtp = connected.map_err(|error| answer.failure(&error))?;
        if self.server.security == Security::StartTls {
            if !smtp.can_starttls() {
                return Err(unavailable(format!(
                    "the mail server {} does not offer STARTTLS: nothing is sent without TLS",
                    self.server
                )));
            }
            let answer = Answer { step: Step::Tls, ..answer };
            let started = smtp.starttls(self.parameters.clone(), &hello_name).await;
            started.map_err(|error| answer.failure(&error))?;
        }
        if let Some(login) = &self.login {
            let answer = Answer { step: Step::Authentication, ..answer };
            let credentials = Credentials::new(login.username.clone(), password.clone());
            let response = smtp.auth(DEFAULT_MECHANISMS, &credentials).await;
            let response = response.map_err(|error| answer.failure(&error))?;
            answer.expect(&response, 235)?;
        }
        Ok(Conversation { smtp, server: self.server.clone(), password })
    }

    async fn connect(&self) -> Result<(TcpStream, SocketAddr), SendError> {
        let mut failure = format!("{} has no address", self.server.host);
        let addresses = self.server.resolve().await.map_err(unavailable)?;
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => {
                    failure = format!("cannot connect to the mail server {}: {error}", self.server);
                }
            }
        }
        Err(unavailable(failure))
    }

    async fn handshake(
        &self,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, SendError> {
        let name = ServerName::try_from(self.server.host.clone());
        let name = name.map_err(|error| self.broken("start TLS with", &error))?;
        let connected = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await;
        connected.map_err(|error| self.broken("start TLS with", &error))
    }

    fn broken(&self, action: &str, error: &dyn fmt::Display) -> SendError {
        unavailable(format!("cannot {action} the mail server {}: {error}", self.server))
    }
}

/// Reads the password: the file's text without white space at its ends.
async fn password_of(login: &Login) -> Result<String, SendError> {
    let path = login.password_file.clone();
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || read_password(&path)).await;
    let read = read.map_err(io::Error::other).flatten();
    read.map_err(|error| unavailable(format!("cannot read password_file {shown}: {error}")))
}

/// Reads a password from its file.
///
/// # Errors
/// The file cannot be read, is too large, is empty, or is not text on one line.
pub(super) fn read_password(path: &std::path::Path) -> io::Result<String> {
    // A named pipe would block forever.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let text = String::from_utf8(small_file::read(path, PASSWORD_LIMIT_BYTES)?);
    // Without the error, which contains the bytes.
    let text = text.map_err(|_| io::Error::other("it is not UTF-8"))?;
    let password = text.trim();
    if password.is_empty() || password.contains(char::is_control) {
        return Err(io::Error::other("it must have one line with the password"));
    }
    Ok(password.to_owned())
}

/// An authenticated conversation.
pub(super) struct Conversation {
    smtp: AsyncSmtpConnection,
    server: Server,
    password: String,
}

impl Conversation {
    /// Sends one mail to all these recipients, or to none of them.
    ///
    /// # Errors
    /// The server did not accept the mail for all of them. If the conversation broke while the server received the
    /// mail, it may have accepted it.
    pub(super) async fn deliver(
        &mut self,
        from: &EmailAddress,
        recipients: &[EmailAddress],
        message: &[u8],
    ) -> Result<(), SendError> {
        let command = self.smtp.command(Mail::new(Some(from.to_lettre()), Vec::new())).await;
        self.answered(Step::Sender, command, 250)?;
        for recipient in recipients {
            let command = self.smtp.command(Rcpt::new(recipient.to_lettre(), Vec::new())).await;
            // 251: the server forwards it.
            let code = if is_code(&command, 251) { 251 } else { 250 };
            self.answered(Step::Recipient(recipient), command, code)?;
        }
        let command = self.smtp.command(Data).await;
        self.answered(Step::Content, command, 354)?;
        let command = self.smtp.message(message).await;
        self.answered(Step::Content, command, 250)
    }

    /// Ends a mail that was not accepted, so that another one can follow.
    pub(super) async fn reset(&mut self) -> Result<(), SendError> {
        let command = self.smtp.command(Rset).await;
        self.answered(Step::Greeting, command, 250)
    }

    /// Checks that the server still responds.
    pub(super) async fn check(&mut self) -> Result<(), SendError> {
        let command = self.smtp.command(Noop).await;
        self.answered(Step::Greeting, command, 250)
    }

    /// Ends the conversation. Its mails were answered before, so failures mean nothing.
    pub(super) async fn close(mut self) {
        _ = self.smtp.command(Quit).await;
    }

    /// A response must have the expected code: lettre takes every 2xx and 3xx for success.
    fn answered(
        &self,
        step: Step<'_>,
        response: Result<Response, lettre::transport::smtp::Error>,
        code: u16,
    ) -> Result<(), SendError> {
        let answer = Answer { server: &self.server, step, password: &self.password };
        match response {
            Ok(response) => answer.expect(&response, code),
            Err(error) => Err(answer.failure(&error)),
        }
    }
}

fn is_code(response: &Result<Response, lettre::transport::smtp::Error>, code: u16) -> bool {
    response.as_ref().is_ok_and(|response| response.has_code(code))
}
