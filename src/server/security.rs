//! The listener's TLS and callers, kept as their files and issuers have them.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Notify, time};

use super::TooFewDescriptors;
use crate::{
    auth::{AuthSetupError, Authenticator},
    limits::Pool,
    tls::{TlsError, TlsServer},
};

/// How often the files of certificates, tokens and keys are compared with what was read, and issuers' keys
/// asked for where it is time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// Why a server can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address can't be listened on.
    #[error("can't listen on {address} port {port} (BIND_ADDRESS, PORT): {source}")]
    Bind {
        /// `BIND_ADDRESS`.
        address: IpAddr,
        /// `PORT`.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// Too few files may be open.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// There can be no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody can be let in.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// The system gives no thread.
    #[error("could not start a thread: {0}")]
    Threads(io::Error),
    /// The API can't be described.
    #[error("the API's own description can't be read: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Keeps certificates, tokens and keys as their files and issuers have them. Reads them on this thread of its
/// own: files that hang, on a volume that is away, must not occupy the async runtime.
pub(super) async fn refresh(
    tls: Option<Arc<TlsServer>>,
    authenticator: Option<Arc<Authenticator>>,
    look_again: Arc<Notify>,
    reader: Pool,
) {
    loop {
        // Either is a reason to look.
        let _ = time::timeout(REFRESH_INTERVAL, look_again.notified()).await;
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
            tracing::error!(%error, "files of certificates, tokens and keys are not read again now");
        }
    }
}
