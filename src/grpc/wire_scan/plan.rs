//! The scan's information on each message type, built once from the descriptors.

use std::{collections::HashMap, sync::LazyLock};

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use super::limits::{Cost, CountLimit, rules};
use crate::proto::FILE_DESCRIPTOR_SET;

/// The most fields of one message type.
pub(super) const FIELDS_LIMIT: usize = 32;

/// Every message type of the API.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) messages: Vec<MessagePlan>,
}

/// A message type.
#[derive(Debug)]
pub(super) struct MessagePlan {
    pub(super) full_name: String,
    /// Upper bound of the size of its struct.
    pub(super) size_bytes: u64,
    pub(super) fields: Vec<FieldPlan>,
    pub(super) role: Role,
}

/// The role of a message type in free fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A JSON value.
    FreeValue,
    /// A list or an object of JSON values.
    FreeContainer,
    /// A key and a value.
    MapEntry,
    Other,
}

/// A field of a message type.
#[derive(Debug)]
pub(super) struct FieldPlan {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) kind: FieldKind,
    pub(super) is_repeated: bool,
    pub(super) limit: Option<CountLimit>,
    pub(super) cost: Cost,
    /// The index of its count over the whole request.
    pub(super) counter: usize,
}

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    Varint,
    Fixed32,
    Fixed64,
    Text,
    /// Shares the message's buffer.
    Bytes,
    /// A message, by its index in the plan.
    Message(usize),
    /// Entries of an ordered map.
    Map(usize),
}

/// The plan for this API.
pub(super) static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    // Cannot fail: tests build the same plan from the same compiled descriptors.
    #[allow(clippy::expect_used, reason = "the descriptors are compiled in")]
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the compiled descriptors");
    Plan::new(&pool)
});

impl Plan {
    fn new(pool: &DescriptorPool) -> Self {
        let descriptors: Vec<MessageDescriptor> = pool.all_messages().collect();
        let indexes: HashMap<String, usize> = descriptors
            .iter()
            .enumerate()
            .map(|(index, message)| (message.full_name().to_owned(), index))
            .collect();
        let mut next_counter = 0;
        let messages = descriptors.iter().map(|message| {
            let fields = message.fields().take(FIELDS_LIMIT).map(|field| {
                next_counter += 1;
                FieldPlan::new(&field, &indexes, next_counter - 1)
            });
            MessagePlan {
                fields: fields.collect(),
                size_bytes: struct_bytes(message, 0),
                role: Role::of(message),
                full_name: message.full_name().to_owned(),
            }
        });
        Self { messages: messages.collect() }
    }

    /// The index of a message type.
    pub(super) fn index_of(&self, full_name: &str) -> Option<usize> {
        self.messages.iter().position(|message| message.full_name == full_name)
    }

    /// The number of all fields.
    pub(super) fn field_count(&self) -> usize {
        self.messages.iter().map(|message| message.fields.len()).sum()
    }
}

impl MessagePlan {
    /// The field with this number, and its index.
    pub(super) fn field(&self, number: u32) -> Option<(usize, &FieldPlan)> {
        self.fields.iter().enumerate().find(|(_, field)| field.number == number)
    }
}

impl Role {
    fn of(message: &MessageDescriptor) -> Self {
        match message.full_name() {
            "google.protobuf.Value" => Self::FreeValue,
            "google.protobuf.Struct" | "google.protobuf.ListValue" => Self::FreeContainer,
            _ if message.is_map_entry() => Self::MapEntry,
            _ => Self::Other,
        }
    }
}

impl FieldPlan {
    fn new(field: &FieldDescriptor, indexes: &HashMap<String, usize>, counter: usize) -> Self {
        let index_of = |message: &MessageDescriptor| indexes.get(message.full_name()).copied();
        let kind = match field.kind() {
            Kind::Message(message) if field.is_map() => {
                FieldKind::Map(index_of(&message).unwrap_or_default())
            }
            Kind::Message(message) => FieldKind::Message(index_of(&message).unwrap_or_default()),
            Kind::String => FieldKind::Text,
            Kind::Bytes => FieldKind::Bytes,
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FieldKind::Fixed64,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FieldKind::Fixed32,
            Kind::Int32
            | Kind::Int64
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Bool
            | Kind::Enum(_) => FieldKind::Varint,
        };
        let (limit, cost) = rules(field.full_name());
        Self {
            number: field.number(),
            name: field.name().to_owned(),
            kind,
            is_repeated: field.cardinality() == Cardinality::Repeated,
            limit,
            cost,
            counter,
        }
    }
}

