//! Accepts connections, and pauses when the process or the system runs out of resources.

use std::{io, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use rustix::io::Errno;
use tara_export_limits::CallerKey;
use tara_export_telemetry::names;
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, sleep},
};

/// The first pause after a failure. Each further pause is twice as long.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// A shortage is logged at most once in this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The accepted connections. Never yields an error: a connection that fails while it is accepted is skipped, and
/// after any other failure the loop pauses, since accepting would fail again at once.
pub(super) fn accepted_connections<C: Peer + Send>(
    incoming: impl Stream<Item = io::Result<C>> + Send + 'static,
) -> impl Stream<Item = (C, CallerKey)> + Send + 'static {
    let state = (Box::pin(incoming), Shortage::default());
    stream::unfold(state, |(mut incoming, mut shortage)| async move {
        loop {
            match incoming.next().await? {
                Ok(connection) => {
                    // A connection without a peer is already closed.
                    let Ok(peer) = connection.peer() else { continue };
                    shortage.reset();
                    return Some(((connection, peer), (incoming, shortage)));
                }
                Err(error) if affects_one_connection(&error) => {}
                Err(error) => sleep(shortage.pause(&error)).await,
            }
        }
    })
}

/// A connection whose peer is known.
pub(super) trait Peer {
    /// The key under which limits count the peer.
    fn peer(&self) -> io::Result<CallerKey>;
}

impl Peer for TcpStream {
    fn peer(&self) -> io::Result<CallerKey> {
        Ok(CallerKey::address(self.peer_addr()?.ip()))
    }
}

impl Peer for UnixStream {
    fn peer(&self) -> io::Result<CallerKey> {
        Ok(CallerKey::unix_user(self.peer_cred()?.uid()))
    }
}

/// Whether the failure concerns only one connection, which ended before it was accepted.
fn affects_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// A shortage of file descriptors or memory.
#[derive(Debug, Default)]
struct Shortage {
    pauses: u32,
    last_warning: Option<Instant>,
}

impl Shortage {
    /// Returns how long to wait before the next attempt.
    fn pause(&mut self, error: &io::Error) -> Duration {
        names::ACCEPT_PAUSES.add(1, [reason(error)]);
        if self.last_warning.is_none_or(|last_warning| last_warning.elapsed() >= WARNING_INTERVAL) {
            tracing::error!(
                %error,
                "cannot accept connections: raise the limit of open files (ulimit -n, LimitNOFILE of systemd) or \
                 lower MAX_CONNECTIONS"
            );
            self.last_warning = Some(Instant::now());
        }
        let pause = MIN_PAUSE.saturating_mul(1 << self.pauses.min(10));
        self.pauses += 1;
        pause.min(MAX_PAUSE)
    }

    fn reset(&mut self) {
        self.pauses = 0;
    }
}

/// The metric's label.
fn reason(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => "descriptors",
        Some(Errno::NOMEM | Errno::NOBUFS) => "memory",
        _ => "other",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Connection(CallerKey);

    impl Peer for Connection {
        fn peer(&self) -> io::Result<CallerKey> {
            Ok(self.0.clone())
        }
    }

    fn failure(errno: Errno) -> io::Result<Connection> {
        Err(io::Error::from_raw_os_error(errno.raw_os_error()))
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_during_shortage() {
        let peer = CallerKey::address([192, 0, 2, 1].into());
        let shortage = (0..20).map(|_| failure(Errno::MFILE)).chain([Ok(Connection(peer.clone()))]);
        let again = [failure(Errno::NFILE), Ok(Connection(peer.clone()))];
        let mut accepted_connections =
            Box::pin(accepted_connections(stream::iter(shortage.chain(again).collect::<Vec<_>>())));
        let started = Instant::now();
        assert_eq!(accepted_connections.next().await.unwrap().1, peer);
        // 10 + 20 + … + 640 ms, then thirteen seconds.
        assert_eq!(started.elapsed().as_millis(), 1_270 + 13_000);
        let started = Instant::now();
        accepted_connections.next().await.unwrap();
        assert_eq!(started.elapsed().as_millis(), 10, "pauses start with the minimum again");
    }

    #[tokio::test(start_paused = true)]
    async fn closed_connection_is_skipped_without_pause() {
        let peer = CallerKey::address([192, 0, 2, 1].into());
        let gone =
            [failure(Errno::CONNABORTED), failure(Errno::CONNRESET), Ok(Connection(peer.clone()))];
        let mut accepted_connections = Box::pin(accepted_connections(stream::iter(gone)));
        let started = Instant::now();
        assert_eq!(accepted_connections.next().await.unwrap().1, peer);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
