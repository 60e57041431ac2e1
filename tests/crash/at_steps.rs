//! Processes that are killed at every step of docs/design/commit-protocol.md and again during recovery. Then everything must
//! finish.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use tara_export_test_support::{Fault, FaultRule, Operation};
use tonic::Code;

use crate::{
    at_batch_steps, at_event_steps, failpoints,
    ledger::{ExportCase, Guidelines},
    process::{End, Process, until},
    world::World,
};

/// The situation in which a step is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// S3 works, but its response to the claim is late.
    S3,
    /// The caller requested the local store.
    Local,
    /// S3 fails.
    Outage,
    /// S3 works again and the fallback is synced.
    Sync,
    /// S3 accepts the claim but not the artifacts, and the request has no fallback.
    Failure,
    /// The journal has an unreadable entry.
    Damage,
    /// S3 works, and a document is uploaded in parts.
    Parts,
    /// S3 works, and a document is already in the bucket.
    Copy,
    /// S3 fails, and a document was uploaded to the data directory.
    Attachment,
    /// A process ended while it loaded a journal entry.
    Suspect,
    /// An operator retried a quarantined entry.
    Retry,
    /// A previous release wrote the index.
    OldIndex,
}

/// The failpoints that each scene must reach. With a number, the process is killed after that many
/// earlier passes.
pub(crate) const STEPS: [(Scene, &[&str]); 12] = [
    (
        Scene::S3,
        &[
            "journal.written",
            "journal.synced",
            "journal.published",
            "journal.recorded",
            "journal.recorded=2",
            "accepted.without_claim",
            "identity.recorded",
            "record.put",
            "folder.put",
            "folder.put=3",
            "claim.done",
            "accepted.sent",
            "index.to_put",
            "index.put",
            "artifact.to_put",
            "artifact.put",
            "artifact.put=5",
            "artifact.put=20",
            "manifest.to_put",
            "manifest.put",
            "manifest.put=2",
            "export.completed",
            "receipt.written",
            "journal.unlinked",
            "journal.removed",
            "disk.file.replace",
            "disk.file.remove",
            "disk.file.read",
            "disk.file.read=5",
        ],
    ),
    (
        Scene::Local,
        &[
            "journal.recorded",
            "record.put",
            "folder.put",
            "claim.done",
            "accepted.sent",
            "index.to_put",
            "index.put",
            "artifact.to_put",
            "artifact.put",
            "artifact.put=11",
            "manifest.to_put",
            "manifest.put",
            "export.completed",
            "journal.unlinked",
            "journal.removed",
            "disk.directory.make",
            "disk.directory.make=1",
            "disk.directory.make=4",
            "disk.directory.make=7",
            "disk.directory.make=9",
            "disk.directory.sync",
            "disk.directory.sync=2",
            "disk.directory.sync=6",
            "disk.directory.sync=10",
            "disk.directory.sync=15",
            "disk.directory.sync=22",
            "disk.directory.sync=30",
            "disk.file.create",
            "disk.file.create=1",
            "disk.file.create=4",
            "disk.file.create=12",
            "disk.file.create=20",
            "disk.file.write=3",
            "disk.file.write=9",
            "disk.file.write=21",
            "disk.file.sync",
            "disk.file.sync=1",
            "disk.file.sync=5",
            "disk.file.sync=13",
            "disk.file.sync=22",
            "disk.file.publish",
            "disk.file.publish=1",
            "disk.file.publish=3",
            "disk.file.publish=8",
            "disk.file.publish=17",
            "disk.file.publish=24",
        ],
    ),
    (
        Scene::Outage,
        &[
            "journal.recorded",
            "fallback.reported",
            "fallback.reported=1",
            "record.put",
            "folder.put",
            "claim.done",
            "index.put",
            "artifact.put",
            "artifact.put=14",
            "manifest.to_put",
            "manifest.put",
            "manifest.put=1",
            "export.completed",
            "export.completed=1",
        ],
    ),
    (
        Scene::Sync,
        &[
            "record.put",
            "folder.put",
            "claim.done",
            "index.put",
            "artifact.to_put",
            "attempt.create",
            "attempt.recorded",
            "attempt.recorded=1",
            "journal.load",
            "journal.loaded",
            "artifact.put=3",
            "artifact.put=17",
            "manifest.to_put",
            "manifest.put",
            "sync.committed",
            "sync.committed=1",
            "sync.verified",
            "local.manifest.removed",
            "local.manifest.removed=1",
            "local.artifact.removed",
            "local.artifact.removed=6",
            "local.artifact.removed=15",
            "local.index.removed",
            "local.claim.removed",
            "local.claim.removed=1",
            "local.record.removed",
            "receipt.written",
            "receipt.written=1",
            "journal.unlinked",
            "journal.removed",
            "disk.directory.remove",
            "disk.directory.remove=2",
            "disk.directory.remove=6",
            "disk.file.remove",
            "disk.file.remove=1",
            "disk.file.remove=9",
            "disk.file.remove=18",
            "disk.file.remove=27",
            "disk.file.replace",
            "disk.directory.sync=4",
            "disk.directory.sync=17",
            "disk.directory.sync=35",
        ],
    ),
    (
        Scene::Failure,
        &[
            "accepted.sent",
            "artifact.put",
            "failure.marked",
            "failure.written",
            "failure.recorded",
            "failure.recorded=1",
            "journal.unlinked",
            "disk.file.replace",
            "disk.file.remove",
        ],
    ),
    (
        Scene::Damage,
        &["quarantine.reason", "quarantine.moved", "disk.file.move", "disk.file.replace"],
    ),
    (Scene::Parts, &["parts.begun", "part.put", "part.put=2", "parts.to_complete"]),
    (Scene::Copy, &["parts.begun", "part.copied", "parts.to_complete"]),
    (
        Scene::Attachment,
        &[
            "upload.synced",
            "upload.synced=1",
            "disk.file.link",
            "disk.file.link=1",
            "journal.attached",
            "journal.attached=1",
            "journal.recorded",
            "artifact.put=3",
            "manifest.put",
        ],
    ),
    (Scene::Suspect, &["suspect.recorded", "attempt.recorded", "journal.loaded"]),
    (Scene::Retry, &["retry.published"]),
    (
        Scene::OldIndex,
        &["disk.file.move", "disk.file.move=1", "disk.file.move=2", "disk.directory.remove"],
    ),
];