/// The size of a repeated field or a text in a struct.
const VEC_BYTES: u64 = 24;
/// The size of a `Bytes` in a struct.
const BYTES_BYTES: u64 = 32;
/// The depth of nested structs; recursive messages are boxed.
const STRUCT_DEPTH_LIMIT: u32 = 16;

/// Upper bound of the size of a message's generated struct.
fn struct_bytes(message: &MessageDescriptor, depth: u32) -> u64 {
    if depth > STRUCT_DEPTH_LIMIT {
        return 8;
    }
    let field_bytes = |field: &FieldDescriptor| match field.kind() {
        _ if field.is_list() || field.is_map() => VEC_BYTES,
        // With a tag.
        Kind::Message(inner) => struct_bytes(&inner, depth + 1) + 8,
        Kind::String => VEC_BYTES,
        Kind::Bytes => BYTES_BYTES,
        _ if field.supports_presence() => 16,
        _ => 8,
    };
    let outside_of_oneofs =
        |field: &FieldDescriptor| field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic());
    let plain: u64 =
        message.fields().filter(outside_of_oneofs).map(|field| field_bytes(&field)).sum();
    // A oneof has one of its members, and a tag.
    let oneofs = message.oneofs().filter(|oneof| !oneof.is_synthetic());
    let largest = |oneof: prost_reflect::OneofDescriptor| {
        oneof.fields().map(|field| field_bytes(&field)).max().unwrap_or_default() + 8
    };
    plain + oneofs.map(largest).sum::<u64>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tara_export_bundle as bundle;

    use super::*;
    use crate::proto;

    #[test]
    fn every_type_and_field_is_in_the_plan() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        for message in pool.all_messages() {
            let planned = &PLAN.messages[PLAN.index_of(message.full_name()).unwrap()];
            let count = message.fields().len();
            assert!(count <= FIELDS_LIMIT, "{}: raise FIELDS_LIMIT", message.full_name());
            assert_eq!(planned.fields.len(), count);
        }
    }

    #[test]
    fn every_list_of_a_review_has_a_limit() {
        for message in &PLAN.messages {
            let is_of_requests =
                ["Review", "FeedbackSection", "FeedbackItem", "StartExportRequest"]
                    .iter()
                    .any(|name| message.full_name == format!("tara.export.v1.{name}"));
            for field in message.fields.iter().filter(|field| field.is_repeated && is_of_requests) {
                assert!(field.limit.is_some(), "{}.{}", message.full_name, field.name);
            }
        }
    }

    #[test]
    fn every_field_of_a_review_has_a_cost() {
        for name in ["Review", "FeedbackSection", "FeedbackItem"] {
            let message = &PLAN.messages[PLAN.index_of(&format!("tara.export.v1.{name}")).unwrap()];
            for field in &message.fields {
                // The values of free fields have their own cost.
                let is_free =
                    matches!(field.name.as_str(), "additional_fields" | "performance_metrics");
                let cost = field.cost;
                assert!(is_free || cost.each + cost.escaped > 0, "{name}.{}", field.name);
            }
        }
    }

    #[test]
    fn structs_are_not_larger_than_planned() {
        let check = |name: &str, proto: usize, domain: usize| {
            let planned = PLAN.messages[PLAN.index_of(name).unwrap()].size_bytes;
            assert!(planned >= proto as u64, "{name}: {planned} < {proto}");
            assert!(planned >= domain as u64, "{name}: {planned} < {domain} in the domain");
            assert!(planned <= 2 * proto as u64, "{name}: {planned} is far above {proto}");
        };
        check("tara.export.v1.Review", size_of::<proto::Review>(), size_of::<bundle::Review>());
        check(
            "tara.export.v1.FeedbackSection",
            size_of::<proto::FeedbackSection>(),
            size_of::<bundle::FeedbackSection>(),
        );
        check(
            "tara.export.v1.FeedbackItem",
            size_of::<proto::FeedbackItem>(),
            size_of::<bundle::FeedbackItem>(),
        );
        check(
            "google.protobuf.Struct",
            size_of::<prost_types::Struct>(),
            size_of::<bundle::JsonObject>(),
        );
        check("google.protobuf.Value", size_of::<prost_types::Value>(), size_of::<bundle::Json>());
        check("tara.export.v1.Document", size_of::<proto::Document>(), 0);
    }
}
