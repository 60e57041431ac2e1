//! A server and unauthenticated clients: arbitrary bytes over HTTP/1.1, and calls with unusual
//! heads and messages. No call panics (libFuzzer ends the process if one does, even if the panic is
//! caught) or causes an internal error, and the server responds to the next one.
#![no_main]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, LazyLock},
    time::Duration,
};

use clap::{Args as _, Command, FromArgMatches as _, builder::Resettable};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use tara_export::{
    config::{ListenSettings, Settings},
    server::{Access, RunningServer, Service},
};
use tara_export_clock::SystemClock;
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// These bytes and the end of the stream.
    Raw(&'a [u8]),
    /// A call over gRPC-Web or plain HTTP, which work over HTTP/1.1.
    Call {
        method: Method,
        media_type: MediaType,
        header_name: HeaderName,
        header_value: &'a [u8],
        /// The first byte of the message's frame.
        frame_flag: u8,
        /// The error of the size in the frame.
        size_error: i8,
        message: &'a [u8],
    },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Method {
    PreviewExport,
    StartExport,
    WatchExport,
    GetExport,
    ListExports,
    GetReport,
    DownloadArtifact,
    DownloadBundle,
    CreateUpload,
    GetUpload,
    UploadDocument,
    UploadChunk,
    CreateDownloadLink,
    BatchStartExports,
    WatchBatch,
    GetBatch,
    Unknown,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum MediaType {
    Binary,
    Text,
    Native,
    Json,
    Proto,
    ConnectJson,
    ConnectProto,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum HeaderName {
    GrpcTimeout,
    GrpcEncoding,
    GrpcAcceptEncoding,
    ContentEncoding,
    ConnectContentEncoding,
    ConnectAcceptEncoding,
    Traceparent,
    Tracestate,
    Authorization,
    Binary,
    Origin,
    Te,
}

struct Server {
    /// Runs the server; never dropped.
    _runtime: Runtime,
    address: SocketAddr,
    _running: RunningServer,
    _data_dir: TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let data_dir = tempfile::tempdir().expect("temporary files can be written");
    let runtime = Runtime::new().expect("threads can be started");
    let running = runtime.block_on(start(&data_dir));
    Server { address: running.address(), _runtime: runtime, _running: running, _data_dir: data_dir }
});

/// The timeout of a response. Far more than it needs: an input that reaches it hangs.
const TIMEOUT: Duration = Duration::from_secs(20);

async fn start(data_dir: &TempDir) -> RunningServer {
    // Settings from flags only, independent of the environment.
    let command = Settings::augment_args(Command::new("fuzz").no_binary_name(true));
    let command = command.mut_args(|argument| argument.env(Resettable::Reset));
    let path = data_dir.path().to_str().expect("the path is UTF-8");
    let matches = command.try_get_matches_from(["--data-dir", path]).expect("the flags are valid");
    let settings = Settings::from_arg_matches(&matches).expect("the settings are valid");
    let service = Service::new(&settings, Access::Write, Arc::new(SystemClock)).await;
    let service = service.expect("the folder is new");
    RunningServer::start(service, &ListenSettings::embedded()).await.expect("a port is free")
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Raw(bytes) => {
            let response = exchange(bytes, true);
            assert!(response.is_empty() || response.starts_with(b"HTTP/1.") || is_http2(&response));
        }
        Input::Call {
            method,
            media_type,
            header_name,
            header_value,
            frame_flag,
            size_error,
            message,
        } => {
            let size = (message.len() as u32).wrapping_add_signed(size_error.into());
            let body = match media_type {
                MediaType::Json | MediaType::Proto => message.to_vec(),
                _ => [&[frame_flag], &size.to_be_bytes()[..], message].concat(),
            };
            let head = head(method, media_type, header_name, header_value, body.len());
            let response = exchange(&[head, body].concat(), false);
            check_response(&response, method);
        }
    }
    let health = exchange(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", false);
    assert!(health.starts_with(b"HTTP/1.1 200 "), "{}", health.escape_ascii());
});

fn head(
    method: Method,
    media_type: MediaType,
    name: HeaderName,
    value: &[u8],
    length: usize,
) -> Vec<u8> {
    let media_type = match media_type {
        MediaType::Binary => "application/grpc-web+proto",
        MediaType::Text => "application/grpc-web-text+proto",
        MediaType::Native => "application/grpc",
        MediaType::Json => "application/json",
        MediaType::Proto => "application/proto",
        MediaType::ConnectJson => "application/connect+json",
        MediaType::ConnectProto => "application/connect+proto",
    };
    let name = match name {
        HeaderName::GrpcTimeout => "grpc-timeout",
        HeaderName::GrpcEncoding => "grpc-encoding",
        HeaderName::GrpcAcceptEncoding => "grpc-accept-encoding",
        HeaderName::ContentEncoding => "content-encoding",
        HeaderName::ConnectContentEncoding => "connect-content-encoding",
        HeaderName::ConnectAcceptEncoding => "connect-accept-encoding",
        HeaderName::Traceparent => "traceparent",
        HeaderName::Tracestate => "tracestate",
        HeaderName::Authorization => "authorization",
        HeaderName::Binary => "x-odd-bin",
        HeaderName::Origin => "origin",
        HeaderName::Te => "te",
    };
    let mut head = format!(
        "POST /tara.export.v1.ExportService/{method:?} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: {media_type}\r\ncontent-length: {length}\r\n{name}: "
    )
    .into_bytes();
    // Additional headers are covered by raw requests.
    head.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// Sends the bytes and reads until the server closes the connection.
fn exchange(bytes: &[u8], ends: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(SERVER.address).expect("the server listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("the timeout is not zero");
    // After a refusal, the server need not read the rest.
    if stream.write_all(bytes).is_ok() && ends {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut response = Vec::new();
    match stream.read_to_end(&mut response) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("incomplete response: {error}; so far {}", response.escape_ascii()),
    }
    response
}

fn is_http2(response: &[u8]) -> bool {
    // The first frame is SETTINGS or GOAWAY on stream 0.
    matches!(response, [_, _, _, 4 | 7, _, 0, 0, 0, 0, ..])
}

/// Checks that the response is neither INTERNAL or UNKNOWN nor an HTTP 5xx status. 501 is an unknown encoding.
fn check_response(response: &[u8], method: Method) {
    let text = response.escape_ascii().to_string();
    assert!(
        response.starts_with(b"HTTP/1.1 ")
            && (!response.starts_with(b"HTTP/1.1 5") || response.starts_with(b"HTTP/1.1 501")),
        "{method:?}: {text}"
    );
    // The error of a stream over plain HTTP.
    for code in ["internal", "unknown"] {
        assert!(!text.contains(&format!("\\\"code\\\":\\\"{code}\\\"")), "{method:?}: {text}");
    }
    let name = b"grpc-status:";
    let after = response.windows(name.len()).rposition(|window| window == name);
    let code: String = after
        .map(|start| &response[start + name.len()..])
        .unwrap_or_default()
        .iter()
        .skip_while(|byte| **byte == b' ')
        .take_while(|byte| byte.is_ascii_digit())
        .map(|byte| char::from(*byte))
        .collect();
    assert!(!matches!(code.as_str(), "2" | "13"), "{method:?}: {text}");
}
