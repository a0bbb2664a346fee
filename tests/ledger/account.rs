//! What the parts of a line saw and did, kept by themselves while it runs: each emission, what became of it on each ring,
//! each frame that came, and what was said of it.
//!
//! A ring is foretold: what is on it follows from what was emitted and taken, so whether the next message has room, and
//! for which reason it has none, is known before the library says so.
//!
//! Invariant: nothing here comes from the library's counters; what a part could not have seen is not written down.

#![allow(
    clippy::disallowed_types,
    reason = "one account of all parts, which run on one thread; a stage has to be Send"
)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::base::{Reason, Shed};
use hopline::stage::Emit;

use crate::plan::{End, NoRoom, NodePlan, OnPanic, Plan, RingPlan, rules};

/// Calls of handlers after which a run counts as one that does not end.
const CALLS_MAX: u64 = 500_000;

/// The part of a ring's slots that a consumer gives back at once, one in so many; a smaller ring's one by one.
const GIVEN_BACK_AT_ONCE: usize = 8;

/// Counts by reason.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

pub(crate) fn count(counts: &mut Counts, why: &'static str, more: u64) {
    if more > 0 {
        *counts.entry(why).or_default() += more;
    }
}

/// A message that was emitted, by the emitter's port and number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Made {
    pub(crate) from: usize,
    pub(crate) port: usize,
    pub(crate) seq: u64,
    pub(crate) parts: usize,
    pub(crate) kind: &'static str,
    /// The fragment that is of a kind which stages do not take.
    pub(crate) alien_at: Option<usize>,
}

/// A frame that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) from: usize,
    pub(crate) port: usize,
    pub(crate) seq: u64,
    pub(crate) part: usize,
    pub(crate) parts: usize,
}

impl Seen {
    pub(crate) fn is_last(&self) -> bool {
        self.part + 1 == self.parts
    }
}

/// A message on a ring.
#[derive(Clone, Copy, Debug)]
struct OnRing {
    seq: u64,
    parts: usize,
    alien_at: Option<usize>,
    /// Whether it certainly is.
    sure: bool,
}

/// One consumer of a ring: a hop.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) node: usize,
    /// Place in the ring's list of the message that is next.
    next: usize,
    /// Fragments of it that came.
    part: usize,
    /// Frames whose slots it has given back.
    freed: usize,
    pub(crate) delivered: u64,
    /// Messages that cannot have been handed to it, as they have a fragment that it does not take.
    pub(crate) malformed: u64,
    /// The same of messages that may not have been accepted.
    pub(crate) maybe_malformed: u64,
    gone: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Ring {
    pub(crate) offered: u64,
    pub(crate) accepted: u64,
    /// Messages of which it is not known whether they were accepted.
    pub(crate) maybe: u64,
    pub(crate) shed: Counts,
    pub(crate) shed_by_kind: BTreeMap<&'static str, Counts>,
    pub(crate) readers: Vec<Reader>,
    messages: Vec<OnRing>,
    written: usize,
    /// Whether what is on it is known.
    pub(crate) sure: bool,
}

impl Ring {
    fn is_closed(&self) -> bool {
        self.readers.iter().all(|reader| reader.gone)
    }

    /// Slots that are free.
    fn free(&self, depth: usize) -> usize {
        let there = self.readers.iter().filter(|reader| !reader.gone);
        let least = there.map(|reader| reader.freed).min();
        depth - (self.written - least.unwrap_or(self.written))
    }
}

/// What a node did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) received: u64,
    pub(crate) ingested: u64,
    pub(crate) shed: u64,
    pub(crate) in_hand: u64,
    pub(crate) consumed: u64,
    pub(crate) forwarded: u64,
    pub(crate) absorbed: Counts,
    pub(crate) rejected: Counts,
    pub(crate) undeclared: u64,
    pub(crate) held: u64,
    pub(crate) emitted: u64,
    /// Messages that reached the end of a sink, before any was lost.
    pub(crate) sent: u64,
    pub(crate) failed: bool,
    pub(crate) flush_failed: bool,
    /// Datagrams that it sent.
    pub(crate) datagrams: u64,
    /// The rings of what a sink has queued, with the place among the ring's consumers.
    queued: VecDeque<(usize, usize)>,
    /// The message of which some fragments came and others have not.
    in_message: Option<(usize, usize, u64)>,
    next_seq: [u64; 2],
}

/// The account of a run.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) rings: Vec<Ring>,
    pub(crate) nodes: Vec<Tally>,
    /// What cannot be right, in words.
    pub(crate) wrong: Vec<String>,
    calls: u64,
    /// Whether the sinks take all, so that a run that does not end does.
    pub(crate) hurries: bool,
    signal_at: Option<u64>,
    pub(crate) signal: Arc<AtomicBool>,
    plan: Arc<Plan>,
}

