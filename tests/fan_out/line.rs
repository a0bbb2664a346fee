//! A source with keys, and workers that take their time, on virtual time: every run of it is the same.

#![allow(
    clippy::disallowed_types,
    reason = "a sink hands what it has seen to the test by a lock; nothing runs beside it"
)]

use std::sync::{Arc, Mutex};

use hopline::base::Reject;
use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::clock::VirtualTime;
use hopline::frame::View;
use hopline::io::{Driver, IoError, Virtual};
use hopline::stage::{
    Arrival, Context, Decode, Decoded, Delivery, Egress, Feed, Ingress, Leaving, Out, Port,
    SourceContext,
};
use hopline::topology::{Builder, Inline, Line, Report};

#[hopline::frame(schema = 911, version = 1, name = "single", key = "key")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Single {
    pub(crate) key: u64,
    pub(crate) value: u64,
}

/// Begins a message of several fragments.
#[hopline::frame(schema = 912, version = 1, name = "head", key = "key")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) key: u64,
    pub(crate) value: u64,
}

#[hopline::frame(schema = 913, version = 1, name = "part")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) value: u64,
    pub(crate) nth: u16,
}

#[hopline::frame_set]
#[derive(Debug)]
pub(crate) enum Mixed {
    Single(Single),
    Head(Head),
    Part(Part),
}

/// Fragments of a message that has some.
pub(crate) const PARTS: u16 = 3;

const OUT: Out<Mixed> = Out::at(0);

/// What is sent, and how long each of three workers takes for a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Whether every other message has fragments.
    pub(crate) fragments: bool,
    /// The key of every other message.
    pub(crate) hot_key: Option<u64>,
    pub(crate) services_ns: [u64; 3],
}

impl Run {
    /// Messages, one a microsecond.
    pub(crate) const MESSAGES: u64 = 60_000;
    /// Keys.
    pub(crate) const KEYS: u64 = 100;
    const GAP_NS: u64 = 1_000;

    fn load(self) -> Load {
        let message = |value| (value * Run::GAP_NS, self.key(value));
        Load {
            fragments: self.fragments,
            services_ns: self.services_ns,
            ..Load::of((0..Run::MESSAGES).map(message))
        }
    }

    /// The key of a message: of those that are not hot one after the other.
    fn key(&self, value: u64) -> u64 {
        match self.hot_key {
            Some(key) if value.is_multiple_of(2) => key,
            Some(_) => 1_000 + value / 2 % Run::KEYS,
            None => value / 2 % Run::KEYS,
        }
    }
}

impl Default for Run {
    fn default() -> Run {
        Run {
            fragments: false,
            hot_key: None,
            services_ns: [500; 3],
        }
    }
}

/// What is sent and when, and what the workers do.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// When each message is due after the start, in nanoseconds, and its key.
    pub(crate) messages: Arc<[(u64, u64)]>,
    /// Whether every other message has fragments.
    pub(crate) fragments: bool,
    pub(crate) services_ns: [u64; 3],
    /// When each takes nothing, from and until, in nanoseconds of the line's clock.
    pub(crate) stalls_ns: [(u64, u64); 3],
}

impl Load {
    /// Messages by their due times and keys, for workers that take no time.
    pub(crate) fn of(messages: impl IntoIterator<Item = (u64, u64)>) -> Load {
        Load {
            messages: messages.into_iter().collect(),
            fragments: false,
            services_ns: [0; 3],
            stalls_ns: [(0, 0); 3],
        }
    }
}

impl Decode for Load {
    fn ports(&self) -> &'static [Port] {
        const PORTS: &[Port] = &[Port::new::<Mixed>("out")];
        PORTS
    }

    fn max_emit(&self) -> usize {
        if self.fragments { PARTS.into() } else { 1 }
    }

    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let bytes: [u8; 8] = message.try_into().map_err(|_| Reject::BadLine)?;
        let value = u64::from_le_bytes(bytes);
        let (_, key) = self.messages[value as usize];
        if self.fragments && !value.is_multiple_of(2) {
            let parts = (1..PARTS).map(|nth| Part { value, nth });
            cx.emit_with(OUT, &Head { key, value }, parts);
        } else {
            cx.emit(OUT, &Single { key, value });
        }
        Ok(Decoded::default())
    }
}

struct Sender {
    load: Load,
    sent: u64,
    began_ns: u64,
}

