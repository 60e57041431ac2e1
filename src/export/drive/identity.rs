//! The identity of the configured store, and whether it is the store that an export was accepted for.
//!
//! The identity is read from the store (`.tara-export/store.json`) before the store is used, again after every
//! failure, and every minute, because the same settings may lead to another store later. Only the store that an export
//! was accepted for decides the result of the export. Step 13 of docs/design/commit-protocol.md.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tara_export_bundle::{AcceptedTime, StoreId};
use tara_export_catalog::{
    layout,
    records::{StoreIdentity, payload, read_store_identity},
};
use tara_export_clock::Clock;
use tara_export_failpoint::failpoint;
use tara_export_store::{PutOutcome, Store, StoreError, StoreErrorKind};
use tokio::time::Instant;

use crate::{
    export::{
        failure::{Failure, FailureReason},
        journal::{Journal, JournalError, KnownStores},
        settings::Stores,
    },
    transfer::RetryBudget,
};

/// How long an identity is reused while no operation fails. The settings may lead to another store at any time.
const CACHED_FOR: Duration = Duration::from_secs(60);

/// The identity of the configured bucket. One per engine.
#[derive(Debug)]
pub(in crate::export) struct BucketIdentity {
    s3: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Serializes changes of the known stores on disk.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone)]
struct State {
    /// The known stores on disk. `None` until they are read.
    known: Option<Arc<KnownStores>>,
    /// The identity that the store returned, and when. `None` after a failure.
    fresh: Option<(StoreId, Instant)>,
    /// The identity that the store returned last. Updated together with the known stores on disk.
    latest: Option<StoreId>,
}

/// How fresh an identity must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum Freshness {
    /// Read within [`CACHED_FOR`], and after the last failure.
    Cached,
    /// Read now.
    Current,
}

impl BucketIdentity {
    pub(in crate::export) fn new(stores: &Stores, clock: Arc<dyn Clock>) -> Self {
        let s3 = stores.s3.clone();
        Self { s3, clock, state: Mutex::default(), changing: tokio::sync::Mutex::default() }
    }

    /// Reads the known stores from disk. Required by [`Self::is_for_other_store`].
    ///
    /// # Errors
    /// The known stores cannot be read, or cannot be written for the first time.
    pub(in crate::export) async fn open(&self, journal: &Journal) -> Result<(), JournalError> {
        let Some(s3) = &self.s3 else { return Ok(()) };
        self.known_stores(journal, &s3.site()).await.map(drop)
    }

    /// The store that an export is accepted for now: the one that this process identified last, or else a proposed id
    /// for the first store that responds. The id is on disk when this returns.
    ///
    /// # Errors
    /// The known stores cannot be read or written.
    pub(in crate::export) async fn for_acceptance(
        &self,
        journal: &Journal,
    ) -> Result<Option<StoreId>, JournalError> {
        let Some(s3) = &self.s3 else { return Ok(None) };
        if let Some(latest) = self.lock().latest {
            return Ok(Some(latest));
        }
        let site = s3.site();
        self.known_stores(journal, &site).await?;
        let _changing = self.changing.lock().await;
        let State { known, latest, .. } = self.lock().clone();
        let mut known = known.ok_or(JournalError::Interrupted)?;
        // The store may have been identified while this waited for the lock. An id that is proposed after that would
        // not become an alias of the store's id.
        if latest.is_some() {
            return Ok(latest);
        }
        let (proposed, is_new) = Arc::make_mut(&mut known).propose(&site, || self.new_id());
        if is_new {
            journal.write_known_stores(&known).await?;
            self.lock().known = Some(known);
        }
        Ok(Some(proposed))
    }

