//! The jobs of a server: they work on its notifications and its exports.

use tara_export_jobs::Jobs as JobsFile;

use crate::{
    config::{Settings, value},
    jobs::{self, JobsError, Outbound},
    notifications::Notifications,
};

/// Reads the jobs, if there are any.
pub(super) fn read(
    settings: &Settings,
    notifications: Option<&Notifications>,
    outbound: &Outbound,
) -> Result<Option<JobsFile>, JobsError> {
    let Some(file) = value(&settings.jobs.jobs_file) else { return Ok(None) };
    let recipients = value(&settings.notify.notify_recipients).unwrap_or_default();
    jobs::read(&file, notifications, &recipients, outbound).map(Some)
}
