//! Staying connected: a client's connection in time, without its socket and without its protocol.
//!
//! ```text
//!             Dial             connected          opened
//!  waiting ─────────► connecting ───► handshaking ───► live ──── stop ───► closing
//!     ▲                   │                │             │                    │
//!     └──── back-off ─────┴────── Drop / lost ───────────┘            Drop / lost ──► stopped
//! ```
//!
//! | what goes wrong | how it is found | [`Lost`] |
//! |---|---|---|
//! | the peer is not there | the dial fails, or takes too long | `refused`, `connect_timeout` |
//! | it does not speak the protocol | the handshake fails, or takes too long | `handshake_…` |
//! | half-open: the peer is gone and nobody said so | nothing at all comes in, though pings go out | `silent` |
//! | what goes out is lost, what comes in is not | data comes, the answer to a ping does not | `no_pong` |
//! | the peer is well and its feed is not | signs of life come, data does not | `stale` |
//!
//! Stale data is said once, by [`Step::Stale`], and is a reason to try another connection only after
//! [`SessionConfig::stale_drop_ns`], if at all.
//!
//! Between two tries lies a random time from the whole span between a shortest and a doubling longest
//! wait, so that a crowd that lost one peer does not come back at once. The span is short again only
//! after the connection was live for [`SessionConfig::healthy_ns`]: a peer that accepts and hangs up
//! is not hammered.
//!
//! Invariant: the machine knows only the times that it is told, and its seed: the same calls give the
//! same steps; at each time it waits for something, there is a next time at which it acts.

pub use crate::base::Lost;
use crate::base::{Backoff, Jitter, Reason};

const SECOND_NS: u64 = 1_000_000_000;

/// Longest time that a peer may ask to be left alone, in nanoseconds: five minutes, what an exchange
/// bans an address for. What it asks beyond that is cut, so that no peer ends a source for good.
pub const RETRY_AFTER_NS_MAX: u64 = 300 * SECOND_NS;

/// The times of a session, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// How long a dial may take.
    pub connect_ns: u64,
    /// How long the handshake may take from there.
    pub handshake_ns: u64,
    /// Time between two pings.
    pub ping_ns: u64,
    /// How long nothing at all may come in.
    pub silence_ns: u64,
    /// How long the answer to a ping may take though other things come in; `None` for peers that
    /// answer no pings.
    pub pong_ns: Option<u64>,
    /// How long no data may come in until it is called stale; `None` for feeds that may be quiet.
    pub stale_ns: Option<u64>,
    /// How long no data may come in until the connection is given up; `None` for never.
    pub stale_drop_ns: Option<u64>,
    /// How long the closing handshake may take.
    pub close_ns: u64,
    /// Shortest wait before another dial.
    pub wait_min_ns: u64,
    /// Longest wait before another dial, unless the peer asks for more.
    pub wait_max_ns: u64,
    /// How long a connection is live until the next wait is a short one again.
    pub healthy_ns: u64,
    /// Seed of the waits: another one for each session, or they all come back together.
    pub seed: u64,
}

impl Default for SessionConfig {
    /// What suits a feed over the internet: dead within 45 s, three pings of 15 s; back within 1 to
    /// 30 s.
    fn default() -> SessionConfig {
        SessionConfig {
            connect_ns: 10 * SECOND_NS,
            handshake_ns: 10 * SECOND_NS,
            ping_ns: 15 * SECOND_NS,
            silence_ns: 45 * SECOND_NS,
            pong_ns: Some(45 * SECOND_NS),
            stale_ns: Some(5 * SECOND_NS),
            stale_drop_ns: None,
            close_ns: 5 * SECOND_NS,
            wait_min_ns: SECOND_NS,
            wait_max_ns: 30 * SECOND_NS,
            healthy_ns: 30 * SECOND_NS,
            seed: 0,
        }
    }
}

/// What is to be done. Each step is given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connect; then say [`Session::connected`] or [`Session::lost`].
    Dial,
    /// Send a ping with this number in it; when it comes back, say [`Session::pong`].
    Ping(u64),
    /// No data came for so long that what is known is stale. Its end is told by
    /// [`Session::message`].
    Stale,
    /// Begin the closing handshake; when it is done, say [`Session::lost`]. Given by
    /// [`Session::stop`] only.
    Close,
    /// Take down what there is of the connection: for the session it is over.
    Drop(Lost),
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two tries.
    Waiting,
    /// A dial is under way.
    Connecting,
    /// Connected; the protocol's handshake is under way.
    Handshaking,
    /// Open, with data that is no older than it may be.
    Live,
    /// Open, with stale data.
    Stale,
    /// The closing handshake is under way.
    Closing,
    /// Over for good.
    Stopped,
}

