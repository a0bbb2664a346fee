//! Follows what a client asks for.
//!
//! Invariant: each request has one answer, or is the last of its connection.

use bytes::Bytes;

use super::{Client, Http, Large, METHODS, On, Rules, Said, Via, Waits};
use crate::base::limits::{EDGE_MESSAGE_BYTES_MAX, EDGE_OUTPUT_BYTES, EDGE_RETRY_NS_MAX};
use crate::edge::SUBPROTOCOL;
use crate::edge::admission::Refused;
use crate::edge::code::Code;
use crate::edge::counts::{Counts, Ended};
use crate::edge::hub::Hub;
use crate::edge::lanes::{ChannelId, Wish};
use crate::edge::problem::{Answer, Problem};
use crate::edge::route::{Asset, Stream, Transport, Wanted};
use crate::overload::{Bucket, BucketParams};
use crate::wire::http::respond::CONTINUE;
use crate::wire::http::{Content, Method, Request, respond};
use crate::wire::websocket::{Limits, Offer, Role, WebSocket};
use crate::wire::{Output, ndjson, sse};

impl Client {
    /// Reads the next request, and follows it.
    pub(super) fn take_request(&mut self, input: &mut &[u8], on: &mut On<'_>) {
        let Via::Http(http) = &mut self.via else {
            return;
        };
        let Http {
            requests, output, ..
        } = &mut **http;
        let request = match requests.poll(input) {
            Ok(None) => {
                // Nothing takes a body; whoever asks first is told so behind it, like all others.
                if requests.take_continue() {
                    let _ = output.push(CONTINUE);
                }
                return;
            }
            Ok(Some(request)) => request,
            Err(fault) => {
                let answer = Answer::of_fault(fault, METHODS);
                on.counts.refuse(answer.problem);
                let _ = answer.respond(output, false, false);
                http.keeps = false;
                self.write_response();
                return;
            }
        };
        let head_only = request.method == Method::Head;
        let keeps = request.keep_alive();
        let routed = on.rules.router.route(&request);
        let next = match routed {
            Ok(Wanted::Stream(stream)) => open_stream(&request, stream, on.hub, on.rules),
            Ok(Wanted::Socket) => open_socket(&request),
            Ok(Wanted::Page(asset)) => Followed::Page(asset),
            Ok(Wanted::Health) => Followed::Wait(Waits::Health),
            Ok(Wanted::Ready) => Followed::Wait(Waits::Ready),
            Ok(Wanted::Metrics(exposition)) => Followed::Wait(Waits::Metrics(exposition)),
            Err(answer) => Followed::Refused(answer),
        };
        http.keeps = keeps && self.refused.is_none();
        let (next, away) = match self.refused {
            Some(refused) => refusal(refused, next),
            None => (next, None),
        };
        match next {
            Followed::Refused(answer) => {
                on.counts.refuse(answer.problem);
                let _ = answer.respond(&mut http.output, head_only, http.keeps);
                self.write_response();
            }
            Followed::Wait(waits) => http.waits = Some((waits, head_only)),
            Followed::Page(asset) => {
                let body = page(asset, &mut http.output, head_only, http.keeps);
                self.large = Large::behind(body);
                self.write_response();
            }
            Followed::HeadOnly(media_type) => {
                let _ = respond(
                    &mut http.output,
                    200,
                    &of_stream(media_type),
                    Content::UntilClose,
                );
                http.keeps = false;
                self.write_response();
            }
            Followed::Stream {
                output,
                channel,
                wish,
                types,
            } => {
                self.via = match types {
                    Some(types) => Via::Sse { output, types },
                    None => Via::Ndjson { output },
                };
                self.begin(on);
                self.session.open(false, on.now.ns);
                if let Some(after_ms) = away {
                    self.end(Code::Busy, Ended::Refused, Some(after_ms), on.now);
                    return;
                }
                self.greet(None, on);
                self.subscribe(channel, wish, on);
            }
            Followed::Socket {
                output,
                channel,
                shown,
            } => {
                let limits = Limits {
                    message_bytes_max: EDGE_MESSAGE_BYTES_MAX,
                    output_bytes_max: EDGE_OUTPUT_BYTES,
                };
                let socket = Box::new(WebSocket::new(Role::Server, limits));
                self.large = Some(Large {
                    bytes: Bytes::copy_from_slice(output.pending()),
                    left: 0,
                    leads: true,
                });
                self.via = Via::WebSocket {
                    socket,
                    wished: None,
                    charged: 0,
                    unread: Vec::new(),
                };
                self.begin(on);
                self.session.again(on.now.ns);
                if let Some(after_ms) = away {
                    self.end(Code::Busy, Ended::Refused, Some(after_ms), on.now);
                    return;
                }
                match channel {
                    Some((channel, wish)) if shown => {
                        self.session.open(true, on.now.ns);
                        self.greet(None, on);
                        self.subscribe(channel, wish, on);
                    }
                    // A page cannot set a header on a WebSocket: its hello shows the token.
                    wished => {
                        if let Via::WebSocket { wished: waits, .. } = &mut self.via {
                            *waits = wished;
                        }
                    }
                }
            }
        }
    }

