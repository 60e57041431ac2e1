//! Killed at every step of the protocol, again while recovering from that, and then left to finish.

use std::{collections::BTreeSet, fs, time::Duration};

use tara_export_test_support::{Fault, FaultRule, Operation};
use tonic::Code;

use crate::{
    ledger::{Guidelines, Wish},
    named,
    process::{End, Process, until},
    world::World,
};

/// What happens around the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// S3 works, and takes its time for the claim.
    S3,
    /// The bundle goes to the local store, as asked.
    Local,
    /// S3 does not work.
    Outage,
    /// S3 works again.
    Drain,
    /// S3 takes the claim and not the files, and nothing else is wanted.
    Failure,
    /// The journal has an entry that can't be read.
    Damage,
    /// S3 works, and a document goes there in parts.
    Parts,
    /// S3 works, and a document is there already.
    Copy,
    /// S3 does not work, and a document was uploaded to this disk.
    Attachment,
    /// A process died while it loaded an entry of the journal.
    Suspect,
    /// An operator took an entry out of quarantine.
    Retry,
}

/// The steps that each scene must come to. At those with a number the process dies at that pass, too.
const STEPS: [(Scene, &[&str]); 11] = [
    (
        Scene::S3,
        &[
            "journal.written",
            "journal.synced",
            "journal.published",
            "journal.recorded",
            "journal.recorded=2",
            "accepted.without_claim",
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
            "fallback.told",
            "fallback.told=1",
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
        Scene::Drain,
        &[
            "record.put",
            "folder.put",
            "claim.done",
            "index.put",
            "artifact.to_put",
            "attempt.create",
            "attempt.noted",
            "attempt.noted=1",
            "journal.load",
            "journal.loaded",
            "artifact.put=3",
            "artifact.put=17",
            "manifest.to_put",
            "manifest.put",
            "drain.committed",
            "drain.committed=1",
            "drain.verified",
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
            "failure.written",
            "failure.noted",
            "failure.noted=1",
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
    (Scene::Suspect, &["suspect.noted", "attempt.noted", "journal.loaded"]),
    (Scene::Retry, &["retry.published"]),
];

impl Scene {
    /// What callers want here. All reviews have one name, so that they want the same folder.
    fn wishes(self) -> Vec<Wish> {
        let wishes = [1, 2].map(Wish::new);
        match self {
            Self::S3 => [1, 2, 3].map(Wish::new).to_vec(),
            Self::Outage | Self::Drain | Self::Damage | Self::Suspect | Self::Retry => {
                wishes.to_vec()
            }
            Self::Local => wishes.map(Wish::local).to_vec(),
            Self::Failure => wishes.map(Wish::or_nothing).to_vec(),
            // One: what another began and could not note when the process died, nobody aborts.
            Self::Parts => vec![Wish::new(1).with(Guidelines::Large)],
            Self::Copy => vec![Wish::new(1).with(Guidelines::Uploaded)],
            Self::Attachment => wishes.map(|wish| wish.with(Guidelines::Uploaded)).to_vec(),
        }
    }

    /// Everything before the process starts that is to die.
    async fn prepare(self, world: &mut World) {
        // The kind that nobody waits out.
        let outage = FaultRule::new(Fault::ACCESS_DENIED);
        match self {
            Self::S3 => {
                // Longer than the server waits for it.
                let late = FaultRule::new(Fault::Delay(Duration::from_millis(200)));
                let late = late.on(Operation::PutObject).key_contains("/exports/");
                // The third is on time.
                world.s3.fail(late.times(2));
            }
            Self::Local | Self::Parts | Self::Copy => {}
            Self::Outage | Self::Attachment => {
                world.s3.fail(outage);
            }
            Self::Drain | Self::Suspect | Self::Retry => {
                let outage = world.s3.fail(outage);
                let mut process = world.start("");
                let url = process.url().await.unwrap();
                world.send_all(&url, &self.wishes()).await;
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
            Self::Failure => {
                world.s3.fail(outage.on(Operation::PutObject).key_contains("/feedback/"));
            }
            Self::Damage => {
                let journal = world.data_dir().join(".tara-export/journal");
                fs::create_dir_all(&journal).unwrap();
                let wish = Wish::new(9);
                let name = format!("{}-{}.export", wish.export_id(), "0".repeat(64));
                fs::write(journal.join(name), "not an export").unwrap();
            }
        }
    }

    /// Lets callers at the server, until it dies or has done everything.
    async fn play(self, world: &World, process: &mut Process, is_over: bool) {
        let Some(url) = process.url().await else { return };
        if !matches!(self, Self::Drain | Self::Suspect | Self::Retry) {
            world.send_all(&url, &self.wishes()).await;
        }
        // An outage, as long as it lasts, leaves the journal as it is.
        if !matches!(self, Self::Outage | Self::Attachment) || is_over {
            let what = "the process dies, or the journal is empty";
            until(what, || !process.is_alive() || world.journal().is_empty()).await;
        }
    }
}

/// `name=2` is the third pass of that name.
fn failpoints(step: &str) -> String {
    match step.split_once('=') {
        Some((name, passes)) => format!("{name}={passes}*off->return"),
        None => format!("{step}=return"),
    }
}

async fn killed_at(scene: Scene, step: &str) {
    let mut world = World::new("5s").await;
    scene.prepare(&mut world).await;
    let failpoints = failpoints(step);
    let mut process = world.start(&failpoints);
    scene.play(&world, &mut process, false).await;
    // Journal and callers may be done a moment before the step that follows.
    let ended = tokio::time::timeout(Duration::from_secs(20), process.ended()).await;
    assert_eq!(ended, Ok(End::Killed), "{scene:?} never came to {step}");
    drop(process);
    world.check();

    // While it recovers, the same may happen again. S3 works again, and callers try again.
    world.s3.clear_faults();
    let mut process = world.start(&failpoints);
    scene.play(&world, &mut process, true).await;
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
async fn on_the_way_to_s3() {
    killed_at_each_step_of(Scene::S3).await;
}

#[tokio::test]
async fn on_the_way_to_the_local_store() {
    killed_at_each_step_of(Scene::Local).await;
}

#[tokio::test]
async fn while_falling_back() {
    killed_at_each_step_of(Scene::Outage).await;
}

#[tokio::test]
async fn while_sending_what_fell_back() {
    killed_at_each_step_of(Scene::Drain).await;
}

#[tokio::test]
async fn while_failing() {
    killed_at_each_step_of(Scene::Failure).await;
}

#[tokio::test]
async fn while_setting_aside_what_is_damaged() {
    killed_at_each_step_of(Scene::Damage).await;
}

#[tokio::test]
async fn while_sending_parts() {
    killed_at_each_step_of(Scene::Parts).await;
}

#[tokio::test]
async fn while_copying_an_upload() {
    killed_at_each_step_of(Scene::Copy).await;
}

#[tokio::test]
async fn while_noting_a_suspect() {
    killed_at_each_step_of(Scene::Suspect).await;
}

#[tokio::test]
async fn while_an_entry_comes_back_from_quarantine() {
    killed_at_each_step_of(Scene::Retry).await;
}

#[tokio::test]
async fn while_keeping_an_upload_with_its_export() {
    killed_at_each_step_of(Scene::Attachment).await;
}

/// A later process that found it there would take it for accepted.
#[tokio::test]
async fn other_content_under_a_used_id_does_not_come_into_the_journal() {
    for (first, is_outage) in
        [(Wish::new(1), false), (Wish::new(1), true), (Wish::new(1).local(), false)]
    {
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
        let other = Wish { content: 2, ..first };
        world.send_all(&process.url().await.unwrap(), &[other]).await;
        assert!(process.is_alive(), "{other:?} came into the journal");
        assert_eq!(world.ledger.told()[&other].refused, Some(Code::AlreadyExists));
        process.kill();
        process.ended().await;
        world.finish().await;
    }
}

#[test]
fn no_step_is_left_out() {
    let visited: BTreeSet<String> = STEPS
        .iter()
        .flat_map(|(_, steps)| steps.iter())
        .map(|step| step.split('=').next().unwrap().to_owned())
        .collect();
    assert_eq!(visited, named::in_source());
}
