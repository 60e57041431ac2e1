//! A target and its settings that all kinds share.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tara_export_catalog::Filter;
use tara_export_clock::{Clock, SystemClock};
use tara_export_events::{Event, EventType, Names};
use tara_export_outbound::{Authorities, Environment, Proxies, Resolve, SystemResolver};
use tara_export_settings_file::{Faults, Fields, InvalidFile, Name, quoted};

use super::{AwsContext, ReportMailer, Sender, aws, email, webhook};

/// Maximum number of targets in a file.
pub(crate) const MAX_TARGETS: usize = 16;
/// The kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KindName {
    /// Mail over SMTP.
    Email,
    /// An HTTP request that is signed.
    Webhook,
    /// A topic of Amazon SNS.
    Sns,
    /// A bus of Amazon EventBridge.
    EventBridge,
}

impl KindName {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Email, Self::Webhook, Self::Sns, Self::EventBridge];

    /// As in `NOTIFY_FILE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
            Self::Sns => "sns",
            Self::EventBridge => "eventbridge",
        }
    }
}

/// What targets use beside their file.
#[derive(Debug, Clone)]
pub struct TargetContext {
    /// The folder that relative paths in the file start from: that of the file.
    pub folder: PathBuf,
    /// The folder of templates, the setting `NOTIFY_TEMPLATES`.
    pub templates: Option<PathBuf>,
    /// The time of signatures.
    pub clock: Arc<dyn Clock>,
    /// Resolves the hosts of webhooks.
    pub resolver: Arc<dyn Resolve>,
    /// The proxies of webhooks.
    pub proxies: Proxies,
    /// The authorities that verify the certificates of targets.
    pub authorities: Authorities,
    /// What targets of AWS use; without it, they are faults.
    pub aws: Option<AwsContext>,
}

impl TargetContext {
    /// The context of a file on this machine: its folder, the system's clock, resolver and authorities, and the
    /// proxies of the environment.
    pub fn new(folder: PathBuf, templates: Option<PathBuf>) -> Self {
        Self {
            folder,
            templates,
            clock: Arc::new(SystemClock),
            resolver: Arc::new(SystemResolver),
            proxies: Proxies::of(&Environment::of_process()),
            authorities: Authorities::of_system(),
            aws: None,
        }
    }
}

/// The types of events that targets get by default: all that need no scheduled job. A job may run every minute.
pub(crate) const DEFAULT_EVENTS: &[EventType] = &[
    EventType::Committed,
    EventType::FellBack,
    EventType::Synced,
    EventType::Failed,
    EventType::Quarantined,
    EventType::BatchEnded,
];

/// The settings that a kind reads for itself.
pub(crate) struct OwnSettings {
    /// The types of events if the file names none.
    pub default_events: &'static [EventType],
    /// See [`Target::digest`].
    pub digest: Duration,
    /// See [`Target::is_for_requested`].
    pub is_for_requested: bool,
    /// Sends to the target.
    pub sender: Arc<dyn Sender>,
    /// See [`Target::reports`].
    pub reports: Option<ReportMailer>,
}

/// One target.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name, unique in the file.
    pub name: Name,
    /// Its kind.
    pub kind: KindName,
    /// The types of events that it gets.
    pub events: Vec<EventType>,
    /// The exports whose events it gets.
    pub filter: Filter,
    /// Whether its messages contain names.
    pub names: Names,
    /// How long events are collected for one message; zero for one message each.
    pub digest: Duration,
    /// Whether it gets only events whose requests name recipients, and sends to those.
    pub is_for_requested: bool,
    /// Sends to it.
    pub sender: Arc<dyn Sender>,
    /// Sends reports; `None` if its kind is not `email`.
    pub reports: Option<ReportMailer>,
}

impl Target {
    /// Whether the target gets this event.
    pub fn wants(&self, event: &Event) -> bool {
        self.events.contains(&event.event_type)
            && (!self.is_for_requested || !event.recipients.is_empty())
            && match event.export() {
                Some(export) => self.filter.matches(export),
                // A filter is a condition on exports.
                None => self.filter.as_str().is_empty(),
            }
    }
}

