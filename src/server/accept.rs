//! Accepts connections, also when the process or the system is short of something.

use std::{io, net::SocketAddr, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use rustix::io::Errno;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::telemetry::names;

/// The first pause after a failure; each further one is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A shortage is logged once in this time, however often it recurs.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The connections that this listener accepts. Failures are never passed on: a connection that fails while it is
/// accepted is skipped, and after any other failure the loop pauses, since it would fail again at once.
pub(super) fn accepted<C: Peer + Send>(
    incoming: impl Stream<Item = io::Result<C>> + Send + 'static,
) -> impl Stream<Item = (C, SocketAddr)> + Send + 'static {
    let state = (Box::pin(incoming), Shortage::default());
    stream::unfold(state, |(mut incoming, mut shortage)| async move {
        loop {
            match incoming.next().await? {
                Ok(connection) => {
                    // Without an address, it is gone already.
                    let Ok(peer) = connection.peer() else { continue };
                    shortage.is_over();
                    return Some(((connection, peer), (incoming, shortage)));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => sleep(shortage.pause(&error)).await,
            }
        }
    })
}

/// Something with an address at its other end.
pub(super) trait Peer {
    fn peer(&self) -> io::Result<SocketAddr>;
}

impl Peer for TcpStream {
    fn peer(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }
}

/// Whether the failure is of a connection that ended before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// What the process or the system is short of.
#[derive(Debug, Default)]
struct Shortage {
    pauses: u32,
    warned: Option<Instant>,
}

impl Shortage {
    /// How long to wait before the next attempt.
    fn pause(&mut self, error: &io::Error) -> Duration {
        names::ACCEPT_PAUSES.add(1, [reason(error)]);
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
            tracing::error!(
                %error,
                "cannot accept connections: raise the limit of open files (ulimit -n, LimitNOFILE of systemd) or \
                 lower MAX_CONNECTIONS"
            );
            self.warned = Some(Instant::now());
        }
        let pause = SHORTEST_PAUSE.saturating_mul(1 << self.pauses.min(10));
        self.pauses += 1;
        pause.min(LONGEST_PAUSE)
    }

    fn is_over(&mut self) {
        self.pauses = 0;
    }
}

/// The value of the metric's label.
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

    struct Connection(SocketAddr);

    impl Peer for Connection {
        fn peer(&self) -> io::Result<SocketAddr> {
            Ok(self.0)
        }
    }

    fn failure(errno: Errno) -> io::Result<Connection> {
        Err(io::Error::from_raw_os_error(errno.raw_os_error()))
    }

    #[tokio::test(start_paused = true)]
    async fn shortage_makes_the_loop_pause_longer_and_longer() {
        let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let shortage = (0..20).map(|_| failure(Errno::MFILE)).chain([Ok(Connection(peer))]);
        let again = [failure(Errno::NFILE), Ok(Connection(peer))];
        let mut accepted =
            Box::pin(accepted(stream::iter(shortage.chain(again).collect::<Vec<_>>())));
        let started = Instant::now();
        assert_eq!(accepted.next().await.unwrap().1, peer);
        // 10 + 20 + … + 640 ms, then thirteen seconds.
        assert_eq!(started.elapsed().as_millis(), 1_270 + 13_000);
        let started = Instant::now();
        accepted.next().await.unwrap();
        assert_eq!(started.elapsed().as_millis(), 10, "it begins with the shortest pause again");
    }

    #[tokio::test(start_paused = true)]
    async fn connection_that_is_gone_is_skipped_at_once() {
        let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let gone = [failure(Errno::CONNABORTED), failure(Errno::CONNRESET), Ok(Connection(peer))];
        let mut accepted = Box::pin(accepted(stream::iter(gone)));
        let started = Instant::now();
        assert_eq!(accepted.next().await.unwrap().1, peer);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
