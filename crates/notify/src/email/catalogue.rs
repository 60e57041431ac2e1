//! The texts of mails in each language: `templates/LOCALE/texts.json`.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};
use tara_export_events::EventType;

/// The reasons of exports' states that have a text of their own, in the words of the API.
#[cfg(test)]
pub(super) const REASONS: [&str; 11] = [
    "ARCHIVED",
    "DATA_LOSS",
    "INTERNAL",
    "LOCAL_STORE_FULL",
    "REQUEST_ID_REUSED",
    "SOURCE_LOST",
    "STORE_CHANGED",
    "STORE_DENIED",
    "STORE_MISCONFIGURED",
    "STORE_UNAVAILABLE",
    "STORE_UNSAFE",
];
/// The text for all other reasons.
const OTHER_REASON: &str = "other";

/// A language of mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Locale {
    #[default]
    English,
    German,
    French,
    Spanish,
    Japanese,
}

impl Locale {
    /// All languages.
    pub(super) const ALL: [Self; 5] =
        [Self::English, Self::German, Self::French, Self::Spanish, Self::Japanese];

    /// As in `NOTIFY_FILE` and in the names of templates. Source: BCP 47.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Japanese => "ja",
        }
    }

    /// The language of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|locale| locale.as_str() == name)
    }

    fn source(self) -> &'static str {
        match self {
            Self::English => include_str!("templates/en/texts.json"),
            Self::German => include_str!("templates/de/texts.json"),
            Self::French => include_str!("templates/fr/texts.json"),
            Self::Spanish => include_str!("templates/es/texts.json"),
            Self::Japanese => include_str!("templates/ja/texts.json"),
        }
    }

    /// Whether the language has one form for this number and another one for most numbers. Source: the cardinal plural
    /// rules of Unicode CLDR, without the forms for millions in French and Spanish.
    fn is_one(self, count: usize) -> bool {
        match self {
            Self::English | Self::German | Self::Spanish => count == 1,
            Self::French => count <= 1,
            Self::Japanese => false,
        }
    }

    /// The texts of this language.
    pub(super) fn texts(self) -> &'static Texts {
        static TEXTS: LazyLock<Vec<Texts>> = LazyLock::new(|| {
            let parsed = Locale::ALL.map(|locale| serde_json::from_str(locale.source()));
            // A test parses all of them.
            parsed.into_iter().map(Result::unwrap_or_default).collect()
        });
        &TEXTS[self as usize]
    }

    /// The text for this number.
    pub(super) fn counted(self, text: &Counted, count: usize) -> String {
        let form = text.one.as_ref().filter(|_| self.is_one(count)).unwrap_or(&text.other);
        form.replace("{count}", &count.to_string())
    }
}

/// A text with a number, `{count}`, in each form that the language has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counted {
    one: Option<String>,
    other: String,
}

/// One value for each type of event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByType<T> {
    committed: T,
    fell_back: T,
    synced: T,
    failed: T,
    quarantined: T,
    batch_ended: T,
    job_ended: T,
    test: T,
}

impl<T> ByType<T> {
    /// The value for this type.
    pub(super) fn get(&self, event_type: EventType) -> &T {
        match event_type {
            EventType::Committed => &self.committed,
            EventType::FellBack => &self.fell_back,
            EventType::Synced => &self.synced,
            EventType::Failed => &self.failed,
            EventType::Quarantined => &self.quarantined,
            EventType::BatchEnded => &self.batch_ended,
            EventType::JobEnded => &self.job_ended,
            EventType::Test => &self.test,
        }
    }
}

/// The names of a mail's fields.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Labels {
    export: String,
    document: String,
    reviewer: String,
    time: String,
    reason: String,
    location: String,
    details: String,
    next: String,
}

/// The texts of one language.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Texts {
    /// What happened to a number of exports.
    pub(super) summaries: ByType<Counted>,
    /// Between two summaries.
    pub(super) separator: String,
    /// What happened to one export.
    pub(super) events: ByType<String>,
    /// The names of fields.
    pub(super) labels: Labels,
    reasons: BTreeMap<String, String>,
    runs: RunTexts,
    /// What the reader must do.
    pub(super) next: ByType<String>,
    /// The number of exports that are not listed.
    pub(super) more: Counted,
    /// The last line.
    pub(super) footer: String,
    /// The texts of reports.
    pub(super) report: ReportTexts,
}

