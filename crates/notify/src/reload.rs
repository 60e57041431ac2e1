//! `NOTIFY_FILE`: read at start, and again when it or a file that it names changes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tara_export_disk::small_file;
use tara_export_settings_file::{FILE_LIMIT_BYTES, Faults, LoadError, read_text};

use super::{TargetContext, Targets};

/// Maximum number of files in the folder of templates whose changes are detected.
const TEMPLATES_LIMIT: usize = 1_000;

/// The setting that names the file.
const SETTING: &str = "NOTIFY_FILE";

impl Targets {
    /// Reads the targets of a file of at most 1 MiB, and the files that it names. Blocks the thread.
    ///
    /// # Errors
    /// If the file cannot be read, or has faults; contains no secrets.
    pub fn load(path: &Path, context: &TargetContext) -> Result<Self, LoadError> {
        load(path, context).0
    }
}

/// The targets, and the files that the file names.
fn load(path: &Path, context: &TargetContext) -> (Result<Targets, LoadError>, Vec<PathBuf>) {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(source) => return (Err(LoadError::unreadable(path, SETTING, source)), Vec::new()),
    };
    let mut faults = Faults::default();
    let targets = Targets::read(&text, context, &mut faults);
    let named_files = faults.take_named_files();
    let result = faults.into_result(targets);
    (result.map_err(|source| LoadError::invalid(path, SETTING, source)), named_files)
}

/// A file of targets that is in use.
#[derive(Debug)]
pub struct TargetsFile {
    path: PathBuf,
    context: TargetContext,
    /// The files that were named when it was last read.
    named_files: Vec<PathBuf>,
    /// Of everything that was last read.
    fingerprint: [u8; 32],
}

impl TargetsFile {
    /// Reads the targets as [`Targets::load`] does, and remembers what they were read from. Blocks the thread.
    ///
    /// # Errors
    /// Those of [`Targets::load`].
    pub fn open(path: &Path, context: TargetContext) -> Result<(Self, Targets), LoadError> {
        let mut file =
            Self { path: path.to_owned(), context, named_files: Vec::new(), fingerprint: [0; 32] };
        let targets = file.read()?;
        Ok((file, targets))
    }

    /// The new targets if the content of the file, of a file that it names, or of the folder of templates changed since
    /// the last call. If they have faults, the previous targets stay in force, and the error is returned once for each
    /// change. Reads the files, so it blocks the thread; to be called every few seconds.
    pub fn poll_changed(&mut self) -> Option<Result<Targets, LoadError>> {
        (self.current_fingerprint() != self.fingerprint).then(|| self.read())
    }

    /// Takes the fingerprint before and after reading: a change in between is found by the next poll.
    fn read(&mut self) -> Result<Targets, LoadError> {
        let before = digest_of_files([self.path.as_path()]);
        let (result, named_files) = load(&self.path, &self.context);
        self.named_files = named_files;
        self.fingerprint = self.current_fingerprint();
        if digest_of_files([self.path.as_path()]) != before {
            self.fingerprint = [0; 32];
        }
        result
    }

    fn current_fingerprint(&self) -> [u8; 32] {
        let templates = self.context.templates.as_deref().map(files_of).unwrap_or_default();
        let files = [self.path.as_path()].into_iter();
        let named = self.named_files.iter().chain(&templates).map(PathBuf::as_path);
        digest_of_files(files.chain(named))
    }
}

/// The files of a folder, in the order of their names; empty if it cannot be read.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).take(TEMPLATES_LIMIT).collect();
    files.sort();
    files
}

/// A digest of the paths and contents of files. Contents, because a file can be replaced by one of the same size within
/// the resolution of its times.
fn digest_of_files<'a>(paths: impl IntoIterator<Item = &'a Path>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for path in paths {
        digest.update(path.as_os_str().as_encoded_bytes());
        let content = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => small_file::read(path, FILE_LIMIT_BYTES),
            Ok(_) => Err(std::io::ErrorKind::IsADirectory.into()),
            Err(error) => Err(error),
        };
        match content {
            Ok(bytes) => digest.update(Sha256::digest(bytes)),
            Err(error) => digest.update(format!("{:?}", error.kind())),
        }
    }
    digest.finalize().into()
}
