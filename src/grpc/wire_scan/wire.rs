//! Reads the protobuf wire format without allocating (protobuf.dev, "Encoding").

/// The bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The limit of nested groups in an unknown field, as in the decoder.
const GROUP_DEPTH_LIMIT: u32 = 100;

/// A field's value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Delimited(&'a [u8]),
    /// A skipped group. Only unknown fields have this type.
    Group,
    Fixed32,
}

/// Reads a message field by field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the next field's number and value. `None` at the end of the message.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.key()?;
        Ok(Some((number, self.value(number, wire_type, 0)?)))
    }

    fn key(&mut self) -> Result<(u32, u8), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let number = key >> 3;
        if number == 0 {
            return Err(Malformed);
        }
        Ok((number, (key & 7) as u8))
    }

    fn value(&mut self, number: u32, wire_type: u8, depth: u32) -> Result<Value<'a>, Malformed> {
        match wire_type {
            0 => Ok(Value::Varint(self.varint()?)),
            1 => self.take(8).map(|_| Value::Fixed64),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                self.take(length).map(Value::Delimited)
            }
            3 => {
                if depth >= GROUP_DEPTH_LIMIT {
                    return Err(Malformed);
                }
                loop {
                    let (inner, wire_type) = self.key()?;
                    if wire_type == 4 {
                        return if inner == number { Ok(Value::Group) } else { Err(Malformed) };
                    }
                    self.value(inner, wire_type, depth + 1)?;
                }
            }
            5 => self.take(4).map(|_| Value::Fixed32),
            _ => Err(Malformed),
        }
    }

    /// Reads a number of 1 to 10 bytes.
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                // The tenth byte has only one of the 64 bits.
                if index == 9 && *byte > 1 {
                    return Err(Malformed);
                }
                self.rest = &self.rest[index + 1..];
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(mut message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        let mut reader = Reader::new(std::mem::take(&mut message));
        let mut fields = Vec::new();
        while let Some(field) = reader.field()? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn every_wire_type_is_read() {
        let message = [
            0x08, 0x96, 0x01, // 1: 150
            0x11, 1, 2, 3, 4, 5, 6, 7, 8, // 2: fixed64
            0x1a, 2, 7, 7, // 3: two bytes
            0x23, 0x08, 0x01, 0x2b, 0x2c, 0x24, // 4: a group with a field and a group
            0x2d, 1, 2, 3, 4, // 5: fixed32
        ];
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Fixed64),
            (3, Value::Delimited(&[7, 7])),
            (4, Value::Group),
            (5, Value::Fixed32),
        ];
        assert_eq!(fields(&message).as_deref(), Ok(expected.as_slice()));
        assert_eq!(fields(&[]), Ok(vec![]));
    }

    #[test]
    fn malformed_messages_are_refused() {
        let overlong = [0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
        let too_large = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        let deep = [0x0b; 200];
        for message in [
            &[0x08][..],
            &[0x80],
            &[0x00, 0x00],       // field 0
            &[0x0e, 0x00],       // wire type 6
            &[0x0c],             // the end of a group that did not start
            &[0x0b, 0x14],       // the end of another group
            &[0x0b],             // a group without an end
            &[0x12, 0x05, 1, 2], // a length beyond the end
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x11, 1, 2],
            &[0x2d, 1],
            &overlong,
            &too_large,
            &deep,
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00], // a key beyond 32 bits
        ] {
            assert_eq!(fields(message), Err(Malformed), "{message:x?}");
        }
    }
}
