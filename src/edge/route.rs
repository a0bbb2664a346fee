//! What a request wants: the URLs of the edge.
//!
//! | path | methods | wanted |
//! |---|---|---|
//! | `/stream/{name}/{group}` | GET, HEAD | [`Wanted::Stream`]: a channel, by WebSocket, server-sent events or NDJSON |
//! | `/dag` | GET, HEAD | the same as `/stream/dag/line` |
//! | `/ws` | GET | [`Wanted::Socket`]: a WebSocket for many channels |
//! | `/` and the pages that it was given | GET, HEAD | [`Wanted::Page`] |
//! | `/health`, `/ready`, `/metrics` | GET, HEAD | [`Wanted::Health`], [`Wanted::Ready`], [`Wanted::Metrics`] |
//!
//! | query of a stream | value | without it |
//! |---|---|---|
//! | `since` | `EPOCH:OFFSET` or `earliest` | what comes from now on, behind a snapshot |
//! | `last_event_id` | the same; counts before `since`, and the header `Last-Event-ID` before both, as Mercure has it | |
//! | `snapshot` | `1` or `0`: whether a state channel begins with its snapshot | `1` |
//! | `rate` | most events a second | as many as there are |
//! | `types` | `on` or `off`: whether server-sent events have their type in `event:`, or all come as `message` | `on` |
//!
//! Keys that are not listed are passed over, and so is a position with nothing in it. `HEAD` on a stream wants its head alone.
//!
//! Of two transports that a client likes alike, or if it accepts anything as curl does, it gets NDJSON.
//!
//! Sources: RFC 9110 (sections 9, 12.5.1, 15.5), RFC 3986 (section 2.1), the query's encoding of WHATWG URL (section 5.1).
//!
//! Invariant: a request is wanted by one row of the table, or its answer says what there is.

use core::num::NonZeroU32;
use core::str::FromStr;
use std::borrow::Cow;

use crate::base::limits::EDGE_RATE_MAX;
use crate::wire::http::{Headers, Method, Methods, Request};
use crate::wire::ndjson;
use crate::wire::sse;
use crate::wire::websocket::Offer;

use super::{Accept, Access, Answer, ChannelName, PositionFault, Problem, Since};

crate::reasons! {
    /// How the events of a channel reach a client.
    pub enum Transport {
        /// As texts of a WebSocket. The request is an [`Offer`] in good order.
        WebSocket = "websocket",
        /// As server-sent events.
        Sse = "sse",
        /// As lines of JSON.
        Ndjson = "ndjson",
    }
}

/// One channel for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream<'a> {
    /// Which.
    pub channel: ChannelName<'a>,
    /// How.
    pub transport: Transport,
    /// From where on, if the client has been here before or wants what there was.
    pub since: Option<Since>,
    /// Whether it begins with a snapshot, where the channel has one.
    pub snapshot: bool,
    /// Most events a second.
    pub rate: Option<NonZeroU32>,
    /// Whether server-sent events say their type.
    pub types: bool,
}

