//! An exchange: serves captures and made-up markets over WebSocket, each message at its time, to whoever is connected.
//!
//! One thread serves all feeds, each at an address of its own. As with a real exchange the market does not wait: what is due
//! while nobody is connected is missed, and the report names it as a gap. Only its beginning waits, for the first client; and
//! a feed that goes as fast as it can (`max`) goes as fast as its clients take it.
//!
//! ```text
//!   due = served + missed + cut
//! ```
//!
//! On request it misbehaves, once for each wish: it cuts a connection in the middle of a message, closes it with a code, or
//! falls silent and keeps it, so that only pings can tell.
//!
//! Invariant: memory is bounded whatever clients do: their number, what they ask and what waits for them.

mod client;
pub(crate) mod command;
mod feed;

use std::net::SocketAddr;
use std::path::PathBuf;

use hopline::base::primitive::Arc;
use hopline::clock::Clock;
use hopline::io::{Driver, Endpoint};

use crate::exit::Failure;
use crate::feeder::{Feeder, Shared};
use crate::sender::Content;
use feed::Feed;
pub use feed::{ExchangeReport, Gap};

/// Longest that the thread rests before it looks for a stop, in nanoseconds.
const LOOK_NS: u64 = 5_000_000;

/// How long what waits for clients may take to leave after the end, in nanoseconds.
const FLUSH_NS: u64 = 500_000_000;

/// How long clients may take to agree to the end, in nanoseconds: what the kernel holds for one that is slow has to be read first.
const GOODBYE_NS: u64 = 5_000_000_000;

/// How it misbehaves: each of them once, after so many messages on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Cuts the connection in the middle of the next message.
    pub(crate) cut_after: Option<u64>,
    /// Closes it, with that code.
    pub(crate) close_after: Option<(u64, u16)>,
    /// Keeps it, and neither reads nor writes any more.
    pub(crate) silent_after: Option<u64>,
}

/// What is served at an address.
#[derive(Clone, Debug)]
pub(crate) struct FeedSpec {
    /// The source that it is for, by name.
    pub(crate) source: String,
    /// Where it listens.
    pub(crate) at: SocketAddr,
    pub(crate) content: Content,
    /// A capture whose gaps between messages take the place of the arrivals of what is made up.
    pub(crate) recorded: Option<PathBuf>,
    pub(crate) wishes: Wishes,
}

/// The serving thread, from outside.
#[derive(Debug)]
pub(crate) struct Exchange {
    feeder: Feeder<Vec<ExchangeReport>>,
    at: Vec<SocketAddr>,
}

impl Exchange {
    /// Listens for clients, and serves the first that come. Nothing that is due later than `most_ns` after a feed's beginning
    /// is served.
    pub(crate) fn open(
        specs: Vec<FeedSpec>,
        clock: Clock,
        most_ns: Option<u64>,
    ) -> Result<Exchange, Failure> {
        let sources = specs.iter().map(|spec| spec.source.clone()).collect();
        let (feeder, at) = Feeder::open("exchange", sources, move |shared| {
            let (open, at) = Loop::open(specs, clock, most_ns, shared)?;
            Ok((move || open.run(), at))
        })?;
        Ok(Exchange { feeder, at })
    }

    /// Where it listens, in the order of the feeds.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.at
    }

    /// Serves no more.
    pub(crate) fn stop(&self) {
        self.feeder.stop();
    }

    /// Whether all that will be served has left.
    pub(crate) fn is_done(&self) -> bool {
        self.feeder.is_done()
    }

    /// Messages that have left to each source so far.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&str, u64)> {
        self.feeder.sent()
    }

    /// Closes all connections, ends the thread and says what it did.
    pub(crate) fn finish(self) -> Vec<ExchangeReport> {
        self.feeder.finish()
    }
}

struct Loop {
    driver: Driver,
    clock: Clock,
    feeds: Vec<Feed>,
    /// When nothing more is served, in nanoseconds from the beginning of each feed.
    most_ns: u64,
    shared: Arc<Shared>,
}

impl Loop {
    fn open(
        specs: Vec<FeedSpec>,
        clock: Clock,
        most_ns: Option<u64>,
        shared: Arc<Shared>,
    ) -> Result<(Loop, Vec<SocketAddr>), Failure> {
        let mut driver = Driver::real()?;
        let (mut feeds, mut at) = (Vec::new(), Vec::new());
        for spec in specs {
            let feed = Feed::open(spec, &mut driver)?;
            match driver.listener_endpoint(feed.listener())? {
                Endpoint::Tcp(addr) => at.push(addr),
                other => return Err(Failure::io(format!("{other} is no TCP address"), "")),
            }
            feeds.push(feed);
        }
        let open = Loop {
            driver,
            clock,
            feeds,
            most_ns: most_ns.unwrap_or(u64::MAX),
            shared,
        };
        Ok((open, at))
    }

    fn run(mut self) -> Vec<ExchangeReport> {
        let mut ends_ns = None;
        while !self.shared.is_finished() {
            let now_ns = self.clock.stamp();
            let most_ns = match self.shared.is_stopped() {
                true => 0,
                false => self.most_ns,
            };
            let (mut next_ns, mut over, mut left) = (now_ns + LOOK_NS, true, false);
            for (feed, served) in self.feeds.iter_mut().zip(self.shared.counts()) {
                let due_ns = feed.turn(&mut self.driver, now_ns, most_ns);
                next_ns = next_ns.min(due_ns);
                over &= feed.is_over();
                left |= feed.has_output();
                served.set(feed.served());
            }
            let until_ns = *ends_ns.get_or_insert(now_ns.saturating_add(FLUSH_NS));
            if !over {
                ends_ns = None;
            } else if !left || now_ns >= until_ns {
                self.shared.set_done();
            }
            let rest_ns = next_ns.saturating_sub(self.clock.stamp());
            // Without a rest it only looks who has come. Without a poll the thread offers its core instead of spinning.
            if self.driver.poll(now_ns, Some(rest_ns)).is_err() {
                std::thread::yield_now();
            }
        }
        self.say_goodbye();
        let driver = &mut self.driver;
        let feeds = self.feeds.into_iter();
        feeds.map(|feed| feed.finish(driver)).collect()
    }

    /// Closes all connections, and waits until the clients agree: then they have read all.
    fn say_goodbye(&mut self) {
        for feed in &mut self.feeds {
            feed.close();
        }
        let until_ns = self.clock.stamp().saturating_add(GOODBYE_NS);
        loop {
            let now_ns = self.clock.stamp();
            for feed in &mut self.feeds {
                feed.turn(&mut self.driver, now_ns, 0);
            }
            let all_gone = self.feeds.iter().all(Feed::is_left);
            if all_gone || now_ns >= until_ns || self.driver.poll(now_ns, Some(LOOK_NS)).is_err() {
                return;
            }
        }
    }
}
