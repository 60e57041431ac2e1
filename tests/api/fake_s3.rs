//! Stand-ins for S3: a store that works, hangs, fails or panics on command, a closed port, and a server that never
//! responds.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tara_export_limits::Pools;
use tara_export_store::{
    LinkObjects, ListRequest, Listing, Object, ObjectInfo, ObjectKey, PartStore, Payload,
    ProbeResult, PutOutcome, Store, StoreError, StoreErrorKind, StoreKind, StreamedPayload,
    local::LocalStore,
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};

use crate::harness::{s3::s3_store, within};

/// The local store reserves this prefix for the service, so a [`FakeS3`] stores its journal under another.
const JOURNAL: &str = ".tara-export/journal/";
pub(crate) const JOURNAL_ON_DISK: &str = ".tara-export/kept/";

fn on_disk(key: &ObjectKey) -> ObjectKey {
    ObjectKey::new(key.as_str().replace(JOURNAL, JOURNAL_ON_DISK)).unwrap()
}

/// The behaviour of a [`FakeS3`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Works,
    /// Blocks every operation.
    HoldsAll,
    /// Accepts records and claims, and blocks puts of bundles' files.
    HoldsArtifacts,
    /// Fails every operation as unavailable.
    Down,
    /// Panics at every put of a bundle's file.
    PanicsAtArtifacts,
    /// Panics at every put of an export's record.
    PanicsAtRecords,
    /// Panics at every listing.
    PanicsAtLists,
}

/// A store of kind S3 that keeps its objects on disk. Its [`Mode`] decides how it behaves.
#[derive(Debug)]
pub(crate) struct FakeS3 {
    objects: LocalStore,
    _folder: TempDir,
    mode: watch::Sender<Mode>,
    /// Number of operations that have been blocked since the start.
    held: watch::Sender<usize>,
    denies_deletions: AtomicBool,
    has_default_retention: AtomicBool,
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
        let denies_deletions = AtomicBool::new(false);
        let has_default_retention = AtomicBool::new(false);
        Arc::new(Self {
            objects,
            _folder: folder,
            mode,
            held,
            denies_deletions,
            has_default_retention,
        })
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Locks every object from now on.
    pub(crate) fn lock_objects(&self) {
        self.has_default_retention.store(true, Ordering::Relaxed);
    }

    /// Denies deletions from now on.
    pub(crate) fn deny_deletions(&self) {
        self.denies_deletions.store(true, Ordering::Relaxed);
    }

    /// Waits until this many operations have been blocked since the start.
    pub(crate) async fn until_held(&self, operations: usize) {
        let mut held = self.held.subscribe();
        within("blocked operations", held.wait_for(|held| *held >= operations)).await.unwrap();
    }

    /// Number of operations that have been blocked since the start.
    pub(crate) fn held(&self) -> usize {
        *self.held.borrow()
    }

    /// The folder of the objects.
    pub(crate) fn root(&self) -> &std::path::Path {
        self.objects.root()
    }

    async fn apply_mode(&self, operation: Operation<'_>) -> Result<(), StoreError> {
        let is_artifact =
            matches!(operation, Operation::Put(key) if !key.as_str().starts_with('.'));
        let is_record =
            matches!(operation, Operation::Put(key) if key.as_str().contains("/exports/"));
        let mut mode = self.mode.subscribe();
        loop {
            match (*mode.borrow_and_update(), operation) {
                (Mode::HoldsAll, _) => {}
                (Mode::HoldsArtifacts, _) if is_artifact => {}
                (Mode::Down, _) => {
                    let kind = StoreErrorKind::Unavailable;
                    return Err(StoreError::new(kind, "S3 is down in this test"));
                }
                (Mode::PanicsAtArtifacts, _) if is_artifact => {
                    panic!("a panic injected by the test")
                }
                (Mode::PanicsAtRecords, _) if is_record => panic!("a panic injected by the test"),
                (Mode::PanicsAtLists, Operation::List) => panic!("a panic injected by the test"),
                _ => return Ok(()),
            }
            self.held.send_modify(|held| *held += 1);
            mode.changed().await.unwrap();
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for FakeS3 {
    fn kind(&self) -> StoreKind {
        StoreKind::S3
    }

    fn location(&self, key: &str) -> String {
        format!("s3://bucket/tara/{key}")
    }

    fn site(&self) -> String {
        self.location("")
    }

    async fn has_default_retention(&self) -> Result<bool, StoreError> {
        Ok(self.has_default_retention.load(Ordering::Relaxed))
    }

    async fn check_put(&self, _key: &ObjectKey) -> Result<(), StoreError> {
        Ok(())
    }

    /// Has no credentials.
    async fn move_old_files(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn reload_credentials(&self) {}

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.apply_mode(Operation::Put(key)).await?;
        self.objects.put_if_absent(&on_disk(key), payload).await
    }

    async fn put_stream_if_absent(
        &self,
        key: &ObjectKey,
        payload: StreamedPayload,
    ) -> Result<PutOutcome, StoreError> {
        self.apply_mode(Operation::Put(key)).await?;
        self.objects.put_stream_if_absent(&on_disk(key), payload).await
    }

    fn parts(&self) -> Option<&dyn PartStore> {
        None
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        self.apply_mode(Operation::Read).await?;
        self.objects.head(&on_disk(key)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        self.apply_mode(Operation::Read).await?;
        self.objects.get(&on_disk(key)).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError> {
        self.apply_mode(Operation::List).await?;
        let request = ListRequest {
            prefix: request.prefix.replace(JOURNAL, JOURNAL_ON_DISK),
            start_after: request.start_after.map(|key| key.replace(JOURNAL, JOURNAL_ON_DISK)),
            ..request
        };
        let mut listing = self.objects.list(request).await?;
        for key in &mut listing.keys {
            // The object may have been deleted in the meantime.
            let info = self.objects.head(&ObjectKey::new(key.as_str()).unwrap()).await;
            listing.modified_times.push(info.ok().and_then(|info| info.modified_time));
            *key = key.replace(JOURNAL_ON_DISK, JOURNAL);
        }
        Ok(listing)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.apply_mode(Operation::Delete).await?;
        if self.denies_deletions.load(Ordering::Relaxed) {
            return Err(StoreError::new(StoreErrorKind::Denied, "the test denies deletions"));
        }
        self.objects.delete(&on_disk(key)).await
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        Vec::new()
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn pools(&self) -> Pools {
        Pools::default()
    }

    fn links(&self) -> Option<&dyn LinkObjects> {
        None
    }
}

/// A reserved port without a listener: connections to it are refused until this is dropped.
pub(crate) struct ClosedPort(TcpSocket);

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    /// An S3 client that uses this port.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        let address = self.0.local_addr().unwrap();
        s3_store(&format!("http://{address}"), "bucket", "access", "secret")
    }
}

/// A server that accepts connections and never responds.
pub(crate) struct SilentServer(TcpListener);

impl SilentServer {
    pub(crate) async fn start() -> Self {
        // The operating system accepts the connections; nothing reads from them.
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// An S3 client that uses this server.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        let address = self.0.local_addr().unwrap();
        s3_store(&format!("http://{address}"), "bucket", "access", "secret")
    }
}
