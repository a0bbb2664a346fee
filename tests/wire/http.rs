//! HTTP heads and bodies: as they are sent, as they are cut, and as they are got wrong.
//!
//! Invariant: each fault is planted alone in a request that is otherwise good.

use hopline::base::Reason;
use hopline::wire::Output;
use hopline::wire::http::respond::CONTINUE;
use hopline::wire::http::{
    BodyLength, BodyReader, Content, HEADERS_MAX, HttpFault, Method, Methods, NotSent,
    RequestLimits, Requests, ResponseFault, Responses, TARGET_BYTES_MAX, Version, last_chunk,
    refuse, respond, write_chunk,
};

use crate::cuts::{Answered, all_cuts, requests, responses};

const STREAM: &[u8] = b"\r\nGET /stream/a/b?since=7:42&types=on HTTP/1.1\r\nHost: h:1\r\nAccept: text/event-stream\r\n\
    Last-Event-ID: 7:42\r\nX-Empty:\r\n\r\nPUT /state/x/y HTTP/1.1\nhost:h\nCONTENT-LENGTH: 5\n\nhello\
    POST http://h/publish HTTP/1.0\r\nContent-Length: 3\r\nContent-Length: 3\r\nConnection: Keep-Alive\r\n\r\nabcDELETE";

fn small() -> RequestLimits {
    RequestLimits {
        head_bytes_max: 512,
        body_bytes_max: 64,
        methods: Methods::ALL,
    }
}

#[test]
fn a_cut_at_every_byte_changes_no_request() {
    let (whole, fault, taken) = requests(small(), &[STREAM]);
    assert_eq!((fault, taken), (None, STREAM.len()));
    let lines: Vec<_> = whole.iter().map(|asked| asked.line.clone()).collect();
    let expected = [
        (Method::Get, "/stream/a/b?since=7:42&types=on".to_owned()),
        (Method::Put, "/state/x/y".to_owned()),
        (Method::Post, "http://h/publish".to_owned()),
    ];
    assert_eq!(lines, expected);
    assert_eq!(whole[0].headers[3], ("X-Empty".to_owned(), vec![]));
    assert_eq!(
        (&whole[1].body, &whole[2].body),
        (&b"hello".to_vec(), &b"abc".to_vec())
    );
    for pieces in all_cuts(STREAM) {
        assert_eq!(
            requests(small(), &pieces),
            (whole.clone(), None, STREAM.len())
        );
    }
}

#[test]
fn what_a_request_says_is_found_whatever_its_case() {
    let mut reader = Requests::new(small());
    let mut input = STREAM;
    let first = reader.poll(&mut input).unwrap().unwrap();
    assert_eq!(
        (first.path(), first.query()),
        ("/stream/a/b", "since=7:42&types=on")
    );
    assert_eq!(first.query_value("since"), Some("7:42"));
    assert_eq!(first.query_value("until"), None);
    assert_eq!(first.headers.text("last-event-id"), Some("7:42"));
    assert_eq!((first.version, first.keep_alive()), (Version::V11, true));
    assert!(reader.poll(&mut input).unwrap().is_some());
    let third = reader.poll(&mut input).unwrap().unwrap();
    assert_eq!((third.path(), third.query()), ("/publish", ""));
    assert_eq!((third.version, third.keep_alive()), (Version::V10, true));
    assert!(
        !reader.is_inside() && reader.poll(&mut input).unwrap().is_none() && reader.is_inside()
    );
}

#[test]
fn targets_of_every_form_have_a_path() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/a?", "/a", ""),
        ("/a?b=c#d", "/a", "b=c"),
        ("*", "*", ""),
        ("http://h", "/", ""),
        ("http://h?x=1", "/", "x=1"),
        ("https://h:1/a/b?x", "/a/b", "x"),
        ("/a?u=http://h/b", "/a", "u=http://h/b"),
    ] {
        let text = format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut reader = Requests::new(small());
        let mut input = text.as_bytes();
        let request = reader.poll(&mut input).unwrap().unwrap();
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
    }
}

