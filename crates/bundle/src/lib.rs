//! Renders the files of a bundle from a review. Rendering is pure: no I/O, no clock, no randomness,
//! no unstable order.
//!
//! Invariant: every byte of a bundle is a function of the [`AcceptedExport`] alone. Rendering it
//! again, on another machine or with a later release, returns the same bytes.
//!
//! Never depends on an async runtime, the network, the disk, a clock, logs, or a crate of this
//! workspace other than the digests.

mod accepted;
mod adopted;
mod artifact;
mod clean;
mod comprehensive_report;
mod content;
mod document;
pub mod encoding;
mod feedback;
mod footprint;
mod format;
mod identity;
mod json;
mod logs;
mod manifest;
mod names;
#[cfg(feature = "next-format")]
mod next_format;
mod ordered_map;
mod plan;
mod readable_report;
mod render;
mod review;
mod statistics;
mod store_id;
mod timestamp;
mod visible;
mod warnings;

#[cfg(test)]
mod arbitrary;

pub use self::{
    accepted::{AcceptedExport, ContentDigest, Destination, ExportContent, Fallback, ReadDigest},
    adopted::{AdoptedBundle, AdoptedReview},
    artifact::{Artifact, ArtifactPath, Omitted},
    clean::{MAX_STEM_BYTES, clean_stem},
    comprehensive_report::{
        ActivitySummary, ComprehensiveReport, ExportMetadata, InvalidReport, PerformanceMetrics,
        SectionAnalysis, SummaryStatistics,
    },
    document::{Content, Document, DocumentKind, Reference},
    encoding::{AcceptedHeader, UndecodableExport},
    format::{to_json_compact, to_json_pretty},
    identity::{AcceptedTime, ExportId, FormatVersion, InvalidExportId, UnknownFormatVersion},
    json::{FiniteNumber, Json, JsonObject},
    manifest::{InvalidManifest, Manifest, ManifestArtifact},
    names::{FolderBase, FolderName, InvalidName, MAX_COMPONENT_BYTES},
    render::{Bundle, MissingDigest, PlannedArtifact, PreviewDocument, preview, render},
    review::{FeedbackItem, FeedbackSection, Replacement, Review},
    store_id::StoreId,
    warnings::{Warning, WarningReason, warnings},
};
