//! The fields of objects: each is taken once, with its type and range.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value};
use tara_export_disk::small_file;

use super::{Faults, Name, json};

/// Maximum length of a value in a message.
const SHOWN_BYTES: usize = 80;

/// The fields of one object. Every field is taken once; [`Self::end`] reports the others.
#[derive(Debug)]
pub struct Fields {
    path: String,
    fields: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// The object that is the whole text.
    pub fn of_text(text: &str, faults: &mut Faults) -> Option<Self> {
        match json::parse(text) {
            Ok(Value::Object(fields)) => {
                Some(Self { path: String::new(), fields, known: Vec::new() })
            }
            Ok(other) => {
                faults.add("", format!("the file must be an object, not {}", shown(&other)));
                None
            }
            Err(error) => {
                faults.add("", format!("the file is not JSON: {error}"));
                None
            }
        }
    }

    /// The path of a field.
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a field. `None` if it is missing or null.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.has(name);
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// Whether a field exists and is not null. It is allowed from now on.
    pub fn has(&mut self, name: &'static str) -> bool {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// Takes a text.
    pub fn text(&mut self, name: &'static str, faults: &mut Faults) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                faults.add(self.path_of(name), format!("must be a text, not {}", shown(&other)));
                None
            }
        }
    }

    /// Takes a text that must exist.
    pub fn required_text(&mut self, name: &'static str, faults: &mut Faults) -> Option<String> {
        if !self.has(name) {
            faults.add(self.path_of(name), "is missing");
        }
        self.text(name, faults).filter(|text| {
            let is_empty = text.is_empty();
            if is_empty {
                faults.add(self.path_of(name), "must not be empty");
            }
            !is_empty
        })
    }

    /// Takes a name that must exist.
    pub fn name(&mut self, name: &'static str, faults: &mut Faults) -> Option<Name> {
        let text = self.required_text(name, faults)?;
        let found = Name::new(&text);
        if found.is_none() {
            let message = format!("must be {}, not {}", Name::RULE, quoted(&text));
            faults.add(self.path_of(name), message);
        }
        found
    }

    /// Takes a list of texts. `None` if it is missing or has a fault.
    pub fn texts(
        &mut self,
        name: &'static str,
        limit: usize,
        faults: &mut Faults,
    ) -> Option<Vec<String>> {
        let path = self.path_of(name);
        let values = match self.take(name)? {
            Value::Array(values) => values,
            other => {
                faults.add(path, format!("must be a list of texts, not {}", shown(&other)));
                return None;
            }
        };
        if values.len() > limit {
            faults
                .add(&path, format!("has {} elements; at most {limit} are allowed", values.len()));
            return None;
        }
        let (mut texts, count) = (Vec::new(), values.len());
        for (number, value) in values.into_iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text),
                other => {
                    let message = format!("must be a text, not {}", shown(&other));
                    faults.add(format!("{path}[{number}]"), message);
                }
            }
        }
        (texts.len() == count).then_some(texts)
    }

    /// Takes `true` or `false`.
    pub fn flag(&mut self, name: &'static str, default: bool, faults: &mut Faults) -> bool {
        match self.take(name) {
            None => default,
            Some(Value::Bool(flag)) => flag,
            Some(other) => {
                let message = format!("must be true or false, not {}", shown(&other));
                faults.add(self.path_of(name), message);
                default
            }
        }
    }

    /// Takes a whole number within a range.
    pub fn number(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
        faults: &mut Faults,
    ) -> Option<u64> {
        let value = self.take(name)?;
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            let message =
                format!("must be a whole number from {from} to {to}, not {}", shown(&value));
            faults.add(self.path_of(name), message);
        }
        number
    }

    /// Takes a duration in words, such as `1m`, within a range.
    pub fn duration(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<Duration>,
        faults: &mut Faults,
    ) -> Option<Duration> {
        let text = self.text(name, faults)?;
        let duration = humantime::parse_duration(&text).ok().filter(|found| range.contains(found));
        if duration.is_none() {
            let (from, to) = (*range.start(), *range.end());
            let message = format!(
                "must be a duration from {} to {}, such as 1m, not {}",
                humantime::format_duration(from),
                humantime::format_duration(to),
                quoted(&text)
            );
            faults.add(self.path_of(name), message);
        }
        duration
    }

    /// Takes the path of a file; relative ones start from this folder.
    pub fn file(
        &mut self,
        name: &'static str,
        folder: &Path,
        faults: &mut Faults,
    ) -> Option<PathBuf> {
        let path = folder.join(self.text(name, faults)?);
        faults.name_file(path.clone());
        Some(path)
    }

    /// Takes the path of a file, and reads its text without the line break at its end.
    pub fn file_text(
        &mut self,
        name: &'static str,
        limit_bytes: u64,
        folder: &Path,
        faults: &mut Faults,
    ) -> Option<String> {
        let file = self.file(name, folder, faults)?;
        read_text(&file, limit_bytes)
            .map_err(|message| faults.add(self.path_of(name), message))
            .ok()
    }

    /// Takes a list of 1 to `limit` paths, and reads the files as [`Self::file_text`] does. A file that cannot be read
    /// is `None`.
    pub fn file_texts(
        &mut self,
        name: &'static str,
        limit: usize,
        limit_bytes: u64,
        folder: &Path,
        faults: &mut Faults,
    ) -> Option<Vec<Option<String>>> {
        let path = self.path_of(name);
        let files = self.texts(name, limit, faults)?;
        if files.is_empty() {
            faults.add(&path, format!("must have 1 to {limit} elements"));
            return None;
        }
        let texts = files.iter().enumerate().map(|(number, file)| {
            let file = folder.join(file);
            faults.name_file(file.clone());
            read_text(&file, limit_bytes)
                .map_err(|message| faults.add(format!("{path}[{number}]"), message))
                .ok()
        });
        Some(texts.collect())
    }

    /// Takes a list of objects.
    pub fn objects(&mut self, name: &'static str, limit: usize, faults: &mut Faults) -> Vec<Self> {
        let path = self.path_of(name);
        let values = match self.take(name) {
            Some(Value::Array(values)) => values,
            None => {
                faults.add(path, "is missing: it is a list of objects");
                return Vec::new();
            }
            Some(other) => {
                faults.add(path, format!("must be a list of objects, not {}", shown(&other)));
                return Vec::new();
            }
        };
        if values.len() > limit {
            faults.add(path, format!("has {} elements; at most {limit} are allowed", values.len()));
            return Vec::new();
        }
        let mut objects = Vec::new();
        for (number, value) in values.into_iter().enumerate() {
            let path = format!("{path}[{number}]");
            match value {
                Value::Object(fields) => objects.push(Self { path, fields, known: Vec::new() }),
                other => faults.add(path, format!("must be an object, not {}", shown(&other))),
            }
        }
        objects
    }

    /// Reports the fields that are not allowed.
    pub fn end(self, faults: &mut Faults) {
        let is_known = |name: &str| self.known.contains(&name);
        for name in self.fields.keys().filter(|name| !is_known(name)) {
            let message = format!("is unknown; allowed are {}", self.known.join(", "));
            faults.add(self.path_of(&cut(name)), message);
        }
    }
}

