//! What a message becomes, read from its wire format before anything is decoded: how many of everything it
//! has, and how much memory it takes.
//!
//! The scan allocates nothing in proportion to the message. It follows the decoder (prost): fields that come
//! again are merged, lists come packed and not, unknown fields are skipped, and what the decoder refuses the
//! scan refuses, too, or leaves to it.

mod limits;
mod plan;
mod wire;

use std::fmt;

pub(super) use self::limits::DEPTH as DEPTH_LIMIT;
use self::{
    limits::{Cost, Counter, DEPTH, FREE_VALUES, KEYS, TEXT_BYTES},
    plan::{FIELDS_LIMIT, FieldKind, FieldPlan, PLAN, Plan, Role},
    wire::{Malformed, Reader, Value},
};

/// What an export takes whatever its content: the run, its events, the fixed lines of reports.
const CONSTANT_BYTES: u64 = 96 * 1024;
/// Messages within messages that the decoder takes.
const RECURSION_LIMIT: usize = 100;
/// Entries of a full node of a `BTreeMap`, and what a node has beside them.
const NODE_ENTRIES: u64 = 11;
const NODE_OVERHEAD_BYTES: u64 = 112;
/// Braces of an item and of an entry of a log, where free fields begin.
const FREE_INDENT: u64 = 4;
/// How often free values are written that a report counts by their JSON: that text is escaped again, shown in
/// the readable report, and kept in the tables that reports are made from.
const COUNTED_FACTOR: u64 = 12;
/// The same of ids, which a preview compares.
const ID_FACTOR: u64 = 6;

/// What a message becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Scan {
    /// Memory of the decoded message and of what it is converted to, both at once, at most.
    pub(super) decoded_bytes: u64,
    /// Memory of the files, encodings and tables made of it, at most.
    pub(super) rendered_bytes: u64,
    /// Items in all lists.
    pub(super) items: u64,
    /// Keys of objects and elements of lists in free fields.
    pub(super) free_values: u64,
}

/// Why a message is not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is no such message.
    Malformed,
    /// A field has more than its limit.
    Limit {
        /// The field, as in the proto.
        field: String,
        /// What is allowed.
        description: String,
    },
}

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Scans a message of the type with this full name.
pub(super) fn scan(full_name: &str, message: &[u8]) -> Result<Scan, Refused> {
    let plan = &*PLAN;
    let place = plan.place(full_name).ok_or(Refused::Malformed)?;
    let mut scanner = Scanner {
        plan,
        counts: vec![0; plan.counters()],
        scan: Scan { decoded_bytes: CONSTANT_BYTES, ..Scan::default() },
        path: Vec::with_capacity(RECURSION_LIMIT),
        depth: 0,
        free_depth: 0,
        free_factor: 1,
        is_suggestion: false,
    };
    scanner.message(place, message, 0)?;
    Ok(scanner.scan)
}

