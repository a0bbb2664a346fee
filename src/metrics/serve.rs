//! The server of a line's page: a listener, a few connections, a thread.
//!
//! ```text
//!   thread "metrics"                         whoever holds the line
//!     request ─ asked: a bit ──────────────→ Server::answer, fifty times a second: one load; takes a snapshot if it is asked
//!     response ←─ a place for two answers ←─ snapshot or health, then a wake
//! ```
//!
//! Invariant: whoever holds the line never waits for this thread; this thread waits only in its driver's poll, and for no
//! answer longer than [`METRICS_ANSWER_NS`].

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::family::Id;
use super::machine::Machine;
use super::page::Page;
use super::session::{Answer, Cut, Session, Wants};
use super::snapshot::Snapshot;
use super::text::{Format, write};
use crate::base::limits::{METRICS_ANSWER_NS, METRICS_CONNECTIONS_MAX};
use crate::base::primitive::{Arc, AtomicBool, AtomicU32, Ordering};
use crate::clock::Clock;
use crate::edge::Figures;
use crate::io::{Driver, Endpoint, IoError, ListenerId, StreamId, StreamRead, StreamSpec};
use crate::io::{StreamWrite, Waker};
use crate::topology::{Running, Window};

/// Bytes read at once: a request is one packet.
const READ_BYTES: usize = 4 << 10;

/// Longest sleep of the thread, in nanoseconds: what is due wakes it before.
const SLEEP_NS: u64 = 1_000_000_000;

