//! Two contents under one id in one journal: each is counted, waits and ends independently.

use std::{fs, time::Duration};

use chrono::TimeDelta;
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    harness::{
        Host,
        in_s3::committed_bundles,
        s3::store_of,
        waiting::{journal, until_journal_is_empty, until_status},
    },
    requests::request,
};

const FLAGS: [&str; 4] = [
    "--s3-outage-pause=10ms",
    "--s3-retry-budget=4s",
    "--shutdown-timeout=0s",
    "--accept-timeout=10ms",
];

/// A host whose local store is not writable, so that bundles that S3 refuses wait in the journal.
fn unwritable_host(s3: &TestS3) -> Host {
    let host = Host::with_s3(store_of(s3)).flags(&FLAGS);
    fs::create_dir_all(host.data_dir().join(".tara-export")).unwrap();
    fs::write(host.data_dir().join(".tara-export/exports"), "conflicting").unwrap();
    host
}

#[tokio::test]
async fn oldest_age_is_correct_when_one_of_two_entries_ends() {
    const HOUR: Duration = Duration::from_secs(3600);
    for (held, left) in [("second", HOUR), ("first", 2 * HOUR)] {
        let s3 = TestS3::start().await;
        let outage = s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
        let (host, other) = (unwritable_host(&s3), unwritable_host(&s3));
        other.clock.advance(TimeDelta::hours(1));
        for (host, document) in [(&host, "first.docx"), (&other, "second.docx")] {
            let mut server = host.start().await;
            let _stream = server.client.start_export(request(1, document)).await.unwrap();
            until_status(&server, "it waits", |status| status.counts.pending == 1).await;
            server.stop().await;
        }
        // The state after a crash before a refusal, or after an entry returns from quarantine.
        let entry = format!(".tara-export/journal/{}", journal(&other)[0]);
        fs::copy(other.data_dir().join(&entry), host.data_dir().join(&entry)).unwrap();

        host.clock.advance(TimeDelta::hours(2));
        let server = host.start().await;
        let both = until_status(&server, "both wait", |status| status.counts.pending == 2);
        let both = both.await;
        assert_eq!((both.counts.started, both.oldest_unsynced_age), (2, Some(2 * HOUR)));

        // One of them is committed, the other waits.
        s3.fail(FaultRule::new(Fault::ACCESS_DENIED).on(Operation::PutObject).key_contains(held));
        s3.clear_fault(outage);
        let one = until_status(&server, "one ends, and the age is that of the other", |status| {
            let has_one_ended = status.counts.completed + status.counts.failed == 1;
            has_one_ended && status.counts.pending == 1 && status.oldest_unsynced_age == Some(left)
        });
        assert_eq!(one.await.counts.started, 2, "{held}");

        s3.clear_faults();
        let all = until_status(&server, "both end", |status| {
            status.counts.completed + status.counts.failed == 2
        });
        let all = all.await;
        let counts = all.counts;
        assert_eq!((counts.started, counts.completed, counts.failed), (2, 1, 1), "{held}");
        until_journal_is_empty(&host).await;
        until_status(&server, "an empty backlog", |status| status.oldest_unsynced_age.is_none())
            .await;
        assert_eq!(committed_bundles(&s3).len(), 2);
    }
}
