//! A document's file: only plain files have a content that can be read completely, and again.

use std::{
    fs::{self, File, FileType, Metadata},
    io::{self, Cursor, Read, Seek},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use tara_export_disk::small_file;

/// Files up to this size are read at once: the system may report another size than the file has, such as
/// 0 for files of `/proc`.
pub(super) const SMALL_BYTES: u64 = 1024 * 1024;
/// The most that a file may have that reports at most [`SMALL_BYTES`].
const MAX_SMALL_BYTES: u64 = 64 * 1024 * 1024;

/// The content of a file, in memory or on disk.
pub(super) trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// An open document.
pub(super) struct DocumentFile {
    /// The content.
    pub(super) source: Box<dyn Source>,
    /// The number of bytes. Counted if the file is small.
    pub(super) size_bytes: u64,
    /// The text that identifies the unchanged file, besides its path.
    pub(super) version: String,
}

/// Opens a plain file, or a link to one.
///
/// # Errors
/// The path is something else, or cannot be read.
pub(super) fn open(path: &Path) -> io::Result<DocumentFile> {
    // Checked before: to open a pipe or a device can wait, or have an effect.
    check(path)?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let reported_bytes = metadata.len();
    let version = version(&metadata);
    if reported_bytes > SMALL_BYTES {
        return Ok(DocumentFile { source: Box::new(file), size_bytes: reported_bytes, version });
    }
    let bytes = small_file::read(path, MAX_SMALL_BYTES)?;
    let size_bytes = bytes.len() as u64;
    // Such files can change without a trace in their metadata.
    let version = match size_bytes == reported_bytes {
        true => version,
        false => format!("{version}\n{}", tara_export_digest::Sha256::of(&bytes)),
    };
    Ok(DocumentFile { source: Box::new(Cursor::new(bytes)), size_bytes, version })
}

fn version(metadata: &Metadata) -> String {
    format!(
        "{}\n{}.{:09}\n{}",
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ino()
    )
}

/// Checks that the path is a plain file, or a link to one, and returns its metadata.
///
/// # Errors
/// The path is something else, or cannot be read.
pub(super) fn check(path: &Path) -> io::Result<Metadata> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata),
        Ok(metadata) => {
            let kind = kind(metadata.file_type());
            let message =
                format!("it is a {kind}, not a plain file; copy its content to a file first");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
        Err(error) if path.is_symlink() => {
            Err(io::Error::new(error.kind(), format!("it is a link that leads nowhere: {error}")))
        }
        Err(error) => Err(error),
    }
}

/// Why the path is not a plain file that can be described; `None` if it is one.
pub(super) fn violation(path: &Path) -> Option<String> {
    check(path).err().map(|error| error.to_string())
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "folder"
    } else if file_type.is_fifo() {
        "pipe"
    } else if file_type.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn what_is_no_plain_file_is_refused_with_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "content").unwrap();
        fs::create_dir(path("folder")).unwrap();
        symlink(path("gone"), path("dangling")).unwrap();
        symlink(path("loop"), path("loop")).unwrap();
        symlink(path("folder"), path("linked folder")).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        for (path, reason) in [
            (path("folder"), "a folder"),
            (path("linked folder"), "a folder"),
            (path("dangling"), "a link that leads nowhere"),
            (path("loop"), "a link that leads nowhere"),
            (path("socket"), "a socket"),
            (path("pipe"), "a pipe"),
            ("/dev/null".into(), "a device"),
            (path("gone"), "No such file"),
        ] {
            let error = open(&path).err().unwrap().to_string();
            assert!(error.contains(reason), "{}: {error}", path.display());
        }
        symlink(path("file"), path("link")).unwrap();
        assert_eq!(open(&path("link")).unwrap().size_bytes, 7);
    }

    #[test]
    fn bytes_are_counted_and_not_taken_from_the_reported_size() {
        for path in ["/proc/self/status", "/proc/cpuinfo"] {
            assert_eq!(fs::metadata(path).unwrap().len(), 0);
            let mut file = open(Path::new(path)).unwrap();
            let mut content = Vec::new();
            file.source.read_to_end(&mut content).unwrap();
            assert!(!content.is_empty());
            assert_eq!(file.size_bytes, content.len() as u64);
        }
        // Reports the size of a page.
        let page = Path::new("/sys/kernel/mm/transparent_hugepage/enabled");
        if fs::metadata(page).is_ok_and(|metadata| metadata.len() == 4096) {
            assert!((1..4096).contains(&open(page).unwrap().size_bytes));
        }
    }
}
