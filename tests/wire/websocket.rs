//! WebSocket connections: the specification's examples, cuts at every byte, and each rule that a
//! peer can break.
//!
//! Invariant: the frames below are written byte by byte, not by what is under test.

use hopline::base::Reason;
use hopline::wire::http::{RequestLimits, Requests};
use hopline::wire::websocket::{
    AnswerFault, CONTROL_BYTES_MAX, Encoded, Event, Limits, Offer, OfferFault, Opening, Role,
    SendError, Violation, WebSocket,
};
use hopline::wire::{Output, http};

use crate::cuts::{Heard, all_cuts, heard};

/// A frame: first byte, payload, and a mask if it is a client's.
pub(crate) fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(masked | len as u8),
        len @ 126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    bytes.extend(
        payload
            .iter()
            .enumerate()
            .map(|(at, byte)| byte ^ mask[at % 4]),
    );
    bytes
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, Some(MASK))
}

fn small() -> Limits {
    Limits {
        message_bytes_max: 1_000,
        output_bytes_max: 2_000,
    }
}

#[test]
fn the_specifications_frames_are_read_and_written() {
    let hello = [Heard::Text("Hello".to_owned())];
    let unmasked = b"\x81\x05Hello";
    assert_eq!(heard(Role::Client, small(), &[unmasked]).0, hello);
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(heard(Role::Server, small(), &[masked]).0, hello);
    let fragments = b"\x01\x03Hel\x80\x02lo";
    assert_eq!(heard(Role::Client, small(), &[fragments]).0, hello);
    let (pinged, pong) = heard(Role::Client, small(), &[b"\x89\x05Hello"]);
    assert_eq!(pinged, [Heard::Ping(b"Hello".to_vec())]);
    assert_eq!(
        (pong[0], pong[1], pong.len()),
        (0x8a, 0x85, 11),
        "a masked pong"
    );
    assert_eq!(
        heard(Role::Server, small(), &[&pong]).0,
        [Heard::Pong(b"Hello".to_vec())]
    );
    for (len, header) in [
        (256, &b"\x82\x7e\x01\x00"[..]),
        (65_536, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
    ] {
        let encoded = Encoded::binary(&vec![7; len]);
        assert!(encoded.bytes().starts_with(header));
        let expected = [Heard::Binary(vec![7; len])];
        assert_eq!(
            heard(Role::Client, Limits::default(), &[encoded.bytes()]).0,
            expected
        );
    }
}

#[test]
fn a_cut_at_every_byte_changes_nothing() {
    for role in [Role::Server, Role::Client] {
        let frame = |first, payload: &[u8]| match role {
            Role::Server => masked(first, payload),
            Role::Client => frame(first, payload, None),
        };
        let mut stream = Vec::new();
        for (first, payload) in [
            (0x81, &b"tick"[..]),
            (0x82, b""),
            (0x89, b"1"),
            (0x01, b"\xc3"),
            (0x8a, b"between"),
            (0x00, b""),
            (0x80, b"\xa4 and more"),
            (0x02, &[1; 200]),
            (0x80, &[2; 126]),
            (0x81, b"last"),
            (0x88, b"\x03\xe8bye"),
        ] {
            stream.extend(frame(first, payload));
        }
        let whole = heard(role, small(), &[&stream]);
        let joined = [[1; 200].as_slice(), &[2; 126]].concat();
        let expected = [
            Heard::Text("tick".to_owned()),
            Heard::Binary(vec![]),
            Heard::Ping(b"1".to_vec()),
            Heard::Pong(b"between".to_vec()),
            Heard::Text("\u{e4} and more".to_owned()),
            Heard::Binary(joined),
            Heard::Text("last".to_owned()),
            Heard::Close(Some(1000), "bye".to_owned()),
        ];
        assert_eq!(whole.0, expected);
        for pieces in all_cuts(&stream) {
            let (all, said) = heard(role, small(), &pieces);
            assert_eq!(all, whole.0);
            // A client's masks differ each time; what it says does not.
            match role {
                Role::Server => assert_eq!(said, whole.1),
                Role::Client => {
                    let there = heard(Role::Server, small(), &[&said]).0;
                    assert_eq!(there, heard(Role::Server, small(), &[&whole.1]).0);
                }
            }
        }
    }
}

/// What a peer may do wrong to a server, with what it comes to.
fn violations() -> Vec<(Vec<u8>, Violation)> {
    let cat = |frames: &[Vec<u8>]| frames.concat();
    vec![
        (frame(0x81, b"bare", None), Violation::Unmasked),
        (masked(0xc1, b"rsv1"), Violation::ReservedBits),
        (masked(0x91, b"rsv3"), Violation::ReservedBits),
        (masked(0x83, b"kind"), Violation::BadOpcode),
        (masked(0x8b, b""), Violation::BadOpcode),
        (masked(0x09, b"part"), Violation::FragmentedControl),
        (masked(0x89, &[b'x'; 126]), Violation::ControlTooLong),
        (masked(0x80, b"of nothing"), Violation::BadFragment),
        (
            cat(&[masked(0x01, b"a"), masked(0x81, b"b")]),
            Violation::BadFragment,
        ),
        (masked(0x88, b"\x03"), Violation::BadClose),
        (masked(0x88, b"\x03\xe8\xff"), Violation::NotUtf8),
        (masked(0x81, b"\xc3"), Violation::NotUtf8),
        (
            cat(&[masked(0x01, b"\xc3"), masked(0x80, b"\x28")]),
            Violation::NotUtf8,
        ),
        (masked(0x81, &[b'x'; 1_001]), Violation::TooLong),
        (
            cat(&[masked(0x01, &[b'x'; 600]), masked(0x80, &[b'x'; 401])]),
            Violation::TooLong,
        ),
        (
            b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(),
            Violation::TooLong,
        ),
    ]
}

#[test]
fn each_rule_that_is_broken_closes_the_connection_with_its_code() {
    let mut seen = [false; Violation::ALL.len()];
    for (bytes, violation) in violations() {
        let stream = [masked(0x81, b"before"), bytes, masked(0x81, b"behind")].concat();
        for pieces in [vec![stream.as_slice()], stream.chunks(1).collect()] {
            let (all, said) = heard(Role::Server, small(), &pieces);
            let expected = [Heard::Text("before".to_owned()), Heard::Failed(violation)];
            assert_eq!(all, expected);
            let told = heard(Role::Client, small(), &[&said]).0;
            let close = Heard::Close(Some(violation.code()), violation.name().to_owned());
            assert_eq!(told, [close], "{violation:?}");
        }
        seen[violation.index()] = true;
    }
    let (all, said) = heard(Role::Client, small(), &[&masked(0x81, b"mask")]);
    assert_eq!(all, [Heard::Failed(Violation::Masked)]);
    assert_eq!(heard(Role::Server, small(), &[&said]).0.len(), 1);
    let mut socket = WebSocket::new(Role::Server, small());
    let mut input: &[u8] = b"\x81";
    assert_eq!(socket.poll(&mut input), None);
    assert_eq!(socket.end(), Some(Event::Failed(Violation::CutOff)));
    assert_eq!(socket.end(), None);
    assert!(socket.is_over() && socket.output().is_empty());
    for violation in [Violation::Masked, Violation::CutOff] {
        seen[violation.index()] = true;
    }
    assert!(seen.iter().all(|seen| *seen), "{seen:?}");
}

#[test]
fn a_message_of_the_longest_is_taken_and_one_of_700_kb_is_refused_at_its_header() {
    let limits = small();
    let longest = masked(0x82, &[9; 1_000]);
    assert_eq!(
        heard(Role::Server, limits, &[&longest]).0,
        [Heard::Binary(vec![9; 1_000])]
    );
    let fragments = [
        masked(0x02, &[9; 999]),
        masked(0x00, &[9]),
        masked(0x80, b""),
    ]
    .concat();
    assert_eq!(
        heard(Role::Server, limits, &[&fragments]).0,
        [Heard::Binary(vec![9; 1_000])]
    );
    let much = masked(0x81, &[b'x'; 700 << 10]);
    let mut socket = WebSocket::new(Role::Server, limits);
    let mut input = &much[..14];
    assert_eq!(
        socket.poll(&mut input),
        Some(Event::Failed(Violation::TooLong))
    );
}

#[test]
fn output_is_bounded_and_what_does_not_fit_is_handed_back() {
    for role in [Role::Server, Role::Client] {
        let mut socket = WebSocket::new(role, small());
        let mut sent = 0;
        let full = loop {
            let room = socket.room();
            match socket.send_binary(&[3; 90]) {
                Ok(()) => sent += 1,
                Err(error) => break (error, room),
            }
        };
        assert!(
            matches!(full, (SendError::Full(full), room) if full.needed > full.room && room < 90)
        );
        assert!((20..=21).contains(&sent) && socket.output().len() <= 2_000);
        // One write takes all of it; a part that left makes room for as much.
        let taken = socket.output()[..500].to_vec();
        socket.written(500);
        while socket.send_binary(&[3; 90]).is_ok() {
            sent += 1;
        }
        let stream = [&taken, socket.output()].concat();
        let there = if role == Role::Server {
            Role::Client
        } else {
            Role::Server
        };
        assert_eq!(
            heard(there, small(), &[&stream]).0,
            vec![Heard::Binary(vec![3; 90]); sent]
        );
        // There is always room to close.
        socket.close(1001, &"because ".repeat(40));
        assert!(socket.output().len() <= 2_000 + 139);
        let (all, _) = heard(there, small(), &[&taken, socket.output()]);
        assert!(
            matches!(all.last(), Some(Heard::Close(Some(1001), reason)) if reason.len() == 123)
        );
    }
}

#[test]
fn a_peer_that_pings_and_does_not_read_takes_no_memory() {
    let mut socket = WebSocket::new(Role::Server, small());
    let ping = masked(0x89, &[5; CONTROL_BYTES_MAX]);
    for _ in 0..1_000 {
        let mut input = ping.as_slice();
        assert!(matches!(socket.poll(&mut input), Some(Event::Ping(_))));
        assert!(socket.output().len() <= 2_000);
    }
    let (answered, _) = heard(Role::Client, small(), &[socket.output()]);
    assert_eq!(answered.len() as u64 + socket.pongs_dropped(), 1_000);
    // Once it reads, it is answered again.
    socket.written(usize::MAX);
    let mut input = ping.as_slice();
    assert!(socket.poll(&mut input).is_some() && socket.output().len() == 127);
}

#[test]
fn closing_is_agreed_on_from_both_sides() {
    for (first, second) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
        let (mut here, mut there) = (
            WebSocket::new(first, small()),
            WebSocket::new(second, small()),
        );
        there.send_text("on its way").unwrap();
        here.close(1000, "done");
        here.close(1011, "twice is once");
        assert_eq!(here.send_text("late"), Err(SendError::Closing));
        let mut input = here.output();
        let close = Event::Close {
            code: Some(1000),
            reason: "done",
        };
        assert_eq!(there.poll(&mut input), Some(close));
        assert!(there.is_over() && !here.is_over() && !here.is_open());
        assert_eq!(there.send_ping(b""), Err(SendError::Closing));
        let mut input = there.output();
        assert_eq!(here.poll(&mut input), Some(Event::Text("on its way")));
        assert_eq!(here.poll(&mut input), Some(close));
        assert!(here.is_over() && input.is_empty());
        assert_eq!((here.end(), there.end()), (None, None));
        // Both at once.
        let (mut here, mut there) = (
            WebSocket::new(first, small()),
            WebSocket::new(second, small()),
        );
        here.close(1000, "");
        there.close(1001, "");
        let (mut of_here, mut of_there) = (here.output().to_vec(), there.output().to_vec());
        here.written(usize::MAX);
        there.written(usize::MAX);
        assert!(matches!(
            here.poll(&mut &of_there[..]),
            Some(Event::Close {
                code: Some(1001),
                ..
            })
        ));
        assert!(matches!(
            there.poll(&mut &of_here[..]),
            Some(Event::Close {
                code: Some(1000),
                ..
            })
        ));
        assert!(here.is_over() && there.is_over());
        (of_here, of_there) = (here.output().to_vec(), there.output().to_vec());
        assert_eq!((of_here.len(), of_there.len()), (0, 0), "one close each");
    }
}

