//! A review in, the files of its bundle out: pure. No IO, no clock, no random, no unstable order.
//!
//! Invariant: every byte of a bundle is a function of the [`AcceptedExport`] alone. Rendering it
//! again, on another machine or by a later release, gives the same bytes.

mod accepted;
mod artifact;
mod clean;
mod document;
mod identity;
mod json;
mod names;
mod review;

pub use self::{
    accepted::{AcceptedExport, Destination, ExportContent, Fallback},
    artifact::{Artifact, ArtifactPath, Omitted},
    clean::{MAX_STEM_BYTES, clean_stem},
    document::{Document, DocumentKind},
    identity::{AcceptedTime, ExportId, FormatVersion, InvalidExportId, UnknownFormatVersion},
    json::{FiniteNumber, Json, JsonObject},
    names::{FolderBase, FolderName, InvalidName, MAX_COMPONENT_BYTES},
    review::{FeedbackItem, FeedbackSection, Review},
};
