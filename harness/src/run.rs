//! The command `run`: starts a line, watches it, feeds it if need be, ends it and reports.
//!
//! ```text
//! senders open ─→ line opens ─→ both start ─→ watch (draw) ─→ senders stop ─→ what they sent is
//!                                                             taken in ─→ drain ─→ report
//! ```
//!
//! Invariant: nothing has been printed on standard output, and nothing has run, when an error of
//! the start comes back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hopline::base::limits::{DEPTH_DEFAULT, RECORD_BYTES_DEFAULT};
use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::budget::Evidence;
use hopline::clock::Clock;
use hopline::edge::EdgeReport;
use hopline::host::Host;
use hopline::io::{Driver, VirtualNet};
use hopline::metrics::Server;
use hopline::stage::tap::Tap;
use hopline::topology::{
    CleanReport, Inline, Plan, PlannedThread, Record, Report, Running, Stop, Window,
};

use crate::case::Ready;
use crate::cli::{CleanArg, LogArg};
use crate::edge::{Edge, EdgeOptions};
use crate::exchange::{Exchange, ExchangeReport};
use crate::exit::{Exit, Failure};
use crate::gate::drift::Both;
use crate::gate::facts;
use crate::listener::{ListenerReport, Listeners};
use crate::news::{Ear, Level, News};
use crate::outside::{Outside, Taking};
use crate::report::RunReport;
use crate::sender::{GeneratorGaps, SenderReport, Senders, Span};
use crate::teller::{Teller, Told};
use crate::view::live::{FRAME, Live, Progress, status};
use crate::view::text::Paint;
use crate::view::{hints, summary};
use crate::{cli, out, signals};

/// Time between two status lines where there is no terminal.
const STATUS: Duration = Duration::from_secs(1);

/// How a run is shown and when it ends.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The case, as the user called it.
    pub(crate) case: String,
    pub(crate) most: Option<Duration>,
    pub(crate) json: bool,
    /// Hops to tap.
    pub(crate) taps: Vec<String>,
    /// Hops to record, and where to.
    pub(crate) records: Vec<(String, PathBuf)>,
    /// When clean figures are told from raw ones.
    pub(crate) clean: CleanArg,
    /// Where metrics are served.
    pub(crate) metrics: Option<SocketAddr>,
    /// Where clients follow the line.
    pub(crate) edge: Option<EdgeOptions>,
    /// For how long after the end both are served.
    pub(crate) linger: Duration,
    /// Where metrics are pushed to, and how often.
    #[cfg(feature = "otlp")]
    pub(crate) otlp: Option<(SocketAddr, Option<Duration>)>,
    /// How what happens is told.
    pub(crate) log: LogArg,
}

impl Options {
    /// Whether clean figures are wanted of a run that is not judged afterwards.
    fn wants_clean(&self) -> bool {
        match self.clean {
            CleanArg::Auto => self.view() == View::Live || self.edge.is_some(),
            CleanArg::Always => true,
            CleanArg::Never => false,
        }
    }
}

/// Runs the line on threads, and prints what came of it.
pub(crate) fn threads(ready: Ready, options: &Options) -> Result<Exit, Failure> {
    let is_fed = ready.is_made_up;
    let done = measured(ready, options, None)?;
    let exit = print(&done.run, options, is_fed)?;
    if !done.told.is_empty() {
        // Printed before, so that nothing is lost if a signal ends this.
        let drain = done.run.report.drain.as_ref();
        let was_signalled = drain.is_some_and(|drain| drain.cause == "signal");
        done.told
            .linger(options.linger, &done.signalled, was_signalled);
    }
    Ok(exit)
}

/// What a run came to, and what was noted in it.
pub(crate) struct Done {
    pub(crate) run: RunReport,
    pub(crate) evidence: Evidence,
    /// By how much the line's clock ran faster than the system's, in parts per million.
    pub(crate) clock_drift_ppm: f64,
    /// What a reading of it costs.
    pub(crate) clock_cost_ns: f64,
    /// Serve the last counts.
    told: Told,
    signalled: Arc<AtomicBool>,
}

