//! Disk errors at the steps of events: the journal entry or the event waits, and is delivered when the disk works again.
//!
//! As in `disk_errors`, the server runs in this process, so these tests run sequentially.

use tara_export_client::proto::export::State;
use tara_export_failpoint::fail::{self, FailScenario};
use tara_export_test_support::{Fault, FaultRule};

use crate::{
    ledger::ExportCase,
    machine::{Machine, Server},
    notified::{Notified, names_in},
    process::until,
};

/// A machine with a target.
struct Notifying {
    machine: Machine,
    notified: Notified,
}

impl Notifying {
    async fn new() -> Self {
        let machine = Machine::new().await;
        let folder = machine.data_dir().parent().unwrap().to_owned();
        let notified = Notified::new(&folder, |receiver| vec![receiver.target("hook")]).await;
        Self { machine, notified }
    }

    async fn start(&self) -> Server {
        let file = format!("--notify-file={}", self.notified.file().display());
        self.machine.start_with(&[&file]).await
    }

    /// The events that the target has processed, in order.
    fn delivered(&self, case: ExportCase) -> Vec<String> {
        let deliveries = self.notified.receiver.deliveries().into_iter();
        let own = deliveries.filter(|delivery| delivery.export_id == case.export_id());
        own.map(|delivery| delivery.event_type).collect()
    }

    async fn until_delivered(&self, case: ExportCase, events: &[&str]) {
        until("its events are delivered", || self.delivered(case) == events).await;
    }

    async fn until_idle(&self) {
        let data_dir = self.machine.data_dir();
        until("no event waits", || Notified::is_idle(&data_dir)).await;
    }
}

#[tokio::test]
async fn journal_entry_waits_for_its_note() {
    let _failpoints = FailScenario::setup();
    for (point, errno, path) in [
        ("disk.directory.make", 28, "/.tara-export/settled"),
        ("disk.file.create", 28, "/.tara-export/events/tmp"),
        ("disk.file.write", 28, "/.tara-export/settled/"),
        ("disk.file.sync", 5, "/.tara-export/settled/"),
        ("disk.file.replace", 30, "/.tara-export/settled/"),
        ("disk.directory.sync", 5, "/.tara-export/settled"),
    ] {
        for case in [ExportCase::new(1), ExportCase::new(1).local()] {
            eprintln!("{point} fails with {errno}");
            let notifying = Notifying::new().await;
            let mut server = notifying.start().await;
            fail::cfg(point, &format!("return({errno} {path})")).unwrap();
            // The caller is not delayed.
            server.committed(case).await;
            // The same error meets the next export.
            let other = ExportCase { number: 2, ..case };
            server.committed(other).await;
            let mut entries = notifying.machine.journal();
            entries.retain(|name| name.ends_with(".export"));
            assert_eq!(entries.len(), 2, "{entries:?}");

            fail::remove(point);
            notifying.machine.until_journal_is_empty().await;
            for case in [case, other] {
                notifying.until_delivered(case, &["committed"]).await;
            }
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn fallback_is_reported_before_its_sync_after_disk_errors() {
    let _failpoints = FailScenario::setup();
    for (point, errno, path) in [
        ("disk.file.write", 28, "/.tara-export/events/pending/"),
        ("disk.directory.sync", 5, "/.tara-export/events/pending"),
    ] {
        eprintln!("{point} fails with {errno}");
        let notifying = Notifying::new().await;
        let mut server = notifying.start().await;
        let outage = notifying.machine.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
        fail::cfg(point, &format!("return({errno} {path})")).unwrap();
        let case = ExportCase::new(1);
        assert_eq!(server.export(case).await.state(), State::FellBack);
        fail::remove(point);
        notifying.machine.s3.clear_fault(outage);
        notifying.until_delivered(case, &["fell_back", "synced"]).await;
        notifying.machine.until_journal_is_empty().await;
        notifying.until_idle().await;
        server.stop().await;
    }
}

#[tokio::test]
async fn note_that_cannot_be_taken_delays_no_other() {
    let _failpoints = FailScenario::setup();
    let notifying = Notifying::new().await;
    let mut server = notifying.start().await;
    let [stuck, other, last] = [1, 2, 3].map(ExportCase::new);
    let path = format!("/.tara-export/settled/{}", stuck.export_id());
    fail::cfg("disk.file.move", &format!("return(5 {path})")).unwrap();
    server.committed(stuck).await;
    server.committed(other).await;
    notifying.until_delivered(other, &["committed"]).await;
    assert_eq!(names_in(&notifying.machine.data_dir(), "settled").len(), 1);
    fail::remove("disk.file.move");
    // The next note lets the dispatcher look again.
    server.committed(last).await;
    for case in [stuck, last] {
        notifying.until_delivered(case, &["committed"]).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn end_that_cannot_be_written_is_retried_without_a_second_delivery() {
    let _failpoints = FailScenario::setup();
    let notifying = Notifying::new().await;
    let mut server = notifying.start().await;
    fail::cfg("disk.file.move", "return(28 /.tara-export/events/pending/)").unwrap();
    let case = ExportCase::new(1);
    server.committed(case).await;
    notifying.until_delivered(case, &["committed"]).await;
    assert_eq!(names_in(&notifying.machine.data_dir(), "events/pending").len(), 1);
    fail::remove("disk.file.move");
    notifying.until_idle().await;
    assert_eq!(notifying.delivered(case), ["committed"]);
    server.stop().await;
}
