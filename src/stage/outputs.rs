//! A node's outputs: for each port the hops that leave by it, and those of them among which its messages are divided.
//!
//! Invariant: a message is offered to each hop of its port that carries its kind, and of those of a group to one.

use crate::base::{Cause, Shed};
use crate::frame::Frame;

use super::hop::{HopTx, Parent};
use super::split::Group;

/// The hops that leave by a port.
#[derive(Debug, Default)]
pub(crate) struct PortHops {
    pub(crate) hops: Vec<HopTx>,
    /// Groups of them of which each message goes to one. Those carry nothing by themselves.
    groups: Vec<Group>,
}

/// What came of an emission on the hops that it was tried on.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// Whether at least one has it.
    pub(crate) sent: bool,
    /// Why the last one that refused it did.
    pub(crate) shed: Option<Shed>,
    /// Those whose policy passes on what they have no room for, a bit each by place.
    pub(crate) overflowed: u32,
}

impl Tried {
    #[inline(always)]
    pub(crate) fn note(&mut self, at: usize, result: Result<(), Shed>) {
        match result {
            Ok(()) => self.sent = true,
            Err(why) => {
                self.overflowed |= u32::from(why == Shed::Overflowed) << at;
                self.shed = Some(why);
            }
        }
    }
}

impl PortHops {
    /// Hops that leave by one port, and the groups of them.
    pub(crate) fn new(hops: Vec<HopTx>, groups: Vec<Group>) -> PortHops {
        PortHops { hops, groups }
    }

    /// Whether some messages go to one of several hops.
    #[inline(always)]
    pub(crate) fn is_divided(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Puts one whole message on one hop of each group that carries its kind.
    #[inline(never)]
    pub(crate) fn emit_to_one<F: Frame>(
        &mut self,
        frame: &F,
        parent: &Parent,
        t_offer_ns: u64,
        tried: &mut Tried,
    ) {
        let PortHops { hops, groups } = self;
        let key = F::KEYED.then(|| frame.key());
        for group in groups.iter_mut().filter(|group| group.takes(F::SCHEMA)) {
            let choice = group.choose(hops, 1, key, t_offer_ns);
            let hop = &mut hops[choice.at];
            let result = if choice.moving {
                hop.refuse(F::SCHEMA, Shed::Moving, t_offer_ns);
                Err(Shed::Moving)
            } else {
                hop.emit(frame, parent, t_offer_ns)
            };
            tried.note(choice.at, result);
        }
    }

    /// Begins a message of `frames` fragments on one hop of each group that carries its kind.
    #[inline(never)]
    pub(crate) fn begin_on_one(
        &mut self,
        kind: u16,
        frames: usize,
        key: Option<u64>,
        parent: &Parent,
        t_offer_ns: u64,
    ) {
        let PortHops { hops, groups } = self;
        let mut overflowed = 0_u32;
        for group in groups.iter_mut().filter(|group| group.takes(kind)) {
            let choice = group.choose(hops, frames, key, t_offer_ns);
            let hop = &mut hops[choice.at];
            if choice.moving {
                hop.begin_refused(Shed::Moving, t_offer_ns);
                continue;
            }
            let refused = hop.begin(kind, frames, parent, t_offer_ns);
            overflowed |= u32::from(refused == Some(Shed::Overflowed)) << choice.at;
        }
        for hop in hops.iter_mut().filter(|hop| hop.spills(overflowed, kind)) {
            hop.begin(kind, frames, parent, t_offer_ns);
        }
    }

    /// Passes on the message in the making, whose first fragment is `frame`, of hops that knew only by its key that they have no
    /// room for it.
    #[inline]
    pub(crate) fn pass_on_late<F: Frame>(
        &mut self,
        kind: u16,
        frames: usize,
        frame: &F,
        parent: &Parent,
        t_offer_ns: u64,
    ) {
        let hops = self.hops.iter_mut().enumerate();
        let late = hops.fold(0_u32, |late, (at, hop)| {
            late | u32::from(hop.take_late()) << at
        });
        if late == 0 {
            return;
        }
        let takes = |hop: &&mut HopTx| hop.spills(late, kind) && !hop.is_in_the_making();
        for hop in self.hops.iter_mut().filter(takes) {
            hop.begin(kind, frames, parent, t_offer_ns);
            hop.write(0, frame, parent, t_offer_ns);
        }
    }

    /// The first hop that has no room for `frames`, by its place among those of the port, where the groups have their say.
    #[inline(never)]
    fn without_room(&mut self, frames: usize) -> Option<usize> {
        let PortHops { hops, groups } = self;
        for group in groups.iter_mut() {
            let found = group.without_room(hops, frames);
            if found.is_some() {
                return found;
            }
        }
        let is_alone = |at: usize| groups.iter().all(|group| !group.has(at));
        let mut hops = hops.iter_mut().enumerate();
        hops.find_map(|(at, hop)| (is_alone(at) && !hop.has_room(frames)).then_some(at))
    }
}

/// A node's outputs: for each port the hops that leave by it.
#[derive(Debug, Default)]
pub struct Outputs {
    pub(super) ports: Vec<PortHops>,
    /// Whether a hop has a table in which messages wait for room.
    waits: bool,
    /// The hop that had no room when it was last asked, by its place, and the time up to which that is counted.
    full: Option<(usize, u64)>,
    /// Frames for which it had none.
    asked: usize,
}

impl Outputs {
    /// Outputs with these hops for each port, in the order of the stage's ports.
    #[must_use]
    pub fn new(ports: Vec<Vec<HopTx>>) -> Outputs {
        let undivided = |hops| PortHops::new(hops, Vec::new());
        Outputs::of(ports.into_iter().map(undivided).collect())
    }