/// Runs the line on threads. With `passages` each hop notes its first so many messages.
pub(crate) fn measured(
    mut ready: Ready,
    options: &Options,
    passages: Option<usize>,
) -> Result<Done, Failure> {
    if let Some(messages) = passages {
        let span_ns = options.most.map_or(0, nanoseconds);
        ready.line.note_evidence_for(messages, span_ns);
    }
    // A measured run has nothing to show for a part of itself: the first signal kills it.
    let signalled = match passages {
        Some(_) => Arc::new(AtomicBool::new(false)),
        None => signals::watch()?,
    };
    let host = Host::read();
    let plan = ready.line.plan(&host)?;
    // Before anything is opened or pinned: a port that is taken costs no run.
    let server = match options.metrics {
        Some(at) => Some(Server::open(at).map_err(|error| {
            Failure::io(format!("metrics: {error}"), error.hint().unwrap_or(""))
        })?),
        None => None,
    };
    let edge = match &options.edge {
        Some(edge) => Some(Edge::open(edge, ready.beyond.clone())?),
        None => None,
    };
    #[cfg(feature = "otlp")]
    let exporter = crate::teller::exporter(options.otlp)?;
    let clock = Clock::calibrated();
    let clock_cost_ns = facts::clock_cost_ns(&clock);
    let mut notes = ready.notes;
    notes.extend(plan.notes.iter().cloned());
    of_the_build(&mut notes);
    if passages.is_none() && options.wants_clean() {
        match plan.threads.iter().find(|thread| parks(thread)) {
            None => ready.line.watch_clean(),
            // One that sleeps cannot see what it sleeps through.
            Some(thread) if options.clean == CleanArg::Always => notes.push(format!(
                "no clean figures: {} parks and sees no gaps; --wait spin or --wait yield has them",
                thread.name
            )),
            Some(_) => {}
        }
    }
    // One that notes every message has them already.
    if edge.is_some() && passages.is_none() {
        ready.line.watch_samples();
    }
    let most_ns = options.most.map(nanoseconds);
    let senders = if ready.lanes.is_empty() {
        None
    } else {
        let core = free_core(&plan, &host).filter(|_| ready.pins);
        if core.is_none() && ready.pins {
            notes.push(
                "the sender shares its core with the line: its lateness shows how much".to_owned(),
            );
        }
        let lanes = ready.lanes;
        let span = Span {
            most_ns,
            warmup_ns: ready.warmup_ns,
        };
        let meter = ready.line.meter();
        Some(Senders::open(lanes, core, clock.clone(), span, meter)?)
    };
    let exchange = match ready.served.is_empty() {
        true => None,
        false => Some(Exchange::open(ready.served, clock.clone(), most_ns)?),
    };
    let listeners = Listeners::open(&ready.sends_to);
    for (hop, path) in &options.records {
        let record = Record {
            path: path.clone(),
            bytes_max: RECORD_BYTES_DEFAULT,
        };
        let recorded = ready.line.record(hop, record);
        recorded.map_err(|problem| Failure::usage(problem.what, problem.help))?;
    }
    let mut taps = Vec::new();
    for hop in &options.taps {
        let tap = ready.line.tap(hop, DEPTH_DEFAULT);
        taps.push(Tapped {
            tap: tap.map_err(|problem| Failure::usage(problem.what, problem.help))?,
            hop: hop.clone(),
            frames: 0,
        });
    }
    let began = Both::read(&clock);
    let running = ready
        .line
        .start_as(plan, host, clock.clone(), &Driver::real)?;
    if let Some(senders) = &senders {
        senders.start(clock.stamp());
    }
    let mut screen = Screen::begin(options.view(), running.name());
    if let Some(server) = &server {
        let url = format!("http://{}/metrics", server.address());
        let fields = serde_json::json!({"address": server.address().to_string()});
        screen.announce(&News::new(
            Level::Info,
            "metrics",
            fields,
            format!("metrics: {url}"),
        ));
    }
    if let Some(edge) = &edge {
        let url = edge.url();
        let fields = serde_json::json!({"url": url});
        screen.announce(&News::new(
            Level::Info,
            "edge",
            fields,
            format!("edge: {url}"),
        ));
    }
    let watch = Watch {
        screen,
        teller: Teller {
            server,
            edge,
            #[cfg(feature = "otlp")]
            exporter,
        },
        outside: Outside { senders, exchange },
        listeners,
        taps,
        signalled: signalled.clone(),
        most_ns,
        warmup_ns: ready.warmup_ns,
    };
    let Watched {
        report,
        clean,
        evidence,
        senders,
        sender_gaps,
        exchange,
        listeners,
        warmup_ns,
        taps,
        told,
        notes: of_the_watch,
        edge,
    } = watch.run(running);
    let clock_drift_ppm = Both::read(&clock).drift_ppm(&began);
    notes.extend(taps.into_iter().map(Tapped::words));
    notes.extend(of_the_watch);
    let run = RunReport {
        report,
        senders,
        sender_gaps,
        exchange,
        listeners,
        edge,
        clean,
        warmup_ns,
        jitter_budget_ns: ready.jitter_ns,
        ipdv_budget_ns: ready.ipdv_ns,
        notes,
    };
    Ok(Done {
        run,
        evidence,
        clock_drift_ppm,
        clock_cost_ns,
        told,
        signalled,
    })
}

