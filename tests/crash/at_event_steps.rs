//! Processes that are killed at every step of events, and again during recovery. Then every event must be delivered.

use std::{fs, time::Duration};

use http::StatusCode;
use serde_json::{Value, json};
use tara_export_client::{Client, proto::RetryEventsRequest};
use tara_export_test_support::{Fault, FaultRule, Operation};

use crate::{
    at_steps::failpoint_config,
    ledger::ExportCase,
    mail_server::{Mail, MailServer},
    notified::{Notified, names_in},
    process::{End, Process, until},
    receiver::Answer,
    world::World,
};

/// The situation in which a step is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// Both stores work.
    Committed,
    /// S3 fails.
    Outage,
    /// S3 works again and fallbacks are synced, whose events wait.
    Sync,
    /// S3 accepts the claim but not the artifacts, and the request has no fallback.
    Failure,
    /// The journal has an unreadable entry.
    Damage,
    /// One of two targets refuses the first event.
    TwoTargets,
    /// The journal is also in S3, where events have their ends.
    StoreJournal,
    /// A machine is lost, whose events another one takes over.
    Orphan,
    /// A mail server refuses the recipient.
    Rejected,
    /// An operator retries dead letters.
    Retry,
}

/// The failpoints that each scene must reach. With a number, the process is killed after that many
/// earlier passes.
const STEPS: [(Scene, &[&str]); 10] = [
    (
        Scene::Committed,
        &[
            "manifest.put",
            "receipt.written",
            "event.settled",
            "event.settled=2",
            "event.taken",
            "event.taken=2",
            "event.claimed",
            "event.claimed=2",
            "event.delivered",
            "event.delivered=2",
            "journal.unlinked",
            "journal.removed",
            "disk.file.move=1",
            "disk.file.move=4",
        ],
    ),
    (
        Scene::Outage,
        &[
            "manifest.put",
            "export.completed",
            "event.added",
            "event.added=1",
            "fallback.noted",
            "fallback.noted=1",
            "event.delivered",
            "event.delivered=1",
        ],
    ),
    (
        Scene::Sync,
        &[
            "event.claimed",
            "event.claimed=2",
            "event.claimed=5",
            "sync.committed",
            "sync.verified",
            "local.manifest.removed",
            "receipt.written",
            "event.settled",
            "event.settled=1",
            "event.taken",
            "event.taken=1",
            "event.delivered",
            "event.delivered=3",
            "journal.unlinked",
            "journal.removed",
        ],
    ),
    (
        Scene::Failure,
        &[
            "failure.written",
            "failure.recorded",
            "failure.recorded=1",
            "event.settled",
            "event.settled=1",
            "event.taken",
            "event.delivered",
            "event.delivered=1",
            "journal.unlinked",
        ],
    ),
    (Scene::Damage, &["quarantine.moved", "event.added", "event.claimed", "event.delivered"]),
    (Scene::TwoTargets, &["event.taken", "event.answered", "event.answered=1", "event.delivered"]),
    (
        Scene::StoreJournal,
        &[
            "event.settled",
            "event.claimed",
            "event.claimed=1",
            "event.claimed=3",
            "receipt.written",
            "journal.removed",
            "event.answered",
            "event.done",
            "event.done=1",
            "event.delivered",
        ],
    ),
    (Scene::Orphan, &["event.added", "event.added=1", "event.done"]),
    (Scene::Rejected, &["event.buried", "event.buried=1"]),
    (Scene::Retry, &["event.revived", "event.revived=1"]),
];

/// The failpoints of all scenes.
pub(crate) fn steps() -> impl Iterator<Item = &'static str> {
    STEPS.into_iter().flat_map(|(_, steps)| steps.iter().copied())
}

/// The target of a mail server: one mail for each committed export.
fn committed_by(mail: &MailServer) -> Value {
    let mut target = mail.target("mail", json!(["ops@example.com"]));
    target["events"] = json!(["committed"]);
    target
}

/// A world with a mail server, which only some scenes use.
struct Stage {
    scene: Scene,
    world: World,
    mail: MailServer,
}

