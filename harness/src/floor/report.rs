//! What `hopline floor` found, as one value: printed as JSON, or drawn by `view`.
//!
//! Invariant: what could not be measured is absent and named in `cannot`, never a zero that looks like
//! a figure.

use serde::Serialize;

use crate::measure::{Percentiles, Row, Spread};

/// Version of the shape; it rises when a key changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Everything about one machine. Figures are nanoseconds unless their names say otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct FloorReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The machine, and on which cores of it.
    pub machine: Machine,
    /// How much the machine disturbs what runs on it: `quiet`, `uneasy` or `noisy`.
    pub noise: &'static str,
    /// Half a round trip over two bare cache lines: no ring can be faster by more than luck.
    pub floor: Option<Percentiles>,
    /// The floor's p50 over the rounds: a host that moves its guest's cores shows here.
    pub floor_p50_spread: Option<Spread>,
    /// hopline's rings, each beside the floor of the same rounds; closed loop.
    pub rings: Vec<Row>,
    /// Reading time.
    pub clock: ClockReport,
    /// How often a loop that does nothing but spin was stopped, core by core.
    pub gaps: Vec<Gaps>,
    /// Sleeping, and being woken.
    pub wake: WakeReport,
    /// What a turn of a line's loop costs.
    #[serde(rename = "loop")]
    pub turns: Option<LoopReport>,
    /// Round trips over sockets.
    pub wire: Vec<Wire>,
    /// What could not be measured here, and why, a line each.
    pub cannot: Vec<String>,
    /// What a person should know of these figures.
    pub notes: Vec<String>,
    /// How long it took.
    pub took_ns: u64,
}

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Name of the processor.
    pub cpu_model: Option<String>,
    /// Cores that are online.
    pub cores: Option<usize>,
    /// Cores that this process may run on.
    pub allowed: Vec<usize>,
    /// Processor time that the cgroup grants, in cores.
    pub quota_cores: Option<f64>,
    /// The two cores that were measured between.
    pub measured: Option<[usize; 2]>,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// The frequency governor of the first allowed core; absent where the guest has none.
    pub governor: Option<String>,
    /// Whether this is a virtual machine's guest.
    pub virtualised: Option<bool>,
    /// The kernel's clock source.
    pub clock_source: Option<String>,
}

/// Reading time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClockReport {
    /// `tsc` or `os`: what lines take here.
    pub kind: &'static str,
    /// A read before a publish.
    pub stamp_ns: f64,
    /// A read after a take, which waits for what came before it.
    pub stamp_after_ns: f64,
    /// A read of the operating system's clock.
    pub os_ns: f64,
    /// The smallest step: no span is known better.
    pub step_ns: u64,
    /// By how much the second core's clock is ahead of the first's.
    pub skew_ns: Option<f64>,
}

/// What a core did to a loop that only spins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Gaps {
    /// The core.
    pub core: usize,
    /// For how long it was watched.
    pub watched_ns: u64,
    /// Gaps of more than a microsecond, a second.
    pub over_1us_per_s: f64,
    /// Of more than ten.
    pub over_10us_per_s: f64,
    /// Of more than a hundred.
    pub over_100us_per_s: f64,
    /// The longest.
    pub worst_ns: u64,
    /// Share of the time that all gaps of more than a microsecond took together, in percent.
    pub lost_percent: f64,
}

/// Sleeping, and being woken.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WakeReport {
    /// From the wake of a loop that parks in its driver's poll until it runs.
    pub park: Option<Percentiles>,
    /// What that wake costs the one who wakes.
    pub waker: Option<Percentiles>,
    /// The same by the bare system call (a futex): the floor of a wake.
    pub bare_park: Option<Percentiles>,
    /// What the bare call costs the one who wakes.
    pub bare_waker: Option<Percentiles>,
    /// What it costs to publish to a consumer that is awake: a fence and a load, no system call.
    pub awake_ns: f64,
    /// How late parks end by themselves.
    pub timers: Vec<Timer>,
}

/// A park with a time to end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timer {
    /// How long it was to be.
    pub asked_ns: u64,
    /// How much longer it was.
    pub late: Percentiles,
    /// How much longer a bare sleep of the operating system was.
    pub bare_late: Percentiles,
}

/// What a turn of a line's loop costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LoopReport {
    /// A turn over a source, three stages and a sink that have nothing to do.
    pub empty_turn_ns: Spread,
    /// A turn that takes one frame from the source through three fused stages to the sink, stamped,
    /// recorded and accounted for on each of four hops.
    pub frame_turn_ns: Spread,
    /// The same frame copied four times and stamped once each: a loop that keeps no accounts.
    pub bare_turn_ns: Spread,
}

/// Round trips over one kind of socket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wire {
    /// What kind, such as `udp`.
    pub name: &'static str,
    /// Bytes of a message.
    pub payload_bytes: usize,
    /// Answered by a loop of bare system calls: the floor.
    pub raw: Percentiles,
    /// Answered by a line of three fused nodes and two rings.
    pub line: Percentiles,
    /// p50 of the line over that of the bare loop, within rounds.
    pub ratio: f64,
    /// The same of p99.
    pub ratio_p99: f64,
}
