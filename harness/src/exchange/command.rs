//! The command `exchange`: serves a capture, or a made-up market, until it ends or somebody ends it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hopline::base::primitive::Ordering;
use hopline::clock::Clock;
use hopline::config::SEED_MAX;
use hopline::feed::synthetic::Mix;
use hopline::feed::{Arrivals, SyntheticSpec};
use hopline::io::Driver;

use super::{Exchange, FeedSpec, Wishes};
use crate::cli::{Pace, parse_duration, parse_pace};
use crate::exit::{Exit, Failure};
use crate::load::parse_rate_flag;
use crate::sender::Content;
use crate::view::around;
use crate::view::text::Paint;
use crate::{input, out, signals};

/// Time between two looks at whether it is over.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) const EXCHANGE_HELP: &str = "\
Examples:
  hopline exchange btc.gz --bind 127.0.0.1:26460 --speed 10x
  hopline exchange --symbol ETHUSDT --rate 5k            a market that is made up
  hopline exchange btc.gz --cut-after 1000               cut in the middle of a message, once

The feed begins with the first client, and then waits for nobody: what is due while nobody is connected is missed, and the \
report says which messages those were. At --speed max it goes as fast as its clients take it.";

#[derive(Debug, Args)]
pub(crate) struct ExchangeArgs {
    /// The capture, plain or gzip lines of `<ns> <json>`; without it a market is made up
    #[arg(value_name = "CAPTURE")]
    pub(crate) capture: Option<PathBuf>,
    /// Where to listen; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:26460")]
    pub(crate) bind: SocketAddr,
    /// Pace of the capture: 1x as recorded (the default), 100x, or max
    #[arg(long, value_name = "SPEED", requires = "capture", value_parser = parse_pace)]
    pub(crate) speed: Option<Pace>,
    /// Whose market is made up
    #[arg(long, value_name = "SYMBOL", default_value = "BTCUSDT")]
    pub(crate) symbol: String,
    /// Messages a second that are made up, such as 20k
    #[arg(long, value_name = "RATE", conflicts_with = "capture", default_value = "10k", value_parser = parse_rate_flag)]
    pub(crate) rate: f64,
    /// Seed of what is made up
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "capture",
        default_value_t = 42
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=SEED_MAX))]
    pub(crate) seed: u64,
    /// End after that long from the first client
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Cut a connection in the middle of the message after so many, once
    #[arg(long, value_name = "N")]
    pub(crate) cut_after: Option<u64>,
    /// Close a connection after so many messages, once
    #[arg(long, value_name = "N")]
    pub(crate) close_after: Option<u64>,
    /// The code of that close
    #[arg(
        long,
        value_name = "CODE",
        requires = "close_after",
        default_value_t = 1012
    )]
    #[arg(value_parser = clap::value_parser!(u16).range(1000..=4999))]
    pub(crate) code: u16,
    /// Keep a connection after so many messages and say nothing more on it, once: half-open
    #[arg(long, value_name = "N")]
    pub(crate) silent_after: Option<u64>,
    /// Print one JSON report on standard output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// Serves until the capture's end, the given time, or a signal.
pub(crate) fn run(args: &ExchangeArgs) -> Result<Exit, Failure> {
    let signalled = signals::watch()?;
    let content = content(args)?;
    let spec = FeedSpec {
        source: args.symbol.clone(),
        at: args.bind,
        content,
        recorded: None,
        wishes: Wishes {
            cut_after: args.cut_after,
            close_after: args.close_after.map(|after| (after, args.code)),
            silent_after: args.silent_after,
        },
    };
    let most_ns = args
        .duration
        .map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    let exchange = Exchange::open(vec![spec], Clock::calibrated(), most_ns)?;
    for at in exchange.addresses() {
        out::say(format_args!("serving at ws://{at}"));
    }
    let mut driver = Driver::real()?;
    while !exchange.is_done() && !signalled.load(Ordering::Relaxed) {
        driver.poll(0, Some(LOOK.as_nanos() as u64))?;
    }
    let reports = exchange.finish();
    if args.json {
        let json = serde_json::to_string_pretty(&reports).map_err(|error| Failure {
            exit: Exit::Defect,
            what: format!("the report cannot be written as JSON: {error}"),
            help: String::new(),
        })?;
        out::print(&(json + "\n"))?;
    } else {
        let table = around::exchanges(&reports);
        let lines = table.lines(out::columns(), Paint(out::has_colour()));
        out::print(&(lines.join("\n") + "\n"))?;
    }
    match reports.iter().find_map(|report| report.fault.as_ref()) {
        Some(fault) => Err(Failure::io(fault.clone(), "")),
        None => Ok(Exit::Good),
    }
}

fn content(args: &ExchangeArgs) -> Result<Content, Failure> {
    let Some(file) = &args.capture else {
        return Ok(Content::Market(SyntheticSpec {
            seed: args.seed,
            symbol: args.symbol.clone(),
            rate_per_s: args.rate,
            arrivals: Arrivals::Poisson,
            mix: Mix::default(),
        }));
    };
    let epoch_ns = input::first_time_ns(&mut Driver::real()?, file)?;
    Ok(Content::Capture {
        file: file.clone(),
        speed: args.speed.map_or(Some(1.0), |pace| pace.0),
        epoch_ns: epoch_ns.unwrap_or(0),
    })
}