/// The account that all parts of a line write.
pub(crate) type Shared = Arc<Mutex<Account>>;

/// What a handler said of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Said {
    Done,
    Absorbed(&'static str),
    Rejected(&'static str),
    Held,
}

impl Account {
    pub(crate) fn shared(plan: &Arc<Plan>) -> Shared {
        Arc::new(Mutex::new(Account::new(plan)))
    }

    fn new(plan: &Arc<Plan>) -> Account {
        let ring = |ring: &RingPlan| Ring {
            sure: rules(ring.policy).no_room != NoRoom::Unforetold,
            readers: ring
                .to
                .iter()
                .map(|node| Reader {
                    node: *node,
                    ..Reader::default()
                })
                .collect(),
            ..Ring::default()
        };
        Account {
            rings: plan.rings.iter().map(ring).collect(),
            nodes: plan.nodes.iter().map(|_| Tally::default()).collect(),
            wrong: Vec::new(),
            calls: 0,
            hurries: false,
            signal_at: match plan.end {
                End::Signal(at) => Some(at),
                _ => None,
            },
            signal: Arc::new(AtomicBool::new(false)),
            plan: plan.clone(),
        }
    }

    fn wrong(&mut self, what: String) {
        // One fault makes a thousand others.
        if self.wrong.len() < 8 {
            self.wrong.push(what);
        }
    }

    /// A handler is called.
    pub(crate) fn called(&mut self) {
        self.calls += 1;
        if self.signal_at.is_some_and(|at| self.calls > at) {
            self.signal.store(true, Ordering::Relaxed);
        }
        if self.calls == CALLS_MAX {
            self.wrong("the run does not end".to_owned());
            self.signal.store(true, Ordering::Relaxed);
            self.hurries = true;
        }
    }

    /// The number of the next message that leaves by that port.
    pub(crate) fn next_seq(&mut self, node: usize, port: usize) -> u64 {
        let next = &mut self.nodes[node].next_seq[port];
        *next += 1;
        *next - 1
    }

    /// A message was emitted, and the line said `told`.
    pub(crate) fn emitted(&mut self, made: Made, told: Emit) {
        // Why the consumer is gone is not foretold here.
        let told = match told {
            Emit::Closed(_) => Emit::Shed(Shed::Closed),
            other => other,
        };
        let plan = self.plan.clone();
        let rings = plan.rings.iter().enumerate();
        let rings = rings.filter(|(_, ring)| ring.from == made.from && ring.port == made.port);
        let mut expected = Emit::Unconnected;
        let mut open = Vec::new();
        for (at, ring) in rings {
            match self.offer(at, ring.depth, made) {
                Some(Ok(())) => expected = Emit::Sent,
                Some(Err(why)) if expected != Emit::Sent => expected = Emit::Shed(why),
                Some(Err(_)) => {}
                None => open.push(at),
            }
        }
        match told {
            _ if open.is_empty() && expected == told => {}
            // What no ring has, each of them has shed; and what one has is on the only one that may have it.
            Emit::Shed(_) if !open.is_empty() && expected != Emit::Sent => {
                open.iter().for_each(|at| self.was_shed(*at, made));
            }
            Emit::Sent if open.len() == 1 && expected != Emit::Sent => {
                self.was_accepted(open[0], made)
            }
            Emit::Sent if !open.is_empty() => {
                open.iter().for_each(|at| self.rings[*at].sure = false)
            }
            _ => self.wrong(format!("{made:?}: expected {expected:?}, told {told:?}")),
        }
        if told.is_sent() {
            self.nodes[made.from].emitted += 1;
        }
    }

    /// Puts a message on a ring if there is room: what becomes of it, where that is known.
    fn offer(&mut self, at: usize, depth: usize, made: Made) -> Option<Result<(), Shed>> {
        let no_room = rules(self.plan.rings[at].policy).no_room;
        let ring = &mut self.rings[at];
        ring.offered += 1;
        let free = if ring.sure { ring.free(depth) } else { 0 };
        let refused = if ring.is_closed() {
            Shed::Closed
        } else if made.parts > depth {
            Shed::Oversize
        } else {
            match no_room {
                _ if !ring.sure => return ring.may_have(made),
                NoRoom::Sheds(why) if made.parts > free => why,
                NoRoom::Sheds(_) if made.parts + slack(depth) > free => return ring.may_have(made),
                // Where the producer is held back instead, room was to be secured.
                NoRoom::Never | NoRoom::Unforetold if made.parts > free => Shed::Undeclared,
                _ => {
                    self.rings[at].maybe += 1;
                    self.rings[at].put(made);
                    self.was_accepted(at, made);
                    return Some(Ok(()));
                }
            }
        };
        ring.note_shed(made.kind, refused);
        if refused == Shed::Undeclared {
            self.wrong(format!("{made:?}: no room was secured on ring {at}"));
        }
        Some(Err(refused))
    }

    /// The message that was last put on a ring is there.
    fn was_accepted(&mut self, at: usize, made: Made) {
        let plan = &self.plan.rings[at];
        let ring = &mut self.rings[at];
        ring.maybe -= 1;
        ring.accepted += 1;
        ring.written += made.parts;
        if let Some(last) = ring.messages.last_mut() {
            last.sure = rules(plan.policy).discards.is_empty();
        }
        let to_stage = |node: &usize| matches!(self.plan.nodes[*node], NodePlan::Stage(_));
        // When its consumer throws such a message away cannot be seen here.
        ring.sure &= made.alien_at.is_none() || !plan.to.iter().any(to_stage);
    }

    /// The message that was last put on a ring is not there after all.
    fn was_shed(&mut self, at: usize, made: Made) {
        let sheds = rules(self.plan.rings[at].policy).sheds;
        let ring = &mut self.rings[at];
        // Of several reasons it may be any.
        if let [why] = sheds {
            ring.maybe -= 1;
            ring.messages.pop();
            ring.note_shed(made.kind, *why);
        }
    }

    /// A frame came to a node: the ring and consumer that it came by. It is the next of its hop, and the next of its message.
    pub(crate) fn took(&mut self, node: usize, seen: Seen) -> (usize, usize) {
        self.called();
        let here = (seen.from, seen.port, seen.seq);
        let takes_any = matches!(self.plan.nodes[node], NodePlan::Sink(_));
        let found = self
            .rings
            .iter()
            .zip(&self.plan.rings)
            .enumerate()
            .find_map(|(at, (ring, plan))| {
                let reader = ring.readers.iter().position(|reader| reader.node == node)?;
                (plan.from == seen.from && plan.port == seen.port).then_some((at, reader))
            });
        let Some((at, place)) = found else {
            self.wrong(format!("node {node}: {seen:?} came by no hop of it"));
            return (0, 0);
        };
        let shared = self.rings[at].readers.len() > 1;
        let ring = &mut self.rings[at];
        let reader = &mut ring.readers[place];
        // What it never gets whole is thrown away on the way to it.
        while let Some(message) = ring
            .messages
            .get(reader.next)
            .filter(|message| message.seq < seen.seq)
        {
            let spoilt = !takes_any && message.alien_at == Some(reader.part);
            let skips = !spoilt && (message.sure || reader.part > 0);
            if skips {
                let words = format!(
                    "node {node}: {seen:?} came, {message:?} did not, after {} fragments",
                    reader.part
                );
                self.wrong(words);
                return (at, place);
            }
            reader.malformed += u64::from(spoilt && message.sure);
            reader.maybe_malformed += u64::from(spoilt && !message.sure);
            reader.freed += message.parts - reader.part;
            reader.part = 0;
            reader.next += 1;
        }
        let message = ring.messages.get(reader.next).copied();
        let fits =
            message.is_some_and(|message| message.seq == seen.seq && message.parts == seen.parts);
        let in_turn = fits && reader.part == seen.part && !(reader.gone);
        reader.part += 1;
        if !shared {
            reader.freed += 1;
        }
        if seen.is_last() {
            reader.part = 0;
            reader.next += 1;
            if shared {
                reader.freed += seen.parts;
            }
        }
        let before = self.nodes[node].in_message;
        self.nodes[node].in_message = (!seen.is_last()).then_some(here);
        let between = before.is_some_and(|before| before != here);
        // What was spoilt in its middle ends without a last fragment.
        let spoilt = between && before.is_some_and(|before| self.is_alien(before));
        if !in_turn || (between && !spoilt) {
            self.wrong(format!(
                "node {node}: {seen:?} is out of turn: next is {message:?}, in hand {before:?}"
            ));
        }
        (at, place)
    }

    fn is_alien(&self, (from, port, seq): (usize, usize, u64)) -> bool {
        let of = |(_, plan): &(&Ring, &RingPlan)| plan.from == from && plan.port == port;
        let mut rings = self.rings.iter().zip(&self.plan.rings).filter(of);
        rings.any(|(ring, _)| {
            let mut messages = ring.messages.iter();
            messages.any(|message| message.seq == seq && message.alien_at.is_some())
        })
    }

    /// A consumer has said this of a whole message that came by that hop; `offered` says whether it emitted for it.
    pub(crate) fn said(
        &mut self,
        node: usize,
        (ring, place): (usize, usize),
        said: Said,
        offered: bool,
    ) {
        self.rings[ring].readers[place].delivered += 1;
        self.nodes[node].consumed += 1;
        self.became(node, said, offered);
    }

    fn became(&mut self, node: usize, said: Said, offered: bool) {
        let tally = &mut self.nodes[node];
        match said {
            Said::Held => tally.held += 1,
            Said::Rejected(why) => count(&mut tally.rejected, why, 1),
            _ if offered => tally.forwarded += 1,
            Said::Absorbed(why) => count(&mut tally.absorbed, why, 1),
            Said::Done => tally.undeclared += 1,
        }
    }

    /// What became of a message that a stage had held.
    pub(crate) fn settled(&mut self, node: usize, said: Said, offered: bool) {
        self.nodes[node].held -= 1;
        self.became(node, said, offered);
    }

    /// What a source's decoder said of a message.
    pub(crate) fn decoded(
        &mut self,
        node: usize,
        refused: Option<&'static str>,
        emitted: u64,
        offered: u64,
    ) {
        let tally = &mut self.nodes[node];
        match refused {
            Some(_) if offered > 0 => tally.undeclared += 1,
            Some(why) => count(&mut tally.rejected, why, 1),
            None if emitted > 0 => tally.ingested += 1,
            None if offered > 0 => tally.shed += 1,
            None => tally.undeclared += 1,
        }
    }

    /// A sink has put a message into its queue.
    pub(crate) fn queued(&mut self, node: usize, hop: (usize, usize)) {
        self.nodes[node].queued.push_back(hop);
    }

    /// The oldest `count` of what a sink had queued became that.
    pub(crate) fn sent_queued(&mut self, node: usize, said: Said, count: usize) {
        for _ in 0..count {
            match self.nodes[node].queued.pop_front() {
                Some(hop) => self.left(node, hop, said),
                None => self.wrong(format!("node {node} is asked for more than it queued")),
            }
        }
    }

    /// A sink has said this of a whole message.
    pub(crate) fn left(&mut self, node: usize, hop: (usize, usize), said: Said) {
        self.said(node, hop, said, said == Said::Done);
        self.nodes[node].sent += u64::from(said == Said::Done);
    }

    /// A sink lost so many of those that it had said were sent.
    pub(crate) fn lost(&mut self, node: usize, why: &'static str, messages: u64) {
        self.nodes[node].forwarded -= messages;
        count(&mut self.nodes[node].rejected, why, messages);
    }

    /// A node panics, with the frame in hand if there is one.
    pub(crate) fn fails(&mut self, node: usize, in_hand: Option<(Seen, (usize, usize))>) {
        let on_panic = match &self.plan.nodes[node] {
            NodePlan::Stage(stage) => stage.on_panic,
            _ => OnPanic::Stop,
        };
        match on_panic {
            OnPanic::Stop => {
                // The rest of its message goes with it.
                if let Some((_, hop)) = in_hand {
                    self.said(node, hop, Said::Rejected("panicked"), false);
                }
                // What it held goes with it as well.
                let tally = &mut self.nodes[node];
                let held = core::mem::take(&mut tally.held);
                if held > 0 {
                    count(&mut tally.rejected, "panicked", held);
                }
                tally.failed = true;
                let readers = self.rings.iter_mut().flat_map(|ring| &mut ring.readers);
                readers
                    .filter(|reader| reader.node == node)
                    .for_each(|reader| reader.gone = true);
            }
        }
    }
}

/// Slots that a consumer may be done with and has not given back yet: it does so for several at a time.
fn slack(depth: usize) -> usize {
    (depth / GIVEN_BACK_AT_ONCE).saturating_sub(1)
}

impl Ring {
    fn put(&mut self, made: Made) {
        self.messages.push(OnRing {
            seq: made.seq,
            parts: made.parts,
            alien_at: made.alien_at,
            sure: false,
        });
    }

    /// The message may be on the ring or not.
    fn may_have(&mut self, made: Made) -> Option<Result<(), Shed>> {
        self.maybe += 1;
        self.put(made);
        None
    }

    fn note_shed(&mut self, kind: &'static str, why: Shed) {
        count(&mut self.shed, why.name(), 1);
        count(self.shed_by_kind.entry(kind).or_default(), why.name(), 1);
    }

    /// Whether a hop of it may have such messages that its consumer has not come to yet.
    pub(crate) fn aliens_left(&self, place: usize) -> u64 {
        let reader = &self.readers[place];
        let rest = self.messages.iter().skip(reader.next);
        rest.filter(|message| message.alien_at.is_some()).count() as u64
    }
}
