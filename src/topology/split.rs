//! Messages that are divided among the hops of a port: how they are joined, and what is told of them.
//!
//! Invariant: the hops of a group are those of one list of consumers, of one class.

use std::sync::Arc;

use serde::Serialize;

use crate::overload::Split;
use crate::stage::hop::HopTx;
use crate::stage::outputs::PortHops;
use crate::stage::split::{Group, SplitCounters};

use super::line::LineHop;

/// What leaves by a port, as it is put together.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    pub(crate) hops: Vec<HopTx>,
    /// The groups, each with the number of its list of consumers.
    groups: Vec<(Option<usize>, Group)>,
}

impl Leaving {
    /// The next hop is one of a group: the hop at place `at` in the line.
    pub(crate) fn divide(&mut self, hop: &LineHop, at: usize, views: &mut Vec<SplitView>) {
        let Some(split) = hop.hop.split else {
            return;
        };
        let next = self.hops.len();
        let same = |group: &&mut (Option<usize>, Group)| group.0 == hop.together;
        if let Some((_, group)) = self.groups.iter_mut().find(same) {
            group.add(next);
            let view = views.iter_mut().rfind(|view| view.together == hop.together);
            if let Some(view) = view {
                view.hops.push(hop.name.clone());
            }
            return;
        }
        let counters = Arc::new(SplitCounters::default());
        let only = hop.only.as_ref();
        let only = only.map(|only| only.iter().map(|kind| kind.schema).collect());
        let mut group = Group::new(split, hop.hop.isolate, only, counters.clone());
        group.add(next);
        self.groups.push((hop.together, group));
        debug_assert!(views.iter().all(|view| view.first != at));
        views.push(SplitView {
            first: at,
            together: hop.together,
            split,
            isolate: hop.hop.isolate,
            hops: vec![hop.name.clone()],
            counters,
        });
    }

    /// The port.
    pub(crate) fn into_port(self) -> PortHops {
        let groups = self.groups.into_iter().map(|(_, group)| group);
        PortHops::new(self.hops, groups.collect())
    }
}

/// What the outside sees of a group.
#[derive(Debug)]
pub(crate) struct SplitView {
    /// Its first hop, by its place in the line.
    first: usize,
    together: Option<usize>,
    split: Split,
    isolate: bool,
    hops: Vec<String>,
    counters: Arc<SplitCounters>,
}

impl SplitView {
    pub(crate) fn report(&self) -> SplitReport {
        let hot = self.counters.hot.get().unwrap_or_default();
        let mut hot_keys: Vec<HotKeyReport> = hot
            .keys()
            .iter()
            .map(|told| HotKeyReport {
                key: told.key,
                share: f64::from(told.per_mille) / 1e3,
                share_max: f64::from(told.per_mille_max) / 1e3,
            })
            .collect();
        hot_keys.sort_by(|one, other| other.share_max.total_cmp(&one.share_max));
        SplitReport {
            hops: self.hops.clone(),
            split: self.split.name(),
            isolate: self.isolate,
            hot_keys,
            isolated: self.counters.isolated.get(),
            moves: self.counters.moves.get(),
            stays: self.counters.stays.get(),
        }
    }
}

/// A group of hops among which messages are divided.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SplitReport {
    /// Its hops, by name, in the order of the list.
    pub hops: Vec<String>,
    /// How: `key` or `any`.
    pub split: &'static str,
    /// Whether hot keys move to the last hop.
    pub isolate: bool,
    /// The keys that had the highest shares of a window (10 ms of the line's clock, or as long as 256 messages take, up to
    /// a second) since the start, the highest first; at most
    /// eight, and only those with more than a quarter.
    pub hot_keys: Vec<HotKeyReport>,
    /// Messages that went to the last hop because their key was moved there.
    pub isolated: u64,
    /// Times that a key was moved there.
    pub moves: u64,
    /// Times that a hot key was not, because its old hop was not done with it in time.
    pub stays: u64,
}

/// A key that was hot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HotKeyReport {
    /// The key, as the frame's field has it.
    pub key: u64,
    /// Its share of the last window at the least; 0 where it was not hot in it.
    pub share: f64,
    /// Its highest share of a window since the start.
    pub share_max: f64,
}
