//! One client in time: signs of life both ways, how fast it talks, how long it may take.
//!
//! | what a client does | what becomes of it |
//! |---|---|
//! | says nothing for a heartbeat | it is pinged |
//! | says nothing for [`SessionTimes::misses`] heartbeats | half-open: its place is given up |
//! | takes nothing of what waits for as long | the same, whatever it says |
//! | sends more than [`EDGE_CLIENT_RATE_PER_S`] a second | is not read for a while, so that its own socket holds it back |
//! | keeps that up for [`EDGE_FLOOD_NS`] | is closed |
//! | does not say what it wants in time | is closed |
//!
//! Anything that comes in is a sign of life, and so is a pong. A client that only listens (SSE, NDJSON) says nothing by nature:
//! for it a sign of life is that its socket takes what is sent, heartbeats included.
//!
//! Invariant: the machine knows only the times that it is told; at each there is a next one at which it has something to say.

use crate::base::limits::{
    EDGE_CLIENT_BURST, EDGE_CLIENT_RATE_PER_S, EDGE_CLOSE_NS, EDGE_FLOOD_NS, EDGE_HEARTBEAT_MISSES,
    EDGE_HEARTBEAT_NS, EDGE_HELLO_NS, EDGE_THROTTLE_NS,
};
use crate::overload::{Bucket, BucketParams};

/// The times of a session, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// Between two heartbeats.
    pub heartbeat_ns: u64,
    /// How many may be missed.
    pub misses: u32,
    /// How long the first request, and then the first message of a WebSocket, may take.
    pub hello_ns: u64,
}

impl Default for SessionTimes {
    fn default() -> SessionTimes {
        SessionTimes {
            heartbeat_ns: EDGE_HEARTBEAT_NS,
            misses: EDGE_HEARTBEAT_MISSES,
            hello_ns: EDGE_HELLO_NS,
        }
    }
}

impl SessionTimes {
    /// After how long without a sign of life a client is gone.
    #[must_use]
    pub fn silence_ns(self) -> u64 {
        self.heartbeat_ns.saturating_mul(u64::from(self.misses))
    }
}

/// Why a session ends from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It did not say in time what it wants.
    NoHello,
    /// No sign of life.
    Silent,
    /// It takes nothing of what waits for it.
    Stuck,
    /// It sent too much for too long.
    Flood,
    /// It did not answer the close.
    NotClosed,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a heartbeat.
    Ping,
    /// Read on: it was held back long enough.
    Read,
    /// End it.
    End(Over),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The request, or the first message, has not come whole.
    Opening,
    Open,
    Closing,
}

/// A client in time.
#[derive(Clone, Debug)]
pub struct Session {
    times: SessionTimes,
    phase: Phase,
    /// Until when the phase may last that has an end.
    until_ns: u64,
    /// Whether the client says things, or only listens.
    talks: bool,
    heard_ns: u64,
    ping_ns: u64,
    /// Since when something waits of which it has taken nothing.
    stuck_ns: Option<u64>,
    bucket: Bucket,
    /// Until when it is not read.
    held_ns: Option<u64>,
    /// Since when it is held back again and again.
    flood_ns: Option<u64>,
}

/// How fast a client may talk: it may send as many messages as that at once, and so many a second.
fn rate() -> Bucket {
    let params = BucketParams::new(EDGE_CLIENT_RATE_PER_S, EDGE_CLIENT_BURST);
    // The limits are within the bucket's bounds; the test below holds them to it.
    Bucket::new(params.unwrap_or_else(|_| unreachable!("a client's rate is within bounds")))
}

impl Session {
    /// A connection that began at `now_ns`.
    #[must_use]
    pub fn new(times: SessionTimes, now_ns: u64) -> Session {
        Session {
            times,
            phase: Phase::Opening,
            until_ns: now_ns + times.hello_ns,
            talks: true,
            heard_ns: now_ns,
            ping_ns: now_ns + times.heartbeat_ns,
            stuck_ns: None,
            bucket: rate(),
            held_ns: None,
            flood_ns: None,
        }
    }

    /// What it asked for is on its way, and what comes next may take as long again: the first message behind a handshake, the next
    /// request behind a response.
    pub fn again(&mut self, now_ns: u64) {
        self.until_ns = now_ns + self.times.hello_ns;
        self.heard(now_ns);
    }

