//! Everything that drives a hopline line from outside, by the library's public interface only: the
//! command line, senders, the live view and the report.
//!
//! A binary of your own becomes the whole tool, with your stages beside the ready-made ones:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use hopline::topology::Registry;
//! use hopline::{adapter, stages};
//!
//! fn main() -> ExitCode {
//!     let registry = stages::register(adapter::register(Registry::new()));
//!     // registry.stage("spread", |settings| …)
//!     hopline_harness::main(registry)
//! }
//! ```
//!
//! Invariant: the process ends with a code of [`Exit`], whatever happens.

mod again;
mod built_in;
mod case;
mod cli;
mod edge;
mod edge_load;
mod exchange;
mod exit;
mod fed;
mod feeder;
pub mod floor;
pub mod gate;
mod help;
mod input;
mod listener;
mod load;
pub mod measure;
mod news;
mod out;
mod outside;
pub mod overload;
mod replayed;
mod report;
mod run;
mod sender;
mod signals;
mod teller;
mod view;
pub mod web_echo;
mod wish;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use hopline::host::Host;
use hopline::topology::{Plan, Registry, StartError};

use cli::{
    BenchArgs, BudgetCommand, CleanArg, Command, DeriveArgs, GateArgs, LogArg, MeasureArgs,
    ResultArgs, RunArgs, Shape,
};
use edge::EdgeArgs;
pub use exchange::{ExchangeReport, Gap};
pub use exit::Exit;
use exit::Failure;
use gate::command::{Asked, Base, Judging, What};
use gate::once::Once;
use gate::revision::Wanted;
pub use listener::ListenerReport;
pub use load::made_in_turn;
pub use report::RunReport;
pub use sender::{GAP_FROM_NS, GAPS_MAX, GeneratorGaps, SENDS_SEEN, SenderReport};
use view::text::Paint;

/// The whole tool on the kinds of nodes in `registry`: reads the command line, does what it says
/// and gives the code to end with.
///
/// Call it first in `main`: the cores that the process may use are read here, before any pin.
#[must_use]
pub fn main(registry: Registry) -> ExitCode {
    let print_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        view::live::make_way();
        print_panic(panic);
    }));
    let result = catch_unwind(AssertUnwindSafe(|| command(&registry)));
    view::live::restore_terminal();
    let exit = result.unwrap_or_else(|_| {
        out::say(
            "error: that was a defect of this program, not of your case; the words above say where",
        );
        Exit::Defect
    });
    exit.into()
}

fn command(registry: &Registry) -> Exit {
    let _ = hopline::host::allowed_cores();
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let result = match cli.command {
        None => run(
            registry,
            &RunArgs {
                shape: Shape::of(case::DEMONSTRATION),
                duration: Some(cli::DEMONSTRATION_SPAN),
                json: false,
                taps: Vec::new(),
                records: Vec::new(),
                clean: CleanArg::Auto,
                metrics: None,
                metrics_linger: None,
                edge: EdgeArgs::default(),
                #[cfg(feature = "otlp")]
                otlp: None,
                #[cfg(feature = "otlp")]
                otlp_every: None,
                log: LogArg::Text,
                inline: false,
            },
        ),
        Some(Command::Run(args)) => run(registry, &args),
        Some(Command::Replay(args)) => again::run(&args),
        Some(Command::Check(args)) => check(registry, &args.shape),
        Some(Command::Plan(args)) => plan(registry, &args.shape, args.json),
        Some(Command::Cases) => cases(),
        Some(Command::Bench(args)) => bench(registry, &args),
        Some(Command::Gate(args)) => gate(registry, &args),
        Some(Command::Budget(BudgetCommand::Derive(args))) => derive(registry, &args),
        Some(Command::Floor(args)) => floor::run(args.json, args.quick),
        Some(Command::Exchange(args)) => exchange::command::run(&args),
        Some(Command::EdgeLoad(args)) => edge_load::command::run(&args),
        Some(Command::Report(args)) => {
            gate::out::run(&args.first, args.second.as_deref(), args.out.as_deref())
        }
    };
    result.unwrap_or_else(|failure| {
        view::live::restore_terminal();
        out::say(&failure);
        failure.exit
    })
}

fn run(registry: &Registry, args: &RunArgs) -> Result<Exit, Failure> {
    cli::check(&args.shape)?;
    let ready = case::load(registry, &args.shape, args.inline)?;
    let options = run::Options {
        case: args.shape.case.clone(),
        most: args.duration.or(ready.most),
        json: args.json,
        taps: args.taps.clone(),
        records: args.records.clone(),
        clean: args.clean,
        metrics: args.metrics,
        edge: args.edge.options()?,
        linger: args
            .metrics_linger
            .max(args.edge.edge_linger)
            .unwrap_or_default(),
        #[cfg(feature = "otlp")]
        otlp: args.otlp.map(|to| (to, args.otlp_every)),
        log: args.log,
    };
    if args.inline {
        run::inline(ready, &options)
    } else {
        run::threads(ready, &options)
    }
}

/// How long a run is measured, and what is left out before: long enough for a P99 of 2,000 messages a second.
const ALONE: Duration = Duration::from_secs(3);
const ALONE_WARMUP: Duration = Duration::from_millis(200);

/// The same at each rate of a search for the highest.
const AT_A_RATE: Duration = Duration::from_secs(1);

/// The same against a base: a run is one number there, and more runs say more than longer ones.
const AGAINST_BASE: Duration = Duration::from_millis(300);
const AGAINST_BASE_WARMUP: Duration = Duration::from_millis(100);

