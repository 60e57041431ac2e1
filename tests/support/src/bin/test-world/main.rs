//! What the tests of the clients run against, in one program: S3 in memory, the built server, and
//! networks in front of it that can be cut. `clients/README.md` defines what it says and takes.

mod network;
mod program;

use std::{io, path::PathBuf};

use clap::Parser;
use serde_json::json;
use tara_export_test_support::{Fault, FaultId, FaultRule, Operation, TestS3};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin, stdin};

use self::{
    network::{Network, Protocol},
    program::Program,
};

/// S3 in memory, a tara-export server, and networks before it; steered by lines on standard input
#[derive(Debug, Parser)]
#[command(name = "test-world")]
struct Arguments {
    /// The server's binary
    #[arg(long, env = "TARA_EXPORT_BINARY", default_value = "target/debug/tara-export")]
    server: PathBuf,
}

struct World {
    s3: TestS3,
    denied: Option<FaultId>,
    held: Option<FaultId>,
    server: Program,
    networks: [Network; 2],
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let s3 = TestS3::builder().bucket("tara-test").start().await?;
    let folder = tempfile::tempdir()?;
    let server = Program::start(&arguments.server, folder.path(), &s3.environment()).await?;
    let networks = [
        Network::start(Protocol::Any, server.port()).await?,
        Network::start(Protocol::Http1, server.port()).await?,
    ];
    let [any, http1] = &networks;
    let ready = json!({
        "server": server.address(),
        "grpc": any.address(),
        "http1": http1.address(),
        "folder": folder.path(),
    });
    println!("{ready}");
    let mut world = World { s3, denied: None, held: None, server, networks };
    let mut commands: Lines<BufReader<Stdin>> = BufReader::new(stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        match world.obey(command.trim()).await {
            Ok(()) => println!("ok"),
            Err(error) => println!("error: {error}"),
        }
    }
    world.server.end().await
}

impl World {
    async fn obey(&mut self, command: &str) -> io::Result<()> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            // Refused for good, so that nobody waits for what may pass.
            ["s3", "down"] => {
                self.denied = Some(self.s3.fail(FaultRule::new(Fault::ACCESS_DENIED)))
            }
            ["s3", "up"] => {
                if let Some(denied) = self.denied.take() {
                    self.s3.clear_fault(denied);
                }
            }
            ["hold"] => {
                let documents = FaultRule::new(Fault::Stall).on(Operation::PutObject);
                self.held = Some(self.s3.fail(documents.key_contains("/feedback/")));
            }
            ["release"] => {
                if let Some(held) = self.held.take() {
                    self.s3.clear_fault(held);
                }
            }
            ["cut"] => self.networks.iter().for_each(Network::cut),
            ["cut", "requests", count] => {
                let count = count.parse().map_err(|_| unknown(command))?;
                self.networks.iter().for_each(|network| network.cut_requests_after(count));
            }
            ["damage", path] => {
                let ending = format!("/{path}");
                let keys = self.s3.objects().into_keys().filter(|key| key.ends_with(&ending));
                if keys.filter(|key| self.s3.corrupt(key)).count() == 0 {
                    return Err(io::Error::other(format!("no object is named {path}")));
                }
            }
            ["restart"] => self.server.restart().await?,
            _ => return Err(unknown(command)),
        }
        Ok(())
    }
}

fn unknown(command: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("no such command: {command}"))
}