/// A page that is served as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its path, from the slash on.
    pub path: &'static str,
    /// Its type, as `Content-Type` has it, in lower case up to its parameters.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// One channel.
    Stream(Stream<'a>),
    /// A WebSocket, over which the client says what it wants. The request is an [`Offer`] in good order.
    Socket,
    /// A page.
    Page(&'static Asset),
    /// Whether the line is alive.
    Health,
    /// Whether it takes messages.
    Ready,
    /// The line's metrics.
    Metrics(Exposition),
}

/// As which text metrics are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus 0.0.4, for whoever does not ask for anything else.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// Methods of what is read.
const READ: Methods = Methods::of(&[Method::Get, Method::Head]);

const NOT_FOUND: Answer = Answer::new(
    Problem::NotFound,
    "there is /, /dag, /ws, /stream/{name}/{group}, /health, /ready and /metrics",
);

/// Knows the paths of one server.
///
/// ```
/// use hopline::edge::{Access, Problem, Router, Transport, Wanted};
/// use hopline::wire::http::{RequestLimits, Requests};
/// let router = Router::new(Access::default(), &[]);
/// let mut requests = Requests::new(RequestLimits::default());
/// let mut input = &b"GET /stream/samples/decode-%3Ebook?rate=5 HTTP/1.1\r\nHost: localhost\r\n\r\n"[..];
/// let request = requests.poll(&mut input).unwrap().unwrap();
/// let Ok(Wanted::Stream(stream)) = router.route(&request) else {
///     panic!("it is a stream")
/// };
/// assert_eq!(stream.channel.as_str(), "samples/decode->book");
/// assert_eq!((stream.transport, stream.rate.map(|rate| rate.get())), (Transport::Ndjson, Some(5)));
///
/// let mut input = &b"POST /dag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"[..];
/// let request = requests.poll(&mut input).unwrap().unwrap();
/// assert_eq!(router.route(&request).unwrap_err().problem, Problem::NotAllowed);
/// ```
#[derive(Clone, Debug)]
pub struct Router {
    access: Access,
    assets: &'static [Asset],
}

impl Router {
    /// A server that these may talk to, with these pages; the one at `/` is what a person sees first.
    #[must_use]
    pub const fn new(access: Access, assets: &'static [Asset]) -> Router {
        Router { access, assets }
    }

    /// What the request wants.
    ///
    /// # Errors
    /// Why it is refused, to be sent as it is.
    pub fn route<'a>(&self, request: &Request<'a>) -> Result<Wanted<'a>, Answer> {
        self.access.check(request).map_err(|problem| {
            Answer::new(
                problem,
                match problem {
                    Problem::WrongHost => {
                        "use an address, localhost, or a name that this server was told"
                    }
                    _ => "open the page of this server, or have it told that origin",
                },
            )
        })?;
        let path = request.path();
        match path {
            "/health" => read(request).map(|()| Wanted::Health),
            "/ready" => read(request).map(|()| Wanted::Ready),
            "/metrics" => read(request).map(|()| Wanted::Metrics(exposition(request.headers))),
            "/ws" => {
                Offer::of(request)?;
                Ok(Wanted::Socket)
            }
            "/dag" => stream(request, "dag/line"),
            _ => match path.strip_prefix("/stream/") {
                Some(rest) if is_pair(rest) => stream(request, rest),
                _ => self.page(request, path),
            },
        }
    }

    fn page<'a>(&self, request: &Request<'a>, path: &str) -> Result<Wanted<'a>, Answer> {
        let path = decoded(path, false)?;
        let asset = self.assets.iter().find(|asset| asset.path == path);
        let asset = asset.ok_or(NOT_FOUND)?;
        read(request)?;
        let bare = asset.content_type.split(';').next();
        match Accept::of(request.headers).accepts(bare.unwrap_or_default().trim_end()) {
            true => Ok(Wanted::Page(asset)),
            false => Err(Answer::new(
                Problem::NotAcceptable,
                "accept the type of the page, or */*",
            )),
        }
    }
}

/// Whether it is two segments of a path.
fn is_pair(path: &str) -> bool {
    let mut segments = path.split('/');
    let mut next = || segments.next().is_some_and(|segment| !segment.is_empty());
    next() && next() && segments.next().is_none()
}

/// Refuses whoever wants to do more than read.
fn read(request: &Request<'_>) -> Result<(), Answer> {
    match READ.contains(request.method) {
        true => Ok(()),
        false => Err(Answer::not_allowed(READ)),
    }
}

/// A channel, whose name is a path that is not decoded yet.
fn stream<'a>(request: &Request<'a>, raw_name: &'a str) -> Result<Wanted<'a>, Answer> {
    let channel = channel(raw_name)?;
    read(request)?;
    let transport = transport(request)?;
    let query = Query::of(request.query())?;
    Ok(Wanted::Stream(Stream {
        channel,
        transport,
        since: since(request.headers, &query)?,
        snapshot: query.snapshot.unwrap_or(true),
        rate: query.rate,
        types: query.types.unwrap_or(true),
    }))
}

fn channel(raw: &str) -> Result<ChannelName<'_>, Answer> {
    let bad = |detail| Answer::new(Problem::BadChannel, detail);
    let name = match raw.split_once('/') {
        // A slash that is written %2F is one of a part, and no part may have one.
        Some((name, group)) if raw.contains('%') => {
            let (name, group) = (decoded(name, false)?, decoded(group, false)?);
            Cow::Owned(format!("{name}/{group}"))
        }
        _ => Cow::Borrowed(raw),
    };
    ChannelName::new(name).map_err(|fault| bad(fault.advice()))
}

