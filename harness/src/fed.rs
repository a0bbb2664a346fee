//! What comes to a line from outside of it: what senders send and an exchange serves, as a case and the command line say.
//!
//! Invariant: opens nothing; a source that cannot be fed so is told before anything runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hopline::config::{Case, Content as Made, Feed, FeedContent, FeedKind, Load};
use hopline::feed::simulated::{Feed as LevelFeed, Levels, LinesSpec, Orders, Restart, Saying};
use hopline::feed::synthetic::Mix;
use hopline::feed::{Arrivals, Shape as LoadShape, SyntheticSpec};
use hopline::wire::websocket::Url;

use crate::cli::Shape;
use crate::exchange::{FeedSpec, Wishes};
use crate::exit::Failure;
use crate::sender::{Content, LaneSpec};

/// Most orders that a made-up exchange has open: what a busy day of a few thousand symbols comes to.
const OPEN_ORDERS_MAX: usize = 200_000;

/// The addresses that the case's sinks send to.
pub(crate) fn sends_to(case: &Case) -> Vec<(String, SocketAddr)> {
    let to = |sink: hopline::config::GivenNode<'_>| {
        let address = sink.setting("to")?.parse().ok()?;
        Some((sink.name().to_owned(), address))
    };
    case.sinks()
        .filter(|sink| sink.kind() == "udp")
        .filter_map(to)
        .collect()
}

/// What comes to a source from outside: its capture, else what the load makes up for it. None where nobody says what: the
/// world may.
fn content_for(
    source: hopline::config::GivenNode<'_>,
    load: Option<&Load>,
    shape: &Shape,
    epoch_ns: u64,
) -> Result<Option<(Content, Option<PathBuf>)>, Failure> {
    let name = source.name();
    let input = shape.inputs.iter().find(|input| input.source == name);
    let feed = load.and_then(|load| load.feed(name));
    let content = match (input, feed) {
        (Some(input), _) => Content::Capture {
            file: input.file.clone(),
            speed: shape.speed.map_or(Some(1.0), |pace| pace.0),
            epoch_ns,
        },
        (None, Some(feed)) => made(feed, source.setting("symbol"))?,
        (None, None) => return Ok(None),
    };
    let recorded = match feed.map(|feed| &feed.shape) {
        Some(LoadShape::Recorded { file }) if input.is_none() => Some(file.clone()),
        _ => None,
    };
    Ok(Some((content, recorded)))
}

/// What an exchange serves to each source.
pub(crate) fn served(
    case: &Case,
    load: Option<&Load>,
    shape: &Shape,
    epoch_ns: u64,
) -> Result<Vec<FeedSpec>, Failure> {
    let mut served: Vec<FeedSpec> = Vec::new();
    for source in case.sources() {
        let name = source.name();
        let Some((content, recorded)) = content_for(source, load, shape, epoch_ns)? else {
            continue;
        };
        let wrong = |what: String| {
            Failure::usage(
                format!("no exchange can feed \"{name}\": {what}"),
                "write --via direct, or give the source kind = \"websocket\" and a url of its own on this machine",
            )
        };
        if source.kind() != "websocket" {
            return Err(wrong(format!("it is of kind \"{}\"", source.kind())));
        }
        let connect = source.setting("connect").and_then(|to| to.parse().ok());
        let url = source.setting("url").and_then(|url| Url::parse(url).ok());
        let at = connect.or_else(|| url.as_ref()?.address());
        let at: SocketAddr = at.ok_or_else(|| wrong("it names no address".to_owned()))?;
        if !at.ip().is_loopback() {
            return Err(wrong(format!("{at} is not on this machine")));
        }
        if let Some(other) = served.iter().find(|other| other.at == at) {
            return Err(wrong(format!(
                "\"{}\" connects to {at} as well",
                other.source
            )));
        }
        served.push(FeedSpec {
            source: name.to_owned(),
            at,
            content,
            recorded,
            wishes: Wishes::default(),
        });
    }
    if served.is_empty() {
        return Err(Failure::usage(
            "there is nothing to serve: the case has no load.toml, and no --input is given",
            "write a load.toml, give --input, or leave --via websocket out",
        ));
    }
    Ok(served)
}