fn bench(registry: &Registry, args: &BenchArgs) -> Result<Exit, Failure> {
    let what = if args.find_capacity {
        What::Capacity {
            rates: case::rates(&args.measure.shape)?,
            within: args.within / 100.0,
        }
    } else {
        What::Bench
    };
    measure(registry, &args.measure, &args.result, what)
}

fn gate(registry: &Registry, args: &GateArgs) -> Result<Exit, Failure> {
    let judging = Judging {
        strict: args.strict,
        inconclusive: args.inconclusive.unwrap_or_default(),
    };
    cli::check_against(args)?;
    let slower = args.slower / 100.0;
    let base = match (&args.base, &args.base_rev) {
        (Some(program), _) => Some(Base::Program(program)),
        (None, Some(revision)) => Some(Base::Revision(Wanted {
            revision,
            bin: args.base_bin.as_deref(),
        })),
        (None, None) => None,
    };
    let what = match base {
        Some(base) => What::Against {
            base,
            slower,
            judging,
        },
        None => What::Gate(judging),
    };
    measure(registry, &args.measure, &args.result, what)
}

fn measure(
    registry: &Registry,
    args: &MeasureArgs,
    result: &ResultArgs,
    what: What<'_>,
) -> Result<Exit, Failure> {
    cli::check(&args.shape)?;
    let (span, warmup) = match what {
        What::Bench | What::Gate(_) => (ALONE, ALONE_WARMUP),
        What::Capacity { .. } => (AT_A_RATE, ALONE_WARMUP),
        What::Against { .. } => (AGAINST_BASE, AGAINST_BASE_WARMUP),
    };
    let once = once(args, span, warmup)?;
    if args.one_run {
        return gate::once::print(registry, &args.shape, once);
    }
    // Found wrong here, it costs no run.
    let by_budgets = matches!(what, What::Capacity { .. } | What::Gate(_));
    if !matches!(what, What::Bench) {
        case::can_be_judged(&args.shape, by_budgets)?;
    }
    // The stages of another program are not known here.
    if args.program.is_none() {
        may_start(
            case::load(registry, &args.shape, false)?
                .line
                .plan(&Host::read())?,
        )?;
    }
    gate::command::run(&Asked {
        case: &args.shape.case,
        arguments: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        runs: args.runs(),
        first: once,
        json: result.json,
        dir: result.dir.as_deref(),
        program: args.program.as_deref(),
        what,
    })
}

/// What each run is to be like: `span` and `warmup` unless something else is asked for.
fn once(args: &MeasureArgs, span: Duration, warmup: Duration) -> Result<Once, Failure> {
    let given = case::given(&args.shape)?;
    Ok(Once {
        span: args.span.unwrap_or(span),
        warmup: args.warmup.unwrap_or(warmup),
        drain: given.drain,
        exposure_ns: args.exposure.map(|span| span.as_nanos() as u64),
        usual_work_ns: args.usual_work.map(|span| span.as_nanos() as u64),
        seed: given.seed,
        edge: args.edge,
    })
}

fn derive(registry: &Registry, args: &DeriveArgs) -> Result<Exit, Failure> {
    let measure = &args.measure;
    cli::check(&measure.shape)?;
    let once = once(measure, ALONE, ALONE_WARMUP)?;
    if measure.one_run {
        return gate::once::print(registry, &measure.shape, once);
    }
    let given = case::given(&measure.shape)?;
    let asked = gate::derive::Asked {
        slo: args.slo.clone(),
        jitter_ns: given.jitter_ns,
        ipdv_ns: given.ipdv_ns,
        lossless: given.lossless,
        margin: args.margin / 100.0,
    };
    // Found wrong here, it costs no run.
    asked
        .check(usize::from(measure.runs()))
        .map_err(|error| Failure::usage(error.to_string(), "nothing was measured"))?;
    case::can_be_judged(&measure.shape, false)?;
    // The stages of another program are not known here.
    if measure.program.is_none() {
        let ready = case::load(registry, &measure.shape, false)?;
        may_start(ready.line.plan(&Host::read())?)?;
    }
    gate::command::derive(measure.program.as_deref(), measure.runs(), once, &asked)
}

fn check(registry: &Registry, shape: &Shape) -> Result<Exit, Failure> {
    let ready = case::load(registry, shape, false)?;
    // Cores that are not there are found by placing it.
    may_start(ready.line.plan(&Host::read())?)?;
    let hops = ready.line.hop_names().count();
    out::print(&format!("ok: {} nodes, {hops} hops\n", ready.nodes))?;
    Ok(Exit::Good)
}

fn plan(registry: &Registry, shape: &Shape, json: bool) -> Result<Exit, Failure> {
    let ready = case::load(registry, shape, false)?;
    let mut plan = ready.line.plan(&Host::read())?;
    plan.notes.splice(0..0, ready.notes);
    if json {
        let json = serde_json::to_string_pretty(&plan).map_err(|error| Failure {
            exit: Exit::Defect,
            what: format!("the plan cannot be written as JSON: {error}"),
            help: String::new(),
        })?;
        out::print(&(json + "\n"))?;
    } else {
        let lines = view::plan::lines(&plan, out::columns(), Paint(out::has_colour()));
        out::print(&(lines.join("\n") + "\n"))?;
    }
    may_start(plan)?;
    Ok(Exit::Good)
}

/// Ends as a run would that requires what this machine does not grant.
fn may_start(plan: Plan) -> Result<(), Failure> {
    match plan.refused.into_iter().next() {
        Some(refusal) => Err(StartError::Memory(refusal).into()),
        None => Ok(()),
    }
}

fn cases() -> Result<Exit, Failure> {
    let lines = case::built_in().map(|(name, about)| format!("  {name:<20}{about}\n"));
    out::print(&lines.collect::<String>())?;
    Ok(Exit::Good)
}
