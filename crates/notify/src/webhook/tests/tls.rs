//! Certificates are verified.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tara_export_events::testing::sample;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
};

use super::*;
use crate::Sender as _;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn trusted(&self) -> Authorities {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &self.pem).unwrap();
        Authorities::read(file.path()).unwrap()
    }

    fn acceptor(&self, host: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// The port of a receiver with TLS.
async fn receiver_with_tls(acceptor: TlsAcceptor) -> u16 {
    let url = receiver(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut request = [0; 4096];
            while !request.ends_with(b"}") && matches!(stream.read(&mut request).await, Ok(1..)) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    url.parse::<http::Uri>().unwrap().port_u16().unwrap()
}

#[tokio::test]
async fn certificate_must_be_of_a_trusted_authority_and_of_the_host() {
    let (authority, other) = (Authority::new(), Authority::new());
    let port = receiver_with_tls(authority.acceptor("hook.test")).await;
    for (host, trusted, expected) in [
        ("hook.test", &authority, None),
        ("hook.test", &other, Some("hook.test: TLS failed: invalid peer certificate: ")),
        ("else.test", &authority, Some("else.test: TLS failed: invalid peer certificate: ")),
    ] {
        let context = TargetContext { authorities: trusted.trusted(), ..context() };
        let url = format!("https://{host}:{port}/hook");
        let sender = sender_with(&url, Duration::from_secs(20), &context);
        for result in [sender.send(&[sample(EventType::Failed, 1)]).await, sender.check().await] {
            match (result, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(expected)) => {
                    assert!(error.message.starts_with(expected), "{error}");
                }
                (result, _) => panic!("{host}: {result:?}"),
            }
        }
    }
    let receiver =
        CheckedUrl::parse(&format!("https://else.test:{port}/"), true, HostNames::Hidden).unwrap();
    let context = TargetContext { authorities: authority.trusted(), ..context() };
    let (payload, timeout) = (Payload::CloudEvent, Duration::from_secs(20));
    let sender =
        WebhookSender::new(receiver, Vec::new(), payload, Names::Omitted, timeout, &context);
    let error = sender.unwrap().check().await.unwrap_err();
    assert_eq!(error.message, "the receiver: the certificate is not valid");
}

/// A proxy that connects every tunnel to this machine, and its requests.
async fn proxy() -> (String, mpsc::UnboundedReceiver<Received>) {
    let (requests, received) = mpsc::unbounded_channel();
    let url = receiver(move |mut stream| {
        let requests = requests.clone();
        async move {
            let request = receive(&mut stream).await;
            let port = request.first_line.split([':', ' ']).nth(2).unwrap().parse().unwrap();
            requests.send(request).unwrap();
            let mut destination = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut stream, &mut destination).await);
        }
    })
    .await;
    (url.strip_suffix("/hook").unwrap().to_owned(), received)
}

#[tokio::test]
async fn proxy_resolves_the_host_and_tls_is_with_the_receiver() {
    let authority = Authority::new();
    let port = receiver_with_tls(authority.acceptor("hook.test")).await;
    let (proxy, mut tunnels) = proxy().await;
    let context = TargetContext {
        proxies: Proxies::of(&[("HTTPS_PROXY", proxy)].into_iter().collect()),
        resolver: Arc::new(FixedResolver(Vec::new())),
        authorities: authority.trusted(),
        ..context()
    };
    for (host, is_verified) in [("hook.test", true), ("else.test", false)] {
        let url = format!("https://{host}:{port}/hook?token=secret");
        let sender = sender_with(&url, Duration::from_secs(20), &context);
        let result = sender.send(&[sample(EventType::Failed, 1)]).await;
        assert_eq!(result.is_ok(), is_verified, "{result:?}");
        let tunnel = tunnels.recv().await.unwrap();
        assert_eq!(tunnel.first_line, format!("CONNECT {host}:{port} HTTP/1.1"));
    }
}

#[tokio::test]
async fn loopback_needs_no_proxy() {
    let (url, mut received) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let variables = [("HTTP_PROXY", "http://proxy.test:1"), ("HTTPS_PROXY", "http://proxy.test:1")];
    let context =
        TargetContext { proxies: Proxies::of(&variables.into_iter().collect()), ..context() };
    let sender = sender_with(&url, Duration::from_secs(20), &context);
    sender.send(&[sample(EventType::Failed, 1)]).await.unwrap();
    received.recv().await.unwrap();
}
