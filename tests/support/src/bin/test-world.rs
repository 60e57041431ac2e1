//! [`World`] as a program, for the tests of clients in other languages: it takes commands as lines of standard
//! input. `clients/README.md` defines what it says and takes.

use std::{env, io, path::PathBuf};

use clap::Parser;
use serde_json::json;
use tara_export_test_support::World;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

/// S3 in memory, a tara-export server, and networks before it; steered by lines on standard input
#[derive(Debug, Parser)]
#[command(name = "test-world")]
struct Arguments {
    /// The server's binary; without it, the one beside this program
    #[arg(long, env = "TARA_EXPORT_BINARY")]
    server: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let beside = env::current_exe()?.with_file_name("tara-export");
    let mut world = World::start(&Arguments::parse().server.unwrap_or(beside)).await?;
    let ready = json!({
        "server": world.server(),
        "grpc": world.grpc(),
        "http1": world.http1(),
        "folder": world.folder(),
    });
    println!("{ready}");
    let mut commands = BufReader::new(stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        match world.obey(command.trim()).await {
            Ok(()) => println!("ok"),
            Err(error) => println!("error: {error}"),
        }
    }
    world.end().await
}