#[test]
fn an_upgrade_leaves_what_follows_it() {
    let text = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n\x81\x85";
    for cut in 0..text.len() - 2 {
        let mut reader = Requests::new(small());
        let mut input = &text[..cut];
        assert!(reader.poll(&mut input).unwrap().is_none());
        let mut input = &text[cut..];
        let request = reader.poll(&mut input).unwrap().unwrap();
        assert!(request.wants_upgrade("websocket") && !request.wants_upgrade("h2c"));
        assert_eq!(input, b"\x81\x85", "cut at {cut}");
    }
}

/// Faults, each with the request that has it.
fn faults() -> Vec<(Vec<u8>, HttpFault)> {
    let head = |line: &str, more: &str| format!("{line}\r\nHost: h\r\n{more}\r\n").into_bytes();
    let get = |more: &str| head("GET / HTTP/1.1", more);
    let many = "A: b\r\n".repeat(HEADERS_MAX);
    vec![
        (b"\x16\x03\x01\x02\x00\x01".to_vec(), HttpFault::BadLine),
        (b"GET\r\n\r\n".to_vec(), HttpFault::BadLine),
        (b"GET / HTTP/1.1 x\r\n\r\n".to_vec(), HttpFault::BadLine),
        (b"GET / FTP/1.1\r\n\r\n".to_vec(), HttpFault::BadLine),
        (b"GET /\r\n\r\n".to_vec(), HttpFault::BadLine),
        (
            b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
            HttpFault::BadLine,
        ),
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            HttpFault::BadVersion,
        ),
        (head("GET / HTTP/3.0", ""), HttpFault::BadVersion),
        (head("BREW / HTTP/1.1", ""), HttpFault::UnknownMethod),
        (head("get / HTTP/1.1", ""), HttpFault::UnknownMethod),
        (get("No colon\r\n"), HttpFault::BadHeader),
        (get("A : b\r\n"), HttpFault::BadHeader),
        (get("A: b\r\n folded\r\n"), HttpFault::BadHeader),
        (get("A: b\0c\r\n"), HttpFault::BadHeader),
        (get("A\0: b\r\n"), HttpFault::BadHeader),
        (get("Host: other\r\n"), HttpFault::BadHost),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), HttpFault::BadHost),
        (get("Content-Length: 1x\r\n"), HttpFault::BadLength),
        (get("Content-Length: -1\r\n"), HttpFault::BadLength),
        (get("Content-Length: +1\r\n"), HttpFault::BadLength),
        (get("Content-Length:\r\n"), HttpFault::BadLength),
        (get("Content-Length: 1, 2\r\n"), HttpFault::BadLength),
        (
            get("Content-Length: 1\r\nContent-Length: 2\r\n"),
            HttpFault::BadLength,
        ),
        (
            get("Content-Length: 99999999999999999999\r\n"),
            HttpFault::BadLength,
        ),
        (
            get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
            HttpFault::LengthAndCoding,
        ),
        (get("Transfer-Encoding: chunked\r\n"), HttpFault::NoLength),
        (get("Transfer-Encoding: gzip\r\n"), HttpFault::UnknownCoding),
        (get("Content-Length: 65537\r\n"), HttpFault::BodyTooLong),
        (
            get("Content-Length: 1\r\nExpect: tea\r\n"),
            HttpFault::BadExpectation,
        ),
        (head("DELETE / HTTP/1.1", ""), HttpFault::NotAllowed),
        (
            head(
                &format!("GET /{} HTTP/1.1", "x".repeat(TARGET_BYTES_MAX)),
                "",
            ),
            HttpFault::TargetTooLong,
        ),
        (head(&"x".repeat(20_000), ""), HttpFault::TargetTooLong),
        (
            get(&format!("A: {}\r\n", "b".repeat(20_000))),
            HttpFault::HeadTooLong,
        ),
        (get(&"A: b\r\n".repeat(5_000)), HttpFault::HeadTooLong),
        (get(&many), HttpFault::TooManyHeaders),
    ]
}

