//! What the Rust client's README shows is the example program, and works against the real server.

#![allow(clippy::unwrap_used)]

#[path = "../examples/export_review.rs"]
#[allow(dead_code, reason = "a program of its own, too")]
mod example;

use std::path::Path;

use tara_export::{client::Client, proto::export::State};
use tara_export_test_support::World;

#[test]
fn the_readme_shows_the_example() {
    let readme = include_str!("../clients/rust/README.md");
    let example = include_str!("../examples/export_review.rs");
    let function = &example[example.find("async fn export_review").unwrap()..];
    assert!(readme.contains(function), "clients/rust/README.md shows something else");
}

#[tokio::test]
async fn the_example_exports_a_review() {
    let world = World::start(Path::new(env!("CARGO_BIN_EXE_tara-export"))).await.unwrap();
    let client = Client::connect(&world.grpc()).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sample-review");
    let export = example::export_review(&client, &folder).await.unwrap();
    assert_eq!((export.state(), export.artifact_count), (State::Committed, 12));
    world.end().await.unwrap();
}
