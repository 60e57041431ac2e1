//! JSON schemas of messages and enums, with their comments as descriptions.

use std::collections::{BTreeMap, HashMap};

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
};
use serde_json::{Map, Value, json};

use super::well_known::{WellKnown, well_known};

/// The comments of all files, by file and path.
#[derive(Debug, Default)]
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let mut comments = HashMap::new();
        for file in pool.files() {
            let Some(info) = &file.file_descriptor_proto().source_code_info else { continue };
            for location in &info.location {
                if let Some(comment) = &location.leading_comments {
                    comments.insert((file.name().to_owned(), location.path.clone()), text(comment));
                }
            }
        }
        Self(comments)
    }

    /// The comment of the descriptor at this path. Empty if there is none.
    pub(super) fn at(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        let comment = self.0.get(&(file.name().to_owned(), path.to_vec()));
        comment.map(String::as_str).unwrap_or_default()
    }
}

/// A comment as one paragraph, without instructions to tools.
fn text(comment: &str) -> String {
    let lines = comment.lines().map(str::trim).filter(|line| !line.starts_with("buf:lint:"));
    let paragraphs: Vec<String> = lines
        .collect::<Vec<_>>()
        .split(|line| line.is_empty())
        .map(|lines| lines.join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .collect();
    paragraphs.join("\n\n")
}

/// Collects the schemas of types that refer to each other.
pub(super) struct Schemas<'a> {
    comments: &'a Comments,
    schemas: BTreeMap<String, Value>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(comments: &'a Comments) -> Self {
        Self { comments, schemas: BTreeMap::new() }
    }

    /// All schemas, by their names.
    pub(super) fn into_map(self) -> Map<String, Value> {
        self.schemas.into_iter().collect()
    }

    /// Adds the schema of a message and of all types that it uses. Returns a reference to it.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Value {
        match well_known(message) {
            WellKnown::None => {}
            WellKnown::Struct => return json!({"type": "object", "additionalProperties": true}),
            WellKnown::List => return json!({"type": "array", "items": {}}),
            WellKnown::Value | WellKnown::Other => return json!({}),
            WellKnown::Text if message.name() == "Timestamp" => {
                return json!({"type": "string", "format": "date-time"});
            }
            WellKnown::Text => {
                let pattern = "^-?[0-9]+(\\.[0-9]{1,9})?s$";
                return json!({"type": "string", "pattern": pattern, "examples": ["1.5s"]});
            }
            WellKnown::Wrapper => {
                return message
                    .get_field(1)
                    .map_or_else(|| json!({}), |field| self.kind(&field.kind()));
            }
        }
        let name = message.full_name().to_owned();
        if !self.schemas.contains_key(&name) {
            // A type can contain itself.
            self.schemas.insert(name.clone(), Value::Null);
            let mut properties = Map::new();
            for field in message.fields() {
                properties.insert(field.json_name().to_owned(), self.field(&field));
            }
            let mut description =
                self.comments.at(&message.parent_file(), message.path()).to_owned();
            for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
                let names: Vec<String> =
                    oneof.fields().map(|field| format!("`{}`", field.json_name())).collect();
                description.push_str(&format!("\n\nAt most one of {}.", names.join(", ")));
            }
            let schema = json!({
                "type": "object",
                "description": description.trim(),
                "properties": properties,
                "additionalProperties": false,
            });
            self.schemas.insert(name.clone(), schema);
        }
        reference(&name)
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let values = self.kind(&entry.map_entry_value_field().kind());
            json!({"type": "object", "additionalProperties": values})
        } else if field.is_list() {
            json!({"type": "array", "items": self.kind(&field.kind())})
        } else {
            self.kind(&field.kind())
        };
        let comment = self.comments.at(&field.parent_file(), field.path());
        if let (Value::Object(schema), false) = (&mut schema, comment.is_empty()) {
            schema.insert("description".to_owned(), comment.into());
        }
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "format": "uint32", "minimum": 0})
            }
            // Responses have texts, because many readers have only doubles.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": ["string", "integer"], "format": "int64"})
            }
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Message(message) => self.message(message),
            Kind::Enum(enumeration) => self.enumeration(enumeration),
        }
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptor) -> Value {
        let name = enumeration.full_name().to_owned();
        if !self.schemas.contains_key(&name) {
            let file = enumeration.parent_file();
            let values: Vec<String> =
                enumeration.values().map(|value| value.name().to_owned()).collect();
            let lines: Vec<String> = enumeration
                .values()
                .map(|value| {
                    format!("- `{}`: {}", value.name(), self.comments.at(&file, value.path()))
                })
                .collect();
            let comment = self.comments.at(&file, enumeration.path());
            let description = format!("{comment}\n\n{}", lines.join("\n"));
            let schema = json!({"type": "string", "enum": values, "description": description});
            self.schemas.insert(name.clone(), schema);
        }
        reference(&name)
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
