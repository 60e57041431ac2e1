//! Templates that render events: the folder `NOTIFY_TEMPLATES`, and minijinja with limits.
//!
//! Templates are files of the operator. They have no access to files, the network or the environment. Fuel, which
//! pays for instructions as well as for bytes, and the limit of the output end a template that loops or grows.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, value::Serde};
use serde_json::{Map, Value};
use tara_export_disk::small_file;
use tara_export_events::{Event, Names};
use tara_export_settings_file::quoted;

/// Maximum size of a template.
const TEMPLATE_LIMIT_BYTES: u64 = 64 * 1024;
/// Maximum size of what a template renders.
const OUTPUT_LIMIT_BYTES: usize = 256 * 1024;
/// What one rendering may use: an instruction costs 1, and so do 64 bytes of text that it creates (13 MB in total). A
/// digest of 100 events uses a tenth of it.
const FUEL: u64 = 200_000;
/// Maximum depth of nested calls in a template.
const RECURSION_LIMIT: usize = 50;
/// Maximum length of a template's name.
const NAME_LIMIT_BYTES: usize = 64;

/// The fields that an event's `data` may lack. Templates read them as `none`, so that only misspelt names are errors.
const OPTIONAL_FIELDS: [&str; 18] = [
    "accepted_time",
    "batch",
    "committed_time",
    "counts",
    "document_name",
    "export",
    "folder_name",
    "job",
    "location",
    "message",
    "report_location",
    "requested_destination",
    "reviewer",
    "run",
    "session_id",
    "started_time",
    "state_reason",
    "stored_in",
];

/// A template that cannot be read, parsed or rendered. Contains no value of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TemplateError(String);

impl TemplateError {
    /// An error with this message.
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}

/// The folder of the operator's templates.
#[derive(Debug, Clone)]
pub(crate) struct TemplateSource {
    folder: PathBuf,
}

impl TemplateSource {
    /// The templates in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The path of a template's file, such as `alert.json`.
    ///
    /// # Errors
    /// If the name is not 1 to 64 letters, digits, `_`, `-` and single dots: it could name a file elsewhere.
    pub(crate) fn path_of(&self, name: &str) -> Result<PathBuf, TemplateError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_valid = name.len() <= NAME_LIMIT_BYTES
            && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && name.bytes().all(is_allowed)
            && !name.contains("..");
        match is_valid {
            true => Ok(self.folder.join(name)),
            false => Err(TemplateError(format!(
                "{} is not the name of a template: at most {NAME_LIMIT_BYTES} letters, digits, '_', '-' and \
                 single dots are allowed",
                quoted(name)
            ))),
        }
    }

    /// The text of a template. `None` if there is no such file.
    ///
    /// # Errors
    /// The name is invalid, or the file cannot be read, is too large, or is not UTF-8.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, TemplateError> {
        let path = self.path_of(name)?;
        let unreadable = |error: &dyn fmt::Display| {
            TemplateError(format!("cannot read {}: {error}", path.display()))
        };
        // A named pipe would block forever.
        match path.metadata() {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(unreadable(&"it is not a file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&error)),
        }
        let bytes =
            small_file::read(&path, TEMPLATE_LIMIT_BYTES).map_err(|error| unreadable(&error))?;
        String::from_utf8(bytes).map(Some).map_err(|_| unreadable(&"it is not UTF-8"))
    }
}

/// Parsed templates by name. The end of a name decides how values are escaped: `.html` and `.json`; others are text.
pub(crate) struct Templates {
    environment: Environment<'static>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.environment.templates().map(|(name, _)| name);
        formatter.debug_set().entries(names).finish()
    }
}

impl Templates {
    /// No templates.
    pub(crate) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION_LIMIT);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|name| match name.rsplit_once('.') {
            Some((_, "html")) => AutoEscape::Html,
            Some((_, "json")) => AutoEscape::Json,
            _ => AutoEscape::None,
        });
        Self { environment }
    }

    /// Parses a template; replaces one of the same name.
    ///
    /// # Errors
    /// The template's syntax, with its line.
    pub(crate) fn add(&mut self, name: &str, text: String) -> Result<(), TemplateError> {
        self.environment
            .add_template_owned(name.to_owned(), text)
            .map_err(|error| template_error(name, &error))
    }

    /// Renders a template with the values of [`values_of`], or others.
    ///
    /// # Errors
    /// The template does not exist, uses a value that does not exist, or exceeds a limit.
    pub(crate) fn render(&self, name: &str, values: &Value) -> Result<String, TemplateError> {
        let template =
            self.environment.get_template(name).map_err(|error| template_error(name, &error))?;
        let mut output = Limited::default();
        template.render_captured_to(Serde(values), &mut output).map_err(|error| {
            match output.is_full {
                true => TemplateError(format!(
                    "the template {name} renders more than {OUTPUT_LIMIT_BYTES} bytes"
                )),
                false => template_error(name, &error),
            }
        })?;
        String::from_utf8(output.bytes).map_err(|_| {
            TemplateError(format!("the template {name} renders text that is not UTF-8"))
        })
    }
}

