//! Where a line meets the world: sources, decoders and sinks, ready-made.
//!
//! | word | is a | what it does |
//! |---|---|---|
//! | `udp` | source | receives datagrams |
//! | `tcp`, `unix` | source | receives messages from connections, each behind its length, or lines |
//! | `unix_datagram` | source | receives datagrams of this machine |
//! | `moldudp64`, `iextp` | source | receives a sequenced market feed from one line or two |
//! | `websocket` | source | receives messages from a WebSocket that it connects to |
//! | [`inlet()`] | source, in code only | takes frames from any threads of the program |
//! | `replay` | source | reads recorded messages, plain or gzip, by their own times or flat out |
//! | `capture` | source | reads what was recorded of a hop, likewise |
//! | `pcap` | source | reads the datagrams of recorded packets, likewise |
//! | `synthetic` | source | makes up a feed by a seed and a schedule |
//! | `binance` | decoder | the exchange's JSON into [`Market`](crate::feed::market::Market) |
//! | `datagram` | decoder | bytes as they are into [`Datagrams`](crate::feed::Datagrams) |
//! | `itch`, `deep`, `tops` | decoder | messages of such feeds, with their place and the feed's state |
//! | `captured` | decoder | the frames that a capture recorded |
//! | `statsd`, `graphite`, `influx` | decoder | lines of telemetry into [`Telemetry`](crate::feed::Telemetry) |
//! | `made_up` | decoder | each message, whatever is in it, is the next one of a made-up market |
//! | `udp` | sink | sends datagrams to an address |
//! | `udp_reply` | sink | sends each datagram back to where it came from, by the socket it came in by |
//! | `tcp`, `unix` | sink | writes messages to a connection |
//! | `unix_datagram` | sink | sends datagrams to a name of this machine |
//! | `stream_reply` | sink | writes each message back to the connection that it came from |
//! | `file` | sink | writes the bytes of messages to a file |
//! | `blackhole` | sink | counts |
//! | `sink_log` | sink | one line of JSON for each message that left a stage |
//!
//! [`register`] makes them known by these words; in code they are described by functions:
//!
//! ```
//! use hopline::adapter::{Binance, blackhole, replay};
//! use hopline::io::{Driver, VirtualNet};
//! use hopline::topology::{Hop, Inline, Line};
//!
//! let net = VirtualNet::new();
//! net.put_file("one.txt", br#"1723161255030314667 {"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"61800.1","q":"0.5","m":true}"#);
//! let mut line = Line::builder("one");
//! line.source("btc", replay("one.txt").speed(None).decode(Binance::new(&["BTCUSDT"])));
//! line.sink("end", blackhole());
//! line.connect("btc", "end", Hop::depth(1024));
//! let (report, _) = line.build()?.run_inline(Inline::new(Driver::from(net.driver())), None)?;
//! assert_eq!(report.hops[0].delivered, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Faults of I/O begin with [`IO_FAULT`], so that whoever reads a report can tell a full disk from
//! a failed stage.
//!
//! Invariant: nothing here waits, and no message allocates; what the world gets wrong is counted by
//! its reason or said once, and the line goes on.

mod binance;
mod blackhole;
mod datagram;
mod feeds;
mod file;
mod framed;
mod gathered;
mod inlet;
mod made_up;
mod outbox;
mod replay;
mod sequenced;
pub(crate) mod shape;
mod sink_log;
mod stream;
mod stream_reply;
mod stream_sink;
mod stream_source;
mod synthetic;
mod telemetry;
mod udp_sink;
mod udp_source;
mod unix_datagram;
mod websocket;
mod websocket_source;

use core::net::{IpAddr, SocketAddr};

