//! Converts a protobuf message into JSON (protobuf's JSON mapping), in pieces.
//!
//! The text of a message can be many times as large as the message. So it is not built at once: each piece is written
//! when the previous one has been taken. The memory is that of the message and of one piece.
//!
//! This service's own messages are converted, which prost encoded: each field's values are adjacent.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{
    values::{
        wire_type_of, write_default, write_key, write_scalar, write_text, write_time, write_unset,
    },
    well_known::{WellKnown, brackets, well_known},
    wire::{Malformed, WireType, decode_tag, decode_varint},
};

/// A piece is at least this long, except the last one.
const PIECE_BYTES: usize = 16 * 1024;
/// How much of a long text is written at once: a multiple of three, for base64.
const TEXT_BYTES: usize = 12 * 1024;
/// The deepest nesting: an object of a free field is three messages.
const DEPTH_LIMIT: usize = 256;

/// The JSON text of a message.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct JsonText {
    message: Bytes,
    /// Everything before it is written.
    position: usize,
    /// The open messages, lists and texts; the innermost is the last.
    open: Vec<Open>,
}

#[derive(Debug, Clone)]
struct Open {
    what: What,
    /// The end of its bytes in the message.
    end: usize,
    /// Whether something was written in it.
    has_content: bool,
    /// The field whose list or map is open.
    list: Option<FieldDescriptor>,
    /// The numbers of the fields that were written.
    written: Vec<u32>,
}

#[derive(Debug, Clone)]
enum What {
    /// An object with the fields of a message.
    Object(MessageDescriptor),
    /// A free value: only the value of its field.
    Value(MessageDescriptor),
    /// A list or an object whose brackets are those of its only field.
    Container(MessageDescriptor),
    /// An entry of a map.
    Entry(MessageDescriptor),
    /// Packed elements of a list.
    Packed(Kind),
    /// A text, or bytes in base64.
    Text { is_base64: bool },
}

impl JsonText {
    /// The text of a message of this type.
    pub(in crate::grpc) fn new(message_type: &MessageDescriptor, message: Bytes) -> Self {
        let end = message.len();
        let root = Open::new(What::of(message_type), end);
        Self { message, position: 0, open: vec![root] }
    }

    /// The length of the text. It is written once and dropped, a piece at a time.
    ///
    /// # Errors
    /// If the bytes are not such a message.
    pub(in crate::grpc) fn length(&self) -> Result<usize, Malformed> {
        let mut text = self.clone();
        let mut length = 0;
        while let Some(piece) = text.next_piece()? {
            length += piece.len();
        }
        Ok(length)
    }

