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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use hopline::base::Shed;
use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::overload::Split;
use hopline::stage::{Emit, OnPanic};

use crate::on_ring::{Fate, Reader, Ring, slack};
use crate::parts::key_of;
use crate::plan::{End, NodePlan, Plan, RingPlan};
use crate::policies::{NoRoom, Rules, rules};

/// Calls of handlers after which a run counts as one that does not end.
const CALLS_MAX: u64 = 500_000;

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
    /// Its key, if it may wait for room and be replaced meanwhile.
    pub(crate) key: Option<u64>,
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
    /// Panics that came, and instances that follow one.
    pub(crate) panics: u64,
    pub(crate) restarts: u64,
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
    /// Messages that were offered to a list of which each goes to one, by its first ring.
    pub(crate) divided: BTreeMap<usize, u64>,
    /// Those that began to come, by their list and number.
    come: BTreeSet<(usize, u64)>,
    /// The ring by which those of a key come, and those that have none, of a list that is divided by key.
    homes: BTreeMap<(usize, Option<u64>), usize>,
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
        let ring = |at: usize| {
            let ring = &plan.rings[at];
            let rules = rules(&ring.policy, plan.slow_of(at));
            let reader = |node: &usize| Reader {
                node: *node,
                ..Reader::default()
            };
            Ring {
                sure: rules.no_room != NoRoom::Unforetold,
                rules: Some(rules),
                readers: ring.to.iter().map(reader).collect(),
                ..Ring::default()
            }
        };
        Account {
            rings: (0..plan.rings.len()).map(ring).collect(),
            divided: BTreeMap::new(),
            come: BTreeSet::new(),
            homes: BTreeMap::new(),
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
        let leaves_by = |at: &usize| {
            let ring = &plan.rings[*at];
            ring.from == made.from && ring.port == made.port && plan.carries(*at, made.kind)
        };
        let rings = (0..plan.rings.len()).filter(leaves_by);
        let (main, spills): (Vec<_>, Vec<_>) = rings
            .map(|at| (at, plan.spilling_to(at)))
            .partition(|(_, of)| of.is_empty());
        let mut fates: Vec<(usize, Fate)> = Vec::new();
        for (at, _) in main {
            let fate = match plan.split_of(at) {
                Some(_) => self.offer_to_one(at, made),
                None => self.offer(at, made),
            };
            fates.push((at, fate));
        }
        for (at, of) in spills {
            let before = || fates.iter().filter(|(from, _)| of.contains(from));
            let overflows = |fate: &Fate| *fate == Fate::Shed(Shed::Overflowed);
            if before().any(|(_, fate)| overflows(fate)) {
                fates.push((at, self.offer(at, made)));
            } else if before().any(|(from, fate)| self.may_overflow(*from, *fate)) {
                fates.push((at, self.rings[at].perhaps_has(made)));
            }
        }
        self.compare(made, &fates, told);
        if told.is_sent() {
            self.nodes[made.from].emitted += 1;
        }
    }

    fn may_overflow(&self, at: usize, fate: Fate) -> bool {
        fate == Fate::Open && self.rules(at).sheds.contains(&Shed::Overflowed)
    }

    fn rules(&self, at: usize) -> &Rules {
        self.rings[at].rules()
    }

    /// Holds what the line said of an emission against what was foretold, and learns from it what was not.
    fn compare(&mut self, made: Made, fates: &[(usize, Fate)], told: Emit) {
        let is_open = |fate: Fate| matches!(fate, Fate::Open | Fate::Perhaps);
        let open: Vec<usize> = fates
            .iter()
            .filter(|(_, fate)| is_open(*fate))
            .map(|(at, _)| *at)
            .collect();
        let accepted = fates.iter().any(|(_, fate)| *fate == Fate::Accepted);
        let right = match told {
            Emit::Sent => accepted || !open.is_empty(),
            Emit::Shed(why) => {
                let may_be = |at: usize, fate: Fate| match fate {
                    Fate::Shed(known) => known == why,
                    // What is true of every hop was not looked at where it is not known that it was offered.
                    Fate::Perhaps if matches!(why, Shed::Closed | Shed::Oversize) => true,
                    _ => self.rules(at).sheds.contains(&why),
                };
                !accepted && fates.iter().any(|(at, fate)| may_be(*at, *fate))
            }
            Emit::Unconnected => fates.is_empty(),
            Emit::Closed(_) => false,
        };
        if !right {
            return self.wrong(format!("{made:?}: expected {fates:?}, told {told:?}"));
        }
        match told {
            // What no ring has, each of them has shed; and what one has is on the only one that may have it.
            Emit::Shed(why) => {
                let only = fates.len() == 1;
                open.iter()
                    .for_each(|at| self.was_shed(*at, made, only.then_some(why)));
            }
            Emit::Sent => match open[..] {
                [at] if !accepted && !self.rules(at).waits && self.rings[at].perhaps == 0 => {
                    self.was_accepted(at, made);
                }
                _ => open.iter().for_each(|at| self.rings[*at].sure = false),
            },
            _ => {}
        }
    }

    /// Offers a message to a list of which it goes to one: this ring may be that.
    fn offer_to_one(&mut self, at: usize, made: Made) -> Fate {
        let first = self.plan.list_of(at)[0];
        *self.divided.entry(first).or_default() += u64::from(at == first);
        self.rings[at].perhaps_has(made)
    }

    /// A message begins to come by one of a list: by no other of it, and by the one that its key belongs to.
    fn comes_by_one(&mut self, at: usize, seen: Seen) {
        let Some(split) = self.plan.split_of(at) else {
            return;
        };
        let list = self.plan.list_of(at);
        if !self.come.insert((list[0], seen.seq)) {
            self.wrong(format!(
                "{seen:?} comes by ring {at} and by another of {list:?}"
            ));
        }
        let kind = self.rings[at].message(seen.seq).map(|message| message.kind);
        let key = (kind == Some("token")).then(|| key_of(seen.seq));
        if split == Split::ByKey {
            let home = *self.homes.entry((list[0], key)).or_insert(at);
            if home != at || (key.is_none() && at != list[0]) {
                self.wrong(format!(
                    "{seen:?} of key {key:?} comes by ring {at}, others by {home}"
                ));
            }
        }
    }

    /// Puts a message on a ring if there is room: what becomes of it, where that is known.
    fn offer(&mut self, at: usize, made: Made) -> Fate {
        let depth = self.plan.rings[at].depth;
        let no_room = self.rules(at).no_room;
        let ring = &mut self.rings[at];
        ring.offered += 1;
        count(&mut ring.offered_by_kind, made.kind, 1);
        if let Some(key) = made.key {
            ring.last_of.insert(key, made.seq);
        }
        if no_room == NoRoom::Unforetold {
            return ring.may_have(made);
        }
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
                NoRoom::Never if made.parts > free => Shed::Undeclared,
                _ => {
                    self.rings[at].maybe += 1;
                    self.rings[at].put(made);
                    self.was_accepted(at, made);
                    return Fate::Accepted;
                }
            }
        };
        ring.note_shed(made.kind, refused);
        if refused == Shed::Undeclared {
            self.wrong(format!("{made:?}: no room was secured on ring {at}"));
        }
        Fate::Shed(refused)
    }

    /// The message that was last put on a ring is there.
    fn was_accepted(&mut self, at: usize, made: Made) {
        let stays = self.rules(at).discards.is_empty();
        let plan = &self.plan.rings[at];
        let ring = &mut self.rings[at];
        ring.maybe -= 1;
        ring.accepted += 1;
        ring.written += made.parts;
        if let Some(last) = ring.messages.last_mut() {
            last.sure = stays;
        }
        let to_stage = |node: &usize| matches!(self.plan.nodes[*node], NodePlan::Stage(_));
        // When its consumer throws such a message away cannot be seen here.
        ring.sure &= made.alien_at.is_none() || !plan.to.iter().any(to_stage);
    }

    /// The message that was last put on a ring is not there after all; `told` is why, if that is known.
    fn was_shed(&mut self, at: usize, made: Made, told: Option<Shed>) {
        let only = match self.rules(at).sheds[..] {
            [why] => Some(why),
            _ => told,
        };
        let ring = &mut self.rings[at];
        ring.messages.pop();
        if ring.perhaps > 0 {
            // Whether it was offered at all is not known.
            return;
        }
        ring.maybe -= 1;
        match only {
            Some(why) => ring.note_shed(made.kind, why),
            None => ring.somehow += 1,
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
                let is_it = plan.from == seen.from && plan.port == seen.port;
                // Of several classes it is the one that was given the message.
                let has_it = plan.class.is_none() || ring.message(seen.seq).is_some();
                (is_it && has_it).then_some((at, reader))
            });
        let Some((at, place)) = found else {
            self.wrong(format!("node {node}: {seen:?} came by no hop of it"));
            return (0, 0);
        };
        if seen.part == 0 {
            self.comes_by_one(at, seen);
        }
        if self.rules(at).waits {
            if !self.rings[at].takes_out_of_turn(place, seen, takes_any) {
                self.wrong(format!("node {node}: {seen:?} is out of turn of its key"));
            }
            self.nodes[node].in_message = (!seen.is_last()).then_some(here);
            return (at, place);
        }
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
            if let Some(message) = message {
                count(&mut reader.by_kind, message.kind, 1);
            }
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

    /// A node panics, with the frame in hand if there is one; `ends` says whether in its last words.
    pub(crate) fn fails(
        &mut self,
        node: usize,
        in_hand: Option<(Seen, (usize, usize))>,
        ends: bool,
    ) {
        let on_panic = match &self.plan.nodes[node] {
            NodePlan::Stage(stage) => stage.on_panic,
            _ => OnPanic::Stop,
        };
        self.nodes[node].panics += 1;
        let panics = self.nodes[node].panics;
        // The rest of its message goes with it.
        if let Some((seen, hop)) = in_hand {
            self.said(node, hop, Said::Rejected("panicked"), false);
            self.passes_over(node, seen, hop);
        }
        let (goes_on, keeps) = match on_panic {
            OnPanic::Stop => (false, false),
            OnPanic::Skip { most, .. } => (panics <= u64::from(most), !ends),
            OnPanic::Restart { most, .. } => (panics <= u64::from(most), false),
        };
        let tally = &mut self.nodes[node];
        if goes_on && keeps {
            return;
        }
        // What it held goes with it as well.
        let held = core::mem::take(&mut tally.held);
        count(&mut tally.rejected, "panicked", held);
        if goes_on {
            tally.restarts += u64::from(!ends);
            return;
        }
        tally.failed = true;
        let readers = self.rings.iter_mut().flat_map(|ring| &mut ring.readers);
        readers
            .filter(|reader| reader.node == node)
            .for_each(|reader| reader.gone = true);
    }

    /// What is left of a message behind that frame is stepped over.
    fn passes_over(&mut self, node: usize, seen: Seen, (ring, place): (usize, usize)) {
        if seen.is_last() {
            return;
        }
        self.nodes[node].in_message = None;
        let is_shared = self.rings[ring].readers.len() > 1;
        let waits = self.rules(ring).waits;
        let ring = &mut self.rings[ring];
        let kind = ring.message(seen.seq).map(|message| message.kind);
        let reader = &mut ring.readers[place];
        if let Some(kind) = kind {
            count(&mut reader.by_kind, kind, 1);
        }
        if waits {
            reader.in_hand = None;
            reader.done.insert(seen.seq);
            return;
        }
        reader.freed += if is_shared {
            seen.parts
        } else {
            seen.parts - reader.part
        };
        reader.part = 0;
        reader.next += 1;
    }
}
