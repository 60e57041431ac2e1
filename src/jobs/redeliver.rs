//! Jobs that deliver dead letters again.

use tara_export_jobs::Redeliver;

use super::{JobsContext, counted};
use crate::notifications::RetryRequest;

/// Delivers the dead letters of the job's targets again. Returns what was done.
pub(super) async fn run(context: &JobsContext, settings: &Redeliver) -> Result<String, String> {
    let Some(notifications) = &context.notifications else {
        return Err("this server sends no notifications: set NOTIFY_FILE".to_owned());
    };
    let known = notifications.targets();
    let is_known = |name: &&String| known.iter().any(|view| view.target.name.as_str() == *name);
    if let Some(unknown) = settings.targets.iter().find(|name| !is_known(name)) {
        return Err(format!("TARGET_UNKNOWN: NOTIFY_FILE has no target {unknown}"));
    }
    let targets = match settings.targets.is_empty() {
        true => vec![None],
        false => settings.targets.iter().cloned().map(Some).collect(),
    };
    let mut count = 0;
    for target in targets {
        let request = RetryRequest::Dead { event_ids: None, target };
        let retried = notifications.retry(&context.catalog, request).await;
        count += retried.map_err(|error| error.to_string())?.count;
    }
    let verb = if count == 1 { "waits" } else { "wait" };
    Ok(format!("{} {verb} for delivery again", counted(count, "dead letter")))
}
