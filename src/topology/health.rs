//! Whether a running line is alive, and if not, who is to blame.
//!
//! A loop stamps its heartbeat with its housekeeping, and a node each frame that it is done with: a turn may be long, and
//! every frame of it a sign of life. A loop whose last sign is older than [`LIVE_NS`] hangs, as a rule in a handler, and the
//! node that has the turn is named: queues that are only watched for their depth look healthy while nobody is there to fill them.
//!
//! Invariant: looking costs a loop nothing, and a loop that hangs cannot make the look wait.

use crate::base::limits::{LIVE_NS, RESTARTS_IN_VAIN_MAX};
use crate::base::units::Span;
use crate::budget::LinkReport;
use crate::stage::{Standing, State};

use super::run::{Loop, Running};
use super::wire::NodeView;

/// A loop at the moment of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopHealth {
    /// The loop's thread.
    pub name: String,
    /// How long ago its last turn was, or the last frame within one, in nanoseconds, to a millisecond. Nothing once it is over.
    pub age_ns: Option<u64>,
    /// The node that has the turn. Where the last turn is not long ago, only a sample.
    pub node: Option<String>,
}

/// A node at the moment of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeHealth {
    /// The node's name.
    pub name: String,
    /// The loop that it runs on, by its place in [`Health::loops`].
    pub on: usize,
    /// Where it is in its life.
    pub state: State,
    /// The same with its history. Nothing if its loop was just about to change it.
    pub standing: Option<Standing>,
    /// How often in a row it was made anew without being done with a frame since.
    pub restarts_in_vain: u64,
    /// Of a source that keeps one connection open: where that stands.
    pub link: Option<LinkReport>,
    /// What went wrong with it, in words.
    pub fault: Option<String>,
}

/// How a line is at the moment of a look; [`Running::health`] takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Its loops.
    pub loops: Vec<LoopHealth>,
    /// Its nodes.
    pub nodes: Vec<NodeHealth>,
}

impl Health {
    /// Whether every loop makes turns, or has ended as it should, and no node has failed or is made anew over and over for
    /// nothing. A line that has ended in good order
    /// is in good health; [`LoopHealth::age_ns`] says that it has ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.why_not().is_empty()
    }

    /// What keeps it from being alive, in words that name loop and node. Empty if it is.
    ///
    /// ```
    /// use hopline::topology::health::{Health, LoopHealth};
    /// let hangs = LoopHealth {
    ///     name: "core-1".into(),
    ///     age_ns: Some(130_000_000),
    ///     node: Some("book".into()),
    /// };
    /// let health = Health { loops: vec![hangs], nodes: vec![] };
    /// assert_eq!(health.why_not(), ["core-1 has made no turn for 130ms: book does not return"]);
    /// ```
    #[must_use]
    pub fn why_not(&self) -> Vec<String> {
        let mut why = Vec::new();
        for one in &self.loops {
            let Some(age_ns) = one.age_ns.filter(|age_ns| *age_ns > LIVE_NS) else {
                continue;
            };
            let age = Span(age_ns / 1_000_000 * 1_000_000);
            let who = match &one.node {
                Some(node) => format!("{node} does not return"),
                None => "no node has the turn, so its thread does not get to run".to_owned(),
            };
            why.push(format!("{} has made no turn for {age}: {who}", one.name));
        }
        for node in &self.nodes {
            let of = self.loops.get(node.on);
            let is_left = !node.state.is_over() && of.is_some_and(|of| of.age_ns.is_none());
            if node.state == State::Failed {
                let what = node.fault.as_deref().unwrap_or("without words");
                why.push(format!("{} has failed: {what}", node.name));
            } else if is_left {
                let name = of.map_or("its loop", |of| of.name.as_str());
                let state = node.state.name();
                why.push(format!(
                    "{name} has ended and left {} in state {state}",
                    node.name
                ));
            } else if !node.state.is_over() && node.restarts_in_vain >= RESTARTS_IN_VAIN_MAX {
                why.push(format!(
                    "{} has been made anew {} times in a row and is done with no frame",
                    node.name, node.restarts_in_vain
                ));
            }
        }
        why
    }
}

