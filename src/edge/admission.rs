//! Who may come in, and when those come back who may not.
//!
//! | what there is too much of | what becomes of one more |
//! |---|---|
//! | connections in all | refused, with a time of its own to come back |
//! | connections of one address | refused for good |
//! | connections a second | refused, with a time of its own to come back |
//!
//! The rate falls with the headroom of the line: a crowd that comes back at once is let in as fast as the line has time for it,
//! and no faster. Each one that is refused, or sent away by a drain, gets a slot of its own on the same clock, so that `n` of them
//! are back within `n` / rate, and come no faster than they are let in.
//!
//! For those who have slots because of the rate, room that nobody has taken is kept for [`EDGE_LATE_NS`]. Let `d` be those whose slots
//! have come and who have not. Where nobody is later than that, `d` is at most the slots of that time, and as much room is kept; room
//! grows as fast as slots come, and each one of them that is let in is one less of both. So there is room for each, however many come
//! at once. Nobody can tell who has a slot and who comes for the first time: room that the latter take is what the former lack, beyond
//! what comes in within [`EDGE_RETRY_NS_MIN`], before which there are no slots. The last one of a crowd is inside within `n` / rate all
//! the same.
//!
//! Invariant: what is counted as inside was let in and has not left; no more room is kept than slots that may still be taken would be
//! at the highest rate.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::base::limits::{
    EDGE_CLIENTS_DEFAULT, EDGE_CONNECTS_MIN_PER_S, EDGE_CONNECTS_PER_S, EDGE_LATE_NS,
    EDGE_PER_ADDRESS_DEFAULT, EDGE_RETRY_NS_MAX, EDGE_RETRY_NS_MIN,
};
use crate::overload::bucket::BURST_MAX;
use crate::overload::{Bucket, BucketParams};

/// How many may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Most connections in all.
    pub clients_max: usize,
    /// Most of one address. A proxy, or a test, has one for all of its clients.
    pub per_address_max: usize,
    /// Most new ones a second where the line has all its headroom.
    pub rate_per_s: u64,
}

impl Default for AdmissionLimits {
    fn default() -> AdmissionLimits {
        AdmissionLimits {
            clients_max: EDGE_CLIENTS_DEFAULT,
            per_address_max: EDGE_PER_ADDRESS_DEFAULT,
            rate_per_s: EDGE_CONNECTS_PER_S,
        }
    }
}

/// Why one was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many are inside as may be; come back after so many nanoseconds.
    Full(u64),
    /// Too many of this address are inside.
    Address,
    /// They come faster than the line has time for; come back after so many nanoseconds.
    Rate(u64),
}

crate::reasons! {
    /// Why one was not let in, as a word.
    pub enum TurnedAway {
        /// As many are inside as may be.
        Full = "full",
        /// Too many of its address are inside.
        Address = "address",
        /// They come faster than the line has time for.
        Rate = "rate",
        /// The server sends its clients away.
        Draining = "draining",
    }
}

impl Refused {
    /// The same as a word.
    #[must_use]
    pub const fn why(self) -> TurnedAway {
        match self {
            Refused::Full(_) => TurnedAway::Full,
            Refused::Address => TurnedAway::Address,
            Refused::Rate(_) => TurnedAway::Rate,
        }
    }
}

/// Lets connections in.
///
/// ```
/// use hopline::edge::{Admission, AdmissionLimits, Refused};
/// let limits = AdmissionLimits { clients_max: 10, per_address_max: 2, rate_per_s: 100 };
/// let mut door = Admission::new(limits);
/// let address = "127.0.0.1".parse().unwrap();
/// assert_eq!(door.enter(address, 0), Ok(()));
/// assert_eq!(door.enter(address, 0), Ok(()));
/// assert_eq!(door.enter(address, 0), Err(Refused::Address));
/// door.leave(address);
/// assert_eq!(door.enter(address, 0), Ok(()));
/// ```
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    bucket: Bucket,
    rate_per_s: u64,
    inside: usize,
    by_address: HashMap<IpAddr, usize>,
    /// The slot that was given away last.
    slot_ns: u64,
    /// The first and the last slot that room is kept for.
    kept_ns: Option<(u64, u64)>,
}

/// Most new ones a second, whatever the configuration says: no listener of one thread accepts more.
const RATE_MAX_PER_S: u64 = 100_000;

/// Most at once where nobody has a slot.
const BURST_AT_ONCE_MAX: u64 = 1_024;

