//! A gzip stream (RFC 1952) of one or more members, decompressed bit by bit without allocating.
//!
//! The frame around the deflate data is parsed here, because resetting flate2's own gzip mode for
//! the next member is not possible without making it anew.
//!
//! Invariant: knows bytes only, no file; a member's text is trusted as a whole only after its
//! checksum and length were compared.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// The two bytes every member starts with.
pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Heap memory of the decompressor, in bytes: a window of 32 KiB, the code tables and padding.
/// zlib-rs 0.6 was measured to allocate 47 KiB in one piece, when it is made and never again.
pub(crate) const INFLATE_BYTES: usize = 48 << 10;

/// The only compression method that exists.
const DEFLATE: u8 = 8;

const FLAG_HEAD_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Where in a member the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before a member. Zero bytes are padding.
    Between,
    /// Byte of the fixed head: 1 to 9.
    Head(u8),
    /// Byte of the extra field's length: 0 or 1, and what is known of it.
    ExtraLen(u8, u16),
    /// Bytes left of the extra field.
    Extra(u16),
    Name,
    Comment,
    /// Byte of the head's checksum.
    HeadCrc(u8),
    Body,
    /// Byte of checksum and length: 0 to 7.
    Trailer(u8),
    /// Nothing more can be had.
    Broken,
}

/// What one step took and made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes of the input that are used up.
    pub(crate) consumed: usize,
    /// Bytes of the output that were written.
    pub(crate) produced: usize,
}

/// Decompresses gzip members, one after the other.
#[derive(Debug)]
pub(crate) struct Gunzip {
    at: At,
    flags: u8,
    inflate: Decompress,
    crc: Crc,
    trailer: [u8; 8],
}

impl Gunzip {
    /// A decompressor before its first member. Allocates [`INFLATE_BYTES`].
    pub(crate) fn new() -> Gunzip {
        Gunzip {
            at: At::Between,
            flags: 0,
            inflate: Decompress::new(false),
            crc: Crc::new(),
            trailer: [0; 8],
        }
    }

    /// Whether the stream may end here: after a whole member, or before the first.
    pub(crate) fn is_between(&self) -> bool {
        self.at == At::Between
    }

    /// Whether the stream does not decompress; nothing more comes of it.
    pub(crate) fn is_broken(&self) -> bool {
        self.at == At::Broken
    }