impl Running {
    /// How the line is just now. Never waits; a few loads for each loop and node.
    ///
    /// A loop that hangs is seen within [`LIVE_NS`]. So is one whose thread the host keeps from
    /// running for as long: the line is then as dead as with a hanging handler.
    pub fn health(&mut self) -> Health {
        // Hears which loops have ended meanwhile.
        self.wait(std::time::Duration::ZERO);
        let now_ns = self.clock.stamp();
        let loops = self.loops.iter().map(|one| LoopHealth {
            name: one.planned.name.clone(),
            age_ns: (!one.over).then(|| one.age_ns(now_ns, self.began_ns, &self.nodes)),
            node: one.current_node(),
        });
        let nodes = self.nodes.iter().enumerate().map(|(at, node)| NodeHealth {
            name: node.name.clone(),
            on: self.place_of(at).map_or(0, |(on, _)| on),
            state: node.counters.state(),
            standing: node.counters.standing(),
            restarts_in_vain: node.counters.restarts_in_vain(),
            link: node.counters.ingress.link.report(now_ns, self.began_ns),
            fault: node.counters.fault().map(str::to_owned),
        });
        Health {
            loops: loops.collect(),
            nodes: nodes.collect(),
        }
    }
}

impl Loop {
    /// How long ago its last beat was, or the last frame that one of its nodes was done with within a long turn, in a line of
    /// these nodes that began then.
    pub(super) fn age_ns(&self, now_ns: u64, began_ns: u64, nodes: &[NodeView]) -> u64 {
        let nodes = self.planned.at.iter().filter_map(|at| nodes.get(*at));
        let done_ns = nodes.map(|node| node.counters.stage.done_ns.get()).max();
        let seen_ns = self.counters.beat_ns.get().max(done_ns.unwrap_or(0));
        now_ns.saturating_sub(seen_ns.max(began_ns))
    }

    /// The node that has had the turn since the loop was last seen.
    pub(super) fn current_node(&self) -> Option<String> {
        let at = self.counters.current.get().checked_sub(1)?;
        self.planned.nodes.get(at as usize).cloned()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn health(age_ns: Option<u64>, node: Option<&str>, state: State) -> Health {
        let fault = (state == State::Failed).then(|| "panicked: planted".to_owned());
        Health {
            loops: vec![LoopHealth {
                name: "core-0".into(),
                age_ns,
                node: node.map(str::to_owned),
            }],
            nodes: vec![NodeHealth {
                name: "book".into(),
                on: 0,
                state,
                standing: None,
                restarts_in_vain: 0,
                link: None,
                fault,
            }],
        }
    }

    #[test]
    fn a_loop_is_alive_up_to_the_limit_and_not_beyond() {
        assert!(health(Some(LIVE_NS), Some("book"), State::Run).is_live());
        let hangs = health(Some(LIVE_NS + 1), Some("book"), State::Run);
        assert!(!hangs.is_live());
        assert_eq!(
            hangs.why_not(),
            ["core-0 has made no turn for 100ms: book does not return"]
        );
        let starved = health(Some(LIVE_NS + 1), None, State::Run);
        assert!(starved.why_not()[0].contains("no node has the turn"));
    }

    #[test]
    fn a_failed_node_and_one_that_its_loop_left_are_named() {
        let failed = health(Some(0), None, State::Failed);
        assert_eq!(failed.why_not(), ["book has failed: panicked: planted"]);
        let left = health(None, None, State::Run);
        assert_eq!(
            left.why_not(),
            ["core-0 has ended and left book in state run"]
        );
        for well in [
            health(Some(0), None, State::Paused),
            health(None, None, State::Done),
            health(None, None, State::Aborted),
        ] {
            assert_eq!(well.why_not(), Vec::<String>::new());
        }
    }
}