const LATE_S: u64 = EDGE_LATE_NS / 1_000_000_000;
const _: () = assert!(LATE_S > 0 && RATE_MAX_PER_S * LATE_S + BURST_AT_ONCE_MAX < BURST_MAX);

/// A tenth of a second of the rate at once: a page opens a handful of connections. Beyond it as many as room is kept for.
fn bucket_of(rate_per_s: u64, kept: u64) -> BucketParams {
    let burst = (rate_per_s / 10).clamp(8, BURST_AT_ONCE_MAX);
    BucketParams::new(rate_per_s, burst + kept)
        .unwrap_or_else(|_| unreachable!("a rate of connections is within the bucket's bounds"))
}

impl Admission {
    /// A door that is open. A rate of zero is taken as one a second, and one beyond 100,000 as that.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Admission {
        let rate_per_s = limits.rate_per_s.clamp(1, RATE_MAX_PER_S);
        let limits = AdmissionLimits {
            rate_per_s,
            ..limits
        };
        Admission {
            limits,
            bucket: Bucket::new(bucket_of(rate_per_s, 0)),
            rate_per_s,
            inside: 0,
            by_address: HashMap::new(),
            slot_ns: 0,
            kept_ns: None,
        }
    }

    /// The line has so much headroom, in thousandths of its budget: what comes in a second follows it.
    pub fn headroom(&mut self, permille: u64, now_ns: u64) {
        let most = self.limits.rate_per_s;
        let least = EDGE_CONNECTS_MIN_PER_S.min(most);
        let rate_per_s = (most * permille.min(1_000) / 1_000).max(least);
        if rate_per_s != self.rate_per_s {
            self.rate_per_s = rate_per_s;
            self.keep_room(now_ns);
        }
    }

    /// Keeps room for those who may still come to their slots, at most for the slots of [`EDGE_LATE_NS`]. They are counted at the
    /// highest rate, so that headroom that is gone for a moment costs nobody its slot.
    fn keep_room(&mut self, now_ns: u64) {
        let lapsed_ns = now_ns.saturating_sub(EDGE_LATE_NS);
        self.kept_ns = self.kept_ns.filter(|&(_, last_ns)| last_ns >= lapsed_ns);
        let kept = self.kept_ns.map_or(0, |(first_ns, last_ns)| {
            let span_ns = (last_ns - first_ns.max(lapsed_ns)).min(EDGE_LATE_NS);
            1 + span_ns * self.limits.rate_per_s / 1_000_000_000
        });
        self.bucket
            .set_params(now_ns, bucket_of(self.rate_per_s, kept));
    }

    /// New connections a second that are let in now.
    #[must_use]
    pub fn rate_per_s(&self) -> u64 {
        self.rate_per_s
    }

    /// Connections that are inside.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.inside
    }

    /// One wants to come in.
    ///
    /// # Errors
    /// It may not, now or at all.
    pub fn enter(&mut self, address: IpAddr, now_ns: u64) -> Result<(), Refused> {
        if self.kept_ns.is_some() {
            self.keep_room(now_ns);
        }
        if self.inside >= self.limits.clients_max {
            return Err(Refused::Full(self.slot(now_ns)));
        }
        let of_address = self.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= self.limits.per_address_max {
            return Err(Refused::Address);
        }
        if !self.bucket.admit(now_ns) {
            let after_ns = self.slot(now_ns);
            let slot_ns = now_ns + after_ns;
            let (first_ns, last_ns) = self.kept_ns.unwrap_or((slot_ns, slot_ns));
            self.kept_ns = Some((first_ns.min(slot_ns), last_ns.max(slot_ns)));
            self.keep_room(now_ns);
            return Err(Refused::Rate(after_ns));
        }
        self.inside += 1;
        self.by_address.insert(address, of_address + 1);
        Ok(())
    }

    /// One that was let in has left.
    pub fn leave(&mut self, address: IpAddr) {
        self.inside = self.inside.saturating_sub(1);
        match self.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.by_address.remove(&address);
            }
        }
    }

    /// A time to come back, in nanoseconds from now, that no other has. Crowds larger than what comes in within
    /// [`EDGE_RETRY_NS_MAX`] begin again with the first slot, and some of them are refused again. No room is kept for it: where all
    /// places are taken, one that is left is for whoever comes first.
    pub fn slot(&mut self, now_ns: u64) -> u64 {
        let step_ns = 1_000_000_000_u64.div_ceil(self.rate_per_s);
        let earliest_ns = now_ns + EDGE_RETRY_NS_MIN.max(step_ns);
        self.slot_ns = (self.slot_ns + step_ns).max(earliest_ns);
        if self.slot_ns > now_ns + EDGE_RETRY_NS_MAX {
            self.slot_ns = earliest_ns;
        }
        self.slot_ns - now_ns
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn door(clients_max: usize, per_address_max: usize, rate_per_s: u64) -> Admission {
        Admission::new(AdmissionLimits {
            clients_max,
            per_address_max,
            rate_per_s,
        })
    }

    #[test]
    fn no_more_come_in_than_there_is_room_for_and_places_are_given_again() {
        let mut door = door(3, 10, 1_000);
        for at in 0..3 {
            assert_eq!(door.enter(address(at), 0), Ok(()));
        }
        assert!(matches!(door.enter(address(9), 0), Err(Refused::Full(_))));
        door.leave(address(1));
        assert_eq!(door.enter(address(9), 0), Ok(()));
        for at in [0, 2, 9] {
            door.leave(address(at));
        }
        assert_eq!((door.inside(), door.by_address.len()), (0, 0));
    }

    /// How a crowd came in.
    struct CameIn {
        last_ns: u64,
        /// Most that one of them was sent away.
        refused_most: u32,
    }

    /// All of a crowd try within `within_ns`, and each again when it was told to, or later by what `late_ns` makes of the time.
    fn crowd(
        count: usize,
        rate_per_s: u64,
        within_ns: u64,
        late_ns: impl Fn(u64) -> u64,
    ) -> CameIn {
        let mut door = door(100_000, 100_000, rate_per_s);
        let mut waiting: BinaryHeap<Reverse<(u64, u32)>> = (0..count as u64)
            .map(|nth| Reverse((10 * SECOND + nth * within_ns / count as u64, 0)))
            .collect();
        let (mut entered, mut came) = (
            0,
            CameIn {
                last_ns: 0,
                refused_most: 0,
            },
        );
        while let Some(Reverse((now_ns, refused))) = waiting.pop() {
            match door.enter(address(1), now_ns) {
                Ok(()) => {
                    entered += 1;
                    came.last_ns = now_ns - 10 * SECOND;
                    came.refused_most = came.refused_most.max(refused);
                }
                Err(Refused::Rate(after_ns)) => {
                    let slot_ns = now_ns + after_ns;
                    waiting.push(Reverse((slot_ns + late_ns(slot_ns), refused + 1)));
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!((entered, door.inside()), (count, count));
        came
    }

    #[test]
    fn a_crowd_is_let_in_at_the_rate_and_is_all_inside_when_it_said() {
        let came = crowd(5_000, 1_000, 0, |_| 0);
        let stated_ns = EDGE_RETRY_NS_MIN + 5_000 * SECOND / 1_000;
        assert!(came.last_ns <= stated_ns, "{} ns", came.last_ns);
        assert_eq!(came.refused_most, 1);
    }

    #[test]
    fn nobody_who_comes_at_its_slot_or_within_two_seconds_of_it_is_sent_away_again() {
        // Up to whole seconds, as those who read a Retry-After; all that are due while the machine stands still for as long; each by
        // something of its own.
        let whole = |slot_ns: u64| slot_ns.next_multiple_of(SECOND) - slot_ns;
        let stalls = |slot_ns: u64| (slot_ns + 1).next_multiple_of(2 * SECOND) - 1 - slot_ns;
        let own = |slot_ns: u64| crate::base::prng::Prng::new(slot_ns).below(EDGE_LATE_NS);
        let ways: [&dyn Fn(u64) -> u64; 3] = [&whole, &stalls, &own];
        for rate_per_s in [1, 20, 333, 1_000, 66_667] {
            let count = (5 * rate_per_s as usize).min(20_000);
            for (nth, late_ns) in ways.into_iter().enumerate() {
                // A first attempt is spread by a part of the wait before it.
                let came = crowd(count, rate_per_s, 300_000_000, late_ns);
                assert!(came.refused_most <= 1, "{rate_per_s}/s, way {nth}");
                let takes_ns = count as u64 * SECOND / rate_per_s + SECOND / rate_per_s;
                let stated_ns = EDGE_RETRY_NS_MIN + takes_ns + EDGE_LATE_NS;
                assert!(came.last_ns <= stated_ns, "{rate_per_s}/s, way {nth}");
            }
        }
    }

    #[test]
    fn strangers_that_take_their_room_send_some_to_other_slots_and_the_last_is_in_by_then() {
        // As many first attempts for three seconds as come in.
        let came = crowd(5_000, 1_000, 3 * SECOND, |_| 0);
        assert!(came.refused_most > 1);
        let stated_ns = EDGE_RETRY_NS_MIN + 5_000 * SECOND / 1_000;
        assert!(came.last_ns <= stated_ns, "{} ns", came.last_ns);
    }

    #[test]
    fn those_who_come_later_than_that_get_other_slots() {
        let late_ns = |slot_ns: u64| slot_ns.next_multiple_of(5 * SECOND) - slot_ns;
        let came = crowd(5_000, 1_000, 0, late_ns);
        assert!(came.refused_most > 1);
    }

    /// Those of 5,000 that are let in at once.
    fn at_once(door: &mut Admission, now_ns: u64) -> usize {
        let entered = (0..5_000).filter(|_| door.enter(address(1), now_ns).is_ok());
        entered.count()
    }

    #[test]
    fn room_is_kept_for_as_many_as_have_slots_and_no_longer_than_they_may_come() {
        let mut late = door(100_000, 100_000, 1_000);
        assert_eq!(at_once(&mut late, SECOND), 100);
        assert_eq!(at_once(&mut late, 8_000_000_000), 400 + 100);
        let mut door = door(100_000, 100_000, 1_000);
        assert_eq!(at_once(&mut door, SECOND), 100);
        // The other 4,900 were told to come from half a second later on, a millisecond apart, and none did until the last of them
        // may come. Those of two seconds may, and as many as at any time.
        assert_eq!(at_once(&mut door, 6_399_000_000), 2_001 + 100);
        // Nor now.
        assert_eq!(at_once(&mut door, 60 * SECOND), 100);
        door.by_address.clear();
        door.inside = 0;
        // One that was told so leaves room for one.
        for _ in 0..100 {
            assert_eq!(door.enter(address(1), 100 * SECOND), Ok(()));
        }
        let told = door.enter(address(1), 100 * SECOND);
        assert!(matches!(told, Err(Refused::Rate(_))));
        assert_eq!(at_once(&mut door, 102 * SECOND), 101);
    }

    #[test]
    fn headroom_that_is_gone_for_a_moment_costs_nobody_its_slot() {
        let mut door = door(100_000, 100_000, 1_000);
        assert_eq!(at_once(&mut door, SECOND), 100);
        door.headroom(0, 3 * SECOND);
        door.headroom(1_000, 3 * SECOND + 1);
        // At the slots that have come: those from one second and a half to three.
        let entered = (0..1_500).filter(|_| door.enter(address(1), 3 * SECOND + 2).is_ok());
        assert_eq!(entered.count(), 1_500);
    }

    #[test]
    fn a_full_house_keeps_no_room() {
        let mut door = door(1, 100_000, 1_000);
        assert_eq!(at_once(&mut door, SECOND), 1);
        assert_eq!(door.kept_ns, None);
    }

    #[test]
    fn a_line_without_headroom_lets_few_in_and_never_none() {
        let mut door = door(100_000, 100_000, 1_000);
        let admitted = |door: &mut Admission, from_ns: u64| {
            let steps = (0..10_000).map(|step| from_ns + step * SECOND / 10_000);
            steps
                .filter(|ns| door.enter(address(1), *ns).is_ok())
                .count()
        };
        let much = admitted(&mut door, SECOND);
        door.headroom(0, 2 * SECOND);
        let little = admitted(&mut door, 3 * SECOND);
        assert!((900..=1_200).contains(&much), "{much}");
        assert!(
            (1..=2 * EDGE_CONNECTS_MIN_PER_S as usize + 10).contains(&little),
            "{little}"
        );
        door.headroom(500, 5 * SECOND);
        assert_eq!(door.rate_per_s(), 500);
    }

    #[test]
    fn slots_are_of_one_each_and_never_further_than_the_bound() {
        let mut door = door(1, 1, 100);
        let slots: Vec<u64> = (0..10_000).map(|_| door.slot(0)).collect();
        assert!(
            slots
                .iter()
                .all(|ns| (EDGE_RETRY_NS_MIN..=EDGE_RETRY_NS_MAX).contains(ns))
        );
        let first_round = (EDGE_RETRY_NS_MAX - EDGE_RETRY_NS_MIN) / (SECOND / 100);
        let round = &slots[..first_round as usize];
        assert!(round.windows(2).all(|two| two[1] - two[0] == SECOND / 100));
    }
}
