//! A TCP proxy that delays all data in order, without a bandwidth limit, and counts the bytes.
//!
//! Threads instead of tokio, whose timers have a resolution of a millisecond. Opening a connection
//! costs no round trip here, which favours programs that are started for each run.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

const CHUNK_BYTES: usize = 128 * 1024;
/// Queued chunks in one direction of one connection: more than loopback sends within any delay.
const MAX_QUEUED_CHUNKS: usize = 1024;

/// Bytes with their arrival time.
struct Delayed {
    arrives_at: Instant,
    bytes: Vec<u8>,
}

/// A running proxy, until the process ends.
pub(crate) struct LatencyProxy {
    /// The proxy's address.
    pub(crate) address: SocketAddr,
    transferred_bytes: Arc<AtomicU64>,
}

impl LatencyProxy {
    /// Starts a proxy in front of a server.
    pub(crate) fn start(server: SocketAddr, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let transferred_bytes = Arc::<AtomicU64>::default();
        let counter = transferred_bytes.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if let Err(error) = connect(near, server, round_trip / 2, &counter) {
                    eprintln!("the latency proxy cannot connect to {server}: {error}");
                }
            }
        });
        Ok(Self { address, transferred_bytes })
    }

    /// The bytes transferred so far, in both directions together.
    pub(crate) fn transferred_bytes(&self) -> u64 {
        self.transferred_bytes.load(Ordering::Relaxed)
    }
}

fn connect(
    near: TcpStream,
    server: SocketAddr,
    delay: Duration,
    transferred_bytes: &Arc<AtomicU64>,
) -> io::Result<()> {
    let far = TcpStream::connect(server)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    delay_line(near.try_clone()?, far.try_clone()?, delay, transferred_bytes.clone());
    delay_line(far, near, delay, transferred_bytes.clone());
    Ok(())
}

/// Forwards data from one end to the other, each chunk after the delay.
fn delay_line(from: TcpStream, to: TcpStream, delay: Duration, transferred_bytes: Arc<AtomicU64>) {
    let (sender, receiver) = sync_channel(MAX_QUEUED_CHUNKS);
    thread::spawn(move || take(from, &sender, delay, &transferred_bytes));
    thread::spawn(move || deliver(to, &receiver));
}

/// The end of the stream closes the channel.
fn take(
    mut from: TcpStream,
    sender: &SyncSender<Delayed>,
    delay: Duration,
    transferred_bytes: &AtomicU64,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        transferred_bytes.fetch_add(length as u64, Ordering::Relaxed);
        let chunk =
            Delayed { arrives_at: Instant::now() + delay, bytes: buffer[..length].to_vec() };
        if sender.send(chunk).is_err() {
            return;
        }
    }
}

fn deliver(mut to: TcpStream, receiver: &Receiver<Delayed>) {
    for Delayed { arrives_at, bytes } in receiver {
        thread::sleep(arrives_at.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
