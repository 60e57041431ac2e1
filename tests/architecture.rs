//! The rooms of the code: dependencies point down (docs/architecture.md).

#![allow(clippy::expect_used, reason = "a test that can't go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What each room must not name in its code, as `crate::room` or as a crate.
const FORBIDDEN: [(&str, &[&str]); 18] = [
    // Below everything.
    ("limits", &["crate::", "aws_", "tonic", "prost"]),
    (
        "health",
        &[
            "crate::bundle",
            "crate::catalog",
            "crate::config",
            "crate::export",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "crate::store",
            "crate::transfer",
            "crate::upload",
            "aws_",
            "tonic",
            "prost",
        ],
    ),
    // Pure: a review in, bytes out.
    (
        "bundle",
        &[
            "crate::catalog",
            "crate::clock",
            "crate::config",
            "crate::disk",
            "crate::export",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "crate::store",
            "aws_",
            "std::env",
            "std::fs",
            "std::net",
            "std::process",
            "std::time",
            "tokio",
            "tonic",
            "prost",
            "tracing",
            "crate::telemetry",
            "metrics::",
            "Utc::now",
            "Uuid::new_v4",
        ],
    ),
    // Durable files, nothing of what is in them.
    (
        "disk",
        &["crate::", "aws_", "tonic", "prost", "tokio", "tracing", "bytes", "chrono", "serde"],
    ),
    // Objects, nothing of reviews.
    (
        "store",
        &[
            "crate::bundle",
            "crate::catalog",
            "crate::config",
            "crate::export",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "crate::transfer",
            "crate::upload",
            "tonic",
            "prost",
        ],
    ),
    (
        "catalog",
        &[
            "crate::config",
            "crate::export",
            "crate::transfer",
            "crate::upload",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "aws_",
            "tonic",
            "prost",
        ],
    ),
    // Large content, whatever it is of.
    (
        "transfer",
        &[
            "crate::bundle",
            "crate::catalog",
            "crate::config",
            "crate::export",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "crate::upload",
            "aws_",
            "tonic",
            "prost",
        ],
    ),
    (
        "upload",
        &[
            "crate::config",
            "crate::export",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "aws_",
            "tonic",
            "prost",
        ],
    ),
    // Bundles of before: the engine has no part in it.
    (
        "adopt",
        &[
            "crate::cli",
            "crate::client",
            "crate::config",
            "crate::export",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "aws_",
            "tonic",
            "prost",
        ],
    ),
    (
        "export",
        &[
            "crate::adopt",
            "crate::config",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "aws_",
            "tonic",
            "prost",
        ],
    ),
    // Knows callers, and nothing of what they call.
    (
        "auth",
        &[
            "crate::bundle",
            "crate::catalog",
            "crate::config",
            "crate::export",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "crate::store",
            "crate::transfer",
            "crate::upload",
            "aws_",
            "tonic",
            "prost",
        ],
    ),
    ("tls.rs", &["crate::", "aws_", "tonic", "prost"]),
    ("grpc", &["crate::config", "crate::server", "crate::cli", "crate::client", "aws_"]),
    // The other side of the wire: knows the API and nothing of the server.
    (
        "client",
        &[
            "crate::bundle",
            "crate::catalog",
            "crate::export",
            "crate::grpc",
            "crate::server",
            "crate::store",
            "aws_",
        ],
    ),
    (
        "cli",
        &[
            "crate::bundle",
            "crate::catalog",
            "crate::export",
            "crate::grpc",
            "crate::server",
            "crate::store",
            "aws_",
        ],
    ),
    // Everybody tells it things; it knows nobody.
    (
        "telemetry",
        &[
            "crate::bundle",
            "crate::catalog",
            "crate::export",
            "crate::grpc",
            "crate::proto",
            "crate::server",
            "crate::store",
            "crate::transfer",
            "crate::upload",
            "aws_",
            "prost",
        ],
    ),
    ("config", &["crate::", "aws_", "tonic", "prost"]),
    ("clock.rs", &["crate::", "aws_", "tonic", "prost", "tokio"]),
];

#[test]
fn no_room_reaches_up() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for (room, forbidden) in FORBIDDEN {
        let files = rust_files(&src.join(room));
        assert!(!files.is_empty(), "the room {room} is gone: change this test with the layout");
        for file in files {
            let code = fs::read_to_string(&file).expect("a source file is readable");
            for (number, line) in without_tests(&code).lines().enumerate() {
                let line = line.split("//").next().unwrap_or_default();
                for name in forbidden.iter().filter(|name| names(line, name)) {
                    faults.push(format!("{}:{}: {name}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "these reach up:\n{}", faults.join("\n"));
}

/// Whether a line of code names a path or crate, and not only something that ends like it.
fn names(line: &str, name: &str) -> bool {
    // `aws_` stands for all crates of the SDK; settings named after it are not meant, nor the cryptography
    // below rustls.
    let is_crate = |at: usize| {
        let rest = &line[at..];
        name != "aws_" || (rest.contains("::") && !rest.starts_with("aws_lc_rs"))
    };
    line.match_indices(name).filter(|(at, _)| is_crate(*at)).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || character == '_')
    })
}

/// Unit tests stand at a file's end, and may use what they like.
fn without_tests(code: &str) -> &str {
    code.split("#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod tests {")
        .next()
        .unwrap_or_default()
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .flat_map(|entry| rust_files(&entry.expect("a folder's entry is readable").path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter(|file| {
            !file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_scan_sees_what_it_looks_for() {
    assert!(names("use crate::store::Store;", "crate::store"));
    assert!(names("    let now = Utc::now();", "Utc::now"));
    assert!(!names("use my_tokio::x;", "tokio"));
    assert!(names("use aws_sdk_s3::Client;", "aws_"));
    assert!(!names("pub aws_region: String", "aws_"));
    assert!(!names("aws_lc_rs::default_provider()", "aws_"));
}
