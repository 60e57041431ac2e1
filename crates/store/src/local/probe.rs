//! Checks what an export needs from the disk.

use std::{path::Path, time::Duration};

use tokio::time;

use super::{
    super::{
        ProbeResult, PutOutcome, StoreError, StoreErrorKind,
        probe::{CheckResults, Finding, probe_key, probe_payload},
    },
    LocalStore, blocking,
};

/// The check warns below this. Leaves space for a few dozen bundles with large documents, so that an operator
/// has time to act.
const LOW_SPACE_BYTES: u64 = 1024 * 1024 * 1024;
/// The timeout of one check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn probe(store: &LocalStore) -> Vec<ProbeResult> {
    let mut results = CheckResults::default();
    let local = store.clone();
    if results.check("local.write", run(store, move || write(&local))).await {
        let local = store.clone();
        results.check("local.no_replace", run(store, move || no_replace(&local))).await;
    } else {
        results.skip(&["local.no_replace"], "local.write");
    }
    let local = store.clone();
    results.check("local.free_space", run(store, move || free_space(&local))).await;
    results.into_results()
}

async fn run(
    store: &LocalStore,
    check: impl FnOnce() -> Result<Finding, StoreError> + Send + 'static,
) -> Finding {
    let checking = time::timeout(CHECK_TIMEOUT, blocking(&store.writers, check));
    let Ok(checked) = checking.await else {
        return Finding::failed(
            format!(
                "the disk of {} did not respond within {CHECK_TIMEOUT:?}",
                store.root().display()
            ),
            "Check the system log for errors of this disk. If the disk works again and this check still fails, \
             restart the server.",
        );
    };
    checked.unwrap_or_else(|error| {
        let hint = match error.kind() {
            StoreErrorKind::Full | StoreErrorKind::Denied => {
                "Give the service's user write access to this folder, free disk space, or choose another folder."
            }
            StoreErrorKind::Misconfigured => {
                "Choose a folder on a file system that supports hard links or RENAME_NOREPLACE."
            }
            _ => "Check the system log for errors of this disk.",
        };
        Finding::failed(error.to_string(), hint)
    })
}

/// Whether a file can be created, written and fsynced.
fn write(store: &LocalStore) -> Result<Finding, StoreError> {
    let path = store.path(&probe_key("write"));
    // Dropping the file removes it.
    store.write_temporary(&path, &probe_payload())?;
    Ok(Finding::passed(format!("{} is writable", store.root().display())))
}

/// Whether publishing refuses to replace a file. Bypasses the existence check of a put, because concurrent
/// puts both pass that check.
fn no_replace(store: &LocalStore) -> Result<Finding, StoreError> {
    let path = store.path(&probe_key("no-replace"));
    store.publish(store.write_temporary(&path, &probe_payload())?, &path)?;
    let second = store.publish(store.write_temporary(&path, &probe_payload())?, &path)?;
    Ok(match second {
        PutOutcome::Exists => Finding::passed("existing files are not replaced"),
        PutOutcome::Created => Finding::failed(
            format!("{} was replaced, so exports could overwrite each other", path.display()),
            "Choose a folder on another file system, not a network share.",
        ),
    })
}

fn free_space(store: &LocalStore) -> Result<Finding, StoreError> {
    // The root may not exist before the first write.
    let existing =
        store.root().ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    Ok(match rustix::fs::statvfs(existing) {
        Ok(space) => evaluate_space(space.f_bavail.saturating_mul(space.f_frsize)),
        Err(error) => Finding::warning(
            format!("cannot read the free space of {}: {error}", existing.display()),
            "Monitor the disk's free space by other means.",
        ),
    })
}

fn evaluate_space(free_bytes: u64) -> Finding {
    let free_mib = free_bytes / (1024 * 1024);
    let message = format!("{free_mib} MiB are free");
    if free_bytes < LOW_SPACE_BYTES {
        Finding::warning(
            message,
            "Free disk space: with a full disk, exports are refused while S3 is unavailable.",
        )
    } else {
        Finding::passed(message)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::ProbeStatus, *};

    #[test]
    fn low_disk_space_is_a_warning() {
        assert_eq!(evaluate_space(LOW_SPACE_BYTES).status, ProbeStatus::Passed);
        let finding = evaluate_space(LOW_SPACE_BYTES - 1);
        assert_eq!(
            (finding.status, finding.message.as_str()),
            (ProbeStatus::Warning, "1023 MiB are free")
        );
    }
}
