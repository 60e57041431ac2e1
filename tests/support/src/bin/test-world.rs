//! [`World`] as a program, for the tests of clients in other languages. It reads commands from
//! standard input, one per line. `clients/README.md` defines the commands and the output.

use std::{env, io, path::PathBuf};

use clap::Parser;
use serde_json::json;
use tara_export_test_support::World;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

/// An in-memory S3, a tara-export server and networks in front of it, controlled by lines on
/// standard input
#[derive(Debug, Parser)]
#[command(name = "test-world")]
struct Arguments {
    /// The server's binary; by default the one next to this program
    #[arg(long, env = "TARA_EXPORT_BINARY")]
    server: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let sibling = env::current_exe()?.with_file_name("tara-export");
    let mut world = World::start(&Arguments::parse().server.unwrap_or(sibling)).await?;
    let ready = json!({
        "server": world.server(),
        "grpc": world.grpc(),
        "http1": world.http1(),
        "folder": world.folder(),
    });
    println!("{ready}");
    let mut commands = BufReader::new(stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        match world.run_command(command.trim()).await {
            Ok(()) => println!("ok"),
            Err(error) => println!("error: {error}"),
        }
    }
    world.shut_down().await
}
