//! Scans the wire format of a message before it is decoded: counts its elements, and estimates the memory that it
//! needs.
//!
//! The scan does not allocate in proportion to the message. It follows the decoder (prost): repeated occurrences of a
//! field are merged, lists can be packed, and unknown fields are skipped. The scan does not refuse messages that the
//! decoder accepts and that are within the limits.

mod batch;
mod limits;
mod plan;
mod wire;

use std::fmt;

pub(super) use self::{
    batch::{BATCH_REQUEST, BATCH_REQUESTS, BatchScan, REQUEST, scan_batch},
    limits::DEPTH as DEPTH_LIMIT,
};
use self::{
    limits::{Cost, Counter, DEPTH, FREE_VALUES, KEYS, TEXT_BYTES},
    plan::{FIELDS_LIMIT, FieldKind, FieldPlan, PLAN, Plan, Role},
    wire::{Malformed, Reader, Value},
};

/// The constant memory of an export: the run, its events, the fixed lines of reports.
const CONSTANT_BYTES: u64 = 96 * 1024;
/// The decoder's limit of nested messages.
const RECURSION_LIMIT: usize = 100;
/// The entries of a full node of a `BTreeMap`, and the overhead of a node.
const NODE_ENTRIES: u64 = 11;
const NODE_OVERHEAD_BYTES: u64 = 112;
/// The indentation of free fields in an item and in an entry of a log.
const FREE_INDENT: u64 = 4;
/// The factor of free values that a report counts by their JSON: this text is escaped again, shown in the readable
/// report, and stored in the tables for reports.
const COUNTED_FACTOR: u64 = 12;
/// The factor of ids, which a preview compares.
const ID_FACTOR: u64 = 6;

/// The result of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Scan {
    /// Upper bound of the memory of the decoded and the converted message together.
    pub(super) decoded_bytes: u64,
    /// Upper bound of the memory of the files, encodings and tables that are rendered.
    pub(super) rendered_bytes: u64,
    /// Items in all lists.
    pub(super) items: u64,
    /// Keys of objects and elements of lists in free fields.
    pub(super) free_values: u64,
}

/// A message that must not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScanError {
    /// The bytes are not a message of this type.
    Malformed,
    /// A field exceeds its limit.
    Limit {
        /// The field, as in the proto.
        field: String,
        /// Names the limit.
        description: String,
    },
}

impl From<Malformed> for ScanError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Scans a message of the type with this full name.
pub(super) fn scan(full_name: &str, message: &[u8]) -> Result<Scan, ScanError> {
    let plan = &*PLAN;
    let message_index = plan.index_of(full_name).ok_or(ScanError::Malformed)?;
    let mut scanner = Scanner {
        plan,
        counts: vec![0; plan.field_count()],
        scan: Scan { decoded_bytes: CONSTANT_BYTES, ..Scan::default() },
        path: Vec::with_capacity(RECURSION_LIMIT),
        depth: 0,
        free_depth: 0,
        free_factor: 1,
        is_suggestion: false,
    };
    scanner.message(message_index, message, 0)?;
    Ok(scanner.scan)
}

struct Scanner<'a> {
    plan: &'a Plan,
    /// Elements of each repeated field in the whole message.
    counts: Vec<u64>,
    scan: Scan,
    path: Vec<Step<'a>>,
    /// The depth of the current message.
    depth: usize,
    /// The depth of the current value in a free field.
    free_depth: usize,
    /// The cost factor of the current free value.
    free_factor: u64,
    /// Whether the current message is in `Review.suggestions`.
    is_suggestion: bool,
}

/// A part of a field's path.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(u64),
    Key(&'a [u8]),
}

