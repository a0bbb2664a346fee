//! The command `floor`: what this machine can do, each figure beside its physical floor.
//!
//! ```text
//! clock ─→ gaps ─→ rings (needs two cores) ─→ wake ─→ turns of a loop ─→ wire (needs two cores)
//! ```
//!
//! Everything takes less than a minute: sections share `share::LIMIT_NS`, do fewer rounds where those
//! take longer, and the report says so. A machine that cannot give two cores gets the rest, and is
//! told what is missing. No signal is caught: Ctrl-C ends it at once, as there is nothing to drain.
//!
//! Invariant: measures through the library's public interface and the kit in
//! [`measure`](crate::measure); prints only at its end, but for progress on a terminal.

mod clock;
pub(crate) mod gaps;
pub mod report;
mod rings;
mod share;
mod turns;
mod view;
pub(crate) mod wake;
mod wire;

use std::time::Duration;

use hopline::clock::Clock;
use hopline::host::{Host, PinError};
use hopline::io::IoError;
use hopline::topology::{Problems, StartError};

use crate::exit::{Exit, Failure};
use crate::measure::{MeasureError, Plan, Spread, Summary};
use crate::out;
use crate::view::text::Paint;
use report::{FloorReport, Gaps, Machine, SCHEMA, WakeReport};
use share::{Cuts, Share};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Budget {
    gaps_each: Duration,
    ring_rounds: usize,
    wakes: u64,
    timers: u64,
    turn_rounds: usize,
    turns_each: Duration,
    wire_rounds: usize,
    wire_trips: u64,
}

/// Some 20 seconds on two cores that are free; of more cores only the gaps take longer.
const FULL: Budget = Budget {
    gaps_each: Duration::from_millis(1_000),
    ring_rounds: 41,
    wakes: 2_000,
    timers: 200,
    turn_rounds: 5,
    turns_each: Duration::from_millis(200),
    wire_rounds: 15,
    wire_trips: 15_000,
};

/// To see that it runs.
const QUICK: Budget = Budget {
    gaps_each: Duration::from_millis(20),
    ring_rounds: 3,
    wakes: 20,
    timers: 5,
    turn_rounds: 1,
    turns_each: Duration::from_millis(20),
    wire_rounds: 1,
    wire_trips: 200,
};

/// By when each section is to be done, in percent of all the time: what one leaves, the next ones have.
const GAPS_BY: u64 = 16;
const RINGS_BY: u64 = 44;
const WAKE_BY: u64 = 54;
const TIMERS_BY: u64 = 62;
const LOOP_BY: u64 = 72;
const WIRE_BY: u64 = 100;

/// Shortest time that a core is watched for gaps, in nanoseconds: a few timer ticks of the kernel.
const GAPS_NS_MIN: u64 = 20_000_000;

/// What went wrong while something was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("a socket of the measuring client or its bare echo: {0}")]
    Socket(#[from] std::io::Error),
    #[error("{0}")]
    Line(#[from] Problems),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("a sleeper was not woken")]
    Unwoken,
    #[error("a message over loopback was not answered")]
    Unanswered,
}

/// Measures and prints. `quick` does less of everything.
pub(crate) fn run(json: bool, quick: bool) -> Result<Exit, Failure> {
    let budget = if quick { QUICK } else { FULL };
    let mut report = measure(&Host::read(), budget, quick, share::LIMIT_NS);
    if quick {
        report
            .notes
            .push("--quick measures too little to quote".to_owned());
    }
    if cfg!(debug_assertions) {
        report.notes.push(
            "this is a debug build: its figures say little; build with --release to measure"
                .to_owned(),
        );
    }
    if json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| Failure {
            exit: Exit::Defect,
            what: format!("the report cannot be written as JSON: {error}"),
            help: String::new(),
        })?;
        out::print(&(json + "\n"))?;
    } else {
        let lines = view::lines(&report, out::columns(), Paint(out::has_colour()));
        out::print(&(lines.join("\n") + "\n"))?;
    }
    Ok(Exit::Good)
}

