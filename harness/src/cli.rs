//! The command line.
//!
//! Invariant: whatever is wrong with it is said before anything is opened, and ends with
//! [`Exit::Usage`], not with clap's 2, which would be a verdict.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use hopline::base::units::{parse_span_ns, parse_speed};
use hopline::budget::Quantile;
use hopline::host::Pin;
use hopline::topology::problem::closest;
use hopline::wait::Strategy;

use crate::edge::EdgeArgs;
use crate::edge_load::command::{EDGE_LOAD_HELP, EdgeLoadArgs};
use crate::exchange::command::{EXCHANGE_HELP, ExchangeArgs};
use crate::exit::{Exit, Failure};
use crate::gate::bench::RUNS_DEFAULT;
use crate::gate::outcome::Inconclusive;
use crate::help::{BENCH_HELP, EXAMPLES, FLOOR_HELP, GATE_HELP, REPORT_HELP, RUN_EXAMPLES};
use crate::load::LoadArgs;
use crate::out;
use crate::wish::{HopWish, parse_hop};

/// How long a run of an endless feed lasts unless the user says how long.
pub(crate) const DEMONSTRATION_SPAN: Duration = Duration::from_secs(10);

/// Runs low-latency pipelines: pinned event loops joined by bounded rings, with a latency budget
/// on every hop and a ledger that adds up.
///
/// Without a command it runs the case tick-to-trade on its synthetic feed for 10 seconds.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a case and print what every hop did
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Replay a recorded capture into nothing: what is in it, its content hash, and how faithfully it comes
    Replay(ReplayArgs),
    /// Say all that is wrong with a case: file, line, column, what to write instead
    Check(CheckArgs),
    /// Show where a case would run on this machine, and how much memory it takes
    Plan(PlanArgs),
    /// List the cases that are built in
    Cases,
    /// Run a case several times and say what every span took, with and without what the host did to it
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArgs),
    /// Judge a case by its budgets: PASS, PASS_CLEAN, FAIL or INCONCLUSIVE for each of them
    #[command(after_help = GATE_HELP)]
    Gate(GateArgs),
    /// Budgets, from what a case takes
    #[command(subcommand)]
    Budget(BudgetCommand),
    /// Measure what this machine can do, each figure beside its physical floor, in under a minute
    #[command(after_help = FLOOR_HELP)]
    Floor(FloorArgs),
    /// Serve a capture, or a made-up market, over WebSocket at its pace
    #[command(after_help = EXCHANGE_HELP)]
    Exchange(ExchangeArgs),
    /// Load an edge with thousands of WebSockets and streams that check all that they get
    #[command(after_help = EDGE_LOAD_HELP)]
    EdgeLoad(EdgeLoadArgs),
    /// Show a gate's report again, or two of them side by side
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// End after that long. Without it: when the inputs end; after 10s on a synthetic feed; never
    /// with --live
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Print one JSON report on standard output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Watch a hop by a lossy copy that can hold nothing up, and count what comes; may be given several times
    #[arg(long = "tap", value_name = "HOP")]
    pub(crate) taps: Vec<String>,
    /// Record what a hop delivers to a capture file, by a lossy copy that can hold nothing up; may be given several times
    #[arg(long = "record", value_name = "HOP=FILE", value_parser = parse_record)]
    pub(crate) records: Vec<(String, PathBuf)>,
    /// Tell what the host did from what the line did, and show clean figures beside raw ones: auto does it where the live view
    /// is drawn or an edge is open
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) clean: CleanArg,
    /// Serve metrics at that address while it runs, such as 127.0.0.1:9464: /metrics for Prometheus, /healthz, /readyz; docs/METRICS.md
    /// names each one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Serve the last counts for that long after the end, so that a scraper gets them; a signal ends it sooner
    #[arg(long, value_name = "SPAN", requires = "metrics", value_parser = parse_duration)]
    pub(crate) metrics_linger: Option<Duration>,
    #[command(flatten)]
    pub(crate) edge: EdgeArgs,
    /// Push metrics to an OpenTelemetry collector at that address, such as 127.0.0.1:4318, by OTLP over HTTP
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "inline")]
    pub(crate) otlp: Option<SocketAddr>,
    /// Time between two pushes: 10s unless given
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "SPAN", requires = "otlp", value_parser = parse_every)]
    pub(crate) otlp_every: Option<Duration>,
    /// How what happens meanwhile is told: as text for a person, or on standard error as one JSON object a line, instead of
    /// the live view
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub(crate) log: LogArg,
    /// Run without threads, on virtual time: the same report every time
    #[arg(
        long = "virtual",
        conflicts_with_all = ["live", "via", "threads", "pin", "wait", "taps", "records", "clean", "metrics", "edge", "log"]
    )]
    pub(crate) inline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A file that `run --record` or a hop's `record` wrote
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Pace: 1x as recorded (the default), 100x, or max for as fast as it goes
    #[arg(long, value_name = "SPEED", value_parser = parse_pace)]
    pub(crate) speed: Option<Pace>,
    /// End after that long
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Print one JSON report on standard output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// When a run tells what the host touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CleanArg {
    /// Where the live view is drawn on a terminal or an edge is open, and no loop parks
    Auto,
    /// In any run on threads
    Always,
    /// In none
    Never,
}

