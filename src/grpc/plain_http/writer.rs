//! Writes a message while its JSON text is parsed.

use std::fmt;

use prost_reflect::FieldDescriptor;

use super::wire::{self, WireType};

/// The deepest nesting of objects and lists. Free fields have a lower limit of their own.
pub(in crate::grpc) const DEPTH_LIMIT: usize = 64;
/// The longest name or key of a text that an error repeats.
const SHOWN_CHARS: usize = 80;

/// The start of a name or key in an error.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A part of a field's path.
#[derive(Debug)]
pub(super) enum Step {
    Name(FieldDescriptor),
    Index(usize),
    Key(String),
}

/// The message that is being written.
pub(super) struct Writer {
    output: Vec<u8>,
    limit: usize,
    /// Where the parser is. After an error it is where the error is.
    pub(super) path: Vec<Step>,
    depth: usize,
    is_too_large: bool,
}

impl Writer {
    /// A writer of a message of at most `limit` bytes, whose text has this size.
    pub(super) fn new(text_bytes: usize, limit: usize) -> Self {
        let output = Vec::with_capacity(text_bytes.min(limit));
        Self { output, limit, path: Vec::new(), depth: 0, is_too_large: false }
    }

    /// The message.
    pub(super) fn into_message(mut self) -> Vec<u8> {
        self.output.shrink_to_fit();
        self.output
    }

    /// Whether it failed because the message is larger than the limit.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// The bytes that are written.
    pub(super) fn length(&self) -> usize {
        self.output.len()
    }

    /// The path as text.
    pub(super) fn path_text(&self) -> String {
        use fmt::Write as _;

        let mut text = String::new();
        for step in &self.path {
            let separator = if text.is_empty() { "" } else { "." };
            // A String accepts every text.
            let _ = match step {
                Step::Name(field) => write!(text, "{separator}{}", field.name()),
                Step::Index(index) => write!(text, "[{index}]"),
                Step::Key(key) => write!(text, "{separator}{key}"),
            };
        }
        text
    }

    /// Appends bytes.
    pub(super) fn put<E: serde::de::Error>(&mut self, bytes: &[u8]) -> Result<(), E> {
        if self.limit - self.output.len() < bytes.len() {
            self.is_too_large = true;
            return Err(E::custom("the message is too large"));
        }
        if self.output.capacity() - self.output.len() < bytes.len() {
            // All of the limit is reserved.
            self.output.reserve_exact(self.limit - self.output.len());
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends a varint.
    pub(super) fn put_varint<E: serde::de::Error>(&mut self, value: u64) -> Result<(), E> {
        let mut buffer = [0; wire::VARINT_BYTES];
        let length = wire::encode_varint(value, &mut buffer);
        self.put(&buffer[..length])
    }

    /// Appends the key of a field.
    pub(super) fn put_tag<E: serde::de::Error>(
        &mut self,
        number: u32,
        wire_type: WireType,
    ) -> Result<(), E> {
        self.put_varint(wire::tag(number, wire_type))
    }

    /// Appends a field with a length, whose content the function appends.
    pub(super) fn delimited<E: serde::de::Error>(
        &mut self,
        number: u32,
        content: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.optional_delimited(number, |writer| content(writer).map(|()| true)).map(drop)
    }

    /// The same, without the field if the function returns `false`.
    pub(super) fn optional_delimited<E: serde::de::Error>(
        &mut self,
        number: u32,
        content: impl FnOnce(&mut Self) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let field_start = self.output.len();
        self.put_tag(number, WireType::Delimited)?;
        let start = self.output.len();
        // Most lengths need one byte. The content of the others moves.
        self.put(&[0])?;
        if !content(self)? {
            self.output.truncate(field_start);
            return Ok(false);
        }
        let length = self.output.len() - start - 1;
        let mut buffer = [0; wire::VARINT_BYTES];
        let length_bytes = wire::encode_varint(length as u64, &mut buffer);
        if length_bytes > 1 {
            self.put(&buffer[..length_bytes - 1])?;
            let end = self.output.len() - (length_bytes - 1);
            self.output.copy_within(start + 1..end, start + length_bytes);
        }
        self.output[start..start + length_bytes].copy_from_slice(&buffer[..length_bytes]);
        Ok(true)
    }

    /// Enters an object or a list.
    pub(super) fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_LIMIT} levels")));
        }
        Ok(())
    }

    /// Leaves it.
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}
