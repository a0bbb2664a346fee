//! An edge on a thread of its own: a poll, a turn, and what it is told meanwhile.
//!
//! ```text
//!   whoever holds the line                          thread "edge"
//!     Publisher ─ events, a bounded queue, a wake ──→ publishes, and says what had no room
//!     Server ──── health, pages, headroom ──────────→ answers those who wait
//!            ←─── asked: a bit for each ───────────── somebody asks for health or metrics
//!            ←─── followers ───────────────────────── how many follow each kind of channel
//! ```
//!
//! The thread is not pinned, and rests in its driver's poll until there is something to do.
//!
//! Invariant: whoever holds the line never waits for this thread; what finds no room is refused and counted, and whoever keeps
//! a state tries again with its newest.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::admission::AdmissionLimits;
use super::client::{Now, Rules, Said, Waits};
use super::event::Kind;
use super::hub::Hub;
use super::lanes::ChannelId;
use super::published::Outline;
use super::report::Figures;
use super::route::Exposition;
use super::turns::{Edge, EdgeConfig};
use crate::base::limits::{EDGE_REFUSED_MAX, EDGE_TELL_MAX, METRICS_ANSWER_NS};
use crate::base::primitive::{Arc, AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::budget::BeyondBudgets;
use crate::clock::Clock;
use crate::io::{Driver, IoError, Waker};

/// Longest sleep of the thread, in nanoseconds: what is due wakes it before.
const SLEEP_NS: u64 = 1_000_000_000;

const HEALTH: u32 = 1 << kind(Waits::Health);
const PROMETHEUS: u32 = 1 << kind(Waits::Metrics(Exposition::Prometheus));
const OPEN_METRICS: u32 = 1 << kind(Waits::Metrics(Exposition::OpenMetrics));

const WAITS: [Waits; 4] = [
    Waits::Health,
    Waits::Ready,
    Waits::Metrics(Exposition::Prometheus),
    Waits::Metrics(Exposition::OpenMetrics),
];

/// Which answer that is: the same one says whether a line is alive and whether it takes messages.
const fn kind(waits: Waits) -> usize {
    match waits {
        Waits::Health | Waits::Ready => 0,
        Waits::Metrics(Exposition::Prometheus) => 1,
        Waits::Metrics(Exposition::OpenMetrics) => 2,
    }
}

/// An event on its way to the thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its channel.
    pub channel: ChannelId,
    /// Its type.
    pub kind: Kind,
    /// Of a state channel: what it is the newest value of.
    pub key: Option<Box<str>>,
    /// Its value, as [`Body::value`](super::event::Body::value) writes it.
    pub value: String,
}

enum Told {
    Events(Vec<Event>),
    Health { why_not: Vec<String>, ready: bool },
    Metrics(Exposition, &'static str, Bytes),
    Headroom(u64),
    Drain,
}

/// What both sides see.
#[derive(Debug, Default)]
struct Shared {
    asked: AtomicU32,
    followers: AtomicU64,
    /// Of each channel whether anybody follows it.
    followed: Box<[AtomicBool]>,
    open: AtomicU64,
    /// Whether whoever holds the line wants the figures.
    wants_figures: AtomicBool,
    quits: AtomicBool,
}

/// What an edge is made of, before it is opened.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where it listens; port 0 lets the system choose.
    pub at: SocketAddr,
    /// What clients go by.
    pub rules: Rules,
    /// How many may come in.
    pub admission: AdmissionLimits,
    /// Its channels, which are there before the first client.
    pub hub: Hub,
    /// What the hops beyond the line owe.
    pub budgets: BeyondBudgets,
}

/// Why an edge was not opened.
#[derive(Debug)]
pub enum NotServed {
    /// An address that others reach, without a token: whoever finds it would see the line.
    Public(SocketAddr),
    /// The system said no.
    Io(IoError),
}

