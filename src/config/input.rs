//! A recording in the place of a source's messages: which kind of source replays it, and whether it can.
//!
//! Invariant: opens nothing; what the file is was looked at before.

use core::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::adapter::{Recorded, captured_word};
use crate::stage::Port;
use crate::topology::problem::list;
use crate::topology::{Problem, Value};

use super::line::NodeSpec;

/// A recording to replay at a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The source's name.
    pub source: String,
    /// The file.
    pub file: PathBuf,
    /// What it is a recording of.
    pub recorded: Recorded,
}

impl Input {
    /// Lines of `<nanoseconds> <message>`.
    #[must_use]
    pub fn text(source: &str, file: impl Into<PathBuf>) -> Input {
        Input {
            source: source.to_owned(),
            file: file.into(),
            recorded: Recorded::Text,
        }
    }

    /// What problems call it.
    pub(super) fn words(&self) -> String {
        format!("the input {}={}", self.source, self.file.display())
    }
}

/// How a recording is replayed at a source, beside its file and its pace.
pub(super) struct Way {
    /// The kind of the source that does.
    pub(super) kind: &'static str,
    /// The set of frames that it decodes, instead of what the source decodes.
    pub(super) frames: Option<&'static str>,
    /// Settings of that kind.
    pub(super) settings: Vec<(&'static str, Value)>,
}

impl Way {
    fn of(kind: &'static str) -> Way {
        Way {
            kind,
            frames: None,
            settings: Vec::new(),
        }
    }
}

/// The way of a recording to a source with those ports.
pub(super) fn way(input: &Input, spec: &NodeSpec, ports: &[Port]) -> Result<Way, Problem> {
    let wrong = |why: String, help: &str| {
        let what = format!("{} has {}: {why}", input.words(), input.recorded.words());
        Err(spec.params.problem("kind", what, help))
    };
    match &input.recorded {
        Recorded::Text if spec.kind == "capture" => wrong(
            format!("\"{}\" takes recorded frames", spec.name),
            "give it a file that a hop was recorded to (`--record`)",
        ),
        Recorded::Text => Ok(Way::of("replay")),
        Recorded::Frames(kinds) => {
            let of_port = ports.first().map_or(&[][..], |port| port.kinds);
            let is_known = |schema: u16| of_port.iter().any(|kind| kind.schema == schema);
            let strange = kinds.iter().filter(|kind| !is_known(kind.schema));
            let strange: Vec<String> = strange.map(|kind| format!("\"{}\"", kind.name)).collect();
            if !strange.is_empty() {
                return wrong(
                    format!(
                        "\"{}\" has no frames of {}",
                        spec.name,
                        list(strange.iter().map(String::as_str))
                    ),
                    "give a file that was recorded of a hop behind this source",
                );
            }
            let mut way = Way::of("capture");
            if spec.kind != "capture" {
                way.frames = captured_word(of_port);
                if way.frames.is_none() {
                    return wrong(
                        format!("the frames of \"{}\" have no decoder by a word", spec.name),
                        "write a source of kind = \"capture\" with the program's own decoder, and give it the file",
                    );
                }
            }
            Ok(way)
        }
        Recorded::Packets => match datagrams_for(spec) {
            Some((port, address)) => {
                let mut way = Way::of("pcap");
                way.settings.push(("port", Value::Int(port.into())));
                let address = address.map(|address| Value::Text(address.to_string()));
                way.settings
                    .extend(address.map(|address| ("address", address)));
                Ok(way)
            }
            None if spec.kind == "udp" => wrong(
                format!(
                    "\"{}\" binds no port by which they could be told apart",
                    spec.name
                ),
                "have it bind the port that they were sent to, such as bind = \"127.0.0.1:26400\"",
            ),
            None => wrong(
                format!("\"{}\" is of kind \"{}\"", spec.name, spec.kind),
                "datagrams go to a source of kind \"udp\" or \"pcap\"; of a sequenced feed or a connection, have packets sent to where \
                 the source listens (tcpreplay) and run with --live",
            ),
        },
    }
}

/// The port whose datagrams are for a source, and the address where it takes those of one only.
pub(super) fn datagrams_for(spec: &NodeSpec) -> Option<(u16, Option<IpAddr>)> {
    let text = |key: &str| spec.params.peek_text(key);
    match spec.kind.as_str() {
        "udp" => {
            let bind: SocketAddr = text("bind")?.parse().ok()?;
            let group = text("join").and_then(|group| group.parse().ok());
            let group = group.or(Some(bind.ip()).filter(IpAddr::is_multicast));
            (bind.port() > 0).then_some((bind.port(), group))
        }
        "pcap" => {
            let Some(Value::Int(port)) = spec.params.peek("port") else {
                return None;
            };
            let address = text("address").and_then(|address| address.parse().ok());
            Some((u16::try_from(*port).ok()?, address))
        }
        _ => None,
    }
}