impl<'a> Scanner<'a> {
    /// Scans one occurrence of a message. `previous` is the number of elements in previous occurrences, which the
    /// decoder merges. Returns the total number of elements.
    fn message(
        &mut self,
        message_index: usize,
        message: &'a [u8],
        previous: u64,
    ) -> Result<u64, ScanError> {
        self.depth += 1;
        if self.depth > RECURSION_LIMIT {
            return Err(ScanError::Malformed);
        }
        let plan = self.plan;
        let planned = &plan.messages[message_index];
        let mut elements = [0_u64; FIELDS_LIMIT];
        let mut merged = [0_u64; FIELDS_LIMIT];
        let mut count = previous;
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.field()? {
            let Some((index, field)) = planned.field(number) else { continue };
            if field.is_repeated {
                let counted_here = &mut elements[index];
                let added = self.elements(field, value, previous, counted_here)?;
                count += added;
                continue;
            }
            match (field.kind, value) {
                (FieldKind::Message(inner), Value::Delimited(bytes)) => {
                    self.path.push(Step::Name(&field.name));
                    let is_container = plan.messages[inner].role == Role::FreeContainer;
                    merged[index] = self.message(inner, bytes, merged[index])?;
                    self.path.pop();
                    if is_container {
                        self.add_rendered(self.line_bytes());
                    }
                }
                (FieldKind::Text, Value::Delimited(text)) => self.text(field, text)?,
                (FieldKind::Bytes, Value::Delimited(_))
                | (FieldKind::Varint, Value::Varint(_))
                | (FieldKind::Fixed32, Value::Fixed32)
                | (FieldKind::Fixed64, Value::Fixed64) => {
                    self.add_rendered(self.cost_of(field).each);
                }
                _ => return Err(ScanError::Malformed),
            }
        }
        self.depth -= 1;
        Ok(count)
    }

    /// Scans one element or a packed list of a repeated field. Returns the number of elements.
    fn elements(
        &mut self,
        field: &'a FieldPlan,
        value: Value<'a>,
        previous: u64,
        counted_here: &mut u64,
    ) -> Result<u64, ScanError> {
        let (size_bytes, added) = match (field.kind, value) {
            (FieldKind::Message(inner), Value::Delimited(_)) => {
                (self.plan.messages[inner].size_bytes, 1)
            }
            (FieldKind::Map(_), Value::Delimited(_)) => (0, 1),
            (FieldKind::Text, Value::Delimited(_)) => (size_of::<String>() as u64, 1),
            (FieldKind::Bytes, Value::Delimited(_)) => (32, 1),
            (FieldKind::Varint, Value::Varint(_)) | (FieldKind::Fixed64, Value::Fixed64) => (8, 1),
            (FieldKind::Fixed32, Value::Fixed32) => (8, 1),
            (FieldKind::Varint, Value::Delimited(packed)) => (8, count_varints(packed)?),
            (FieldKind::Fixed64, Value::Delimited(packed)) => (8, fixed(packed, 8)?),
            (FieldKind::Fixed32, Value::Delimited(packed)) => (8, fixed(packed, 4)?),
            _ => return Err(ScanError::Malformed),
        };
        if added == 0 {
            return Ok(0);
        }
        let first = *counted_here + previous;
        *counted_here += added;
        let count = *counted_here + previous;
        self.check_count(field, added, count)?;
        // A growing list allocates up to twice the capacity that it needs, and at least four elements.
        self.scan.decoded_bytes += match field.kind {
            FieldKind::Map(entry) => map_bytes(&self.plan.messages[entry].fields, first, self.plan),
            _ => {
                let capacity = match (first, added) {
                    (0, 1) => 4,
                    (1, 1) => 0,
                    _ => 2 * added,
                };
                // Messages exist both decoded and converted; numbers and texts are moved.
                let converted = if matches!(field.kind, FieldKind::Message(_)) { added } else { 0 };
                (capacity + converted) * size_bytes
            }
        };
        self.add_rendered(self.cost_of(field).each * added);
        let Value::Delimited(bytes) = value else { return Ok(added) };
        match field.kind {
            FieldKind::Message(inner) => self.element(field, inner, bytes, first)?,
            FieldKind::Map(entry) => self.entry(entry, bytes)?,
            FieldKind::Text => self.text_bytes(field, bytes, Some(first))?,
            _ => {}
        }
        Ok(added)
    }

    fn check_count(&mut self, field: &FieldPlan, added: u64, count: u64) -> Result<(), ScanError> {
        let is_free = match field.kind {
            FieldKind::Map(_) => true,
            FieldKind::Message(inner) => self.plan.messages[inner].role == Role::FreeValue,
            _ => false,
        };
        if is_free {
            self.scan.free_values += added;
            if self.scan.free_values > FREE_VALUES {
                return Err(self.limit(None, at_most(FREE_VALUES, "values in all free fields")));
            }
            if matches!(field.kind, FieldKind::Map(_)) && count > KEYS {
                return Err(self.limit(None, at_most(KEYS, "keys of one object")));
            }
        }
        let Some(limit) = field.limit else { return Ok(()) };
        let counted = match limit.counter {
            Counter::Items => {
                self.scan.items += added;
                self.scan.items
            }
            Counter::List => count,
            Counter::Field => {
                self.counts[field.counter] += added;
                self.counts[field.counter]
            }
        };
        if counted > limit.max {
            return Err(self.limit(Some(&field.name), at_most(limit.max, limit.noun)));
        }
        Ok(())
    }