/// Codes that are answered; what is none of these is counted as the last one.
const CODES: [(u16, &str); 12] = [
    (200, "200"),
    (400, "400"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (411, "411"),
    (413, "413"),
    (414, "414"),
    (431, "431"),
    (503, "503"),
    (505, "505"),
    (501, "501"),
];

/// What is asked of whoever holds the line.
const PAGE: u32 = 1;
const HEALTH: u32 = 2;

/// What both sides see.
#[derive(Debug, Default)]
struct Shared {
    asked: AtomicU32,
    quits: AtomicBool,
}

/// What whoever holds the line answers.
enum Told {
    Snapshot(Box<Snapshot>),
    /// Why it is not alive, and whether it ends.
    Health(Vec<String>, bool),
    /// The line has ended, and this is what is said of it from here on.
    Last(Box<Snapshot>),
}

/// Serves the page of a line on a thread of its own, which is not pinned.
///
/// The holder of the line calls [`Server::answer`] whenever it looks at the line, [`Server::last`] at the end. Dropping it
/// closes the port.
///
/// ```no_run
/// use hopline::metrics::{Server, Snapshot};
/// use hopline::topology::{Running, Stop};
/// # fn f(mut running: Running) -> Result<(), hopline::io::IoError> {
/// let mut server = Server::open("127.0.0.1:9464".parse().unwrap())?;
/// let cause = running.watch(&Stop::when_done(), |running| server.answer(running));
/// running.drain_watched(cause, |running| server.answer(running));
/// let last = Snapshot::take(&mut running, None);
/// server.last(last.ended(running.end(cause)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    answers: SyncSender<Told>,
    waker: Waker,
    window: Option<Window>,
    /// The edge of the line, where it has one.
    edge: Option<Arc<Figures>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at that address and starts the thread; port 0 lets the system choose.
    ///
    /// Open it on a thread that is not pinned: the new one inherits its cores.
    ///
    /// # Errors
    /// The address is in use, not of this machine or not allowed; the system gives no poll or no thread.
    pub fn open(at: SocketAddr) -> Result<Server, IoError> {
        let mut driver = Driver::real()?;
        let listener = driver.listen(&StreamSpec {
            backlog: METRICS_CONNECTIONS_MAX as u32,
            ..StreamSpec::at(at)
        })?;
        let address = match driver.listener_endpoint(listener)? {
            Endpoint::Tcp(address) => address,
            _ => at,
        };
        let (shared, waker) = (Arc::new(Shared::default()), driver.waker());
        // A snapshot and a word of health may be on their way at once; what finds no room is asked for again.
        let (answers, told) = sync_channel(2);
        let clock = Clock::os();
        let serving = Serving {
            machine: Machine::new(&clock),
            driver,
            clock,
            listener,
            shared: shared.clone(),
            told,
            last: None,
            sessions: Vec::with_capacity(METRICS_CONNECTIONS_MAX),
            responses: [0; CODES.len()],
            cuts: [0; Cut::ALL.len()],
        };
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || serving.run())
            .map_err(|error| IoError::from_os(&error, "start the thread of metrics"))?;
        Ok(Server {
            address,
            shared,
            answers,
            waker,
            window: None,
            edge: None,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what was asked of the line since the last call. One load where nothing was; never waits.
    ///
    /// Peaks since the last page are kept in a window of the line, which is opened by the first call.
    pub fn answer(&mut self, running: &mut Running) {
        self.window = self.window.or_else(|| running.window());
        if self.shared.asked.load(Ordering::Relaxed) == 0 {
            return;
        }
        // Acquire pairs with Release in `Serving::ask`. Cleared before the look: what is asked from here on sees the next one.
        let asked = self.shared.asked.swap(0, Ordering::Acquire);
        if asked & PAGE != 0 {
            let mut snapshot = Snapshot::take(running, self.window);
            if let Some(edge) = &self.edge {
                snapshot = snapshot.with_edge(edge);
            }
            self.tell(Told::Snapshot(Box::new(snapshot)));
        } else if asked & HEALTH != 0 {
            let why_not = running.health().why_not();
            self.tell(Told::Health(why_not, running.is_ending()));
        }
    }

    /// The edge of the line is so: pages have it from here on.
    pub fn tell_edge(&mut self, figures: Arc<Figures>) {
        self.edge = Some(figures);
    }

    /// From here on it answers by itself, with what is said here of a line that has ended.
    pub fn last(&mut self, snapshot: Snapshot) {
        self.tell(Told::Last(Box::new(snapshot)));
    }

    fn tell(&self, told: Told) {
        match told {
            // The thread takes what is there within microseconds, and there is but one such word.
            Told::Last(_) => drop(self.answers.send(told)),
            told => drop(self.answers.try_send(told)),
        }
        // A waker that fails leaves the thread to the end of its sleep, which is bounded.
        let _ = self.waker.wake();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Release pairs with Acquire in `Serving::run`.
        self.shared.quits.store(true, Ordering::Release);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // It panics nowhere that a scraper could bring about; if it did, there is no page, and the line has its report.
            let _ = thread.join();
        }
    }
}

/// The thread.
struct Serving {
    driver: Driver,
    clock: Clock,
    listener: ListenerId,
    shared: Arc<Shared>,
    told: Receiver<Told>,
    machine: Machine,
    /// What is said of a line that has ended.
    last: Option<Box<Snapshot>>,
    sessions: Vec<(StreamId, Session)>,
    /// Responses by the place of their code in [`CODES`].
    responses: [u64; CODES.len()],
    /// Connections ended from here, by their place in [`Cut::ALL`].
    cuts: [u64; Cut::ALL.len()],
}

impl Serving {
    fn run(mut self) {
        // Acquire pairs with Release in the drop of the handle.
        while !self.shared.quits.load(Ordering::Acquire) {
            let now_ns = self.clock.stamp();
            let wait_ns = self.due_ns().saturating_sub(now_ns).min(SLEEP_NS);
            if self.driver.poll(now_ns, Some(wait_ns)).is_err() {
                // Without a poll there is no page; the line goes on.
                return;
            }
            self.hear();
            self.accept();
            self.serve();
        }
    }

    /// When something has to be done, whatever comes.
    fn due_ns(&self) -> u64 {
        let each = self.sessions.iter().map(|(_, session)| {
            let waits = session.waits();
            waits.map_or(session.due_ns(), |(_, since_ns)| {
                since_ns + METRICS_ANSWER_NS
            })
        });
        each.min().unwrap_or(u64::MAX)
    }

    /// Takes what was answered.
    fn hear(&mut self) {
        while let Ok(told) = self.told.try_recv() {
            match told {
                Told::Snapshot(snapshot) => {
                    self.say_health(&snapshot.why_not, snapshot.is_ending);
                    self.say_page(&snapshot);
                }
                Told::Health(why_not, is_ending) => self.say_health(&why_not, is_ending),
                Told::Last(snapshot) => {
                    // The threads of loops are gone by now; what was read of them stays.
                    self.machine.look(&snapshot.report);
                    self.last = Some(snapshot);
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok(Some(id)) = self.driver.accept(self.listener) {
            if self.sessions.len() == METRICS_CONNECTIONS_MAX && !self.make_room() {
                self.cuts[Cut::Full as usize] += 1;
                let _ = self.driver.stream_close(id);
                continue;
            }
            let session = Session::new(self.clock.stamp());
            self.sessions.push((id, session));
        }
    }

    /// Ends the connection that has been idle for longest; there may be none.
    fn make_room(&mut self) -> bool {
        // One whose request lies in its socket is not idle.
        for at in 0..self.sessions.len() {
            self.read(at);
        }
        let idle = self.sessions.iter().enumerate();
        let idle = idle.filter(|(_, (_, session))| session.is_idle());
        let Some((at, _)) = idle.min_by_key(|(_, (_, session))| session.due_ns()) else {
            return false;
        };
        let (id, _) = self.sessions.swap_remove(at);
        self.cuts[Cut::Full as usize] += 1;
        let _ = self.driver.stream_close(id);
        true
    }

    /// Reads and writes until there is nothing more to do without waiting.
    fn serve(&mut self) {
        loop {
            let mut has_moved = false;
            for at in 0..self.sessions.len() {
                has_moved |= self.read(at);
            }
            has_moved |= self.ask();
            for at in 0..self.sessions.len() {
                has_moved |= self.write(at);
            }
            self.expire();
            self.clean_up();
            if !has_moved {
                return;
            }
        }
    }

    fn read(&mut self, at: usize) -> bool {
        let (id, session) = &mut self.sessions[at];
        let mut buf = [0; READ_BYTES];
        let mut has_moved = false;
        while session.wants_input() && self.driver.stream_maybe_readable(*id) {
            match self.driver.stream_read(*id, &mut buf) {
                Ok(StreamRead::Bytes(count)) => {
                    session.take(&buf[..count], self.clock.stamp());
                    has_moved = true;
                }
                Ok(StreamRead::WouldBlock) => break,
                // One that broke off is found to be so when it is written to, if it ever is.
                Ok(StreamRead::End | StreamRead::Reset) | Err(_) => {
                    session.end_of_input();
                    has_moved = true;
                }
            }
        }
        has_moved
    }

    /// Passes on what connections wait for, or answers it where that can be done here.
    fn ask(&mut self) -> bool {
        let waits = |(_, session): &(StreamId, Session)| session.waits();
        if !self.sessions.iter().any(|one| waits(one).is_some()) {
            return false;
        }
        if let Some(last) = self.last.take() {
            self.say_health(&last.why_not, last.is_ending);
            self.say_page(&last);
            self.last = Some(last);
            return true;
        }
        let now_ns = self.clock.stamp();
        let mut asks = 0;
        let mut has_moved = false;
        for (_, session) in &mut self.sessions {
            let Some((wants, since_ns)) = session.waits() else {
                continue;
            };
            if now_ns >= since_ns + METRICS_ANSWER_NS {
                let words = "the line's holder has not answered in time\n";
                session.answer(&Answer::words(503, words), now_ns);
                has_moved = true;
                continue;
            }
            asks |= match wants {
                Wants::Page(_) => PAGE,
                Wants::Health | Wants::Readiness => HEALTH,
            };
        }
        // Release pairs with Acquire in `Server::answer`.
        self.shared.asked.fetch_or(asks, Ordering::Release);
        has_moved
    }

    fn say_health(&mut self, why_not: &[String], is_ending: bool) {
        let now_ns = self.clock.stamp();
        let lines: String = why_not.iter().map(|why| format!("{why}\n")).collect();
        for (_, session) in &mut self.sessions {
            let answer = match session.waits() {
                None | Some((Wants::Page(_), _)) => continue,
                Some(_) if !lines.is_empty() => Answer::words(503, &lines),
                Some((Wants::Readiness, _)) if is_ending => {
                    Answer::words(503, "the line drains or has ended\n")
                }
                Some((Wants::Readiness, _)) => Answer::words(200, "ready\n"),
                Some(_) => Answer::words(200, "alive\n"),
            };
            session.answer(&answer, now_ns);
        }
    }

    /// Answers all who wait for a page.
    fn say_page(&mut self, snapshot: &Snapshot) {
        let now_ns = self.clock.stamp();
        let waits = |session: &Session| match session.waits() {
            Some((Wants::Page(format), since_ns)) => Some((format, since_ns)),
            _ => None,
        };
        let all = self.sessions.iter();
        let oldest_ns = all.filter_map(|(_, one)| waits(one)).map(|(_, at)| at);
        let Some(since_ns) = oldest_ns.min() else {
            return;
        };
        let mut page = Page::of(snapshot, &mut self.machine);
        self.fill(&mut page, now_ns.saturating_sub(since_ns));
        let mut made: [Option<Answer>; 2] = [None, None];
        for (_, session) in &mut self.sessions {
            let Some((format, _)) = waits(session) else {
                continue;
            };
            let answer = made[format as usize].get_or_insert_with(|| text(&page, format));
            session.answer(answer, now_ns);
        }
    }

    /// What the server says of itself.
    fn fill(&self, page: &mut Page, wait_ns: u64) {
        for ((_, code), count) in CODES.iter().zip(self.responses) {
            page.count(Id::PageResponses, &[code], count);
        }
        page.count(Id::PageConnections, &[], self.sessions.len() as u64);
        for (cut, count) in Cut::ALL.iter().zip(self.cuts) {
            page.count(Id::PageCut, &[cut.name()], count);
        }
        page.span(Id::PageWait, &[], wait_ns);
    }

    fn write(&mut self, at: usize) -> bool {
        let (id, session) = &mut self.sessions[at];
        if let Some(status) = session.take_status() {
            let place = CODES.iter().position(|(code, _)| *code == status);
            self.responses[place.unwrap_or(CODES.len() - 1)] += 1;
        }
        let mut has_moved = false;
        while !session.pending().is_empty() && self.driver.stream_maybe_writable(*id) {
            match self.driver.stream_write(*id, session.pending()) {
                Ok(StreamWrite::Bytes(count)) => session.written(count, self.clock.stamp()),
                Ok(StreamWrite::WouldBlock) => break,
                Ok(StreamWrite::Broken) | Err(_) => session.hang_up(),
            }
            has_moved = true;
        }
        has_moved
    }

    fn expire(&mut self) {
        let now_ns = self.clock.stamp();
        for (id, session) in &mut self.sessions {
            if let Some(cut) = session.expire(now_ns) {
                self.cuts[cut as usize] += 1;
                if !session.is_over() {
                    // A last word, which is a packet: it finds room, or nobody reads anyway.
                    let _ = self.driver.stream_write(*id, session.pending());
                    session.hang_up();
                }
            }
        }
    }

    fn clean_up(&mut self) {
        let driver = &mut self.driver;
        self.sessions.retain(|(id, session)| {
            if session.is_over() {
                let _ = driver.stream_close(*id);
            }
            !session.is_over()
        });
    }
}

fn text(page: &Page, format: Format) -> Answer {
    Answer {
        status: 200,
        media_type: format.media_type(),
        body: Arc::new(write(page, format)),
    }
}