impl Scene {
    /// The cases of the scene. All reviews have the same name, so that they compete for one folder.
    pub(crate) fn cases(self) -> Vec<ExportCase> {
        let cases = [1, 2].map(ExportCase::new);
        match self {
            Self::S3 => [1, 2, 3].map(ExportCase::new).to_vec(),
            Self::Outage | Self::Sync | Self::Damage | Self::Suspect | Self::Retry => {
                cases.to_vec()
            }
            Self::Local => cases.map(ExportCase::local).to_vec(),
            Self::OldIndex => [1, 2, 3].map(|number| ExportCase::new(number).local()).to_vec(),
            Self::Failure => cases.map(ExportCase::without_fallback).to_vec(),
            // Only one: if the process is killed before it records a multipart upload, nothing
            // aborts it.
            Self::Parts => vec![ExportCase::new(1).with(Guidelines::Large)],
            Self::Copy => vec![ExportCase::new(1).with(Guidelines::Uploaded)],
            Self::Attachment => cases.map(|case| case.with(Guidelines::Uploaded)).to_vec(),
        }
    }

    /// Prepares the state before the process that is killed.
    pub(crate) async fn prepare(self, world: &mut World) {
        // A failure that is not retried.
        let outage = FaultRule::new(Fault::ACCESS_DENIED);
        match self {
            Self::S3 => {
                // Longer than ACCEPT_TIMEOUT.
                let late = FaultRule::new(Fault::Delay(Duration::from_millis(200)));
                let late = late.on(Operation::PutObject).key_contains("/exports/");
                // The third is not delayed.
                world.s3.fail(late.times(2));
            }
            Self::Local | Self::Parts | Self::Copy => {}
            Self::Outage | Self::Attachment => {
                world.s3.fail(outage);
            }
            Self::Sync | Self::Suspect | Self::Retry => {
                let outage = world.s3.fail(outage);
                let mut process = world.start("");
                let url = process.url().await.unwrap();
                world.send_all(&url, &self.cases()).await;
                process.kill();
                process.ended().await;
                world.s3.clear_fault(outage);
                if self == Self::Suspect {
                    let mut process = world.start("journal.loaded=return");
                    assert_eq!(process.ended().await, End::Killed);
                }
                if self == Self::Retry {
                    let journal = world.data_dir().join(".tara-export/journal");
                    let entry = world.journal().pop().unwrap();
                    fs::create_dir_all(journal.join("retry")).unwrap();
                    fs::rename(journal.join(&entry), journal.join("retry").join(&entry)).unwrap();
                }
            }
            Self::OldIndex => {
                let mut process = world.start("");
                let url = process.url().await.unwrap();
                world.send_all(&url, &self.cases()).await;
                world.until_done().await;
                process.kill();
                process.ended().await;
                let own = world.data_dir().join(".tara-export");
                fs::create_dir(own.join("index")).unwrap();
                move_files(&own.join("index-shards"), &own.join("index"));
            }
            Self::Failure => {
                world.s3.fail(outage.on(Operation::PutObject).key_contains("/feedback/"));
            }
            Self::Damage => {
                let journal = world.data_dir().join(".tara-export/journal");
                fs::create_dir_all(&journal).unwrap();
                let case = ExportCase::new(9);
                let name = format!("{}-{}.export", case.export_id(), "0".repeat(64));
                fs::write(journal.join(name), "not an export").unwrap();
            }
        }
    }