/// What a sender sends to each source.
pub(crate) fn lanes(
    case: &Case,
    load: Option<&Load>,
    shape: &Shape,
    epoch_ns: u64,
) -> Result<Vec<LaneSpec>, Failure> {
    let mut lanes = Vec::new();
    for source in case.sources() {
        let name = source.name();
        let Some((mut content, recorded)) = content_for(source, load, shape, epoch_ns)? else {
            continue;
        };
        let wrong = |what: String| {
            Failure::usage(
                format!("no sender can feed \"{name}\": {what}"),
                "write --via direct, or give the source kind = \"udp\" and an address to bind",
            )
        };
        if let (Content::Exchange { spec, line_b, .. }, Some(bind)) =
            (&mut content, source.setting("bind_b"))
        {
            let to = bind.parse().map(on_this_machine);
            *line_b = Some(to.map_err(|_| wrong(format!("\"{bind}\" is no address")))?);
            spec.lines = 2;
        }
        let feed = load.and_then(|load| load.feed(name));
        let takes = match content {
            Content::Exchange { .. } => feed.map(|feed| feed.content).map_or("udp", source_kind),
            _ => "udp",
        };
        if source.kind() != takes {
            return Err(wrong(format!("it is of kind \"{}\"", source.kind())));
        }
        let bind = source.setting("bind").unwrap_or_default();
        let to = bind
            .parse()
            .map_err(|_| wrong(format!("\"{bind}\" is no address")))?;
        lanes.push(LaneSpec {
            source: name.to_owned(),
            to: on_this_machine(to),
            content,
            recorded,
        });
    }
    if lanes.is_empty() {
        return Err(Failure::usage(
            "there is nothing to send: the case has no load.toml, and no --input is given",
            "write a load.toml, give --input, or leave --via udp out",
        ));
    }
    Ok(lanes)
}

fn made(feed: &Feed, symbol: Option<&str>) -> Result<Content, Failure> {
    // The sender puts the gaps of a capture in the place of any others.
    let arrivals = match &feed.shape {
        LoadShape::Of(arrivals) => *arrivals,
        LoadShape::Recorded { .. } => Arrivals::Constant,
    };
    Ok(match feed.content {
        Made::Feed(made) => exchange(feed, &made, arrivals),
        Made::Lines(format) => Content::Lines {
            rate_per_s: feed.rate_per_s,
            arrivals,
            seed: feed.seed,
            format,
        },
        Made::Datagrams { bytes } => Content::Datagrams {
            rate_per_s: feed.rate_per_s,
            arrivals,
            seed: feed.seed,
            bytes,
        },
        Made::Market => Content::Market(SyntheticSpec {
            seed: feed.seed,
            symbol: symbol
                .ok_or_else(|| {
                    Failure::usage(
                        format!(
                            "\"{}\" names no symbol to make up a market for",
                            feed.source
                        ),
                        "write symbol = \"BTCUSDT\" in its [[source]]",
                    )
                })?
                .to_owned(),
            rate_per_s: feed.rate_per_s,
            arrivals,
            mix: Mix::default(),
        }),
    })
}

/// A made-up exchange, on one line until the source says otherwise.
fn exchange(feed: &Feed, made: &FeedContent, arrivals: Arrivals) -> Content {
    let levels = |kind| Saying::Levels(Levels::new(kind, feed.seed, made.symbols));
    let how = if made.new_session {
        Restart::Session
    } else {
        Restart::Sequence
    };
    let share = |ppm: u32| f64::from(ppm) / 1e6;
    Content::Exchange {
        spec: LinesSpec {
            seed: feed.seed,
            lines: 1,
            messages: u64::MAX,
            loss: share(made.loss_ppm),
            delayed: share(made.delayed_ppm),
            delay_ns: made.delay_ns,
            repeated: share(made.repeated_ppm),
            heartbeat_ns: made.heartbeat_ns,
            restart: made.restart_after.map(|messages| (messages, how)),
            ..LinesSpec::default()
        },
        saying: match made.kind {
            FeedKind::Itch => Saying::Orders(Orders::new(feed.seed, made.symbols, OPEN_ORDERS_MAX)),
            FeedKind::Deep => levels(LevelFeed::Deep),
            FeedKind::Tops => levels(LevelFeed::Tops),
        },
        rate_per_s: feed.rate_per_s,
        arrivals,
        seed: feed.seed,
        line_b: None,
    }
}

/// The kind of source that takes a content.
fn source_kind(content: Made) -> &'static str {
    match content {
        Made::Feed(feed) => feed.kind.source_kind(),
        _ => "udp",
    }
}

/// Where to send so that it arrives at a socket bound to `addr`: "any address" is none to send to.
fn on_this_machine(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_reached_over_the_loopback() {
        for (bind, to) in [
            ("0.0.0.0:26400", "127.0.0.1:26400"),
            ("[::]:26400", "[::1]:26400"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            let to: SocketAddr = to.parse().unwrap();
            assert_eq!(on_this_machine(bind.parse().unwrap()), to);
        }
    }
}
