//! Frames as bytes (RFC 6455, section 5.2): headers and masks.
//!
//! Invariant: a header is written in its shortest form, and read whichever form it has.

use super::{Role, Violation};

/// Longest header of a frame: two bytes, eight of length, four of mask.
pub const HEADER_BYTES_MAX: usize = 14;

/// Bytes of a mask.
pub(super) const MASK_BYTES: usize = 4;

/// A frame by itself, or the last of its message.
pub(super) const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

/// What a frame is: values are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    /// More of the message that is begun.
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    pub(super) const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// A header that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) is_final: bool,
    /// Zeros where there is none, which is a mask that changes nothing.
    pub(super) mask: [u8; MASK_BYTES],
    /// Bytes of payload.
    pub(super) len: u64,
}

/// Bytes of the header that begins so: two until its length is known.
pub(super) fn header_bytes(begun: &[u8]) -> usize {
    let Some(second) = begun.get(1) else { return 2 };
    let length = match second & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & MASKED != 0 { MASK_BYTES } else { 0 }
}

impl Header {
    /// Reads the header that `bytes` begin with, and how many they are; `None` if it is not whole.
    ///
    /// # Errors
    /// What it breaks of the rules that a frame can break by itself, as soon as that is seen.
    #[inline]
    pub(super) fn read(bytes: &[u8], reader: Role) -> Result<Option<(Header, usize)>, Violation> {
        let &[first, second, ..] = bytes else {
            return Ok(None);
        };
        let opcode = match first & OPCODE {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return Err(Violation::BadOpcode),
        };
        let is_final = first & FIN != 0;
        let short = second & !MASKED;
        if first & RESERVED != 0 {
            return Err(Violation::ReservedBits);
        }
        if opcode.is_control() {
            if !is_final {
                return Err(Violation::FragmentedControl);
            }
            if usize::from(short) > super::CONTROL_BYTES_MAX {
                return Err(Violation::ControlTooLong);
            }
        }
        match (reader, second & MASKED != 0) {
            (Role::Server, false) => return Err(Violation::Unmasked),
            (Role::Client, true) => return Err(Violation::Masked),
            _ => {}
        }
        let whole = header_bytes(bytes);
        if bytes.len() < whole {
            return Ok(None);
        }
        let len = match short {
            126 => u64::from(u16::from_be_bytes([bytes[2], bytes[3]])),
            127 => bytes[2..10]
                .iter()
                .fold(0, |len, byte| len << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        let mask = match reader {
            Role::Server => bytes[whole - MASK_BYTES..whole].try_into(),
            Role::Client => Ok([0; MASK_BYTES]),
        };
        let header = Header {
            opcode,
            is_final,
            // As many as were cut out.
            mask: mask.unwrap_or_default(),
            len,
        };
        Ok(Some((header, whole)))
    }
}

/// Bytes of the header of a whole frame with so many bytes of payload.
pub(super) const fn header_len(payload: usize, masked: bool) -> usize {
    let length = match payload {
        0..126 => 0,
        126..=0xffff => 2,
        _ => 8,
    };
    2 + length + if masked { MASK_BYTES } else { 0 }
}

/// Appends a whole frame.
#[inline]
pub(super) fn append(
    bytes: &mut Vec<u8>,
    opcode: Opcode,
    mask: Option<[u8; MASK_BYTES]>,
    payload: &[u8],
) {
    let masked = if mask.is_some() { MASKED } else { 0 };
    let first = FIN | opcode as u8;
    match payload.len() {
        len @ 0..126 => bytes.extend_from_slice(&[first, masked | len as u8]),
        len @ 126..=0xffff => {
            let [high, low] = (len as u16).to_be_bytes();
            bytes.extend_from_slice(&[first, masked | 126, high, low]);
        }
        len => {
            bytes.extend_from_slice(&[first, masked | 127]);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    match mask {
        Some(mask) => {
            bytes.extend_from_slice(&mask);
            let start = bytes.len();
            bytes.extend_from_slice(payload);
            apply(mask, &mut bytes[start..]);
        }
        None => bytes.extend_from_slice(payload),
    }
}

/// Masks or unmasks, from the mask's first byte on.
#[inline]
pub(super) fn apply(mask: [u8; MASK_BYTES], bytes: &mut [u8]) {
    let narrow = u32::from_ne_bytes(mask);
    let wide = u64::from(narrow) << 32 | u64::from(narrow);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_applied_byte_by_byte_whatever_the_length() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for len in 0..100_usize {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 31) as u8).collect();
            let mut masked = bytes.clone();
            apply(mask, &mut masked);
            for (at, (masked, byte)) in masked.iter().zip(&bytes).enumerate() {
                assert_eq!(*masked, byte ^ mask[at % 4]);
            }
            apply(mask, &mut masked);
            assert_eq!(masked, bytes);
        }
    }

    #[test]
    fn what_is_written_is_read_and_as_long_as_was_said() {
        for len in [0, 1, 125, 126, 127, 0xffff, 0x1_0000] {
            for (mask, reader) in [(None, Role::Client), (Some([1, 2, 3, 4]), Role::Server)] {
                let mut bytes = Vec::new();
                append(&mut bytes, Opcode::Binary, mask, &vec![9; len]);
                let long = header_len(len, mask.is_some());
                assert_eq!(bytes.len(), long + len);
                let header = Header {
                    opcode: Opcode::Binary,
                    is_final: true,
                    mask: mask.unwrap_or_default(),
                    len: len as u64,
                };
                assert_eq!(Header::read(&bytes, reader), Ok(Some((header, long))));
                for cut in 0..long {
                    assert_eq!(Header::read(&bytes[..cut], reader), Ok(None));
                }
            }
        }
    }
}
