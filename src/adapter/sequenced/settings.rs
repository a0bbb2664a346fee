//! How a sequenced feed is described: in code, and by the settings of a file.
//!
//! Invariant: a description that cannot be is told when the line is built, never while it runs.

use crate::adapter::udp_source::Udp;
use crate::adapter::{Intake, Trouble, decodes};
use crate::feed::Sequenced;
use crate::feed::packets::{Carrier, Transport};
use crate::feed::sequenced::{
    Join, MESSAGE_BYTES_MAX, Params as Sequencing, WINDOW_MESSAGES_MAX, WINDOW_MESSAGES_MIN,
};
use crate::io::UdpSpec;
use crate::stage::{Decode, Ingress};
use crate::topology::{Params, Problem};

use super::hand::Owed;
use super::waiting::Waiting;
use super::{Line, SequencedSource, tell};

/// Settings of the second line, and what they are called for the first.
const OF_LINE_B: [(&str, &str); 4] = [
    ("bind_b", "bind"),
    ("connect_b", "connect"),
    ("join_b", "join"),
    ("interface_b", "interface"),
];

/// Settings that hold for both lines.
const OF_BOTH: [&str; 4] = ["recv_buffer", "gro", "timestamps", "device"];

/// A description of a source of a sequenced feed.
#[derive(Clone, Debug)]
pub struct SequencedUdp {
    lines: Vec<Result<UdpSpec, Problem>>,
    is_iextp: bool,
    channel: u32,
    /// But for the transport and the number of lines.
    sequencing: Sequencing,
}

/// A feed over MoldUDP64 whose first line is `line_a`.
///
/// ```
/// use hopline::adapter::{itch, moldudp64, udp};
/// let feed = moldudp64(udp("127.0.0.1:26700")).line_b(udp("127.0.0.1:26701"));
/// let source = feed.deadline_ns(5_000_000).decode(itch());
/// ```
#[must_use]
pub fn moldudp64(line_a: Udp) -> SequencedUdp {
    SequencedUdp::new(line_a.into_spec(), false)
}

/// A feed over IEX-TP whose first line is `line_a`, of channel 1 unless told otherwise.
#[must_use]
pub fn iextp(line_a: Udp) -> SequencedUdp {
    SequencedUdp::new(line_a.into_spec(), true)
}

decodes!(SequencedUdp);

impl SequencedUdp {
    fn new(line_a: Result<UdpSpec, Problem>, is_iextp: bool) -> SequencedUdp {
        SequencedUdp {
            lines: vec![line_a],
            is_iextp,
            channel: 1,
            sequencing: Sequencing::of(Transport::MoldUdp64),
        }
    }

    /// The same with a second line, which carries copies of the same packets.
    #[must_use]
    pub fn line_b(mut self, line_b: Udp) -> SequencedUdp {
        self.lines.truncate(1);
        self.lines.push(line_b.into_spec());
        self
    }

    /// The same for another channel of IEX-TP.
    #[must_use]
    pub fn channel(mut self, channel: u32) -> SequencedUdp {
        self.channel = channel;
        self
    }

    /// The same with room for `messages` of `bytes` each behind a gap: see
    /// [`Params::window_messages`](Sequencing::window_messages).
    #[must_use]
    pub fn window(mut self, messages: usize, bytes: usize) -> SequencedUdp {
        self.sequencing.window_messages = messages;
        self.sequencing.window_message_bytes = bytes;
        self
    }

    /// The same with that longest wait behind a gap, in nanoseconds.
    #[must_use]
    pub fn deadline_ns(mut self, deadline_ns: u64) -> SequencedUdp {
        self.sequencing.deadline_ns = deadline_ns;
        self
    }

    /// The same, stale after so many nanoseconds without anything up to date.
    #[must_use]
    pub fn stale_ns(mut self, stale_ns: u64) -> SequencedUdp {
        self.sequencing.stale_ns = stale_ns;
        self
    }

    /// The same, whole again after so many messages in unbroken order; 0: never by itself.
    #[must_use]
    pub fn heals_after(mut self, messages: u64) -> SequencedUdp {
        self.sequencing.heals_after = messages;
        self
    }

    /// The same, beginning where that says.
    #[must_use]
    pub fn join(mut self, join: Join) -> SequencedUdp {
        self.sequencing.join = join;
        self
    }

