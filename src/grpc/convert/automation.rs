//! Events and targets.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tara_export_catalog::summary::TimeV1;
use tara_export_events::{EventContent, EventId, EventType};
use tonic::Status;

use super::{export::signed, export_id, timestamp};
use crate::{
    grpc::status::invalid,
    notifications::{DeliveryView, EventQuery, EventState, EventView, TargetActivity, TargetView},
    proto::{self, event, target},
};

/// The position of a page, for its conditions only.
#[derive(Serialize, Deserialize)]
struct Token {
    conditions: String,
    time: TimeV1,
    event_id: String,
}

/// The conditions of a request. `after` is not set.
pub(in crate::grpc) fn event_query(
    request: &proto::ListEventsRequest,
    page_size: usize,
) -> Result<EventQuery, Status> {
    let states = match event::State::try_from(request.state) {
        Ok(event::State::Unspecified) => vec![EventState::Pending, EventState::Dead],
        Ok(event::State::Pending) => vec![EventState::Pending],
        Ok(event::State::Delivered) => vec![EventState::Delivered],
        Ok(event::State::Dead) => vec![EventState::Dead],
        Err(_) => {
            let message = "must be STATE_PENDING, STATE_DELIVERED, STATE_DEAD or unspecified";
            return Err(invalid("state", message));
        }
    };
    let event_type = match proto::EventType::try_from(request.r#type) {
        Ok(proto::EventType::Unspecified) => None,
        Ok(proto::EventType::Committed) => Some(EventType::Committed),
        Ok(proto::EventType::FellBack) => Some(EventType::FellBack),
        Ok(proto::EventType::Synced) => Some(EventType::Synced),
        Ok(proto::EventType::Failed) => Some(EventType::Failed),
        Ok(proto::EventType::Quarantined) => Some(EventType::Quarantined),
        Ok(proto::EventType::BatchEnded) => Some(EventType::BatchEnded),
        Ok(proto::EventType::JobEnded) => Some(EventType::JobEnded),
        Err(_) => return Err(invalid("type", "must be a value of EventType")),
    };
    let export_id = match request.export.as_str() {
        "" => None,
        name => Some(export_id(name).map_err(|_| {
            invalid("export", "must be an export's name, such as exports/{export_id}")
        })?),
    };
    let target = (!request.target.is_empty()).then(|| request.target.clone());
    Ok(EventQuery { states, event_type, export_id, target, after: None, page_size })
}

/// The position that a request's token names.
pub(in crate::grpc) fn event_from_token(
    request: &proto::ListEventsRequest,
) -> Result<Option<(DateTime<Utc>, EventId)>, Status> {
    if request.page_token.is_empty() {
        return Ok(None);
    }
    let decoded = URL_SAFE_NO_PAD.decode(&request.page_token).ok();
    let token = decoded.and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok());
    let position = token.and_then(|token| {
        let is_same = token.conditions == conditions(request);
        is_same.then_some((token.time.0, token.event_id.parse().ok()?))
    });
    position.map(Some).ok_or_else(|| {
        invalid("page_token", "pass next_page_token unchanged, with the same conditions")
    })
}

/// The token of the next page.
pub(in crate::grpc) fn events_token(
    next: Option<(DateTime<Utc>, EventId)>,
    request: &proto::ListEventsRequest,
) -> String {
    let token = next.map(|(time, event_id)| Token {
        conditions: conditions(request),
        time: TimeV1(time),
        event_id: event_id.to_string(),
    });
    let encoded = token.and_then(|token| serde_json::to_vec(&token).ok());
    encoded.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default()
}

fn conditions(request: &proto::ListEventsRequest) -> String {
    format!("{} {} {} {}", request.state, request.r#type, request.export, request.target)
}

/// One event.
pub(in crate::grpc) fn event_view_message(view: &EventView) -> proto::Event {
    let EventView { event, state, deliveries } = view;
    let subject_if = |is_subject: bool| if is_subject { event.subject() } else { String::new() };
    let (export, batch, job) = match event.content {
        EventContent::Export(_) => (true, false, false),
        EventContent::Batch(_) => (false, true, false),
        EventContent::Job(_) => (false, false, true),
    };
    proto::Event {
        event_id: event.id().to_string(),
        r#type: event_type(event.event_type).into(),
        export: subject_if(export),
        batch: subject_if(batch),
        job: subject_if(job),
        time: Some(timestamp(event.time)),
        state: event_state(*state).into(),
        deliveries: deliveries.iter().map(delivery_message).collect(),
    }
}

fn delivery_message(view: &DeliveryView) -> proto::Delivery {
    let DeliveryView { target, state, message, next_try_time } = view;
    proto::Delivery {
        target: target.clone(),
        state: event_state(*state).into(),
        message: message.clone(),
        next_try_time: next_try_time.map(timestamp),
    }
}

fn event_state(state: EventState) -> event::State {
    match state {
        EventState::Pending => event::State::Pending,
        EventState::Delivered => event::State::Delivered,
        EventState::Dead => event::State::Dead,
    }
}

fn event_type(event_type: EventType) -> proto::EventType {
    match event_type {
        EventType::Committed => proto::EventType::Committed,
        EventType::FellBack => proto::EventType::FellBack,
        EventType::Synced => proto::EventType::Synced,
        EventType::Failed => proto::EventType::Failed,
        EventType::Quarantined => proto::EventType::Quarantined,
        EventType::BatchEnded => proto::EventType::BatchEnded,
        EventType::JobEnded => proto::EventType::JobEnded,
        // Never stored.
        EventType::Test => proto::EventType::Unspecified,
    }
}

/// One target.
pub(in crate::grpc) fn target_message(view: &TargetView) -> proto::Target {
    let state = match view.activity {
        TargetActivity::Active => target::State::Active,
        TargetActivity::Failing => target::State::Failing,
        TargetActivity::Disabled => target::State::Disabled,
    };
    let events = view.target.events.iter().map(|kind| event_type(*kind).into());
    proto::Target {
        name: view.target.name.to_string(),
        kind: view.target.kind.as_str().to_owned(),
        events: events.collect(),
        filter: view.target.filter.as_str().to_owned(),
        state: state.into(),
        last_error: view.last_error.clone(),
        pending_count: signed(view.pending_count),
        oldest_pending_time: view.oldest_pending_time.map(timestamp),
        last_delivered_time: view.last_delivered_time.map(timestamp),
    }
}

/// The time in a field.
pub(in crate::grpc) fn time(
    field: &str,
    time: &prost_types::Timestamp,
) -> Result<DateTime<Utc>, Status> {
    let nanos = u32::try_from(time.nanos).ok();
    nanos
        .and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos))
        .ok_or_else(|| invalid(field, "must be a time"))
}