#[test]
fn each_fault_is_named_and_stays_however_it_is_cut() {
    let limits = RequestLimits {
        methods: Methods::of(&[Method::Get, Method::Head, Method::Put]),
        ..RequestLimits::default()
    };
    let mut seen = [false; HttpFault::ALL.len()];
    for (bytes, fault) in faults() {
        let shown = bytes[..bytes.len().min(60)].escape_ascii();
        let (all, found, _) = requests(limits, &[&bytes]);
        assert_eq!((all, found), (vec![], Some(fault)), "{shown}");
        seen[fault.index()] = true;
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(
            requests(limits, &pieces).1,
            Some(fault),
            "{shown} byte by byte"
        );
        let mut output = Output::new(1 << 10);
        refuse(&mut output, fault, limits.methods).unwrap();
        let (answers, none) = responses(1 << 10, &[output.pending()]);
        assert_eq!((answers[0].status, none), (fault.status(), None));
        assert!(answers[0].whole && answers[0].body.ends_with(b"\n"));
        let allow = answers[0]
            .headers
            .iter()
            .any(|header| *header == ("Allow".to_owned(), b"GET, HEAD, PUT".to_vec()));
        assert_eq!(allow, fault == HttpFault::NotAllowed);
    }
    assert!(
        seen.iter().all(|seen| *seen),
        "a fault for each reason: {seen:?}"
    );
    // The limits themselves are allowed.
    let path = "x".repeat(TARGET_BYTES_MAX - 1);
    let more = "A: b\r\n".repeat(HEADERS_MAX - 1);
    let good = format!("GET /{path} HTTP/1.1\r\nHost: h\r\n{more}\r\n");
    assert_eq!(requests(limits, &[good.as_bytes()]).0.len(), 1);
    let good = format!(
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 65536\r\n\r\n{}",
        "x".repeat(65_536)
    );
    assert_eq!(requests(limits, &[good.as_bytes()]).0[0].body.len(), 65_536);
}

#[test]
fn a_client_that_waits_to_go_on_is_told_once() {
    let mut reader = Requests::new(small());
    let mut input: &[u8] =
        b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    assert!(reader.poll(&mut input).unwrap().is_none());
    assert!(reader.take_continue() && !reader.take_continue());
    let mut input: &[u8] = b"ok";
    assert_eq!(reader.poll(&mut input).unwrap().unwrap().body, b"ok");
    assert!(!reader.take_continue());
    // The client passes over it.
    let pieces: [&[u8]; 2] = [CONTINUE, b"HTTP/1.1 204 No Content\r\n\r\n"];
    assert_eq!(responses(512, &pieces).0[0].status, 204);
}

#[test]
fn responses_are_read_as_they_were_written_and_cut_at_every_byte() {
    let mut output = Output::new(4 << 10);
    respond(
        &mut output,
        200,
        &[("Content-Type", "text/plain")],
        Content::Sized(b"tick"),
    )
    .unwrap();
    respond(&mut output, 204, &[], Content::None).unwrap();
    respond(
        &mut output,
        304,
        &[("ETag", "\"7\"")],
        Content::HeadOnly(99),
    )
    .unwrap();
    respond(&mut output, 200, &[], Content::Chunked).unwrap();
    for piece in [&b"one "[..], b"", &[b'x'; 300]] {
        write_chunk(&mut output, piece).unwrap();
    }
    last_chunk(&mut output).unwrap();
    respond(&mut output, 500, &[], Content::Sized(b"")).unwrap();
    respond(&mut output, 299, &[], Content::UntilClose).unwrap();
    output.push(b"to the end").unwrap();
    let bytes = output.pending();
    let (whole, fault) = responses(512, &[bytes]);
    assert_eq!(fault, None);
    let said = |answered: &Answered| (answered.status, answered.body.len(), answered.whole);
    let said: Vec<_> = whole.iter().map(said).collect();
    let expected = [
        (200, 4, true),
        (204, 0, true),
        (304, 0, true),
        (200, 304, true),
        (500, 0, true),
        (299, 10, false),
    ];
    assert_eq!(said, expected);
    for pieces in all_cuts(bytes) {
        assert_eq!(responses(512, &pieces), (whole.clone(), None));
    }
}