/// How a run tells what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogArg {
    /// The live view on a terminal, lines of text elsewhere, and with --json only what is wrong
    #[default]
    Text,
    /// One JSON object a line on standard error: time, level, event, line, and what the event has to say
    Json,
}

/// How runs are measured.
#[derive(Debug, Args)]
pub(crate) struct MeasureArgs {
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// How long each run is measured, after its warm-up: 3s unless given, 1s for a capacity, 300ms against a base
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_duration)]
    pub(crate) span: Option<Duration>,
    /// What is left out at the beginning of each run: 200ms unless given, or 100ms against a base
    #[arg(long, value_name = "SPAN", value_parser = parse_duration)]
    pub(crate) warmup: Option<Duration>,
    /// Runs, each in a process of its own: 3 unless given. Against a base there are blocks of them, and no such number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) runs: Option<u16>,
    /// The least time for which a frame counts as exposed to gaps; settled by the first run unless given
    #[arg(long, value_name = "SPAN", value_parser = parse_duration, overrides_with = "exposure")]
    pub(crate) exposure: Option<Duration>,
    /// What the piece of work that shows a core's pace usually takes here, as earlier runs had it
    #[arg(long, value_name = "SPAN", value_parser = parse_duration, hide = true)]
    pub(crate) usual_work: Option<Duration>,
    /// Measure that program instead of this one: your own, which calls hopline_harness::main
    #[arg(long = "bin", value_name = "PROGRAM")]
    pub(crate) program: Option<PathBuf>,
    /// One run in this process, and its analysis on standard output
    #[arg(long, hide = true)]
    pub(crate) one_run: bool,
    /// Serve an edge while that run lasts, to as many clients of one address as there may be: what do they cost the line?
    #[arg(long, value_name = "ADDRESS", hide = true, requires = "one_run")]
    pub(crate) edge: Option<std::net::SocketAddr>,
}