fn transport(request: &Request<'_>) -> Result<Transport, Answer> {
    // Whoever sends a key wants a WebSocket, also where a proxy has taken the rest out.
    let wants = request.headers.get("sec-websocket-key").is_some();
    if wants || request.wants_upgrade("websocket") {
        Offer::of(request)?;
        return Ok(Transport::WebSocket);
    }
    const OURS: [(Transport, &str); 2] = [
        (Transport::Ndjson, ndjson::CONTENT_TYPE),
        (Transport::Sse, sse::CONTENT_TYPE),
    ];
    let chosen = Accept::of(request.headers).choose(&OURS.map(|(_, content_type)| content_type));
    match chosen {
        Some(at) => Ok(OURS[at].0),
        None => Err(Answer::new(
            Problem::NotAcceptable,
            "accept text/event-stream or application/x-ndjson, or open a WebSocket",
        )),
    }
}

fn exposition(headers: Headers<'_>) -> Exposition {
    // Who accepts neither is a scraper that will say so better than a status can.
    match Accept::of(headers).choose(&["text/plain", "application/openmetrics-text"]) {
        Some(1) => Exposition::OpenMetrics,
        _ => Exposition::Prometheus,
    }
}

/// Where the client was, by the first of the three that says something.
fn since(headers: Headers<'_>, query: &Query<'_>) -> Result<Option<Since>, Answer> {
    let told = |text: &[u8]| -> Result<Since, PositionFault> {
        let text = core::str::from_utf8(text).map_err(|_| PositionFault::NoColon)?;
        text.parse()
    };
    let header = headers.get(sse::LAST_EVENT_ID);
    let query = [&query.last_event_id, &query.since];
    let texts = query.map(|text| text.as_ref().map(|text| text.as_bytes()));
    let first = [header, texts[0], texts[1]].into_iter().flatten();
    match first.filter(|text| !text.is_empty()).map(told).next() {
        None => Ok(None),
        Some(Ok(since)) => Ok(Some(since)),
        Some(Err(fault)) => Err(Answer::new(Problem::BadPosition, fault.advice())),
    }
}

/// The keys of a stream's query.
#[derive(Debug, Default)]
struct Query<'a> {
    since: Option<Cow<'a, str>>,
    last_event_id: Option<Cow<'a, str>>,
    snapshot: Option<bool>,
    rate: Option<NonZeroU32>,
    types: Option<bool>,
}

const BAD_RATE: &str = {
    assert!(EDGE_RATE_MAX == 1_000_000);
    "rate is a whole number of events a second, from 1 to 1000000"
};

impl<'a> Query<'a> {
    fn of(text: &'a str) -> Result<Query<'a>, Answer> {
        let bad = |detail| Answer::new(Problem::BadQuery, detail);
        let mut query = Query::default();
        for pair in text.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decoded(key, true)?;
            let is_known = ["since", "last_event_id", "snapshot", "rate", "types"];
            if !is_known.contains(&key.as_ref()) {
                continue;
            }
            let value = decoded(value, true)?;
            let fresh = match key.as_ref() {
                "since" => query.since.replace(value).is_none(),
                "last_event_id" => query.last_event_id.replace(value).is_none(),
                "snapshot" => {
                    let flag = flag(&value, "1", "0").ok_or(bad("snapshot is 1 or 0"))?;
                    query.snapshot.replace(flag).is_none()
                }
                "types" => {
                    let flag = flag(&value, "on", "off").ok_or(bad("types is on or off"))?;
                    query.types.replace(flag).is_none()
                }
                _ => {
                    let rate = rate(&value).ok_or(bad(const { BAD_RATE }))?;
                    query.rate.replace(rate).is_none()
                }
            };
            if !fresh {
                return Err(bad("give each key once"));
            }
        }
        Ok(query)
    }
}

fn flag(text: &str, yes: &str, no: &str) -> Option<bool> {
    (text == yes || text == no).then_some(text == yes)
}

fn rate(text: &str) -> Option<NonZeroU32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let rate = NonZeroU32::from_str(text).ok()?;
    (is_number && rate.get() <= EDGE_RATE_MAX).then_some(rate)
}

/// The text with its `%XX` put right, and in a query its `+`.
fn decoded(text: &str, in_query: bool) -> Result<Cow<'_, str>, Answer> {
    let bad = Answer::new(
        Problem::BadTarget,
        "write what is no letter or digit as %XX, the bytes of UTF-8 in hexadecimal",
    );
    let is_plain = |byte: u8| byte != b'%' && !(in_query && byte == b'+');
    if text.bytes().all(is_plain) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match first {
            b'+' if in_query => b' ',
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>().ok_or(bad)?;
                rest = after;
                let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(bad);
                (16 * digit(digits[0])? + digit(digits[1])?) as u8
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| bad)
}
