//! Requests to S3 that do not respond and are sent a second time, at each step of an export.

use std::{cell::Cell, collections::BTreeSet};

use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    following::committed,
    harness::{
        Host,
        in_s3::{check_in_s3, committed_bundles},
        s3::hedging_store_of,
        waiting::until_journal_is_empty,
    },
    requests::request,
};

/// Exports before a test, so that the usual response times are known.
const EXPORTS: u32 = 12;
/// The numbers of exports during a test are above this one.
const OTHERS: u32 = 1_000;

/// The first put of each kind of object hangs, before it takes effect or after it.
#[tokio::test]
async fn put_that_hangs_is_sent_again_and_the_export_completes_once() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(hedging_store_of(&s3));
    let mut server = host.start().await;
    for number in 1..=EXPORTS {
        committed(&mut server.client, request(number, &format!("usual {number}.docx"))).await;
    }
    let objects = ["/exports/", "/folders/", "/index/", "/readable_report.txt", "/manifest.json"];
    let faults = [Fault::Stall, Fault::StallResponse];
    let cases = faults.iter().flat_map(|fault| objects.map(|object| (fault, object)));
    let (mut number, mut others) = (EXPORTS, OTHERS);
    for (fault, object) in cases {
        number += 1;
        s3.reset_requests();
        let rule = FaultRule::new(fault.clone()).on(Operation::PutObject).key_contains(object);
        let rule = s3.fail(rule.times(1));
        let mut client = server.client.clone();
        let has_ended = Cell::new(false);
        let slow = async {
            let slow = request(number, &format!("slow {number}.docx"));
            let export = committed(&mut client, slow).await;
            has_ended.set(true);
            export
        };
        // Other requests fill the budget, which slow ones on a busy machine may have used up. Each ends before the next
        // case, whose fault it would meet.
        let others = async {
            while s3.fault_hits(rule) == 0 {
                tokio::task::yield_now().await;
            }
            while !has_ended.get() {
                others += 1;
                let other = request(others, &format!("usual {others}.docx"));
                committed(&mut server.client, other).await;
            }
        };
        let (export, ()) = futures::join!(slow, others);
        check_in_s3(&s3, &export);
        // The others put objects of these names, too.
        let is_own = |key: &str| key.contains(&export.folder_name) || key.contains(&export.name);
        let puts = s3.requests_of(Operation::PutObject);
        let count = puts.iter().filter(|put| put.key.contains(object) && is_own(&put.key)).count();
        assert_eq!(count, 2, "{fault:?} of {object}");
    }
    // The puts that hang take effect now.
    s3.clear_faults();
    until_journal_is_empty(&host).await;
    let bundles = committed_bundles(&s3);
    let exports: BTreeSet<_> = bundles.values().map(|manifest| manifest.export_id).collect();
    assert_eq!(exports.len(), bundles.len(), "one bundle for each export");
    assert!(bundles.len() >= number as usize);
}
