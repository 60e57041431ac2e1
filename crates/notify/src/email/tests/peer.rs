//! A mail server that answers as its script says: it refuses, hangs, sends too much, or closes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tara_export_outbound::Authorities;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use crate::email::server::{Security, Server};

/// What the peer does at one step.
pub(crate) enum Reply {
    /// It answers. Texts may have several lines.
    Text(&'static str),
    /// It never answers.
    Hang,
    /// It sends a byte of an answer that never ends, again and again.
    Drip,
    /// It sends a line that never ends, as fast as it can.
    Flood,
    /// It closes the connection.
    Close,
}

/// The reply to a command; `None` for the usual one. Beside commands there are the steps `CONNECT`, `HANDSHAKE` and
/// `MESSAGE`.
type Script = Arc<dyn Fn(&str) -> Option<Reply> + Send + Sync>;

/// What peers received.
#[derive(Debug, Default, Clone)]
pub(crate) struct Received {
    /// Commands, without their line ends.
    pub(crate) commands: Vec<String>,
    /// Messages, as they were before the transfer.
    pub(crate) messages: Vec<Vec<u8>>,
    /// The number of connections.
    pub(crate) connections: usize,
}

/// A running mail server.
pub(crate) struct Peer {
    pub(crate) server: Server,
    pub(crate) authorities: Authorities,
    received: Arc<Mutex<Received>>,
    _folder: TempDir,
}

impl Peer {
    pub(crate) async fn start(
        security: Security,
        script: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, certified.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let chain = vec![CertificateDer::from(certified.cert.der().to_vec())];
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Received::default()));
        let session =
            Session { security, acceptor, script: Arc::new(script), received: received.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(session.clone().accept(stream));
            }
        });
        Self {
            server: Server { host: "localhost".to_owned(), port, security },
            authorities: Authorities::read(&path).unwrap(),
            received,
            _folder: folder,
        }
    }

    pub(crate) fn received(&self) -> Received {
        self.received.lock().unwrap().clone()
    }

    /// The addresses of RCPT commands, in their order.
    pub(crate) fn recipients(&self) -> Vec<String> {
        let commands = self.received().commands;
        let address = |command: &String| {
            Some(command.strip_prefix("RCPT TO:<")?.strip_suffix('>')?.to_owned())
        };
        commands.iter().filter_map(address).collect()
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[derive(Clone)]
struct Session {
    security: Security,
    acceptor: TlsAcceptor,
    script: Script,
    received: Arc<Mutex<Received>>,
}

impl Session {
    async fn accept(self, stream: TcpStream) {
        self.received.lock().unwrap().connections += 1;
        let mut stream: Box<dyn Stream> = Box::new(stream);
        if self.security == Security::Tls {
            let Some(encrypted) = self.handshake(stream).await else { return };
            stream = encrypted;
        }
        let mut stream = BufReader::new(stream);
        if !self.reply(&mut stream, "CONNECT", "220 peer ESMTP\r\n").await {
            return;
        }
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or_default() == 0 {
                return;
            }
            let command = line.trim_end().to_owned();
            self.received.lock().unwrap().commands.push(command.clone());
            let verb = command.split([' ', ':']).next().unwrap().to_owned();
            let usual = match verb.as_str() {
                "EHLO" => "250-peer\r\n250-STARTTLS\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n",
                "AUTH" => "235 2.7.0 welcome\r\n",
                "STARTTLS" => "220 go ahead\r\n",
                "DATA" => "354 send it\r\n",
                "QUIT" => "221 bye\r\n",
                _ => "250 2.0.0 done\r\n",
            };
            let is_usual = (self.script)(&command).is_none();
            if !self.reply(&mut stream, &command, usual).await {
                return;
            }
            match verb.as_str() {
                "STARTTLS" => {
                    let inner = stream.into_inner();
                    let Some(encrypted) = self.handshake(inner).await else { return };
                    stream = BufReader::new(encrypted);
                }
                "DATA" if is_usual => {
                    let Some(message) = read_message(&mut stream).await else { return };
                    self.received.lock().unwrap().messages.push(message);
                    if !self.reply(&mut stream, "MESSAGE", "250 2.0.0 queued\r\n").await {
                        return;
                    }
                }
                "QUIT" => return,
                _ => {}
            }
        }
    }

    async fn handshake(&self, stream: Box<dyn Stream>) -> Option<Box<dyn Stream>> {
        if let Some(Reply::Hang) = (self.script)("HANDSHAKE") {
            std::future::pending::<()>().await;
        }
        Some(Box::new(self.acceptor.accept(stream).await.ok()?))
    }

    /// Whether the conversation continues.
    async fn reply<S: Stream>(&self, stream: &mut S, step: &str, usual: &str) -> bool {
        let text = match (self.script)(step) {
            None => usual,
            Some(Reply::Text(text)) => text,
            Some(Reply::Hang) => std::future::pending().await,
            Some(Reply::Close) => return false,
            Some(Reply::Flood) => loop {
                if stream.write_all(&[b'2'; 4096]).await.is_err() {
                    return false;
                }
            },
            Some(Reply::Drip) => {
                let mut interval = tokio::time::interval(Duration::from_millis(20));
                loop {
                    interval.tick().await;
                    let is_sent = stream.write_all(b"2").await.is_ok();
                    if !(is_sent && stream.flush().await.is_ok()) {
                        return false;
                    }
                }
            }
        };
        stream.write_all(text.as_bytes()).await.is_ok() && stream.flush().await.is_ok()
    }
}

/// The message, without the dots that the transfer adds. `None` if the connection ends.
async fn read_message<S: Stream>(stream: &mut BufReader<S>) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let start = message.len();
        if stream.read_until(b'\n', &mut message).await.ok()? == 0 {
            return None;
        }
        if &message[start..] == b".\r\n" {
            message.truncate(start);
            return Some(message);
        }
        if message[start] == b'.' {
            message.remove(start);
        }
    }
}
