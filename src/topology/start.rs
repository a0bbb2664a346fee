//! From a checked line to loops at work: drivers, bells, threads, pins, and everything opened.
//!
//! Invariant: nothing has run when an error comes back.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::base::limits::OPEN_DEADLINE_NS;
use crate::clock::Clock;
use crate::control::{Command, Control, Requests, complaints};
use crate::host::memory::{self, MemoryError};
use crate::host::{self, Host, MemoryReport, MemoryWish, Pin, Pinned};
use crate::io::{Driver, IoError, Waker};
use crate::reactor::{LoopCounters, Notices, OpenError, Reactor};
use crate::stage::hop::Doorbell;
use crate::stage::log::{LoopLog, Notes, Shelf};
use crate::stage::spill::SpillError;
use crate::wait::{Sleeper, Strategy, announce};

use super::clean::Clean;
use super::line::Line;
use super::plan::Plan;
use super::problem::Problems;
use super::record::Recording;
use super::report::Report;
use super::run::{Loop, Running, Stop};
use super::samples::Samples;
use super::spill::{self, SpillThread};
use super::window::Windows;
use super::wire::{Wired, wire};

/// How long all loops together may take to open what they need.
const OPEN_DEADLINE: Duration = Duration::from_nanos(OPEN_DEADLINE_NS);

/// Why a line did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Something in the line or its placement is wrong.
    Line(Problems),
    /// A node could not open what it needs.
    Open {
        /// The node.
        node: String,
        /// What and why.
        error: IoError,
    },
    /// A node panicked while it was opened.
    Panicked {
        /// The node.
        node: String,
        /// The panic's words.
        words: String,
    },
    /// A loop's thread could not be pinned, and the line requires it.
    Pin {
        /// The thread.
        thread: String,
        /// Why not.
        error: host::PinError,
    },
    /// The system did not grant what the line requires of its memory.
    Memory(MemoryError),
    /// A thread or its driver could not be made.
    Thread {
        /// The thread.
        thread: String,
        /// Why not.
        why: String,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Line(problems) => write!(f, "{problems}"),
            StartError::Open { node, error } => write!(f, "{node}: {error}"),
            StartError::Panicked { node, words } => write!(f, "{node}: {words}"),
            StartError::Pin { thread, error } => write!(f, "thread \"{thread}\": {error}"),
            StartError::Memory(error) => write!(f, "{error}"),
            StartError::Thread { thread, why } => write!(f, "thread \"{thread}\": {why}"),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub(crate) fn open(node: String, error: OpenError) -> StartError {
        match error {
            OpenError::Io(error) => StartError::Open { node, error },
            OpenError::Panicked(words) => StartError::Panicked { node, words },
        }
    }
}

impl From<SpillError> for StartError {
    fn from(failed: SpillError) -> StartError {
        StartError::Open {
            node: failed.hop,
            error: failed.error,
        }
    }
}

impl From<Problems> for StartError {
    fn from(problems: Problems) -> StartError {
        StartError::Line(problems)
    }
}

type Opened = Result<Option<Pinned>, StartError>;

impl Line {
    /// Starts the line on threads of its own, placed by [`Line::plan`].
    ///
    /// # Errors
    /// What could not be placed, pinned or opened; nothing has run then.
    pub fn start(self) -> Result<Running, StartError> {
        let host = Host::read();
        let plan = self.plan(&host)?;
        let clock = if host.trusts_tsc() {
            Clock::calibrated()
        } else {
            Clock::os()
        };
        self.start_as(plan, host, clock, &Driver::real)
    }

    /// Starts the line and waits for its end: when all sources have ended, when `stop` says so,
    /// when a node fails, or when a loop hangs. What is queued is drained first.
    ///
    /// # Errors
    /// As [`Line::start`].
    pub fn run_until(self, stop: Stop) -> Result<Report, StartError> {
        let mut running = self.start()?;
        let cause = running.watch(&stop, |_| {});
        Ok(running.end(cause))
    }

