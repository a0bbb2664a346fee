//! A server that sends back every WebSocket message, on one loop: the smallest thing that has all of
//! `wire::websocket` and `io::Driver` in it. Conformance suites and benches are run against it.
//!
//! ```no_run
//! use hopline::base::primitive::AtomicBool;
//! use hopline::clock::Clock;
//! use hopline::io::Driver;
//! use hopline_harness::web_echo::{Echo, EchoSpec, Rest};
//!
//! let mut driver = Driver::real()?;
//! let mut echo = Echo::open(EchoSpec::at("127.0.0.1:9001".parse().unwrap()), &mut driver)?;
//! echo.run(&mut driver, &Clock::calibrated(), Rest::Parks, &AtomicBool::new(false))?;
//! # Ok::<(), hopline::io::IoError>(())
//! ```
//!
//! Up to [`HOT_MAX`] clients are read in every turn, without a poll in between; of more, those that a
//! poll has reported. A client that does not read what comes back is not read from either, so nothing
//! is lost and nothing grows.
//!
//! Invariant: what a client gets is what it sent, in order; its memory is bounded by its limits.

mod client;

use std::collections::VecDeque;
use std::net::SocketAddr;

use hopline::base::limits::{CONNECTIONS_MAX, PARK_MAX_NS, WEBSOCKET_READ_BYTES_MAX};
use hopline::base::primitive::{AtomicBool, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::io::{Driver, Endpoint, IoError, ListenerId, StreamId, StreamSpec};

use client::{Client, Served};

/// Clients up to which each is read in every turn: trying all of them costs about as much as one poll.
pub const HOT_MAX: usize = 4;

/// Longest message that is sent back unless told otherwise, in bytes: what conformance suites send.
pub const MESSAGE_BYTES_MAX: usize = WEBSOCKET_READ_BYTES_MAX;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// Turns between two looks for new clients, while few are served.
const LOOK_TURNS: u32 = 64;

/// Clients accepted, and clients served, in a turn.
const ACCEPTS_PER_TURN: usize = 16;
const SERVED_PER_TURN: usize = 64;

/// Time between two looks for clients whose time is up, in nanoseconds.
const EXPIRE_NS: u64 = 100_000_000;

/// What an echo serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoSpec {
    /// Where it listens; port 0 lets the system choose.
    pub at: SocketAddr,
    /// Most clients at a time; one more is hung up on.
    pub clients_max: usize,
    /// Longest message, in bytes; a longer one ends its connection with 1009.
    pub message_bytes_max: usize,
}

impl EchoSpec {
    /// At `at`, for as many clients as a listening source may have, each with messages of up to
    /// [`MESSAGE_BYTES_MAX`].
    #[must_use]
    pub fn at(at: SocketAddr) -> EchoSpec {
        EchoSpec {
            at,
            clients_max: CONNECTIONS_MAX,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

/// What its loop does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It looks again at once: the core is its own.
    Spins,
    /// It waits in the driver's poll.
    Parks,
}

/// What an echo did. Counts only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoCounts {
    /// Clients whose handshake was accepted.
    pub opened: u64,
    /// Those that sent no handshake in good order, or not in time.
    pub refused: u64,
    /// Those that came when there were as many as may be.
    pub too_many: u64,
    /// Messages sent back.
    pub messages: u64,
    /// Clients that broke a rule and were closed for it.
    pub failed: u64,
}

/// A server that sends back what it gets.
#[derive(Debug)]
pub struct Echo {
    listener: ListenerId,
    spec: EchoSpec,
    /// By the places of their connections.
    clients: Vec<Option<Box<Client>>>,
    live: Vec<StreamId>,
    /// Clients that may have more to read, and that no poll will report for it.
    again: VecDeque<StreamId>,
    /// Clients for whom something waits.
    waiting: usize,
    turns: u32,
    expire_at_ns: u64,
    buffer: Box<[u8]>,
    counts: EchoCounts,
}

impl Echo {
    /// Listens. Allocates.
    ///
    /// # Errors
    /// The address is in use, not of this machine or not allowed.
    pub fn open(spec: EchoSpec, driver: &mut Driver) -> Result<Echo, IoError> {
        let listener = driver.listen(&StreamSpec::at(Endpoint::Tcp(spec.at)))?;
        Ok(Echo {
            listener,
            clients: Vec::new(),
            live: Vec::with_capacity(spec.clients_max),
            again: VecDeque::with_capacity(spec.clients_max),
            spec,
            waiting: 0,
            turns: 0,
            expire_at_ns: 0,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            counts: EchoCounts::default(),
        })
    }

