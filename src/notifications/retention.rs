//! Removes expired events while the server runs.

use std::{sync::Arc, time::Duration};

use tara_export_bundle::ExportId;
use tara_export_events::EventRetention;
use tara_export_telemetry::names;
use tokio::time;

use super::dispatcher::Shared;

/// Pause until the next pass if more is left.
const SHORT_PAUSE: Duration = Duration::from_secs(60);

/// Removes expired events until the server stops.
pub(super) async fn watch(
    shared: Arc<Shared>,
    retention: EventRetention,
    interval: Duration,
    is_unfinished: Arc<dyn Fn(ExportId) -> bool + Send + Sync>,
) {
    loop {
        let (now, is_unfinished) = (shared.clock.now(), is_unfinished.clone());
        let removing = shared
            .on_disk(move |files| files.remove_expired(retention, now, |id| is_unfinished(id)));
        let pause = match removing.await {
            Ok(removed) => {
                let count = removed.delivered + removed.dead;
                if count > 0 {
                    tracing::info!(kind = "events", count, "removed expired data");
                    names::EXPIRED.add(count, ["events"]);
                    shared.count_dead_letters().await;
                }
                if removed.more { SHORT_PAUSE.min(interval) } else { interval }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot remove expired events; retrying later");
                interval
            }
        };
        tokio::select! {
            () = time::sleep(pause) => {}
            () = shared.draining.cancelled() => return,
        }
    }
}
