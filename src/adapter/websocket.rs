//! What a WebSocket source is told: where it leads, what it asks for when it is open, how long it waits for what.
//!
//! Invariant: a description opens nothing; what is wrong in it is reported when the line is built.

use core::net::SocketAddr;

use crate::adapter::websocket_source::WebSocketSource;
use crate::adapter::{Intake, decoder_takes, decodes, peer};
use crate::base::limits::{
    MESSAGE_BYTES_MAX, WEBSOCKET_READ_BYTES_DEFAULT, WEBSOCKET_READ_BYTES_MAX,
    WEBSOCKET_SUBSCRIBE_BYTES_MAX,
};
use crate::base::units::Span;
use crate::io::{Endpoint, StreamSpec};
use crate::stage::{Decode, Ingress};
use crate::topology::{Params, Problem};
use crate::wire::session::SessionConfig;
use crate::wire::websocket::{ClientConfig, HEADER_BYTES_MAX, Limits, Opening, Url, UrlFault};

/// Largest receive buffer that a source may ask for, in bytes, as for other connections: 1 GiB.
const RECV_BUFFER_BYTES_MAX: u64 = 1 << 30;

/// Bytes of pongs, pings and a close that may wait for a peer that does not read: some dozens of the longest.
const CONTROL_BYTES: usize = 8 << 10;

/// Shortest time that may be set, in nanoseconds: a loop that rests looks up no sooner than this.
const SPAN_NS_MIN: u64 = 1_000_000;

/// Longest, in nanoseconds: an hour. A feed that is missed for longer is for a person to look at.
const SPAN_NS_MAX: u64 = 3_600_000_000_000;

/// A description of a source of messages from a WebSocket that it connects to.
#[derive(Clone, Debug)]
pub struct WebSocketFrom {
    opens: Result<Opens, Problem>,
    subscribe: Vec<String>,
    /// Whether it was said: one over the decoder's own bound is then a mistake.
    message_bytes_max: Option<usize>,
    read_bytes_max: usize,
    session: SessionConfig,
}

#[derive(Clone, Debug)]
struct Opens {
    url: String,
    opening: Opening,
    spec: Option<StreamSpec>,
}

/// All that a source needs.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// As it was written, for people.
    pub(super) url: String,
    pub(super) spec: StreamSpec,
    pub(super) client: ClientConfig,
    pub(super) subscribe: Vec<String>,
    /// Longest message that is decoded.
    pub(super) message_bytes_max: usize,
}

/// Messages from the WebSocket at `url`, such as `ws://127.0.0.1:9443/ws`, which is connected to again whenever it is lost.
/// A wrong URL is reported when the line is built.
///
/// The host stands there in numbers, or [`WebSocketFrom::connect`] says where it is: a loop looks up no names. TLS (`wss`)
/// is not spoken.
///
/// ```
/// use hopline::adapter::{Binance, websocket};
/// let source = websocket("ws://127.0.0.1:9443/ws")
///     .subscribe(r#"{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}"#)
///     .decode(Binance::new(&["BTCUSDT"]));
/// ```
#[must_use]
pub fn websocket(url: &str) -> WebSocketFrom {
    WebSocketFrom {
        opens: opens(url),
        subscribe: Vec::new(),
        message_bytes_max: None,
        read_bytes_max: WEBSOCKET_READ_BYTES_DEFAULT,
        session: SessionConfig::default(),
    }
}

fn opens(text: &str) -> Result<Opens, Problem> {
    let wrong = |fault: UrlFault| {
        let help = match fault {
            UrlFault::Tls => {
                "connect by ws:// to a proxy that speaks TLS for it (stunnel, haproxy), on this machine"
            }
            _ => "write it as url = \"ws://127.0.0.1:9443/ws\"",
        };
        Problem::new(format!("\"url\" = \"{text}\": {fault}"), help)
    };
    let url = Url::parse(text).map_err(wrong)?;
    let opening = Opening::new(&url.authority, &url.target);
    Ok(Opens {
        url: text.to_owned(),
        opening: opening.ok_or_else(|| wrong(UrlFault::Target))?,
        spec: url.address().map(|at| StreamSpec::at(Endpoint::Tcp(at))),
    })
}

decodes!(WebSocketFrom);

impl WebSocketFrom {
    fn change(mut self, change: impl FnOnce(Opens) -> Result<Opens, Problem>) -> WebSocketFrom {
        self.opens = self.opens.and_then(change);
        self
    }

    /// The same, connected to by this address, in numbers and with a port; the URL still names the host that is asked for.
    #[must_use]
    pub fn connect(self, to: &str) -> WebSocketFrom {
        self.change(|opens| Ok(opens.at(peer("connect", to)?)))
    }

