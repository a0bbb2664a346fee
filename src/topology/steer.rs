//! What a running line can be asked for, and what it complains of.
//!
//! Invariant: asking never waits for a loop; what was asked is done with the loop's next housekeeping, and its effect is seen
//! in the line's [`health`](super::health).

use std::fmt;

use crate::base::units::Span;
use crate::base::{Reason, limits};
use crate::control::{Complaint, Full, Request, What};
use crate::stage::{Role, State};

use super::report::is_over;
use super::run::Running;
use super::wire::NodeView;

/// Why a running line cannot do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SteerError {
    /// The line has no such node.
    #[error("no node is called \"{asked}\"; the line's {role}s are {names}")]
    NoSuchNode {
        /// What was asked for.
        asked: String,
        /// What the nodes are that can do it.
        role: &'static str,
        /// The names that would have been right.
        names: String,
    },
    /// The node is not away after a panic.
    #[error("\"{node}\" is not away after a panic ({state}): there is nothing to make anew")]
    NotAway {
        /// The node.
        node: String,
        /// Its state.
        state: &'static str,
    },
    /// The node is not a source: what is in front of it would fill up. Pause the sources that feed it.
    #[error("\"{node}\" is a {role} and cannot pause by itself; pause what feeds it: {sources}")]
    NotASource {
        /// The node.
        node: String,
        /// What it is.
        role: &'static str,
        /// The line's sources.
        sources: String,
    },
    /// The node has ended.
    #[error("\"{node}\" has ended already ({state})")]
    Ended {
        /// The node.
        node: String,
        /// How it ended.
        state: &'static str,
    },
    /// The loop has not taken what it was asked before.
    #[error(
        "\"{node}\" was asked {} times already and its loop has not looked: see whether it hangs (Running::health)",
        limits::REQUESTS_DEPTH
    )]
    Full {
        /// The node.
        node: String,
    },
}

