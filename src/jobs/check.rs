//! What the jobs of a file need: targets of `NOTIFY_FILE` and allowed addresses.

use tara_export_jobs::{JobKind, Jobs, Pull, Report};
use tara_export_notify::{AllowedRecipients, EmailAddress};
use tara_export_settings_file::{Faults, InvalidFile, quoted};

use super::{
    Outbound,
    pull::{Source, read_token},
};
use crate::notifications::Notifications;

/// Checks the jobs against the settings of the server.
///
/// # Errors
/// Each fault with the path of its field.
pub(super) fn check(
    jobs: Jobs,
    notifications: Option<&Notifications>,
    recipients: &AllowedRecipients,
    outbound: &Outbound,
) -> Result<Jobs, InvalidFile> {
    let mut faults = Faults::default();
    for (number, job) in jobs.iter().enumerate() {
        let path = format!("jobs[{number}]");
        match &job.kind {
            JobKind::Redeliver(_) if notifications.is_none() => faults.add(
                format!("{path}.kind"),
                "redeliver delivers notifications again, but NOTIFY_FILE is not set",
            ),
            JobKind::Redeliver(_) => {}
            JobKind::Pull(pull) => check_pull(pull, &path, outbound, &mut faults),
            JobKind::Report(report) => {
                check_report(report, &path, notifications, recipients, &mut faults);
            }
        }
    }
    faults.into_result(jobs)
}

fn check_pull(pull: &Pull, path: &str, outbound: &Outbound, faults: &mut Faults) {
    if let Err(fault) = Source::new(pull, outbound) {
        faults.add(format!("{path}.url"), fault);
    }
    if let Some(Err(fault)) = pull.token_file.as_deref().map(read_token) {
        faults.add(format!("{path}.token_file"), fault);
    }
}

fn check_report(
    report: &Report,
    path: &str,
    notifications: Option<&Notifications>,
    recipients: &AllowedRecipients,
    faults: &mut Faults,
) {
    let Some(notifications) = notifications else {
        let message = format!(
            "must be a target of kind email in NOTIFY_FILE, which is not set, not {}",
            quoted(&report.target)
        );
        faults.add(format!("{path}.target"), message);
        return;
    };
    let views = notifications.targets();
    let mailers: Vec<_> = views
        .iter()
        .filter_map(|view| Some((&view.target.name, view.target.reports.as_ref()?)))
        .collect();
    let found = mailers.iter().find(|(name, _)| name.as_str() == report.target);
    match found.map(|(_, mailer)| mailer) {
        Some(mailer) if mailer.needs_addresses() && report.to.is_empty() => faults.add(
            format!("{path}.to"),
            format!(
                "is missing: the target {} has no addresses of its own (\"to\": \"requested\")",
                quoted(&report.target)
            ),
        ),
        Some(_) => {}
        None => {
            let names: Vec<&str> = mailers.iter().map(|(name, _)| name.as_str()).collect();
            let allowed = match names.is_empty() {
                true => "which has none".to_owned(),
                false => names.join(", "),
            };
            let message = format!(
                "must be a target of kind email in NOTIFY_FILE ({allowed}), not {}",
                quoted(&report.target)
            );
            faults.add(format!("{path}.target"), message);
        }
    }
    let mut seen: Vec<EmailAddress> = Vec::new();
    for (number, text) in report.to.iter().enumerate() {
        let path = format!("{path}.to[{number}]");
        match EmailAddress::parse(text) {
            Err(error) => faults.add(path, format!("{error}, not {}", quoted(text))),
            Ok(address) if !recipients.allow(&address) => {
                let message = format!(
                    "must be in a domain of the setting NOTIFY_RECIPIENTS, not {}",
                    quoted(text)
                );
                faults.add(path, message);
            }
            Ok(address) if seen.contains(&address) => faults.add(path, "is there twice"),
            Ok(address) => seen.push(address),
        }
    }
}
