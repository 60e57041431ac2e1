//! One replica is stopped (SIGSTOP) at every step while another finishes the same exports: some
//! that callers send again, some by takeover. Then the first continues.
//!
//! The stop lasts until the other replica is done, longer than every age and pause in the settings
//! here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use futures::{StreamExt as _, future::join_all, stream};
use tara_export_client::{Client, proto::export::State};
use tara_export_test_support::Operation;

use crate::{
    at_steps::{STEPS, Scene},
    callers::send,
    failpoints,
    ledger::{ExportCase, is_in_s3},
    notified::Notified,
    process::{End, Process, until, within},
    stores::Snapshot,
    world::{World, journal_in},
};

/// Settings of two replicas with a shared bucket.
const REPLICA_SETTINGS: [(&str, &str); 4] = [
    ("JOURNAL", "store"),
    ("TAKEOVER_INTERVAL", "100ms"),
    ("TAKEOVER_AGE", "0s"),
    // Long, because many processes run on this machine.
    ("SHUTDOWN_TIMEOUT", "20s"),
];
/// Concurrent pairs of replicas.
const CONCURRENT_PAIRS: usize = 6;
/// Scenes that use the shared bucket: all their steps are tested.
const ALL_STEPS_SCENES: [Scene; 4] = [Scene::S3, Scene::Sync, Scene::Parts, Scene::Copy];
/// Scenes of which only steps that are not in other scenes are tested.
const NEW_STEPS_SCENES: [Scene; 6] =
    [Scene::Outage, Scene::Failure, Scene::Attachment, Scene::Damage, Scene::Suspect, Scene::Retry];

/// The steps of events that other replicas can see, with `JOURNAL=store`.
const EVENT_STEPS: [(Scene, &str); 8] = [
    (Scene::S3, "event.settled"),
    (Scene::S3, "event.taken"),
    (Scene::S3, "event.claimed"),
    (Scene::S3, "event.answered"),
    (Scene::S3, "event.done"),
    (Scene::S3, "event.delivered"),
    (Scene::Outage, "event.added"),
    (Scene::Outage, "fallback.noted"),
];

/// The first pass of each failpoint in each scene.
fn steps() -> Vec<(Scene, &'static str)> {
    let of = |scene: Scene| {
        let (_, steps) = STEPS.iter().find(|(of, _)| *of == scene).unwrap();
        steps.iter().filter(|step| !step.contains('=')).map(move |step| (scene, *step))
    };
    let mut steps: Vec<(Scene, &str)> = ALL_STEPS_SCENES.into_iter().flat_map(of).collect();
    // Another replica cannot see a local store. The disk's steps also occur in the journal.
    let (_, of_disk) = STEPS.iter().find(|(of, _)| *of == Scene::Local).unwrap();
    let of_disk = of_disk.iter().map(|step| (Scene::S3, step.split('=').next().unwrap()));
    for (scene, step) in NEW_STEPS_SCENES.into_iter().flat_map(of).chain(of_disk) {
        if steps.iter().all(|(_, visited)| *visited != step) {
            steps.push((scene, step));
        }
    }
    steps.extend(EVENT_STEPS);
    steps
}

/// Two replicas with their bucket.
struct Replicas {
    world: World,
    resumed: PathBuf,
}

impl Replicas {
    fn data_dirs(&self) -> [PathBuf; 2] {
        [self.world.data_dir(), self.world.data_dir().with_file_name("other")]
    }

    fn command(&self, scene: Scene, data_dir: &Path, failpoints: &str) -> Command {
        let mut command = self.world.command(failpoints, "5s");
        command.env("DATA_DIR", data_dir).envs(REPLICA_SETTINGS);
        // Only this scene has a step that requires a late response from S3. On a busy machine every
        // response may be late.
        if scene != Scene::S3 {
            command.env("ACCEPT_TIMEOUT", "10s");
        }
        command
    }

    /// Whether the bucket has the journal entry and the record that a takeover needs.
    fn can_be_taken_over(&self, case: ExportCase) -> bool {
        let s3 = Snapshot::of_s3(&self.world.s3);
        let entry = format!(".tara-export/journal/{}-", case.export_id());
        s3.below(&entry).next().is_some()
            && s3.0.contains_key(&format!(".tara-export/exports/{}.json", case.export_id()))
    }

