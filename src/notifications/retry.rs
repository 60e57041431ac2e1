//! RetryEvents: delivers dead letters again, and rebuilds events that were never written.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tara_export_catalog::{Catalog, ReadError};
use tara_export_events::{EventFolder, EventId, Retry, StoredEvent};

use super::{
    dispatcher::{OutboxError, Shared},
    queue::Name,
    rebuild::rebuild,
};

/// What is delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryRequest {
    /// Dead letters.
    Dead {
        /// Which ones; `None` for all.
        event_ids: Option<Vec<EventId>>,
        /// To this target only; `None` for every target that did not answer.
        target: Option<Name>,
    },
    /// The events of exports that were committed in this range, and that this server has no event of.
    Rebuild {
        /// From this time on.
        since: DateTime<Utc>,
        /// Before this time.
        before: DateTime<Utc>,
    },
}

/// What waits for delivery again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retried {
    /// Number of events.
    pub count: u64,
    /// Ids of the request that are no dead letters.
    pub missing: Vec<EventId>,
}

/// Events cannot be delivered again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The outbox failed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The exports cannot be listed.
    #[error(transparent)]
    Catalog(#[from] ReadError),
}

pub(super) async fn retry(
    shared: &Arc<Shared>,
    catalog: &Catalog,
    request: RetryRequest,
) -> Result<Retried, RetryError> {
    match request {
        RetryRequest::Dead { event_ids, target } => {
            Ok(retry_dead(shared, event_ids, target).await?)
        }
        RetryRequest::Rebuild { since, before } => {
            let count = rebuild(shared, catalog, since, before).await?;
            Ok(Retried { count, missing: Vec::new() })
        }
    }
}

async fn retry_dead(
    shared: &Arc<Shared>,
    event_ids: Option<Vec<EventId>>,
    target: Option<Name>,
) -> Result<Retried, OutboxError> {
    let is_for_all = event_ids.is_none();
    let event_ids = match event_ids {
        Some(event_ids) => event_ids,
        None => shared.on_disk(|files| files.list(EventFolder::Dead)).await?,
    };
    let mut retried = Retried::default();
    for event_id in event_ids {
        match revive(shared, event_id, target.clone()).await? {
            Some(stored) => {
                shared.own(event_id);
                shared.insert(stored, &[]);
                retried.count += 1;
            }
            None if is_for_all => {}
            None => retried.missing.push(event_id),
        }
    }
    shared.count_dead_letters().await;
    Ok(retried)
}

/// Makes a dead letter pending again. `None` if it is none, or not one of this target.
async fn revive(
    shared: &Arc<Shared>,
    event_id: EventId,
    target: Option<Name>,
) -> Result<Option<StoredEvent>, OutboxError> {
    let time = shared.clock.now();
    shared
        .on_disk(move |files| {
            let Some(letter) = files.read(EventFolder::Dead, event_id)? else { return Ok(None) };
            let dead = letter.dead.iter().map(|dead| dead.target.clone());
            let targets: Vec<Name> =
                dead.filter(|name| target.as_ref().is_none_or(|only| only == name)).collect();
            match targets.is_empty() {
                true => Ok(None),
                false => files.revive(event_id, Retry { time, targets }),
            }
        })
        .await
}
