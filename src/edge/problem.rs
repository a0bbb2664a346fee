//! Why a request is refused, as problem+json (RFC 9457).
//!
//! ```text
//!   HTTP/1.1 406 Not Acceptable
//!   Content-Type: application/problem+json
//!
//!   {"type":"tag:hopline,2026:not_acceptable","title":"None of the types that are there is acceptable","status":406,
//!    "detail":"accept text/event-stream or application/x-ndjson, or open a WebSocket"}
//! ```
//!
//! `type` is a tag (RFC 4151): a name for programs to compare, which leads nowhere. `detail` says what to send instead. Nothing of the
//! request is in an answer.
//!
//! Invariant: whatever is wrong with a request has one of these, which a counter can name.

use core::fmt;

use crate::base::Reason;
use crate::edge::json;
use crate::wire::Output;
use crate::wire::http::{Content, HttpFault, Methods, NotSent, respond};
use crate::wire::websocket::OfferFault;

/// The type of an answer's body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What stands before a problem's name in its `type`.
const TAG: &str = "tag:hopline,2026:";

macro_rules! problems {
    ($($(#[$meta:meta])* $variant:ident = $status:literal $name:literal $title:literal),+ $(,)?) => {
        crate::reasons! {
            /// What is wrong with a request.
            pub enum Problem { $($(#[$meta])* $variant = $name),+ }
        }

        impl Problem {
            /// The status of the answer.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Problem::$variant => $status),+ }
            }

            /// What it is, in words that never change.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Problem::$variant => $title),+ }
            }
        }
    };
}

problems! {
    /// It is no HTTP, or contradicts itself.
    BadRequest = 400 "bad_request" "The request cannot be understood",
    /// A path or query that cannot be decoded.
    BadTarget = 400 "bad_target" "The path or query cannot be decoded",
    /// A channel's name that can be none.
    BadChannel = 400 "bad_channel" "No channel may be called so",
    /// A key of the query with a value that it cannot have.
    BadQuery = 400 "bad_query" "A value of the query cannot be used",
    /// A position that is none.
    BadPosition = 400 "bad_position" "The position to resume from cannot be read",
    /// A WebSocket's handshake that lacks something.
    BadHandshake = 400 "bad_handshake" "The handshake of a WebSocket is not complete",
    /// It shows no token, or one that is not accepted.
    Unauthorized = 401 "unauthorized" "A token is needed",
    /// It comes from a page that has no business here.
    ForgedOrigin = 403 "forged_origin" "Pages of that origin may not talk to this server",
    /// There is nothing at that path.
    NotFound = 404 "not_found" "There is nothing at that path",
    /// There is no such channel.
    NoChannel = 404 "no_channel" "There is no such channel",
    /// What is there does not take that method.
    NotAllowed = 405 "method_not_allowed" "The method is not allowed here",
    /// What is there has no type that the client accepts.
    NotAcceptable = 406 "not_acceptable" "None of the types that are there is acceptable",
    /// It did not come in time.
    TimedOut = 408 "timed_out" "The request did not come in time",
    /// Its body comes without a length.
    NoLength = 411 "length_required" "The body comes without its length",
    /// Its body is too long.
    BodyTooLong = 413 "body_too_long" "The body is too long",
    /// Its target is too long.
    TargetTooLong = 414 "target_too_long" "The target is too long",
    /// An expectation that is not met.
    BadExpectation = 417 "bad_expectation" "The expectation cannot be met",
    /// It is for another server.
    WrongHost = 421 "wrong_host" "This server does not answer for that host",
    /// A WebSocket belongs there.
    UpgradeRequired = 426 "upgrade_required" "A WebSocket has to be opened here",
    /// One client has as many connections as it may, or makes them too fast.
    TooMany = 429 "too_many" "Too many connections from this address",
    /// Its head is too long.
    HeadTooLong = 431 "head_too_long" "The headers are too long",
    /// A method or coding that nothing here knows.
    NotImplemented = 501 "not_implemented" "Nothing here knows that method or coding",
    /// No more clients are taken now.
    Unavailable = 503 "unavailable" "No more clients are taken now",
    /// A version of HTTP that is not spoken here.
    BadVersion = 505 "unsupported_version" "That version of HTTP is not spoken here",
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

impl core::error::Error for Problem {}

/// The answer to a request that is refused.
///
/// ```
/// use hopline::edge::{Answer, Problem};
/// use hopline::wire::Output;
/// let answer = Answer::new(Problem::NotFound, "there is /stream/{name}/{group}");
/// let mut output = Output::new(1 << 10);
/// answer.respond(&mut output, false, true).unwrap();
/// let text = core::str::from_utf8(output.pending()).unwrap();
/// assert!(text.starts_with("HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\n"));
/// assert!(text.ends_with(&answer.body()));
/// assert_eq!(
///     answer.body(),
///     concat!(
///         r#"{"type":"tag:hopline,2026:not_found","title":"There is nothing at that path","#,
///         r#""status":404,"detail":"there is /stream/{name}/{group}"}"#,
///     )
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is wrong.
    pub problem: Problem,
    /// What to send instead, for people.
    pub detail: &'static str,
    /// The methods that are allowed, where one was used that is not.
    pub allowed: Option<Methods>,
    /// When the client may come back, in seconds, where that helps.
    pub retry_after_s: Option<u64>,
}

impl Answer {
    /// The answer to a request with that problem.
    #[must_use]
    pub const fn new(problem: Problem, detail: &'static str) -> Answer {
        Answer {
            problem,
            detail,
            allowed: None,
            retry_after_s: None,
        }
    }

    /// The answer to a request with a method that is not one of these.
    #[must_use]
    pub const fn not_allowed(allowed: Methods) -> Answer {
        Answer {
            allowed: Some(allowed),
            ..Answer::new(Problem::NotAllowed, HttpFault::NotAllowed.advice())
        }
    }

    /// The answer to what is no request that can be followed; `allowed` are the methods that a reader takes at all. The connection
    /// ends behind it.
    #[must_use]
    pub const fn of_fault(fault: HttpFault, allowed: Methods) -> Answer {
        let problem = match fault {
            HttpFault::BadLine
            | HttpFault::BadHeader
            | HttpFault::BadHost
            | HttpFault::BadLength
            | HttpFault::LengthAndCoding => Problem::BadRequest,
            HttpFault::NotAllowed => return Answer::not_allowed(allowed),
            HttpFault::NoLength => Problem::NoLength,
            HttpFault::BodyTooLong => Problem::BodyTooLong,
            HttpFault::TargetTooLong => Problem::TargetTooLong,
            HttpFault::BadExpectation => Problem::BadExpectation,
            HttpFault::HeadTooLong | HttpFault::TooManyHeaders => Problem::HeadTooLong,
            HttpFault::UnknownMethod | HttpFault::UnknownCoding => Problem::NotImplemented,
            HttpFault::BadVersion => Problem::BadVersion,
        };
        Answer::new(problem, fault.advice())
    }

    /// The answer to a request that wants a WebSocket and is no handshake for one.
    #[must_use]
    pub const fn of_offer(fault: OfferFault) -> Answer {
        let (problem, detail) = match fault {
            OfferFault::NotGet => {
                return Answer::not_allowed(Methods::of(&[crate::wire::http::Method::Get]));
            }
            OfferFault::NoUpgrade => (
                Problem::UpgradeRequired,
                "send Connection: Upgrade and Upgrade: websocket with HTTP/1.1; a proxy on the way may take them out",
            ),
            OfferFault::BadVersion => (Problem::UpgradeRequired, "send Sec-WebSocket-Version: 13"),
            OfferFault::BadKey => (
                Problem::BadHandshake,
                "send Sec-WebSocket-Key once: 16 bytes in base64",
            ),
        };
        Answer::new(problem, detail)
    }

    /// The same, with the time after which the client may come back.
    #[must_use]
    pub const fn retry_after_s(mut self, seconds: u64) -> Answer {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Its body: the problem as JSON.
    #[must_use]
    pub fn body(&self) -> String {
        json::object(|to| {
            to.display("type", format_args!("{TAG}{}", self.problem.name()));
            to.text("title", self.problem.title());
            to.number("status", u64::from(self.problem.status()));
            to.prose("detail", self.detail);
        })
    }

    /// Puts it into `output`, without its body where it answers a `HEAD` (`head_only`); `keeps` says whether the connection goes on.
    ///
    /// # Errors
    /// There is no room for all of it; nothing was written. It has less than a KiB.
    pub fn respond(
        &self,
        output: &mut Output,
        head_only: bool,
        keeps: bool,
    ) -> Result<(), NotSent> {
        let body = self.body();
        let allow = self.allowed.map(|methods| methods.to_string());
        let retry = self.retry_after_s.map(|seconds| seconds.to_string());
        let wants_upgrade = self.problem == Problem::UpgradeRequired;
        let mut headers = Vec::with_capacity(8);
        headers.push(("Content-Type", CONTENT_TYPE));
        headers.push(("Cache-Control", "no-store"));
        headers.push(("X-Content-Type-Options", "nosniff"));
        if let Some(allow) = &allow {
            headers.push(("Allow", allow));
        }
        if let Some(retry) = &retry {
            headers.push(("Retry-After", retry));
        }
        if self.problem == Problem::Unauthorized {
            // RFC 9110, section 11.6.1, wants it said how.
            headers.push(("WWW-Authenticate", "Bearer"));
        }
        if wants_upgrade {
            headers.push(("Upgrade", "websocket"));
            headers.push(("Sec-WebSocket-Version", "13"));
        }
        match (wants_upgrade, keeps) {
            (false, true) => {}
            (false, false) => headers.push(("Connection", "close")),
            (true, true) => headers.push(("Connection", "Upgrade")),
            (true, false) => headers.push(("Connection", "Upgrade, close")),
        }
        let content = match head_only {
            true => Content::HeadOnly(body.len() as u64),
            false => Content::Sized(body.as_bytes()),
        };
        respond(output, self.problem.status(), &headers, content)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem, self.detail)
    }
}

impl core::error::Error for Answer {}

impl From<OfferFault> for Answer {
    fn from(fault: OfferFault) -> Answer {
        Answer::of_offer(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::Method;
    use crate::wire::http::respond::reason_phrase;

    const READ: Methods = Methods::of(&[Method::Get, Method::Head]);

    fn told(answer: &Answer, head_only: bool, keeps: bool) -> String {
        let mut output = Output::new(1 << 10);
        answer.respond(&mut output, head_only, keeps).unwrap();
        String::from_utf8(output.pending().to_vec()).unwrap()
    }

    #[test]
    fn each_problem_has_a_status_with_a_phrase_and_a_body_of_its_own() {
        let mut bodies = Vec::new();
        for problem in Problem::ALL {
            assert!(!reason_phrase(problem.status()).is_empty(), "{problem:?}");
            let answer = Answer::new(*problem, "do something else");
            let text = told(&answer, false, true);
            let line = format!("HTTP/1.1 {} ", problem.status());
            assert!(text.starts_with(&line) && text.ends_with(&answer.body()));
            bodies.push(answer.body());
        }
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), Problem::ALL.len());
    }

    #[test]
    fn a_fault_keeps_its_status_and_its_advice() {
        for fault in HttpFault::ALL {
            let answer = Answer::of_fault(*fault, READ);
            assert_eq!(answer.problem.status(), fault.status(), "{fault:?}");
            assert_eq!(answer.detail, fault.advice());
            let allowed = (fault.status() == 405).then_some(READ);
            assert_eq!(answer.allowed, allowed);
        }
        for fault in OfferFault::ALL {
            assert_eq!(Answer::of_offer(*fault).problem.status(), fault.status());
        }
    }

    #[test]
    fn headers_say_what_a_program_needs() {
        let text = told(&Answer::not_allowed(READ), false, true);
        assert!(text.contains("\r\nAllow: GET, HEAD\r\n") && !text.contains("Connection"));
        let busy = Answer::new(Problem::TooMany, "wait").retry_after_s(7);
        let text = told(&busy, false, false);
        assert!(
            text.contains("\r\nRetry-After: 7\r\n") && text.contains("\r\nConnection: close\r\n")
        );
        let text = told(&Answer::new(Problem::Unauthorized, "show it"), false, true);
        assert!(text.contains("\r\nWWW-Authenticate: Bearer\r\n"));
        let text = told(&Answer::of_offer(OfferFault::BadVersion), false, false);
        assert!(text.contains("\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
        assert!(text.contains("\r\nConnection: Upgrade, close\r\n"));
    }

    #[test]
    fn the_answer_to_head_has_the_length_and_no_body() {
        let answer = Answer::new(Problem::NotFound, "there is nothing");
        let (whole, head) = (told(&answer, false, true), told(&answer, true, true));
        assert_eq!(whole.strip_suffix(&answer.body()), Some(head.as_str()));
    }

    #[test]
    fn what_has_no_room_is_not_begun() {
        let answer = Answer::not_allowed(READ);
        let needed = told(&answer, false, false).len();
        for room in 0..needed {
            let mut output = Output::new(room);
            assert!(answer.respond(&mut output, false, false).is_err());
            assert!(output.is_empty());
        }
    }
}