    /// Starts the line as planned, on that clock, with a driver from `driver` for each loop.
    ///
    /// # Errors
    /// What could not be placed, pinned or opened; nothing has run then.
    pub fn start_as(
        mut self,
        plan: Plan,
        host: Host,
        clock: Clock,
        driver: &dyn Fn() -> Result<Driver, IoError>,
    ) -> Result<Running, StartError> {
        let (name, pin, deadline_ns) = (self.name.clone(), self.placement.pin, self.drain_ns);
        let objective = self.objective.clone();
        let planned_bytes = plan.memory_bytes;
        let wish = self.placement.memory;
        let followed = self.samples.take();
        let kept = match self.notes {
            Notes::Kept(room) => Some(room),
            _ => None,
        };
        let meters = match &mut self.notes {
            Notes::Told(meters) => Some(std::mem::take(meters)),
            _ => None,
        };

        let recording = Recording::start(&self, &clock, driver)?;
        // Drivers are made here, so that the bells of other loops can hold their wakers.
        let mut drivers = Vec::new();
        for thread in &plan.threads {
            drivers.push(driver().map_err(|error| StartError::Thread {
                thread: thread.name.clone(),
                why: error.to_string(),
            })?);
        }
        let sleepers: Vec<Option<Sleeper>> = plan
            .threads
            .iter()
            .map(|thread| {
                matches!(thread.strategy, Strategy::Park { .. }).then(|| announce::pair().0)
            })
            .collect();
        let thread_of = |node: usize| {
            plan.threads
                .iter()
                .position(|thread| thread.at.contains(&node))
        };
        let bell = |from: Option<usize>, to: usize| {
            let (from, to) = (from.and_then(thread_of), thread_of(to)?);
            let sleeper = sleepers[to].as_ref().filter(|_| from != Some(to))?;
            Some(Doorbell::new(sleeper.alarm(), drivers[to].waker()))
        };
        let wakers: Vec<Waker> = drivers.iter().map(Driver::waker).collect();
        // Files into which hops overflow have a thread of their own, which is bound to no core.
        let mut beside = match self.hops.iter().any(|hop| hop.overflow_file().is_some()) {
            true => Some((announce::pair().0, driver().map_err(no_thread)?)),
            false => None,
        };
        let writer_bell = beside.as_ref();
        let writer_bell = writer_bell.map(|(one, io)| Doorbell::new(one.alarm(), io.waker()));
        let Wired {
            nodes,
            mut hop_views,
            splits,
            node_views,
            ring_spans,
            mut writer,
            spills,
        } = wire(self, &clock, bell, writer_bell)?;
        if let Some((_, io)) = &mut beside {
            writer.open(io)?;
        }

        let control = Arc::new(Control::default());
        let (ended_tx, ended) = sync_channel(plan.threads.len() + 1);
        let (opened_tx, opened) = sync_channel(plan.threads.len());
        let mut slots: Vec<Option<Box<dyn crate::stage::Node>>> =
            nodes.into_iter().map(Some).collect();
        let mut loops = Vec::new();
        let mut ears = meters;
        for (at, ((planned, driver), sleeper)) in plan
            .threads
            .into_iter()
            .zip(drivers)
            .zip(sleepers)
            .enumerate()
        {
            let nodes = planned
                .at
                .iter()
                .filter_map(|node| slots[*node].take())
                .collect();
            let counters = Arc::new(LoopCounters::default());
            let shelf = Shelf::default();
            let mut log = LoopLog::off();
            if let Some(room) = kept {
                // A ring that several hops share has one offering side, which is the first one's.
                let hops = planned
                    .at
                    .iter()
                    .flat_map(|node| &node_views[*node].outputs);
                let offers = hops
                    .map(|hop| (*hop, &hop_views[*hop]))
                    .filter(|(_, hop)| hop.shares.is_none())
                    .map(|(at, hop)| (at, hop.offers.clone()));
                log = LoopLog::on(Shelf::clone(&shelf), offers, room);
            } else if let Some(ears) = &mut ears
                && let Some((told, ear)) = LoopLog::told()
            {
                ears.push(ear);
                log = told;
            }
            let (requests, (voice, complaints)) = (Arc::<Requests>::default(), complaints());
            // Of a shared ring the first hop has the offering side, and each its own taking one.
            let hops = planned
                .at
                .iter()
                .flat_map(|node| &node_views[*node].outputs);
            let hops = hops.map(|hop| (*hop as u16, hop_views[*hop].counters.clone()));
            let its_nodes = planned.at.iter();
            let its_nodes =
                its_nodes.map(|node| (*node as u16, node_views[*node].counters.clone()));
            let notices = Notices::new(voice, hops, its_nodes);
            let reactor = Reactor::new(
                nodes,
                driver,
                clock.clone(),
                planned.strategy,
                sleeper,
                control.clone(),
                counters.clone(),
            )
            .ordered(planned.order.clone())
            .logged(log)
            .heard(requests.clone(), notices);
            let (pin, core) = (pin, planned.core);
            let (thread_name, its_counters) = (planned.name.clone(), counters.clone());
            let (opened, ended) = (opened_tx.clone(), ended_tx.clone());
            let spawned = std::thread::Builder::new()
                .name(planned.name.clone())
                .spawn(move || {
                    its_counters.thread.set(u64::from(host::thread_id()));
                    run_loop(at, reactor, pin, core, &thread_name, &opened, &ended);
                });
            let thread = spawned.map_err(|error| {
                control.tell(Command::Abort);
                StartError::Thread {
                    thread: planned.name.clone(),
                    why: error.to_string(),
                }
            })?;
            let thread = Some(thread);
            loops.push(Loop {
                planned,
                counters,
                pinned: None,
                thread,
                over: false,
                requests,
                complaints,
                shelf,
            });
        }
        let beside = beside.map(|(sleeper, io)| {
            SpillThread::start(writer, io, sleeper, &ended_tx, loops.len()).map_err(|error| {
                control.tell(Command::Abort);
                no_thread(error)
            })
        });
        let beside = beside.transpose()?;
        drop(ended_tx);
        drop(opened_tx);
        let mut samples = followed;
        let clean = ears.map(|ears| {
            // Those of others come first.
            let of_others = ears.len().saturating_sub(loops.len());
            let loop_of = |node| {
                loops
                    .iter()
                    .position(|one: &Loop| one.planned.at.contains(&node))
            };
            let its = hop_views
                .iter()
                .map(|hop| Some(of_others + loop_of(hop.to)?));
            let its: Vec<Option<usize>> = its.collect();
            let names = hop_views.iter().map(|hop| hop.name.as_str());
            samples = Some(Samples::heard(names, its, ears.len()));
            Clean::new(ears, &mut hop_views, &node_views, objective.as_ref())
        });
        let windows = Windows::new(hop_views.len(), clock.stamp());
        let mut running = Running {
            name,
            host,
            control,
            loops,
            hops: hop_views,
            splits,
            spills,
            beside,
            nodes: node_views,
            windows,
            objective,
            planned_bytes,
            deadline_ns,
            began_ns: clock.stamp(),
            clock,
            ended,
            wakers,
            stalled_in: Vec::new(),
            progress: (0, 0),
            resident_bytes: None,
            memory: MemoryReport::default(),
            drain: None,
            quarantine: Vec::new(),
            clean,
            samples,
            recording,
        };
        running.wait_for_open(&opened)?;
        running.arrange(wish, &ring_spans)?;
        running.go();
        Ok(running)
    }
}

