//! Protobuf's wire format, as far as the conversion from and to JSON needs it.

/// The longest varint.
pub(super) const VARINT_BYTES: usize = 10;

/// How a field is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Delimited = 2,
    Fixed32 = 5,
}

/// The bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::grpc) struct Malformed;

/// The key of a field with this number.
pub(super) fn tag(number: u32, wire_type: WireType) -> u64 {
    u64::from(number) << 3 | wire_type as u64
}

/// Writes a varint. Returns its length.
pub(super) fn encode_varint(mut value: u64, buffer: &mut [u8; VARINT_BYTES]) -> usize {
    let mut length = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        buffer[length] = if value == 0 { low } else { low | 0x80 };
        length += 1;
        if value == 0 {
            return length;
        }
    }
}

/// Reads a varint. Returns it with its length.
pub(super) fn decode_varint(bytes: &[u8]) -> Result<(u64, usize), Malformed> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(VARINT_BYTES).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    Err(Malformed)
}

/// Reads the key of a field. Returns its number, its encoding and the key's length.
pub(super) fn decode_tag(bytes: &[u8]) -> Result<(u32, WireType, usize), Malformed> {
    let (tag, length) = decode_varint(bytes)?;
    let number = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
    let wire_type = match tag & 7 {
        0 => WireType::Varint,
        1 => WireType::Fixed64,
        2 => WireType::Delimited,
        5 => WireType::Fixed32,
        _ => return Err(Malformed),
    };
    Ok((number, wire_type, length))
}