/// A complaint of a loop, in words that name the hop or node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it is about, and when it was seen.
    pub complaint: Complaint,
    /// The name of the hop or node.
    pub on: String,
    /// The same in words.
    pub words: String,
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Running {
    /// Asks a source to take nothing more: its messages stay where they are, in the socket's buffer (which the kernel lets
    /// overflow, and counts), in the file, or with their schedule, which is then late. Done within a few milliseconds, as soon
    /// as the loop looks up; its state is then `paused`. Pausing twice is pausing once, and a drain ends a pause.
    ///
    /// # Errors
    /// No such node, one that is no source, one that has ended, or a loop that does not look at what it is asked.
    pub fn pause(&self, source: &str) -> Result<(), SteerError> {
        self.ask(source, Request::Pause)
    }

    /// Asks a paused source to go on. One that is not paused goes on anyway.
    ///
    /// # Errors
    /// As [`Running::pause`].
    pub fn resume(&self, source: &str) -> Result<(), SteerError> {
        self.ask(source, Request::Resume)
    }

    fn ask(&self, name: &str, request: fn(u16) -> Request) -> Result<(), SteerError> {
        let (node, (on, at)) = self.find(name, Role::Source)?;
        if node.role != Role::Source {
            return Err(SteerError::NotASource {
                node: name.to_owned(),
                role: node.role.name(),
                sources: self.names(Role::Source),
            });
        }
        if is_over(node) {
            return Err(SteerError::Ended {
                node: name.to_owned(),
                state: node.counters.state().name(),
            });
        }
        self.request(name, on, request(at as u16))
    }

    /// Asks for the next instance of a stage that is away after a panic (`on_panic = "restart"`) at once, without the rest of its
    /// back-off. It counts as a restart like any other.
    ///
    /// # Errors
    /// No such node, one that is not away, or a loop that does not look at what it is asked.
    pub fn restart(&self, stage: &str) -> Result<(), SteerError> {
        let (node, (on, at)) = self.find(stage, Role::Stage)?;
        let state = node.counters.state();
        if state != State::Restarting {
            return Err(SteerError::NotAway {
                node: stage.to_owned(),
                state: state.name(),
            });
        }
        self.request(stage, on, Request::Restart(at as u16))
    }

    /// A node by its name, its loop and its place there; `role` is what an error lists.
    fn find(&self, name: &str, role: Role) -> Result<(&NodeView, (usize, usize)), SteerError> {
        let mut nodes = self.nodes.iter().enumerate();
        let found = nodes.find(|(_, node)| node.name == name);
        let place = found.and_then(|(at, node)| Some((node, self.place_of(at)?)));
        place.ok_or_else(|| SteerError::NoSuchNode {
            asked: name.to_owned(),
            role: role.name(),
            names: self.names(role),
        })
    }

    fn request(&self, name: &str, on: usize, request: Request) -> Result<(), SteerError> {
        let asked = self.loops[on].requests.ask(request);
        asked.map_err(|Full| SteerError::Full {
            node: name.to_owned(),
        })?;
        // A waker that fails leaves its loop to the end of its park, which is bounded.
        let _ = self.wakers[on].wake();
        Ok(())
    }

    fn names(&self, role: Role) -> String {
        let nodes = self.nodes.iter().filter(|node| node.role == role);
        let names: Vec<String> = nodes.map(|node| format!("\"{}\"", node.name)).collect();
        names.join(", ")
    }

    /// The loop of a node, and its place there.
    pub(super) fn place_of(&self, node: usize) -> Option<(usize, usize)> {
        let on = |(on, at): (usize, Option<usize>)| Some((on, at?));
        let places = self
            .loops
            .iter()
            .map(|one| one.planned.at.iter().position(|at| *at == node));
        places.enumerate().find_map(on)
    }

    /// What the loops complain of since the last call, in words, loop by loop and each in its order: shedding that begins and
    /// ends, connections that break off, nodes that fail. A loop tells at most
    /// [`COMPLAINT_BURST`](limits::COMPLAINT_BURST) of a kind at once and then one for each
    /// [`COMPLAINT_NS`](limits::COMPLAINT_NS); the next one says how many were kept back. All counts are in the report anyway.
    pub fn complaints(&mut self) -> Vec<Heard> {
        let heard = self.loops.iter().map(|one| &one.complaints);
        let all = heard.flat_map(|heard| std::iter::from_fn(|| heard.take()));
        let heard = all.map(|complaint| Heard {
            complaint,
            on: self.named(&complaint).to_owned(),
            words: self.words(&complaint),
        });
        let mut heard: Vec<Heard> = heard.collect();
        let at_ns = self.clock.stamp();
        for spill in &mut self.spills {
            let Some((hop, fault)) = spill.take_fault() else {
                continue;
            };
            let words = format!("{} overflows no more: {fault}", self.hops[hop].name);
            let complaint = Complaint {
                what: What::FileFailed,
                at: hop as u16,
                at_ns,
                kept_back: 0,
            };
            let on = self.hops[hop].name.clone();
            heard.push(Heard {
                complaint,
                on,
                words,
            });
        }
        heard
    }

    /// The hop or node that a complaint is about.
    fn named(&self, complaint: &Complaint) -> &str {
        let at = usize::from(complaint.at);
        let hop = || self.hops.get(at).map_or("a hop", |hop| hop.name.as_str());
        let node = || {
            self.nodes
                .get(at)
                .map_or("a node", |node| node.name.as_str())
        };
        match complaint.what {
            What::SheddingBegan | What::SheddingEnded { .. } => hop(),
            What::CutOff | What::FileFailed => hop(),
            What::HungUp { .. } | What::Failed => node(),
        }
    }

    fn words(&self, complaint: &Complaint) -> String {
        let (at, named) = (usize::from(complaint.at), self.named(complaint));
        let mut words = match complaint.what {
            What::SheddingBegan => format!("{named} sheds"),
            What::SheddingEnded { shed, lasted_ns } => {
                let lasted = Span(lasted_ns);
                format!("{named} sheds no more: {shed} in {lasted}")
            }
            What::CutOff => {
                format!("{named}: its consumer held it up for too long and was cut off")
            }
            What::HungUp { why, times } => {
                format!("{named}: {times} hung up ({})", why.name())
            }
            What::FileFailed => format!("{named}: its overflow file cannot be written"),
            What::Failed => {
                let fault = self.nodes.get(at).and_then(|node| node.counters.fault());
                let fault = fault.unwrap_or("without words");
                format!("{named} has failed: {fault}")
            }
        };
        if complaint.kept_back > 0 {
            words += &format!(" (and {} more of the kind before)", complaint.kept_back);
        }
        words
    }
}