/// The values that templates use: `event`, the CloudEvent, and its `data`. Fields that this event lacks are null.
pub(crate) fn values_of(event: &Event, names: Names) -> Value {
    let mut cloud_event = event.to_cloud_event(names);
    let Some(Value::Object(data)) = cloud_event.get_mut("data") else { return Value::Null };
    for field in OPTIONAL_FIELDS {
        data.entry(field).or_insert(Value::Null);
    }
    let data = Value::Object(data.clone());
    let values = [("event".to_owned(), cloud_event), ("data".to_owned(), data)];
    Value::Object(Map::from_iter(values))
}

/// Without the error's source, which may contain values.
fn template_error(name: &str, error: &minijinja::Error) -> TemplateError {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    TemplateError(format!("the template {name} is faulty{line}: {}{detail}", error.kind()))
}

/// Output up to [`OUTPUT_LIMIT_BYTES`].
#[derive(Default)]
struct Limited {
    bytes: Vec<u8>,
    is_full: bool,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_LIMIT_BYTES {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use tara_export_events::{EventType, testing::sample};

    use super::*;
    use crate::samples::samples;

    fn render(name: &str, text: &str) -> Result<String, String> {
        let mut templates = Templates::new();
        templates.add(name, text.to_owned()).map_err(|error| error.to_string())?;
        let values = values_of(&sample(EventType::Failed, 1), Names::Included);
        templates.render(name, &values).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_those_of_the_event_and_its_data() {
        let text = "{{ event.type }} {{ data.state }} {{ data.document_name }}";
        assert_eq!(render("a.txt", text).unwrap(), "tara.export.v1.failed FAILED Report.docx");
    }

    #[test]
    fn values_are_escaped_by_the_end_of_the_name() {
        let text = "{{ '<b>\"' }}";
        assert_eq!(render("a.txt", text).unwrap(), "<b>\"");
        assert_eq!(render("a.html", text).unwrap(), "&lt;b&gt;&quot;");
        assert_eq!(render("a.json", text).unwrap(), r#""<b>\"""#);
        assert_eq!(render("a.json", "{{ data.location }}").unwrap(), "null");
    }

    #[test]
    fn unknown_names_and_syntax_are_errors_with_their_line() {
        for text in ["\n{{ data.documentname }}", "\n{{ data.state", "\n{% include 'b.txt' %}"] {
            let error = render("a.txt", text).unwrap_err();
            assert!(error.starts_with("the template a.txt is faulty in line 2: "), "{error}");
            assert!(!error.contains("Report"), "{error}");
        }
    }

    #[test]
    fn templates_that_loop_or_grow_are_ended() {
        for text in [
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "{% set ns = namespace(text='aaaaaaaa') %}{% for i in range(90) %}{% set ns.text = ns.text ~ ns.text %}{% endfor %}",
            "{% set text %}{% for i in range(99999) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}{% endset %}",
            "{{ 'a' * 999999999 }}",
            "{% for i in range(9999) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}",
        ] {
            let Err(error) = render("a.txt", text) else { panic!("{text}") };
            assert!(error.len() < 300, "{error}");
        }
    }

    #[test]
    fn every_field_of_data_exists_for_every_event() {
        let mut fields: Vec<Vec<String>> = samples()
            .iter()
            .flat_map(|event| [values_of(event, Names::Included), values_of(event, Names::Omitted)])
            .map(|values| values["data"].as_object().unwrap().keys().cloned().collect())
            .collect();
        fields.dedup();
        assert_eq!(fields.len(), 1, "{fields:?}");
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let source = TemplateSource::new(folder.path());
        for name in [
            "",
            ".",
            "..",
            "../a",
            "a/../b",
            "/etc/passwd",
            "a..b",
            ".a",
            "a\0",
            "é",
            &"a".repeat(65),
        ] {
            assert!(source.read(name).is_err(), "{name}");
        }
        assert_eq!(source.read("failed.en.txt"), Ok(None));
    }

    #[test]
    fn files_are_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let source = TemplateSource::new(folder.path());
        std::fs::write(folder.path().join("a.txt"), "text").unwrap();
        assert_eq!(source.read("a.txt"), Ok(Some("text".to_owned())));
        std::fs::write(folder.path().join("large.txt"), "a".repeat(64 * 1024 + 1)).unwrap();
        std::fs::write(folder.path().join("binary.txt"), [0xff]).unwrap();
        std::fs::create_dir(folder.path().join("folder.txt")).unwrap();
        for (name, expected) in [
            ("large.txt", "more than 65536 bytes"),
            ("binary.txt", "not UTF-8"),
            ("folder.txt", "not a file"),
        ] {
            let error = source.read(name).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(name), "{error}");
        }
    }
}