#[test]
fn each_fault_of_a_response_is_named() {
    let chunked =
        |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}\r\n");
    let faults = [
        ("FTP 220 hello\r\n".to_owned(), ResponseFault::BadLine),
        ("HTTP/2.0 200 OK\r\n\r\n".to_owned(), ResponseFault::BadLine),
        ("HTTP/1.1 2x0 OK\r\n\r\n".to_owned(), ResponseFault::BadLine),
        ("\r\n\r\n".to_owned(), ResponseFault::BadLine),
        (head("No colon\r\n"), ResponseFault::BadHeader),
        (
            head(&format!("A: {}\r\n", "b".repeat(600))),
            ResponseFault::HeadTooLong,
        ),
        (
            head(&"A:\r\n".repeat(HEADERS_MAX + 1)),
            ResponseFault::TooManyHeaders,
        ),
        (head("Content-Length: x\r\n"), ResponseFault::BadLength),
        (
            head("Transfer-Encoding: gzip, chunked\r\n"),
            ResponseFault::UnknownCoding,
        ),
        (chunked("x\r\n"), ResponseFault::BadChunk),
        (chunked("\r\n"), ResponseFault::BadChunk),
        (chunked(";a\r\n"), ResponseFault::BadChunk),
        (chunked("2\r\nabc\r\n"), ResponseFault::BadChunk),
        (chunked("11111111111111111\r\n"), ResponseFault::BadChunk),
        (
            chunked(&format!("1;{}\r\n", "x".repeat(300))),
            ResponseFault::BadChunk,
        ),
        (
            chunked(&format!("0\r\n{}", "x: y\r\n".repeat(5_000))),
            ResponseFault::BadChunk,
        ),
    ];
    let mut seen = [false; ResponseFault::ALL.len()];
    for (text, fault) in faults {
        let bytes = text.as_bytes();
        let shown = &text[..text.len().min(80)];
        assert_eq!(responses(512, &[bytes]).1, Some(fault), "{shown}");
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(
            responses(512, &pieces).1,
            Some(fault),
            "{shown} byte by byte"
        );
        seen[fault.index()] = true;
    }
    for (length, whole) in [
        (BodyLength::Sized(1), false),
        (BodyLength::Chunked, false),
        (BodyLength::Sized(0), true),
        (BodyLength::UntilClose, true),
    ] {
        let end = BodyReader::new(length).finish();
        assert_eq!(end.is_ok(), whole, "{length:?}");
        if let Err(fault) = end {
            seen[fault.index()] = true;
        }
    }
    assert!(
        seen.iter().all(|seen| *seen),
        "a fault for each reason: {seen:?}"
    );
    // Extensions of chunks and trailers mean nothing here, and do no harm.
    let good = chunked("2;name=value \r\nab\r\n0 ;x\r\nTrailer: y\r\n\r\n");
    let (all, fault) = responses(512, &[good.as_bytes()]);
    assert_eq!(
        (all[0].body.as_slice(), all[0].whole, fault),
        (&b"ab"[..], true, None)
    );
}

#[test]
fn a_refusal_says_when_to_come_again() {
    for (value, expected) in [
        ("120", Some(120)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("-1", None),
    ] {
        let text = format!("HTTP/1.1 503 x\r\nRetry-After: {value}\r\n\r\n");
        let mut input = text.as_bytes();
        let mut reader = Responses::new(512);
        let head = reader.poll(&mut input).unwrap().unwrap();
        assert_eq!(head.retry_after_s(), expected, "{value}");
    }
}

#[test]
fn a_response_that_does_not_fit_or_would_begin_another_is_not_begun() {
    let mut output = Output::new(64);
    let full = respond(&mut output, 200, &[], Content::Sized(&[b'x'; 64])).unwrap_err();
    assert!(matches!(full, NotSent::Full(full) if full.room == 64));
    let split = [("A", "b"), ("X-User", "a\r\nSet-Cookie: b")];
    assert_eq!(
        respond(&mut output, 200, &split, Content::None),
        Err(NotSent::BadHeader(1))
    );
    assert_eq!(
        respond(&mut output, 200, &[("A b", "c")], Content::None),
        Err(NotSent::BadHeader(0))
    );
    assert!(write_chunk(&mut output, &[b'x'; 64]).is_err());
    assert!(output.is_empty());
}