    /// Scans one message of a list.
    fn element(
        &mut self,
        field: &'a FieldPlan,
        inner: usize,
        bytes: &'a [u8],
        index: u64,
    ) -> Result<(), ScanError> {
        let is_value = self.plan.messages[inner].role == Role::FreeValue;
        let was_suggestion = self.is_suggestion;
        self.is_suggestion |= field.name == "suggestions";
        if is_value {
            // An element of a list has no name.
            self.path.push(Step::Index(index));
            self.value(inner, bytes)?;
            self.path.pop();
        } else {
            self.path.extend([Step::Name(&field.name), Step::Index(index)]);
            self.message(inner, bytes, 0)?;
            self.path.truncate(self.path.len() - 2);
        }
        self.is_suggestion = was_suggestion;
        Ok(())
    }

    /// Scans an entry of a map.
    fn entry(&mut self, entry: usize, bytes: &'a [u8]) -> Result<(), ScanError> {
        let plan = self.plan;
        let planned = &plan.messages[entry];
        let mut key: &'a [u8] = &[];
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.field()? {
            if let (1, Value::Delimited(bytes)) = (number, value) {
                key = bytes;
            }
        }
        self.path.push(Step::Key(key));
        let outer_factor = self.free_factor;
        if self.free_depth == 0 {
            self.free_factor = match key {
                b"category" | b"risk_level" if self.is_suggestion => COUNTED_FACTOR,
                b"id" => ID_FACTOR,
                _ => 1,
            };
        }
        let mut has_value = false;
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.field()? {
            let Some((_, field)) = planned.field(number) else { continue };
            match (field.kind, value) {
                (FieldKind::Text, Value::Delimited(text)) => self.text_bytes(field, text, None)?,
                (FieldKind::Message(inner), Value::Delimited(bytes)) => {
                    has_value = true;
                    self.value(inner, bytes)?;
                }
                (FieldKind::Text | FieldKind::Message(_), _) => return Err(ScanError::Malformed),
                _ => {}
            }
        }
        if !has_value {
            self.add_rendered(self.line_bytes());
        }
        self.free_factor = outer_factor;
        self.path.pop();
        Ok(())
    }

    /// Scans a JSON value, one level below its container.
    fn value(&mut self, message_index: usize, bytes: &'a [u8]) -> Result<(), ScanError> {
        self.free_depth += 1;
        if self.free_depth > DEPTH {
            return Err(self.limit(None, format!("is nested deeper than {DEPTH} levels")));
        }
        self.add_rendered(self.line_bytes());
        self.message(message_index, bytes, 0)?;
        self.free_depth -= 1;
        Ok(())
    }

    fn text(&mut self, field: &'a FieldPlan, text: &'a [u8]) -> Result<(), ScanError> {
        self.add_rendered(self.cost_of(field).each);
        self.text_bytes(field, text, None)
    }

    fn text_bytes(
        &mut self,
        field: &'a FieldPlan,
        text: &'a [u8],
        index: Option<u64>,
    ) -> Result<(), ScanError> {
        if text.len() > TEXT_BYTES {
            if let Some(index) = index {
                self.path.extend([Step::Name(&field.name), Step::Index(index)]);
            }
            let is_named = index.is_none() && self.free_depth == 0 && field.name != "key";
            let name = is_named.then_some(field.name.as_str());
            let description = format!("must have at most {TEXT_BYTES} bytes, has {}", text.len());
            return Err(self.limit(name, description));
        }
        self.scan.decoded_bytes += heap_bytes(text.len() as u64);
        let cost = self.cost_of(field);
        let mut rendered = cost.copies * text.len() as u64;
        if cost.escaped > 0 || cost.visible > 0 {
            let (escaped, visible) = written_bytes(text);
            rendered += cost.escaped * escaped + cost.visible * visible;
        }
        self.add_rendered(rendered);
        Ok(())
    }