    /// Where it listens, with the port that the system chose.
    ///
    /// # Errors
    /// What the system said.
    pub fn endpoint(&self, driver: &Driver) -> Result<Endpoint, IoError> {
        driver.listener_endpoint(self.listener)
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> EchoCounts {
        self.counts
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.live.len()
    }

    /// Serves until `ends` is raised; a loop that parks sees that within 50 ms.
    ///
    /// # Errors
    /// What the system said to a poll.
    pub fn run(
        &mut self,
        driver: &mut Driver,
        clock: &Clock,
        rest: Rest,
        ends: &AtomicBool,
    ) -> Result<(), IoError> {
        // Relaxed: the flag publishes nothing but itself.
        while !ends.load(Ordering::Relaxed) {
            let now_ns = clock.stamp();
            if self.turn(driver, now_ns)? || !self.again.is_empty() {
                continue;
            }
            match rest {
                Rest::Spins => spin_hint(),
                Rest::Parks => drop(driver.poll(now_ns, Some(PARK_MAX_NS))?),
            }
        }
        Ok(())
    }

    /// Does what there is to do, without waiting, and says whether there was anything.
    ///
    /// # Errors
    /// What the system said to a poll.
    pub fn turn(&mut self, driver: &mut Driver, now_ns: u64) -> Result<bool, IoError> {
        self.turns = self.turns.wrapping_add(1);
        let due = self.turns.is_multiple_of(LOOK_TURNS);
        if due || self.is_crowded() || self.waiting > 0 {
            driver.poll(now_ns, Some(0))?;
        }
        let mut moved = false;
        if driver.listener_maybe_readable(self.listener) {
            moved |= self.accept(driver, now_ns);
        }
        while let Some(id) = driver.listener_next_writable(self.listener) {
            moved |= self.serve(driver, id, now_ns);
        }
        if self.is_crowded() {
            moved |= self.serve_reported(driver, now_ns);
        } else {
            while driver.listener_next_ready(self.listener).is_some() {}
            while self.take_again().is_some() {}
            for nth in (0..self.live.len()).rev() {
                moved |= self.serve(driver, self.live[nth], now_ns);
            }
        }
        if now_ns >= self.expire_at_ns {
            self.expire_at_ns = now_ns + EXPIRE_NS;
            self.expire(driver, now_ns);
        }
        Ok(moved)
    }

    fn is_crowded(&self) -> bool {
        self.live.len() > HOT_MAX
    }

    /// Serves those that a poll has reported, and one of those that may have more; where nothing is
    /// reported, all of these.
    fn serve_reported(&mut self, driver: &mut Driver, now_ns: u64) -> bool {
        let mut moved = false;
        for _ in 0..SERVED_PER_TURN {
            let Some(id) = driver.listener_next_ready(self.listener) else {
                break;
            };
            moved |= self.serve(driver, id, now_ns);
        }
        let many = if moved { 1 } else { SERVED_PER_TURN };
        for _ in 0..many.min(self.again.len()) {
            if let Some(id) = self.take_again() {
                moved |= self.serve(driver, id, now_ns);
            }
        }
        moved
    }

    fn take_again(&mut self) -> Option<StreamId> {
        let id = self.again.pop_front()?;
        if let Some(client) = self.client(id) {
            client.listed = false;
        }
        Some(id)
    }

    fn accept(&mut self, driver: &mut Driver, now_ns: u64) -> bool {
        let mut moved = false;
        for _ in 0..ACCEPTS_PER_TURN {
            let Ok(Some(id)) = driver.accept(self.listener) else {
                break;
            };
            moved = true;
            if self.live.len() >= self.spec.clients_max {
                self.counts.too_many += 1;
                let _ = driver.stream_close(id);
                continue;
            }
            if self.clients.len() <= id.place() {
                self.clients.resize_with(id.place() + 1, || None);
            }
            let message_bytes_max = self.spec.message_bytes_max;
            let client = Client::new(id, self.live.len(), message_bytes_max, now_ns);
            self.clients[id.place()] = Some(Box::new(client));
            self.live.push(id);
            if self.live.len() == HOT_MAX + 1 {
                // What was read in every turn may have more that no poll will report.
                for nth in 0..self.live.len() {
                    self.list(self.live[nth]);
                }
            }
            self.list(id);
        }
        moved
    }

    fn client(&mut self, id: StreamId) -> Option<&mut Client> {
        let client = self.clients.get_mut(id.place())?.as_deref_mut();
        client.filter(|client| client.id == id)
    }

    /// Has it served again though no poll reports it.
    fn list(&mut self, id: StreamId) {
        if let Some(client) = self.client(id)
            && !core::mem::replace(&mut client.listed, true)
        {
            self.again.push_back(id);
        }
    }

    /// Reads from a client, sends back, and says whether there was anything to do.
    fn serve(&mut self, driver: &mut Driver, id: StreamId, now_ns: u64) -> bool {
        let client = self.clients.get_mut(id.place());
        let Some(client) = client.and_then(Option::as_deref_mut) else {
            return false;
        };
        let waited = client.has_output();
        let served = client.serve(driver, &mut self.buffer, &mut self.counts, now_ns);
        let waits = client.has_output() && served != Served::Gone;
        self.waiting = self.waiting + usize::from(waits) - usize::from(waited);
        match served {
            Served::Nothing => false,
            Served::Dry => true,
            Served::More => {
                if self.is_crowded() {
                    self.list(id);
                }
                true
            }
            Served::Gone => {
                self.hang_up(driver, id);
                true
            }
        }
    }

    fn hang_up(&mut self, driver: &mut Driver, id: StreamId) {
        let client = self.clients.get_mut(id.place()).and_then(Option::take);
        let Some(client) = client else {
            return;
        };
        self.live.swap_remove(client.nth);
        if let Some(moved) = self.live.get(client.nth).copied()
            && let Some(other) = self.client(moved)
        {
            other.nth = client.nth;
        }
        if client.listed {
            self.again.retain(|other| *other != id);
        }
        let _ = driver.stream_close(id);
    }

    /// Hangs up on those that had their time: for a handshake, or to agree to their end.
    fn expire(&mut self, driver: &mut Driver, now_ns: u64) {
        for nth in (0..self.live.len()).rev() {
            let id = self.live[nth];
            let Some(client) = self.client(id) else {
                continue;
            };
            if client.is_late(now_ns) {
                let (asked, waited) = (client.is_asking(), client.has_output());
                self.counts.refused += u64::from(asked);
                self.waiting -= usize::from(waited);
                self.hang_up(driver, id);
            }
        }
    }

    /// Hangs up on all and stops listening.
    pub fn close(mut self, driver: &mut Driver) -> EchoCounts {
        while let Some(id) = self.live.last().copied() {
            self.hang_up(driver, id);
        }
        let _ = driver.listener_close(self.listener);
        self.counts
    }
}
