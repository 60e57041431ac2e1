//! The contract of every backend of `trait Store`, and S3-specific tests.
//!
//! The S3 tests run against the in-memory server of `tests/support`, and against a real server if
//! `TARA_TEST_S3_ENDPOINT`, `TARA_TEST_S3_BUCKET` and the usual `AWS_…` variables are set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backends;
mod contract;
mod deleting;
mod links;
mod listing;
mod parts;
mod s3_credentials;
mod s3_failures;
mod s3_hedging;
mod s3_listings;
mod s3_machine;
mod s3_providers;
mod s3_responses;
mod s3_wire;

/// Runs every test of the contract on every backend, and the multipart tests on every S3 backend.
macro_rules! on_every_backend {
    (all: [$($module:ident::$name:ident,)*] parts: [$($part_module:ident::$part_name:ident,)*]) => {
        mod local {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let backend = crate::backends::local();
                crate::$module::$name(backend.store()).await;
            })*
        }

        mod memory_as_local {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let backend = crate::backends::memory(tara_export_store::StoreKind::Local);
                crate::$module::$name(backend.store()).await;
            })*
        }

        on_every_backend!(s3: $($module::$name,)* $($part_module::$part_name,)*);
    };
    (s3: $($module:ident::$name:ident,)*) => {
        mod memory_as_s3 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let backend = crate::backends::memory(tara_export_store::StoreKind::S3);
                crate::$module::$name(backend.store()).await;
            })*
        }

        mod test_s3 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let backend = crate::backends::test_s3().await;
                crate::$module::$name(backend.store()).await;
            })*
        }

        mod real_s3 {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs a real S3 server: .ci/real-s3"]
            async fn $name() {
                let backend = crate::backends::real_s3().await;
                crate::$module::$name(backend.store()).await;
            })*
        }
    };
}

on_every_backend! {
    all: [
    contract::small_object_round_trips,
    contract::empty_object_round_trips,
    contract::large_put_reports_progress_and_reads_in_pieces,
    contract::second_put_changes_nothing,
    contract::one_of_many_concurrent_puts_wins,
    contract::put_with_wrong_digest_is_refused,
    contract::missing_object_is_not_found,
    contract::dropped_put_leaves_no_partial_object,
    contract::read_small_enforces_size_limit,
    contract::working_store_passes_repeated_probes,
    contract::objects_with_unusual_names_round_trip,
    listing::listings_match_a_sorted_set,
    listing::listings_around_slashes_are_in_byte_order,
    listing::pages_of_one_entry_cover_the_listing,
    listing::listed_times_match_the_objects,
    listing::empty_store_lists_nothing,
    deleting::deleted_object_is_gone,
    deleting::folder_without_objects_is_not_listed,
    deleting::delete_of_missing_object_succeeds,
    deleting::deleted_key_can_be_put_again,
    deleting::delete_keeps_neighbouring_keys,
    deleting::objects_with_unusual_names_are_deleted,
    deleting::concurrent_puts_and_deletes_succeed,
    deleting::concurrent_deletes_of_one_object_succeed,
    contract::streamed_object_round_trips,
    ]
    parts: [
    parts::parts_become_one_object,
    parts::completion_replaces_no_object,
    parts::one_of_many_concurrent_completions_wins,
    parts::parts_with_wrong_checksums_are_refused,
    parts::changed_source_is_not_read,
    ]
}