pub use binance::{Binance, BinanceDecoder};
pub use blackhole::{Blackhole, blackhole};
pub use datagram::{DatagramDecoder, datagrams};
pub use feeds::{FeedDecoder, FeedFrame, deep, itch, tops};
pub use file::{FILE_BUFFER_BYTES, FileSink, FileTo, NotKept, file_to};
pub use inlet::{Inlet, InletSource, Refused, inlet};
pub use made_up::{MadeUpMarket, made_up};
pub(crate) use replay::captured_word;
pub use replay::{
    Capture, Captured, Pcap, Recorded, Replay, capture, captured, captured_of, pcap, replay,
};
pub use sequenced::{SequencedSource, SequencedUdp, iextp, moldudp64};
pub use shape::{rhythm_of, shape_of};
pub use sink_log::{LogLost, LogTo, SINK_LOG_BUFFER_BYTES, SinkLog, sink_log};
pub use stream::{Stream, shared_tcp, shared_unix, stream_on, tcp, tcp_from, unix, unix_from};
pub use stream_reply::{StreamReply, stream_reply};
pub use stream_sink::{StreamSink, StreamTo, Unwritten, tcp_to, unix_to};
pub use stream_source::{HOT_MAX, StreamSource};
pub use synthetic::{Content, MadeUp, SyntheticSource, synthetic};
pub use telemetry::{TelemetryDecoder, graphite, influx, statsd};
pub use udp_sink::{UdpSink, UdpTo, Unsent, udp_reply, udp_to};
pub use udp_source::{Udp, UdpSource, shared_udp, udp, udp_on};
pub use unix_datagram::{
    UnixDatagramFrom, UnixDatagramSink, UnixDatagramSource, UnixDatagramTo, unix_datagram,
    unix_datagram_to,
};
pub use websocket::{WebSocketFrom, websocket};
pub use websocket_source::WebSocketSource;

use crate::feed::datagram::DATAGRAM_BYTES_MAX;
use crate::io::{Endpoint, Interface, IoError, SharedSockets, SharedStreams};
use crate::stage::{Decode, Ingress};
use crate::topology::{IntoSource, Params, Problem, Registry};

pub use crate::stage::IO_FAULT;

/// Adds all sources, decoders and sinks of this room.
///
/// The sources and sinks that one registry makes find each other's sockets by name: a source with
/// `share = "echo"` and a sink with `socket = "echo"`.
#[must_use]
pub fn register(registry: Registry) -> Registry {
    let sockets = SharedSockets::default();
    let of_sources = sockets.clone();
    register_streams(registry)
        .decoder("binance", |params| {
            Binance::from_params(params)?.into_decode()
        })
        .decoder("datagram", |params| {
            Ok(Box::new(DatagramDecoder::from_params(params)?))
        })
        .decoder("statsd", |params| {
            Ok(Box::new(TelemetryDecoder::from_params(statsd(), params)?))
        })
        .decoder("graphite", |params| {
            Ok(Box::new(TelemetryDecoder::from_params(graphite(), params)?))
        })
        .decoder("influx", |params| {
            Ok(Box::new(TelemetryDecoder::from_params(influx(), params)?))
        })
        .decoder("made_up", |params| {
            Ok(Box::new(MadeUpMarket::from_params(params)?))
        })
        .decoder("itch", |_| Ok(Box::new(itch())))
        .decoder("deep", |_| Ok(Box::new(deep())))
        .decoder("tops", |_| Ok(Box::new(tops())))
        .source("moldudp64", |params, decoder| {
            let made = SequencedUdp::from_params(params, false)?.into_ingress(decoder);
            made.map_err(|problem| problem.at(params.place_of("decode")))
        })
        .source("iextp", |params, decoder| {
            let made = SequencedUdp::from_params(params, true)?.into_ingress(decoder);
            made.map_err(|problem| problem.at(params.place_of("decode")))
        })
        .source("udp", move |params, decoder| {
            Udp::from_params(params, &of_sources)?.into_ingress(decoder)
        })
        .decoder("captured", captured_frames)
        .source("capture", |params, decoder| {
            Capture::from_params(params)?.into_ingress(decoder)
        })
        .source("pcap", |params, decoder| {
            Pcap::from_params(params)?.into_ingress(decoder)
        })
        .source("replay", |params, decoder| {
            Replay::from_params(params)?.into_ingress(decoder)
        })
        .source("synthetic", |params, decoder| {
            let made = MadeUp::from_params(params)?.into_ingress(decoder);
            made.map_err(|problem| problem.at(params.place_of("bytes")))
        })
        .sink("udp", |params| Ok(Box::new(UdpSink::from_params(params)?)))
        .sink("udp_reply", move |params| {
            Ok(Box::new(UdpSink::reply_from_params(params, &sockets)?))
        })
        .sink("file", |params| Ok(Box::new(FileTo::from_params(params)?)))
        .sink("blackhole", |_| Ok(Box::new(blackhole())))
        .sink("sink_log", |params| {
            Ok(Box::new(SinkLog::from_params(params)?))
        })
}