    /// Runs callers until the process has ended or all work is done.
    async fn run_callers(self, world: &World, process: &mut Process, is_final: bool) {
        let Some(url) = process.url().await else { return };
        if !matches!(self, Self::Sync | Self::Suspect | Self::Retry) {
            world.send_all(&url, &self.cases()).await;
        }
        // During an outage the journal is not emptied.
        if !matches!(self, Self::Outage | Self::Attachment) || is_final {
            let what = "the process dies, or the journal is empty";
            until(what, || !process.is_alive() || world.journal().is_empty()).await;
        }
    }
}

/// Moves all files below a folder into another folder, and removes the first one.
fn move_files(folder: &Path, target: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => move_files(&entry.path(), target),
            false => fs::rename(entry.path(), target.join(entry.file_name())).unwrap(),
        }
    }
    fs::remove_dir(folder).unwrap();
}

/// The configuration that kills the process at a step; `name=2` is the third pass.
pub(crate) fn failpoint_config(step: &str) -> String {
    match step.split_once('=') {
        Some((name, passes)) => format!("{name}={passes}*off->return"),
        None => format!("{step}=return"),
    }
}

async fn killed_at(scene: Scene, step: &str) {
    let mut world = World::new("5s").await;
    scene.prepare(&mut world).await;
    let failpoints = failpoint_config(step);
    let mut process = world.start(&failpoints);
    scene.run_callers(&world, &mut process, false).await;
    // The journal may be empty and the callers done before the step is reached.
    let ended = tokio::time::timeout(Duration::from_secs(20), process.ended()).await;
    assert_eq!(ended, Ok(End::Killed), "{scene:?} never reached {step}");
    drop(process);
    world.check();

    // The process may be killed again while it recovers. S3 works, and callers retry.
    world.s3.clear_faults();
    let mut process = world.start(&failpoints);
    scene.run_callers(&world, &mut process, true).await;
    process.kill();
    process.ended().await;
    drop(process);
    world.check();
    world.finish().await;
    if matches!(scene, Scene::Parts | Scene::Copy) {
        assert_eq!(world.s3.open_uploads(), 0, "parts are left of {scene:?} killed at {step}");
    }
}

