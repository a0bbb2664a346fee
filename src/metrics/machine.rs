//! The samples of what the kernel knows: of the threads of loops, and of the process.
//!
//! A thread that has ended is no longer in `/proc`: what was read of it last stays on the page, so that counters do not fall.
//!
//! Invariant: reads `/proc` for a page, on the thread that makes it, and never otherwise.

use super::family::Id;
use super::page::{Page, Value};
use crate::clock::Clock;
use crate::host::{ProcessUse, TaskUse};
use crate::topology::{LoopReport, Report};

/// What was read of the machine for pages so far.
#[derive(Debug)]
pub struct Machine {
    /// When the process started, in seconds of the Unix epoch: read once, so that it does not flicker.
    start_s: Option<f64>,
    loops: Vec<Seen>,
}

/// A loop's thread.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    last: Option<TaskUse>,
    /// Migrations when it was read first: those before it was pinned are none of its loop's.
    migrations_before: u64,
}

impl Machine {
    /// Nothing read yet but the age of the process.
    #[must_use]
    pub fn new(clock: &Clock) -> Machine {
        let age_ns = ProcessUse::now().age_ns;
        let start_ns = age_ns.map(|age_ns| clock.wall_ns().saturating_sub(age_ns));
        Machine {
            start_s: start_ns.map(|ns| (ns / 10_000_000) as f64 / 100.0),
            loops: Vec::new(),
        }
    }

    /// Reads the threads of all loops.
    pub fn look(&mut self, report: &Report) {
        let loops = &report.placement;
        self.loops.resize(loops.len(), Seen::default());
        for (seen, one) in self.loops.iter_mut().zip(loops) {
            let Some(now) = one.thread_id.and_then(TaskUse::of) else {
                continue;
            };
            if seen.last.is_none() {
                seen.migrations_before = now.migrations.unwrap_or(0);
            }
            seen.last = Some(now);
        }
    }

    pub(super) fn fill(&self, page: &mut Page, report: &Report) {
        for (seen, one) in self.loops.iter().zip(&report.placement) {
            seen.fill(page, one);
        }
        self.process(page);
    }

    fn process(&self, page: &mut Page) {
        let now = ProcessUse::now();
        let gauges = [
            (Id::ProcessResident, now.resident_bytes),
            (Id::ProcessHeap, now.heap_bytes),
            (Id::ProcessVirtual, now.virtual_bytes),
            (Id::ProcessFds, now.files),
            (Id::ProcessFdsMax, now.files_max),
            (Id::ProcessThreads, now.threads),
        ];
        for (id, value) in gauges {
            if let Some(value) = value {
                page.count(id, &[], value);
            }
        }
        if let Some(cpu_ns) = now.cpu_ns {
            page.span(Id::ProcessCpu, &[], cpu_ns);
        }
        for (kind, faults) in [("minor", now.minor_faults), ("major", now.major_faults)] {
            if let Some(faults) = faults {
                page.count(Id::ProcessFaults, &[kind], faults);
            }
        }
        if let Some(start_s) = self.start_s {
            page.put(Id::ProcessStart, &[], Value::Real(start_s));
        }
    }
}

impl Seen {
    fn fill(&self, page: &mut Page, one: &LoopReport) {
        let name = one.planned.name.as_str();
        if let Some(core) = one.pinned {
            page.count(Id::LoopCore, &[name], core as u64);
        }
        let Some(last) = self.last else {
            return;
        };
        if let Some((pinned, core)) = one.pinned.zip(last.core) {
            page.flag(Id::LoopOff, &[name], pinned as u64 != core);
        }
        let spans = [
            (Id::LoopCpu, last.cpu_ns),
            (Id::LoopRunDelay, last.run_delay_ns),
        ];
        for (id, ns) in spans {
            if let Some(ns) = ns {
                page.span(id, &[name], ns);
            }
        }
        if let Some(count) = last.timeslices {
            page.count(Id::LoopSlices, &[name], count);
        }
        let switches = [
            ("voluntary", last.voluntary),
            ("involuntary", last.involuntary),
        ];
        for (kind, count) in switches {
            if let Some(count) = count {
                page.count(Id::LoopSwitches, &[name, kind], count);
            }
        }
        if let Some(count) = last.migrations {
            let since = count.saturating_sub(self.migrations_before);
            page.count(Id::LoopMigrations, &[name], since);
        }
    }
}