impl core::fmt::Display for NotServed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            NotServed::Public(at) => write!(
                f,
                "{at} can be reached from other machines, and the edge has no token: give it one, or listen on 127.0.0.1"
            ),
            NotServed::Io(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NotServed {}

impl From<IoError> for NotServed {
    fn from(error: IoError) -> NotServed {
        NotServed::Io(error)
    }
}

/// Publishes from any thread.
#[derive(Clone, Debug)]
pub struct Publisher {
    told: SyncSender<Told>,
    waker: Waker,
    shared: Arc<Shared>,
}

impl Publisher {
    /// Hands over events, all or none of them; never waits.
    ///
    /// # Errors
    /// The thread has as many waiting as it may: here they are again.
    pub fn publish(&self, events: Vec<Event>) -> Result<(), Vec<Event>> {
        match self.told.try_send(Told::Events(events)) {
            Ok(()) => {
                let _ = self.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(told) | TrySendError::Disconnected(told)) => match told {
                Told::Events(events) => Err(events),
                _ => Ok(()),
            },
        }
    }

    /// How many channels are followed, all clients together: where it is none, nobody needs an event.
    #[must_use]
    pub fn followed(&self) -> u64 {
        self.shared.followers.load(Ordering::Relaxed)
    }

    /// Whether anybody follows that channel. May be stale.
    #[must_use]
    pub fn is_followed(&self, channel: ChannelId) -> bool {
        let followed = self.shared.followed.get(channel.0 as usize);
        followed.is_some_and(|followed| followed.load(Ordering::Relaxed))
    }
}

/// An edge on a thread of its own. Dropping it closes the port.
///
/// ```no_run
/// use hopline::edge::{ChannelLimits, Epoch, Event, Hub, Kind, Lane, Rules, Router, Server, ServerConfig};
/// let mut hub = Hub::new(Epoch(7));
/// let dag = hub.open("dag/line", Lane::State, ChannelLimits::default())?;
/// let server = Server::open(ServerConfig {
///     at: "127.0.0.1:0".parse()?,
///     rules: Rules { router: Router::new(Default::default(), &[]), times: Default::default(), token: None },
///     admission: Default::default(),
///     hub,
///     budgets: Default::default(),
/// })?;
/// let event = Event { channel: dag, kind: Kind::CostUpdate, key: Some("cost".into()), value: "{}".into() };
/// server.publisher().publish(vec![event]).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    publisher: Publisher,
    figures: Receiver<Box<Figures>>,
    thread: Option<JoinHandle<Figures>>,
}

