//! The README of the Rust client contains the example program, which works with the real server.

#[path = "../../examples/export_review.rs"]
#[allow(dead_code, reason = "it is also a separate program")]
mod example;

use std::path::Path;

use tara_export_client::{Client, proto::export::State};
use tara_export_test_support::World;

#[test]
fn readme_contains_the_example() {
    let readme = include_str!("../../clients/rust/README.md");
    let example = include_str!("../../examples/export_review.rs");
    let function = &example[example.find("async fn export_review").unwrap()..];
    assert!(readme.contains(function), "clients/rust/README.md differs from the example");
}

#[tokio::test]
async fn example_exports_a_review() {
    let world = World::start(Path::new(env!("CARGO_BIN_EXE_tara-export"))).await.unwrap();
    let client = Client::connect(&world.grpc()).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sample-review");
    let export = example::export_review(&client, &folder).await.unwrap();
    assert_eq!((export.state(), export.artifact_count), (State::Committed, 12));
    world.shut_down().await.unwrap();
}
