//! A registry of kinds with the settings that the project's own have, so that cases can be read
//! without what stands behind the kinds.

use std::cell::RefCell;

use hopline::base::units::parse_speed;
use hopline::base::{NoWhy, Reject};
use hopline::frame::KindInfo;
use hopline::io::{Driver, IoError};
use hopline::stage::{
    Context, Decode, Decoded, Delivery, Egress, Feed, Ingress, Leaving, Outcome, Port,
    SourceContext, Stage,
};
use hopline::topology::{Params, Problem, Registry};

#[hopline::frame(schema = 900, version = 1, name = "quote")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quote {
    value: u64,
}

#[hopline::frame(schema = 901, version = 1, name = "order")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    value: u64,
}

#[hopline::frame(schema = 902, version = 1, name = "datagram")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram {
    value: u64,
}

const QUOTES: &[Port] = &[Port::new::<Quote>("out")];
const DATAGRAMS: &[Port] = &[Port::new::<Datagram>("out")];

/// A decoder: its ports, and how many frames a message may have.
struct Fake(&'static [Port], usize);

impl Decode for Fake {
    fn ports(&self) -> &'static [Port] {
        self.0
    }

    fn max_emit(&self) -> usize {
        self.1
    }

    fn decode(&mut self, _: &[u8], _: &mut Context<'_>) -> Result<Decoded, Reject> {
        Err(Reject::BadLine)
    }
}

struct Source(Box<dyn Decode>);

impl Ingress for Source {
    fn ports(&self) -> &'static [Port] {
        self.0.ports()
    }

    fn max_emit(&self) -> usize {
        self.0.max_emit()
    }

    fn open(&mut self, _: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn turn(&mut self, _: &mut SourceContext<'_, '_>) -> Feed {
        Feed::Ended
    }
}

/// A stage from one kind of frame to another, with or without a port for logs.
struct Through<I, O, const LOG: bool>(core::marker::PhantomData<fn() -> (I, O)>);

fn through<I, O, const LOG: bool>() -> Through<I, O, LOG> {
    Through(core::marker::PhantomData)
}

impl<I: hopline::frame::Input + 'static, O: hopline::frame::Input + 'static, const LOG: bool> Stage
    for Through<I, O, LOG>
{
    type In = I;
    type Why = NoWhy;
    const PORTS: &'static [Port] = if LOG {
        &[Port::new::<O>("out"), Port::optional::<I>("log")]
    } else {
        &[Port::new::<O>("out")]
    };

    fn on_frame(&mut self, _: I::View<'_>, _: &mut Context<'_>) -> Outcome<NoWhy> {
        Outcome::done()
    }
}

struct Sink(&'static [KindInfo]);

impl Egress for Sink {
    fn takes(&self) -> &'static [KindInfo] {
        self.0
    }

    fn open(&mut self, _: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _: Leaving<'_>, _: &mut Driver) -> Delivery {
        Delivery::Sent
    }
}

thread_local! {
    /// The settings of each source that was made, as its kind saw them.
    static MADE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The settings of the sources made on this thread since the last call.
pub(crate) fn made() -> Vec<String> {
    MADE.take()
}

fn note(kind: &str, settings: &[String]) {
    MADE.with_borrow_mut(|made| made.push(format!("{kind} {}", settings.join(" "))));
}

fn sink(_: &mut Params, takes: &'static [KindInfo]) -> Result<Box<dyn Egress>, Problem> {
    Ok(Box::new(Sink(takes)))
}

pub(crate) fn registry() -> Registry {
    use hopline::frame::Input as _;
    Registry::new()
        .decoder("binance", |params| {
            let symbol = params.need_text("symbol", "BTCUSDT")?;
            let symbols = params.texts("symbols")?;
            note("binance", &[symbol, symbols.join(",")]);
            Ok(Box::new(Fake(QUOTES, 512)))
        })
        .decoder("datagram", |_| Ok(Box::new(Fake(DATAGRAMS, 1))))
        .source("udp", |params, decoder| {
            let bind = params.need_text("bind", "127.0.0.1:26400")?;
            params.text("share")?;
            note("udp", &[bind]);
            Ok(Box::new(Source(decoder)))
        })
        .source("bare", |_, decoder| Ok(Box::new(Source(decoder))))
        .source("replay", |params, decoder| {
            let file = params.need_text("file", "btc.gz")?;
            let speed = params.unit("speed", "a speed, such as \"1x\"", parse_speed)?;
            let epoch_ns = params.count("epoch_ns", 0, 0..=u64::MAX)?;
            note(
                "replay",
                &[file, format!("{speed:?}"), epoch_ns.to_string()],
            );
            Ok(Box::new(Source(decoder)))
        })
        .source("synthetic", |params, decoder| {
            let rate = params.rate("rate")?;
            let words = ["arrivals", "content"].map(|key| params.text(key));
            let counts = ["burst", "intensity", "seed", "bytes"]
                .map(|key| params.count(key, 0, 0..=u64::MAX));
            let mut settings = vec![format!("{rate:?}")];
            for word in words {
                settings.extend(word?);
            }
            for count in counts {
                settings.push(count?.to_string());
            }
            note("synthetic", &settings);
            Ok(Box::new(Source(decoder)))
        })
        .stage("book", |params| {
            params.count("levels", 50, 1..=1_000)?;
            Ok(through::<Quote, Quote, true>())
        })
        .stage("signal", |_| Ok(through::<Quote, Order, false>()))
        .stage("risk", |_| Ok(through::<Order, Order, false>()))
        .stage("encode", |_| Ok(through::<Order, Order, false>()))
        .stage("forward", |_| Ok(through::<Datagram, Datagram, false>()))
        .sink("udp", |params| {
            params.need_text("to", "127.0.0.1:26500")?;
            sink(params, Order::KINDS)
        })
        .sink("udp_reply", |params| {
            params.need_text("socket", "echo")?;
            sink(params, Datagram::KINDS)
        })
        .sink("stream_reply", |params| {
            params.need_text("socket", "echo")?;
            sink(params, Datagram::KINDS)
        })
        .sink("blackhole", |params| sink(params, &[]))
        .sink("sink_log", |params| {
            let file = params.need_text("file", "out.ndjson")?;
            let symbols = params.texts("symbols")?;
            note("sink_log", &[file, symbols.join(",")]);
            sink(params, Quote::KINDS)
        })
}
