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
//! are back within `n` / rate, and no more of them come at once than are let in.
//!
//! Invariant: what is counted as inside was let in and has not left; slots only move forward.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::base::limits::{
    EDGE_CLIENTS_DEFAULT, EDGE_CONNECTS_MIN_PER_S, EDGE_CONNECTS_PER_S, EDGE_PER_ADDRESS_DEFAULT,
    EDGE_RETRY_NS_MAX, EDGE_RETRY_NS_MIN,
};
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
    /// The next slot that is given away.
    slot_ns: u64,
}

/// A tenth of a second of the rate at once: a page opens a handful of connections.
fn bucket_of(rate_per_s: u64) -> BucketParams {
    let burst = (rate_per_s / 10).clamp(8, 1_024);
    BucketParams::new(rate_per_s, burst)
        .unwrap_or_else(|_| unreachable!("a rate of connections is within the bucket's bounds"))
}

impl Admission {
    /// A door that is open. A rate of zero is taken as one a second.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Admission {
        let rate_per_s = limits.rate_per_s.clamp(1, 1_000_000);
        Admission {
            limits,
            bucket: Bucket::new(bucket_of(rate_per_s)),
            rate_per_s,
            inside: 0,
            by_address: HashMap::new(),
            slot_ns: 0,
        }
    }

    /// The line has so much headroom, in thousandths of its budget: what comes in a second follows it.
    pub fn headroom(&mut self, permille: u64, now_ns: u64) {
        let most = self.limits.rate_per_s.clamp(1, 1_000_000);
        let least = EDGE_CONNECTS_MIN_PER_S.min(most);
        let rate_per_s = (most * permille.min(1_000) / 1_000).max(least);
        if rate_per_s != self.rate_per_s {
            self.rate_per_s = rate_per_s;
            self.bucket.set_params(now_ns, bucket_of(rate_per_s));
        }
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
        if self.inside >= self.limits.clients_max {
            return Err(Refused::Full(self.slot(now_ns)));
        }
        let of_address = self.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= self.limits.per_address_max {
            return Err(Refused::Address);
        }
        if !self.bucket.admit(now_ns) {
            return Err(Refused::Rate(self.slot(now_ns)));
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
    /// [`EDGE_RETRY_NS_MAX`] begin again with the first slot, and are refused again.
    pub fn slot(&mut self, now_ns: u64) -> u64 {
        let step_ns = 1_000_000_000 / self.rate_per_s;
        let earliest_ns = now_ns + EDGE_RETRY_NS_MIN;
        self.slot_ns = (self.slot_ns + step_ns).max(earliest_ns);
        if self.slot_ns > now_ns + EDGE_RETRY_NS_MAX {
            self.slot_ns = earliest_ns;
        }
        self.slot_ns - now_ns
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_crowd_is_let_in_at_the_rate_and_is_all_inside_when_it_said() {
        const CROWD: usize = 5_000;
        let mut door = door(100_000, 100_000, 1_000);
        // All of them at once; then each when it was told to.
        let mut waiting: Vec<u64> = vec![0; CROWD];
        let (mut entered, mut tries, mut last_ns) = (0, 0, 0);
        while !waiting.is_empty() {
            waiting.sort_unstable();
            let now_ns = waiting.remove(0);
            tries += 1;
            match door.enter(address(1), now_ns) {
                Ok(()) => (entered, last_ns) = (entered + 1, now_ns),
                Err(Refused::Rate(after_ns)) => waiting.push(now_ns + after_ns),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(entered, CROWD);
        let stated_ns = EDGE_RETRY_NS_MIN + CROWD as u64 * SECOND / 1_000;
        assert!(last_ns <= stated_ns, "{last_ns} ns");
        assert!(tries <= 2 * CROWD + 100, "{tries} tries");
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
