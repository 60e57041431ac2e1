//! Scans and headers of entries.

use std::{
    fs::File,
    io::{self, Read, Write as _},
};

use tara_export_bundle::encoding::testing::head;
use tara_export_disk::DiskErrorKind;

use super::{
    super::entries::{Found, examine, read_header},
    *,
};

#[tokio::test]
async fn scan_returns_oldest_entries_up_to_limit() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    for number in [5, 2, 9, 1, 7] {
        journal.record(&export(number)).await.unwrap();
    }
    for (limit, expected) in
        [(9, &[1, 2, 5, 7, 9][..]), (5, &[1, 2, 5, 7, 9]), (2, &[1, 2]), (0, &[])]
    {
        let listing = journal.entries(limit).await.unwrap();
        let expected: Vec<_> = expected.iter().map(|number| export(*number).export_id).collect();
        assert_eq!(ids(&listing), expected);
        assert_eq!(listing.more, expected.len() < 5);
    }
}

/// Ten gigabytes of sparse files: only the headers contain data.
#[tokio::test]
async fn ten_thousand_large_entries_are_listed_without_their_bodies() {
    const COUNT: u32 = 10_000;
    const BODY_BYTES: u64 = 1024 * 1024;
    let data_dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(journal_path(&data_dir, "")).unwrap();
    let mut size_bytes = 0;
    for number in 0..COUNT {
        let export = export(number);
        let head = head(1, export.header(), BODY_BYTES);
        let mut file = File::create(journal_path(&data_dir, &name(&export))).unwrap();
        file.write_all(&head).unwrap();
        file.set_len(head.len() as u64 + BODY_BYTES).unwrap();
        size_bytes += head.len() as u64 + BODY_BYTES;
    }
    let journal = open(&data_dir).await;
    assert_eq!(journal.size(), JournalSize { count: COUNT.into(), size_bytes });
    let listing = journal.entries(20_000).await.unwrap();
    // Reading a body would have quarantined its entry as damaged.
    assert!(listing.quarantined.is_empty() && listing.unread.is_empty() && !listing.more);
    let expected: Vec<_> = (0..COUNT).map(|number| export(number).export_id).collect();
    assert_eq!(ids(&listing), expected);
    let error = journal.load(&listing.entries[0], u64::MAX).await.unwrap_err();
    assert!(matches!(error, LoadError::Damaged { .. }), "{error}");
}

/// An endless reader that counts the bytes read.
struct Endless<'a> {
    start: &'a [u8],
    read_bytes: usize,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = self.start.get(self.read_bytes..).unwrap_or_default();
        let length = start.len().min(buffer.len());
        buffer[..length].copy_from_slice(&start[..length]);
        buffer[length..].fill(0);
        self.read_bytes += buffer.len();
        Ok(buffer.len())
    }
}

#[test]
fn reading_a_header_reads_little_of_the_body() {
    for (document_name, limit_bytes) in [("short", 4096), (&"\u{1}".repeat(2048), 20_000)] {
        let export = export_of(1, document_name);
        let head = head(1, export.header(), 1 << 40);
        let mut file = Endless { start: &head, read_bytes: 0 };
        let header = read_header(&mut file, u64::MAX).unwrap().unwrap();
        assert_eq!(header.header, export.header());
        assert!(file.read_bytes <= limit_bytes, "{}", file.read_bytes);
    }
}

/// A reader that fails after its data, like a failing disk.
struct Failing<'a>(&'a [u8], i32);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::from_raw_os_error(self.1)),
            length => Ok(length),
        }
    }
}

#[test]
fn disk_failure_is_not_reported_as_damaged_entry() {
    let head = head(1, export_of(1, &"\u{1}".repeat(2048)).header(), 7);
    // EIO and EACCES.
    for errno in [5, 13] {
        for length in [0, 10, 4096, 5000] {
            let result = read_header(&mut Failing(&head[..length], errno), u64::MAX);
            assert_eq!(result.unwrap_err().raw_os_error(), Some(errno), "after {length} bytes");
        }
    }
}

#[test]
fn inaccessible_path_is_not_reported_as_damaged() {
    let data_dir = tempfile::tempdir().unwrap();
    assert!(matches!(examine(&data_dir.path().join("nothing")), Found::Gone));
    fs::write(data_dir.path().join("file"), "x").unwrap();
    let Found::Unread(error) = examine(&data_dir.path().join("file/entry")) else {
        panic!("a path below a file was read");
    };
    assert_eq!(error.kind(), DiskErrorKind::NotFound);
    let too_long = data_dir.path().join("x".repeat(300));
    assert!(matches!(examine(&too_long), Found::Unread(_)));
}