async fn killed_at_each_step_of(scene: Scene) {
    let (_, steps) = STEPS.iter().find(|(of, _)| *of == scene).unwrap();
    for step in *steps {
        eprintln!("{scene:?}: killed at {step}");
        killed_at(scene, step).await;
    }
}

#[tokio::test]
async fn kill_during_export_to_s3_is_recovered() {
    killed_at_each_step_of(Scene::S3).await;
}

#[tokio::test]
async fn kill_during_export_to_local_store_is_recovered() {
    killed_at_each_step_of(Scene::Local).await;
}

#[tokio::test]
async fn kill_during_fallback_is_recovered() {
    killed_at_each_step_of(Scene::Outage).await;
}

#[tokio::test]
async fn kill_during_sync_is_recovered() {
    killed_at_each_step_of(Scene::Sync).await;
}

#[tokio::test]
async fn kill_during_failure_is_recovered() {
    killed_at_each_step_of(Scene::Failure).await;
}

#[tokio::test]
async fn kill_during_quarantine_is_recovered() {
    killed_at_each_step_of(Scene::Damage).await;
}

#[tokio::test]
async fn kill_during_part_upload_is_recovered() {
    killed_at_each_step_of(Scene::Parts).await;
}

#[tokio::test]
async fn kill_during_upload_copy_is_recovered() {
    killed_at_each_step_of(Scene::Copy).await;
}

#[tokio::test]
async fn kill_during_suspect_recording_is_recovered() {
    killed_at_each_step_of(Scene::Suspect).await;
}

#[tokio::test]
async fn kill_during_quarantine_retry_is_recovered() {
    killed_at_each_step_of(Scene::Retry).await;
}

#[tokio::test]
async fn kill_while_old_index_is_moved_is_recovered() {
    killed_at_each_step_of(Scene::OldIndex).await;
}

#[tokio::test]
async fn kill_during_upload_attachment_is_recovered() {
    killed_at_each_step_of(Scene::Attachment).await;
}

/// If the content were in the journal, a later process would treat it as accepted.
#[tokio::test]
async fn other_content_under_a_used_id_is_not_journaled() {
    for (first, is_outage) in [
        (ExportCase::new(1), false),
        (ExportCase::new(1), true),
        (ExportCase::new(1).local(), false),
    ] {
        let mut world = World::new("5s").await;
        if is_outage {
            world.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
        }
        let mut process = world.start("");
        world.send_all(&process.url().await.unwrap(), &[first]).await;
        if !is_outage {
            world.until_done().await;
        }
        process.terminate();
        process.ended().await;

        let mut process = world.start("journal.written=return");
        let other = ExportCase { content: 2, ..first };
        world.send_all(&process.url().await.unwrap(), &[other]).await;
        assert!(process.is_alive(), "{other:?} was journaled");
        assert_eq!(world.ledger.observed()[&other].refused, Some(Code::AlreadyExists));
        process.kill();
        process.ended().await;
        world.finish().await;
    }
}

#[test]
fn every_failpoint_is_visited() {
    let visited: BTreeSet<String> = STEPS
        .iter()
        .flat_map(|(_, steps)| steps.iter())
        .map(|step| step.split('=').next().unwrap().to_owned())
        .chain(at_event_steps::steps().map(|step| step.split('=').next().unwrap().to_owned()))
        .chain(at_batch_steps::steps().map(|step| step.split('=').next().unwrap().to_owned()))
        // Visited by `suspects`, which needs several processes.
        .chain(["takeover.load".to_owned()])
        .collect();
    assert_eq!(visited, failpoints::names_in_source());
}