    /// Counts the stream that begins.
    fn begin(&self, on: &mut On<'_>) {
        if let Some(transport) = self.transport() {
            on.counts.streams[transport as usize] += 1;
        }
    }

    /// Whether an answer is on its way to it, or is waited for.
    pub(super) fn is_answered(&self) -> bool {
        match &self.via {
            Via::Http(http) => http.writing || http.waits.is_some(),
            _ => false,
        }
    }

    /// A response is whole in the output.
    fn write_response(&mut self) {
        if let Via::Http(http) = &mut self.via {
            http.writing = true;
            http.waits = None;
            if !http.keeps {
                self.ending = Some(match self.refused {
                    Some(_) => Ended::Refused,
                    None => Ended::Answered,
                });
            }
        }
    }

    /// Answers what it waits for.
    pub fn answer(&mut self, said: &Said) {
        let Via::Http(http) = &mut self.via else {
            return;
        };
        let Some((_, head_only)) = http.waits else {
            return;
        };
        let ends = [
            ("Content-Type", said.media_type),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ];
        let headers = if http.keeps { &ends[..2] } else { &ends };
        let length = Content::HeadOnly(said.body.len() as u64);
        let sent = respond(&mut http.output, said.status, headers, length);
        debug_assert!(sent.is_ok(), "the output is empty and large enough");
        self.large = Large::behind(match head_only {
            true => Bytes::new(),
            false => said.body.clone(),
        });
        self.write_response();
    }

    /// A request that did not come in time is told so, if it had begun.
    pub(super) fn time_out(&mut self, counts: &mut Counts) {
        if let Via::Http(http) = &mut self.via
            && http.requests.is_inside()
            && !http.writing
        {
            let answer = Answer::new(
                Problem::TimedOut,
                "send the whole request within ten seconds",
            );
            counts.refuse(answer.problem);
            let _ = answer.respond(&mut http.output, false, false);
            (http.keeps, http.writing) = (false, true);
            self.ending = Some(Ended::NoHello);
        }
    }
}

/// What a request came to.
enum Followed {
    Refused(Answer),
    Wait(Waits),
    Page(&'static Asset),
    /// The head of a stream of that type, and nothing behind it.
    HeadOnly(&'static str),
    Stream {
        output: Output,
        channel: ChannelId,
        wish: Wish,
        /// Of server-sent events: whether they say their type.
        types: Option<bool>,
    },
    Socket {
        output: Output,
        channel: Option<(ChannelId, Wish)>,
        /// Whether its head showed what is to be shown.
        shown: bool,
    },
}

/// What one that may not come in is told instead, in the way of what it asked for, and when it may come back. The script of a
/// page sees nothing of a status that its stream got: a WebSocket is opened and closed with a code, an event source is told to
/// wait. Milliseconds.
fn refusal(refused: Refused, next: Followed) -> (Followed, Option<u64>) {
    let after_ns = match refused {
        Refused::Full(ns) | Refused::Rate(ns) => Some(ns),
        Refused::Address => None,
    };
    let answer = match after_ns {
        Some(ns) => Answer {
            retry_after_s: Some(ns.div_ceil(1_000_000_000)),
            ..Answer::new(
                Problem::Unavailable,
                "come back after the time in Retry-After",
            )
        },
        None => Answer::new(
            Problem::TooMany,
            "close some of the connections of this address first",
        ),
    };
    match next {
        Followed::Socket { .. } => {
            let ns = after_ns.unwrap_or(EDGE_RETRY_NS_MAX);
            (next, Some(ns / 1_000_000))
        }
        Followed::Stream { types: Some(_), .. } if after_ns.is_some() => {
            (next, after_ns.map(|ns| ns / 1_000_000))
        }
        Followed::Refused(_) => (next, None),
        _ => (Followed::Refused(answer), None),
    }
}

pub(super) fn bucket(rate_per_s: u32) -> Bucket {
    let burst = u64::from(rate_per_s / 10).clamp(1, 1_000);
    let params = BucketParams::new(u64::from(rate_per_s), burst);
    Bucket::new(params.unwrap_or_else(|_| unreachable!("a rate that was asked for is in bounds")))
}

pub(super) fn is_token(rules: &Rules, shown: Option<&str>) -> bool {
    match (&rules.token, shown) {
        (None, _) => true,
        (Some(ours), Some(theirs)) => is_same(ours.as_bytes(), theirs.as_bytes()),
        (Some(_), None) => false,
    }
}

/// Compares in a time that does not tell where they differ.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let differ = ours.iter().zip(theirs).fold(0, |all, (a, b)| all | (a ^ b));
    ours.len() == theirs.len() && differ == 0
}

/// The token that a request's head shows (RFC 6750, section 2.1).
fn bearer<'a>(request: &Request<'a>) -> Option<&'a str> {
    let value = request.headers.text("authorization")?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