    /// The same of ports whose messages may be divided.
    pub(crate) fn of(ports: Vec<PortHops>) -> Outputs {
        let waits = ports
            .iter()
            .flat_map(|port| &port.hops)
            .any(HopTx::has_table);
        Outputs {
            ports,
            waits,
            full: None,
            asked: 0,
        }
    }

    #[inline]
    fn hops(&self) -> impl Iterator<Item = &HopTx> {
        self.ports.iter().flat_map(|port| &port.hops)
    }

    #[inline]
    fn hops_mut(&mut self) -> impl Iterator<Item = &mut HopTx> {
        self.ports.iter_mut().flat_map(|port| &mut port.hops)
    }

    /// Puts what waits for room on its hop, as far as there is room: whether nothing waits any more.
    #[inline]
    pub(crate) fn settle(&mut self) -> bool {
        !self.waits || self.settle_all()
    }

    #[inline(never)]
    fn settle_all(&mut self) -> bool {
        self.hops_mut()
            .fold(true, |settled, hop| hop.settle() & settled)
    }

    /// The same for a node that has ended.
    pub(crate) fn settle_last(&mut self) -> bool {
        let hops = self.waits.then(|| self.hops_mut()).into_iter().flatten();
        hops.fold(true, |settled, hop| hop.settle_last() & settled)
    }

    /// Time passes, whether anything is emitted or not.
    pub(crate) fn housekeep(&mut self, now_ns: u64) {
        self.hops_mut().for_each(|hop| hop.housekeep(now_ns));
    }

    /// Has each hop that leaves the node do as its policy says now.
    pub(crate) fn refresh(&mut self) {
        self.hops_mut().for_each(HopTx::refresh);
    }

    /// The first hop that has no room for `frames`, by its place among the hops that leave the node; of a
    /// ring with several consumers the hop of the one that holds it back.
    #[inline]
    pub(crate) fn without_room(&mut self, frames: usize) -> Option<usize> {
        let found = self.first_without_room(frames);
        if found.is_some() {
            self.asked = frames;
        }
        found
    }

    #[inline]
    fn first_without_room(&mut self, frames: usize) -> Option<usize> {
        let mut at = 0;
        for port in &mut self.ports {
            if port.is_divided()
                && let Some(nth) = port.without_room(frames)
            {
                let before: usize = port.hops[..nth].iter().map(HopTx::consumers).sum();
                return Some(at + before + port.hops[nth].held_by());
            }
            let is_divided = port.is_divided();
            for hop in &mut port.hops {
                if !is_divided && !hop.has_room(frames) {
                    return Some(at + hop.held_by());
                }
                at += hop.consumers();
            }
        }
        None
    }

    /// The hop at `place` has no room at `now_ns`; before this turn, which began at `mark_ns`, it was not asked or had some,
    /// unless this was said in the turn before. Counts the time since, whatever else the loop did meanwhile. Others that have
    /// none wait no longer for being behind it: the time for which each may hold the producer back runs for all at once.
    #[cold]
    pub(crate) fn found_full(&mut self, place: usize, mark_ns: u64, now_ns: u64) {
        self.full.get_or_insert((place, mark_ns));
        self.found_room(now_ns);
        self.full = Some((place, now_ns));
        let mut at = 0;
        for port in &mut self.ports {
            for (nth, hop) in port.hops.iter_mut().enumerate() {
                let places = at..at + hop.consumers();
                at = places.end;
                if !places.contains(&place) {
                    // Nobody waits for one of several of which any would do.
                    if port.groups.iter().all(|group| !group.balances(nth)) {
                        hop.held_back_beside(self.asked, now_ns);
                    }
                    continue;
                }
                hop.held_back(now_ns);
                let most_ns = hop.block_timeout_ns();
                for group in &mut port.groups {
                    group.held_back(nth, now_ns, most_ns);
                }
            }
        }
    }

    /// There is room at `now_ns` where there was none.
    #[cold]
    pub(crate) fn found_room(&mut self, now_ns: u64) {
        let Some((place, since_ns)) = self.full.take() else {
            return;
        };
        let mut at = 0;
        for hop in self.hops() {
            if place < at + hop.consumers() {
                return hop.was_full(place - at, now_ns.saturating_sub(since_ns));
            }
            at += hop.consumers();
        }
    }

    #[inline]
    pub(super) fn is_connected(&self, port: usize) -> bool {
        self.ports
            .get(port)
            .is_some_and(|port| !port.hops.is_empty())
    }

    #[inline]
    pub(crate) fn ring_bells(&mut self) {
        self.hops_mut().for_each(HopTx::ring_bell);
    }

    /// Why nobody reads any more what leaves by that port.
    #[cold]
    pub(super) fn closed(&self, port: usize) -> Option<Cause> {
        let port = self.ports.get(port)?;
        port.hops.iter().rev().find_map(HopTx::closed)
    }

    pub(crate) fn close(&mut self, cause: Cause) {
        self.hops_mut().for_each(|hop| hop.close(cause));
    }
}
