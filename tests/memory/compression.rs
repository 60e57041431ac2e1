//! Compressed messages take the memory that was reserved for what they become.

use futures::future::join_all;
use prost::Message as _;
use tara_export_client::proto::{GetReportRequest, get_report_request::View};
use tonic::Code;

use crate::{
    allocator::{alone, peak_during},
    harness::{Host, following::committed, requests},
    raw::{PREVIEW, Protocol, START, call, compress, framed, send},
};

const MIB: usize = 1 << 20;
/// Connections, and the client of this test, which keeps the responses.
const OVERHEAD_BYTES: usize = 8 * MIB;
const CHUNK: &str = "tara.export.v1.ExportService/UploadChunk";
const LIST: &str = "tara.export.v1.ExportService/ListExports";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Each bomb becomes 16 MiB, and 30 arrive at once, each over its own connection.
#[test]
fn bombs_over_many_connections_take_no_more_than_the_reservation() {
    const RESERVED_BYTES: usize = 16 * MIB;
    /// Chunks are decompressed into buffers of 4 MiB and then 8 MiB, one on each thread that computes.
    const CHUNK_BYTES: usize = 12 * MIB;

    alone(async {
        let host = Host::new().flags(&[
            "--max-request-size=4MiB",
            "--max-request-memory=16MiB",
            "--admission-timeout=2s",
        ]);
        let server = host.start().await;
        let zeros = vec![0; 16 * MIB];
        let mut bombs = Vec::new();
        for encoding in ["gzip", "deflate", "zstd"] {
            let bomb = framed(1, &compress(encoding, &zeros));
            for method in [PREVIEW, START, CHUNK, LIST, REFLECTION] {
                bombs.extend((0..2).map(|_| (method, encoding, bomb.clone())));
            }
        }
        drop(zeros);
        let calls = bombs.into_iter().map(|(method, encoding, bomb)| {
            call(server.address, Protocol::Grpc, method, Some(encoding), bomb)
        });
        let (ended, peak) = peak_during(join_all(calls)).await;
        for (status, _) in ended {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        }
        let threads = server.running.engine().computing().threads();
        let allowed = RESERVED_BYTES * 3 / 2 + threads * CHUNK_BYTES + OVERHEAD_BYTES;
        println!("30 bombs of 16 MiB: peak {} MiB, allowed {} MiB", peak / MIB, allowed / MIB);
        assert!(peak < allowed, "peak {peak}, allowed {allowed}");
        assert_eq!(server.running.engine().admission().reserved_bytes(), 0);
    });
}

#[test]
fn compressed_response_takes_no_more_than_its_message_in_addition() {
    alone(async {
        let host = Host::new();
        let mut server = host.start().await;
        let mut request = requests::request(1, "incident report.docx");
        let section = |number: usize| {
            requests::section(&format!("{number} {}", "x".repeat(60)), vec![requests::item("1")])
        };
        request.review.as_mut().unwrap().suggestions = (0..12_000).map(section).collect();
        committed(&mut server.client, request).await;
        let message = GetReportRequest { name: requests::name(1), view: View::Json as i32 };
        let body = framed(0, &message.encode_to_vec());
        let method = "tara.export.v1.ExportService/GetReport";
        // Ends with the memory of the export.
        call(server.address, Protocol::Grpc, method, None, body.clone()).await;
        let mut sizes = Vec::new();
        for accepted in ["identity", "gzip", "deflate", "zstd"] {
            let headers = [("grpc-accept-encoding", accepted)];
            let call = send(server.address, Protocol::Grpc, method, headers, body.clone());
            let (response, peak) = peak_during(call).await;
            assert_eq!(response.status().code(), Code::Ok, "{:?}", response.status());
            println!("{accepted}: {} bytes, peak {peak}", response.body.len());
            sizes.push((accepted, response.body.len(), peak));
        }
        let (_, plain_bytes, plain_peak) = sizes.remove(0);
        assert!(plain_bytes > 2 * MIB, "the report is too small: {plain_bytes}");
        for (accepted, bytes, peak) in sizes {
            assert!(bytes < plain_bytes / 4, "{accepted}: {bytes}");
            // The state of the encoders is about 2 MiB.
            assert!(peak < plain_peak + plain_bytes + 2 * MIB, "{accepted}: {peak}, {plain_peak}");
        }
    });
}
