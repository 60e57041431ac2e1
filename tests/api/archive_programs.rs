//! ZIP files of bundles, read by the programs that users have. `.ci/test-real-s3` installs the programs and runs
//! these tests.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tara_export_client::proto::document::Kind;
use tempfile::TempDir;

use crate::{
    following::committed,
    harness::Host,
    reading::archive,
    requests::{document, name, request},
};

/// Size of a document that deflate does not make smaller.
const NOISE_BYTES: usize = 400_000;
/// Two documents, ten files of the service, and `SHA256SUMS`.
const FILES: usize = 13;

/// A ZIP file of a bundle, with long and non-ASCII names, an empty document, and one that does not compress.
struct Download {
    folder: TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Download {
    async fn new() -> Self {
        let host = Host::new();
        let mut server = host.start().await;
        let mut request = request(1, &format!("日本語 {}.docx", "long ".repeat(60)));
        let noise: Vec<u8> = (0..u32::try_from(NOISE_BYTES).unwrap())
            .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        request.documents = vec![document(Kind::Before, noise), document(Kind::After, "")];
        committed(&mut server.client, request).await;
        let (described, bytes) = archive(&mut server.client, &name(1)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(&described.file_name);
        fs::write(&path, &bytes).unwrap();
        Self { folder, path, bytes }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Runs a program in the download's folder and returns its output.
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        output(command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null()), b"")
    }

    /// Runs a program with the ZIP file as its standard input, which cannot seek.
    fn stream_into(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        output(
            command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::piped()),
            &self.bytes,
        )
    }
}

fn output(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", command.get_program()));
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // A program that does not read its input closes it.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}\n{error}");
    text
}

#[tokio::test]
#[ignore = "needs bsdtar: .ci/test-real-s3"]
async fn bsdtar_reads_the_archive_as_a_stream() {
    let download = Download::new().await;
    assert_eq!(download.stream_into("bsdtar", &["-tf", "-"]).lines().count(), FILES);
}

#[tokio::test]
#[ignore = "needs 7z: .ci/test-real-s3"]
async fn seven_zip_tests_the_archive() {
    let download = Download::new().await;
    let tested = download.run("7z", &["t", download.path()]);
    assert!(tested.contains(&format!("Files: {FILES}")), "{tested}");
}

#[tokio::test]
#[ignore = "needs Python: .ci/test-real-s3"]
async fn python_tests_the_archive() {
    let download = Download::new().await;
    let listed = download.run("python3", &["-m", "zipfile", "-l", download.path()]);
    assert_eq!(listed.lines().count(), FILES + 1, "a heading and the files: {listed}");
    download.run("python3", &["-m", "zipfile", "-t", download.path()]);
}

/// Prints the sizes of the files of a ZIP file that it reads as a stream.
const JAVA_READER: &str = r#"
public class ReadZip {
  public static void main(String[] arguments) throws Exception {
    var zip = new java.util.zip.ZipInputStream(System.in);
    for (var entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
      System.out.println(zip.readAllBytes().length);
    }
  }
}
"#;

#[tokio::test]
#[ignore = "needs Java: .ci/test-real-s3"]
async fn java_reads_the_archive_as_a_stream() {
    let download = Download::new().await;
    fs::write(download.folder.path().join("ReadZip.java"), JAVA_READER).unwrap();
    let sizes = download.stream_into("java", &["ReadZip.java"]);
    let sizes: Vec<usize> = sizes.lines().map(|size| size.parse().unwrap()).collect();
    assert_eq!(sizes.len(), FILES);
    assert!(sizes.contains(&NOISE_BYTES) && sizes.contains(&0), "{sizes:?}");
}

#[tokio::test]
#[ignore = "needs unzip: .ci/test-real-s3"]
async fn unzip_and_sha256sum_check_every_file() {
    let download = Download::new().await;
    download.run("unzip", &["-q", download.path()]);
    let root = Path::new(download.path()).with_extension("");
    let mut check = Command::new("sha256sum");
    check.args(["-c", "--strict", "SHA256SUMS"]).current_dir(root);
    let checked = output(&mut check, b"");
    assert_eq!(checked.lines().filter(|line| line.ends_with(": OK")).count(), FILES - 1);
}