impl Stage {
    /// A world in the state before the process that is killed.
    async fn new(scene: Scene) -> Self {
        let mail = MailServer::start().await;
        mail.refuse(Some("550 5.1.1 no such user"));
        let world = World::new("5s").await;
        let world = world
            .notifying(|receiver| match scene {
                Scene::TwoTargets => vec![receiver.target("hook"), receiver.target("other")],
                Scene::Rejected | Scene::Retry => vec![committed_by(&mail)],
                _ => vec![receiver.target("hook")],
            })
            .await;
        let world = match scene {
            Scene::StoreJournal => world.with_settings(&[("JOURNAL", "store")]),
            Scene::Orphan => world.with_settings(&[
                ("JOURNAL", "store"),
                ("TAKEOVER_AGE", "0s"),
                ("TAKEOVER_INTERVAL", "100ms"),
            ]),
            _ => world,
        };
        let mut stage = Self { scene, world, mail };
        stage.prepare().await;
        stage
    }

    async fn prepare(&mut self) {
        // A failure that is not retried.
        let outage = FaultRule::new(Fault::ACCESS_DENIED);
        let s3 = &self.world.s3;
        match self.scene {
            Scene::Committed | Scene::StoreJournal | Scene::Rejected => {}
            Scene::Outage => {
                s3.fail(outage);
            }
            Scene::Failure => {
                s3.fail(outage.on(Operation::PutObject).key_contains("/feedback/"));
            }
            Scene::Sync => {
                let outage = s3.fail(outage);
                self.until_two_wait().await;
                self.world.s3.clear_fault(outage);
            }
            Scene::Orphan => {
                self.until_two_wait().await;
                let data_dir = self.world.data_dir();
                fs::rename(&data_dir, data_dir.with_file_name("lost")).unwrap();
            }
            Scene::Damage => {
                let journal = self.world.data_dir().join(".tara-export/journal");
                fs::create_dir_all(&journal).unwrap();
                let name = format!("{}-{}.export", ExportCase::new(9).export_id(), "0".repeat(64));
                fs::write(journal.join(name), "not an export").unwrap();
            }
            Scene::TwoTargets => self.answer("other", &[Answer::Refuse(StatusCode::BAD_REQUEST)]),
            Scene::Retry => {
                let mut process = self.world.start("");
                self.send_all(&mut process).await;
                self.until_dead(2).await;
                process.kill();
                process.ended().await;
                self.world.check();
                self.mail.refuse(None);
            }
        }
    }

    /// Runs a process until the events of two exports wait for the target.
    async fn until_two_wait(&mut self) {
        self.answer("hook", &[Answer::Refuse(StatusCode::INTERNAL_SERVER_ERROR); 2]);
        let mut process = self.world.start("");
        self.send_all(&mut process).await;
        let (world, data_dir) = (&self.world, self.world.data_dir());
        let count = || names_in(&data_dir, "events/pending").len();
        let is_fallback = self.scene == Scene::Sync;
        until("two events wait", || count() == 2 && (is_fallback || world.journal().is_empty()))
            .await;
        process.kill();
        process.ended().await;
        self.world.check();
        self.accept_all();
    }

    /// Whether the target has processed the events of all cases.
    fn has_all(&self) -> bool {
        let deliveries = self.world.notified.as_ref().unwrap().receiver.deliveries();
        self.cases()
            .iter()
            .all(|case| deliveries.iter().any(|delivery| delivery.export_id == case.export_id()))
    }

    /// The cases of the scene.
    fn cases(&self) -> Vec<ExportCase> {
        let cases = [1, 2].map(ExportCase::new);
        match self.scene {
            Scene::Committed => [cases.as_slice(), &[ExportCase::new(3).local()]].concat(),
            Scene::Failure => cases.map(ExportCase::without_fallback).to_vec(),
            _ => cases.to_vec(),
        }
    }

    async fn send_all(&self, process: &mut Process) {
        if let Some(url) = process.url().await {
            self.world.send_all(&url, &self.cases()).await;
        }
    }

    fn answer(&self, target: &str, answers: &[Answer]) {
        let receiver = &self.world.notified.as_ref().unwrap().receiver;
        receiver.answer(target, answers.iter().copied());
    }

    fn accept_all(&self) {
        self.world.notified.as_ref().unwrap().receiver.accept_all();
    }

    fn dead_letters(&self) -> usize {
        names_in(&self.world.data_dir(), "events/dead").len()
    }

    async fn until_dead(&self, count: usize) {
        let data_dir = self.world.data_dir();
        until("events are given up", || {
            self.dead_letters() == count && Notified::is_idle(&data_dir)
        })
        .await;
    }

