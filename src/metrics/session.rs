//! One scraper's connection, sans-IO: bytes and the time in, bytes out.
//!
//! ```text
//!   Reading ─ a whole request ─→ Waiting ─ answer ─→ Writing ─ all written ─→ Reading (keep-alive) or Over
//!      │  └─ not understood ──────────────────────────↑                        │
//!      └─ silent for too long ─→ Over                 └─ too slow ─→ Over ←────┘
//! ```
//!
//! | asked for | answer |
//! |---|---|
//! | `/metrics` | the page |
//! | `/healthz` | 200, or 503 with what keeps the line from being alive |
//! | `/readyz` | the same; 503 also once the line drains |
//! | another path | 404, with these |
//! | another method than GET or HEAD | 405 |
//! | a head that is too long, or is none | 431, 400 and so on, as [`HttpFault::status`] says |
//!
//! Invariant: never more memory than a head, what was read behind it, and a small response; a page is shared by all who read it.

use crate::base::limits::{
    METRICS_HEAD_BYTES_MAX, METRICS_IDLE_NS, METRICS_REQUEST_NS, METRICS_RESPONSE_NS,
};
use crate::base::primitive::Arc;
use crate::metrics::text::Format;
use crate::wire::Output;
use crate::wire::http::{
    Content, Headers, HttpFault, Method, Methods, RequestLimits, Requests, refuse, respond,
};

/// Room for a head and a small body: words of health name a few nodes.
const OUTPUT_BYTES: usize = 32 << 10;

/// What is behind which path.
const PATHS: &str = "there is /metrics, /healthz and /readyz\n";

const TEXT: &str = "text/plain; charset=utf-8";

const METHODS: Methods = Methods::of(&[Method::Get, Method::Head]);

/// What a request wants of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Page(Format),
    Health,
    Readiness,
}

/// Why a connection was ended from here before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// No request came, or not all of one.
    Silent,
    /// The response was not read in time.
    Slow,
    /// Another one needed its place, or there was none.
    Full,
}

impl Cut {
    pub(super) const ALL: [Cut; 3] = [Cut::Silent, Cut::Slow, Cut::Full];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Cut::Silent => "silent",
            Cut::Slow => "slow",
            Cut::Full => "full",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Waiting { wants: Wants, since_ns: u64 },
    Writing,
    Over,
}

/// A response.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media_type: &'static str,
    pub(super) body: Arc<String>,
}

