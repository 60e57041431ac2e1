//! One folder: may it be adopted, what is in it, adopt it.

use super::{
    Adoption, commit, facts, files,
    files::File,
    outcome::{FolderOutcome, Found, SkipReason, Stop},
    retry::retrying,
};
use crate::{
    bundle::{AcceptedTime, AdoptedBundle, AdoptedReview, FolderBase, FolderName, Manifest},
    catalog::{FolderOwner, folder_owner, records},
    digest::Sha256,
    store::Store,
};

impl Adoption {
    /// Adopts one folder, or says why it isn't adopted.
    pub(super) async fn adopt_folder(&self, name: &str) -> FolderOutcome {
        match self.adopt(name).await {
            Ok(outcome) => outcome,
            Err(stop) => stop.into(),
        }
    }

    async fn adopt(&self, name: &str) -> Result<FolderOutcome, Stop> {
        let store = self.store.as_ref();
        let (base, accepted_time) = named(name)?;
        let folder = FolderName::new(&base, 1);
        check_owner(store, &folder).await?;
        let found_files = files::list(store, &folder).await?;
        self.check_age(&found_files)?;
        if !AdoptedBundle::is_likely(found_files.iter().map(|file| &file.path)) {
            let message = "it has none of the files that the review application wrote";
            return Err(Stop::skip(SkipReason::NoBundle, message));
        }
        check_size(&base, accepted_time, &found_files)?;
        // Only what tells of the bundle is read where nothing is to be written.
        let to_read: Vec<File> = match self.settings.write {
            true => found_files.clone(),
            false => found_files.iter().filter(|file| facts::is_source(file)).cloned().collect(),
        };
        let read =
            files::read(store, &folder, &to_read, facts::is_source, &self.read_bytes).await?;
        let review = facts::facts(&base, &read);
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

    /// A folder whose newest file is young may still be written.
    fn check_age(&self, files: &[File]) -> Result<(), Stop> {
        let too_new = |message: String| Stop::skip(SkipReason::TooNew, message);
        let now = self.clock.now();
        for file in files {
            let Some(modified_time) = file.modified_time else {
                return Err(too_new(format!("how old {} is, the store does not tell", file.path)));
            };
            let age = (now - modified_time).to_std().unwrap_or_default();
            if age < self.settings.min_age {
                let modified_time = modified_time.format("%Y-%m-%d %H:%M:%SZ");
                let message = format!("{} was written at {modified_time} only", file.path);
                return Err(too_new(message));
            }
        }
        Ok(())
    }
}

/// The folder's name as the review application gave it, and the time it tells.
fn named(name: &str) -> Result<(FolderBase, AcceptedTime), Stop> {
    let other = |reason: String| Stop::skip(SkipReason::OtherName, reason);
    let base: FolderBase = name.parse().map_err(|error| other(format!("{error}")))?;
    let time = base.time().ok_or_else(|| other("its name starts with no date and time".into()))?;
    Ok((base, time))
}

/// Whether nobody has the folder, or an adoption that was stopped.
async fn check_owner(store: &dyn Store, folder: &FolderName) -> Result<(), Stop> {
    match retrying(|| folder_owner(store, folder)).await? {
        FolderOwner::Nobody => {}
        FolderOwner::Export(export_id, _) => {
            let message = format!("it has the manifest of exports/{export_id}");
            return Err(Stop::skip(SkipReason::HasManifest, message));
        }
        FolderOwner::Stranger => {
            let message = "its manifest.json is none of this service's";
            return Err(Stop::skip(SkipReason::ForeignManifest, message));
        }
    }
    let Some(claim) = retrying(|| records::read_claim(store, folder)).await? else {
        return Ok(());
    };
    // An adoption's record comes before its claim.
    let record = retrying(|| records::read_record(store, claim.export_id)).await?;
    if record.is_some_and(|record| record.format_version == Manifest::NOT_RENDERED) {
        return Ok(());
    }
    Err(commit::claimed(claim.export_id))
}

/// Whether a manifest can list all files; known before any of them is read.
fn check_size(base: &FolderBase, time: AcceptedTime, files: &[File]) -> Result<(), Stop> {
    // All digests are written with as many digits.
    let artifacts = files
        .iter()
        .map(|file| AdoptedBundle::artifact(file.path.clone(), file.size_bytes, Sha256::of(&[])));
    let review = AdoptedReview::default();
    let bundle = AdoptedBundle::new(base.clone(), time, review, artifacts.collect());
    commit::check_manifest_size(&commit::manifest_bytes(&bundle), facts::MOST_BYTES)
}

fn found(files: &[File], review: &AdoptedReview) -> Found {
    Found {
        files: files.len(),
        size_bytes: files.iter().fold(0, |sum, file| sum.saturating_add(file.size_bytes)),
        document_name: review.document_name.clone(),
    }
}

/// Whether the folder still holds what was read.
fn check_unchanged(before: &[File], after: &[File]) -> Result<(), Stop> {
    if before == after {
        return Ok(());
    }
    let is_in = |file: &&File, files: &[File]| files.contains(file);
    let new = after.iter().find(|file| !is_in(file, before));
    let changed = new.or_else(|| before.iter().find(|file| !is_in(file, after)));
    changed.map_or(Ok(()), |file| Err(files::changed(&file.path)))
}