    /// Decompresses until the input is used up, the output is full or the stream is broken.
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let mut step = Step::default();
        loop {
            if self.at == At::Body {
                if !self.inflate_some(input, output, &mut step) {
                    return step;
                }
            } else if self.at == At::Broken {
                return step;
            } else if let Some(&byte) = input.get(step.consumed) {
                step.consumed += 1;
                self.at = self.take(byte);
            } else {
                return step;
            }
        }
    }

    /// Decompresses some of the body; false if it needs more input or more room.
    fn inflate_some(&mut self, input: &[u8], output: &mut [u8], step: &mut Step) -> bool {
        let (input, output) = (&input[step.consumed..], &mut output[step.produced..]);
        if output.is_empty() {
            return false;
        }
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let result = self
            .inflate
            .decompress(input, output, FlushDecompress::None);
        let consumed = (self.inflate.total_in() - before.0) as usize;
        let produced = (self.inflate.total_out() - before.1) as usize;
        self.crc.update(&output[..produced]);
        step.consumed += consumed;
        step.produced += produced;
        match result {
            Ok(Status::StreamEnd) => {
                self.at = At::Trailer(0);
                true
            }
            Ok(Status::Ok | Status::BufError) => consumed + produced > 0,
            Err(_) => {
                self.at = At::Broken;
                true
            }
        }
    }

    /// Takes one byte of what is around the body.
    fn take(&mut self, byte: u8) -> At {
        let at = self.at;
        if !matches!(at, At::Between | At::HeadCrc(_) | At::Trailer(_)) {
            self.crc.update(&[byte]);
        }
        match at {
            At::Between if byte == 0 => At::Between,
            At::Between if byte == MAGIC[0] => {
                self.crc.reset();
                self.crc.update(&[byte]);
                At::Head(1)
            }
            At::Head(1) if byte == MAGIC[1] => At::Head(2),
            At::Head(2) if byte == DEFLATE => At::Head(3),
            At::Head(3) if byte & FLAGS_RESERVED == 0 => {
                self.flags = byte;
                At::Head(4)
            }
            // Time, extra flags and system of the writer are of no use here.
            At::Head(place @ 4..=8) => At::Head(place + 1),
            At::Head(9) => self.after(At::Head(9)),
            At::ExtraLen(0, _) => At::ExtraLen(1, u16::from(byte)),
            At::ExtraLen(_, low) => match low | u16::from(byte) << 8 {
                0 => self.after(At::Extra(0)),
                len => At::Extra(len),
            },
            At::Extra(left) if left > 1 => At::Extra(left - 1),
            At::Extra(_) => self.after(At::Extra(0)),
            At::Name | At::Comment if byte != 0 => at,
            At::Name | At::Comment => self.after(at),
            At::HeadCrc(0) if byte == self.crc.sum() as u8 => At::HeadCrc(1),
            At::HeadCrc(1) if byte == (self.crc.sum() >> 8) as u8 => self.after(At::HeadCrc(1)),
            At::Trailer(place @ 0..=7) => {
                self.trailer[usize::from(place)] = byte;
                match place {
                    7 if self.trailer_fits() => At::Between,
                    7 => At::Broken,
                    _ => At::Trailer(place + 1),
                }
            }
            _ => At::Broken,
        }
    }

    /// What follows this part of the head, by the flags.
    fn after(&mut self, part: At) -> At {
        let place = match part {
            At::Head(_) => 0,
            At::Extra(_) => 1,
            At::Name => 2,
            At::Comment => 3,
            _ => 4,
        };
        let parts = [
            (FLAG_EXTRA, At::ExtraLen(0, 0)),
            (FLAG_NAME, At::Name),
            (FLAG_COMMENT, At::Comment),
            (FLAG_HEAD_CRC, At::HeadCrc(0)),
        ];
        for (flag, next) in parts.into_iter().skip(place) {
            if self.flags & flag != 0 {
                return next;
            }
        }
        // From here the checksum is the body's. Resetting keeps the decompressor's memory.
        self.crc.reset();
        self.inflate.reset(false);
        At::Body
    }

    fn trailer_fits(&self) -> bool {
        let [a, b, c, d, e, f, g, h] = self.trailer;
        let crc = u32::from_le_bytes([a, b, c, d]);
        let len = u32::from_le_bytes([e, f, g, h]);
        crc == self.crc.sum() && len == self.inflate.total_out() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder, write::GzEncoder};
    use std::io::Write;

    fn gunzip(packed: &[u8], input_slice: usize, output_slice: usize) -> (Vec<u8>, Gunzip) {
        let mut gunzip = Gunzip::new();
        let (mut out, mut buf, mut from) = (Vec::new(), vec![0; output_slice], 0);
        loop {
            let to = (from + input_slice).min(packed.len());
            let step = gunzip.step(&packed[from..to], &mut buf);
            out.extend_from_slice(&buf[..step.produced]);
            from += step.consumed;
            if gunzip.is_broken() || (step == Step::default() && to == packed.len()) {
                return (out, gunzip);
            }
        }
    }

    fn member(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn slices_of_any_size_and_several_members_give_the_text() {
        let texts = [b"one".repeat(5_000), Vec::new(), b"two".repeat(7)];
        let mut packed: Vec<u8> = texts.iter().flat_map(|text| member(text)).collect();
        packed.extend_from_slice(&[0; 100]);
        for (input_slice, output_slice) in [(1, 1), (7, 4096), (4096, 3), (1 << 20, 1 << 20)] {
            let (out, gunzip) = gunzip(&packed, input_slice, output_slice);
            assert_eq!(out, texts.concat());
            assert!(gunzip.is_between());
        }
    }

    #[test]
    fn all_parts_of_a_head_are_skipped() {
        let mut encoder = GzBuilder::new()
            .filename("a.ndjson")
            .comment("of the day")
            .extra(vec![1, 2, 3])
            .mtime(7)
            .write(Vec::new(), Compression::fast());
        encoder.write_all(b"text").unwrap();
        let mut packed = encoder.finish().unwrap();
        assert_eq!(gunzip(&packed, 1, 100).0, b"text");

        // The head's own checksum: flag it, and put it before the body.
        let head_len = 10 + 2 + 3 + 9 + 11;
        packed[3] |= FLAG_HEAD_CRC;
        let mut crc = Crc::new();
        crc.update(&packed[..head_len]);
        let sum = crc.sum().to_le_bytes();
        packed.splice(head_len..head_len, [sum[0], sum[1]]);
        let (out, whole) = gunzip(&packed, 5, 100);
        assert_eq!((out.as_slice(), whole.is_between()), (&b"text"[..], true));
        packed[head_len] ^= 1;
        assert!(gunzip(&packed, 5, 100).1.is_broken());
    }

    #[test]
    fn a_changed_byte_of_frame_or_trailer_breaks_it() {
        let packed = member(&b"text".repeat(100));
        for place in [0, 1, 2].into_iter().chain(packed.len() - 8..packed.len()) {
            let mut bad = packed.clone();
            bad[place] ^= 0x10;
            assert!(gunzip(&bad, 64, 64).1.is_broken(), "byte {place}");
        }
        let mut reserved = packed.clone();
        reserved[3] = 0x80;
        assert!(gunzip(&reserved, 64, 64).1.is_broken());
        let mut behind = packed;
        behind.extend_from_slice(b"garbage");
        assert!(gunzip(&behind, 64, 64).1.is_broken());
    }
}