/// Where what came of it goes.
#[derive(Debug, Args)]
pub(crate) struct ResultArgs {
    /// Print one JSON report on standard output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Write all outputs into this folder: gate.json, a page, JUnit, a summary, histogram logs
    #[arg(long = "out", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
    /// Look for the highest rate whose budgets hold: all rates of the load are raised or lowered together
    #[arg(long)]
    pub(crate) find_capacity: bool,
    /// How near the highest rate that holds and the lowest that does not are to come
    #[arg(long, value_name = "PERCENT", requires = "find_capacity", default_value_t = 5.0, value_parser = parse_percent)]
    pub(crate) within: f64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Share what a line owes from end to end out to its hops, by what they take now: prints a budget.toml
    Derive(DeriveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DeriveArgs {
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
    /// What the line owes from end to end, such as p99=5ms; may be given for several quantiles
    #[arg(long = "slo", value_name = "QUANTILE=SPAN", required = true, value_parser = parse_slo)]
    pub(crate) slo: Vec<(Quantile, u64)>,
    /// The part of it that is kept back, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0, value_parser = parse_margin)]
    pub(crate) margin: f64,
}

#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
    /// Judge this program against that one instead of by budgets: is it slower?
    #[arg(long, value_name = "BIN", group = "against")]
    pub(crate) base: Option<PathBuf>,
    /// Judge it against that revision of the git repository here, such as main or HEAD~1: built in a worktree of its own
    #[arg(long, value_name = "REV", group = "against")]
    pub(crate) base_rev: Option<String>,
    /// The revision's binary, if it has not the name of the program that is judged
    #[arg(long, value_name = "NAME", requires = "base_rev")]
    pub(crate) base_bin: Option<String>,
    /// By how many percent it may be slower
    #[arg(long, value_name = "PERCENT", requires = "against", default_value_t = 5.0, value_parser = parse_percent)]
    pub(crate) slower: f64,
    /// What INCONCLUSIVE does to the exit code: pass (0), fail (1) or neutral (0); 2 without this
    #[arg(long, value_name = "HOW", value_parser = parse_inconclusive)]
    pub(crate) inconclusive: Option<Inconclusive>,
    /// Take PASS_CLEAN for INCONCLUSIVE: only budgets that hold with all that the host did pass
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    /// Print one JSON report on standard output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Measure less of everything, to see that it runs; its figures are not to be quoted
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A gate.json
    #[arg(value_name = "A.json")]
    pub(crate) first: PathBuf,
    /// Another one, to put beside it
    #[arg(value_name = "B.json")]
    pub(crate) second: Option<PathBuf>,
    /// Write all outputs into that folder: page, JUnit, summary, .hlog, trend; of two reports compare.html
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) shape: Shape,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Print the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The case, and what is to be different from its files.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shape {
    /// A folder with line.toml, load.toml and budget.toml, or the name of a built-in case
    pub(crate) case: String,
    /// Replay a recording at a source instead of its feed: lines of `<ns> <message>`, a capture of a hop,
    /// or packets (pcap, pcapng); plain or gzip
    #[arg(long = "input", value_name = "NAME=FILE", value_parser = parse_input)]
    pub(crate) inputs: Vec<Input>,
    /// Pace of the inputs: 1x as recorded (the default), 100x, or max for as fast as it goes, by which nothing is judged
    #[arg(long, value_name = "SPEED", requires = "inputs", value_parser = parse_pace)]
    pub(crate) speed: Option<Pace>,
    /// Write a JSON line for each message that leaves the book
    #[arg(long, value_name = "FILE")]
    pub(crate) sink_log: Option<PathBuf>,
    /// Leave the sources as they are and feed them nothing: the world does
    #[arg(long, conflicts_with_all = ["inputs", "via"])]
    pub(crate) live: bool,
    /// Have a source listen elsewhere, such as statsd=127.0.0.1:8125; may be given several times. Without --via and --input
    /// it means --live
    #[arg(long = "bind", value_name = "SOURCE=ADDR", value_parser = parse_bind)]
    pub(crate) binds: Vec<Bind>,
    /// How the feed or the inputs reach the sources
    #[arg(long, value_name = "HOW")]
    pub(crate) via: Option<ViaArg>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Change a hop, such as 'btc->book:depth=16,when_full=drop_newest'
    #[arg(long = "hop", value_name = "NAME:KEY=VALUE,…", value_parser = parse_hop)]
    pub(crate) hops: Vec<HopWish>,
    /// Most threads of the line; nodes are fused to fit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,
    /// How serious pinning is: require, prefer or off
    #[arg(long, value_name = "HOW", value_parser = |text: &str| text.parse::<Pin>().map_err(|error| error.to_string()))]
    pub(crate) pin: Option<Pin>,
    /// What idle loops do: spin, yield or park
    #[arg(long, value_name = "HOW", value_parser = |text: &str| text.parse::<Strategy>().map_err(|error| error.to_string()))]
    pub(crate) wait: Option<Strategy>,
}

impl Shape {
    /// A case as its files have it.
    pub(crate) fn of(case: &str) -> Shape {
        Shape {
            case: case.to_owned(),
            inputs: Vec::new(),
            speed: None,
            sink_log: None,
            live: false,
            binds: Vec::new(),
            via: None,
            load: LoadArgs::default(),
            hops: Vec::new(),
            threads: None,
            pin: None,
            wait: None,
        }
    }
}

impl Shape {
    /// Whether the world feeds the sources: said so, or that it finds one elsewhere.
    pub(crate) fn is_live(&self) -> bool {
        self.live || !self.binds.is_empty() && self.inputs.is_empty() && self.via.is_none()
    }
}

impl MeasureArgs {
    /// How many runs there are where nothing decides but their number.
    pub(crate) fn runs(&self) -> u16 {
        self.runs.unwrap_or(RUNS_DEFAULT)
    }
}

/// How a feed reaches the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViaArg {
    /// The sources make or read their messages themselves
    Direct,
    /// A sender on its own thread sends them over the loopback
    Udp,
    /// An exchange on its own thread serves them where the sources connect to
    #[value(name = "websocket")]
    WebSocket,
}