impl Phase {
    /// Its name, as reports print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Connecting => "connecting",
            Phase::Handshaking => "handshaking",
            Phase::Live => "live",
            Phase::Stale => "stale",
            Phase::Closing => "closing",
            Phase::Stopped => "stopped",
        }
    }
}

/// What a session has been through. Counts only rise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCounts {
    /// Dials.
    pub dials: u64,
    /// Times that it came to be live.
    pub opened: u64,
    /// Pings sent, and those that were answered.
    pub pings: u64,
    /// Answers to pings that were waited for.
    pub pongs: u64,
    /// Times that data was called stale.
    pub stale: u64,
    /// Time that it was not open since its first dial, up to the last time that it was, in
    /// nanoseconds: what was missed.
    pub down_ns: u64,
    lost: [u64; Lost::ALL.len()],
}

impl SessionCounts {
    /// How often a connection, or a try at one, ended for that reason.
    #[must_use]
    pub fn lost(&self, why: Lost) -> u64 {
        self.lost[why.index()]
    }

    /// How often connections and tries ended, for any reason. Each dial ends at most once.
    #[must_use]
    pub fn lost_in_all(&self) -> u64 {
        self.lost.iter().sum()
    }
}

/// An open connection's times.
#[derive(Clone, Copy, Debug)]
struct Open {
    since_ns: u64,
    received_ns: u64,
    data_ns: u64,
    stale: bool,
    ping_at_ns: u64,
    /// The ping that is out, and since when; the oldest, if there are more.
    awaited: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting { until_ns: u64 },
    Connecting { until_ns: u64 },
    Handshaking { until_ns: u64 },
    Open(Open),
    Closing { until_ns: u64 },
    Stopped,
}

/// A client's connection in time.
///
/// Tell it what happens and when; then ask it with [`Session::poll`] what is to be done, until it
/// says nothing, and again at [`Session::next_ns`] at the latest. In this order, so that a loop that
/// was away for a while hears what has come meanwhile before it calls the peer silent.
///
/// ```
/// use hopline::wire::session::{Lost, Phase, Session, SessionConfig, Step};
/// const S: u64 = 1_000_000_000;
/// let mut session = Session::new(SessionConfig::default(), 0);
/// assert_eq!(session.poll(0), Some(Step::Dial));
/// session.lost(Lost::Refused, S);
/// let again_ns = session.next_ns();
/// assert!((2 * S..=31 * S).contains(&again_ns));
/// assert_eq!(session.poll(again_ns - 1), None);
/// assert_eq!(session.poll(again_ns), Some(Step::Dial));
/// session.connected(again_ns);
/// session.opened(again_ns);
/// assert_eq!(session.phase(), Phase::Live);
/// ```
#[derive(Clone, Debug)]
pub struct Session {
    config: SessionConfig,
    state: State,
    backoff: Backoff,
    /// The number of the last ping.
    ping: u64,
    /// Since when it is down; `None` while it is open, and before the first dial.
    down_since_ns: Option<u64>,
    counts: SessionCounts,
}

impl Session {
    /// A session that dials at `now_ns`.
    #[must_use]
    pub fn new(config: SessionConfig, now_ns: u64) -> Session {
        let (min_ns, max_ns) = (config.wait_min_ns, config.wait_max_ns);
        Session {
            config,
            state: State::Waiting { until_ns: now_ns },
            backoff: Backoff::new(min_ns, max_ns, Jitter::Full, config.seed),
            ping: 0,
            down_since_ns: None,
            counts: SessionCounts {
                dials: 0,
                opened: 0,
                pings: 0,
                pongs: 0,
                stale: 0,
                down_ns: 0,
                lost: [0; Lost::ALL.len()],
            },
        }
    }