    /// Succeeds if the configured store is the one that an export was accepted for.
    ///
    /// # Errors
    /// [`FailureReason::StoreChanged`] if it is another store, or the store's failure if its identity cannot be read.
    pub(in crate::export) async fn require(
        &self,
        journal: &Journal,
        accepted_for: Option<StoreId>,
        freshness: Freshness,
        budget: &RetryBudget,
    ) -> Result<(), Failure> {
        let s3 = self.s3.as_ref().ok_or_else(Failure::no_bucket)?;
        let configured = self.fetch(journal, freshness, budget).await?;
        let known = self.known_stores(journal, &s3.site()).await.map_err(journal_failure)?;
        let required = known.resolve(accepted_for);
        if required == configured {
            return Ok(());
        }
        let last_seen = known.site_of(required).unwrap_or("an unknown location");
        let message = format!(
            "the export was accepted for the store {required}, last seen as {last_seen}, but this server is configured \
             for the store {configured}, {}: restore S3_BUCKET_NAME, S3_BASE_PATH, AWS_REGION and AWS_ENDPOINT_URL, or \
             stop the server and move the export with 'tara-export backlog move'",
            s3.site()
        );
        Err(Failure { reason: FailureReason::StoreChanged, message })
    }

    /// Reads the identity of the configured store. Creates the identity if the store has none.
    ///
    /// # Errors
    /// The failure of the store, or of the disk, which stores the identity.
    pub(in crate::export) async fn fetch(
        &self,
        journal: &Journal,
        freshness: Freshness,
        budget: &RetryBudget,
    ) -> Result<StoreId, Failure> {
        if let (Freshness::Cached, Some((store_id, time))) = (freshness, self.lock().fresh)
            && time.elapsed() < CACHED_FOR
        {
            return Ok(store_id);
        }
        let s3 = self.s3.as_ref().ok_or_else(Failure::no_bucket)?;
        let site = s3.site();
        let known = self.known_stores(journal, &site).await.map_err(journal_failure)?;
        let read_time = Instant::now();
        let store_id =
            budget.run(|| self.read_or_create(s3.as_ref(), &site, &known), |_, _| {}).await?;
        self.confirm(journal, &site, store_id).await.map_err(journal_failure)?;
        self.lock().fresh = Some((store_id, read_time));
        Ok(store_id)
    }

    /// Discards the cached identity after a failure.
    pub(in crate::export) fn invalidate(&self) {
        self.lock().fresh = None;
    }

    /// Whether an export waits for another store than the configured one, as far as is known without a request to
    /// the store.
    pub(in crate::export) fn is_for_other_store(&self, accepted_for: Option<StoreId>) -> bool {
        let (Some(s3), Some(known)) = (&self.s3, self.lock().known.clone()) else { return false };
        !known.is_at(&s3.site(), known.resolve(accepted_for))
    }

    async fn read_or_create(
        &self,
        s3: &dyn Store,
        site: &str,
        known: &KnownStores,
    ) -> Result<StoreId, StoreError> {
        if let Some(identity) = read_store_identity(s3).await? {
            return Ok(identity.store_id);
        }
        self.create(s3, known.id_to_assign(site, || self.new_id())).await
    }

    /// Creates the identity of the store, or reads it if another process created it first.
    async fn create(&self, s3: &dyn Store, store_id: StoreId) -> Result<StoreId, StoreError> {
        let key = layout::store_identity();
        let created_time = AcceptedTime::new(self.clock.now());
        let identity = StoreIdentity { store_id, created_time };
        if s3.put_if_absent(&key, payload(&identity)).await? == PutOutcome::Created {
            return Ok(store_id);
        }
        let existing = read_store_identity(s3).await?;
        existing.map(|identity| identity.store_id).ok_or_else(|| {
            let message = format!("cannot read {}, which exists", s3.location(key.as_str()));
            StoreError::new(StoreErrorKind::Unavailable, message)
        })
    }

