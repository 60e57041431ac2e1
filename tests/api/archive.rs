//! ZIP files of bundles, read by other programs and valid on every system.

use std::{
    collections::{BTreeMap, HashMap},
    io::{Cursor, Read as _},
};

use tara_export_client::proto::document::Kind;
use tara_export_digest::Sha256;
use zip::{CompressionMethod, ZipArchive};

use crate::{
    adopt::fixture::{FOLDER, Fixture, adopt, adopted, old_files},
    bundles,
    following::committed,
    harness::Host,
    reading::{archive, artifact},
    requests::{document, name, request},
};

/// The files of an archive, by their names in it.
fn unpacked(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut files = BTreeMap::new();
    for number in 0..zip.len() {
        let mut entry = zip.by_index(number).unwrap();
        // ZipInputStream of Java reads no other entries of a ZIP file that is written as a stream.
        assert_eq!(entry.compression(), CompressionMethod::Deflated);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(entry.name().unwrap().to_string(), content);
    }
    assert_eq!(files.len(), zip.len(), "two entries have the same name");
    files
}

/// The lines of `SHA256SUMS`: the digests by path in the archive.
fn sums(files: &BTreeMap<String, Vec<u8>>, root: &str) -> HashMap<String, String> {
    let text = String::from_utf8(files[&format!("{root}/SHA256SUMS")].clone()).unwrap();
    let line = |line: &str| {
        let (sha256, path) = line.split_once("  ").unwrap();
        (path.to_owned(), sha256.to_owned())
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn list_of_digests_has_every_file() {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    let root = &export.folder_name;
    let (_, bytes) = archive(&mut server.client, &name(1)).await.unwrap();
    let mut files = unpacked(&bytes);
    let sums = sums(&files, root);
    assert_eq!(sums["manifest.json"], export.manifest_sha256);
    files.remove(&format!("{root}/SHA256SUMS")).unwrap();
    assert_eq!(sums.len(), files.len());
    for (entry, content) in files {
        let path = entry.strip_prefix(&format!("{root}/")).unwrap();
        assert_eq!(sums[path], Sha256::of(&content).to_string(), "{path}");
    }
}

#[tokio::test]
async fn long_paths_are_cut_to_200_characters_in_the_archive_only() {
    let host = Host::new();
    let mut server = host.start().await;
    for (number, character) in ["x", "é", "報", "😀"].into_iter().enumerate() {
        let number = u32::try_from(number).unwrap() + 1;
        let mut request = request(number, &format!("{}.docx", character.repeat(300)));
        request.documents = vec![document(Kind::Before, "a"), document(Kind::Guidelines, "b")];
        let export = committed(&mut server.client, request).await;
        let stored = bundles::files(&host.folder(&export.folder_name));
        let (described, bytes) = archive(&mut server.client, &name(number)).await.unwrap();
        let root = described.file_name.strip_suffix(".zip").unwrap();
        let mut files = unpacked(&bytes);
        let sums = sums(&files, root);
        files.remove(&format!("{root}/SHA256SUMS")).unwrap();
        assert_eq!(files.len(), stored.len());
        for (entry, content) in &files {
            assert!(entry.encode_utf16().count() <= 200, "{entry}");
            let path = entry.strip_prefix(&format!("{root}/")).unwrap();
            assert_eq!(sums[path], Sha256::of(content).to_string());
            // Each file of the bundle is in the archive.
            assert!(stored.values().any(|stored| stored == content), "{path}");
        }
        // The bundle has its own names, and DownloadArtifact reads them.
        let long = stored.keys().find(|path| path.starts_with("documents/before_")).unwrap();
        if character == "x" {
            assert!(!sums.contains_key(long), "{long}");
        }
        let (_, content) = artifact(&mut server.client, &name(number), long, 0).await.unwrap();
        assert_eq!(content, b"a");
    }
}

#[tokio::test]
async fn names_that_windows_refuses_are_replaced_in_the_archive() {
    for fixture in Fixture::both().await {
        let mut stored = old_files();
        for (path, content) in [
            ("notes/a<b>c:d.txt", "1"),
            ("notes/end. /x.txt.", "2"),
            ("notes/NUL.txt", "3"),
            ("notes/Same.txt", "4"),
            ("notes/same.txt", "5"),
            ("SHA256SUMS", "6"),
        ] {
            stored.insert(path.to_owned(), content.into());
        }
        fixture.put_folder(FOLDER, &stored);
        let name = adopted(&adopt(fixture.store(), true).await);
        let mut server = fixture.host.start().await;
        let (_, bytes) = archive(&mut server.client, &name).await.unwrap();
        let files = unpacked(&bytes);
        assert_eq!(files.len(), stored.len() + 2);
        let digits = |path: &str| Sha256::of(path.as_bytes()).to_string()[..8].to_owned();
        for (path, content) in [
            ("notes/a_b_c_d.txt".to_owned(), "1"),
            ("notes/end._/x.txt_".to_owned(), "2"),
            ("notes/_NUL.txt".to_owned(), "3"),
            ("notes/Same.txt".to_owned(), "4"),
            (format!("notes/same~{}.txt", digits("notes/same.txt")), "5"),
            (format!("SHA256SUMS~{}", digits("SHA256SUMS")), "6"),
        ] {
            assert_eq!(files[&format!("{FOLDER}/{path}")], content.as_bytes(), "{path}");
        }
        assert_eq!(sums(&files, FOLDER).len(), stored.len() + 1);
    }
}