#[test]
fn a_close_without_a_code_is_answered_and_one_that_may_not_be_given_is_a_violation() {
    let (all, said) = heard(Role::Server, small(), &[&masked(0x88, b"")]);
    assert_eq!(
        (all, said),
        (
            vec![Heard::Close(None, String::new())],
            b"\x88\x00".to_vec()
        )
    );
    for code in [0_u16, 999, 1005, 1006, 1015, 2999, 5000] {
        let (all, said) = heard(Role::Server, small(), &[&masked(0x88, &code.to_be_bytes())]);
        assert_eq!(all, [Heard::Failed(Violation::BadClose)], "{code}");
        assert_eq!(said[2..4], 1002_u16.to_be_bytes());
    }
    for code in [1000_u16, 1003, 1011, 3000, 4999] {
        let (all, said) = heard(Role::Server, small(), &[&masked(0x88, &code.to_be_bytes())]);
        assert_eq!(all, [Heard::Close(Some(code), String::new())]);
        assert_eq!(said[2..4], code.to_be_bytes());
    }
}

#[test]
fn what_is_encoded_once_is_what_is_sent() {
    for len in [0, 1, 125, 126, 65_535, 65_536] {
        let text = "x".repeat(len);
        let mut socket = WebSocket::new(Role::Server, Limits::default());
        socket.send_text(&text).unwrap();
        let encoded = Encoded::text(&text);
        assert_eq!(socket.output(), encoded.bytes());
        assert_eq!(encoded.bytes(), &frame(0x81, text.as_bytes(), None));
        assert_eq!(encoded.payload(), text.as_bytes());
        if socket.room() > len {
            socket.send_encoded(&encoded).unwrap();
            assert_eq!(socket.output().len(), 2 * encoded.bytes().len());
        }
        let shared = encoded.bytes().slice_ref(encoded.payload());
        assert_eq!(shared, text.as_bytes());
    }
    let mut socket = WebSocket::new(Role::Server, small());
    let long = Encoded::binary(&[0; 2_000]);
    assert!(matches!(
        socket.send_encoded(&long),
        Err(SendError::Full(_))
    ));
    assert_eq!(socket.send_ping(&[0; 126]), Err(SendError::TooLong));
}