    /// What is to be done at `now_ns`, if anything; ask until there is nothing.
    pub fn poll(&mut self, now_ns: u64) -> Option<Step> {
        match &mut self.state {
            State::Waiting { until_ns } if now_ns >= *until_ns => {
                self.counts.dials += 1;
                self.down_since_ns.get_or_insert(now_ns);
                let until_ns = now_ns.saturating_add(self.config.connect_ns);
                self.state = State::Connecting { until_ns };
                Some(Step::Dial)
            }
            State::Connecting { until_ns } if now_ns >= *until_ns => {
                self.give_up(Lost::ConnectTimeout, now_ns)
            }
            State::Handshaking { until_ns } if now_ns >= *until_ns => {
                self.give_up(Lost::HandshakeTimeout, now_ns)
            }
            State::Open(_) => self.poll_open(now_ns),
            State::Closing { until_ns } if now_ns >= *until_ns => {
                self.give_up(Lost::CloseTimeout, now_ns)
            }
            _ => None,
        }
    }

    fn poll_open(&mut self, now_ns: u64) -> Option<Step> {
        let State::Open(open) = &mut self.state else {
            return None;
        };
        let over = |since_ns: u64, limit_ns: Option<u64>| {
            limit_ns.is_some_and(|limit_ns| now_ns >= since_ns.saturating_add(limit_ns))
        };
        let config = &self.config;
        if over(open.received_ns, Some(config.silence_ns)) {
            return self.give_up(Lost::Silent, now_ns);
        }
        if open
            .awaited
            .is_some_and(|(_, since_ns)| over(since_ns, config.pong_ns))
        {
            return self.give_up(Lost::NoPong, now_ns);
        }
        if over(open.data_ns, config.stale_drop_ns) {
            return self.give_up(Lost::Stale, now_ns);
        }
        if !open.stale && over(open.data_ns, config.stale_ns) {
            open.stale = true;
            self.counts.stale += 1;
            return Some(Step::Stale);
        }
        if now_ns >= open.ping_at_ns {
            // From now, not from when it was due: a loop that was away sends one ping, not many.
            open.ping_at_ns = now_ns.saturating_add(config.ping_ns.max(1));
            self.ping += 1;
            open.awaited.get_or_insert((self.ping, now_ns));
            self.counts.pings += 1;
            return Some(Step::Ping(self.ping));
        }
        None
    }

