//! The machine's clock jumps forwards or back by a day, while a server runs or between two runs: no accepted export is
//! lost or waits for a day, and no two folders have the same name.

use chrono::TimeDelta;
use futures::{StreamExt as _, stream};
use tara_export_client::proto::export::State;
use tara_export_test_support::TestS3;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::committed,
    harness::{
        Host, QUICK,
        checks::{check, checks},
        receipt,
        s3::store_of,
        uploads::{PART, QUICK_WITH_LARGE, bytes, create, get, messages, naming, send, sha256},
        waiting::{read, until_files, until_state},
    },
    requests::{name, request},
};

const JUMPS: [TimeDelta; 2] = [TimeDelta::days(1), TimeDelta::days(-1)];

#[tokio::test]
async fn clock_jump_delays_no_export_and_keeps_folders_separate() {
    for (jump, restarts) in JUMPS.into_iter().flat_map(|jump| [(jump, false), (jump, true)]) {
        let s3 = FakeS3::new(Mode::Down);
        // Long enough for a slow machine when S3 works again.
        let host = Host::with_s3(s3.clone()).flags(&QUICK).flags(&["--s3-retry-budget=2s"]);
        let mut server = host.start().await;
        let first = committed(&mut server.client, request(1, "a.docx")).await;
        assert_eq!(first.state(), State::FellBack);

        host.clock.advance(jump);
        if restarts {
            server.stop().await;
            server = host.start().await;
        }
        let second = committed(&mut server.client, request(2, "a.docx")).await;
        assert_eq!(second.state(), State::FellBack);
        let age =
            check(&checks(&mut server.client).await, "exports.oldest_unsynced").message.clone();
        // The age follows the clock, and is never negative.
        let seconds = jump.num_seconds().max(0);
        assert_eq!(age, format!("oldest_unsynced_age_seconds {seconds}"));

        s3.set(Mode::Works);
        for (number, fallback) in [(1, &first), (2, &second)] {
            let export = until_state(&mut server.client, &name(number), State::Committed).await;
            assert_eq!(export.accepted_time, fallback.accepted_time);
            bundles::verify(&s3.root().join(&export.folder_name));
        }
        until_files(&host, &[receipt(1), receipt(2)]).await;

        // The clock is corrected, so the second of the first export occurs twice.
        host.clock.advance(-jump);
        if restarts {
            server.stop().await;
            server = host.start().await;
        }
        committed(&mut server.client, request(3, "a.docx")).await;
        let third = until_state(&mut server.client, &name(3), State::Committed).await;
        assert_eq!(third.accepted_time, first.accepted_time);
        assert_ne!(third.folder_name, first.folder_name);
        assert_eq!(
            committed(&mut server.client, request(1, "a.docx")).await.state(),
            State::Committed
        );
        assert_eq!(bundles::folders(s3.root()).len(), 3);
        // No receipt has expired.
        until_files(&host, &[receipt(1), receipt(2), receipt(3)]).await;
    }
}

#[tokio::test]
async fn upload_continues_after_a_clock_jump() {
    for (jump, has_bucket) in JUMPS.into_iter().flat_map(|jump| [(jump, false), (jump, true)]) {
        let s3 = TestS3::start().await;
        let host = if has_bucket { Host::with_s3(store_of(&s3)) } else { Host::new() };
        let host = host.flags(&QUICK_WITH_LARGE);
        let mut server = host.start().await;
        let content = bytes(PART + 1000, 1);
        let name = create(&mut server.client, 1, content.len(), "").await.unwrap().name;
        // One complete part.
        let first = messages(&name, &content, 0, false).into_iter().take(8);
        server.client.upload_document(stream::iter(first).boxed()).await.unwrap();

        host.clock.advance(jump);
        // S3 receives signatures of the wrong day.
        s3.clock_skew(-jump);
        let upload = get(&mut server.client, &name).await.unwrap();
        let offset = upload.committed_size_bytes as usize;
        assert_eq!(offset, PART);
        let upload = send(&mut server.client, &name, &content, offset).await.unwrap();
        assert_eq!(upload.sha256, sha256(&content));

        host.clock.advance(-jump);
        s3.clock_skew(TimeDelta::zero());
        let export = committed(&mut server.client, naming(1, &name)).await;
        assert_eq!(read(&mut server.client, &export.name).await.state(), State::Committed);
    }
}