    /// From the settings of a UDP source but `share`, those of a second line, and `window`, `window_message`,
    /// `deadline`, `stale`, `heals_after`, `begin_at`; for IEX-TP `channel` as well.
    pub(crate) fn from_params(
        params: &mut Params,
        is_iextp: bool,
    ) -> Result<SequencedUdp, Problem> {
        let mut feed = SequencedUdp::new(Udp::spec_from_params(params), is_iextp);
        if let Some(line_b) = line_b(params)? {
            let same = |line: &Result<UdpSpec, Problem>| {
                line.as_ref().is_ok_and(|spec| {
                    spec.bind == line_b.bind && spec.bind.is_some_and(|bind| bind.port() != 0)
                })
            };
            if feed.lines.iter().any(same) {
                let what = "\"bind_b\" is the address of the first line";
                let help = "write the address of the other copy, or leave it out: a feed may have one line";
                return Err(params.problem("bind_b", what, help));
            }
            feed.lines.push(Ok(line_b));
        }
        if is_iextp {
            feed.channel = params.count("channel", 1, 0..=u64::from(u32::MAX))? as u32;
        }
        let default = feed.sequencing;
        let messages = params.count(
            "window",
            default.window_messages as u64,
            WINDOW_MESSAGES_MIN as u64..=WINDOW_MESSAGES_MAX as u64,
        )?;
        if !messages.is_power_of_two() {
            let what = format!("\"window\" = {messages} is no power of two");
            let help = format!("write {}", messages.next_power_of_two());
            return Err(params.problem("window", what, help));
        }
        let bytes = params.count(
            "window_message",
            default.window_message_bytes as u64,
            1..=MESSAGE_BYTES_MAX as u64 - 1,
        )?;
        let begin_at = |word: &str| match word {
            "one" => Some(Join::AtOne),
            "first" => Some(Join::AtFirst),
            _ => None,
        };
        let deadline_ns = params.span_ns("deadline")?;
        let stale_ns = params.span_ns("stale")?;
        feed.sequencing = Sequencing {
            window_messages: messages as usize,
            window_message_bytes: bytes as usize,
            deadline_ns: deadline_ns.unwrap_or(default.deadline_ns),
            stale_ns: stale_ns.unwrap_or(default.stale_ns),
            heals_after: params.count("heals_after", default.heals_after, 0..=u64::MAX)?,
            join: params
                .word("begin_at", &["one", "first"], begin_at)?
                .unwrap_or(default.join),
            ..default
        };
        Ok(feed)
    }
}

/// The second line, if there is one.
fn line_b(params: &mut Params) -> Result<Option<UdpSpec>, Problem> {
    let mut own = Params::new(params.place_of("bind_b").cloned());
    let mut given = None;
    for (key, as_key) in OF_LINE_B {
        if let Some(text) = params.text(key)? {
            let place = params.place_of(key).cloned();
            own.set(as_key, crate::topology::Value::Text(text), place);
            given = given.or(Some(key));
        }
    }
    let Some(key) = given else {
        return Ok(None);
    };
    if !own.has("bind") {
        let what = format!("\"{key}\" says something of a second line, which is nowhere bound");
        return Err(params.problem(key, what, "write bind_b = \"…\" beside it"));
    }
    for key in OF_BOTH {
        if let Some(value) = params.peek(key) {
            own.set(key, value.clone(), params.place_of(key).cloned());
        }
    }
    Udp::spec_from_params(&mut own)
        .map(Some)
        .map_err(|problem| {
            // It speaks of the first line's words.
            let what = OF_LINE_B.iter().fold(problem.what, |what, (key, as_key)| {
                what.replace(&format!("\"{as_key}\""), &format!("\"{key}\""))
            });
            let help = OF_LINE_B.iter().fold(problem.help, |help, (key, as_key)| {
                help.replace(&format!("{as_key} = "), &format!("{key} = "))
            });
            let place = problem.place;
            Problem::new(what, help).at(place.as_ref())
        })
}

impl Intake for SequencedUdp {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        let transport = match (self.is_iextp, decoder.comes_by()) {
            (false, Some(Carrier::MoldUdp64)) => Transport::MoldUdp64,
            (true, Some(Carrier::IexTp(protocol))) => Transport::IexTp {
                protocol,
                channel: self.channel,
            },
            (is_iextp, other) => {
                let own = if is_iextp { "iextp" } else { "moldudp64" };
                let what = match other {
                    Some(other) => {
                        format!(
                            "messages that come by {} in a feed over {own}",
                            other.name()
                        )
                    }
                    None => {
                        format!(
                            "a feed over {own} whose decoder keeps no place and state of a message"
                        )
                    }
                };
                let help = if is_iextp {
                    "write decode = \"deep\" or decode = \"tops\""
                } else {
                    "write decode = \"itch\""
                };
                return Err(Problem::new(what, help));
            }
        };
        let lines: Vec<UdpSpec> = self.lines.into_iter().collect::<Result<_, _>>()?;
        let sequencing = Sequencing {
            transport,
            lines: lines.len(),
            ..self.sequencing
        };
        let feed = Sequenced::new(&sequencing).map_err(|error| {
            let help =
                "see \"window\", \"window_message\", \"deadline\" and \"stale\" in docs/CONFIG.md";
            Problem::new(error.to_string(), help)
        })?;
        Ok(Box::new(SequencedSource {
            counters: tell::counters(lines.len()),
            lines: lines
                .into_iter()
                .map(|spec| Line { spec, open: None })
                .collect(),
            first: 0,
            feed,
            waiting: Waiting::new(&sequencing),
            sequencing,
            decoder,
            owed: Owed::NOTHING,
            due_ns: None,
            finished: false,
            told: tell::Told::default(),
            trouble: Trouble::default(),
        }))
    }
}