struct Scanner<'a> {
    plan: &'a Plan,
    /// Elements of each repeated field in the whole message.
    counts: Vec<u64>,
    scan: Scan,
    path: Vec<Step<'a>>,
    /// Messages around this one.
    depth: usize,
    /// Levels of a free field around the value.
    free_depth: usize,
    /// How often a free value is written.
    free_factor: u64,
    /// Whether this is within `Review.suggestions`.
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
    /// Scans one message, of which this many elements came before (fields that come again are merged).
    /// Returns how many it has altogether.
    fn message(&mut self, place: usize, message: &'a [u8], before: u64) -> Result<u64, Refused> {
        self.depth += 1;
        if self.depth > RECURSION_LIMIT {
            return Err(Refused::Malformed);
        }
        let plan = self.plan;
        let planned = &plan.messages[place];
        let mut elements = [0_u64; FIELDS_LIMIT];
        let mut merged = [0_u64; FIELDS_LIMIT];
        let mut count = before;
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.field()? {
            let Some((index, field)) = planned.field(number) else { continue };
            if field.is_repeated {
                let within = &mut elements[index];
                let added = self.elements(field, value, before, within)?;
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
                _ => return Err(Refused::Malformed),
            }
        }
        self.depth -= 1;
        Ok(count)
    }

    /// Elements of a repeated field: one, or a packed list of numbers. Returns how many.
    fn elements(
        &mut self,
        field: &'a FieldPlan,
        value: Value<'a>,
        before: u64,
        within: &mut u64,
    ) -> Result<u64, Refused> {
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
            _ => return Err(Refused::Malformed),
        };
        if added == 0 {
            return Ok(0);
        }
        let first = *within + before;
        *within += added;
        let count = *within + before;
        self.check_count(field, added, count)?;
        // A list that grows has up to twice the room that it needs, and room for four at least.
        self.scan.decoded_bytes += match field.kind {
            FieldKind::Map(entry) => map_bytes(&self.plan.messages[entry].fields, first, self.plan),
            _ => {
                let places = match (first, added) {
                    (0, 1) => 4,
                    (1, 1) => 0,
                    _ => 2 * added,
                };
                // Decoded and converted; numbers and texts are moved.
                let converted = if matches!(field.kind, FieldKind::Message(_)) { added } else { 0 };
                (places + converted) * size_bytes
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

    fn check_count(&mut self, field: &FieldPlan, added: u64, count: u64) -> Result<(), Refused> {
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
        if counted > limit.most {
            return Err(self.limit(Some(&field.name), at_most(limit.most, limit.what)));
        }
        Ok(())
    }

    /// One message of a list.
    fn element(
        &mut self,
        field: &'a FieldPlan,
        inner: usize,
        bytes: &'a [u8],
        index: u64,
    ) -> Result<(), Refused> {
        let is_value = self.plan.messages[inner].role == Role::FreeValue;
        let was_suggestion = self.is_suggestion;
        self.is_suggestion |= field.name == "suggestions";
        if is_value {
            // The element of a list has no name of its own.
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

    /// An entry of a map: its key, and its value below the key.
    fn entry(&mut self, entry: usize, bytes: &'a [u8]) -> Result<(), Refused> {
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
                (FieldKind::Text | FieldKind::Message(_), _) => return Err(Refused::Malformed),
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

    /// A JSON value, one level below what contains it.
    fn value(&mut self, place: usize, bytes: &'a [u8]) -> Result<(), Refused> {
        self.free_depth += 1;
        if self.free_depth > DEPTH {
            return Err(self.limit(None, format!("nested deeper than {DEPTH} levels")));
        }
        self.add_rendered(self.line_bytes());
        self.message(place, bytes, 0)?;
        self.free_depth -= 1;
        Ok(())
    }

    fn text(&mut self, field: &'a FieldPlan, text: &'a [u8]) -> Result<(), Refused> {
        self.add_rendered(self.cost_of(field).each);
        self.text_bytes(field, text, None)
    }

    fn text_bytes(
        &mut self,
        field: &'a FieldPlan,
        text: &'a [u8],
        index: Option<u64>,
    ) -> Result<(), Refused> {
        if text.len() > TEXT_BYTES {
            if let Some(index) = index {
                self.path.extend([Step::Name(&field.name), Step::Index(index)]);
            }
            let is_named = index.is_none() && self.free_depth == 0 && field.name != "key";
            let name = is_named.then_some(field.name.as_str());
            let description = format!("at most {TEXT_BYTES} bytes, these are {}", text.len());
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

    /// What a field costs here: only suggestions are counted by category and risk level.
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

    /// A line of JSON without what is on it: break, indent, comma, quotes and brackets.
    fn line_bytes(&self) -> u64 {
        2 * (FREE_INDENT + self.free_depth as u64) + 8
    }

    fn limit(&self, name: Option<&str>, description: String) -> Refused {
        let mut field = String::new();
        let steps = self.path.iter().copied().chain(name.map(Step::Name));
        let mut is_free = false;
        for step in steps {
            match step {
                // Within free fields, the wire's own names are not the caller's.
                Step::Name(name) if is_free && is_of_values(name) => {}
                Step::Name(name) => push(&mut field, name),
                Step::Index(index) => field.push_str(&format!("[{index}]")),
                Step::Key(key) => {
                    is_free = true;
                    push(&mut field, &String::from_utf8_lossy(&key[..key.len().min(256)]));
                }
            }
        }
        Refused::Limit { field, description }
    }
}

fn push(field: &mut String, name: &str) {
    if !field.is_empty() {
        field.push('.');
    }
    field.push_str(name);
}

fn is_of_values(name: &str) -> bool {
    matches!(name, "list_value" | "struct_value" | "fields" | "values")
}

fn at_most(most: u64, what: &str) -> String {
    format!("at most {most} {what}")
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => formatter.write_str("no such message"),
            Self::Limit { field, description } => write!(formatter, "{field}: {description}"),
        }
    }
}

/// What one more entry of an ordered map takes, of which it has this many: the first allocates a node. Maps
/// of more than one node are converted as a whole, so that both are there at once.
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
        // Its entries are in a list while it is converted.
        0 => node + 4 * entry_bytes,
        entries if entries < NODE_ENTRIES => entry_bytes,
        NODE_ENTRIES => 3 * node,
        _ => node / 4 + node / 4,
    }
}

/// A text on the heap, with the allocator's own part.
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

/// Bytes of a text as JSON writes it, and as the readable report shows it, at most.
fn written_bytes(text: &[u8]) -> (u64, u64) {
    let (mut escaped, mut visible) = (2, 2);
    for byte in text {
        (escaped, visible) = match byte {
            0..=0x1f => (escaped + 6, visible + 8),
            b'"' | b'\\' => (escaped + 2, visible + 1),
            0x7f => (escaped + 1, visible + 8),
            // A character that is shown as its code point takes up to nine bytes, and has two at least.
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
