//! A store: objects that are put if absent. S3 and each replica's local store are one each.

use crate::names::{Base, Digest, ExportId, Folder, Pin, ReplicaNumber, RequestNumber, Source};

/// A set of artifacts, one bit each.
pub type ArtifactSet = u8;

/// The artifacts of a set.
pub fn artifacts_in(set: ArtifactSet) -> impl Iterator<Item = u8> {
    (0..8).filter(move |artifact| set & (1 << artifact) != 0)
}

/// Where an object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// `.tara-export/exports/<id>.json`
    Record(ExportId),
    /// `.tara-export/folders/<folder>.json`
    Claim(Folder),
    /// `.tara-export/index/<inverted time>_<folder>`
    Index(u8, Folder),
    /// `.tara-export/journal/<id>-<digest>`; without the digest where that mechanism is off.
    Entry(ExportId, Option<Digest>),
    /// `<folder>/<artifact>`
    Artifact(Folder, u8),
    /// `<folder>/manifest.json`
    Manifest(Folder),
}

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// What the first acceptance pinned.
    Record {
        /// Of the content.
        digest: Digest,
        /// All the rest.
        pin: Pin,
    },
    /// To whom a folder belongs, or of whom an index entry tells.
    Owner(ExportId),
    /// A whole accepted request, and what its acceptance pinned.
    Entry {
        /// The request.
        request: RequestNumber,
        /// The pin.
        pin: Pin,
    },
    /// One of our artifacts.
    Artifact(Source),
    /// One of our manifests.
    Manifest {
        /// What its bytes are made of.
        source: Source,
        /// What it lists.
        artifacts: ArtifactSet,
        /// Who put it: no part of the bytes, kept to check that who said `failed` never did.
        by: ReplicaNumber,
    },
    /// A file of a folder that nobody claimed.
    Stranger,
}

impl Value {
    /// Whether the bytes are the same.
    pub fn same_bytes(self, other: Self) -> bool {
        match (self, other) {
            (
                Self::Manifest { source, artifacts, by: _ },
                Self::Manifest { source: other_source, artifacts: other_artifacts, by: _ },
            ) => source == other_source && artifacts == other_artifacts,
            _ => self == other,
        }
    }
}

/// The answer to a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is there now.
    Created,
    /// 412: this was there before.
    Exists(Value),
}

/// A committed bundle as a reader finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bundle {
    /// Its folder.
    pub folder: Folder,
    /// What its manifest says it is made of.
    pub source: Source,
    /// What its manifest lists.
    pub artifacts: ArtifactSet,
    /// Who committed it.
    pub by: ReplicaNumber,
}

/// All objects of a store, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Objects(Vec<(Key, Value)>);

impl Objects {
    fn place_of(&self, key: Key) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(key, _)| *key)
    }

    /// What a key holds.
    pub fn get(&self, key: Key) -> Option<Value> {
        self.place_of(key).ok().map(|place| self.0[place].1)
    }

    /// Puts an object unless there is one.
    pub fn put_if_absent(&mut self, key: Key, value: Value) -> PutOutcome {
        match self.place_of(key) {
            Ok(place) => PutOutcome::Exists(self.0[place].1),
            Err(place) => {
                self.0.insert(place, (key, value));
                PutOutcome::Created
            }
        }
    }

    /// Puts an object whatever there is; says whether other bytes are gone by it.
    pub fn put_anyway(&mut self, key: Key, value: Value) -> bool {
        match self.place_of(key) {
            Ok(place) => {
                let overwrites = !self.0[place].1.same_bytes(value);
                self.0[place].1 = value;
                overwrites
            }
            Err(place) => {
                self.0.insert(place, (key, value));
                false
            }
        }
    }

    /// Removes an object.
    pub fn remove(&mut self, key: Key) {
        if let Ok(place) = self.place_of(key) {
            self.0.remove(place);
        }
    }

    /// Keeps what the condition says.
    pub fn retain(&mut self, keep: impl Fn(Key, Value) -> bool) {
        self.0.retain(|(key, value)| keep(*key, *value));
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Value)> + '_ {
        self.0.iter().copied()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody's manifest is in a folder, and if so, of which of our exports.
    pub fn manifest_owner(&self, folder: Folder) -> Option<Option<ExportId>> {
        match self.get(Key::Manifest(folder))? {
            Value::Manifest { source, .. } => Some(Some(source.id)),
            _ => Some(None),
        }
    }

    /// Our committed bundles.
    pub fn bundles(&self) -> impl Iterator<Item = Bundle> + '_ {
        self.iter().filter_map(|(key, value)| match (key, value) {
            (Key::Manifest(folder), Value::Manifest { source, artifacts, by }) => {
                Some(Bundle { folder, source, artifacts, by })
            }
            _ => None,
        })
    }

    /// Step 12: the record, then the claims from its base on, until the manifest is the export's.
    pub fn bundle_of(&self, id: ExportId) -> Option<Bundle> {
        let Value::Record { pin, .. } = self.get(Key::Record(id))? else { return None };
        self.committed_in(self.folders_from(pin.base, id), id)
    }

    /// The bundle of an export in one of some folders.
    pub fn committed_in(&self, folders: Vec<Folder>, id: ExportId) -> Option<Bundle> {
        let is_ours = |bundle: &Bundle| bundle.source.id == id && folders.contains(&bundle.folder);
        self.bundles().find(is_ours)
    }

    /// The folders that an export claimed, whatever their names.
    pub fn folders_by_scan(&self, id: ExportId) -> Vec<Folder> {
        let owned = self.iter().filter_map(|(key, value)| match key {
            Key::Claim(folder) if value == Value::Owner(id) => Some(folder),
            _ => None,
        });
        owned.collect()
    }

    /// The folders that an export claimed, from a base name on until a folder is unclaimed.
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

    /// Whether everything that a bundle's manifest lists is there, byte for byte, and its index
    /// entry too.
    pub fn is_whole(&self, bundle: &Bundle) -> bool {
        let index = Key::Index(bundle.source.time, bundle.folder);
        self.get(index) == Some(Value::Owner(bundle.source.id))
            && artifacts_in(bundle.artifacts).all(|artifact| {
                self.get(Key::Artifact(bundle.folder, artifact))
                    == Some(Value::Artifact(bundle.source))
            })
    }
}
