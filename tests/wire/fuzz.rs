//! Mutated inputs: each decoder gets streams that were good, with bytes changed, taken out, put in,
//! repeated and cut off, in random cuts.
//!
//! Invariant: a failure names the seed that makes it again; whatever the bytes are, the same comes
//! out of the whole stream as of its pieces.

use hopline::base::Prng;
use hopline::wire::http::{Methods, RequestLimits};
use hopline::wire::sse;
use hopline::wire::websocket::{Limits, Role};

use crate::cuts::{Heard, Streamed, heard, pieces, requests, responses, split, streamed};
use crate::websocket::{frame, masked};
use crate::{ndjson, sse as sse_test};

/// How many inputs without the variable: a second or two for all decoders.
const INPUTS_DEFAULT: u64 = 2_000;

fn inputs() -> u64 {
    let given = std::env::var("HOPLINE_FUZZ_INPUTS").ok();
    let number = given.map(|text| text.parse().expect("HOPLINE_FUZZ_INPUTS is a number"));
    number.unwrap_or(INPUTS_DEFAULT)
}

/// A stream made of the seeds, mutated.
fn mutated(seeds: &[Vec<u8>], prng: &mut Prng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=prng.below(3) {
        bytes.extend_from_slice(&seeds[prng.below(seeds.len() as u64) as usize]);
    }
    for _ in 0..prng.below(6) {
        let len = bytes.len() as u64;
        if len == 0 {
            break;
        }
        let at = prng.below(len) as usize;
        let end = at + prng.below((len - at as u64).min(40) + 1) as usize;
        match prng.below(8) {
            0 => bytes[at] = prng.next_u64() as u8,
            1 => bytes[at] ^= 1 << prng.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => bytes.truncate(at),
            5 => bytes.insert(at, b"\0\n\r:, 0\x7f\x80\xff"[prng.below(10) as usize]),
            6 => {
                let other = &seeds[prng.below(seeds.len() as u64) as usize];
                let from = prng.below(other.len() as u64 + 1) as usize;
                bytes.splice(at..end, other[from..].iter().copied());
            }
            _ => bytes.splice(at..at, vec![bytes[at]; 300]).for_each(drop),
        }
    }
    bytes
}

/// Gives `each` mutated streams and their pieces.
fn fuzz(name: &str, seeds: &[Vec<u8>], mut each: impl FnMut(&[u8], &[&[u8]])) {
    struct Seed<'a>(&'a str, u64);
    impl Drop for Seed<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}: seed {}", self.0, self.1);
            }
        }
    }
    for seed in 0..inputs() {
        let seed = Seed(name, seed);
        let mut prng = Prng::new(seed.1);
        let bytes = mutated(seeds, &mut prng);
        let most = [1, 8, 64, 4_096][prng.below(4) as usize];
        let cut = pieces(&bytes, most, &mut prng);
        each(&bytes, &cut);
    }
}

fn owned(all: &[&[u8]]) -> Vec<Vec<u8>> {
    all.iter().map(|seed| seed.to_vec()).collect()
}

#[test]
fn mutated_requests() {
    let seeds = owned(&[
        b"GET /stream/a?since=7:42 HTTP/1.1\r\nHost: h:1\r\nAccept: text/event-stream\r\n\r\n",
        b"PUT /state/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        b"POST http://h/p HTTP/1.0\nContent-Length: 3\nContent-Length: 3\n\nabc",
        b"GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        b"\r\n\r\nDELETE /a HTTP/1.1\r\nHost: h\r\n\r\n",
    ]);
    let limits = RequestLimits {
        head_bytes_max: 400,
        body_bytes_max: 64,
        methods: Methods::ALL,
    };
    let (mut good, mut bad) = (0, 0);
    fuzz("requests", &seeds, |bytes, pieces| {
        let whole = requests(limits, &[bytes]);
        good += whole.0.len();
        bad += usize::from(whole.1.is_some());
        let cut = requests(limits, pieces);
        assert_eq!((&cut.0, cut.1), (&whole.0, whole.1));
        assert!(whole.2 <= bytes.len() && (whole.1.is_some() || whole.2 == bytes.len()));
    });
    assert!(good > 0 && bad > 0, "{good} came through, {bad} did not");
}

#[test]
fn mutated_responses() {
    let seeds = owned(&[
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntick",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\ntick\r\n10\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.0 503 Busy\nRetry-After: 7\n\nto the end",
    ]);
    let (mut good, mut bad) = (0, 0);
    fuzz("responses", &seeds, |bytes, pieces| {
        let whole = responses(400, &[bytes]);
        good += whole.0.iter().filter(|answered| answered.whole).count();
        bad += usize::from(whole.1.is_some());
        assert_eq!(responses(400, pieces), whole);
        let body: usize = whole.0.iter().map(|answered| answered.body.len()).sum();
        assert!(body <= bytes.len());
    });
    assert!(good > 0 && bad > 0, "{good} came through, {bad} did not");
}

