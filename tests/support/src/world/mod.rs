//! The environment for client tests: an in-memory S3, the built server, and networks in front of it
//! that can be cut. `clients/README.md` defines the commands.

mod network;
mod program;

use std::{io, path::Path};

use tempfile::TempDir;

use self::{
    network::{Network, Protocol},
    program::Program,
};
use crate::{Fault, FaultId, FaultRule, Operation, TestS3};

/// The environment of one scenario. The server stops when it is dropped.
#[derive(Debug)]
pub struct World {
    s3: TestS3,
    denied: Option<FaultId>,
    held: Option<FaultId>,
    server: Program,
    grpc: Network,
    http1: Network,
    folder: TempDir,
}

impl World {
    /// Starts the server binary with a new data directory and a new S3.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(server: &Path) -> io::Result<Self> {
        Self::start_with(server, &[]).await
    }

    /// Starts the server binary as [`World::start`] does, with these environment variables in addition.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start_with(server: &Path, environment: &[(String, String)]) -> io::Result<Self> {
        let s3 = TestS3::builder().bucket("tara-test").start().await?;
        let folder = tempfile::tempdir()?;
        let server = Program::start(server, folder.path(), &s3.environment(), environment).await?;
        let grpc = Network::start(Protocol::Any, server.port()).await?;
        let http1 = Network::start(Protocol::Http1, server.port()).await?;
        Ok(Self { s3, denied: None, held: None, server, grpc, http1, folder })
    }

    /// The server's own address, `host:port`.
    pub fn server(&self) -> String {
        self.server.address()
    }

    /// The address of the network for gRPC, which can be cut.
    pub fn grpc(&self) -> String {
        self.grpc.address()
    }

    /// The address of the network for HTTP/1.1, which refuses HTTP/2.
    pub fn http1(&self) -> String {
        self.http1.address()
    }

    /// A temporary folder, removed with the world.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Executes a command line.
    ///
    /// # Errors
    /// The command is unknown or fails.
    pub async fn run_command(&mut self, command: &str) -> io::Result<()> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            // A permanent error, so that nothing is retried.
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
            ["cut"] => self.networks().for_each(Network::cut),
            ["cut", "requests", count] => {
                let count = count.parse().map_err(|_| unknown(command))?;
                self.networks().for_each(|network| network.cut_requests_after(count));
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

    /// Stops the server and waits for its end.
    ///
    /// # Errors
    /// An I/O error.
    pub async fn shut_down(mut self) -> io::Result<()> {
        self.server.end().await
    }

    fn networks(&self) -> impl Iterator<Item = &Network> {
        [&self.grpc, &self.http1].into_iter()
    }
}

fn unknown(command: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("no such command: {command}"))
}
