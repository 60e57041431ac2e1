//! Server-side request forgery: URLs, names that resolve to other addresses, redirects.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tara_export_events::testing::sample;
use tokio::net::UdpSocket;

use super::*;
use crate::{SendError, SendErrorKind, Sender as _};

/// URLs, each after its verdict: `public`; `private`, which needs `private_network`; or `never`.
const CORPUS: &str = include_str!("ssrf_corpus.txt");

#[test]
fn every_url_of_the_corpus_has_its_verdict() {
    let mut count = 0;
    for line in CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (verdict, url) = line.split_once(' ').unwrap_or((line, ""));
        // What cannot be in a line of a text file.
        let url = url.replace("\\t", "\t").replace("\\n", "\n").replace("\\0", "\0");
        let is_accepted = [false, true].map(|is_private_network| {
            match CheckedUrl::parse(&url, is_private_network, HostNames::Shown) {
                Ok(_) => true,
                Err(message) => {
                    assert!(!message.contains("secret"), "{url}: {message}");
                    false
                }
            }
        });
        let expected = match verdict {
            "public" => [true, true],
            "private" => [false, true],
            "never" => [false, false],
            _ => panic!("{line}"),
        };
        assert_eq!(is_accepted, expected, "{url}");
        count += 1;
    }
    assert!(count >= 100, "{count}");
}

/// A DNS server that answers queries of addresses with the next of its lists, and the last one again and again.
struct DnsServer {
    address: SocketAddr,
    query_count: Arc<AtomicUsize>,
}

impl DnsServer {
    async fn start(answers: Vec<Vec<IpAddr>>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let query_count = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&query_count);
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((size_bytes, client)) = socket.recv_from(&mut query).await {
                let number = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                let response = dns_response(&query[..size_bytes], &answers[number]);
                socket.send_to(&response, client).await.unwrap();
            }
        });
        Self { address, query_count }
    }
}

/// A response with these addresses to a query with one question (RFC 1035, section 4).
fn dns_response(query: &[u8], addresses: &[IpAddr]) -> Vec<u8> {
    // Id; a response without error; one question, the answers, nothing else.
    let mut response = query[..2].to_vec();
    response.extend([0x81, 0x80, 0, 1, 0, u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0]);
    response.extend(&query[12..]);
    for address in addresses {
        let (record_type, bytes) = match address {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (28, address.octets().to_vec()),
        };
        // The name of the question, type, class IN, no caching, and the length.
        response.extend([0xc0, 12, 0, record_type, 0, 1, 0, 0, 0, 0, 0]);
        response.push(u8::try_from(bytes.len()).unwrap());
        response.extend(bytes);
    }
    response
}

/// Asks the server for the addresses of a host, each time again.
#[derive(Debug)]
struct DnsResolver {
    server: SocketAddr,
    names: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl Resolve for DnsResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.names.lock().unwrap().push(host.to_owned());
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in host.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.bytes());
        }
        query.extend([0, 0, 1, 0, 1]);
        socket.send_to(&query, self.server).await?;
        let mut response = [0; 512];
        let size_bytes = socket.recv(&mut response).await?;
        let mut records = &response[query.len()..size_bytes];
        let mut addresses = Vec::new();
        while let [_, _, _, record_type, _, _, _, _, _, _, _, length, rest @ ..] = records {
            let (data, others) = rest.split_at(usize::from(*length));
            addresses.push(match record_type {
                1 => Ipv4Addr::from(<[u8; 4]>::try_from(data).unwrap()).into(),
                _ => Ipv6Addr::from(<[u8; 16]>::try_from(data).unwrap()).into(),
            });
            records = others;
        }
        Ok(addresses)
    }
}

/// A global unicast address that is not assigned, so that nothing is reached.
fn public() -> IpAddr {
    "2d00::1".parse().unwrap()
}

