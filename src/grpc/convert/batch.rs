//! Batches: requests to domain types, and their state to messages.

use std::collections::HashMap;

use tara_export_notify::AllowedRecipients;
use tonic::Status;
use uuid::Uuid;

use super::{
    export::timestamp,
    names::request_id,
    request::{StartRequest, convert_request},
};
use crate::{
    batch::{Counts, Item, ItemState, Note, Phase},
    export::RequestedContent,
    grpc::{
        status::{Violations, invalid},
        wire_scan::BATCH_REQUESTS,
    },
    proto::{self, batch, batch_item},
};

/// A BatchStartExports request in domain types.
pub(in crate::grpc) struct ConvertedBatch {
    pub batch_id: Uuid,
    pub requests: Vec<(Uuid, RequestedContent)>,
}

/// Validates and converts the requests of a batch, all or nothing. `new_id` is the id of a batch without one.
pub(in crate::grpc) fn batch_request(
    request: proto::BatchStartExportsRequest,
    allowed: &AllowedRecipients,
    new_id: Uuid,
) -> Result<ConvertedBatch, Status> {
    let mut violations = Violations::default();
    let batch_id = request_id(&request.batch_id).unwrap_or_else(|description| {
        violations.add("batch_id", description);
        None
    });
    let batch_id = batch_id.unwrap_or(new_id);
    if request.requests.is_empty() || request.requests.len() > BATCH_REQUESTS {
        let description = format!("must have 1 to {BATCH_REQUESTS} requests");
        violations.add("requests", description);
        return Err(violations.into_status());
    }
    let mut requests = Vec::with_capacity(request.requests.len());
    let mut first_uses: HashMap<Uuid, usize> = HashMap::new();
    for (index, request) in request.requests.into_iter().enumerate() {
        violations.set_prefix(format!("requests[{index}]."));
        let StartRequest { request_id, content } =
            convert_request(request, allowed, &mut violations);
        let request_id =
            request_id.unwrap_or_else(|| Uuid::new_v5(&batch_id, index.to_string().as_bytes()));
        match first_uses.get(&request_id) {
            Some(first) => {
                let description = format!("is that of requests[{first}] as well");
                violations.add("request_id", description);
            }
            None => {
                first_uses.insert(request_id, index);
            }
        }
        requests.push((request_id, content));
    }
    violations.into_result(ConvertedBatch { batch_id, requests })
}

/// Parses the resource name `batches/{batch_id}`.
pub(in crate::grpc) fn batch_id(name: &str) -> Result<Uuid, Status> {
    let id = name.strip_prefix("batches/").filter(|id| id.len() == 36);
    let id = id.filter(|id| !id.bytes().any(|byte| byte.is_ascii_uppercase()));
    id.and_then(|id| Uuid::try_parse(id).ok()).ok_or_else(|| {
        let example = "batches/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
        invalid("name", format!("must be a batch's name in lower case, such as {example}"))
    })
}

/// A batch with its items.
pub(in crate::grpc) fn batch_message(note: &Note) -> proto::Batch {
    let items = note.items.iter().enumerate();
    let items = items.map(|(index, item)| item_message(index, item)).collect();
    proto::Batch { items, ..batch_summary(note) }
}

/// A batch without its items.
pub(in crate::grpc) fn batch_summary(note: &Note) -> proto::Batch {
    let state = match note.phase() {
        Phase::Incomplete => batch::State::Incomplete,
        Phase::Running => batch::State::Running,
        Phase::Ended => batch::State::Ended,
    };
    proto::Batch {
        name: format!("batches/{}", note.batch_id),
        state: state.into(),
        counts: Some(counts_message(Counts::of(&note.items))),
        items: Vec::new(),
        requested_by: note.requested_by.clone(),
        accepted_time: Some(timestamp(note.accepted_time)),
        ended_time: note.ended_time.map(timestamp),
        report_location: note.report_location.clone(),
    }
}

/// The number of items in each state.
pub(in crate::grpc) fn counts_message(counts: Counts) -> proto::BatchCounts {
    let signed = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    proto::BatchCounts {
        total: signed(counts.total),
        not_accepted: signed(counts.not_accepted),
        pending: signed(counts.pending),
        committed: signed(counts.committed),
        fell_back: signed(counts.fell_back),
        refused: signed(counts.refused),
        failed: signed(counts.failed),
    }
}

/// One item.
pub(in crate::grpc) fn item_message(index: usize, item: &Item) -> proto::BatchItem {
    let state = match item.state {
        ItemState::NotAccepted => batch_item::State::NotAccepted,
        ItemState::Pending => batch_item::State::Pending,
        ItemState::Committed => batch_item::State::Committed,
        ItemState::FellBack => batch_item::State::FellBack,
        ItemState::Refused => batch_item::State::Refused,
        ItemState::Failed => batch_item::State::Failed,
    };
    let stored_under = item.stored_under.map(|export_id| format!("exports/{export_id}"));
    proto::BatchItem {
        index: i32::try_from(index).unwrap_or(i32::MAX),
        export: format!("exports/{}", item.export_id),
        state: state.into(),
        state_reason: item.reason.clone(),
        message: item.message.clone(),
        stored_under: stored_under.unwrap_or_default(),
        location: item.location.clone(),
        manifest_sha256: item.manifest_sha256.map(|sha256| sha256.to_string()).unwrap_or_default(),
    }
}
