//! A TCP proxy that delays all data in order, without a bandwidth limit, and counts the bytes. The
//! delay is constant, or that of a seeded distribution for each request.
//!
//! Half of a delay is before the server and half after it, so that a delayed request takes effect
//! in the middle. The proxy does not parse HTTP: on a connection of HTTP/1.1 without pipelining, a
//! request begins with the first bytes from the client after bytes from the server.
//!
//! Threads instead of tokio, whose timers have a resolution of a millisecond. Opening a connection
//! costs no round trip here, which favours programs that are started for each run.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tara_export_test_support::latency::ResponseTimes;

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
    /// Starts a proxy in front of a server with a constant round-trip time.
    pub(crate) fn start(server: SocketAddr, round_trip: Duration) -> io::Result<Self> {
        Self::start_with(server, move |_| Delays::Constant(round_trip / 2))
    }

    /// Starts a proxy with the response times of [`ResponseTimes`].
    pub(crate) fn start_with_tail(server: SocketAddr, seed: u64) -> io::Result<Self> {
        Self::start_with(server, move |connection| {
            let times = ResponseTimes::of_connection(seed, connection);
            Delays::PerRequest(Arc::new(RequestDelays::new(times)))
        })
    }

    fn start_with(
        server: SocketAddr,
        delays: impl Fn(u64) -> Delays + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let transferred_bytes = Arc::<AtomicU64>::default();
        let counter = transferred_bytes.clone();
        thread::spawn(move || {
            for (number, near) in (0..).zip(listener.incoming().flatten()) {
                if let Err(error) = connect(near, server, &delays(number), &counter) {
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

/// The delays of one connection, in each direction.
#[derive(Clone)]
enum Delays {
    Constant(Duration),
    PerRequest(Arc<RequestDelays>),
}

#[derive(Clone, Copy)]
enum From {
    Client,
    Server,
}

impl Delays {
    /// The delay of bytes that arrive now.
    fn of_bytes(&self, from: From) -> Duration {
        match self {
            Self::Constant(delay) => *delay,
            Self::PerRequest(delays) => delays.of_bytes(from),
        }
    }
}

/// One delay for a request and its response.
struct RequestDelays {
    times: Mutex<ResponseTimes>,
    /// Whether the next bytes from the client begin a request.
    has_responded: AtomicBool,
    delay_nanos: AtomicU64,
}

impl RequestDelays {
    fn new(times: ResponseTimes) -> Self {
        let (has_responded, delay_nanos) = (AtomicBool::new(true), AtomicU64::new(0));
        Self { times: Mutex::new(times), has_responded, delay_nanos }
    }

    fn of_bytes(&self, from: From) -> Duration {
        match from {
            From::Server => self.has_responded.store(true, Ordering::SeqCst),
            From::Client if self.has_responded.swap(false, Ordering::SeqCst) => {
                let time = self.times.lock().unwrap_or_else(PoisonError::into_inner).sample();
                let nanos = u64::try_from((time / 2).as_nanos()).unwrap_or(u64::MAX);
                self.delay_nanos.store(nanos, Ordering::SeqCst);
            }
            From::Client => {}
        }
        Duration::from_nanos(self.delay_nanos.load(Ordering::SeqCst))
    }
}

fn connect(
    near: TcpStream,
    server: SocketAddr,
    delays: &Delays,
    transferred_bytes: &Arc<AtomicU64>,
) -> io::Result<()> {
    let far = TcpStream::connect(server)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_writer, far_writer) = (near.try_clone()?, far.try_clone()?);
    delay_line((near, From::Client), far_writer, delays.clone(), transferred_bytes.clone());
    delay_line((far, From::Server), near_writer, delays.clone(), transferred_bytes.clone());
    Ok(())
}

/// Forwards data from one end to the other, each chunk after its delay.
fn delay_line(
    from: (TcpStream, From),
    to: TcpStream,
    delays: Delays,
    transferred_bytes: Arc<AtomicU64>,
) {
    let (sender, receiver) = sync_channel(MAX_QUEUED_CHUNKS);
    thread::spawn(move || take(from, &sender, &delays, &transferred_bytes));
    thread::spawn(move || deliver(to, &receiver));
}

/// The end of the stream closes the channel.
fn take(
    (mut stream, from): (TcpStream, From),
    sender: &SyncSender<Delayed>,
    delays: &Delays,
    transferred_bytes: &AtomicU64,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        transferred_bytes.fetch_add(length as u64, Ordering::Relaxed);
        let arrives_at = Instant::now() + delays.of_bytes(from);
        let chunk = Delayed { arrives_at, bytes: buffer[..length].to_vec() };
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
