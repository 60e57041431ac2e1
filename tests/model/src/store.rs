//! A store: objects that are put if absent. S3 and each replica's local store are stores.

use crate::{
    events::{EventId, Machine},
    names::{Base, Digest, ExportId, Folder, Pin, ReplicaNumber, RequestNumber, Source, StoreId},
};

/// A set of artifacts, one bit each.
pub type ArtifactSet = u8;

/// The artifacts in a set.
pub fn artifacts_in(set: ArtifactSet) -> impl Iterator<Item = u8> {
    (0..8).filter(move |artifact| set & (1 << artifact) != 0)
}

/// The key of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// `.tara-export/exports/<id>.json`
    Record(ExportId),
    /// `.tara-export/folders/<folder>.json`
    Claim(Folder),
    /// `.tara-export/index/<inverted time>_<folder>`
    Index(u8, Folder),
    /// `.tara-export/journal/<id>-<digest>`; without the digest if that mechanism is disabled
    Entry(ExportId, Option<Digest>),
    /// `.tara-export/journal/<id>-<digest>.ended`
    EndMarker(ExportId, Option<Digest>),
    /// `<folder>/<artifact>`
    Artifact(Folder, u8),
    /// `<folder>/manifest.json`
    Manifest(Folder),
    /// `.tara-export/store.json`
    Identity,
    /// A document that requests name.
    Document,
    /// `.tara-export/events/<event id>.json`
    Event(EventId),
    /// `.tara-export/events/<event id>.done`
    EventDone(EventId),
    /// `.tara-export/events/<event id>.try-<slot>`
    EventTry(EventId, u8),
}

/// The content of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// A record.
    Record {
        /// The content digest.
        digest: Digest,
        /// The pin of the first acceptance.
        pin: Pin,
    },
    /// The export of a claim or an index entry.
    Owner(ExportId),
    /// A journal entry.
    Entry {
        /// The request.
        request: RequestNumber,
        /// The pin.
        pin: Pin,
    },
    /// An end marker: the export of an entry has ended.
    Ended {
        /// Whether the export failed.
        has_failed: bool,
    },
    /// An artifact of an export.
    Artifact(Source),
    /// The manifest of an export.
    Manifest {
        /// What decides its bytes.
        source: Source,
        /// The listed artifacts.
        artifacts: ArtifactSet,
        /// The replica that put it. Not part of the bytes; kept to check that a replica that
        /// reported `failed` did not put it.
        put_by: ReplicaNumber,
    },
    /// A file in an unclaimed folder.
    ForeignFolder,
    /// The claim of an event.
    Event {
        /// The machine that delivers it.
        owner: Machine,
        /// The request.
        request: RequestNumber,
        /// How often `TAKEOVER_AGE` had passed when it was put.
        age: u8,
    },
    /// The event was delivered.
    Done,
    /// The machine that delivers an old event.
    Tried(Machine),
    /// The store identity.
    Identity(StoreId),
    /// The document's bytes.
    Document,
}

impl Value {
    /// Whether the bytes are equal.
    pub fn same_bytes(self, other: Self) -> bool {
        match (self, other) {
            (
                Self::Manifest { source, artifacts, put_by: _ },
                Self::Manifest { source: other_source, artifacts: other_artifacts, put_by: _ },
            ) => source == other_source && artifacts == other_artifacts,
            _ => self == other,
        }
    }
}

/// The response to a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object was created.
    Created,
    /// 412: the key has this object.
    Exists(Value),
}

/// A committed bundle as a reader finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bundle {
    /// Its folder.
    pub folder: Folder,
    /// What decides its bytes, from the manifest.
    pub source: Source,
    /// The artifacts that the manifest lists.
    pub artifacts: ArtifactSet,
    /// The replica that committed it.
    pub put_by: ReplicaNumber,
}

/// All objects of a store, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Objects(Vec<(Key, Value)>);