    /// The next piece. `None` after the last one.
    ///
    /// # Errors
    /// If the bytes are not such a message.
    pub(in crate::grpc) fn next_piece(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES && !self.open.is_empty() {
            self.step(&mut piece)?;
        }
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn step(&mut self, output: &mut Vec<u8>) -> Result<(), Malformed> {
        let depth = self.open.len();
        let open = self.open.last_mut().ok_or(Malformed)?;
        if depth > DEPTH_LIMIT || self.position > open.end {
            return Err(Malformed);
        }
        if !open.has_content {
            match &open.what {
                What::Object(_) => output.push(b'{'),
                What::Container(message) => output.push(brackets(message)[0]),
                What::Text { .. } => output.push(b'"'),
                What::Value(_) | What::Entry(_) | What::Packed(_) => {}
            }
            // An empty container has no field that would set it.
            open.has_content = !matches!(open.what, What::Value(_) | What::Entry(_));
            if matches!(open.what, What::Object(_) | What::Container(_) | What::Text { .. }) {
                return Ok(());
            }
        }
        if self.position == open.end {
            return self.close(output);
        }
        match open.what.clone() {
            What::Text { is_base64 } => self.text(is_base64, output),
            What::Packed(kind) => {
                let has_elements = !open.written.is_empty();
                open.written = vec![1];
                if has_elements {
                    output.push(b',');
                }
                let value = self.scalar(wire_type_of(&kind))?;
                write_scalar(output, &kind, value)
            }
            What::Object(message)
            | What::Value(message)
            | What::Container(message)
            | What::Entry(message) => self.field(&message, output),
        }
    }

    /// Closes the innermost one.
    fn close(&mut self, output: &mut Vec<u8>) -> Result<(), Malformed> {
        let open = self.open.pop().ok_or(Malformed)?;
        if let (Some(list), What::Object(_)) = (&open.list, &open.what) {
            output.push(if list.is_map() { b'}' } else { b']' });
        }
        match &open.what {
            What::Object(_) => output.push(b'}'),
            What::Container(message) => output.push(brackets(message)[1]),
            What::Text { .. } => output.push(b'"'),
            What::Value(message) if open.written.is_empty() => write_unset(output, message)?,
            What::Entry(message) => {
                if !open.written.contains(&1) {
                    write_key(output, &message.map_entry_key_field().kind(), 0)?;
                }
                if !open.written.contains(&2) {
                    write_default(output, &message.map_entry_value_field().kind())?;
                }
            }
            What::Value(_) | What::Packed(_) => {}
        }
        Ok(())
    }

    /// Writes the start of the next field.
    fn field(
        &mut self,
        message: &MessageDescriptor,
        output: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let (number, wire_type, length) = decode_tag(&self.message[self.position..])?;
        self.position += length;
        let Some(field) = message.get_field(number) else {
            self.skip(wire_type)?;
            return Ok(());
        };
        let open = self.open.last_mut().ok_or(Malformed)?;
        let is_continued = open.list.as_ref().is_some_and(|list| list.number() == number);
        if !is_continued && open.written.contains(&number) {
            return Err(Malformed);
        }
        match &open.what {
            What::Object(_) => {
                if is_continued {
                    output.push(b',');
                } else {
                    if let Some(list) = open.list.take() {
                        output.push(if list.is_map() { b'}' } else { b']' });
                    }
                    if !open.written.is_empty() {
                        output.push(b',');
                    }
                    write_text(output, field.json_name())?;
                    output.push(b':');
                    if field.is_map() || field.is_list() {
                        output.push(if field.is_map() { b'{' } else { b'[' });
                        open.list = Some(field.clone());
                    }
                }
            }
            What::Container(_) if is_continued => output.push(b','),
            What::Container(_) => open.list = Some(field.clone()),
            What::Value(_) | What::Entry(_) | What::Packed(_) | What::Text { .. } => {}
        }
        let is_key = matches!(open.what, What::Entry(_)) && number == 1;
        let lacks_key = matches!(open.what, What::Entry(_)) && !is_key && open.written.is_empty();
        if !is_continued {
            open.written.push(number);
        }
        if lacks_key {
            // prost omits empty keys.
            open.written.push(1);
            write_key(output, &message.map_entry_key_field().kind(), 0)?;
        }
        self.value(&field, wire_type, is_key, output)
    }

    /// Writes a value, or opens it.
    fn value(
        &mut self,
        field: &FieldDescriptor,
        wire_type: WireType,
        is_key: bool,
        output: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let kind = field.kind();
        if wire_type != WireType::Delimited {
            let value = self.scalar(wire_type)?;
            return if is_key {
                write_key(output, &kind, value)
            } else {
                write_scalar(output, &kind, value)
            };
        }
        let content = self.delimited()?;
        let what = match &kind {
            Kind::String if is_key => {
                let key = self.utf8(content.clone())?;
                write_text(output, key)?;
                output.push(b':');
                self.position = content.end;
                return Ok(());
            }
            Kind::String => What::Text { is_base64: false },
            Kind::Bytes => What::Text { is_base64: true },
            Kind::Message(message) if field.is_map() => What::Entry(message.clone()),
            Kind::Message(message) => match well_known(message) {
                WellKnown::Text => {
                    write_time(output, message, &self.message[content.clone()])?;
                    self.position = content.end;
                    return Ok(());
                }
                _ => What::of(message),
            },
            scalar if field.is_list() => What::Packed(scalar.clone()),
            _ => return Err(Malformed),
        };
        self.open.push(Open::new(what, content.end));
        Ok(())
    }

    /// Writes the next part of a text.
    fn text(&mut self, is_base64: bool, output: &mut Vec<u8>) -> Result<(), Malformed> {
        let end = self.open.last().ok_or(Malformed)?.end;
        let mut part_end = end.min(self.position + TEXT_BYTES);
        if is_base64 {
            let encoded = STANDARD.encode(&self.message[self.position..part_end]);
            output.extend_from_slice(encoded.as_bytes());
        } else {
            // Not within a character.
            while part_end < end && self.message[part_end] & 0xc0 == 0x80 {
                part_end -= 1;
            }
            if part_end == self.position {
                return Err(Malformed);
            }
            let part = self.utf8(self.position..part_end)?;
            let start = output.len();
            write_text(output, part)?;
            // Without its quotes.
            output.pop();
            output.remove(start);
        }
        self.position = part_end;
        Ok(())
    }

    fn utf8(&self, range: Range<usize>) -> Result<&str, Malformed> {
        std::str::from_utf8(&self.message[range]).map_err(|_| Malformed)
    }

    /// Reads the length of a value. Returns where its bytes are.
    fn delimited(&mut self) -> Result<Range<usize>, Malformed> {
        let (length, length_bytes) = decode_varint(&self.message[self.position..])?;
        self.position += length_bytes;
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let end = self.position.checked_add(length).ok_or(Malformed)?;
        let outer = self.open.last().ok_or(Malformed)?.end;
        if end > outer { Err(Malformed) } else { Ok(self.position..end) }
    }

    /// Reads a number.
    fn scalar(&mut self, wire_type: WireType) -> Result<u64, Malformed> {
        let rest = &self.message[self.position..];
        let (value, length) = match wire_type {
            WireType::Varint => decode_varint(rest)?,
            WireType::Fixed64 => {
                (u64::from_le_bytes(*rest.first_chunk().ok_or(Malformed)?), size_of::<u64>())
            }
            WireType::Fixed32 => {
                let value = u32::from_le_bytes(*rest.first_chunk().ok_or(Malformed)?);
                (u64::from(value), size_of::<u32>())
            }
            WireType::Delimited => return Err(Malformed),
        };
        self.position += length;
        Ok(value)
    }

    /// Skips the value of an unknown field.
    fn skip(&mut self, wire_type: WireType) -> Result<(), Malformed> {
        match wire_type {
            WireType::Delimited => self.position = self.delimited()?.end,
            _ => {
                self.scalar(wire_type)?;
            }
        }
        Ok(())
    }
}

impl Open {
    fn new(what: What, end: usize) -> Self {
        Self { what, end, has_content: false, list: None, written: Vec::new() }
    }
}

impl What {
    fn of(message: &MessageDescriptor) -> Self {
        let message_type = message.clone();
        match well_known(message) {
            WellKnown::Value | WellKnown::Wrapper => Self::Value(message_type),
            WellKnown::Struct | WellKnown::List => Self::Container(message_type),
            WellKnown::None | WellKnown::Text | WellKnown::Other => Self::Object(message_type),
        }
    }
}