/// The decoder of captured frames of one of the sets of this library; a program adds those of its own.
fn captured_frames(params: &mut Params) -> Result<Box<dyn Decode>, Problem> {
    let words = replay::CAPTURED.map(|(word, ..)| word);
    let find = |word: &str| replay::CAPTURED.iter().find(|(name, ..)| *name == word);
    let (_, make, _) = params
        .word("frames", &words, find)?
        .unwrap_or(&replay::CAPTURED[0]);
    Ok(make())
}

/// Adds the sources and sinks of connections and Unix sockets.
fn register_streams(registry: Registry) -> Registry {
    let streams = SharedStreams::default();
    let (of_tcp, of_unix) = (streams.clone(), streams.clone());
    registry
        .source("tcp", move |params, decoder| {
            let made = Stream::from_params(params, &of_tcp, true)?.into_ingress(decoder);
            made.map_err(|problem| problem.at(params.place_of("max_message")))
        })
        .source("unix", move |params, decoder| {
            let made = Stream::from_params(params, &of_unix, false)?.into_ingress(decoder);
            made.map_err(|problem| problem.at(params.place_of("max_message")))
        })
        .source("websocket", |params, decoder| {
            let made = WebSocketFrom::from_params(params)?.into_ingress(decoder);
            made.map_err(|problem| problem.at(params.place_of("url")))
        })
        .source("unix_datagram", |params, decoder| {
            UnixDatagramFrom::from_params(params)?.into_ingress(decoder)
        })
        .sink("tcp", |params| {
            Ok(Box::new(StreamTo::from_params(params, true)?))
        })
        .sink("unix", |params| {
            Ok(Box::new(StreamTo::from_params(params, false)?))
        })
        .sink("unix_datagram", |params| {
            Ok(Box::new(UnixDatagramSink::from_params(params)?))
        })
        .sink("stream_reply", move |params| {
            Ok(Box::new(StreamReply::from_params(params, &streams)?))
        })
}

/// What may decode a source's messages in the builder: a decoder, or a description of one.
pub trait IntoDecode {
    /// The decoder.
    ///
    /// # Errors
    /// What is wrong with the description.
    fn into_decode(self) -> Result<Box<dyn Decode>, Problem>;
}

impl<D: Decode> IntoDecode for D {
    fn into_decode(self) -> Result<Box<dyn Decode>, Problem> {
        Ok(Box::new(self))
    }
}

impl IntoDecode for Box<dyn Decode> {
    fn into_decode(self) -> Result<Box<dyn Decode>, Problem> {
        Ok(self)
    }
}

/// How messages come in, before it is said what they are.
pub trait Intake {
    /// The ingress that hands its messages to `decoder`.
    ///
    /// # Errors
    /// What is wrong with the description.
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem>;
}

/// How messages come in, and what they are: a whole description of a source.
#[derive(Clone, Copy, Debug)]
pub struct Source<S, D> {
    intake: S,
    decode: D,
}

impl<S: Intake, D: IntoDecode> IntoSource for Source<S, D> {
    fn into_source(self) -> Result<Box<dyn Ingress>, Problem> {
        self.intake.into_ingress(self.decode.into_decode()?)
    }
}

/// Gives a description of an intake the word that makes a source of it.
macro_rules! decodes {
    ($intake:ty) => {
        impl $intake {
            /// The source whose messages are what `decode` says.
            #[must_use]
            pub fn decode<D: $crate::adapter::IntoDecode>(
                self,
                decode: D,
            ) -> $crate::adapter::Source<$intake, D> {
                $crate::adapter::Source {
                    intake: self,
                    decode,
                }
            }
        }
    };
}
use decodes;