impl Server {
    /// Listens at that address and starts the thread.
    ///
    /// Open it on a thread that is not pinned: the new one inherits its cores.
    ///
    /// # Errors
    /// The address is public and there is no token; it is in use, not of this machine or not allowed; the system gives no
    /// poll or no thread.
    pub fn open(config: ServerConfig) -> Result<Server, NotServed> {
        if !config.at.ip().is_loopback() && config.rules.token.is_none() {
            return Err(NotServed::Public(config.at));
        }
        // One more is taken to be closed.
        let streams_max = config.admission.clients_max + EDGE_REFUSED_MAX + 1;
        let driver = Driver::real()?.with_streams_max(streams_max)?;
        let waker = driver.waker();
        let edge = Edge::open(
            driver,
            config.hub,
            EdgeConfig {
                at: config.at,
                rules: config.rules,
                admission: config.admission,
                debounce_ns: crate::base::limits::EDGE_DEBOUNCE_MS * 1_000_000,
                budgets: config.budgets,
            },
        )?
        .with_clock(Clock::os());
        let address = edge.address();
        let followed = edge.hub().followed().map(AtomicBool::new).collect();
        let shared = Arc::new(Shared {
            followed,
            ..Shared::default()
        });
        let (told, telling) = sync_channel(EDGE_TELL_MAX);
        // One at a time: what is not taken is older than what is asked for next.
        let (figuring, figures) = sync_channel(1);
        let serving = Serving {
            edge,
            clock: Clock::os(),
            shared: shared.clone(),
            telling,
            figuring,
            asked_ns: [None; 3],
            follower_changes: 0,
        };
        let thread = std::thread::Builder::new()
            .name("edge".to_owned())
            .spawn(move || serving.run())
            .map_err(|error| IoError::from_os(&error, "start the thread of the edge"))?;
        Ok(Server {
            address,
            publisher: Publisher {
                told,
                waker,
                shared,
            },
            figures,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A way to publish from another thread.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Connections that are open.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.publisher.shared.open.load(Ordering::Relaxed)
    }

    /// What is asked of whoever holds the line since the last call. One load where nothing was.
    pub fn asked(&self) -> Asked {
        let asked = &self.publisher.shared.asked;
        if asked.load(Ordering::Relaxed) == 0 {
            return Asked::default();
        }
        // Acquire pairs with Release in `Serving::ask`.
        let bits = asked.swap(0, Ordering::Acquire);
        let metrics = match (bits & PROMETHEUS != 0, bits & OPEN_METRICS != 0) {
            (false, false) => [None, None],
            (true, false) => [Some(Exposition::Prometheus), None],
            (false, true) => [Some(Exposition::OpenMetrics), None],
            (true, true) => [Some(Exposition::Prometheus), Some(Exposition::OpenMetrics)],
        };
        Asked {
            health: bits & HEALTH != 0,
            metrics,
        }
    }

    /// Answers those who ask whether the line is alive: why it is not, in words, and whether it takes messages.
    pub fn tell_health(&self, why_not: Vec<String>, ready: bool) {
        self.tell(Told::Health { why_not, ready });
    }

    /// Answers those who ask for metrics.
    pub fn tell_metrics(&self, exposition: Exposition, media_type: &'static str, page: Bytes) {
        self.tell(Told::Metrics(exposition, media_type, page));
    }

    /// The line has so much headroom, in thousandths of its latency budget: by it clients are let in.
    pub fn tell_headroom(&self, permille: u64) {
        self.tell(Told::Headroom(permille));
    }

    /// Tells each client when it may come back, and closes it.
    pub fn drain(&self) {
        self.tell(Told::Drain);
    }

    /// What finds no room is asked for again.
    fn tell(&self, told: Told) {
        if self.publisher.told.try_send(told).is_ok() {
            let _ = self.publisher.waker.wake();
        }
    }

    /// What it has counted and measured, as it was a moment after the last call; `None` before, and where nothing has come since. Never
    /// waits; asks for the next.
    pub fn figures(&self) -> Option<Box<Figures>> {
        let figures = self.figures.try_recv().ok();
        self.ask_for_figures();
        figures
    }

    /// What it has counted and measured now. Waits for it, for so long at most: for whoever's line has ended.
    #[must_use]
    pub fn figures_within(&self, span: Duration) -> Option<Box<Figures>> {
        // What was asked for before is older.
        while self.figures.try_recv().is_ok() {}
        self.ask_for_figures();
        self.figures.recv_timeout(span).ok()
    }

    fn ask_for_figures(&self) {
        // Release pairs with Acquire in `Serving::figure`.
        self.publisher
            .shared
            .wants_figures
            .store(true, Ordering::Release);
        let _ = self.publisher.waker.wake();
    }

    /// Ends it, and says what it counted and measured.
    #[must_use]
    pub fn end(mut self) -> Figures {
        self.stop().unwrap_or_default()
    }

    fn stop(&mut self) -> Option<Figures> {
        let thread = self.thread.take()?;
        // Release pairs with Acquire in `Serving::run`.
        self.publisher.shared.quits.store(true, Ordering::Release);
        let _ = self.publisher.waker.wake();
        thread.join().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// What is asked of whoever holds the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether it is alive.
    pub health: bool,
    /// Its metrics.
    pub metrics: [Option<Exposition>; 2],
}

/// The thread.
struct Serving {
    edge: Edge,
    clock: Clock,
    shared: Arc<Shared>,
    telling: Receiver<Told>,
    figuring: SyncSender<Box<Figures>>,
    /// Since when somebody waits for an answer: health, and each exposition of the metrics.
    asked_ns: [Option<u64>; 3],
    /// Followers as they were told last.
    follower_changes: u64,
}

impl Serving {
    fn run(mut self) -> Figures {
        // Acquire pairs with Release in the handle's stop.
        while !self.shared.quits.load(Ordering::Acquire) {
            let now_ns = self.clock.stamp();
            let wait_ns = self.due_ns().saturating_sub(now_ns).min(SLEEP_NS);
            if self.edge.driver_mut().poll(now_ns, Some(wait_ns)).is_err() {
                // Without a poll there is no edge; the line goes on.
                break;
            }
            let now = self.now();
            self.hear(now);
            self.edge.turn(now);
            self.ask(now);
            self.figure();
            self.shared
                .open
                .store(self.edge.open_connections() as u64, Ordering::Relaxed);
            self.count_followers();
        }
        // The last words, as far as the sockets take them.
        let now = self.now();
        self.hear(now);
        self.edge.turn(now);
        self.edge.drain(now);
        self.figures()
    }

    fn figures(&self) -> Figures {
        Figures {
            counts: self.edge.counts(),
            hops: self.edge.hops().clone(),
        }
    }

    /// Gives the figures where they are wanted.
    fn figure(&self) {
        let wants = &self.shared.wants_figures;
        // Acquire pairs with Release in `Server::ask_for_figures`. One load a turn where nobody wants them.
        if wants.load(Ordering::Relaxed) && wants.swap(false, Ordering::Acquire) {
            let _ = self.figuring.try_send(Box::new(self.figures()));
        }
    }

    fn count_followers(&mut self) {
        let hub = self.edge.hub();
        if hub.follower_changes() == self.follower_changes {
            return;
        }
        self.follower_changes = hub.follower_changes();
        let all = &self.shared.followers;
        all.store(hub.all_followers(), Ordering::Relaxed);
        for (told, followed) in self.shared.followed.iter().zip(hub.followed()) {
            told.store(followed, Ordering::Relaxed);
        }
    }

    fn now(&self) -> Now {
        Now {
            ns: self.clock.stamp(),
            us: self.clock.wall_ns() / 1_000,
        }
    }

    fn due_ns(&self) -> u64 {
        let asked_ns = self.asked_ns.iter().flatten().min();
        let answer_ns = asked_ns.map_or(u64::MAX, |ns| ns + METRICS_ANSWER_NS);
        self.edge.due_ns().min(answer_ns)
    }

    /// Takes what it was told.
    fn hear(&mut self, now: Now) {
        for _ in 0..EDGE_TELL_MAX {
            let Ok(told) = self.telling.try_recv() else {
                return;
            };
            match told {
                Told::Events(events) => {
                    for event in events {
                        let outline = Outline {
                            kind: event.kind,
                            key: event.key.as_deref(),
                            value: &event.value,
                            time_ms: now.ms(),
                            born_ns: now.ns,
                        };
                        // Who publishes what its channel does not take learns it from the counts.
                        let _ = self.edge.publish(event.channel, &outline);
                    }
                }
                // Who asks again from here on waits for the next answer.
                Told::Health { why_not, ready } => {
                    self.asked_ns[kind(Waits::Health)] = None;
                    self.say_health(&why_not, ready, now);
                }
                Told::Metrics(exposition, media_type, body) => {
                    self.asked_ns[kind(Waits::Metrics(exposition))] = None;
                    let said = Said {
                        status: 200,
                        media_type,
                        body,
                    };
                    self.edge.answer(Waits::Metrics(exposition), &said, now);
                }
                Told::Headroom(permille) => self.edge.headroom(permille, now),
                Told::Drain => self.edge.drain(now),
            }
        }
    }

    fn say_health(&mut self, why_not: &[String], ready: bool, now: Now) {
        let words = |is_well: bool| {
            let body = match (why_not.is_empty(), is_well) {
                (true, true) => "ok\n".to_owned(),
                (true, false) => "the line takes no messages: it ends\n".to_owned(),
                (false, _) => why_not.iter().map(|why| format!("{why}\n")).collect(),
            };
            Said {
                status: if is_well { 200 } else { 503 },
                media_type: "text/plain; charset=utf-8",
                body: body.into(),
            }
        };
        let is_live = why_not.is_empty();
        self.edge.answer(Waits::Health, &words(is_live), now);
        self.edge
            .answer(Waits::Ready, &words(is_live && ready), now);
    }

    /// Asks for what clients wait for, and gives up what was asked for too long ago.
    fn ask(&mut self, now: Now) {
        let bits = self
            .edge
            .waits()
            .fold(0, |bits, waits| bits | 1 << kind(waits));
        for (nth, asked_ns) in self.asked_ns.iter_mut().enumerate() {
            if bits & 1 << nth == 0 {
                *asked_ns = None;
                continue;
            }
            if now.ns < *asked_ns.get_or_insert(now.ns) + METRICS_ANSWER_NS {
                continue;
            }
            *asked_ns = None;
            let said = Said {
                status: 503,
                media_type: "text/plain; charset=utf-8",
                body: Bytes::from_static(b"whoever holds the line does not answer\n"),
            };
            for waits in WAITS.into_iter().filter(|waits| kind(*waits) == nth) {
                self.edge.answer(waits, &said, now);
            }
        }
        if bits == 0 {
            return;
        }
        // Release pairs with Acquire in `Server::asked`.
        self.shared.asked.fetch_or(bits, Ordering::Release);
    }
}