const NO_TOKEN: Answer = Answer::new(
    Problem::Unauthorized,
    "send Authorization: Bearer with the token that this server was started with",
);

fn open_stream(request: &Request<'_>, stream: Stream<'_>, hub: &Hub, rules: &Rules) -> Followed {
    let is_socket = stream.transport == Transport::WebSocket;
    let shown = is_token(rules, bearer(request));
    if !shown && !is_socket {
        return Followed::Refused(NO_TOKEN);
    }
    let Some(channel) = hub.find(stream.channel.as_str()) else {
        return Followed::Refused(Answer::new(
            Problem::NoChannel,
            "the channels of a line are dag/line, alerts/line, stats/line and samples/line",
        ));
    };
    let wish = Wish {
        since: stream.since,
        no_snapshot: !stream.snapshot,
        rate: stream.rate.map(|rate| bucket(rate.get())),
        ..Wish::default()
    };
    if is_socket {
        return match open_socket(request) {
            Followed::Socket { output, .. } => Followed::Socket {
                output,
                channel: Some((channel, wish)),
                shown,
            },
            other => other,
        };
    }
    let media_type = match stream.transport {
        Transport::Sse => sse::CONTENT_TYPE,
        _ => ndjson::CONTENT_TYPE,
    };
    if request.method == Method::Head {
        return Followed::HeadOnly(media_type);
    }
    let mut own = Output::new(EDGE_OUTPUT_BYTES);
    let sent = respond(&mut own, 200, &of_stream(media_type), Content::UntilClose);
    debug_assert!(sent.is_ok(), "the output is empty and large enough");
    Followed::Stream {
        output: own,
        channel,
        wish,
        types: (stream.transport == Transport::Sse).then_some(stream.types),
    }
}

/// The headers of a stream. What stands in front must not gather the events, nor keep them for another client.
fn of_stream(media_type: &'static str) -> [(&'static str, &'static str); 3] {
    [
        ("Content-Type", media_type),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
    ]
}

fn open_socket(request: &Request<'_>) -> Followed {
    let offer = match Offer::of(request) {
        Ok(offer) => offer,
        Err(fault) => return Followed::Refused(Answer::of_offer(fault)),
    };
    // One that offers protocols and not ours is told by the lack of one in the answer (RFC 6455, section 4.2.2).
    let protocol = offer.choose(&[SUBPROTOCOL]);
    let mut output = Output::new(EDGE_OUTPUT_BYTES);
    let sent = offer.accept(&mut output, protocol);
    debug_assert!(sent.is_ok(), "the output is empty and large enough");
    Followed::Socket {
        output,
        channel: None,
        shown: false,
    }
}

/// What a page may do: load from here and talk to here, nothing else (CSP Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Puts the head of a page into `output`, and gives its body.
fn page(asset: &'static Asset, output: &mut Output, head_only: bool, keeps: bool) -> Bytes {
    let headers = [
        ("Content-Type", asset.content_type),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
        ("Referrer-Policy", "no-referrer"),
        ("Connection", "close"),
    ];
    let count = headers.len() - usize::from(keeps);
    let length = Content::HeadOnly(asset.bytes.len() as u64);
    let sent = respond(output, 200, &headers[..count], length);
    debug_assert!(sent.is_ok(), "the output is empty and large enough");
    match head_only {
        true => Bytes::new(),
        false => Bytes::from_static(asset.bytes),
    }
}