    /// The same, and sends that text whenever it is open, behind those before; at most
    /// [`WEBSOCKET_SUBSCRIBE_BYTES_MAX`] bytes in all.
    #[must_use]
    pub fn subscribe(mut self, text: &str) -> WebSocketFrom {
        self.subscribe.push(text.to_owned());
        self
    }

    /// The same, and offers that subprotocol.
    #[must_use]
    pub fn protocol(self, protocol: &str) -> WebSocketFrom {
        self.change(|mut opens| {
            let offered = opens.opening.protocol(protocol);
            opens.opening = offered.ok_or_else(|| {
                let what = format!("\"protocol\" = \"{protocol}\" is no subprotocol");
                Problem::new(what, "write a word of letters, digits, - . and _")
            })?;
            Ok(opens)
        })
    }

    /// The same, and asks with that header as well.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> WebSocketFrom {
        self.change(|mut opens| {
            let sent = opens.opening.header(name, value);
            opens.opening = sent.ok_or_else(|| {
                let what = format!("\"headers\" has \"{name}\", which may not be a header so");
                Problem::new(what, "write \"Name: value\", in characters of ASCII")
            })?;
            Ok(opens)
        })
    }

    /// The same for messages of at most that many bytes, and never more than [`MESSAGE_BYTES_MAX`], which is what stands
    /// if nothing is said. Longer ones are refused as too long, and the connection stays.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> WebSocketFrom {
        self.message_bytes_max = Some(bytes.clamp(1, MESSAGE_BYTES_MAX));
        self
    }

    /// The same, and closes a connection that brings a message longer than that many bytes, at most
    /// [`WEBSOCKET_READ_BYTES_MAX`]: it bounds the memory that a peer can make it take.
    #[must_use]
    pub fn close_above(mut self, bytes: usize) -> WebSocketFrom {
        self.read_bytes_max = bytes.clamp(1, WEBSOCKET_READ_BYTES_MAX);
        self
    }

    /// The same with these times. Their seed is not taken: each source draws its own.
    #[must_use]
    pub fn times(mut self, times: SessionConfig) -> WebSocketFrom {
        self.session = times;
        self
    }

    /// The same with a receive buffer of that many bytes asked of the kernel.
    #[must_use]
    pub fn recv_buffer(self, bytes: usize) -> WebSocketFrom {
        self.change(|mut opens| {
            if let Some(spec) = &mut opens.spec {
                spec.recv_buffer_bytes = Some(bytes);
            }
            Ok(opens)
        })
    }

    /// From the settings `url`, `connect`, `subscribe`, `protocol`, `headers`, `max_message`, `close_above`, `recv_buffer`,
    /// and the times.
    pub(crate) fn from_params(params: &mut Params) -> Result<WebSocketFrom, Problem> {
        let url = params.need_text("url", "ws://127.0.0.1:9443/ws")?;
        let mut made = websocket(&url).placed(params, "url")?;
        if let Some(to) = params.text("connect")? {
            made = made.connect(&to).placed(params, "connect")?;
        }
        for text in params.texts("subscribe")? {
            made = made.subscribe(&text);
        }
        if let Some(protocol) = params.text("protocol")? {
            made = made.protocol(&protocol).placed(params, "protocol")?;
        }
        for text in params.texts("headers")? {
            let Some((name, value)) = text.split_once(':') else {
                let what = format!("\"headers\" has \"{text}\", which has no colon");
                return Err(params.problem("headers", what, "write \"Name: value\""));
            };
            made = made.header(name, value.trim()).placed(params, "headers")?;
        }
        let most = MESSAGE_BYTES_MAX as u64;
        let bytes = params.count("max_message", most, 1..=most)?;
        if params.has("max_message") {
            made = made.max_message(bytes as usize);
        }
        let read = WEBSOCKET_READ_BYTES_DEFAULT as u64;
        let read = params.count("close_above", read, 1..=WEBSOCKET_READ_BYTES_MAX as u64)?;
        made = made.close_above(read as usize);
        let buffer = params.count("recv_buffer", 0, 0..=RECV_BUFFER_BYTES_MAX)?;
        if buffer > 0 {
            made = made.recv_buffer(buffer as usize);
        }
        made.session = times(params)?;
        Ok(made)
    }

    /// The same, with what is wrong said at the place of that setting.
    fn placed(self, params: &Params, key: &str) -> Result<WebSocketFrom, Problem> {
        match self.opens {
            Err(problem) => Err(problem.at(params.place_of(key))),
            Ok(_) => Ok(self),
        }
    }

    fn target(self) -> Result<Target, Problem> {
        let opens = self.opens?;
        let Some(spec) = opens.spec else {
            return Err(Problem::new(
                format!(
                    "\"{}\" names its host, and a loop looks up no names",
                    opens.url
                ),
                "write where it is beside it, such as connect = \"127.0.0.1:9443\"",
            ));
        };
        let sent = self
            .subscribe
            .iter()
            .map(|text| text.len() + HEADER_BYTES_MAX);
        let subscribe_bytes: usize = sent.sum();
        if subscribe_bytes > WEBSOCKET_SUBSCRIBE_BYTES_MAX {
            return Err(Problem::new(
                format!(
                    "\"subscribe\" is {subscribe_bytes} bytes, and at most {WEBSOCKET_SUBSCRIBE_BYTES_MAX} are sent"
                ),
                "ask for less of it, by another source or in the path of the URL",
            ));
        }
        let message_bytes_max = self.message_bytes_max.unwrap_or(MESSAGE_BYTES_MAX);
        if self.message_bytes_max.is_some() && self.read_bytes_max < message_bytes_max {
            let what = format!(
                "messages of up to {message_bytes_max} bytes are decoded, and above {} their connection is closed",
                self.read_bytes_max
            );
            return Err(Problem::new(
                what,
                "write a close_above of at least max_message",
            ));
        }
        Ok(Target {
            url: opens.url,
            spec,
            client: ClientConfig {
                opening: opens.opening,
                limits: Limits {
                    message_bytes_max: self.read_bytes_max,
                    output_bytes_max: subscribe_bytes + CONTROL_BYTES,
                },
                session: self.session,
            },
            subscribe: self.subscribe,
            message_bytes_max,
        })
    }
}