/// A receiver on loopback whose connections are counted, and a sender to its port at `rebind.test`.
async fn rebound(answers: Vec<Vec<IpAddr>>) -> (WebhookSender, Arc<AtomicUsize>, DnsServer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connection_count = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connection_count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let server = DnsServer::start(answers).await;
    let resolver = DnsResolver { server: server.address, names: Mutex::default() };
    let context = TargetContext { resolver: Arc::new(resolver), ..context() };
    let url = format!("https://rebind.test:{port}/hook");
    let receiver = CheckedUrl::parse(&url, false, HostNames::Shown).unwrap();
    let secrets = vec![Secret::parse(SECRET).unwrap()];
    let (payload, timeout) = (Payload::CloudEvent, Duration::from_secs(2));
    let sender =
        WebhookSender::new(receiver, secrets, payload, Names::Omitted, timeout, &context).unwrap();
    (sender, connection_count, server)
}

async fn send(sender: &WebhookSender) -> SendError {
    sender.send(&[sample(EventType::Committed, 1)]).await.unwrap_err()
}

#[tokio::test]
async fn host_that_is_rebound_to_loopback_is_not_connected_to() {
    let (sender, connection_count, server) =
        rebound(vec![vec![public()], vec![[127, 0, 0, 1].into()]]).await;
    // The first answer passes the check, and is the one that is connected to.
    let error = send(&sender).await;
    assert!(!error.message.contains("loopback"), "{error}");
    assert_eq!(server.query_count.load(Ordering::SeqCst), 1);
    // The next delivery resolves the host again, and checks again.
    let error = send(&sender).await;
    assert_eq!(
        (error.kind, error.message.as_str()),
        (
            SendErrorKind::Unavailable,
            "rebind.test: the host's address 127.0.0.1 is a loopback address"
        )
    );
    assert_eq!(server.query_count.load(Ordering::SeqCst), 2);
    assert_eq!(connection_count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn host_with_one_address_that_is_not_allowed_is_refused() {
    for denied in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1"] {
        let denied: IpAddr = denied.parse().unwrap();
        let (sender, connection_count, _server) = rebound(vec![vec![public(), denied]]).await;
        let error = send(&sender).await;
        assert!(error.message.contains(&format!("address {denied} is ")), "{error}");
        assert_eq!(connection_count.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn host_without_an_address_is_a_failure() {
    let (sender, _, _server) = rebound(vec![vec![]]).await;
    assert_eq!(
        send(&sender).await.message,
        "rebind.test: cannot resolve the host: it has no address"
    );
}

#[tokio::test]
async fn secret_host_and_its_address_are_not_named() {
    let context = TargetContext {
        resolver: Arc::new(FixedResolver(vec![[10, 1, 2, 3].into()])),
        ..context()
    };
    let receiver =
        CheckedUrl::parse("https://rebind.test/secret", false, HostNames::Hidden).unwrap();
    let sender = WebhookSender::new(
        receiver,
        Vec::new(),
        Payload::CloudEvent,
        Names::Omitted,
        Duration::from_secs(2),
        &context,
    )
    .unwrap();
    for error in [send(&sender).await, sender.check().await.unwrap_err()] {
        assert_eq!(error.message, "the receiver: the host's address is a private address");
    }
    assert!(!format!("{sender:?}").contains("rebind"));
}

#[tokio::test]
async fn localhost_without_tls_must_resolve_to_loopback() {
    let (url, mut received) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let url = url.replace("127.0.0.1", "localhost");
    sender(&url).send(&[sample(EventType::Committed, 1)]).await.unwrap();
    received.recv().await.unwrap();
    let context = TargetContext {
        resolver: Arc::new(FixedResolver(vec![[10, 1, 2, 3].into()])),
        ..context()
    };
    let error = send(&sender_with(&url, Duration::from_secs(2), &context)).await;
    assert_eq!(error.message, "localhost: the host's address 10.1.2.3 is a private address");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (hidden, mut reached) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let (url, _received) =
        answering(&format!("HTTP/1.1 307 T\r\nlocation: {hidden}\r\ncontent-length: 0\r\n\r\n"))
            .await;
    assert_eq!(
        send(&sender(&url)).await.message,
        "127.0.0.1: status 307 (redirects are not followed)"
    );
    assert!(reached.try_recv().is_err());
}