impl Answer {
    /// Words with a status.
    pub(super) fn words(status: u16, words: &str) -> Answer {
        Answer {
            status,
            media_type: TEXT,
            body: Arc::new(words.to_owned()),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Session {
    requests: Requests,
    /// What was read behind the request in hand.
    unread: Vec<u8>,
    state: State,
    /// The head of the response in hand.
    output: Output,
    /// Its body, and how much of that has left.
    body: Option<(Arc<String>, usize)>,
    head_only: bool,
    keeps: bool,
    peer_ended: bool,
    due_ns: u64,
    /// The status of the response that was begun last, until it is taken.
    status: Option<u16>,
}

impl Session {
    /// A connection that began at `now_ns`.
    pub(super) fn new(now_ns: u64) -> Session {
        let limits = RequestLimits {
            head_bytes_max: METRICS_HEAD_BYTES_MAX,
            body_bytes_max: 0,
            methods: METHODS,
        };
        Session {
            requests: Requests::new(limits),
            unread: Vec::new(),
            state: State::Reading,
            output: Output::new(OUTPUT_BYTES),
            body: None,
            head_only: false,
            keeps: true,
            peer_ended: false,
            due_ns: now_ns + METRICS_REQUEST_NS,
            status: None,
        }
    }

    /// Whether it takes more bytes: a peer that sends ahead waits with the rest in its socket.
    pub(super) fn wants_input(&self) -> bool {
        self.state == State::Reading && !self.peer_ended
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, bytes: &[u8], now_ns: u64) {
        self.unread.extend_from_slice(bytes);
        self.advance(now_ns);
    }

    /// The peer sends nothing more; it may still read.
    pub(super) fn end_of_input(&mut self) {
        self.peer_ended = true;
        if self.state == State::Reading {
            self.state = State::Over;
        }
    }

    /// What it waits for, and since when.
    pub(super) fn waits(&self) -> Option<(Wants, u64)> {
        match self.state {
            State::Waiting { wants, since_ns } => Some((wants, since_ns)),
            _ => None,
        }
    }

    /// Whether nothing is on its way here: its place may be given to another.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Reading && !self.requests.is_inside()
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// When something has to be done about it, whatever comes.
    pub(super) fn due_ns(&self) -> u64 {
        match self.state {
            State::Waiting { .. } => u64::MAX,
            _ => self.due_ns,
        }
    }

    /// Ends it if its time is over.
    pub(super) fn expire(&mut self, now_ns: u64) -> Option<Cut> {
        if now_ns < self.due_ns() {
            return None;
        }
        let why = match self.state {
            State::Over | State::Waiting { .. } => return None,
            State::Reading => Cut::Silent,
            State::Writing => Cut::Slow,
        };
        let inside = self.requests.is_inside();
        self.hang_up();
        if why == Cut::Silent && inside {
            (self.keeps, self.head_only) = (false, false);
            self.say(
                &Answer::words(408, "the request did not come in time\n"),
                now_ns,
            );
        }
        Some(why)
    }

    /// Answers what it waits for.
    pub(super) fn answer(&mut self, answer: &Answer, now_ns: u64) {
        debug_assert!(self.waits().is_some(), "nothing was asked");
        self.say(answer, now_ns);
    }

    /// What is to be written next.
    pub(super) fn pending(&self) -> &[u8] {
        match &self.body {
            _ if !self.output.is_empty() => self.output.pending(),
            Some((body, left)) => &body.as_bytes()[*left..],
            None => &[],
        }
    }

    /// So many bytes of it have left.
    pub(super) fn written(&mut self, count: usize, now_ns: u64) {
        if !self.output.is_empty() {
            self.output.written(count);
        } else if let Some((_, left)) = &mut self.body {
            *left += count;
        }
        if self.state != State::Writing || !self.pending().is_empty() {
            return;
        }
        self.body = None;
        if !self.keeps || self.peer_ended {
            self.state = State::Over;
            return;
        }
        self.state = State::Reading;
        self.due_ns = now_ns + METRICS_IDLE_NS;
        self.advance(now_ns);
    }

    /// The peer is gone.
    pub(super) fn hang_up(&mut self) {
        (self.state, self.body) = (State::Over, None);
        self.output.clear();
    }

    /// The status of a response that was begun since the last call.
    pub(super) fn take_status(&mut self) -> Option<u16> {
        self.status.take()
    }

    /// Reads on in what has come.
    fn advance(&mut self, now_ns: u64) {
        if self.state != State::Reading {
            return;
        }
        let was_inside = self.requests.is_inside();
        let unread = core::mem::take(&mut self.unread);
        let mut input = unread.as_slice();
        let read = match self.requests.poll(&mut input) {
            Ok(None) => Ok(None),
            Ok(Some(request)) => {
                self.head_only = request.method == Method::Head;
                self.keeps = request.keep_alive();
                Ok(Some(wanted(request.path(), request.headers)))
            }
            Err(fault) => Err(fault),
        };
        self.unread = input.to_vec();
        match read {
            Ok(None) => {
                if !was_inside && self.requests.is_inside() {
                    self.due_ns = now_ns + METRICS_REQUEST_NS;
                }
            }
            Ok(Some(Some(wants))) => {
                self.state = State::Waiting {
                    wants,
                    since_ns: now_ns,
                };
            }
            Ok(Some(None)) => self.say(&Answer::words(404, PATHS), now_ns),
            Err(fault) => self.refuse(fault, now_ns),
        }
    }

    fn refuse(&mut self, fault: HttpFault, now_ns: u64) {
        let sent = refuse(&mut self.output, fault, METHODS);
        debug_assert!(sent.is_ok(), "the output is empty and large enough");
        (self.keeps, self.status) = (false, Some(fault.status()));
        self.write(now_ns);
    }

    fn say(&mut self, answer: &Answer, now_ns: u64) {
        let ends = [("Content-Type", answer.media_type), ("Connection", "close")];
        let headers = match self.keeps && !self.peer_ended {
            true => &ends[..1],
            false => &ends,
        };
        let length = Content::HeadOnly(answer.body.len() as u64);
        let sent = respond(&mut self.output, answer.status, headers, length);
        debug_assert!(sent.is_ok(), "the output is empty and large enough");
        let has_body = !self.head_only && !answer.body.is_empty();
        self.body = has_body.then(|| (answer.body.clone(), 0));
        self.status = Some(answer.status);
        self.write(now_ns);
    }

    fn write(&mut self, now_ns: u64) {
        self.state = State::Writing;
        self.due_ns = now_ns + METRICS_RESPONSE_NS;
    }
}

fn wanted(path: &str, headers: Headers<'_>) -> Option<Wants> {
    match path {
        "/metrics" => Some(Wants::Page(format_of(headers))),
        "/healthz" => Some(Wants::Health),
        "/readyz" => Some(Wants::Readiness),
        _ => None,
    }
}

/// OpenMetrics for whoever names it as acceptable (RFC 9110, section 12.5.1); a weight of nothing refuses it.
fn format_of(headers: Headers<'_>) -> Format {
    const MEDIA_TYPE: &[u8] = b"application/openmetrics-text";
    let accepts = |entry: &[u8]| {
        let mut parts = entry.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(MEDIA_TYPE));
        let refused = |part: &[u8]| {
            let weight = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="));
            weight.is_some_and(|digits| digits.iter().all(|digit| b"0.".contains(digit)))
        };
        named && !parts.any(refused)
    };
    match headers.list("accept").any(accepts) {
        true => Format::OpenMetrics,
        false => Format::Prometheus,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "hopline_loop_turns_total{loop=\"core-0\"} 7\n# EOF\n";
    const SCRAPE: &[u8] =
        b"GET /metrics HTTP/1.1\r\nHost: h\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n\r\n";

    fn page() -> Answer {
        Answer {
            status: 200,
            media_type: Format::OpenMetrics.media_type(),
            body: Arc::new(PAGE.to_owned()),
        }
    }

    /// Answers what is waited for and writes all that is pending, `step` bytes at a time.
    fn written(session: &mut Session, step: usize, now_ns: u64) -> String {
        let mut bytes = Vec::new();
        loop {
            if session.waits().is_some() {
                session.answer(&page(), now_ns);
            }
            let count = session.pending().len().min(step);
            if count == 0 {
                return String::from_utf8(bytes).unwrap();
            }
            bytes.extend_from_slice(&session.pending()[..count]);
            session.written(count, now_ns);
        }
    }

    fn told(request: &[u8]) -> (String, bool) {
        let mut session = Session::new(0);
        session.take(request, 1);
        let text = written(&mut session, usize::MAX, 2);
        (text, session.is_over())
    }

    #[test]
    fn a_request_may_come_in_any_cuts_and_leave_in_any_pieces() {
        let (whole, _) = told(SCRAPE);
        assert!(
            whole.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text;")
        );
        assert!(whole.ends_with(&format!("Content-Length: {}\r\n\r\n{PAGE}", PAGE.len())));
        for cut in 1..SCRAPE.len() {
            let mut session = Session::new(0);
            session.take(&SCRAPE[..cut], 1);
            assert_eq!((session.waits(), session.pending()), (None, &b""[..]));
            assert!(!session.is_idle() && session.wants_input());
            session.take(&SCRAPE[cut..], 2);
            let waits = Some((Wants::Page(Format::OpenMetrics), 2));
            assert_eq!(session.waits(), waits);
            assert!(!session.wants_input(), "the next request waits its turn");
            assert_eq!(written(&mut session, cut, 3), whole);
            assert_eq!(session.take_status(), Some(200));
            assert!(session.is_idle() && session.wants_input());
        }
    }

    #[test]
    fn requests_that_come_ahead_are_answered_one_by_one() {
        let mut session = Session::new(0);
        session.take(
            &[SCRAPE, SCRAPE, b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"].concat(),
            1,
        );
        let text = written(&mut session, 10, 2);
        assert_eq!(text.matches(PAGE).count(), 2);
        assert!(text.ends_with(PATHS) && text.contains("404 Not Found"));
        assert!(session.is_idle());
    }

    #[test]
    fn what_is_accepted_decides_the_format() {
        let format = |accept: &str| {
            let request = format!("GET /metrics?x=1 HTTP/1.1\r\nHost: h\r\n{accept}\r\n");
            let mut session = Session::new(0);
            session.take(request.as_bytes(), 1);
            session.waits().unwrap().0
        };
        for (accept, expected) in [
            ("", Format::Prometheus),
            ("Accept: */*\r\n", Format::Prometheus),
            (
                "Accept: text/plain;version=0.0.4;q=1\r\n",
                Format::Prometheus,
            ),
            (
                "Accept: application/openmetrics-text;q=0\r\n",
                Format::Prometheus,
            ),
            (
                "Accept: application/openmetrics-text; q=0.000\r\n",
                Format::Prometheus,
            ),
            (
                "Accept: application/openmetrics-text-x\r\n",
                Format::Prometheus,
            ),
            (
                "Accept: text/plain\r\nAccept: Application/OpenMetrics-Text\r\n",
                Format::OpenMetrics,
            ),
            (
                "Accept: application/openmetrics-text;version=0.0.1;q=0.75,text/plain\r\n",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(format(accept), Wants::Page(expected), "{accept}");
        }
    }

    #[test]
    fn head_has_no_body_and_1_0_ends_with_its_response() {
        let (text, over) = told(b"HEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(text.ends_with(&format!("Content-Length: {}\r\n\r\n", PAGE.len())));
        assert!(!over);
        let (text, over) = told(b"GET /metrics HTTP/1.0\r\n\r\n");
        assert!(over && text.contains("Connection: close\r\n") && text.ends_with(PAGE));
        let mut session = Session::new(0);
        session.take(SCRAPE, 1);
        session.end_of_input();
        assert!(!session.is_over(), "who has said all may still read");
        assert!(written(&mut session, 7, 2).ends_with(PAGE));
        assert!(session.is_over());
    }

    #[test]
    fn what_is_no_request_for_a_page_gets_its_status_and_the_end() {
        let long = [
            b"GET /metrics HTTP/1.1\r\nHost: h\r\nX: ".as_slice(),
            &[b'x'; METRICS_HEAD_BYTES_MAX],
        ]
        .concat();
        for (request, status, expected_over) in [
            (
                b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".as_slice(),
                405,
                true,
            ),
            (b"BREW /metrics HTTP/1.1\r\nHost: h\r\n\r\n", 501, true),
            (
                b"GET /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
                413,
                true,
            ),
            (b"GET /metrics HTTP/1.1\r\n\r\n", 400, true),
            (b"\x16\x03\x01", 400, true),
            (b"PRI * HTTP/2.0\r\n\r\n", 505, true),
            (&long, 431, true),
            (b"GET /favicon.ico HTTP/1.1\r\nHost: h\r\n\r\n", 404, false),
        ] {
            let (text, over) = told(request);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status} ")),
                "{status}: {text}"
            );
            assert_eq!(over, expected_over, "{status}");
            let allows = text.contains("Allow: GET, HEAD\r\n");
            assert_eq!(allows, status == 405, "{text}");
        }
    }

    #[test]
    fn each_wait_has_its_end() {
        // Nothing ever comes.
        let mut session = Session::new(100);
        assert_eq!(session.expire(100 + METRICS_REQUEST_NS - 1), None);
        assert_eq!(session.expire(100 + METRICS_REQUEST_NS), Some(Cut::Silent));
        assert!(session.is_over() && session.pending().is_empty());
        // A byte now and then does not buy more time.
        let mut session = Session::new(0);
        session.take(b"G", 10);
        session.take(b"E", METRICS_REQUEST_NS);
        assert_eq!(session.expire(METRICS_REQUEST_NS + 10), Some(Cut::Silent));
        let words = String::from_utf8_lossy(session.pending()).into_owned();
        assert!(words.starts_with("HTTP/1.1 408 "), "{words}");
        // A response that nobody reads, and one that is read slowly.
        let mut session = Session::new(0);
        session.take(SCRAPE, 1);
        session.answer(&page(), 5);
        session.written(3, METRICS_RESPONSE_NS);
        assert_eq!(session.expire(4 + METRICS_RESPONSE_NS), None);
        assert_eq!(session.expire(5 + METRICS_RESPONSE_NS), Some(Cut::Slow));
        assert!(session.is_over());
        // Between two requests it may rest.
        let mut session = Session::new(0);
        session.take(SCRAPE, 1);
        assert_eq!(
            session.due_ns(),
            u64::MAX,
            "the server has the time of an answer"
        );
        assert!(written(&mut session, 100, 7).ends_with(PAGE));
        assert_eq!(session.expire(6 + METRICS_IDLE_NS), None);
        assert_eq!(session.expire(7 + METRICS_IDLE_NS), Some(Cut::Silent));
    }
}
