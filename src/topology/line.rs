//! A line that was checked, and what its nodes and hops are then.
//!
//! Invariant: nothing here can be wrong with what the user gave.

use std::sync::Arc;

use crate::budget::Budget;
use crate::frame::KindInfo;
use crate::stage::log::{Notes, Room};
use crate::stage::orders::PolicyCell;
use crate::stage::tap::Desk;
use crate::stage::{Descriptor, OnPanic};

use super::draft::{Builder, Placement};
use super::hop::Hop;
use super::part::Part;
use super::samples::Samples;

/// A node that was checked.
pub(crate) struct LineNode {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) part: Box<dyn Part>,
    pub(crate) descriptor: Descriptor,
    pub(crate) on_panic: OnPanic,
}

/// A hop that was checked, with indices for names.
#[derive(Clone, Debug)]
pub(crate) struct LineHop {
    pub(crate) name: String,
    pub(crate) from: usize,
    pub(crate) port: usize,
    pub(crate) to: usize,
    pub(crate) to_name: String,
    pub(crate) hop: Hop,
    pub(crate) kinds: &'static [KindInfo],
    /// What it carries of them, where they are divided into classes.
    pub(crate) only: Option<Vec<KindInfo>>,
    /// The hops of its port, a bit each by place, of which it carries what they have no room for, and nothing else.
    pub(crate) spill_of: u32,
    /// Where other policies come while it runs.
    pub(crate) policy: Arc<PolicyCell>,
    /// Hops with the same number share one ring.
    pub(crate) ring: Option<usize>,
    /// Hops with the same number come of one list of consumers.
    pub(crate) together: Option<usize>,
    /// The consumers of the same ring that its consumer follows.
    pub(crate) after: Vec<usize>,
    /// Where taps of its consumer are attached.
    pub(crate) desk: Arc<Desk>,
}

impl LineHop {
    /// Whether messages may wait for room in a table by their keys.
    pub(crate) fn has_table(&self) -> bool {
        let policy = &self.hop.policy;
        (policy.conflates() || policy.degrade_high_ns > 0) && self.has_keys()
    }

    /// Whether some of what it carries has a key.
    pub(crate) fn has_keys(&self) -> bool {
        let carried = self.only.as_deref().unwrap_or(self.kinds);
        carried.iter().any(|kind| kind.keyed)
    }
}

/// A line that was checked: every name resolves, every hop carries what its consumer takes, and
/// there is no cycle.
pub struct Line {
    pub(crate) name: String,
    /// In topological order: sources first.
    pub(crate) nodes: Vec<LineNode>,
    pub(crate) hops: Vec<LineHop>,
    pub(crate) placement: Placement,
    pub(crate) objective: Option<Budget>,
    pub(crate) drain_ns: u64,
    /// What is noted for those who judge.
    pub(crate) notes: Notes,
    /// Who follows messages, until it runs.
    pub(crate) samples: Option<Samples>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nodes: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        let hops: Vec<&str> = self.hops.iter().map(|hop| hop.name.as_str()).collect();
        f.debug_struct("Line")
            .field("name", &self.name)
            .field("nodes", &nodes)
            .field("hops", &hops)
            .finish_non_exhaustive()
    }
}

impl Line {
    /// Has the loops note their long segments and each hop its first so many messages
    /// ([`PASSAGES_DEFAULT`](crate::base::limits::PASSAGES_DEFAULT) is a fair number), for
    /// [`Running::end_noted`](super::Running::end_noted). Takes 24 B a message and hop, and 56 B a message
    /// and loop, touched before the run, and in a run a few
    /// nanoseconds a message and a stamp for each idle turn.
    pub fn note_evidence(&mut self, messages: usize) {
        self.note_evidence_for(messages, 0);
    }

    /// The same for a run of known length, in nanoseconds: each loop has room for what it notes from time to time, 0.3 MiB a
    /// second, where [`Line::note_evidence`] has it for 26 s.
    pub fn note_evidence_for(&mut self, messages: usize, span_ns: u64) {
        self.notes = Notes::Kept(Room { messages, span_ns });
    }

    /// Begins a line in code.
    #[must_use]
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// The line's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of its hops.
    pub fn hop_names(&self) -> impl Iterator<Item = &str> {
        self.hops.iter().map(|hop| hop.name.as_str())
    }
}
