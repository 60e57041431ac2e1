//! A review in, the files of its bundle out: pure. No IO, no clock, no random, no unstable order.
//!
//! Invariant: every byte of a bundle is a function of the [`AcceptedExport`] alone. Rendering it
//! again, on another machine or by a later release, gives the same bytes.

mod accepted;
mod document;
mod identity;
mod json;
mod review;

pub use self::{
    accepted::{AcceptedExport, Destination, ExportContent, Fallback},
    document::{Document, DocumentKind},
    identity::{AcceptedTime, ExportId, FormatVersion, InvalidExportId, UnknownFormatVersion},
    json::{FiniteNumber, Json, JsonObject},
    review::{FeedbackItem, FeedbackSection, Review},
};