    /// When to [poll](Session::poll) next at the latest, if nothing happens before; `u64::MAX` once
    /// it is stopped.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        match self.state {
            State::Waiting { until_ns }
            | State::Connecting { until_ns }
            | State::Handshaking { until_ns }
            | State::Closing { until_ns } => until_ns,
            State::Stopped => u64::MAX,
            State::Open(open) => {
                let config = &self.config;
                let at = |since_ns: u64, limit_ns: Option<u64>| {
                    limit_ns.map_or(u64::MAX, |limit_ns| since_ns.saturating_add(limit_ns))
                };
                let pong_ns = open
                    .awaited
                    .map_or(u64::MAX, |(_, since_ns)| at(since_ns, config.pong_ns));
                let stale_ns = if open.stale { None } else { config.stale_ns };
                at(open.received_ns, Some(config.silence_ns))
                    .min(pong_ns)
                    .min(at(open.data_ns, config.stale_drop_ns))
                    .min(at(open.data_ns, stale_ns))
                    .min(open.ping_at_ns)
            }
        }
    }

    /// The dial has come through.
    pub fn connected(&mut self, now_ns: u64) {
        if let State::Connecting { .. } = self.state {
            let until_ns = now_ns.saturating_add(self.config.handshake_ns);
            self.state = State::Handshaking { until_ns };
        }
    }

    /// The handshake is done: the session is live, and its data as fresh as can be.
    pub fn opened(&mut self, now_ns: u64) {
        if let State::Handshaking { .. } = self.state {
            self.counts.opened += 1;
            if let Some(since_ns) = self.down_since_ns.take() {
                self.counts.down_ns += now_ns.saturating_sub(since_ns);
            }
            self.state = State::Open(Open {
                since_ns: now_ns,
                received_ns: now_ns,
                data_ns: now_ns,
                stale: false,
                ping_at_ns: now_ns.saturating_add(self.config.ping_ns),
                awaited: None,
            });
        }
    }

    /// Something came in, whatever it is: the peer lives.
    pub fn received(&mut self, now_ns: u64) {
        if let State::Open(open) = &mut self.state {
            open.received_ns = open.received_ns.max(now_ns);
        }
    }

    /// Data came in. Says whether it had been stale: now it no longer is.
    pub fn message(&mut self, now_ns: u64) -> bool {
        self.received(now_ns);
        let State::Open(open) = &mut self.state else {
            return false;
        };
        open.data_ns = open.data_ns.max(now_ns);
        core::mem::take(&mut open.stale)
    }

    /// The ping of that number has come back. Gives the time there and back, in nanoseconds, if it
    /// was the one that is waited for.
    pub fn pong(&mut self, ping: u64, now_ns: u64) -> Option<u64> {
        self.received(now_ns);
        let last = self.ping;
        let State::Open(open) = &mut self.state else {
            return None;
        };
        let (awaited, since_ns) = open.awaited?;
        if !(awaited..=last).contains(&ping) {
            return None;
        }
        // A later one answers those before it (RFC 6455, section 5.5.3), but its time is not known.
        open.awaited = None;
        self.counts.pongs += 1;
        (ping == awaited).then(|| now_ns.saturating_sub(since_ns))
    }

    /// The connection, or the try at one, has ended. Counted once, whatever else is said of it.
    pub fn lost(&mut self, why: Lost, now_ns: u64) {
        self.lost_until(why, now_ns, 0);
    }

    /// As [`Session::lost`], and the peer asks to be left alone for `retry_after_ns` at least; more
    /// than [`RETRY_AFTER_NS_MAX`] is that.
    pub fn lost_until(&mut self, why: Lost, now_ns: u64, retry_after_ns: u64) {
        let why = match self.state {
            State::Waiting { .. } | State::Stopped => return,
            // What ends it while it is being closed has done what was wanted.
            State::Closing { .. } if why != Lost::CloseTimeout => Lost::Stopped,
            _ => why,
        };
        self.counts.lost[why.index()] += 1;
        self.down_since_ns.get_or_insert(now_ns);
        if let State::Open(open) = self.state
            && now_ns >= open.since_ns.saturating_add(self.config.healthy_ns)
        {
            self.backoff.connected();
        }
        self.state = match self.state {
            State::Closing { .. } => State::Stopped,
            _ => {
                let asked_ns = now_ns.saturating_add(retry_after_ns.min(RETRY_AFTER_NS_MAX));
                let until_ns = self.backoff.retry_at_ns(now_ns).max(asked_ns);
                State::Waiting { until_ns }
            }
        };
    }

    fn give_up(&mut self, why: Lost, now_ns: u64) -> Option<Step> {
        self.lost(why, now_ns);
        Some(Step::Drop(why))
    }

    /// Ends the session: an open connection is closed, a try at one is dropped.
    pub fn stop(&mut self, now_ns: u64) -> Option<Step> {
        match self.state {
            State::Open(_) => {
                let until_ns = now_ns.saturating_add(self.config.close_ns);
                self.state = State::Closing { until_ns };
                Some(Step::Close)
            }
            State::Connecting { .. } | State::Handshaking { .. } => {
                self.lost(Lost::Stopped, now_ns);
                self.state = State::Stopped;
                Some(Step::Drop(Lost::Stopped))
            }
            State::Waiting { .. } => {
                self.state = State::Stopped;
                None
            }
            State::Closing { .. } | State::Stopped => None,
        }
    }

    /// Nobody listened up to now: because what comes in had nowhere to go, or because the loop was
    /// away. A peer is silent, and its data stale, only for as long as somebody would have heard it;
    /// the limits count from here.
    pub fn unheard(&mut self, now_ns: u64) {
        if let State::Open(open) = &mut self.state {
            open.received_ns = open.received_ns.max(now_ns);
            open.data_ns = open.data_ns.max(now_ns);
            if let Some((_, since_ns)) = &mut open.awaited {
                *since_ns = (*since_ns).max(now_ns);
            }
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Waiting { .. } => Phase::Waiting,
            State::Connecting { .. } => Phase::Connecting,
            State::Handshaking { .. } => Phase::Handshaking,
            State::Open(open) if open.stale => Phase::Stale,
            State::Open(_) => Phase::Live,
            State::Closing { .. } => Phase::Closing,
            State::Stopped => Phase::Stopped,
        }
    }

    /// Whether the connection is open: data may come, whether it is stale or not.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Age of the last data at `now_ns`, in nanoseconds, since the connection was opened at the
    /// most; `None` if it is not open.
    #[must_use]
    pub fn data_age_ns(&self, now_ns: u64) -> Option<u64> {
        match self.state {
            State::Open(open) => Some(now_ns.saturating_sub(open.data_ns)),
            _ => None,
        }
    }

    /// What it has been through.
    #[must_use]
    pub fn counts(&self) -> &SessionCounts {
        &self.counts
    }
}
