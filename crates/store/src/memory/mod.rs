//! An in-memory store for unit tests: no network, no disk, and injected failures.
//!
//! A [`MemoryStore`] of kind [`StoreKind::S3`] has the features of S3 (multipart uploads, links, digests and
//! times in its responses), one of kind [`StoreKind::Local`] those of the local store (streams). The contract
//! suite runs on both.

mod faults;
mod parts;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tara_export_digest::{ContentHasher, Crc64Nvme, Sha256};
use tara_export_limits::Pools;

pub use self::faults::{Call, Fault, Operation};
use self::{faults::Script, parts::UnfinishedObject};
use super::{
    Link, LinkObjects, LinkRequest, ListRequest, Listing, Object, ObjectInfo, ObjectKey, PartStore,
    Payload, ProbeResult, PutOutcome, SourceLocation, Store, StoreError, StoreErrorKind, StoreKind,
    StreamedPayload,
    probe::{CheckResults, Finding},
};

/// The piece size of reads and of progress reports.
const PIECE_BYTES: usize = 1024 * 1024;

/// An in-memory store with injected failures, delays and call counts.
///
/// Each operation is atomic. Tests use the inherent methods, which are not counted and never fail, to inspect
/// the objects and to make changes that [`Store`] does not allow.
pub struct MemoryStore {
    kind: StoreKind,
    name: String,
    state: Mutex<State>,
    script: Script,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, StoredObject>,
    /// Objects of other buckets.
    sources: HashMap<SourceLocation, StoredObject>,
    unfinished: BTreeMap<String, UnfinishedObject>,
    /// The number of uploads started so far.
    started_uploads: u64,
}

#[derive(Clone)]
struct StoredObject {
    bytes: Bytes,
    e_tag: String,
    info: ObjectInfo,
}

impl StoredObject {
    fn of(bytes: Bytes, kind: StoreKind) -> Self {
        let sha256 = Sha256::of(&bytes);
        let info = ObjectInfo {
            size_bytes: bytes.len() as u64,
            sha256: (kind == StoreKind::S3).then_some(sha256),
            crc64nvme: None,
            modified_time: Some(Utc::now()),
        };
        Self { bytes, e_tag: format!("\"{sha256}\""), info }
    }

    /// The object as a response, which may be cut off in the middle.
    fn read(&self, cut: Option<StoreError>) -> Object {
        let bytes = match cut {
            Some(_) => self.bytes.slice(..self.bytes.len() / 2),
            None => self.bytes.clone(),
        };
        let pieces: Vec<Bytes> =
            bytes.chunks(PIECE_BYTES).map(|piece| bytes.slice_ref(piece)).collect();
        let pieces = pieces.into_iter().map(Ok).chain(cut.map(Err));
        Object { info: self.info.clone(), body: stream::iter(pieces).boxed() }
    }
}

impl fmt::Debug for MemoryStore {
    // Never the content.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryStore")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// Creates an empty store. Its objects are at `memory://NAME/KEY`; its bucket name as a source is the name.
    pub fn new(kind: StoreKind, name: impl Into<String>) -> Arc<Self> {
        let (state, script) = (Mutex::default(), Script::default());
        Arc::new(Self { kind, name: name.into(), state, script })
    }

    /// Makes the next call of this operation fail before it takes effect. Several faults of one operation apply to
    /// successive calls.
    pub fn fail_next(&self, operation: Operation, error: StoreError) {
        self.script.push(operation, Fault::Fail(error));
    }

    /// Makes the next call of this operation take effect and then return this error. For reads, the body of the
    /// object is cut off in the middle instead.
    pub fn lose_next_response(&self, operation: Operation, error: StoreError) {
        self.script.push(operation, Fault::LoseResponse(error));
    }