/// All sections, one after the other. What fails is named, and the others are measured all the same.
/// They share `limit_ns`.
fn measure(host: &Host, budget: Budget, quick: bool, limit_ns: u64) -> FloorReport {
    let began = Clock::os();
    let began_ns = began.stamp();
    let mut progress = Progress::begin();
    let mut cannot = Vec::new();
    let plan = match Plan::new() {
        Ok(plan) if quick => Some(plan.quick()),
        Ok(plan) => Some(plan),
        Err(error) => {
            cannot.push(format!(
                "rings, skew, wakes and wire are not measured: {error}"
            ));
            None
        }
    };
    // As lines do: where the kernel has struck the counter off, cores disagree on it.
    let clock = match &plan {
        _ if !host.trusts_tsc() => Clock::os(),
        Some(plan) => plan.clock.clone(),
        None => Clock::calibrated(),
    };
    let plan = plan.map(|plan| Plan {
        clock: clock.clone(),
        ..plan
    });
    let step_ns = crate::measure::clock_step_ns(&clock);
    // All real clocks count on one scale.
    let share = |by_percent: u64| Share::until(&clock, began_ns + limit_ns / 100 * by_percent);
    let mut cuts = Cuts::default();

    progress.show("clock");
    let mut of_clock = clock::measure(&clock, step_ns);
    let mut tell = |what: &str, trouble: Trouble| cannot.push(format!("{what}: {trouble}"));

    progress.show("gaps");
    let each_ns = budget.gaps_each.as_nanos() as u64;
    let pair = plan.as_ref().map(|plan| plan.cores);
    let groups = gaps::groups(&host.allowed, pair);
    let fits_ns = share(GAPS_BY).left_ns() / groups.len().max(1) as u64;
    let watched_ns = each_ns.min(fits_ns.max(GAPS_NS_MIN));
    let ms = |ns| ns / 1_000_000;
    cuts.tell("gaps", ms(watched_ns), ms(each_ns), "ms a core");
    let gaps = gaps::measure(&clock, groups, watched_ns)
        .map_err(|error| tell("gaps", error.into()))
        .unwrap_or_default();

    let (mut rings, mut wake, mut wire) = (None, WakeReport::default(), Vec::new());
    if let Some(plan) = &plan {
        progress.show("rings");
        match crate::measure::clock_skew_ns(plan) {
            Ok(skew_ns) => of_clock.skew_ns = Some(skew_ns),
            Err(error) => tell("skew", error.into()),
        }
        let rounds = budget.ring_rounds;
        match rings::measure(plan, rounds, &share(RINGS_BY)) {
            Ok((measured, done)) => {
                cuts.tell("rings", done as u64, rounds as u64, "rounds");
                rings = Some(measured);
            }
            Err(trouble) => tell("rings", trouble),
        }
        progress.show("wake");
        match wake::between_cores(plan, budget.wakes, &share(WAKE_BY), &mut wake) {
            Ok(done) => cuts.tell("wake", done, budget.wakes, "wakes"),
            Err(trouble) => tell("wake", trouble),
        }
    }
    progress.show("timers");
    let timers = share(TIMERS_BY);
    match wake::on_one_core(&clock, step_ns, budget.timers, &timers, &mut wake) {
        Ok(done) => cuts.tell("timers", done, budget.timers, "parks"),
        Err(trouble) => tell("timers", trouble),
    }
    progress.show("loop");
    // The last core: interrupts tend to be served by the first ones.
    let core = host.allowed.last().copied().unwrap_or(0);
    let (rounds, span) = (budget.turn_rounds, budget.turns_each);
    let mut turns = None;
    match turns::measure(&clock, core, rounds, span, &share(LOOP_BY)) {
        Ok((measured, done)) => {
            cuts.tell("loop", done as u64, rounds as u64, "rounds");
            turns = Some(measured);
        }
        Err(trouble) => tell("loop", trouble),
    }
    if let Some(plan) = &plan {
        progress.show("wire");
        let (rounds, trips) = (budget.wire_rounds, budget.wire_trips);
        let all = share(WIRE_BY);
        for (nth, kind) in wire::Kind::ALL.into_iter().enumerate() {
            let part = all.part((wire::Kind::ALL.len() - nth) as u64);
            match wire::measure(plan, kind, rounds, trips, &part) {
                Ok((measured, done)) => {
                    cuts.tell(kind.name(), done as u64, rounds as u64, "rounds");
                    wire.push(measured);
                }
                Err(trouble) => tell(kind.name(), trouble),
            }
        }
    }
    drop(progress);

    let floor_p50_spread = rings.as_ref().and_then(floor_spread);
    let noise = noise(&gaps, floor_p50_spread);
    let mut notes = notes(host, &gaps, floor_p50_spread);
    notes.extend(cuts.note());
    FloorReport {
        schema: SCHEMA,
        machine: machine(host, plan.as_ref()),
        noise,
        floor: rings.as_ref().and_then(Summary::floor),
        floor_p50_spread,
        rings: rings.as_ref().map(Summary::rows).unwrap_or_default(),
        clock: of_clock,
        notes,
        gaps,
        wake,
        turns,
        wire,
        cannot,
        took_ns: began.stamp().saturating_sub(began_ns),
    }
}