    /// Works until the process has ended, or nothing is left to do.
    async fn act(&self, process: &mut Process, is_final: bool) {
        match self.scene {
            Scene::Sync => {
                process.url().await;
            }
            Scene::Orphan => {
                until("the process is killed, or the target has all events", || {
                    !process.is_alive() || self.has_all()
                })
                .await;
            }
            Scene::Retry => {
                let Some(url) = process.url().await else { return };
                let request = RetryEventsRequest { all_dead: true, ..Default::default() };
                // Ends with an error if the process is killed.
                if let Ok(client) = Client::connect(&url).await {
                    let _ = client.retry_events(request).await;
                }
            }
            _ => self.send_all(process).await,
        }
        if is_final {
            let (world, data_dir) = (&self.world, self.world.data_dir());
            until("the process is killed, or nothing waits", || {
                !process.is_alive() || world.journal().is_empty() && Notified::is_idle(&data_dir)
            })
            .await;
        }
    }

    async fn finish(&mut self) {
        match self.scene {
            Scene::Rejected => {
                self.until_dead_after_restart().await;
                self.world.finish().await;
                assert_eq!(self.dead_letters(), 2);
                assert!(self.mail.mails().is_empty());
            }
            Scene::Orphan => {
                let mut process = self.world.start("");
                self.act(&mut process, true).await;
                process.kill();
                process.ended().await;
                self.world.check();
                self.world.finish().await;
            }
            Scene::Retry => {
                let mut process = self.world.start("");
                self.act(&mut process, true).await;
                process.kill();
                process.ended().await;
                self.world.finish().await;
                assert_eq!(self.dead_letters(), 0);
                let mut mails: Vec<String> =
                    self.mail.mails().iter().map(Mail::message_id).collect();
                // A kill between answer and rename repeats one mail under the same id.
                assert!(mails.len() <= 6, "{mails:?}");
                mails.sort();
                mails.dedup();
                assert_eq!(mails.len(), 2, "{mails:?}");
            }
            _ => {
                self.world.finish().await;
            }
        }
    }

    async fn until_dead_after_restart(&self) {
        let mut process = self.world.start("");
        process.url().await.expect("the server starts");
        self.until_dead(2).await;
        process.kill();
        process.ended().await;
    }
}

async fn killed_at(scene: Scene, step: &str) {
    let mut stage = Stage::new(scene).await;
    let failpoints = failpoint_config(step);
    let mut process = stage.world.start(&failpoints);
    stage.act(&mut process, false).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), process.ended()).await;
    assert_eq!(ended, Ok(End::Killed), "{scene:?} never reached {step}");
    drop(process);
    stage.world.check();

    // The process may be killed again while it recovers. S3 and the receivers work, and callers retry.
    stage.world.s3.clear_faults();
    stage.accept_all();
    let mut process = stage.world.start(&failpoints);
    stage.act(&mut process, true).await;
    process.kill();
    process.ended().await;
    drop(process);
    stage.world.check();
    stage.finish().await;
}

async fn killed_at_each_step_of(scene: Scene) {
    let (_, steps) = STEPS.iter().find(|(of, _)| *of == scene).unwrap();
    for step in *steps {
        eprintln!("{scene:?}: killed at {step}");
        killed_at(scene, step).await;
    }
}

#[tokio::test]
async fn kill_loses_no_event_of_a_commit() {
    killed_at_each_step_of(Scene::Committed).await;
}

#[tokio::test]
async fn kill_loses_no_event_of_a_fallback() {
    killed_at_each_step_of(Scene::Outage).await;
}

#[tokio::test]
async fn kill_loses_no_event_of_a_sync() {
    killed_at_each_step_of(Scene::Sync).await;
}

#[tokio::test]
async fn kill_loses_no_event_of_a_failure() {
    killed_at_each_step_of(Scene::Failure).await;
}

#[tokio::test]
async fn kill_loses_no_event_of_a_quarantined_entry() {
    killed_at_each_step_of(Scene::Damage).await;
}

#[tokio::test]
async fn kill_loses_no_event_for_a_refusing_target() {
    killed_at_each_step_of(Scene::TwoTargets).await;
}

#[tokio::test]
async fn kill_loses_no_event_with_a_journal_in_s3() {
    killed_at_each_step_of(Scene::StoreJournal).await;
}

#[tokio::test]
async fn kill_loses_no_event_of_a_lost_machine() {
    killed_at_each_step_of(Scene::Orphan).await;
}

#[tokio::test]
async fn kill_loses_no_dead_letter() {
    killed_at_each_step_of(Scene::Rejected).await;
}

#[tokio::test]
async fn kill_loses_no_retried_event() {
    killed_at_each_step_of(Scene::Retry).await;
}