/// The specification's own request (section 1.2), with other lines in it.
fn request(version: &str, key: &str, more: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nOrigin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
         Sec-WebSocket-Version: {version}\r\n{more}\r\n"
    )
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const NONCE: [u8; 16] = *b"the sample nonce";

#[test]
fn the_specifications_handshake_is_answered_and_checked() {
    let text = request("13", KEY, "");
    let mut requests = Requests::new(RequestLimits::default());
    let mut input = text.as_bytes();
    let request = requests.poll(&mut input).unwrap().unwrap();
    let offer = Offer::of(&request).unwrap();
    assert_eq!(offer.origin(), Some("http://example.com"));
    assert_eq!(offer.protocols().collect::<Vec<_>>(), ["chat", "superchat"]);
    assert_eq!(offer.choose(&["x", "superchat", "chat"]), Some("superchat"));
    assert_eq!(
        (offer.choose(&["Chat"]), offer.request().path()),
        (None, "/chat")
    );
    let mut output = Output::new(1 << 10);
    offer.accept(&mut output, Some("chat")).unwrap();
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    assert_eq!(core::str::from_utf8(output.pending()), Ok(expected));
    // The client sends the same request, and takes that answer only.
    let opening = Opening::new("server.example.com", "/chat").unwrap();
    let opening = opening
        .protocol("chat")
        .unwrap()
        .protocol("superchat")
        .unwrap();
    let opening = opening.header("Origin", "http://example.com").unwrap();
    let mut asked = Output::new(1 << 10);
    opening.write(&mut asked, NONCE).unwrap();
    let (again, _, _) = crate::cuts::requests(RequestLimits::default(), &[asked.pending()]);
    let (mut here, _, _) = crate::cuts::requests(RequestLimits::default(), &[text.as_bytes()]);
    here[0].headers.sort();
    let mut there = again[0].headers.clone();
    there.sort();
    assert_eq!(there, here[0].headers);
    let answers = [
        (expected.to_owned(), Ok(Some(0))),
        (
            expected.replace("Protocol: chat", "Protocol: superchat"),
            Ok(Some(1)),
        ),
        (
            expected.replace("Sec-WebSocket-Protocol: chat\r\n", ""),
            Ok(None),
        ),
        (
            expected.replace("Protocol: chat", "Protocol: Chat"),
            Err(AnswerFault::BadProtocol),
        ),
        (
            expected.replace("s3pP", "s3pp"),
            Err(AnswerFault::BadAccept),
        ),
        (
            expected.replace("Sec-WebSocket-Accept", "X"),
            Err(AnswerFault::BadAccept),
        ),
        (
            expected.replace("Upgrade: websocket", "Upgrade: h2c"),
            Err(AnswerFault::NoUpgrade),
        ),
        (
            expected.replace("Connection: Upgrade", "Connection: close"),
            Err(AnswerFault::NoUpgrade),
        ),
        (
            expected.replace(
                "\r\n\r\n",
                "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            ),
            Err(AnswerFault::BadExtension),
        ),
        (expected.replace("101", "403"), Err(AnswerFault::Refused)),
    ];
    for (answer, expected) in answers {
        let mut reader = http::Responses::new(1 << 10);
        let mut input = answer.as_bytes();
        let head = reader.poll(&mut input).unwrap().unwrap();
        assert_eq!(opening.check(&head, NONCE), expected, "{answer}");
    }
}

#[test]
fn an_offer_that_is_none_is_refused_with_what_it_should_have_said() {
    let good = request("13", KEY, "");
    for (text, fault) in [
        (good.replace("GET", "POST"), OfferFault::NotGet),
        (
            good.replace("Upgrade: websocket", "Upgrade: h2c"),
            OfferFault::NoUpgrade,
        ),
        (
            good.replace("Connection: Upgrade", "Connection: keep-alive"),
            OfferFault::NoUpgrade,
        ),
        (good.replace("HTTP/1.1", "HTTP/1.0"), OfferFault::NoUpgrade),
        (request("8", KEY, ""), OfferFault::BadVersion),
        (request("13", "", ""), OfferFault::BadKey),
        (
            request("13", "AAAAAAAAAAAAAAAAAAAAAAAA", ""),
            OfferFault::BadKey,
        ),
        (
            request("13", "dGhlIHNhbXBsZSBub25jZQ!!", ""),
            OfferFault::BadKey,
        ),
        (
            request("13", KEY, &format!("Sec-WebSocket-Key: {KEY}\r\n")),
            OfferFault::BadKey,
        ),
    ] {
        let mut requests = Requests::new(RequestLimits::default());
        let mut input = text.as_bytes();
        let request = requests.poll(&mut input).unwrap().unwrap();
        assert_eq!(Offer::of(&request).unwrap_err(), fault, "{text}");
        let mut output = Output::new(1 << 10);
        fault.refuse(&mut output).unwrap();
        let (answers, _) = crate::cuts::responses(1 << 10, &[output.pending()]);
        assert_eq!(
            (answers[0].status, answers[0].whole),
            (fault.status(), true)
        );
        let version = answers[0]
            .headers
            .iter()
            .any(|(name, value)| name == "Sec-WebSocket-Version" && value == b"13");
        assert_eq!(version, fault != OfferFault::NotGet);
    }
    assert!(Opening::new("h\r\nX: y", "/").is_none() && Opening::new("h", "x").is_none());
    assert!(Opening::new("h", "/a b").is_none() && Opening::new("", "/").is_none());
    let opening = Opening::new("h", "/").unwrap();
    assert!(opening.clone().protocol("a,b").is_none());
    assert!(opening.clone().header("A", "b\nc").is_none() && opening.header("A b", "c").is_none());
}