fn floor_spread(rings: &Summary) -> Option<Spread> {
    let floor = |one: &&crate::measure::Measured| one.role == crate::measure::Role::Floor;
    Some(rings.measured.iter().find(floor)?.p50)
}

fn machine(host: &Host, plan: Option<&Plan>) -> Machine {
    let first = host.allowed.first().copied().unwrap_or(0);
    let governor = format!("/sys/devices/system/cpu/cpu{first}/cpufreq/scaling_governor");
    let governor = std::fs::read_to_string(governor).ok();
    Machine {
        cpu_model: host.cpu_model.clone(),
        cores: host.total_cores,
        allowed: host.allowed.clone(),
        quota_cores: host.quota_cores,
        measured: plan.map(|plan| plan.cores),
        kernel: host.kernel.clone(),
        governor: governor.map(|text| text.trim().to_owned()),
        virtualised: host.hypervisor,
        clock_source: host.clock_source.clone(),
    }
}

/// Highest over lowest p50 of the floor from which the cores have been moved: what caches and
/// memory places do to two lines stays below.
const MOVED: f64 = 2.0;

/// Share of the time lost to gaps, in percent, below which a machine is quiet, and above which it is
/// noisy. A quiet bare machine loses some hundredths to its timer tick; at 3 % one message in 33
/// meets a gap, so that P99 is the host's.
const LOST_PERCENT: [f64; 2] = [0.3, 3.0];

/// How much the machine disturbs what runs on it, in a word.
fn noise(gaps: &[Gaps], floor_p50: Option<Spread>) -> &'static str {
    let lost = gaps
        .iter()
        .map(|gaps| gaps.lost_percent)
        .fold(0.0, f64::max);
    let moved = floor_p50.is_some_and(|spread| spread.high > MOVED * spread.low);
    match lost {
        lost if lost >= LOST_PERCENT[1] => "noisy",
        lost if lost >= LOST_PERCENT[0] || moved => "uneasy",
        _ => "quiet",
    }
}

fn notes(host: &Host, gaps: &[Gaps], floor_p50: Option<Spread>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(Spread { low, high, .. }) = floor_p50.filter(|p50| p50.high > MOVED * p50.low) {
        notes.push(format!(
            "the floor itself was {low:.0} to {high:.0} ns from round to round: the host moves the cores of this \
             machine near to and far from each other; compare ratios, not nanoseconds"
        ));
    }
    if gaps.iter().any(|gaps| gaps.lost_percent >= LOST_PERCENT[0]) {
        notes.push("percentiles beyond p99 measure this host, not what runs on it".to_owned());
    }
    if !host.trusts_tsc() {
        notes.push(
            "the kernel does not trust the time stamp counters: the system's clock is read"
                .to_owned(),
        );
    }
    if let Some(quota) = host.quota_cores {
        notes.push(format!(
            "the cgroup grants the time of {quota} cores: what spins longer than that is stopped for up to 100 ms"
        ));
    }
    if host.allowed.len() > gaps::CORES_MAX {
        notes.push(format!(
            "gaps were watched on the first {} cores",
            gaps::CORES_MAX
        ));
    }
    notes
}