/// Runs the line without threads, on virtual time and on a disk in memory that holds its inputs.
pub(crate) fn inline(ready: Ready, options: &Options) -> Result<Exit, Failure> {
    let signalled = signals::watch()?;
    let net = VirtualNet::new();
    for file in &ready.inputs {
        let bytes = std::fs::read(file)
            .map_err(|error| Failure::io(format!("cannot read {}: {error}", file.display()), ""))?;
        net.put_file(file, &bytes);
    }
    let cannot_write = |file: &std::path::Path, error: std::io::Error| {
        let what = format!("cannot write {}: {error}", file.display());
        Failure::io(what, "check the folder, its mode and the space on it")
    };
    if let Some(file) = &ready.sink_log {
        // Before the run, so that a path that cannot be written costs no run.
        std::fs::write(file, b"").map_err(|error| cannot_write(file, error))?;
    }
    let mut inline = Inline::new(Driver::from(net.driver()));
    inline.stop_after_ns = options.most.map(nanoseconds);
    let (report, _driver) = ready.line.run_inline(inline, Some(&signalled))?;
    if let Some(file) = &ready.sink_log {
        let bytes = net.file(file).unwrap_or_default();
        std::fs::write(file, bytes).map_err(|error| cannot_write(file, error))?;
    }
    let run = RunReport {
        report,
        senders: Vec::new(),
        sender_gaps: None,
        exchange: Vec::new(),
        listeners: Vec::new(),
        edge: None,
        clean: None,
        warmup_ns: 0,
        jitter_budget_ns: ready.jitter_ns,
        ipdv_budget_ns: ready.ipdv_ns,
        notes: ready.notes,
    };
    print(&run, options, ready.is_made_up)
}

