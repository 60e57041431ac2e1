//! Checks, reads and adopts one folder.

use tara_export_bundle::{
    AcceptedTime, AdoptedBundle, AdoptedReview, FolderBase, FolderName, Manifest,
};
use tara_export_catalog::{FolderOwner, folder_owner, layout, records};
use tara_export_digest::Sha256;
use tara_export_store::{Store, StoreErrorKind};

use super::{
    Adoption, commit, files,
    files::File,
    metadata,
    outcome::{FolderOutcome, Found, SkipReason, Stop},
    retry::retrying,
};

impl Adoption {
    /// Adopts one folder.
    pub(super) async fn adopt_folder(&self, name: &str) -> FolderOutcome {
        match self.adopt(name).await {
            Ok(outcome) => outcome,
            Err(stop) => stop.into(),
        }
    }

    async fn adopt(&self, name: &str) -> Result<FolderOutcome, Stop> {
        let store = self.store.as_ref();
        let (base, accepted_time) = parse_name(name)?;
        let folder = FolderName::new(&base, 1);
        check_owner(store, &folder).await?;
        let found_files = files::list(store, &folder).await?;
        self.check_age(&found_files)?;
        if !AdoptedBundle::is_likely(found_files.iter().map(|file| &file.path)) {
            let message = "the folder has no files of the review application";
            return Err(Stop::skip(SkipReason::NoBundle, message));
        }
        check_size(&base, accepted_time, &found_files)?;
        check_writable(store, &folder).await?;
        // A dry run only reads the files with metadata.
        let to_read: Vec<File> = match self.settings.write {
            true => found_files.clone(),
            false => found_files.iter().filter(|file| metadata::is_source(file)).cloned().collect(),
        };
        let read =
            files::read(store, &folder, &to_read, metadata::is_source, &self.read_bytes).await?;
        let review = metadata::review(&base, &read);
        let found = found(&found_files, &review);
        if !self.settings.write {
            return Ok(FolderOutcome::WouldAdopt(found));
        }
        check_unchanged(&found_files, &files::list(store, &folder).await?)?;
        let artifacts = read.into_iter().map(|file| file.artifact).collect();
        let bundle = AdoptedBundle::new(base, accepted_time, review, artifacts);
        commit::commit(store, &bundle).await?;
        Ok(FolderOutcome::Adopted { found, export: format!("exports/{}", bundle.export_id()) })
    }

    /// Checks that all files are old enough: a younger folder may still be incomplete.
    fn check_age(&self, files: &[File]) -> Result<(), Stop> {
        let too_new = |message: String| Stop::skip(SkipReason::TooNew, message);
        let now = self.clock.now();
        for file in files {
            let Some(modified_time) = file.modified_time else {
                return Err(too_new(format!("the store reports no time for {}", file.path)));
            };
            let age = (now - modified_time).to_std().unwrap_or_default();
            if age < self.settings.min_age {
                let modified_time = modified_time.format("%Y-%m-%d %H:%M:%SZ");
                let message =
                    format!("{} is too new: it was written at {modified_time}", file.path);
                return Err(too_new(message));
            }
        }
        Ok(())
    }
}

/// Parses a folder name of the review application and the time in it.
fn parse_name(name: &str) -> Result<(FolderBase, AcceptedTime), Stop> {
    let other = |reason: String| Stop::skip(SkipReason::OtherName, reason);
    let base: FolderBase = name.parse().map_err(|error| other(format!("{error}")))?;
    let time =
        base.time().ok_or_else(|| other("the name does not start with a date and time".into()))?;
    Ok((base, time))
}

/// Checks that the folder has no owner except an interrupted adoption.
async fn check_owner(store: &dyn Store, folder: &FolderName) -> Result<(), Stop> {
    match retrying(|| folder_owner(store, folder)).await.map_err(Stop::of_read)? {
        FolderOwner::Unclaimed => {}
        FolderOwner::Export(export_id, _) => {
            let message = format!("the folder has the manifest of exports/{export_id}");
            return Err(Stop::skip(SkipReason::HasManifest, message));
        }
        FolderOwner::Foreign => {
            let message = "the folder has a manifest.json that this service did not write";
            return Err(Stop::skip(SkipReason::ForeignManifest, message));
        }
    }
    let Some(claim) = retrying(|| records::read_claim(store, folder)).await? else {
        return Ok(());
    };
    // An adoption writes its record before its claim.
    let record = retrying(|| records::read_record(store, claim.export_id)).await?;
    if record.is_some_and(|record| record.format_version == Manifest::NOT_RENDERED) {
        return Ok(());
    }
    Err(commit::claimed(claim.export_id))
}

/// Checks that the folder can get a manifest, before the adoption writes its records.
async fn check_writable(store: &dyn Store, folder: &FolderName) -> Result<(), Stop> {
    store.check_put(&layout::manifest(folder)).await.map_err(|error| match error.kind() {
        StoreErrorKind::Unavailable => error.into(),
        _ => Stop::skip(SkipReason::NotWritable, error.to_string()),
    })
}

/// Checks that a manifest can list all files, before any of them is read.
fn check_size(base: &FolderBase, time: AcceptedTime, files: &[File]) -> Result<(), Stop> {
    // All digests have the same length.
    let artifacts = files
        .iter()
        .map(|file| AdoptedBundle::artifact(file.path.clone(), file.size_bytes, Sha256::of(&[])));
    let review = AdoptedReview::default();
    let bundle = AdoptedBundle::new(base.clone(), time, review, artifacts.collect());
    commit::check_manifest_size(&commit::manifest_bytes(&bundle), metadata::MAX_BYTES)
}

fn found(files: &[File], review: &AdoptedReview) -> Found {
    Found {
        files: files.len(),
        size_bytes: files.iter().fold(0, |sum, file| sum.saturating_add(file.size_bytes)),
        document_name: review.document_name.clone(),
    }
}

/// Checks that the folder has not changed since it was read.
fn check_unchanged(before: &[File], after: &[File]) -> Result<(), Stop> {
    if before == after {
        return Ok(());
    }
    let is_in = |file: &&File, files: &[File]| files.contains(file);
    let new = after.iter().find(|file| !is_in(file, before));
    let changed = new.or_else(|| before.iter().find(|file| !is_in(file, after)));
    changed.map_or(Ok(()), |file| Err(files::changed(&file.path)))
}
