//! What a sender sends to each source of a case, and where.
//!
//! Invariant: a lane's content is one that its source takes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hopline::config::{Case, Content as Made, Feed, FeedContent, FeedKind, Load};
use hopline::feed::simulated::{Feed as LevelFeed, Levels, LinesSpec, Orders, Restart, Saying};
use hopline::feed::synthetic::Mix;
use hopline::feed::{Arrivals, Shape as LoadShape, SyntheticSpec};

use crate::cli::Shape;
use crate::exit::Failure;
use crate::sender::{Content, LaneSpec};

/// Most orders that a made-up exchange has open: what a busy day of a few thousand symbols comes to.
const OPEN_ORDERS_MAX: usize = 200_000;

/// What a sender sends to each source.
pub(super) fn lanes(
    case: &Case,
    load: Option<&Load>,
    shape: &Shape,
    epoch_ns: u64,
) -> Result<Vec<LaneSpec>, Failure> {
    let mut lanes = Vec::new();
    for source in case.sources() {
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
            // Nobody says what to send: the world may.
            (None, None) => continue,
        };
        let wrong = |what: String| {
            Failure::usage(
                format!("no sender can feed \"{name}\": {what}"),
                "write --via direct, or give the source kind = \"udp\" and an address to bind",
            )
        };
        let mut content = content;
        if let (Content::Lines { spec, line_b, .. }, Some(bind)) =
            (&mut content, source.setting("bind_b"))
        {
            let to = bind.parse().map(on_this_machine);
            *line_b = Some(to.map_err(|_| wrong(format!("\"{bind}\" is no address")))?);
            spec.lines = 2;
        }
        let takes = match content {
            Content::Lines { .. } => feed.map(|feed| feed.content).map_or("udp", source_kind),
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
            recorded: match feed.map(|feed| &feed.shape) {
                Some(LoadShape::Recorded { file }) if input.is_none() => Some(file.clone()),
                _ => None,
            },
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
    Content::Lines {
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
