//! Settings of notifications.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tara_export_notify::AllowedRecipients;

use super::{
    Optional,
    parse::{duration, file, optional, recipients},
};

/// Notifications. All are off by default.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Notification settings")]
pub struct NotifySettings {
    /// File with the targets of notifications (JSON), read again when it changes; unset: no notifications
    #[arg(long, env = "NOTIFY_FILE", value_parser = optional("NOTIFY_FILE", file))]
    pub notify_file: Option<Optional<PathBuf>>,

    /// Folder with templates of messages that replace the built-in ones; unset: the built-in ones
    #[arg(long, env = "NOTIFY_TEMPLATES", value_parser = optional("NOTIFY_TEMPLATES", file))]
    pub notify_templates: Option<Optional<PathBuf>>,

    /// Domains of the e-mail addresses that requests may name, separated by commas, such as example.com or
    /// *.example.com; unset: none
    #[arg(long, env = "NOTIFY_RECIPIENTS", value_parser = optional("NOTIFY_RECIPIENTS", recipients))]
    pub notify_recipients: Option<Optional<AllowedRecipients>>,

    /// How long a notification is tried before it becomes a dead letter (1m to 30d)
    #[arg(long, env = "NOTIFY_GIVE_UP_AFTER", default_value = "3d",
          value_parser = duration("NOTIFY_GIVE_UP_AFTER", 60_000..=2_592_000_000))]
    pub notify_give_up_after: Duration,
}
