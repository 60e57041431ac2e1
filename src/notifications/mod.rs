//! Notifications: sends the events of exports to the targets of `NOTIFY_FILE`.
//!
//! The engine writes events into the outbox (`tara-export-events`). The dispatcher takes them from there into one queue
//! for each target (`queue.rs`), and sends them with `tara-export-notify`. Nothing here can delay or fail an export.

mod claims;
mod dispatcher;
mod listing;
mod metrics;
mod orphans;
mod queue;
mod rebuild;
mod retention;
mod retry;
mod target_file;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tara_export_bundle::ExportId;
use tara_export_catalog::{Catalog, layout::JournalLocation};
use tara_export_clock::Clock;
use tara_export_disk::DiskError;
use tara_export_events::{Event, EventFiles, EventRetention, Outbox};
use tara_export_limits::Pool;
use tara_export_notify::{SendError, Target, TargetContext};
use tara_export_settings_file::LoadError;
use tara_export_store::{Store, s3::S3SettingsError};
use tokio::time::{self, Instant};

use self::{claims::Claims, dispatcher::Shared, target_file::TargetFile};
pub use self::{
    dispatcher::OutboxError,
    listing::{
        DeliveryView, EventQuery, EventState, EventView, ListedEvents, TargetActivity, TargetView,
    },
    retry::{Retried, RetryError, RetryRequest},
};

/// Threads that read and write events.
const THREADS: usize = 2;

/// Settings of notifications.
#[derive(Debug, Clone)]
pub struct NotificationSettings {
    /// The file with the targets, the setting `NOTIFY_FILE`.
    pub file: PathBuf,
    /// Where the events of this server are.
    pub data_dir: PathBuf,
    /// How long an event is tried.
    pub give_up_after: Duration,
    /// How long events are kept.
    pub retention: EventRetention,
    /// How often expired events are removed.
    pub retention_interval: Duration,
    /// Whether other machines deliver the events of a lost one.
    pub journal: JournalLocation,
    /// How often events of lost machines are looked for.
    pub takeover_interval: Duration,
    /// Minimum age of an event before another machine delivers it.
    pub takeover_age: Duration,
}

/// Notifications cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum NotificationsError {
    /// The targets cannot be read.
    #[error(transparent)]
    Targets(#[from] LoadError),
    /// The settings of the AWS SDK on this machine cannot be used.
    #[error(transparent)]
    Aws(#[from] S3SettingsError),
    /// The events cannot be read.
    #[error("cannot use the events of this server: {0}")]
    Outbox(#[from] OutboxError),
    /// The disk failed.
    #[error("cannot use the events of this server: {0}")]
    Disk(#[from] DiskError),
    /// The system cannot start threads.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// The notifications of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Notifications {
    shared: Arc<Shared>,
    settings: Arc<NotificationSettings>,
}

impl Notifications {
    /// Reads the targets. Delivers nothing yet.
    ///
    /// # Errors
    /// If `NOTIFY_FILE` has faults, or the disk fails.
    pub async fn open(
        settings: NotificationSettings,
        context: TargetContext,
        s3: Option<Arc<dyn Store>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NotificationsError> {
        let pool = Pool::new("notifications", THREADS)?;
        let files = Arc::new(EventFiles::new(&settings.data_dir)?);
        let (path, new_id, reader) = (settings.file.clone(), clock.new_id(), files.clone());
        let opening = pool.run(move || {
            let targets = TargetFile::open(&path, context)?;
            // The journal writes events as soon as it is open.
            reader.clean_temporary_files()?;
            Ok::<_, NotificationsError>((targets, reader.owner(new_id)?))
        });
        let (targets, owner) = opening.await.map_err(OutboxError::from)??;
        let claims = Claims {
            s3,
            owner,
            journal: settings.journal,
            takeover_age: settings.takeover_age,
            silent_until: Arc::default(),
        };
        let shared = Shared::new(files, pool, clock, targets, claims, settings.give_up_after);
        Ok(Self { shared: Arc::new(shared), settings: Arc::new(settings) })
    }

    /// Where the engine writes events.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.shared.files.clone(), self.shared.claims.owner, self.shared.clone())
    }

    /// Writes an event of this server durably, if a target wants it. It is delivered from then on.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub async fn add(&self, event: Event) -> Result<(), OutboxError> {
        let outbox = self.outbox();
        Ok(self.shared.pool.run(move || outbox.add(&event)).await??)
    }

    /// Loads the events of previous processes, and delivers until [`Self::shut_down`].
    ///
    /// # Errors
    /// If the events cannot be listed.
    pub async fn start(
        &self,
        is_unfinished: impl Fn(ExportId) -> bool + Send + Sync + 'static,
    ) -> Result<(), NotificationsError> {
        let shared = &self.shared;
        dispatcher::load(shared).await?;
        shared.tasks.spawn(dispatcher::run(shared.clone()));
        shared.tasks.spawn(orphans::watch(shared.clone(), self.settings.takeover_interval));
        shared.tasks.spawn(retention::watch(
            shared.clone(),
            self.settings.retention,
            self.settings.retention_interval,
            Arc::new(is_unfinished),
        ));
        Ok(())
    }

    /// Reads `NOTIFY_FILE` again now if it changed, and gives up notifications that are too old.
    pub fn reload(&self) {
        self.shared.request_check();
    }

    /// Whether a target sends mails to the recipients that requests name.
    pub fn accepts_recipients(&self) -> bool {
        self.shared.targets.current().iter().any(|target| target.is_for_requested)
    }

    /// Sends a test event to a target now.
    ///
    /// # Errors
    /// Why the target did not take it.
    pub async fn test(&self, target: &Target) -> Result<(), SendError> {
        let export_id = ExportId::new(self.shared.clock.new_id());
        target.sender.send(&[Event::test(export_id, self.shared.clock.now())]).await
    }

    /// Delivers events again, or rebuilds those that were never written.
    ///
    /// # Errors
    /// If the disk fails, or the exports cannot be listed.
    pub async fn retry(
        &self,
        catalog: &Catalog,
        request: RetryRequest,
    ) -> Result<Retried, RetryError> {
        retry::retry(&self.shared, catalog, request).await
    }

    /// Starts no more deliveries, and waits until then for those in progress. What is left is delivered by the next
    /// start.
    pub async fn shut_down(&self, end: Instant) {
        self.shared.draining.cancel();
        self.shared.tasks.close();
        if time::timeout_at(end, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                "notifications are still being sent at shutdown: the next start sends them again"
            );
            self.shared.aborting.cancel();
        }
    }

    /// The threads that read and write events.
    pub fn pool(&self) -> Pool {
        self.shared.pool.clone()
    }
}