/// Whether a decoder takes messages of up to `bytes`, which `what` says of a source.
fn decoder_takes(decoder: &dyn Decode, bytes: usize, what: &str) -> Result<(), Problem> {
    match decoder.message_bytes_max() {
        Some(most) if most < bytes => Err(Problem::new(
            format!("{what} {bytes} bytes, and its decoder rejects what is longer than {most}"),
            format!(
                "let the decoder take more (\"max_bytes\" of \"datagram\", up to {DATAGRAM_BYTES_MAX}), or write at most {most}"
            ),
        )),
        _ => Ok(()),
    }
}

/// An address with its port.
fn address(key: &str, text: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| {
        Problem::new(
            format!("\"{key}\" = \"{text}\" is no address with a port"),
            format!("write it in numbers, such as {key} = \"127.0.0.1:26400\""),
        )
    })
}

/// An address to send to or hear from: with a port that is one.
fn peer(key: &str, text: &str) -> Result<SocketAddr, Problem> {
    let peer = address(key, text)?;
    if peer.port() == 0 {
        let what = format!("\"{key}\" = \"{text}\": nobody is at port 0");
        return Err(Problem::new(
            what,
            "write the port that the other side binds",
        ));
    }
    Ok(peer)
}

/// Notes addresses of which one is IPv4 and the other IPv6, each with its setting.
fn one_family(
    params: &Params,
    (key, addr): (&str, IpAddr),
    (other, other_addr): (&str, IpAddr),
) -> Result<(), Problem> {
    if addr.is_ipv4() == other_addr.is_ipv4() {
        return Ok(());
    }
    let family = |addr: IpAddr| if addr.is_ipv4() { "IPv4" } else { "IPv6" };
    let what = format!(
        "\"{key}\" is an address of {}, and \"{other}\" one of {}",
        family(addr),
        family(other_addr)
    );
    Err(params.problem(key, what, "one socket speaks one of them: write both alike"))
}

/// Whether a group can be reached by that interface: one of IPv6 knows them by their numbers.
fn interface_fits(params: &Params, group: IpAddr, interface: Interface) -> Result<(), Problem> {
    match interface {
        Interface::Address(_) if group.is_ipv6() => {
            let what = "a group of IPv6 is reached by an interface's number, not its address";
            let help = "write the number that `ip link` shows, such as interface = \"2\"";
            Err(params.problem("interface", what, help))
        }
        _ => Ok(()),
    }
}

/// The setting `interface`: any where there is none.
fn interface_of(params: &mut Params) -> Result<Interface, Problem> {
    let Some(text) = params.text("interface")? else {
        return Ok(Interface::Any);
    };
    text.parse().map_err(|_| {
        let what = format!("\"interface\" = \"{text}\" is no interface");
        let help = "write its IPv4 address, or its number as `ip link` shows it, in quotes";
        params.problem("interface", what, help)
    })
}

/// A name of a Unix socket.
fn unix_name(key: &str, text: &str) -> Result<Endpoint, Problem> {
    Endpoint::unix(text).ok_or_else(|| {
        Problem::new(
            format!("\"{key}\" = \"{text}\" is no name of a Unix socket"),
            format!(
                "write a path of at most {} bytes, or \"@name\" for one without a file",
                crate::base::limits::UNIX_NAME_BYTES_MAX
            ),
        )
    })
}

/// A fault of I/O that is told once and then only goes on happening.
#[derive(Debug, Default)]
struct Trouble {
    last: Option<IoError>,
    told: bool,
}

impl Trouble {
    /// Keeps the first error. Does not allocate.
    fn note(&mut self, error: IoError) {
        if !self.told {
            self.last.get_or_insert(error);
        }
    }

    /// The words, once.
    fn tell(&mut self, about: &dyn core::fmt::Display) -> Option<String> {
        let error = self.last.take()?;
        self.told = true;
        Some(if error.subject.is_empty() {
            format!("{IO_FAULT}{about}: {error}")
        } else {
            format!("{IO_FAULT}{error}")
        })
    }
}
