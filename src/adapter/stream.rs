//! What a source of connections is told: where, how messages are framed, how many connections.
//!
//! Invariant: a description opens nothing; what is wrong in it is reported when the line is built.

use crate::adapter::framed::Framed;
use crate::adapter::stream_source::StreamSource;
use crate::adapter::{Intake, address, decoder_takes, decodes, peer, unix_name};
use crate::base::limits::{
    CONNECTIONS_DEFAULT, CONNECTIONS_MAX, MESSAGE_BYTES_MAX, STREAM_MESSAGE_BYTES_DEFAULT,
};
use crate::io::{Endpoint, SharedStream, SharedStreams, StreamSpec};
use crate::stage::{Decode, Ingress, LineEnds};
use crate::topology::{Params, Problem};
use crate::wire::{Framing, Prefix};

/// Largest receive buffer that a source may ask for, in bytes: 1 GiB, more than any kernel grants
/// by default.
const RECV_BUFFER_BYTES_MAX: u64 = 1 << 30;

/// A description of a source of messages from connections.
#[derive(Clone, Debug)]
pub struct Stream {
    opens: Result<Opens, Problem>,
    told_apart: Option<ToldApart>,
    /// If it was said: a message over it ends its connection, one over the decoder's bound only itself.
    message_bytes_max: Option<usize>,
    connections_max: usize,
}

/// How messages are told apart, where that is said.
#[derive(Clone, Copy, Debug)]
enum ToldApart {
    Behind(Prefix),
    Lines,
}

#[derive(Clone, Debug)]
pub(super) struct Opens {
    pub(super) spec: StreamSpec,
    /// Whether it connects instead of listening.
    pub(super) connects: bool,
    /// Who replies on its connections.
    pub(super) shared: Option<SharedStream>,
}

fn stream(at: Result<Endpoint, Problem>, connects: bool) -> Stream {
    Stream {
        opens: at.map(|at| Opens {
            spec: StreamSpec::at(at),
            connects,
            shared: None,
        }),
        told_apart: None,
        message_bytes_max: None,
        connections_max: CONNECTIONS_DEFAULT,
    }
}

/// Messages from TCP connections that are accepted at `bind`: an address with a port, in numbers.
/// A wrong one is reported when the line is built.
///
/// ```
/// use hopline::adapter::{datagrams, tcp};
/// let source = tcp("127.0.0.1:26410").connections(256).decode(datagrams());
/// ```
#[must_use]
pub fn tcp(bind: &str) -> Stream {
    stream(address("bind", bind).map(Endpoint::Tcp), false)
}

/// Messages from the TCP connection to `to`, made again whenever it is lost.
#[must_use]
pub fn tcp_from(to: &str) -> Stream {
    stream(peer("connect", to).map(Endpoint::Tcp), true)
}

/// Messages from connections to the Unix socket `bind`: a path, or `@name` for one without a file.
#[must_use]
pub fn unix(bind: &str) -> Stream {
    stream(unix_name("bind", bind), false)
}

/// Messages from the connection to the Unix socket `to`, made again whenever it is lost.
#[must_use]
pub fn unix_from(to: &str) -> Stream {
    stream(unix_name("connect", to), true)
}

/// Messages from connections on which sinks reply: see [`stream_reply`](crate::adapter::stream_reply).
#[must_use]
pub fn stream_on(shared: &SharedStream) -> Stream {
    let mut stream = stream(Ok(shared.spec().at.clone()), false);
    if let Ok(opens) = &mut stream.opens {
        opens.spec = shared.spec().clone();
        opens.shared = Some(shared.clone());
    }
    stream
}

/// TCP connections at `bind`, for [`stream_on`] and [`stream_reply`](crate::adapter::stream_reply).
///
/// # Errors
/// No address with a port.
pub fn shared_tcp(bind: &str) -> Result<SharedStream, Problem> {
    let at = address("bind", bind)?;
    Ok(SharedStream::new(StreamSpec::at(at)))
}