impl Objects {
    fn index_of(&self, key: Key) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(key, _)| *key)
    }

    /// The object of a key.
    pub fn get(&self, key: Key) -> Option<Value> {
        self.index_of(key).ok().map(|index| self.0[index].1)
    }

    /// Puts an object if the key is free.
    pub fn put_if_absent(&mut self, key: Key, value: Value) -> PutOutcome {
        match self.index_of(key) {
            Ok(index) => PutOutcome::Exists(self.0[index].1),
            Err(index) => {
                self.0.insert(index, (key, value));
                PutOutcome::Created
            }
        }
    }

    /// Puts an object unconditionally; returns whether it replaced other bytes.
    pub fn put_unconditionally(&mut self, key: Key, value: Value) -> bool {
        match self.index_of(key) {
            Ok(index) => {
                let overwrites = !self.0[index].1.same_bytes(value);
                self.0[index].1 = value;
                overwrites
            }
            Err(index) => {
                self.0.insert(index, (key, value));
                false
            }
        }
    }

    /// Removes an object.
    pub fn remove(&mut self, key: Key) {
        if let Ok(index) = self.index_of(key) {
            self.0.remove(index);
        }
    }

    /// Keeps the objects that satisfy the condition.
    pub fn retain(&mut self, keep: impl Fn(Key, Value) -> bool) {
        self.0.retain(|(key, value)| keep(*key, *value));
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Value)> + '_ {
        self.0.iter().copied()
    }

    /// Whether the store is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The owner of the manifest in a folder: `None` without a manifest, `Some(None)` if it is
    /// foreign.
    pub fn manifest_owner(&self, folder: Folder) -> Option<Option<ExportId>> {
        match self.get(Key::Manifest(folder))? {
            Value::Manifest { source, .. } => Some(Some(source.id)),
            _ => Some(None),
        }
    }

    /// The committed bundles of exports.
    pub fn bundles(&self) -> impl Iterator<Item = Bundle> + '_ {
        self.iter().filter_map(|(key, value)| match (key, value) {
            (Key::Manifest(folder), Value::Manifest { source, artifacts, put_by }) => {
                Some(Bundle { folder, source, artifacts, put_by })
            }
            _ => None,
        })
    }

    /// Step 12: the record, then the claims from its base name on, until a manifest has the
    /// export's id.
    pub fn bundle_of(&self, id: ExportId) -> Option<Bundle> {
        let Value::Record { pin, .. } = self.get(Key::Record(id))? else { return None };
        self.committed_in(self.folders_from(pin.base, id), id)
    }

    /// The bundle of an export in one of these folders.
    pub fn committed_in(&self, folders: Vec<Folder>, id: ExportId) -> Option<Bundle> {
        let is_ours = |bundle: &Bundle| bundle.source.id == id && folders.contains(&bundle.folder);
        self.bundles().find(is_ours)
    }

    /// The folders that an export claimed, found by reading all claims.
    pub fn folders_by_scan(&self, id: ExportId) -> Vec<Folder> {
        let owned = self.iter().filter_map(|(key, value)| match key {
            Key::Claim(folder) if value == Value::Owner(id) => Some(folder),
            _ => None,
        });
        owned.collect()
    }

    /// The folders that an export claimed, from a base name to the first unclaimed folder.
    pub fn folders_from(&self, base: Base, id: ExportId) -> Vec<Folder> {
        let mut folders = Vec::new();
        let mut folder = Folder::first(base);
        while let Some(Value::Owner(owner)) = self.get(Key::Claim(folder)) {
            if owner == id {
                folders.push(folder);
            }
            folder = folder.next();
        }
        folders
    }

    /// Whether the store has the index entry and, with the right bytes, every artifact that a
    /// bundle's manifest lists.
    pub fn is_complete(&self, bundle: &Bundle) -> bool {
        let index = Key::Index(bundle.source.time, bundle.folder);
        self.get(index) == Some(Value::Owner(bundle.source.id))
            && artifacts_in(bundle.artifacts).all(|artifact| {
                self.get(Key::Artifact(bundle.folder, artifact))
                    == Some(Value::Artifact(bundle.source))
            })
    }
}