/// A line on a terminal that says what is being measured; nothing elsewhere.
struct Progress {
    on: bool,
}

impl Progress {
    fn begin() -> Progress {
        use std::io::IsTerminal;
        Progress {
            on: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, what: &str) {
        if self.on {
            out::show(&format!("\r\x1b[Kmeasuring: {what} …"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.on {
            out::show("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(lost_percent: f64) -> Gaps {
        Gaps {
            lost_percent,
            ..Gaps::default()
        }
    }

    fn spread(low: f64, high: f64) -> Option<Spread> {
        let median = low;
        Some(Spread { low, median, high })
    }

    #[test]
    fn a_word_for_the_noise() {
        for (lost, floor, word) in [
            (vec![gaps(0.01), gaps(0.1)], spread(60.0, 70.0), "quiet"),
            (vec![gaps(0.01), gaps(1.0)], spread(60.0, 70.0), "uneasy"),
            (vec![gaps(0.0)], spread(60.0, 260.0), "uneasy"),
            (vec![gaps(5.0), gaps(0.0)], None, "noisy"),
            (vec![], None, "quiet"),
        ] {
            assert_eq!(noise(&lost, floor), word, "{lost:?} {floor:?}");
        }
    }

    #[test]
    fn without_time_each_section_does_the_least_and_says_so() {
        let host = Host::read();
        let most = Budget {
            ring_rounds: 10_000,
            wakes: 1_000_000,
            timers: 100_000,
            turn_rounds: 10_000,
            wire_rounds: 10_000,
            wire_trips: 100_000_000,
            gaps_each: Duration::from_secs(3_600),
            ..QUICK
        };
        // An end at all is the test: whole, sections would take hours.
        let report = measure(&host, most, true, 0);
        assert!(report.turns.is_some() && !report.gaps.is_empty());
        let cut = report
            .notes
            .iter()
            .find(|note| note.starts_with("cut short"));
        let cut = cut.expect("it is said");
        let mut sections = vec![
            "gaps (20 of 3600000 ms a core)",
            "timers (20 of 100000 parks)",
            "loop (3 of 10000 rounds)",
        ];
        if report.machine.measured.is_some() {
            assert!(report.floor.is_some() && report.wire.len() == wire::Kind::ALL.len());
            sections.extend([
                "rings (3 of 10000 rounds)",
                "wake (20 of 1000000 wakes)",
                "udp (3 of 10000 rounds)",
                "unix_datagram (3 of 10000 rounds)",
            ]);
        }
        for section in sections {
            assert!(cut.contains(section), "{section}: {cut}");
        }
    }

    #[test]
    fn sections_share_all_of_the_time_and_all_of_it_is_under_a_minute() {
        let by = [GAPS_BY, RINGS_BY, WAKE_BY, TIMERS_BY, LOOP_BY, WIRE_BY];
        assert!(by.is_sorted_by(|a, b| a < b) && WIRE_BY == 100);
        const { assert!(share::LIMIT_NS < 60_000_000_000) };
    }

    #[test]
    fn what_the_figures_suffer_from_is_said() {
        let mut host = Host::read();
        host.quota_cores = Some(0.5);
        host.clock_sources = Some(vec!["hpet".to_owned()]);
        let notes = notes(&host, &[gaps(1.0)], spread(60.0, 260.0)).join("\n");
        for words in ["60 to 260 ns", "beyond p99", "does not trust", "0.5 cores"] {
            assert!(notes.contains(words), "{words}: {notes}");
        }
    }
}