/// Connections to the Unix socket `bind`, for [`stream_on`] and
/// [`stream_reply`](crate::adapter::stream_reply).
///
/// # Errors
/// No name of a Unix socket.
pub fn shared_unix(bind: &str) -> Result<SharedStream, Problem> {
    let at = unix_name("bind", bind)?;
    Ok(SharedStream::new(StreamSpec::at(at)))
}

decodes!(Stream);

impl Stream {
    /// The same with that length before each message. If nothing is said, messages are lines where the
    /// decoder reads lines, and behind [`Prefix::U32Be`] where it does not.
    #[must_use]
    pub fn framing(mut self, prefix: Prefix) -> Stream {
        self.told_apart = Some(ToldApart::Behind(prefix));
        self
    }

    /// The same with messages that are lines, which end as the decoder says, or else with a line feed.
    /// A line that is too long is refused and left out, and its connection goes on.
    #[must_use]
    pub fn lines(mut self) -> Stream {
        self.told_apart = Some(ToldApart::Lines);
        self
    }

    /// The same for messages of at most that many bytes, and never more than
    /// [`MESSAGE_BYTES_MAX`]. A connection that announces a longer one is closed. More than the decoder
    /// takes is reported when the line is built.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Stream {
        self.message_bytes_max = Some(bytes.min(MESSAGE_BYTES_MAX));
        self
    }

    /// The same with at most that many connections, 1 to [`CONNECTIONS_MAX`]. Each has a buffer
    /// from the start; one more is closed as soon as it is accepted, and counted.
    #[must_use]
    pub fn connections(mut self, most: usize) -> Stream {
        self.connections_max = most.clamp(1, CONNECTIONS_MAX);
        self
    }

    /// The same with `TCP_NODELAY` or without it.
    #[must_use]
    pub fn nodelay(mut self, on: bool) -> Stream {
        if let Ok(opens) = &mut self.opens {
            opens.spec.nodelay = on;
        }
        self
    }

    /// The same with a receive buffer of that many bytes asked of the kernel for each connection.
    #[must_use]
    pub fn recv_buffer(mut self, bytes: usize) -> Stream {
        if let Ok(opens) = &mut self.opens {
            opens.spec.recv_buffer_bytes = Some(bytes);
        }
        self
    }

    /// From the settings `bind` or `connect`, `framing`, `max_message`, `connections`,
    /// `recv_buffer`, `share`, and `nodelay` if `is_tcp`.
    pub(crate) fn from_params(
        params: &mut Params,
        names: &SharedStreams,
        is_tcp: bool,
    ) -> Result<Stream, Problem> {
        let example = if is_tcp {
            "127.0.0.1:26410"
        } else {
            "feed.sock"
        };
        let at = |key: &str, text: &str, params: &Params| {
            let at = match is_tcp {
                true if key == "connect" => peer(key, text).map(Endpoint::Tcp),
                true => address(key, text).map(Endpoint::Tcp),
                false => unix_name(key, text),
            };
            at.map_err(|error| error.at(params.place_of(key)))
        };
        let connect = params.text("connect")?;
        let mut made = match connect {
            Some(_) if params.has("bind") => {
                let what = "\"bind\" and \"connect\" exclude each other";
                let help = "a source listens or connects: leave one out";
                return Err(params.problem("connect", what, help));
            }
            Some(text) => stream(Ok(at("connect", &text, params)?), true),
            None => {
                let text = params.need_text("bind", example)?;
                stream(Ok(at("bind", &text, params)?), false)
            }
        };
        let mut words: Vec<&str> = Prefix::WORDS.iter().map(|(word, _)| *word).collect();
        words.push("lines");
        let told_apart = |word: &str| match word {
            "lines" => Some(ToldApart::Lines),
            word => Prefix::of_word(word).map(ToldApart::Behind),
        };
        made.told_apart = params.word("framing", &words, told_apart)?;
        let bytes = message_bytes_from_params(params)?;
        made.message_bytes_max = params.has("max_message").then_some(bytes);
        let (few, most) = (CONNECTIONS_DEFAULT as u64, CONNECTIONS_MAX as u64);
        made.connections_max = params.count("connections", few, 1..=most)? as usize;
        let bytes = params.count("recv_buffer", 0, 0..=RECV_BUFFER_BYTES_MAX)?;
        let nodelay = !is_tcp || params.flag("nodelay", true)?;
        if let Ok(opens) = &mut made.opens {
            opens.spec.recv_buffer_bytes = (bytes > 0).then_some(bytes as usize);
            opens.spec.nodelay = nodelay;
        }
        if let Some(name) = params.text("share")?
            && let Ok(opens) = &mut made.opens
        {
            let shared = names.declare(&name, opens.spec.clone());
            opens.shared = Some(shared.map_err(|_| {
                params.problem(
                    "share",
                    format!("another source already shares its connections as \"{name}\""),
                    "give one of them another name",
                )
            })?);
        }
        Ok(made)
    }
}