    /// It has said what it wants; `talks` says whether more is to be heard of it.
    pub fn open(&mut self, talks: bool, now_ns: u64) {
        (self.phase, self.talks) = (Phase::Open, talks);
        self.heard(now_ns);
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// A close was sent, or the last bytes are on their way.
    pub fn closing(&mut self, now_ns: u64) {
        if self.phase != Phase::Closing {
            (self.phase, self.until_ns) = (Phase::Closing, now_ns + EDGE_CLOSE_NS);
        }
    }

    /// Bytes came in.
    pub fn heard(&mut self, now_ns: u64) {
        self.heard_ns = now_ns;
    }

    /// A message came in, whole. What is more than it may send is still taken, and then nothing is read for a while.
    pub fn message(&mut self, now_ns: u64) {
        self.heard_ns = now_ns;
        if self.bucket.room_frames(now_ns) >= EDGE_CLIENT_BURST / 2 {
            self.flood_ns = None;
        }
        if self.bucket.admit(now_ns) {
            return;
        }
        self.flood_ns.get_or_insert(now_ns);
        self.held_ns = Some(now_ns + EDGE_THROTTLE_NS);
    }

    /// So many frames came in, of one message or of several: each is paid for.
    pub fn frames(&mut self, count: u64, now_ns: u64) {
        for _ in 0..count {
            self.message(now_ns);
            if self.is_held() {
                // The rest came at once with it.
                return;
            }
        }
    }

    /// Whether it is not to be read now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_ns.is_some()
    }

    /// Bytes wait for it after a write, of which it took some or none.
    pub fn wrote(&mut self, took_some: bool, some_wait: bool, now_ns: u64) {
        if took_some && !self.talks {
            self.heard_ns = now_ns;
        }
        match some_wait {
            false => self.stuck_ns = None,
            true if took_some => self.stuck_ns = Some(now_ns),
            true => {
                self.stuck_ns.get_or_insert(now_ns);
            }
        }
    }

