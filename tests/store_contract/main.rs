//! What holds for every backend of `trait Store`, and what is particular to S3.
//!
//! The S3 tests run against the in-memory server of `tests/support`, and against a real server where
//! `TARA_TEST_S3_ENDPOINT`, `TARA_TEST_S3_BUCKET` and the usual `AWS_…` variables name one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backends;
mod contract;
mod deleting;
#[path = "../harness/http.rs"]
mod http;
mod links;
mod listing;
mod parts;
mod raw_server;
mod s3_answers;
mod s3_failures;
mod s3_wire;

/// Runs every test of the contract on every backend, and those of parts on every S3 server.
macro_rules! on_every_backend {
    (all: [$($module:ident::$name:ident,)*] parts: [$($part_module:ident::$part_name:ident,)*]) => {
        mod local {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let backend = crate::backends::local();
                crate::$module::$name(backend.store()).await;
            })*
        }

        on_every_backend!(s3: $($module::$name,)* $($part_module::$part_name,)*);
    };
    (s3: $($module:ident::$name:ident,)*) => {
        mod s3_in_memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let backend = crate::backends::s3_in_memory().await;
                crate::$module::$name(backend.store()).await;
            })*
        }

        mod s3_real {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs a real S3 server: .ci/real-s3"]
            async fn $name() {
                let backend = crate::backends::s3_real().await;
                crate::$module::$name(backend.store()).await;
            })*
        }
    };
}

on_every_backend! {
    all: [
    contract::a_small_object_comes_back_as_it_went,
    contract::an_empty_object_comes_back_as_it_went,
    contract::a_large_object_goes_with_progress_and_comes_in_pieces,
    contract::a_second_put_changes_nothing,
    contract::of_many_puts_at_once_one_wins,
    contract::a_wrong_digest_is_refused,
    contract::what_is_not_there_is_not_found,
    contract::a_put_that_is_dropped_leaves_no_half_object,
    contract::small_objects_are_read_whole_within_their_limit,
    contract::a_good_store_passes_its_probe_again_and_again,
    contract::unusual_names_come_back_as_they_went,
    listing::listings_agree_with_a_sorted_set,
    listing::listings_keep_the_order_of_bytes_around_slashes,
    listing::paging_one_by_one_gives_the_whole,
    listing::an_empty_store_lists_nothing,
    deleting::a_deleted_object_is_gone,
    deleting::a_folder_is_not_listed_without_objects,
    deleting::deleting_what_is_not_there_is_well,
    deleting::a_deleted_key_can_be_put_again,
    deleting::deleting_leaves_the_neighbours_alone,
    deleting::unusual_names_are_deleted_one_by_one,
    deleting::puts_and_deletions_go_side_by_side,
    deleting::many_may_delete_one_object,
    contract::a_stream_comes_back_as_it_went,
    ]
    parts: [
    parts::parts_become_one_object,
    parts::parts_replace_nothing,
    parts::of_many_completions_at_once_one_wins,
    parts::wrong_checksums_are_refused,
    parts::a_pinned_source_is_read_as_it_was_or_not_at_all,
    parts::large_content_goes_in_and_is_copied_inside_the_store,
    ]
}
