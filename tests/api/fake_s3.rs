//! S3 as tests want it: one that works, hangs, fails and panics on command, one that is down, and
//! one that never answers.

use std::sync::Arc;

use async_trait::async_trait;
use tara_export::store::{
    ListRequest, Listing, Object, ObjectInfo, ObjectKey, Payload, ProbeResult, PutOutcome, Store,
    StoreError, StoreErrorKind, StoreKind, local::LocalStore,
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};

use crate::harness::{s3::s3_store, within};

/// What S3 takes below this, a folder on disk keeps for the service's own files.
const JOURNAL: &str = ".tara-export/journal/";
pub(crate) const JOURNAL_ON_DISK: &str = ".tara-export/kept/";

fn on_disk(key: &ObjectKey) -> ObjectKey {
    ObjectKey::new(key.as_str().replace(JOURNAL, JOURNAL_ON_DISK)).unwrap()
}

/// What a [`FakeS3`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Works,
    /// Lets every operation wait.
    HoldsAll,
    /// Takes records and claims, and lets the puts of bundles' files wait.
    HoldsArtifacts,
    /// Says that it is unavailable.
    Down,
    /// Panics at every put of a bundle's file.
    PanicsAtArtifacts,
    /// Panics at every listing.
    PanicsAtLists,
}

/// A store that says it is S3, keeps its objects on disk, and does as it is told.
#[derive(Debug)]
pub(crate) struct FakeS3 {
    objects: LocalStore,
    _folder: TempDir,
    mode: watch::Sender<Mode>,
    /// How many operations wait or waited.
    held: watch::Sender<usize>,
}

#[derive(Clone, Copy)]
enum Operation<'a> {
    Put(&'a ObjectKey),
    Read,
    List,
    Delete,
}

impl FakeS3 {
    pub(crate) fn new(mode: Mode) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let objects = LocalStore::open(folder.path().to_owned()).unwrap();
        let (mode, held) = (watch::Sender::new(mode), watch::Sender::new(0));
        Arc::new(Self { objects, _folder: folder, mode, held })
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits until so many operations have been held since the start.
    pub(crate) async fn until_held(&self, operations: usize) {
        let mut held = self.held.subscribe();
        within("operations that hang", held.wait_for(|held| *held >= operations)).await.unwrap();
    }

    /// How many operations have been held since the start.
    pub(crate) fn held(&self) -> usize {
        *self.held.borrow()
    }

    /// Where the objects lie.
    pub(crate) fn root(&self) -> &std::path::Path {
        self.objects.root()
    }

    async fn pass(&self, operation: Operation<'_>) -> Result<(), StoreError> {
        let is_artifact =
            matches!(operation, Operation::Put(key) if !key.as_str().starts_with('.'));
        let mut mode = self.mode.subscribe();
        loop {
            match (*mode.borrow_and_update(), operation) {
                (Mode::HoldsAll, _) => {}
                (Mode::HoldsArtifacts, _) if is_artifact => {}
                (Mode::Down, _) => {
                    let kind = StoreErrorKind::Unavailable;
                    return Err(StoreError::new(kind, "the test says that S3 is down"));
                }
                (Mode::PanicsAtArtifacts, _) if is_artifact => panic!("the test wants a panic"),
                (Mode::PanicsAtLists, Operation::List) => panic!("the test wants a panic"),
                _ => return Ok(()),
            }
            self.held.send_modify(|held| *held += 1);
            mode.changed().await.unwrap();
        }
    }
}

#[async_trait]
impl Store for FakeS3 {
    fn kind(&self) -> StoreKind {
        StoreKind::S3
    }

    fn location(&self, key: &str) -> String {
        format!("s3://bucket/tara/{key}")
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.pass(Operation::Put(key)).await?;
        self.objects.put_if_absent(&on_disk(key), payload).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        self.pass(Operation::Read).await?;
        self.objects.head(&on_disk(key)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        self.pass(Operation::Read).await?;
        self.objects.get(&on_disk(key)).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError> {
        self.pass(Operation::List).await?;
        let request = ListRequest {
            prefix: request.prefix.replace(JOURNAL, JOURNAL_ON_DISK),
            start_after: request.start_after.map(|key| key.replace(JOURNAL, JOURNAL_ON_DISK)),
            ..request
        };
        let mut listing = self.objects.list(request).await?;
        for key in &mut listing.keys {
            *key = key.replace(JOURNAL_ON_DISK, JOURNAL);
        }
        Ok(listing)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.pass(Operation::Delete).await?;
        self.objects.delete(&on_disk(key)).await
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        Vec::new()
    }
}

/// A port at which nobody answers: connections to it are refused, and nobody else gets it, as long
/// as this lives.
pub(crate) struct ClosedPort(TcpSocket);

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    /// The real S3 client, told to use this port.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        let address = self.0.local_addr().unwrap();
        s3_store(&format!("http://{address}"), "bucket", "access", "secret")
    }
}

/// A server that takes connections and never says anything.
pub(crate) struct SilentServer(TcpListener);

impl SilentServer {
    pub(crate) async fn start() -> Self {
        // The system takes the connections; nobody ever looks at them.
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The real S3 client, told to use this server.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        let address = self.0.local_addr().unwrap();
        s3_store(&format!("http://{address}"), "bucket", "access", "secret")
    }
}