/// From the settings `framing` and `max_message` of a sink.
pub(super) fn framing_from_params(params: &mut Params) -> Result<(Prefix, usize), Problem> {
    let mut words: Vec<&str> = Prefix::WORDS.iter().map(|(word, _)| *word).collect();
    words.push("none");
    let prefix = params.word("framing", &words, |word| match word {
        "none" => Some(Prefix::None),
        word => Prefix::of_word(word),
    })?;
    Ok((
        prefix.unwrap_or_default(),
        message_bytes_from_params(params)?,
    ))
}

/// From the setting `max_message`.
fn message_bytes_from_params(params: &mut Params) -> Result<usize, Problem> {
    let bytes = STREAM_MESSAGE_BYTES_DEFAULT as u64;
    let bytes = params.count("max_message", bytes, 1..=MESSAGE_BYTES_MAX as u64)?;
    Ok(bytes as usize)
}

impl Intake for Stream {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        if let Some(bytes) = self.message_bytes_max {
            let what = "messages are let in up to";
            decoder_takes(decoder.as_ref(), bytes, what)?;
        }
        let ends = decoder.line_ends();
        let told_apart = self.told_apart.unwrap_or(match ends {
            Some(_) => ToldApart::Lines,
            None => ToldApart::Behind(Prefix::default()),
        });
        let said = self.message_bytes_max;
        let framed = match told_apart {
            ToldApart::Lines => {
                // What is longer than the decoder takes need not be gathered first.
                let most = said.or(decoder.message_bytes_max());
                Framed::Lines {
                    ends: ends.unwrap_or(LineEnds::Feed),
                    bytes_max: most.unwrap_or(STREAM_MESSAGE_BYTES_DEFAULT),
                }
            }
            ToldApart::Behind(Prefix::None) => return Err(no_framing("none", "lines")),
            ToldApart::Behind(_) if decoder.is_packed() => {
                return Err(no_framing("a length before each message", "lines"));
            }
            ToldApart::Behind(prefix) => Framed::Behind(Framing::new(
                prefix,
                said.unwrap_or(STREAM_MESSAGE_BYTES_DEFAULT),
            )),
        };
        let opens = self.opens?;
        if let Some(shared) = &opens.shared {
            // One that connects has one.
            shared.lets_in(if opens.connects {
                1
            } else {
                self.connections_max
            });
        }
        let source = StreamSource::new(opens, framed, self.connections_max, decoder);
        Ok(Box::new(source))
    }
}

/// Messages cannot be told apart like that.
fn no_framing(given: &str, instead: &str) -> Problem {
    Problem::new(
        format!("\"framing\": {given} does not tell the messages of this decoder apart"),
        format!("write framing = \"{instead}\", or leave it out"),
    )
}