#[test]
fn mutated_frames() {
    let limits = Limits {
        message_bytes_max: 600,
        output_bytes_max: 2_000,
    };
    let frames: [(u8, &[u8]); 12] = [
        (0x81, b"tick"),
        (0x82, &[7; 130]),
        (0x01, b"\xe2\x82"),
        (0x80, b"\xac"),
        (0x00, b"more"),
        (0x89, b"ping"),
        (0x8a, b"pong"),
        (0x88, b"\x03\xe8bye"),
        (0x88, b""),
        (0x82, &[1; 601]),
        (0x81, b"\xff"),
        (0x02, b""),
    ];
    for role in [Role::Server, Role::Client] {
        let of = |(first, payload): (u8, &[u8])| match role {
            Role::Server => masked(first, payload),
            Role::Client => frame(first, payload, None),
        };
        let seeds: Vec<_> = frames.map(of).into_iter().collect();
        let (mut good, mut bad) = (0, 0);
        fuzz("frames", &seeds, |bytes, pieces| {
            let (whole, said) = heard(role, limits, &[bytes]);
            let failed = |heard: &Heard| matches!(heard, Heard::Failed(_));
            good += whole.iter().filter(|heard| !failed(heard)).count();
            bad += whole.iter().filter(|heard| failed(heard)).count();
            let (cut, said_cut) = heard(role, limits, pieces);
            assert_eq!(cut, whole);
            // A client's masks differ each time.
            assert!(said_cut.len() == said.len() && (role == Role::Client || said_cut == said));
            // Nothing comes behind the end, and nothing that did not come in comes out.
            let ends = |heard: &Heard| failed(heard) || matches!(heard, Heard::Close(..));
            let end = whole.iter().position(ends).unwrap_or(whole.len());
            assert!(end + 1 >= whole.len());
            let payload = |heard: &Heard| match heard {
                Heard::Text(text) => text.len(),
                Heard::Binary(bytes) | Heard::Ping(bytes) | Heard::Pong(bytes) => bytes.len(),
                Heard::Close(..) | Heard::Failed(_) => 0,
            };
            assert!(
                whole
                    .iter()
                    .all(|heard| payload(heard) <= limits.message_bytes_max)
            );
            assert!(whole.iter().map(payload).sum::<usize>() <= bytes.len());
        });
        assert!(good > 0 && bad > 0, "{good} came through, {bad} did not");
    }
}

#[test]
fn mutated_event_streams() {
    let seeds = owned(&[
        b"\xef\xbb\xbfid: 7:42\nevent: delta\ndata: {\"a\":1}\ndata: two\n\n",
        b": beat\n\nretry: 2500\r\n\r\ndata:x\rdata\r\r",
        b"id\ndata: y\n\n",
        b"event: long\ndata: 01234567890123456789\n\n",
    ]);
    let tight = sse::Limits {
        line_bytes_max: 40,
        event_bytes_max: 30,
    };
    let dropped = |event: &&Streamed| matches!(event, Streamed::Dropped(_));
    let (mut good, mut bad) = (0, 0);
    fuzz("event streams", &seeds, |bytes, pieces| {
        let loose = streamed(sse::Limits::default(), pieces);
        // The plain parser knows no limits.
        if !loose.0.iter().any(|event| dropped(&event)) {
            assert_eq!(loose, sse_test::plain(bytes));
        }
        let whole = streamed(tight, &[bytes]);
        assert_eq!(streamed(tight, pieces), whole);
        bad += whole.0.iter().filter(dropped).count();
        good += whole.0.len();
    });
    assert!(
        good > bad && bad > 0,
        "{good} came out, {bad} of them dropped"
    );
}

#[test]
fn mutated_lines() {
    let seeds = owned(&[
        b"{\"a\":1}\n",
        b"{\"b\":[1,2,3]}\r\n\r\n\n",
        b"\r",
        b"0123456789012345678901234567890123456789\n",
    ]);
    let mut all = 0;
    fuzz("lines", &seeds, |bytes, pieces| {
        for line_bytes_max in [0, 8, 39, 40, 1_000] {
            let whole = split(line_bytes_max, &[bytes]);
            assert_eq!(split(line_bytes_max, pieces), whole);
            assert_eq!(whole, ndjson::plain(line_bytes_max, bytes));
            all += whole.len();
        }
    });
    assert!(all > 0);
}
