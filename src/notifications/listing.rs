//! Lists events and targets for the API.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use tara_export_bundle::ExportId;
use tara_export_events::{DeadDelivery, Event, EventFolder, EventId, EventType, StoredEvent};
use tara_export_notify::Target;
use tokio::time::Instant;

use super::{
    Notifications,
    dispatcher::{OutboxError, Shared},
    queue::{Delivery, Name, TargetState},
};

/// Events that one page looks at.
const MAX_SCANNED: usize = 2_000;

/// Where an event or a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventState {
    /// It waits.
    Pending,
    /// Every target answered.
    Delivered,
    /// It was given up.
    Dead,
}

impl EventState {
    fn folder(self) -> EventFolder {
        match self {
            Self::Pending => EventFolder::Pending,
            Self::Delivered => EventFolder::Delivered,
            Self::Dead => EventFolder::Dead,
        }
    }
}

/// Which events to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// In one of these states.
    pub states: Vec<EventState>,
    /// Of this type.
    pub event_type: Option<EventType>,
    /// Of this export.
    pub export_id: Option<ExportId>,
    /// Of this target.
    pub target: Option<Name>,
    /// After this event.
    pub after: Option<(DateTime<Utc>, EventId)>,
    /// At most so many.
    pub page_size: usize,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventView {
    /// The event.
    pub event: Event,
    /// Where it is.
    pub state: EventState,
    /// By target.
    pub deliveries: Vec<DeliveryView>,
}

/// The delivery of an event to one target.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryView {
    /// The target.
    pub target: Name,
    /// Where it is.
    pub state: EventState,
    /// The last failure, or why it was given up.
    pub message: String,
    /// When it is tried again.
    pub next_try_time: Option<DateTime<Utc>>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListedEvents {
    /// The oldest first.
    pub events: Vec<EventView>,
    /// Where the next page starts.
    pub next: Option<(DateTime<Utc>, EventId)>,
}

/// Whether a target answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetActivity {
    /// It answers, or was not needed yet.
    Active,
    /// It does not answer.
    Failing,
    /// It asked not to be sent anything again.
    Disabled,
}

/// One target.
#[derive(Debug, Clone)]
pub struct TargetView {
    /// The target.
    pub target: Target,
    /// Whether it answers.
    pub activity: TargetActivity,
    /// Its last failure.
    pub last_error: String,
    /// Number of its events that wait.
    pub pending_count: u64,
    /// The time of the oldest of them.
    pub oldest_pending_time: Option<DateTime<Utc>>,
    /// When it last answered.
    pub last_delivered_time: Option<DateTime<Utc>>,
}

impl Notifications {
    /// A page of events.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn list(&self, query: &EventQuery) -> Result<ListedEvents, OutboxError> {
        let shared = &self.shared;
        let mut listed = ListedEvents::default();
        let mut candidates = Vec::new();
        for state in &query.states {
            let folder = state.folder();
            let found = shared.on_disk(move |files| files.list_with_times(folder)).await?;
            candidates.extend(found.into_iter().map(|(time, event_id)| (time, event_id, *state)));
        }
        candidates.retain(|(time, event_id, _)| {
            query.after.is_none_or(|after| (*time, *event_id) > after)
        });
        candidates.sort_unstable_by_key(|(time, event_id, _)| (*time, *event_id));
        for (number, (_, event_id, state)) in candidates.iter().copied().enumerate() {
            if listed.events.len() == query.page_size || number == MAX_SCANNED {
                listed.next = number.checked_sub(1).map(|last| {
                    let (time, event_id, _) = candidates[last];
                    (time, event_id)
                });
                break;
            }
            let folder = state.folder();
            let read = shared.on_disk(move |files| files.read(folder, event_id)).await?;
            let Some(stored) = read else { continue };
            let view = view(shared, stored, state);
            if matches(query, &view) {
                listed.events.push(view);
            }
        }
        Ok(listed)
    }

    /// The targets, in the order of the file.
    pub fn targets(&self) -> Vec<TargetView> {
        let targets = self.shared.targets.current();
        let queue = self.shared.queue();
        let backlogs = queue.backlogs();
        let view = |target: &Target| {
            let name = target.name.to_string();
            let (pending_count, oldest_pending_time) =
                backlogs.get(&name).copied().unwrap_or_default();
            let found = queue.targets().get(&name);
            TargetView {
                target: target.clone(),
                activity: match found.map(|found| found.state) {
                    None | Some(TargetState::Active) => TargetActivity::Active,
                    Some(TargetState::Failing { .. }) => TargetActivity::Failing,
                    Some(TargetState::Disabled) => TargetActivity::Disabled,
                },
                last_error: found.map(|found| found.last_error.clone()).unwrap_or_default(),
                pending_count,
                oldest_pending_time,
                last_delivered_time: found.and_then(|found| found.last_delivered),
            }
        };
        targets.iter().map(view).collect()
    }

    /// Why an older version of `NOTIFY_FILE` is in force; empty if the current one is.
    pub fn file_error(&self) -> String {
        self.shared.targets.error()
    }
}

