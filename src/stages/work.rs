//! The stage `work`: passes datagrams on, each after a time that is known beforehand.
//!
//! A tool for benchmarks, drills and checks of the measuring: put it where a stage's work would be.
//!
//! | setting | default | means |
//! |---|---|---|
//! | `takes` | needed | how long the handler works on each message (`"600ns"`) |
//! | `longer_every` | 0, never | each n-th message takes longer |
//! | `longer` | needed with it | how long that one takes |
//!
//! It works by looking at the clock until the time is over, so a slow core does not make it longer; a
//! virtual clock stands still in a handler, and there it takes no time.
//!
//! Invariant: passes on what it gets, whole and in order, whatever it takes.

use crate::base::NoWhy;
use crate::base::primitive::spin_hint;
use crate::feed::Datagrams;
use crate::frame::Input;
use crate::stage::{Context, Outcome, Port, Stage};
use crate::topology::{Params, Problem};

use super::forward::Forward;

/// How long a work stage works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkSpec {
    /// On each message, in nanoseconds.
    pub takes_ns: u64,
    /// Each n-th message takes longer; 0 is never.
    pub longer_every: u64,
    /// How long that one takes, in nanoseconds.
    pub longer_ns: u64,
}

impl WorkSpec {
    /// From a node's settings; this file's head lists them.
    ///
    /// # Errors
    /// A setting of the wrong type, one that is missing, and one without the other it goes with.
    pub fn from_params(params: &mut Params) -> Result<WorkSpec, Problem> {
        let missing = |params: &Params, key, help| {
            Err(params.problem(key, format!("\"{key}\" is missing"), help))
        };
        let Some(takes_ns) = params.span_ns("takes")? else {
            return missing(
                params,
                "takes",
                "write how long a message takes, such as takes = \"600ns\"",
            );
        };
        let longer_every = params.count("longer_every", 0, 0..=u64::MAX)?;
        let longer_ns = params.span_ns("longer")?;
        match (longer_every, longer_ns) {
            (0, Some(_)) => missing(
                params,
                "longer_every",
                "write which messages take longer, such as longer_every = 500",
            ),
            (1.., None) => missing(
                params,
                "longer",
                "write how long they take, such as longer = \"20us\"",
            ),
            (_, longer_ns) => Ok(WorkSpec {
                takes_ns,
                longer_every,
                longer_ns: longer_ns.unwrap_or(0),
            }),
        }
    }
}

/// Looks at the clock until the frame in hand was worked on for that long, in nanoseconds; on a virtual clock not at all.
#[inline]
pub(super) fn work_for(takes_ns: u64, cx: &Context<'_>) {
    let until_ns = cx.now_ns().saturating_add(takes_ns);
    while !cx.clock().is_virtual() && cx.stamp() < until_ns {
        spin_hint();
    }
}

/// Works for a while and passes on; see this file's head.
#[derive(Debug)]
pub struct Work {
    spec: WorkSpec,
    messages: u64,
    forward: Forward<Datagrams>,
}

impl Work {
    /// A stage that has seen no message yet. Allocates room for the largest one.
    #[must_use]
    pub fn new(spec: WorkSpec) -> Work {
        Work {
            spec,
            messages: 0,
            forward: Forward::new(),
        }
    }

    /// How long the message in hand takes.
    fn takes_ns(&mut self) -> u64 {
        self.messages += 1;
        let WorkSpec {
            takes_ns,
            longer_every,
            longer_ns,
        } = self.spec;
        if longer_every > 0 && self.messages.is_multiple_of(longer_every) {
            longer_ns
        } else {
            takes_ns
        }
    }
}

impl Stage for Work {
    type In = Datagrams;
    type Why = NoWhy;
    const PORTS: &'static [Port] = Forward::<Datagrams>::PORTS;
    const MAX_EMIT: usize = Forward::<Datagrams>::MAX_EMIT;

    fn memory_bytes(&self) -> usize {
        self.forward.memory_bytes()
    }

    fn on_frame(
        &mut self,
        frame: <Datagrams as Input>::View<'_>,
        cx: &mut Context<'_>,
    ) -> Outcome<NoWhy> {
        if cx.flags().is_last() {
            work_for(self.takes_ns(), cx);
        }
        self.forward.on_frame(frame, cx)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn each_nth_message_takes_longer() {
        let mut work = Work::new(WorkSpec {
            takes_ns: 600,
            longer_every: 3,
            longer_ns: 20_000,
        });
        let takes: Vec<u64> = (0..6).map(|_| work.takes_ns()).collect();
        assert_eq!(takes, [600, 600, 20_000, 600, 600, 20_000]);
        let mut even = Work::new(WorkSpec {
            takes_ns: 600,
            ..WorkSpec::default()
        });
        assert!((0..6).all(|_| even.takes_ns() == 600));
    }
}
