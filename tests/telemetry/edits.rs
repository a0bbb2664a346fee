//! Good inputs with pieces cut out, doubled, and put in, by a seed.

use hopline::base::Prng;

/// What tends to trouble a parser of one of the formats.
const PIECES: &[&[u8]] = &[
    b"",
    b"\n",
    b"\r\n",
    b"\r",
    b":",
    b"|",
    b"||",
    b"#",
    b"@",
    b"@0",
    b"|@1e-400",
    b"|T",
    b"|T99999999999999999999",
    b"c:",
    b"_e{",
    b"_e{1,1}:",
    b"}",
    b"_sc|",
    b",",
    b",,",
    b";",
    b"=",
    b"==",
    b" ",
    b"  ",
    b"\t",
    b"\\",
    b"\\\\",
    b"\\ ",
    b"\\,",
    b"\\=",
    b"\\\"",
    b"\"",
    b"\"\"",
    b"# ",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xc3\xa9",
    b"\xf0\x9f\x98\x80",
    b"nan",
    b"-nan",
    b"inf",
    b"+Infinity",
    b"1e999",
    b"-1e-999",
    b"1e",
    b"0x10",
    b"+",
    b"-",
    b".",
    b"1.",
    b".5",
    b"i",
    b"u",
    b"9223372036854775808i",
    b"18446744073709551616u",
    b"t",
    b"true",
    b"-1",
    b"~",
    b"!",
    b"^",
    b"N",
    b"179769313486231570000000000000000000000000",
    b"0.30000000000000004",
    b"12345678901234567",
    b"|ms",
    b"|c:2|ms",
    b":1:2:3",
];

/// An input made of the seeds by some edits; now and then a very long one.
pub(crate) fn edited(prng: &mut Prng, seeds: &[&[u8]]) -> Vec<u8> {
    let pick = |prng: &mut Prng| seeds[prng.below(seeds.len() as u64) as usize];
    let mut input = pick(prng).to_vec();
    for _ in 0..prng.below(4) {
        input.push(b'\n');
        input.extend_from_slice(pick(prng));
    }
    for _ in 0..prng.below(7) {
        let at = prng.below(input.len() as u64 + 1) as usize;
        let end = (at + prng.below(12) as usize).min(input.len());
        let piece = match prng.below(8) {
            0 => vec![prng.below(256) as u8],
            1 => input[at..end].repeat(2),
            2 => Vec::new(),
            3 => {
                let other = pick(prng);
                let from = prng.below(other.len() as u64 + 1) as usize;
                other[from..].to_vec()
            }
            _ => {
                let piece = PIECES[prng.below(PIECES.len() as u64) as usize];
                input.splice(at..at, piece.iter().copied());
                continue;
            }
        };
        input.splice(at..end, piece);
    }
    if prng.below(1_000) == 0 {
        let at = prng.below(input.len() as u64 + 1) as usize;
        let piece = PIECES[prng.below(PIECES.len() as u64) as usize];
        let times = 1 + prng.below(70_000) as usize / piece.len().max(1);
        input.splice(at..at, piece.repeat(times));
    }
    input
}

/// Whether `part` is a view of `whole`.
pub(crate) fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    part.start >= whole.start && part.end <= whole.end
}