impl Opens {
    fn at(mut self, addr: SocketAddr) -> Opens {
        let at = Endpoint::Tcp(addr);
        match &mut self.spec {
            Some(spec) => spec.at = at,
            None => self.spec = Some(StreamSpec::at(at)),
        }
        self
    }
}

/// The times of a session, as settings have them: 0 is never, where that can be.
fn times(params: &mut Params) -> Result<SessionConfig, Problem> {
    let default = SessionConfig::default();
    let mut read = |key: &'static str, default_ns: u64, may_be_off: bool| {
        let Some(ns) = params.span_ns(key)? else {
            return Ok(default_ns);
        };
        if (SPAN_NS_MIN..=SPAN_NS_MAX).contains(&ns) || ns == 0 && may_be_off {
            return Ok(ns);
        }
        let (least, most) = (Span(SPAN_NS_MIN), Span(SPAN_NS_MAX));
        let what = format!("\"{key}\" = \"{}\" is out of bounds", Span(ns));
        let mut help = format!("write a span from {least} to {most}");
        if may_be_off {
            help.push_str(", or \"0s\" for never");
        }
        Err(params.problem(key, what, help))
    };
    let off = |ns: u64| (ns > 0).then_some(ns);
    let or_off = |ns: Option<u64>| ns.unwrap_or(0);
    let config = SessionConfig {
        connect_ns: read("connect_timeout", default.connect_ns, false)?,
        handshake_ns: read("handshake_timeout", default.handshake_ns, false)?,
        ping_ns: read("ping_every", default.ping_ns, false)?,
        silence_ns: read("silent_after", default.silence_ns, false)?,
        pong_ns: off(read("pong_timeout", or_off(default.pong_ns), true)?),
        stale_ns: off(read("stale_after", or_off(default.stale_ns), true)?),
        stale_drop_ns: off(read(
            "drop_stale_after",
            or_off(default.stale_drop_ns),
            true,
        )?),
        wait_min_ns: read("retry_min", default.wait_min_ns, false)?,
        wait_max_ns: read("retry_max", default.wait_max_ns, false)?,
        ..default
    };
    if config.wait_max_ns < config.wait_min_ns {
        let what = "\"retry_max\" is shorter than \"retry_min\"";
        let help = format!("write at least \"{}\"", Span(config.wait_min_ns));
        return Err(params.problem("retry_max", what, help));
    }
    if config.silence_ns <= config.ping_ns {
        let what = "\"silent_after\" is no longer than \"ping_every\", so that a quiet peer is lost before it is asked";
        let help = format!("write more than \"{}\"", Span(config.ping_ns));
        return Err(params.problem("silent_after", what, help));
    }
    Ok(config)
}

impl Intake for WebSocketFrom {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        if let Some(bytes) = self.message_bytes_max {
            decoder_takes(decoder.as_ref(), bytes, "messages are let in up to")?;
        }
        Ok(Box::new(WebSocketSource::new(self.target()?, decoder)))
    }
}