fn parks(thread: &PlannedThread) -> bool {
    thread.wait == "park"
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A core that this process may use and no loop is planned for.
pub(crate) fn free_core(plan: &Plan, host: &Host) -> Option<usize> {
    let is_planned = |core: &usize| plan.threads.iter().any(|thread| thread.core == Some(*core));
    // From the end: the first cores tend to serve interrupts.
    host.allowed
        .iter()
        .rev()
        .copied()
        .find(|core| !is_planned(core))
}

/// What a person should know of the program itself.
fn of_the_build(notes: &mut Vec<String>) {
    if cfg!(debug_assertions) {
        notes.push(
            "this is a debug build: its figures say little; build with --release to measure"
                .to_owned(),
        );
    }
}

/// Prints the report and says how the run ends.
fn print(run: &RunReport, options: &Options, is_fed: bool) -> Result<Exit, Failure> {
    let exit = Exit::of(&run.report);
    let logs = options.log == LogArg::Json;
    if logs {
        let ended = News::ended(&run.report, exit);
        out::say(ended.json(&run.report.line.name));
    }
    if options.json {
        let json = serde_json::to_string_pretty(run).map_err(|error| Failure {
            exit: Exit::Defect,
            what: format!("the report cannot be written as JSON: {error}"),
            help: String::new(),
        })?;
        out::print(&(json + "\n"))?;
        if logs {
            return Ok(exit);
        }
        for fault in &run.report.faults {
            out::say(format_args!("fault: {fault}"));
        }
        let ledger = &run.report.ledger;
        for breach in ledger.breaches.iter().chain(&ledger.losses) {
            out::say(format_args!("ledger: {breach}"));
        }
        return Ok(exit);
    }
    let hints = hints::hints(run, &cli::program(), &options.case, is_fed);
    let lines = summary::lines(run, &hints, out::columns(), Paint(out::has_colour()));
    out::print(&(lines.join("\n") + "\n"))?;
    Ok(exit)
}

/// Who watches a running line.
struct Watch {
    screen: Screen,
    teller: Teller,
    outside: Outside,
    listeners: Listeners,
    taps: Vec<Tapped>,
    signalled: Arc<AtomicBool>,
    most_ns: Option<u64>,
    warmup_ns: u64,
}

/// What came of a run.
struct Watched {
    report: Report,
    clean: Option<CleanReport>,
    evidence: Evidence,
    senders: Vec<SenderReport>,
    sender_gaps: Option<GeneratorGaps>,
    exchange: Vec<ExchangeReport>,
    listeners: Vec<ListenerReport>,
    /// How much of the start is not in the percentiles.
    warmup_ns: u64,
    taps: Vec<Tapped>,
    told: Told,
    /// What a person should know of it.
    notes: Vec<String>,
    /// What the edge did, if it had one.
    edge: Option<EdgeReport>,
}

/// A tap, and what came by it.
struct Tapped {
    hop: String,
    tap: Tap,
    frames: u64,
}

impl Tapped {
    fn take(&mut self) {
        while self.tap.advance() {
            self.frames += 1;
        }
    }

    fn words(mut self) -> String {
        self.take();
        let counts = self.tap.counts();
        format!(
            "the tap of {} was offered {} frames, took {} and lost {}",
            self.hop, counts.offered, self.frames, counts.lost
        )
    }
}

impl Watch {
    /// Watches the line to its end.
    fn run(mut self, mut running: Running) -> Watched {
        let mut screen = std::mem::replace(&mut self.screen, Screen::Silent);
        let mut teller = std::mem::take(&mut self.teller);
        // The screen's own: whoever else reads a report takes no peak away from it.
        let window = running.window();
        // Senders end by themselves at the given time; what they sent must still be taken in.
        let fed = Arc::new(AtomicBool::new(false));
        let (asked, all_in) = (self.signalled.clone(), fed.clone());
        let stop =
            Stop::when(move || asked.load(Ordering::Relaxed) || all_in.load(Ordering::Relaxed));
        let stop = match (self.most_ns, self.outside.is_there()) {
            (Some(most_ns), false) => stop.or_after(Duration::from_nanos(most_ns)),
            _ => stop,
        };
        let mut taking = Taking::default();
        let mut warmup_ns = 0;
        let mut ear = Ear::default();
        let mut listeners = std::mem::take(&mut self.listeners);
        let mut taps = std::mem::take(&mut self.taps);
        let cause = running.watch(&stop, |running| {
            listeners.take();
            taps.iter_mut().for_each(Tapped::take);
            let elapsed = running.elapsed();
            if self.warmup_ns > warmup_ns && nanoseconds(elapsed) >= self.warmup_ns {
                running.forget_latencies();
                warmup_ns = self.warmup_ns;
            }
            if self.outside.is_there()
                && self.outside.is_done()
                && taking.is_over(&self.outside, running)
            {
                fed.store(true, Ordering::Relaxed);
            }
            if screen.is_read() {
                // Said as soon as it is known: the table at the end may be hours away.
                ear.hear(running).iter().for_each(|news| screen.tell(news));
            }
            teller.answer(running);
            let progress = self.progress(running);
            screen.look(running, window, progress);
        });
        let cause = match cause {
            "signal" if !self.signalled.load(Ordering::Relaxed) => match self.most_ns {
                Some(most_ns) if nanoseconds(running.elapsed()) >= most_ns => "duration",
                _ => "finished",
            },
            cause => cause,
        };
        if self.outside.is_there() {
            self.outside.stop();
            while cause == "signal"
                && !running.wait(Duration::from_millis(2))
                && !(self.outside.is_done() && taking.is_over(&self.outside, &mut running))
            {
            }
        }
        let progress = Progress {
            draining: true,
            ..self.progress(&running)
        };
        screen.last(&mut running, window, progress, cause);
        running.drain_watched(cause, |running| teller.answer(running));
        if screen.is_read() {
            ear.hear(&mut running)
                .iter()
                .for_each(|news| screen.tell(news));
        }
        let last = teller.last_of(&mut running);
        let (clean, (report, evidence)) = (running.clean(), running.end_noted(cause));
        let last_words = teller.end(last, &report);
        drop(screen);
        let exchange = self.outside.exchange.map(Exchange::finish);
        let (senders, sender_gaps) = match self.outside.senders.map(Senders::finish) {
            Some((senders, gaps)) => (senders, Some(gaps)),
            None => (Vec::new(), None),
        };
        Watched {
            report,
            clean,
            evidence,
            senders,
            sender_gaps,
            exchange: exchange.unwrap_or_default(),
            listeners: listeners.finish(),
            warmup_ns,
            taps,
            told: last_words.told,
            notes: last_words.notes,
            edge: last_words.edge,
        }
    }

    fn progress(&self, running: &Running) -> Progress {
        Progress {
            elapsed_ns: nanoseconds(running.elapsed()),
            most_ns: self.most_ns,
            sources: running.sources_over(),
            draining: self.signalled.load(Ordering::Relaxed),
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Live,
    Lines,
    Json,
    Silent,
}

impl Options {
    fn view(&self) -> View {
        match (self.log, self.json) {
            (LogArg::Json, _) => View::Json,
            (LogArg::Text, true) => View::Silent,
            (LogArg::Text, false) if out::is_terminal() => View::Live,
            (LogArg::Text, false) => View::Lines,
        }
    }
}

/// Where progress is shown.
enum Screen {
    /// A live view on standard output, and when it was last drawn.
    Live(Box<Live>, Duration),
    /// Lines on standard error, and when the last one was due.
    Lines(Duration),
    /// The same as JSON, of the line of that name.
    Json(Duration, String),
    /// Nowhere: standard output has one report, and standard error only what is wrong.
    Silent,
}

impl Screen {
    fn begin(view: View, line: &str) -> Screen {
        match view {
            View::Live => Screen::Live(
                Box::new(Live::begin(Paint(out::has_colour()))),
                Duration::ZERO,
            ),
            View::Lines => Screen::Lines(Duration::ZERO),
            View::Json => Screen::Json(Duration::ZERO, line.to_owned()),
            View::Silent => Screen::Silent,
        }
    }

    /// Whether anybody reads what happens on the way.
    fn is_read(&self) -> bool {
        !matches!(self, Screen::Silent)
    }

    /// Says what has happened: in a line of its own, or below the table, which has the faults itself.
    fn tell(&mut self, news: &News) {
        match self {
            Screen::Live(live, _) if news.is_for_people() && news.event != "fault" => {
                live.hear(news.words.clone());
            }
            Screen::Lines(_) if news.is_for_people() => out::say(&news.words),
            Screen::Json(_, line) => out::say(news.json(line)),
            _ => {}
        }
    }

    /// Says what whoever called this has to know, also where nothing else is shown.
    fn announce(&mut self, news: &News) {
        match self {
            Screen::Silent => out::say(&news.words),
            screen => screen.tell(news),
        }
    }

    fn look(&mut self, running: &mut Running, window: Option<Window>, progress: Progress) {
        let now = Duration::from_nanos(progress.elapsed_ns);
        match self {
            Screen::Live(live, drawn) if now.saturating_sub(*drawn) >= FRAME => {
                *drawn = now;
                live.draw(seen(running, window), running.clean(), progress);
            }
            Screen::Lines(said) if now.saturating_sub(*said) >= STATUS => {
                *said += STATUS;
                out::say(status(&seen(running, window), progress));
            }
            Screen::Json(said, line) if now.saturating_sub(*said) >= STATUS => {
                *said += STATUS;
                let report = seen(running, window);
                out::say(News::status(&report, status(&report, progress)).json(line));
            }
            _ => {}
        }
    }

    /// A word that the drain begins, so that one that takes long is seen to be one.
    fn last(
        &mut self,
        running: &mut Running,
        window: Option<Window>,
        progress: Progress,
        cause: &'static str,
    ) {
        match self {
            Screen::Live(live, _) => live.draw(seen(running, window), running.clean(), progress),
            Screen::Lines(_) => out::say(format_args!("{}: draining", running.name())),
            Screen::Json(_, line) => {
                let fields = serde_json::json!({"cause": cause});
                out::say(News::new(Level::Info, "draining", fields, "draining").json(line));
            }
            Screen::Silent => {}
        }
    }
}

/// What the line did since that window was last read.
fn seen(running: &mut Running, window: Option<Window>) -> Report {
    match window {
        Some(window) => running.report_since(window),
        None => running.report(),
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Screen::Live(live, _) = self {
            live.wipe();
        }
    }
}