    /// Checks the result, whatever the order of both replicas' steps was.
    async fn check(&self, scene: Scene, cases: &[ExportCase], urls: &[&str; 2], before: &Snapshot) {
        let after = Snapshot::of_s3(&self.world.s3);
        let is_journal = |key: &str| key.contains(".tara-export/journal/");
        for (key, bytes) in before.0.iter().filter(|(key, _)| !is_journal(key)) {
            assert_eq!(after.0.get(key), Some(bytes), "{key} was changed");
        }
        assert_eq!(after.below(".tara-export/journal/").count(), 0, "entries are left in S3");
        for request in self.world.s3.requests() {
            match request.operation {
                Operation::PutObject | Operation::CompleteMultipartUpload => {
                    assert_eq!(request.header("if-none-match"), Some("*"), "{}", request.key);
                }
                Operation::DeleteObject | Operation::DeleteObjects => {
                    assert!(is_journal(&request.key), "{request:?}");
                }
                _ => {}
            }
        }
        // Exactly one complete bundle of each export.
        let bundles = after.bundles();
        let ids: BTreeSet<String> = cases.iter().map(ExportCase::export_id).collect();
        assert_eq!(bundles.keys().cloned().collect::<BTreeSet<_>>(), ids);
        for case in cases {
            let bundle = &bundles[&case.export_id()];
            assert_eq!(bundle.manifest.session_id, case.session_id());
            for url in urls {
                let client = Client::connect(url).await.unwrap();
                let export =
                    client.get_export(format!("exports/{}", case.export_id())).await.unwrap();
                assert_eq!(export.state(), State::Committed, "{export:?}");
                assert_eq!(export.manifest_sha256, bundle.manifest_sha256);
            }
            let observed = &self.world.ledger.observed()[case];
            for export in observed.completed.iter().filter(|export| is_in_s3(export)) {
                assert_eq!(export.manifest_sha256, bundle.manifest_sha256);
            }
            // A process that fails an export does not know what another replica does with it
            // (guarantees.md).
            assert!(!observed.failed || case.no_fallback, "{case:?} failed, and has a bundle");
        }
        for data_dir in self.data_dirs() {
            assert_eq!(Snapshot::of_folder(&data_dir).bundles().len(), 0, "a copy is left");
            let failed = fs::read_dir(data_dir.join(".tara-export/failed"));
            let failed = failed.map_or(0, Iterator::count);
            assert!(failed == 0 || scene == Scene::Failure, "a failure is recorded");
        }
    }
}

async fn stopped_at(scene: Scene, step: &str) {
    let mut world = World::new("5s").await;
    if EVENT_STEPS.contains(&(scene, step)) {
        world = world.notifying(|receiver| vec![receiver.target("hook")]).await;
        world.notified.as_mut().unwrap().replicas = 2;
    }
    scene.prepare(&mut world).await;
    let resumed = world.data_dir().with_file_name("resumed");
    let replicas = Replicas { world, resumed };
    let [data_dir, other_data_dir] = replicas.data_dirs();
    let Replicas { world, resumed } = &replicas;
    let cases = scene.cases();

    let failpoints = format!("{step}=1*return(stop {})", resumed.display());
    let mut first = Process::start(replicas.command(scene, &data_dir, &failpoints));
    let mut callers = Vec::new();
    if let Some(url) = first.url_unless_stopped().await
        && !matches!(scene, Scene::Sync | Scene::Suspect | Scene::Retry)
    {
        callers = cases.iter().map(|case| send(&url, &world.ledger, *case)).collect();
    }
    until(&format!("{scene:?} reaches {step}"), || first.is_stopped()).await;

    world.s3.clear_faults();
    let mut second = Process::start(replicas.command(scene, &other_data_dir, ""));
    let second_url = second.url().await.expect("the second replica starts");
    // All but the last case are sent again. The last is left for takeover if the first replica got
    // that far.
    let (last, again) = cases.split_last().unwrap();
    let is_left = scene == Scene::S3 && replicas.can_be_taken_over(*last);
    world.send_all(&second_url, if is_left { again } else { &cases }).await;
    for case in &cases {
        let id = case.export_id();
        let committed = || Snapshot::of_s3(&world.s3).bundles().contains_key(&id);
        until(&format!("{case:?} is finished by the second replica"), committed).await;
    }
    let before = Snapshot::of_s3(&world.s3);

    fs::write(resumed, "").unwrap();
    first.resume();
    let first_url = first.url().await.expect("the first replica is alive");
    for caller in within("the callers", join_all(callers)).await {
        caller.expect("a caller got a wrong event");
    }
    until("both journals are empty", || {
        let entries = [&data_dir, &other_data_dir].map(|data_dir| journal_in(data_dir).len());
        let in_s3 = Snapshot::of_s3(&world.s3).below(".tara-export/journal/").count();
        entries == [0, 0] && in_s3 == 0
    })
    .await;
    if let Some(notified) = &world.notified {
        let dirs = [&data_dir, &other_data_dir];
        until("all events are delivered", || dirs.iter().all(|dir| Notified::is_idle(dir))).await;
        let committed = cases.iter().map(ExportCase::export_id).collect();
        notified.check(&data_dir, &committed, &BTreeSet::new());
    }
    replicas.check(scene, &cases, &[&first_url, &second_url], &before).await;
    for process in [&mut first, &mut second] {
        process.terminate();
        assert_eq!(process.ended().await, End::Exited(Some(0)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_stopped_at_any_step_does_not_harm_the_other() {
    let stopped = steps().into_iter().map(|(scene, step)| async move {
        let stopped = tokio::spawn(stopped_at(scene, step)).await;
        stopped.is_err().then(|| format!("{scene:?}: stopped at {step}"))
    });
    let failed: Vec<String> = stream::iter(stopped)
        .buffer_unordered(CONCURRENT_PAIRS)
        .filter_map(async |f| f)
        .collect()
        .await;
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_failpoint_is_visited() {
    let visited: BTreeSet<String> = steps()
        .into_iter()
        .map(|(_, step)| step.to_owned())
        // A takeover reads and changes nothing before this step; `suspects` visits `takeover.load`. Dead letters and
        // batches are only on the disk of their machine.
        .chain(["takeover.load", "event.buried", "event.revived"].map(str::to_owned))
        .collect();
    let left_out: Vec<String> =
        failpoints::names_in_source().difference(&visited).cloned().collect();
    let left_out: Vec<String> =
        left_out.into_iter().filter(|step| !step.starts_with("batch.")).collect();
    assert_eq!(left_out, Vec::<String>::new());
}
