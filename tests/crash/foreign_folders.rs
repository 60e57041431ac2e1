//! Folders in the data directory that belong to other programs, on file systems of their own.

use std::{fs, process::Command};

use serde_json::Value;

/// A folder with the files of the review application.
const FOLDER: &str = "20240229_120000_report";

/// Mounts the file systems and runs the commands of an operator. The namespace that sees the mounts ends with it.
const SCRIPT: &str = r#"set -eu
mount -t tmpfs tmpfs "$DATA_DIR/lost+found"
mount -t tmpfs tmpfs "$DATA_DIR/.snapshot"
mount -t tmpfs tmpfs "$DATA_DIR/$FOLDER"
mkdir "$DATA_DIR/.snapshot/$FOLDER"
echo '{}' >"$DATA_DIR/$FOLDER/comprehensive_report.json"
touch -d 2024-02-29 "$DATA_DIR/$FOLDER/comprehensive_report.json"
echo '{}' >"$DATA_DIR/20240229_120001_read_only/comprehensive_report.json"
touch -d 2024-02-29 "$DATA_DIR/20240229_120001_read_only/comprehensive_report.json"
mount --bind "$DATA_DIR/20240229_120001_read_only" "$DATA_DIR/20240229_120001_read_only"
mount -o remount,bind,ro "$DATA_DIR/20240229_120001_read_only"
"$BINARY" export --json "$REVIEW" >/dev/null
"$BINARY" check >/dev/null
"$BINARY" list --json >&2
exec "$BINARY" adopt --write --json
"#;

#[test]
#[ignore = "mounts a file system: as root, or where unprivileged users may have namespaces"]
fn commands_pass_over_other_file_systems() {
    let data = tempfile::tempdir().unwrap();
    for folder in ["lost+found", ".snapshot", FOLDER, "20240229_120001_read_only"] {
        fs::create_dir(data.path().join(folder)).unwrap();
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("BINARY", env!("CARGO_BIN_EXE_tara-export"))
        .env("REVIEW", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample-review"))
        .env("FOLDER", FOLDER)
        .env("DATA_DIR", data.path())
        .output()
        .unwrap();
    let (text, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{error}");
    let reason = |folder: &str| {
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let row = rows.into_iter().find(|row| row["folder"] == folder);
        row.unwrap_or_else(|| panic!("{folder}: {text}"))["reason"].clone()
    };
    assert_eq!(reason(FOLDER), "NOT_WRITABLE");
    assert_eq!(reason("20240229_120001_read_only"), "NOT_WRITABLE");
    // The records of the export alone.
    let records = fs::read_dir(data.path().join(".tara-export/exports")).unwrap();
    assert_eq!(records.count(), 1);
}
