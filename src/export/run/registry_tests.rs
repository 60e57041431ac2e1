//! Tests of what the registry keeps of finished runs.

use tara_export_bundle::Replacement;
use tara_export_catalog::Export;

use super::*;
use crate::export::testing::{TestClock, export};

/// A run of export `number` with one replacement of this size.
fn insert(registry: &Registry, number: u32, replacement_bytes: usize) -> Arc<Run> {
    let accepted = export(number);
    let new = || {
        let mut running = Export::running(&accepted.header());
        let replacement =
            Replacement { path: "x".repeat(replacement_bytes), reason: String::new() };
        running.replacements = [replacement].into();
        Run::new(running, accepted.digest(), TestClock::new(), Arc::default())
    };
    let (run, is_new) = registry.get_or_insert(accepted.export_id, new);
    assert!(is_new);
    run
}

/// How many of the exports 1 to `count` have a run.
fn kept(registry: &Registry, count: u32) -> usize {
    (1..=count).filter(|number| registry.get(export(*number).export_id).is_some()).count()
}

#[test]
fn oldest_finished_runs_beyond_the_count_are_removed() {
    let registry = Registry::new(3);
    for number in 1..=5 {
        registry.keep(&insert(&registry, number, 1));
    }
    assert_eq!(kept(&registry, 2), 0);
    assert_eq!(kept(&registry, 5), 3);
}

#[test]
fn replacements_of_finished_runs_have_a_limit() {
    let registry = Registry::new(1_000);
    for number in 1..=10 {
        registry.keep(&insert(&registry, number, KEPT_REPLACEMENT_BYTES / 4));
    }
    assert_eq!((kept(&registry, 6), kept(&registry, 10)), (0, 4));
    // A removed run returns its share.
    registry.forget_run(&registry.get(export(7).export_id).unwrap());
    registry.keep(&insert(&registry, 11, KEPT_REPLACEMENT_BYTES / 4));
    assert_eq!(kept(&registry, 11), 4);
}
