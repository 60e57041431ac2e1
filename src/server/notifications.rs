//! Notifications of a server: opened before the journal, which writes events, and started after it.

use std::{path::Path, sync::Arc, time::Duration};

use tara_export_clock::Clock;
use tara_export_events::EventRetention;
use tara_export_notify::{AwsContext, TargetContext};
use tara_export_outbound::Environment;
use tara_export_store::{
    Store,
    s3::{AwsServices, S3SettingsError},
};

use crate::{
    config::{Settings, value},
    notifications::{NotificationSettings, Notifications, NotificationsError},
};

/// How long dead letters are kept.
const DEAD_LETTER_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Opens the notifications, if there are any.
pub(super) async fn open(
    settings: &Settings,
    s3: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
) -> Result<Option<Notifications>, NotificationsError> {
    let Some(file) = value(&settings.notify.notify_file) else { return Ok(None) };
    let context = target_context(settings, &file).await?;
    let disk = &settings.disk;
    let notification_settings = NotificationSettings {
        file,
        data_dir: disk.data_dir.clone(),
        give_up_after: settings.notify.notify_give_up_after,
        retention: EventRetention {
            delivered: disk.receipt_retention,
            max_delivered: disk.max_receipts as usize,
            dead: DEAD_LETTER_RETENTION,
        },
        retention_interval: disk.retention_interval,
        journal: disk.journal,
        takeover_interval: disk.takeover_interval,
        takeover_age: disk.takeover_age,
    };
    Notifications::open(notification_settings, context, s3, clock).await.map(Some)
}

/// What targets use beside their file.
///
/// # Errors
/// If the settings of the AWS SDK on this machine cannot be used.
pub async fn target_context(
    settings: &Settings,
    file: &Path,
) -> Result<TargetContext, S3SettingsError> {
    let services = AwsServices::load(Environment::of_process()).await?;
    if !settings.store.has_bucket() {
        // The bucket's store reports the others.
        services.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    }
    let sdk = services.sdk_config().clone();
    let credentials_refused =
        Arc::new(move |service: &str, code: &str| services.credentials_refused(service, code));
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    Ok(TargetContext {
        aws: Some(AwsContext { sdk, credentials_refused }),
        ..TargetContext::new(folder, value(&settings.notify.notify_templates))
    })
}
