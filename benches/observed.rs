//! The cost of TLS, authentication, metrics and traces: exports per second of a server with all of
//! them and of one without, alternating: `.ci/real-s3 minio cargo bench --bench observed`.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed benchmark ends")]

mod support;

use std::{net::SocketAddr, path::Path};

use clap::Parser;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::{
    bucket::Bucket,
    load::{median_measurement, print_row, through_service},
    review,
    server::Server,
};
use tara_export_client::{Client, ConnectOptions, Token};
use tara_export_digest::Sha256;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

const TOKEN: &str = "0f3c9a57d1e84b6290cdbe31a7f84e5d";

#[derive(Debug, Parser)]
struct Arguments {
    /// Numbers of concurrent callers.
    #[arg(long, value_delimiter = ',', default_value = "8,64")]
    exporters: Vec<usize>,
    /// Exports per measurement, of all callers together.
    #[arg(long, default_value_t = 640)]
    exports: usize,
    /// Alternating measurements of each server.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&arguments));
}

async fn measure(arguments: &Arguments) {
    let bucket = Bucket::from_environment().await;
    let folder = tempfile::tempdir().expect("a folder");
    let plain = Server::start(bucket.address);
    let observed = observed(bucket.address, folder.path(), &collector().await);
    let request = review::sample();
    println!("\n{} exports, {} alternating rounds:\n", arguments.exports, arguments.rounds);
    println!("| callers | | exports a second | median | p90 | p99 | errors | CPU ms an export |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut run_number = 0;
    for exporters in arguments.exporters.iter().copied() {
        let mut measured = [Vec::new(), Vec::new()];
        let clients = [clients(&plain, exporters).await, clients(&observed, exporters).await];
        // The first round is a warm-up and is not counted.
        for round in 0..=arguments.rounds {
            let exports = if round == 0 { exporters * 2 } else { arguments.exports };
            // The order alternates, because each server finds the store as the other left it.
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for one in order {
                run_number += 1;
                let server = [&plain, &observed][one];
                let result =
                    through_service(server, &clients[one], &request, run_number, exports).await;
                if round > 0 {
                    measured[one].push(result);
                }
            }
        }
        let [off, on] = measured.map(median_measurement);
        print_row(exporters, "all off", &off);
        print_row(exporters, "all on", &on);
        let ratio = on.exports_per_second / off.exports_per_second;
        println!("| {exporters} | ratio | {ratio:.3} | | | | | |");
    }
}

async fn clients(server: &Server, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(server.client().await);
    }
    clients
}

/// Starts a server with TLS, tokens, metrics for both readers, and traces of one call in a hundred.
fn observed(s3: SocketAddr, folder: &Path, collector: &str) -> Server {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority_pem = authority.self_signed(&authority_key).expect("a certificate").pem();
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let issuer = Issuer::new(authority, authority_key);
    let certificate = certificate.signed_by(&key, &issuer).expect("a certificate").pem();
    let digest = Sha256::of(TOKEN.as_bytes()).to_string();
    let token = serde_json::json!({"name": "load", "roles": ["export"], "sha256": digest});
    let tokens = serde_json::json!({ "tokens": [token] }).to_string();
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).expect("a file");
        path.display().to_string()
    };
    let flags = [
        format!("--tls-cert-file={}", file("cert.pem", &certificate)),
        format!("--tls-key-file={}", file("key.pem", &key.serialize_pem())),
        format!("--auth-tokens-file={}", file("tokens.json", &tokens)),
        "--metrics-listen-addr=127.0.0.1:0".to_owned(),
        "--metrics-emf-namespace=Load".to_owned(),
        format!("--trace-otlp-endpoint={collector}"),
        "--trace-sample-ratio=0.01".to_owned(),
    ];
    let options = ConnectOptions {
        authorities_pem: Some(authority_pem.into_bytes()),
        token: Token::new(TOKEN),
        ..ConnectOptions::default()
    };
    Server::start_with(s3, "https", &flags, options)
}

/// A trace collector that discards everything.
struct Collector;

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collector() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut server = tonic::transport::Server::builder();
    let server = server.add_service(TraceServiceServer::new(Collector));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    url
}