    /// When something is due.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        let until_ns = match self.phase {
            Phase::Opening | Phase::Closing => self.until_ns,
            Phase::Open => self.ping_ns.min(self.silent_ns()),
        };
        let stuck_ns = self.stuck_ns.map(|ns| ns + self.times.silence_ns());
        let due_ns = until_ns.min(stuck_ns.unwrap_or(u64::MAX));
        due_ns.min(self.held_ns.unwrap_or(u64::MAX))
    }

    fn silent_ns(&self) -> u64 {
        match self.talks {
            true => self.heard_ns + self.times.silence_ns(),
            false => u64::MAX,
        }
    }

    /// What is due at `now_ns`; ask until there is nothing.
    pub fn step(&mut self, now_ns: u64) -> Option<Due> {
        let is_closing = self.phase == Phase::Closing;
        if is_closing && now_ns >= self.until_ns {
            return Some(Due::End(Over::NotClosed));
        }
        if let Some(held_ns) = self.held_ns
            && now_ns >= held_ns
        {
            self.held_ns = None;
            // One that is told to go already has its time for that, whatever it says.
            if !is_closing
                && self
                    .flood_ns
                    .is_some_and(|since_ns| now_ns - since_ns >= EDGE_FLOOD_NS)
            {
                return Some(Due::End(Over::Flood));
            }
            return Some(Due::Read);
        }
        if let Some(stuck_ns) = self.stuck_ns
            && now_ns >= stuck_ns + self.times.silence_ns()
        {
            return Some(Due::End(Over::Stuck));
        }
        match self.phase {
            Phase::Opening if now_ns >= self.until_ns => Some(Due::End(Over::NoHello)),
            Phase::Open if now_ns >= self.silent_ns() => Some(Due::End(Over::Silent)),
            Phase::Open if now_ns >= self.ping_ns => {
                self.ping_ns = now_ns + self.times.heartbeat_ns;
                Some(Due::Ping)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn open(talks: bool) -> Session {
        let mut session = Session::new(SessionTimes::default(), 0);
        session.open(talks, 0);
        session
    }

    /// All that is due up to then, with its time.
    fn run(session: &mut Session, until_ns: u64) -> Vec<(u64, Due)> {
        let mut all = Vec::new();
        while session.due_ns() <= until_ns {
            let now_ns = session.due_ns();
            while let Some(due) = session.step(now_ns) {
                all.push((now_ns / SECOND, due));
                if matches!(due, Due::End(_)) {
                    return all;
                }
            }
        }
        all
    }

    #[test]
    fn one_that_says_nothing_is_pinged_and_gone_after_three_heartbeats() {
        let all = run(&mut open(true), 100 * SECOND);
        let pings = [(15, Due::Ping), (30, Due::Ping)];
        assert_eq!(all[..2], pings);
        assert_eq!(all[2..], [(45, Due::End(Over::Silent))]);
    }

    #[test]
    fn anything_that_comes_is_a_sign_of_life() {
        let mut session = open(true);
        for second in 1..200 {
            assert!(
                run(&mut session, second * SECOND)
                    .iter()
                    .all(|(_, due)| *due == Due::Ping)
            );
            session.heard(second * SECOND);
        }
    }

    #[test]
    fn one_that_only_listens_lives_as_long_as_its_socket_takes_something() {
        let mut session = open(false);
        for second in 1..200 {
            let all = run(&mut session, second * SECOND);
            assert!(all.iter().all(|(_, due)| *due == Due::Ping), "{all:?}");
            session.wrote(true, false, second * SECOND);
        }
        session.wrote(false, true, 200 * SECOND);
        let all = run(&mut session, 400 * SECOND);
        assert_eq!(all.last(), Some(&(245, Due::End(Over::Stuck))));
    }

    #[test]
    fn one_that_takes_nothing_is_gone_though_it_talks() {
        let mut session = open(true);
        session.wrote(false, true, SECOND);
        for second in 1..46 {
            assert!(
                run(&mut session, second * SECOND)
                    .iter()
                    .all(|(_, due)| *due == Due::Ping)
            );
            session.heard(second * SECOND);
            session.wrote(false, true, second * SECOND);
        }
        assert_eq!(
            run(&mut session, 60 * SECOND),
            [(46, Due::End(Over::Stuck))]
        );
    }

    #[test]
    fn one_that_never_says_what_it_wants_is_gone() {
        let mut session = Session::new(SessionTimes::default(), 0);
        session.heard(9 * SECOND);
        assert_eq!(
            run(&mut session, 60 * SECOND),
            [(10, Due::End(Over::NoHello))]
        );
        let mut session = Session::new(SessionTimes::default(), 0);
        session.again(9 * SECOND);
        assert_eq!(
            run(&mut session, 60 * SECOND),
            [(19, Due::End(Over::NoHello))]
        );
    }

    #[test]
    fn a_burst_is_read_and_a_flood_is_held_back_and_then_ended() {
        let mut session = open(true);
        for _ in 0..EDGE_CLIENT_BURST {
            session.message(SECOND);
            assert!(!session.is_held());
        }
        session.message(SECOND);
        assert!(session.is_held());
        let (mut now_ns, mut read) = (SECOND, 0);
        let end = loop {
            now_ns = session.due_ns().max(now_ns);
            match session.step(now_ns) {
                Some(Due::Read) => {
                    while !session.is_held() {
                        session.message(now_ns);
                        read += 1;
                    }
                }
                Some(Due::End(over)) => break (now_ns, over),
                Some(Due::Ping) | None => {}
            }
        };
        assert_eq!(end.1, Over::Flood);
        assert_eq!((end.0 - SECOND) / EDGE_FLOOD_NS, 1);
        let rate = read * SECOND / (end.0 - SECOND);
        assert!((90..=120).contains(&rate), "{rate} a second were read");
    }

    #[test]
    fn one_that_slows_down_is_forgiven() {
        let mut session = open(true);
        for at in 0..=EDGE_CLIENT_BURST {
            session.message(SECOND + at);
        }
        let mut now_ns = session.due_ns();
        assert_eq!(session.step(now_ns), Some(Due::Read));
        for _ in 0..2_000 {
            now_ns += SECOND / 50;
            session.message(now_ns);
            assert!(!session.is_held());
        }
        assert!(now_ns > SECOND + EDGE_FLOOD_NS);
    }

    #[test]
    fn a_close_that_nobody_answers_ends() {
        let mut session = open(true);
        session.closing(SECOND);
        session.closing(3 * SECOND);
        assert_eq!(
            run(&mut session, 60 * SECOND),
            [(6, Due::End(Over::NotClosed))]
        );
    }
}