fn matches(query: &EventQuery, view: &EventView) -> bool {
    query.event_type.is_none_or(|event_type| view.event.event_type == event_type)
        && query.export_id.is_none_or(|export_id| {
            view.event.export().is_some_and(|export| export.export_id == export_id)
        })
        && query
            .target
            .as_ref()
            .is_none_or(|target| view.deliveries.iter().any(|delivery| delivery.target == *target))
}

fn view(shared: &Arc<Shared>, stored: StoredEvent, state: EventState) -> EventView {
    let deliveries = match state {
        // Its file is moved to the pending ones before the queues get it.
        EventState::Pending => pending_deliveries(shared, stored.event.id())
            .unwrap_or_else(|| wanted_deliveries(shared, &stored, state)),
        EventState::Delivered => wanted_deliveries(shared, &stored, state),
        EventState::Dead => stored.dead.into_iter().map(dead_delivery).collect(),
    };
    EventView { event: stored.event, state, deliveries }
}

/// Not noted: the targets of the file that want the event.
fn wanted_deliveries(
    shared: &Arc<Shared>,
    stored: &StoredEvent,
    state: EventState,
) -> Vec<DeliveryView> {
    let targets = shared.targets_of(stored).into_iter();
    targets
        .map(|target| DeliveryView { target, state, message: String::new(), next_try_time: None })
        .collect()
}

fn dead_delivery(dead: DeadDelivery) -> DeliveryView {
    let DeadDelivery { target, reason, .. } = dead;
    DeliveryView { target, state: EventState::Dead, message: reason, next_try_time: None }
}

/// `None` if the event is in no queue.
fn pending_deliveries(shared: &Arc<Shared>, event_id: EventId) -> Option<Vec<DeliveryView>> {
    let (now, time) = (Instant::now(), shared.clock.now());
    let at = |next: Instant| {
        let pause = chrono::TimeDelta::from_std(next.saturating_duration_since(now)).ok();
        pause.and_then(|pause| time.checked_add_signed(pause))
    };
    let queue = shared.queue();
    let waiting = queue.events().get(&event_id)?;
    let deliveries: &BTreeMap<Name, Delivery> = &waiting.deliveries;
    let views = deliveries
        .iter()
        .map(|(name, delivery)| {
            let next = match delivery {
                Delivery::Deferred(next) => at(*next),
                Delivery::Waiting => match queue.targets().get(name).map(|found| found.state) {
                    Some(TargetState::Failing { next, .. }) => at(next),
                    _ => None,
                },
                _ => None,
            };
            let (state, message) = match delivery {
                Delivery::Answered => (EventState::Delivered, String::new()),
                Delivery::Dead(dead) => (EventState::Dead, dead.reason.clone()),
                _ => {
                    let error = waiting.errors.get(name).cloned();
                    (EventState::Pending, error.unwrap_or_default())
                }
            };
            DeliveryView { target: name.clone(), state, message, next_try_time: next }
        })
        .collect();
    Some(views)
}
