//! Keeps certificates, tokens and keys up to date with their files and issuers.

use std::{io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use tara_export_auth::{AuthSetupError, Authenticator};
use tara_export_limits::Pool;
use tara_export_store::Store;
use tokio::{runtime::Handle, sync::Notify, time};

use super::TooFewDescriptors;
use crate::{
    grpc::{DescriptorError, PlainHttpError},
    tls::{TlsError, TlsServer},
};

/// How often the files with certificates, tokens and keys are checked for changes, and issuers' keys fetched if they
/// are due.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// A server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on {address} port {port} (BIND_ADDRESS, PORT): {source}")]
    Bind {
        /// `BIND_ADDRESS`.
        address: IpAddr,
        /// `PORT`.
        port: u16,
        /// The cause.
        source: io::Error,
    },
    /// The server cannot listen on the Unix socket.
    #[error("cannot listen on the Unix socket {} (UNIX_SOCKET): {reason}", path.display())]
    UnixSocket {
        /// `UNIX_SOCKET`.
        path: PathBuf,
        /// The cause, and the action to take.
        reason: String,
    },
    /// The limit of open files is too low.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// TLS cannot be configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Authentication cannot be configured.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// The system cannot start a thread.
    #[error("cannot start a thread: {0}")]
    Threads(io::Error),
    /// The API's descriptors cannot be read.
    #[error("cannot read the API's descriptors: {0}")]
    Reflection(#[from] DescriptorError),
    /// The API's descriptors cannot be read for plain HTTP.
    #[error("cannot read the API's descriptors: {0}")]
    PlainHttp(#[from] PlainHttpError),
}

/// Refreshes certificates, tokens and keys at an interval and on request, and the credentials for S3 on request: the
/// store itself follows their files. Reads them on a separate thread, because
/// a file on an unreachable volume can hang and must not block the async runtime.
pub(super) async fn refresh(
    tls: Option<Arc<TlsServer>>,
    authenticator: Option<Arc<Authenticator>>,
    s3: Option<Arc<dyn Store>>,
    reload: Arc<Notify>,
    reader: Pool,
) {
    loop {
        // Refreshes both after the interval and on request.
        let is_requested = time::timeout(REFRESH_INTERVAL, reload.notified()).await.is_ok();
        if is_requested && let Some(s3) = &s3 {
            s3.reload_credentials();
        }
        let (tls, authenticator) = (tls.clone(), authenticator.clone());
        let runtime = Handle::current();
        let read = reader.run(move || {
            if let Some(tls) = tls {
                tls.refresh();
            }
            if let Some(authenticator) = authenticator {
                runtime.block_on(authenticator.refresh());
            }
        });
        if let Err(error) = read.await {
            tracing::error!(%error, "cannot refresh certificates, tokens and keys");
        }
    }
}