/// The text of a small file without the line break at its end. The error names the file only if it exists: what is
/// given as a path by mistake may be a secret.
fn read_text(path: &Path, limit_bytes: u64) -> Result<String, String> {
    let unreadable = |error: &dyn fmt::Display| format!("cannot read {}: {error}", path.display());
    // A named pipe would block forever.
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(unreadable(&"it is not a file")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(
                "the file, or a folder of its path, cannot be opened: permission denied".to_owned()
            );
        }
        Err(_) => {
            let message = "must be the path of a file, absolute or relative to the folder of this one; there is no \
                           such file";
            return Err(message.to_owned());
        }
    }
    let bytes = small_file::read(path, limit_bytes).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable(&"it is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text.is_empty() {
        true => Err(unreadable(&"it is empty")),
        false => Ok(text.to_owned()),
    }
}

/// A value as it is shown in a message: shortened, and without what could be a secret.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        // It is at a place for another type: a URL, a password or a key by mistake.
        Value::String(_) => "a text".to_owned(),
        other => cut(&other.to_string()),
    }
}

/// A text in a message, shortened and quoted.
pub fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

/// A text in a message, shortened.
fn cut(text: &str) -> String {
    match text.len() <= SHOWN_BYTES {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(SHOWN_BYTES)]),
    }
}