    /// The cost of a field here: only suggestions are counted by category and risk level.
    fn cost_of(&self, field: &FieldPlan) -> Cost {
        if !self.is_suggestion && matches!(field.name.as_str(), "category" | "risk_level") {
            return Cost { each: 96, escaped: 2, visible: 0, copies: 2 };
        }
        field.cost
    }

    fn add_rendered(&mut self, bytes: u64) {
        self.scan.rendered_bytes =
            self.scan.rendered_bytes.saturating_add(bytes.saturating_mul(self.free_factor));
    }

    /// The bytes of a JSON line in addition to its value: line break, indentation, comma, quotes and brackets.
    fn line_bytes(&self) -> u64 {
        2 * (FREE_INDENT + self.free_depth as u64) + 8
    }

    fn limit(&self, name: Option<&str>, description: String) -> ScanError {
        let mut field = String::new();
        let steps = self.path.iter().copied().chain(name.map(Step::Name));
        let mut is_free = false;
        for step in steps {
            match step {
                // Within free fields, names of the wire format are not part of the caller's path.
                Step::Name(name) if is_free && is_value_field(name) => {}
                Step::Name(name) => push(&mut field, name),
                Step::Index(index) => field.push_str(&format!("[{index}]")),
                Step::Key(key) => {
                    is_free = true;
                    push(&mut field, &String::from_utf8_lossy(&key[..key.len().min(256)]));
                }
            }
        }
        ScanError::Limit { field, description }
    }
}

fn push(field: &mut String, name: &str) {
    if !field.is_empty() {
        field.push('.');
    }
    field.push_str(name);
}

fn is_value_field(name: &str) -> bool {
    matches!(name, "list_value" | "struct_value" | "fields" | "values")
}

fn at_most(max: u64, noun: &str) -> String {
    format!("must have at most {max} {noun}")
}

impl fmt::Display for ScanError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => formatter.write_str("malformed message"),
            Self::Limit { field, description } => write!(formatter, "{field}: {description}"),
        }
    }
}

/// The memory of one more entry of an ordered map that has `entries`: the first allocates a node. Maps of more than one
/// node exist both decoded and converted at the same time.
fn map_bytes(entry: &[FieldPlan], entries: u64, plan: &Plan) -> u64 {
    let entry_bytes: u64 = entry
        .iter()
        .map(|field| match field.kind {
            FieldKind::Message(inner) => plan.messages[inner].size_bytes,
            _ => size_of::<String>() as u64,
        })
        .sum();
    let node = NODE_ENTRIES * entry_bytes + NODE_OVERHEAD_BYTES;
    match entries {
        // The entries are in a list during the conversion.
        0 => node + 4 * entry_bytes,
        entries if entries < NODE_ENTRIES => entry_bytes,
        NODE_ENTRIES => 3 * node,
        _ => node / 4 + node / 4,
    }
}

/// The memory of a text on the heap, including the allocator's overhead.
fn heap_bytes(length: u64) -> u64 {
    if length == 0 { 0 } else { (length + 8).next_multiple_of(16).max(32) }
}

fn count_varints(packed: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(packed);
    let mut count = 0;
    while !reader.is_at_end() {
        reader.varint()?;
        count += 1;
    }
    Ok(count)
}

fn fixed(packed: &[u8], size: usize) -> Result<u64, Malformed> {
    if packed.len().is_multiple_of(size) {
        Ok((packed.len() / size) as u64)
    } else {
        Err(Malformed)
    }
}

/// Upper bounds of a text's bytes in JSON and in the readable report.
fn written_bytes(text: &[u8]) -> (u64, u64) {
    let (mut escaped, mut visible) = (2, 2);
    for byte in text {
        (escaped, visible) = match byte {
            0..=0x1f => (escaped + 6, visible + 8),
            b'"' | b'\\' => (escaped + 2, visible + 1),
            0x7f => (escaped + 1, visible + 8),
            // A character that is shown as its code point has at least two bytes, and is shown with up to nine.
            0x80.. => (escaped + 1, visible + 5),
            _ => (escaped + 1, visible + 1),
        };
    }
    (escaped, visible)
}

#[cfg(test)]
#[path = "tests.rs"]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
