//! A TCP proxy that puts distance in front of a server: what is sent through it arrives later, in order,
//! and as much of it as there is. It counts what passes.
//!
//! Threads instead of tokio, whose timers are exact to a millisecond only. Opening a connection costs no
//! round trip here, which favours programs that are started anew for each run.

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
/// Chunks under way in one direction of one connection: more than loopback sends within any delay.
const CHUNKS_UNDER_WAY: usize = 1024;

/// Bytes that arrive at a time.
struct Delayed {
    arrives_at: Instant,
    bytes: Vec<u8>,
}

/// A proxy that runs. It ends with the process.
pub(crate) struct LatencyProxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    passed_bytes: Arc<AtomicU64>,
}

impl LatencyProxy {
    /// Starts a proxy before a server.
    pub(crate) fn start(server: SocketAddr, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let passed_bytes = Arc::<AtomicU64>::default();
        let counter = passed_bytes.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if let Err(error) = connect(near, server, round_trip / 2, &counter) {
                    eprintln!("the latency proxy has no connection to {server}: {error}");
                }
            }
        });
        Ok(Self { address, passed_bytes })
    }

    /// Bytes that came to it so far, from both sides together.
    pub(crate) fn passed_bytes(&self) -> u64 {
        self.passed_bytes.load(Ordering::Relaxed)
    }
}

fn connect(
    near: TcpStream,
    server: SocketAddr,
    delay: Duration,
    passed_bytes: &Arc<AtomicU64>,
) -> io::Result<()> {
    let far = TcpStream::connect(server)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    delay_line(near.try_clone()?, far.try_clone()?, delay, passed_bytes.clone());
    delay_line(far, near, delay, passed_bytes.clone());
    Ok(())
}

/// Carries what comes from one end to the other, each chunk so much later.
fn delay_line(from: TcpStream, to: TcpStream, delay: Duration, passed_bytes: Arc<AtomicU64>) {
    let (sender, receiver) = sync_channel(CHUNKS_UNDER_WAY);
    thread::spawn(move || take(from, &sender, delay, &passed_bytes));
    thread::spawn(move || deliver(to, &receiver));
}

/// The end of the stream is what ends the channel.
fn take(
    mut from: TcpStream,
    sender: &SyncSender<Delayed>,
    delay: Duration,
    passed_bytes: &AtomicU64,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        passed_bytes.fetch_add(length as u64, Ordering::Relaxed);
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