/// The texts of reports.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportTexts {
    /// The exports of the period.
    pub(super) exports: Counted,
    /// Those that failed.
    pub(super) failed: Counted,
    /// Those that are outstanding.
    pub(super) outstanding: Counted,
    /// The label of the period.
    pub(super) period: String,
    /// The title of the counts.
    pub(super) accepted: String,
    /// The states of the counts.
    pub(super) states: StateTexts,
    /// The title of the failures.
    pub(super) failures: String,
    /// The title of the outstanding exports.
    pub(super) outstanding_exports: String,
    /// The label of the oldest of them.
    pub(super) oldest: String,
    /// Instead of an empty list.
    pub(super) nothing: String,
    /// Only so many exports were counted.
    pub(super) cut: Counted,
    /// So many exports have not been read.
    pub(super) unread: Counted,
    /// So many entries are quarantined.
    pub(super) quarantined: Counted,
    /// S3 did not respond.
    pub(super) store_unavailable: String,
}

/// The states of exports.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateTexts {
    pub(super) committed: String,
    pub(super) fell_back: String,
    pub(super) pending: String,
    pub(super) failed: String,
    pub(super) quarantined: String,
}

/// How a run of a job ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunTexts {
    succeeded: String,
    failed: String,
}

impl Texts {
    /// How a run of a job ended, in words.
    pub(super) fn run(&self, has_succeeded: bool) -> &str {
        if has_succeeded { &self.runs.succeeded } else { &self.runs.failed }
    }

    /// A reason in words.
    pub(super) fn reason(&self, code: &str) -> &str {
        let text = self.reasons.get(code).or_else(|| self.reasons.get(OTHER_REASON));
        text.map(String::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The paths of all texts, with the number of their placeholders.
    fn shape(value: &Value, path: &str, shape: &mut BTreeMap<String, usize>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self::shape(value, &format!("{path}.{name}"), shape);
                }
            }
            text => {
                let text = text.as_str().unwrap();
                assert!(!text.trim().is_empty(), "{path}");
                assert_eq!(text.matches('{').count(), text.matches("{count}").count(), "{path}");
                shape.insert(path.to_owned(), text.matches("{count}").count());
            }
        }
    }

    #[test]
    fn all_locales_have_the_same_texts_and_placeholders() {
        let shape_of = |locale: Locale| {
            let mut found = BTreeMap::new();
            shape(&serde_json::from_str(locale.source()).unwrap(), "", &mut found);
            found
        };
        let english = shape_of(Locale::English);
        for locale in Locale::ALL {
            serde_json::from_str::<Texts>(locale.source()).unwrap();
            let mut expected = english.clone();
            if locale == Locale::Japanese {
                expected.retain(|path, _| !path.ends_with(".one"));
            }
            assert_eq!(shape_of(locale), expected, "{locale:?}");
        }
    }

    #[test]
    fn every_reason_has_a_text() {
        for locale in Locale::ALL {
            let mut found: Vec<&str> = locale.texts().reasons.keys().map(String::as_str).collect();
            found.retain(|code| *code != OTHER_REASON);
            assert_eq!(found, REASONS, "{locale:?}");
            assert!(!locale.texts().reason("NEW_REASON").is_empty());
        }
    }

    #[test]
    fn plurals_are_those_of_the_language() {
        let summary = |locale: Locale, count| {
            locale.counted(locale.texts().summaries.get(EventType::FellBack), count)
        };
        for (locale, count, expected) in [
            (Locale::English, 1, "1 export fell back to local disk"),
            (Locale::English, 3, "3 exports fell back to local disk"),
            (
                Locale::German,
                1,
                "1 Export wurde ersatzweise auf der lokalen Festplatte gespeichert",
            ),
            (
                Locale::German,
                21,
                "21 Exporte wurden ersatzweise auf der lokalen Festplatte gespeichert",
            ),
            (Locale::French, 1, "1 export a été enregistré sur le disque local en secours"),
            (Locale::French, 2, "2 exports ont été enregistrés sur le disque local en secours"),
            (Locale::Spanish, 1, "1 exportación se guardó en el disco local como respaldo"),
            (Locale::Spanish, 2, "2 exportaciones se guardaron en el disco local como respaldo"),
            (Locale::Japanese, 1, "1 件のエクスポートが代わりにローカルディスクに保存されました"),
            (Locale::Japanese, 2, "2 件のエクスポートが代わりにローカルディスクに保存されました"),
        ] {
            assert_eq!(summary(locale, count), expected);
        }
    }
}
