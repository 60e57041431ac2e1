//! The tests' S3 server as a program: try tara-export with S3 without an AWS account.

use std::{io, time::Duration};

use clap::Parser;
use tara_export_test_support::TestS3;

/// An in-memory S3 server. Its objects are lost when it stops.
#[derive(Debug, Parser)]
#[command(name = "test-s3-server")]
struct Arguments {
    /// TCP port on 127.0.0.1; 0 selects a free port
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The bucket that exists from the start
    #[arg(long, default_value = "tara-test")]
    bucket: String,
    /// Delay of every request, in milliseconds
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let server = TestS3::builder().bucket(arguments.bucket).port(arguments.port).start().await?;
    server.latency(Duration::from_millis(arguments.latency_ms));
    println!("S3 server in memory at {}, until Ctrl-C. To export to it:\n", server.endpoint());
    for (name, value) in server.environment() {
        println!("export {name}={value}");
    }
    std::future::pending().await
}