/// The thread beside the loops could not be made, or its driver.
fn no_thread(error: impl fmt::Display) -> StartError {
    StartError::Thread {
        thread: spill::THREAD.to_owned(),
        why: error.to_string(),
    }
}

/// The body of a loop's thread.
fn run_loop(
    at: usize,
    mut reactor: Reactor,
    pin: Pin,
    core: Option<usize>,
    name: &str,
    opened: &SyncSender<(usize, Opened)>,
    ended: &SyncSender<usize>,
) {
    let pinned = match core
        .filter(|_| pin != Pin::Off)
        .map(|core| host::pin(core, pin))
    {
        None => Ok(None),
        Some(Ok(pinned)) => Ok(Some(pinned)),
        Some(Err(error)) => Err(StartError::Pin {
            thread: name.to_owned(),
            error,
        }),
    };
    let result = pinned.and_then(|pinned| match reactor.open() {
        Ok(()) => Ok(pinned),
        Err((node, error)) => Err(StartError::open(node, error)),
    });
    let good = result.is_ok();
    // The channels have a place for every loop, so neither of these ever waits.
    let _ = opened.send((at, result));
    // Nodes are guarded one by one. What panics here all the same is a defect of the loop or a
    // node's drop: its nodes are then never seen to end, and the report is not good.
    let _ = catch_unwind(AssertUnwindSafe(move || {
        if good {
            reactor.run();
        }
    }));
    let _ = ended.send(at);
}

impl Running {
    fn wait_for_open(&mut self, opened: &Receiver<(usize, Opened)>) -> Result<(), StartError> {
        let mut result = Ok(());
        let mut answered = vec![false; self.loops.len()];
        let until_ns = self.clock.stamp() + OPEN_DEADLINE.as_nanos() as u64;
        for _ in 0..self.loops.len() {
            let left = Duration::from_nanos(until_ns.saturating_sub(self.clock.stamp()));
            match opened.recv_timeout(left) {
                Ok((at, pinned)) => {
                    answered[at] = true;
                    match pinned {
                        Ok(pinned) => self.loops[at].pinned = pinned,
                        Err(error) => result = result.and(Err(error)),
                    }
                }
                Err(_) => {
                    let silent = self.loops.iter().zip(&answered).filter(|(_, yes)| !**yes);
                    let thread = silent
                        .map(|(one, _)| one.planned.name.as_str())
                        .collect::<Vec<_>>();
                    let thread = thread.join(", ");
                    let why = format!("not open after {OPEN_DEADLINE:?}");
                    result = result.and(Err(StartError::Thread { thread, why }));
                    break;
                }
            }
        }
        // Where it failed, dropping this aborts the loops that are open.
        result
    }

    /// Asks for what the line wishes of its memory, now that all of it is allocated and all threads
    /// have their stacks.
    fn arrange(&mut self, wish: MemoryWish, rings: &[Range<usize>]) -> Result<(), StartError> {
        self.memory = memory::arrange(wish, rings).map_err(StartError::Memory)?;
        Ok(())
    }

    /// Lets all loops run.
    fn go(&mut self) {
        self.began_ns = self.clock.stamp();
        self.windows.begin(self.began_ns);
        self.control.run(self.began_ns);
        self.wake();
        self.resident_bytes = host::resident_bytes();
    }
}