    /// The known stores on disk. Writes this site as the first one if there are none.
    async fn known_stores(
        &self,
        journal: &Journal,
        site: &str,
    ) -> Result<Arc<KnownStores>, JournalError> {
        if let Some(known) = self.lock().known.clone() {
            return Ok(known);
        }
        let _changing = self.changing.lock().await;
        if let Some(known) = self.lock().known.clone() {
            return Ok(known);
        }
        let known = match journal.known_stores().await? {
            Some(known) => known,
            None => {
                let known = KnownStores::new(site, self.new_id());
                journal.write_known_stores(&known).await?;
                known
            }
        };
        let known = Arc::new(known);
        self.lock().known = Some(known.clone());
        Ok(known)
    }

    /// Writes the identity that the store returned to disk.
    async fn confirm(
        &self,
        journal: &Journal,
        site: &str,
        store_id: StoreId,
    ) -> Result<(), JournalError> {
        let _changing = self.changing.lock().await;
        let mut known = self.lock().known.clone().ok_or(JournalError::Interrupted)?;
        if Arc::make_mut(&mut known).confirm(site, store_id) {
            journal.write_known_stores(&known).await?;
            failpoint!("identity.recorded");
            tracing::info!(%store_id, site, "the store is identified");
        }
        let mut state = self.lock();
        (state.known, state.latest) = (Some(known), Some(store_id));
        Ok(())
    }

    fn new_id(&self) -> StoreId {
        StoreId::new(self.clock.new_id())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn journal_failure(error: JournalError) -> Failure {
    Failure::of_journal(&error.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tara_export_clock::SystemClock;
    use tara_export_store::local::LocalStore;
    use tempfile::TempDir;

    use super::*;
    use crate::export::journal::JournalLimits;

    /// The journal of a machine and a bucket, each in a folder.
    async fn machine(disk: &TempDir, bucket: &TempDir) -> (Journal, Stores) {
        let s3: Arc<dyn Store> = Arc::new(LocalStore::open(bucket.path().to_owned()).unwrap());
        let journal = Journal::open(disk.path().to_owned(), JournalLimits::NONE).await.unwrap();
        (journal, Stores { s3: Some(s3.clone()), local: s3 })
    }

    /// The identity at process start.
    fn identity_of(stores: &Stores) -> BucketIdentity {
        BucketIdentity::new(stores, Arc::new(SystemClock))
    }

    /// Exports are accepted while another request reads the store's identity for the first time and writes it to disk.
    #[tokio::test]
    async fn exports_accepted_during_identification_belong_to_the_store() {
        let (disk, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (journal, stores) = machine(&disk, &bucket).await;
        // The store has an identity that this machine does not know.
        let first = identity_of(&stores);
        let existing = StoreId::new(SystemClock.new_id());
        first.create(stores.local.as_ref(), existing).await.unwrap();

        let identity = identity_of(&stores);
        let budget = RetryBudget::new(Duration::from_secs(60));
        let mut accepted_for = Vec::new();
        let accepting = async {
            while identity.lock().fresh.is_none() {
                accepted_for.push(identity.for_acceptance(&journal).await.unwrap());
                tokio::task::yield_now().await;
            }
        };
        let fetching = identity.fetch(&journal, Freshness::Current, &budget);
        let (fetched, ()) = futures::join!(fetching, accepting);
        assert_eq!(fetched.unwrap(), existing);
        assert!(!accepted_for.is_empty());
        for store_id in accepted_for {
            identity.require(&journal, store_id, Freshness::Cached, &budget).await.unwrap();
        }
    }

    #[tokio::test]
    async fn start_with_known_store_does_not_change_known_stores() {
        let (disk, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (journal, stores) = machine(&disk, &bucket).await;
        let budget = RetryBudget::new(Duration::from_secs(60));
        let first = identity_of(&stores);
        first.fetch(&journal, Freshness::Current, &budget).await.unwrap();
        let known = journal.known_stores().await.unwrap();
        for _ in 0..3 {
            let next = identity_of(&stores);
            next.open(&journal).await.unwrap();
            next.fetch(&journal, Freshness::Current, &budget).await.unwrap();
        }
        assert_eq!(journal.known_stores().await.unwrap(), known);
    }
}