impl Ingress for Sender {
    fn ports(&self) -> &'static [Port] {
        self.load.ports()
    }

    fn max_emit(&self) -> usize {
        self.load.max_emit()
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        self.began_ns = t0_ns;
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        for nth in 0..32 {
            let Some(due_ns) = self.next_due_ns() else {
                return Feed::Ended;
            };
            if cx.stamp() < due_ns || !cx.has_room() {
                return Feed::Live;
            }
            if nth == 0 {
                cx.begin_io();
            }
            let arrival = Arrival {
                bytes: &self.sent.to_le_bytes(),
                t_intended_ns: due_ns,
                scheduled: true,
                received_wall_ns: None,
                peer: None,
            };
            cx.message(arrival, &mut self.load);
            self.sent += 1;
        }
        Feed::Live
    }

    fn next_due_ns(&self) -> Option<u64> {
        let next = self.load.messages.get(self.sent as usize);
        next.map(|(after_ns, _)| self.began_ns + after_ns)
    }
}

/// A message that a worker has handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    pub(crate) key: u64,
    pub(crate) value: u64,
    /// Its turn among those of all workers.
    pub(crate) done: u64,
}

/// What a worker has handled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) values: Vec<Keyed>,
    /// Fragments beyond the first ones.
    pub(crate) parts: u64,
}

/// Takes a message when it is done with the one before: a server beside the loop's time.
#[derive(Clone)]
struct Worker {
    time: VirtualTime,
    service_ns: u64,
    /// When it takes nothing, from and until.
    stall_ns: (u64, u64),
    busy_until_ns: u64,
    done: Arc<AtomicU64>,
    seen: Arc<Mutex<Seen>>,
    /// The message in hand and its next fragment.
    in_hand: (u64, u16),
}

impl Egress for Worker {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if frame.envelope.flags.is_first() {
            let now_ns = self.time.now_ns();
            let stalls = self.stall_ns.0 <= now_ns && now_ns < self.stall_ns.1;
            if stalls {
                self.busy_until_ns = self.busy_until_ns.max(now_ns);
            }
            if stalls || now_ns < self.busy_until_ns {
                return Delivery::NotNow;
            }
            let began_ns = self.busy_until_ns.max(frame.envelope.t_offer_ns);
            self.busy_until_ns = began_ns + self.service_ns;
        }
        let mut seen = self.seen.lock().expect("nobody panicked with it");
        let (key, value) = match frame.envelope.kind {
            911 => {
                let single = View::<Single>::read(frame.payload).expect("a single");
                (single.key(), single.value())
            }
            912 => {
                let head = View::<Head>::read(frame.payload).expect("a head");
                self.in_hand = (head.value(), 1);
                (head.key(), head.value())
            }
            _ => {
                let part = View::<Part>::read(frame.payload).expect("a part");
                assert_eq!((part.value(), part.nth()), self.in_hand);
                self.in_hand.1 += 1;
                seen.parts += 1;
                return Delivery::Sent;
            }
        };
        let done = self.done.fetch_add(1, Ordering::Relaxed);
        seen.values.push(Keyed { key, value, done });
        Delivery::Sent
    }
}

/// in → a, b, c, where `connect` joins them; and what they have handled.
pub(crate) fn run(
    run: Run,
    connect: impl FnOnce(&mut Builder),
) -> (Report, Vec<(&'static str, Seen)>) {
    run_load(run.load(), connect)
}

/// The same under another load.
pub(crate) fn run_load(
    load: Load,
    connect: impl FnOnce(&mut Builder),
) -> (Report, Vec<(&'static str, Seen)>) {
    let inline = Inline::new(Driver::Virtual(Virtual::new()));
    let mut line = Line::builder("divided");
    line.source(
        "in",
        Sender {
            load: load.clone(),
            sent: 0,
            began_ns: 0,
        },
    );
    let done = Arc::new(AtomicU64::new(0));
    let workers = ["a", "b", "c"].into_iter();
    let workers = workers.zip(load.services_ns.into_iter().zip(load.stalls_ns));
    let workers: Vec<(&str, Worker)> = workers
        .map(|(name, (service_ns, stall_ns))| {
            let worker = Worker {
                time: inline.clock.1.clone(),
                service_ns,
                stall_ns,
                busy_until_ns: 0,
                done: done.clone(),
                seen: Arc::default(),
                in_hand: (0, 0),
            };
            (name, worker)
        })
        .collect();
    for (name, worker) in &workers {
        line.sink(name, worker.clone());
    }
    connect(&mut line);
    let line = line.build().expect("a line");
    let (report, _) = line.run_inline(inline, None).expect("it runs");
    let seen = workers.into_iter().map(|(name, worker)| {
        let seen = worker.seen.lock().expect("nobody panicked with it").clone();
        (name, seen)
    });
    (report, seen.collect())
}