/// Another address for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) source: String,
    pub(crate) address: String,
}

/// A capture for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) source: String,
    pub(crate) file: PathBuf,
}

/// A multiple of the recorded pace, or `None` for as fast as it goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace(pub(crate) Option<f64>);

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let span_ns = parse_span_ns(text).map_err(|error| error.to_string())?;
    if span_ns == 0 {
        return Err("a run takes some time: write a span above zero".to_owned());
    }
    Ok(Duration::from_nanos(span_ns))
}

#[cfg(feature = "otlp")]
fn parse_every(text: &str) -> Result<Duration, String> {
    use hopline::base::limits::OTLP_EVERY_NS_MIN;
    let every = parse_duration(text)?;
    match every.as_nanos() >= u128::from(OTLP_EVERY_NS_MIN) {
        true => Ok(every),
        false => Err("write 100ms or more".to_owned()),
    }
}

fn parse_slo(text: &str) -> Result<(Quantile, u64), String> {
    const EXPECTED: &str =
        "write a quantile and a span, such as p99=5ms; quantiles are p50, p90, p99 and p99_9";
    let (name, span) = text.split_once('=').ok_or(EXPECTED)?;
    let quantile = Quantile::parse(name).filter(|quantile| *quantile != Quantile::Max);
    let span_ns = parse_span_ns(span).map_err(|error| error.to_string())?;
    match quantile {
        Some(quantile) if span_ns > 0 => Ok((quantile, span_ns)),
        _ => Err(EXPECTED.to_owned()),
    }
}

fn parse_margin(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if (0.0..=90.0).contains(&percent) => Ok(percent),
        _ => Err("write a number of percent from 0 to 90, such as 10".to_owned()),
    }
}

fn parse_percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if (1.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("write a number of percent from 1 to 100, such as 5".to_owned()),
    }
}

fn parse_inconclusive(text: &str) -> Result<Inconclusive, String> {
    Inconclusive::parse(text).ok_or_else(|| "write pass, fail or neutral".to_owned())
}

pub(crate) fn parse_pace(text: &str) -> Result<Pace, String> {
    parse_speed(text)
        .map(Pace)
        .map_err(|error| error.to_string())
}

fn parse_record(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((hop, file)) if !hop.is_empty() && !file.is_empty() => {
            Ok((hop.to_owned(), file.into()))
        }
        _ => Err("write the hop and the file, such as 'btc->book=btc.cap'".to_owned()),
    }
}

fn parse_input(text: &str) -> Result<Input, String> {
    match text.split_once('=') {
        Some((source, file)) if !source.is_empty() && !file.is_empty() => Ok(Input {
            source: source.to_owned(),
            file: file.into(),
        }),
        _ => Err("write the source and its file, such as btc=btcusdt.gz".to_owned()),
    }
}