/// The targets of a file.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    targets: Vec<Target>,
}

impl Targets {
    /// Reads the targets of a file's text.
    ///
    /// # Errors
    /// Every fault of the text, each with its path, its value and what is allowed.
    pub fn parse(text: &str, context: &TargetContext) -> Result<Self, InvalidFile> {
        let mut faults = Faults::default();
        let targets = Self::read(text, context, &mut faults);
        faults.into_result(targets)
    }

    /// Reads the targets of a text. They must not be used if there are faults.
    pub(crate) fn read(text: &str, context: &TargetContext, faults: &mut Faults) -> Self {
        let Some(mut file) = Fields::of_text(text, faults) else { return Self::default() };
        // The location of docs/notify.schema.json, for editors.
        file.text("$schema", faults);
        let listed = file.objects("targets", MAX_TARGETS, faults);
        file.end(faults);
        let mut targets: Vec<Target> = Vec::new();
        for fields in listed {
            let path = fields.path_of("name");
            let Some(target) = read_target(fields, context, faults) else { continue };
            if targets.iter().any(|other| other.name == target.name) {
                faults.add(path, format!("\"{}\" is the name of another target", target.name));
            }
            targets.push(target);
        }
        Self { targets }
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter()
    }

    /// The target of this name.
    pub fn get(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.name.as_str() == name)
    }
}

/// Reads one target. `None` if its name or kind is missing; other faults leave a target that is never used.
fn read_target(mut fields: Fields, context: &TargetContext, faults: &mut Faults) -> Option<Target> {
    let name = fields.name("name", faults);
    let kind = fields.required_text("kind", faults).and_then(|text| {
        let kind = KindName::ALL.into_iter().find(|kind| kind.as_str() == text);
        if kind.is_none() {
            let message =
                format!("must be email, webhook, sns or eventbridge, not {}", quoted(&text));
            faults.add(fields.path_of("kind"), message);
        }
        kind
    });
    let events = read_events(&mut fields, faults);
    let filter = fields.text("filter", faults).map_or_else(Filter::default, |text| {
        Filter::parse(&text).unwrap_or_else(|error| {
            faults.add(fields.path_of("filter"), error.to_string());
            Filter::default()
        })
    });
    let names = match fields.flag("include_names", false, faults) {
        true => Names::Included,
        false => Names::Omitted,
    };
    let kind = kind?;
    let own = match kind {
        KindName::Webhook => webhook::read(&mut fields, names, context, faults),
        KindName::Email => email::read(&mut fields, names, context, faults),
        KindName::Sns => aws::read_sns(&mut fields, names, context, faults),
        KindName::EventBridge => aws::read_eventbridge(&mut fields, names, context, faults),
    };
    fields.end(faults);
    let (name, OwnSettings { default_events, digest, is_for_requested, sender, reports }) =
        (name?, own?);
    let events = events.unwrap_or_else(|| default_events.to_vec());
    Some(Target { name, kind, events, filter, names, digest, is_for_requested, sender, reports })
}

/// The types of `events`; `None` for the default of the kind.
fn read_events(fields: &mut Fields, faults: &mut Faults) -> Option<Vec<EventType>> {
    let path = fields.path_of("events");
    let texts = fields.texts("events", EventType::ALL.len(), faults)?;
    if texts.is_empty() {
        faults.add(&path, format!("must have at least one of {}", all_types()));
    }
    let mut types = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        match text.parse::<EventType>() {
            Ok(event_type) if !types.contains(&event_type) => types.push(event_type),
            Ok(_) => faults.add(format!("{path}[{number}]"), format!("{text:?} is there twice")),
            Err(_) => {
                let message = format!("must be one of {}, not {}", all_types(), quoted(text));
                faults.add(format!("{path}[{number}]"), message);
            }
        }
    }
    Some(types)
}

fn all_types() -> String {
    EventType::ALL.map(EventType::as_str).join(", ")
}
