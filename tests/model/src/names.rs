//! Identifiers of exports, digests and folders, and what an acceptance pins.

/// A format version: how a release renders, and how it encodes content for the digest.
pub type Version = u8;

/// A replica's number.
pub type ReplicaNumber = usize;

/// The number of a location that a replica can be configured with.
pub type LocationNumber = usize;

/// The number of a store that can respond at a location.
pub type StoreNumber = usize;

/// A store identity or a proposal.
pub type StoreId = u8;

/// A request's number in its scenario; a request is one id with one content.
pub type RequestNumber = usize;

/// SHA-256 of the content in a version's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    /// The content.
    pub content: u8,
    /// The version of the encoding: the same content has another digest in another version.
    pub encoding: Version,
}

/// The id of an export.
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
    /// The second of the acceptance.
    pub second: u8,
    /// The document's name.
    pub document: u8,
}

/// A bundle's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folder {
    /// The name without the suffix.
    pub base: Base,
    /// 1 stands for no suffix, 2 for `_2`, and so on.
    pub suffix: u8,
}

impl Folder {
    /// The first folder of a base.
    pub fn first(base: Base) -> Self {
        Self { base, suffix: 1 }
    }

    /// The folder to try if this one is taken.
    pub fn next(self) -> Self {
        Self { suffix: self.suffix + 1, ..self }
    }
}

/// What an acceptance pins. Together with the content it decides every byte of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin {
    /// The acceptance time.
    pub time: u8,
    /// The format version.
    pub version: Version,
    /// The base of the folder's name.
    pub base: Base,
}

/// Everything that decides the bytes of a bundle's file, apart from its path.
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
