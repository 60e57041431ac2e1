//! What identifies things: exports, digests, folders, and what an acceptance pins.

/// A format version: how a release renders, and how it encodes content for the digest.
pub type Version = u8;

/// A replica's number.
pub type ReplicaNumber = usize;

/// A request's number in its scenario: one id with one content.
pub type RequestNumber = usize;

/// SHA-256 of the content in a version's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    /// Which content.
    pub content: u8,
    /// In which version's encoding: the same content has another digest in another one.
    pub encoding: Version,
}

/// The name of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExportId {
    /// The caller's `request_id`.
    pub request_id: u8,
    /// Set for UUIDv5(request_id, digest).
    pub derived_from: Option<Digest>,
}

/// The first part of a folder's name: the second of the acceptance and the document's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Base {
    /// The second.
    pub second: u8,
    /// The document's name.
    pub document: u8,
}

/// A bundle's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folder {
    /// Without the suffix.
    pub base: Base,
    /// 1 is written as no suffix, then `_2`, `_3` …
    pub suffix: u8,
}

impl Folder {
    /// The first folder of a base.
    pub fn first(base: Base) -> Self {
        Self { base, suffix: 1 }
    }

    /// The folder to try when this one is taken.
    pub fn next(self) -> Self {
        Self { suffix: self.suffix + 1, ..self }
    }
}

/// What an acceptance pins: with the content it decides every byte of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin {
    /// The acceptance time.
    pub time: u8,
    /// The format version.
    pub version: Version,
    /// The base of the folder's name.
    pub base: Base,
}

/// What the bytes of one of our files are a function of, besides the file's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The export.
    pub id: ExportId,
    /// The content.
    pub digest: Digest,
    /// The acceptance time.
    pub time: u8,
    /// The format version.
    pub version: Version,
}
