//! Tries what an export needs of the disk.

use std::{path::Path, time::Duration};

use tokio::time;

use super::{
    super::{
        ProbeResult, PutOutcome, StoreError, StoreErrorKind,
        probe::{Finding, Rows, probe_key, probe_payload},
    },
    LocalStore, blocking,
};

/// Below this there is a warning: a few dozen bundles with large documents, time to act.
const LITTLE_SPACE_BYTES: u64 = 1024 * 1024 * 1024;
/// How long the disk may take for one check.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn probe(store: &LocalStore) -> Vec<ProbeResult> {
    let mut rows = Rows::default();
    let here = store.clone();
    if rows.check("local.write", run(store, move || write(&here))).await {
        let here = store.clone();
        rows.check("local.no_replace", run(store, move || no_replace(&here))).await;
    } else {
        rows.skip(&["local.no_replace"], "local.write");
    }
    let here = store.clone();
    rows.check("local.free_space", run(store, move || free_space(&here))).await;
    rows.into_results()
}

async fn run(
    store: &LocalStore,
    check: impl FnOnce() -> Result<Finding, StoreError> + Send + 'static,
) -> Finding {
    let checking = time::timeout(PATIENCE, blocking(&store.writers, check));
    let Ok(checked) = checking.await else {
        return Finding::failed(
            format!("the disk of {} did not answer within {PATIENCE:?}", store.root().display()),
            "Look into the system's log for what is wrong with this disk; where it works again and this stays, \
             restart the server.",
        );
    };
    checked.unwrap_or_else(|error| {
        let hint = match error.kind() {
            StoreErrorKind::Full | StoreErrorKind::Denied => {
                "Let the service's user write to this folder, make room, or choose another folder."
            }
            StoreErrorKind::Misconfigured => {
                "Choose another folder, on a file system that has hard links or RENAME_NOREPLACE."
            }
            _ => "Look into the system's log for what is wrong with this disk.",
        };
        Finding::failed(error.to_string(), hint)
    })
}

/// Whether a file can be made, written and fsynced.
fn write(store: &LocalStore) -> Result<Finding, StoreError> {
    let path = store.path(&probe_key("write"));
    // Dropping the file removes it.
    store.write_aside(&path, &probe_payload())?;
    Ok(Finding::passed(format!("{} is writable", store.root().display())))
}

/// Whether publishing refuses to replace. Past the look that a put takes first, since two puts at
/// once have nothing but this.
fn no_replace(store: &LocalStore) -> Result<Finding, StoreError> {
    let path = store.path(&probe_key("no-replace"));
    store.publish(store.write_aside(&path, &probe_payload())?, &path)?;
    let second = store.publish(store.write_aside(&path, &probe_payload())?, &path)?;
    Ok(match second {
        PutOutcome::Exists => Finding::passed("a file that is there is never replaced"),
        PutOutcome::Created => Finding::failed(
            format!("{} was replaced, so exports could destroy each other", path.display()),
            "Choose a folder on another file system, not a network share.",
        ),
    })
}

fn free_space(store: &LocalStore) -> Result<Finding, StoreError> {
    // The root need not exist before the first write.
    let existing =
        store.root().ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    Ok(match rustix::fs::statvfs(existing) {
        Ok(space) => judge_space(space.f_bavail.saturating_mul(space.f_frsize)),
        Err(error) => Finding::warning(
            format!("how much room {} has can't be told ({error})", existing.display()),
            "Watch the disk's free space by other means.",
        ),
    })
}

fn judge_space(free_bytes: u64) -> Finding {
    let free_mib = free_bytes / (1024 * 1024);
    let message = format!("{free_mib} MiB are free");
    if free_bytes < LITTLE_SPACE_BYTES {
        Finding::warning(message, "Make room: without it, exports that S3 can't take are refused.")
    } else {
        Finding::passed(message)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::ProbeStatus, *};

    #[test]
    fn little_space_is_a_warning() {
        assert_eq!(judge_space(LITTLE_SPACE_BYTES).status, ProbeStatus::Passed);
        let finding = judge_space(LITTLE_SPACE_BYTES - 1);
        assert_eq!(
            (finding.status, finding.message.as_str()),
            (ProbeStatus::Warning, "1023 MiB are free")
        );
    }
}
