//! One item of a batch: a request, and what became of its export.

use serde::{Deserialize, Serialize};
use tara_export_bundle::ExportId;
use tara_export_catalog::{Export, ExportState};
use tara_export_digest::Sha256;

use crate::export::ExportOutcome;

/// The longest message that is kept. It may contain the texts of several errors.
const MESSAGE_LIMIT_BYTES: usize = 512;

/// The state of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ItemState {
    /// Not accepted yet: its request has to be sent again.
    NotAccepted,
    /// Accepted, and its export has not ended.
    Pending,
    /// Its bundle is in its destination.
    Committed,
    /// Its bundle is complete in the local store, because S3 failed.
    FellBack,
    /// Its request was refused.
    Refused,
    /// Its export ended without a bundle under its id.
    Failed,
}

impl ItemState {
    /// Whether the item has ended.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::NotAccepted | Self::Pending)
    }

    /// The state in labels of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAccepted => "not_accepted",
            Self::Pending => "pending",
            Self::Committed => "committed",
            Self::FellBack => "fell_back",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// One item of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The export's id.
    pub export_id: ExportId,
    /// The digest of the request, before its documents were pinned.
    pub request_digest: Sha256,
    /// The digest of the accepted content; `None` before it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_digest: Option<Sha256>,
    /// Its state.
    pub state: ItemState,
    /// Why, in UPPER_SNAKE_CASE; empty if the state needs no reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The human-readable reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The derived id under which the content is stored, if its own belongs to other content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_under: Option<ExportId>,
    /// The bundle's location.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// The digest of the bundle's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<Sha256>,
}

impl Item {
    /// An item that is not accepted yet.
    pub fn new(export_id: ExportId, request_digest: Sha256) -> Self {
        Self {
            export_id,
            request_digest,
            content_digest: None,
            state: ItemState::NotAccepted,
            reason: String::new(),
            message: String::new(),
            stored_under: None,
            location: String::new(),
            manifest_sha256: None,
        }
    }

    pub(super) fn set_accepted(&mut self, content_digest: Sha256) {
        self.content_digest = Some(content_digest);
        self.set(ItemState::Pending, String::new(), String::new());
    }

    pub(super) fn set(&mut self, state: ItemState, reason: String, mut message: String) {
        message.truncate(message.floor_char_boundary(MESSAGE_LIMIT_BYTES));
        (self.state, self.reason, self.message) = (state, reason, message);
    }

    /// Sets the outcome of its export. Returns whether the item has ended now.
    pub(super) fn set_outcome(&mut self, outcome: ExportOutcome) -> bool {
        match outcome {
            ExportOutcome::Unfinished | ExportOutcome::Unknown => return false,
            ExportOutcome::Completed(export) => {
                let Export { state, state_reason, location, manifest_sha256, .. } = *export;
                let state = match state {
                    ExportState::FellBack => ItemState::FellBack,
                    _ => ItemState::Committed,
                };
                self.set(state, state_reason, String::new());
                self.location = location;
                self.manifest_sha256 = manifest_sha256;
            }
            ExportOutcome::Failed { reason, message, stored_under } => {
                self.set(ItemState::Failed, reason, message);
                self.stored_under = stored_under;
            }
        }
        true
    }
}