fn parse_bind(text: &str) -> Result<Bind, String> {
    match text.split_once('=') {
        Some((source, address)) if !source.is_empty() && !address.is_empty() => Ok(Bind {
            source: source.to_owned(),
            address: address.to_owned(),
        }),
        _ => Err("write the source and its address, such as statsd=127.0.0.1:8125".to_owned()),
    }
}

/// The same error with the word that was perhaps meant, which clap misses in short ones, and without
/// its tip to write a misspelt flag as a value. `command` is the command that was given.
fn suggest(mut error: clap::Error, command: Option<&str>) -> clap::Error {
    let (given, suggested) = match error.kind() {
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        ErrorKind::InvalidSubcommand => (
            ContextKind::InvalidSubcommand,
            ContextKind::SuggestedSubcommand,
        ),
        _ => return error,
    };
    error.remove(ContextKind::Suggested);
    let Some(ContextValue::String(word)) = error.get(given).cloned() else {
        return error;
    };
    let cli = Cli::command();
    let known: Vec<String> = match given {
        ContextKind::InvalidArg => {
            let command = command.and_then(|command| cli.find_subcommand(command));
            let flags = command.unwrap_or(&cli).get_arguments();
            let long = flags.filter_map(clap::Arg::get_long);
            long.map(|long| format!("--{long}")).collect()
        }
        _ => {
            let commands = cli.get_subcommands();
            commands.map(|known| known.get_name().to_owned()).collect()
        }
    };
    if error.get(suggested).is_none()
        && let Some(meant) = closest(&word, known.iter().map(String::as_str))
    {
        let meant = match given {
            ContextKind::InvalidArg => ContextValue::String(meant.to_owned()),
            _ => ContextValue::Strings(vec![meant.to_owned()]),
        };
        error.insert(suggested, meant);
    }
    error
}

/// Reads the command line. `Err` is the end: help that was asked for, or what is wrong, already
/// printed.
pub(crate) fn parse() -> Result<Cli, Exit> {
    let error = match Cli::try_parse() {
        Ok(cli) => return Ok(cli),
        Err(error) => suggest(error, std::env::args().nth(1).as_deref()),
    };
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if !asked {
        // To standard error; there is nobody to tell that this failed.
        let _ = error.print();
        return Err(Exit::Usage);
    }
    let text = error.render();
    let text = if out::has_colour() {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    match out::print(&text) {
        Ok(()) => Err(Exit::Good),
        Err(failure) => {
            out::say(&failure);
            Err(failure.exit)
        }
    }
}

/// What the user called this program.
pub(crate) fn program() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    path.as_deref()
        .and_then(std::path::Path::file_name)
        .map_or_else(
            || "hopline".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
}

/// Wishes that say nothing of a gate against a base: it makes as many blocks as it needs, and judges by clean frames alone.
pub(crate) fn check_against(args: &GateArgs) -> Result<(), Failure> {
    let idle = [
        (
            "--runs",
            args.measure.runs.is_some(),
            "it measures 12 blocks of six runs, or as many as decide",
        ),
        (
            "--strict",
            args.strict,
            "it judges by the frames that the host did not touch, and never says PASS_CLEAN",
        ),
    ];
    let given = idle.iter().find(|(_, is_given, _)| *is_given);
    match given.filter(|_| args.base.is_some() || args.base_rev.is_some()) {
        None => Ok(()),
        Some((flag, _, why)) => Err(Failure::usage(
            format!("{flag} has no effect on a gate against a base: {why}"),
            "leave it out, or the base",
        )),
    }
}

/// Two wishes that exclude each other, which clap cannot know.
pub(crate) fn check(shape: &Shape) -> Result<(), Failure> {
    for (at, input) in shape.inputs.iter().enumerate() {
        if shape.inputs[..at]
            .iter()
            .any(|before| before.source == input.source)
        {
            return Err(Failure::usage(
                format!("--input {} is given twice", input.source),
                "a source replays one file",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