    /// Calls this hook before each operation, which waits for the result and applies the fault, if any. Replaces
    /// the previous hook. Faults of [`fail_next`](Self::fail_next) and
    /// [`lose_next_response`](Self::lose_next_response) have priority.
    pub fn before_each<F>(&self, hook: impl Fn(Call) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Fault>> + Send + 'static,
    {
        self.script.set_hook(hook);
    }

    /// Sets whether every operation fails with [`StoreErrorKind::Unavailable`].
    pub fn set_unavailable(&self, is_unavailable: bool) {
        self.script.set_unavailable(is_unavailable);
    }

    /// The number of calls of this operation, including failed ones.
    pub fn count(&self, operation: Operation) -> usize {
        self.script.calls().iter().filter(|call| call.operation == operation).count()
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.script.calls().clone()
    }

    /// The keys of all objects, ascending.
    pub fn keys(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// The bytes of an object.
    pub fn bytes(&self, key: &str) -> Option<Bytes> {
        self.state().objects.get(key).map(|object| object.bytes.clone())
    }

    /// Creates or replaces an object, such as a damaged or a foreign one. [`Store`] never replaces objects.
    pub fn replace(&self, key: &str, bytes: impl Into<Bytes>) {
        let object = StoredObject::of(bytes.into(), self.kind);
        self.state().objects.insert(key.to_owned(), object);
    }

    /// Removes an object.
    pub fn remove(&self, key: &str) {
        self.state().objects.remove(key);
    }

    /// Sets the creation time of an object.
    pub fn set_modified_time(&self, key: &str, time: DateTime<Utc>) {
        if let Some(object) = self.state().objects.get_mut(key) {
            object.info.modified_time = Some(time);
        }
    }

    /// Creates or replaces an object of another bucket, for use as a source.
    pub fn put_source(&self, location: SourceLocation, bytes: impl Into<Bytes>) {
        let object = StoredObject::of(bytes.into(), StoreKind::S3);
        self.state().sources.insert(location, object);
    }

    /// The keys of multipart uploads that were neither completed nor aborted.
    pub fn unfinished(&self) -> Vec<String> {
        self.state().unfinished.values().map(|object| object.key().to_owned()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation with its injected fault.
    async fn run<T>(
        &self,
        operation: Operation,
        key: &str,
        effect: impl FnOnce(&mut State) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let lost = self.script.next(operation, key, &self.location(key)).await?;
        let result = effect(&mut self.state());
        match lost {
            Some(error) => Err(error),
            None => result,
        }
    }

    /// The same as [`Self::run`], for an operation that reads an object's body.
    async fn run_read(
        &self,
        operation: Operation,
        key: &str,
        find: impl FnOnce(&State) -> Result<StoredObject, StoreError> + Send,
    ) -> Result<Object, StoreError> {
        let cut = self.script.next(operation, key, &self.location(key)).await?;
        let object = find(&self.state())?;
        Ok(object.read(cut))
    }

    fn missing(&self, key: &str) -> StoreError {
        StoreError::new(StoreErrorKind::NotFound, format!("{} does not exist", self.location(key)))
    }

    fn find(&self, state: &State, key: &ObjectKey) -> Result<StoredObject, StoreError> {
        state.objects.get(key.as_str()).cloned().ok_or_else(|| self.missing(key.as_str()))
    }
}

impl State {
    fn put_if_absent(&mut self, key: &str, object: StoredObject) -> PutOutcome {
        if self.objects.contains_key(key) {
            return PutOutcome::Exists;
        }
        self.objects.insert(key.to_owned(), object);
        PutOutcome::Created
    }

    fn list(&self, request: &ListRequest, kind: StoreKind) -> Listing {
        let ListRequest { prefix, start_after, delimited, limit } = request;
        let mut listing = Listing::default();
        let mut last_folder = None;
        for (key, object) in &self.objects {
            let Some(below) = key.strip_prefix(prefix) else { continue };
            let folder =
                below.find('/').filter(|_| *delimited).map(|end| &key[..=prefix.len() + end]);
            let entry = folder.unwrap_or(key);
            let is_before =
                start_after.as_ref().is_some_and(|start_after| entry <= start_after.as_str());
            // The keys of a folder are contiguous.
            if is_before || (folder.is_some() && folder == last_folder) {
                continue;
            }
            if listing.keys.len() + listing.folders.len() == *limit {
                listing.more = true;
                break;
            }
            match folder {
                Some(folder) => listing.folders.push(folder.to_owned()),
                None => {
                    listing.keys.push(key.clone());
                    if kind == StoreKind::S3 {
                        listing.modified_times.push(object.info.modified_time);
                    }
                }
            }
            last_folder = folder;
        }
        listing
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn kind(&self) -> StoreKind {
        self.kind
    }

    fn location(&self, key: &str) -> String {
        format!("memory://{}/{key}", self.name)
    }

    fn site(&self) -> String {
        self.location("")
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let Payload { bytes, sha256, media_type: _, progress } = payload;
        self.run(Operation::Put, key.as_str(), |state| {
            let object = StoredObject::of(bytes, self.kind);
            if Sha256::of(&object.bytes) != sha256 {
                return Err(StoreError::digest_mismatch(&self.location(key.as_str())));
            }
            let mut sent_bytes = 0;
            for piece in object.bytes.chunks(PIECE_BYTES) {
                sent_bytes += piece.len() as u64;
                if let Some(progress) = &progress {
                    progress(sent_bytes);
                }
            }
            Ok(state.put_if_absent(key.as_str(), object))
        })
        .await
    }

    async fn put_stream_if_absent(
        &self,
        key: &ObjectKey,
        payload: StreamedPayload,
    ) -> Result<PutOutcome, StoreError> {
        if self.kind == StoreKind::S3 {
            return Err(StoreError::streams_unsupported(&self.location(key.as_str())));
        }
        let StreamedPayload { expected, media_type: _, mut body, progress } = payload;
        let lost = self
            .script
            .next(Operation::PutStream, key.as_str(), &self.location(key.as_str()))
            .await?;
        let (mut hasher, mut bytes) = (ContentHasher::default(), Vec::new());
        while let Some(piece) = body.try_next().await? {
            hasher.update(&piece);
            bytes.extend_from_slice(&piece);
            if let Some(progress) = &progress {
                progress(bytes.len() as u64);
            }
        }
        if hasher.finish() != expected {
            return Err(StoreError::digest_mismatch(&self.location(key.as_str())));
        }
        let object = StoredObject::of(bytes.into(), self.kind);
        let outcome = self.state().put_if_absent(key.as_str(), object);
        lost.map_or(Ok(outcome), Err)
    }

    fn parts(&self) -> Option<&dyn PartStore> {
        match self.kind {
            StoreKind::S3 => Some(self),
            StoreKind::Local => None,
        }
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        let find = |state: &mut State| self.find(state, key).map(|object| object.info);
        self.run(Operation::Head, key.as_str(), find).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        self.run_read(Operation::Get, key.as_str(), |state| self.find(state, key)).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError> {
        let list = |state: &mut State| Ok(state.list(&request, self.kind));
        self.run(Operation::List, &request.prefix, list).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.run(Operation::Delete, key.as_str(), |state| {
            state.objects.remove(key.as_str());
            Ok(())
        })
        .await
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        let mut results = CheckResults::default();
        let found = async {
            match self.run(Operation::Probe, "", |_| Ok(())).await {
                Ok(()) => Finding::passed("objects can be stored in memory"),
                Err(error) => Finding::failed(error.to_string(), "injected by the test"),
            }
        };
        results.check("memory.access", found).await;
        results.into_results()
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.run(Operation::CheckWritable, "", |_| Ok(())).await
    }

    fn pools(&self) -> Pools {
        Pools::default()
    }

    fn links(&self) -> Option<&dyn LinkObjects> {
        match self.kind {
            StoreKind::S3 => Some(self),
            StoreKind::Local => None,
        }
    }
}

#[async_trait]
impl LinkObjects for MemoryStore {
    async fn link(&self, key: &ObjectKey, request: &LinkRequest) -> Result<Link, StoreError> {
        self.run(Operation::Link, key.as_str(), |_| {
            let uri = self.location(key.as_str());
            Ok(Link { uri, expire_time: Utc::now() + request.time_to_live })
        })
        .await
    }

    async fn check_readable(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.get(key).await.map(|_| ())
    }
}

/// The checksum of a complete object, if it is stored.
fn stored_crc(bytes: &Bytes, is_stored: bool) -> Option<Crc64Nvme> {
    is_stored.then(|| Crc64Nvme::of(bytes))
}
