//! What is served at one address: a capture or a made-up market, to the clients that are there.
//!
//! Invariant: whatever was due is counted once, as served, missed or cut.

use std::collections::BTreeMap;
use std::fmt::Display;

use hopline::budget::report::Percentiles;
use hopline::hist::Totals;
use hopline::io::{Driver, Endpoint, ListenerId, StreamSpec};
use hopline::topology::report::percentiles;
use serde::Serialize;

use super::client::Client;
use super::{FeedSpec, Wishes};
use crate::exit::Failure;
use crate::sender::{Content, Feed as Source, Made, Opened, totals};

/// Most clients of a feed at once; one more is turned away.
const CLIENTS_MAX: usize = 16;

/// Most messages served in a turn, so that clients are answered in between.
const BURST: usize = 64;

/// Bytes read from a client at a time.
const READ_BYTES: usize = 8 << 10;

/// Gaps that a report names, the first ones; all of them are counted.
const GAPS_KEPT: usize = 64;

/// Messages in a row that were due while nobody was connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first of them: its place in the feed, from 0.
    pub first: u64,
    /// How many.
    pub messages: u64,
}

/// What a feed did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ExchangeReport {
    /// The source that it was for.
    pub source: String,
    /// Where it listened.
    pub at: String,
    /// `market` or the capture's path.
    pub content: String,
    /// Messages that left to at least one client.
    pub served: u64,
    /// Messages that were due while nobody was connected.
    pub missed: u64,
    /// Messages in the middle of which a connection was cut, as was asked for.
    pub cut: u64,
    /// How often messages were missed in a row.
    pub gap_count: u64,
    /// Which those were, the first ones.
    pub gaps: Vec<Gap>,
    /// How late messages left, in nanoseconds; none where nothing paces them.
    pub late_ns: Percentiles,
    /// Connections that were accepted and asked for a WebSocket in good order.
    pub connected: u64,
    /// Those that did not.
    pub refused: u64,
    /// Clients that were closed because they read too slowly.
    pub too_slow: u64,
    /// Messages of clients: what they subscribe to.
    pub asked: u64,
    /// Pings of clients, all answered.
    pub pinged: u64,
    /// Bytes that left, all of the protocol included.
    pub bytes: u64,
    /// Lines of the capture that are no messages, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// What went wrong.
    pub fault: Option<String>,
}

/// A feed and its clients.
pub(super) struct Feed {
    listener: ListenerId,
    source: Source,
    clients: Vec<Client>,
    wishes: Wishes,
    /// The next message, due from the beginning on. None at the end.
    hand: Made,
    /// When the first client was there, in nanoseconds of the clock.
    began_ns: Option<u64>,
    /// Messages that have been due.
    number: u64,
    over: bool,
    late: Totals,
    buffer: Box<[u8]>,
    report: ExchangeReport,
}

impl Feed {
    pub(super) fn open(spec: FeedSpec, driver: &mut Driver) -> Result<Feed, Failure> {
        let listener = driver.listen(&StreamSpec::at(Endpoint::Tcp(spec.at)))?;
        if !matches!(spec.content, Content::Market(_) | Content::Capture { .. }) {
            return Err(Failure::usage(
                format!(
                    "\"{}\" is to be fed over a WebSocket what only goes over UDP",
                    spec.source
                ),
                "write content = \"market\", or give it a capture",
            ));
        }
        let wrong =
            |what: &dyn Display| Failure::usage(what.to_string(), "write another rate or shape");
        let Opened {
            feed: source,
            name: content,
            message_bytes,
        } = Source::open(
            spec.content,
            spec.recorded.as_deref(),
            spec.at,
            driver,
            wrong,
        )?;
        let mut feed = Feed {
            listener,
            source,
            clients: Vec::with_capacity(CLIENTS_MAX),
            wishes: spec.wishes,
            hand: Made::new(message_bytes),
            began_ns: None,
            number: 0,
            over: false,
            late: totals(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            report: ExchangeReport {
                source: spec.source,
                at: spec.at.to_string(),
                content,
                ..ExchangeReport::default()
            },
        };
        feed.advance(driver);
        Ok(feed)
    }

    pub(super) fn listener(&self) -> ListenerId {
        self.listener
    }

    /// Whether nothing more will be served.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether something waits for a client.
    pub(super) fn has_output(&self) -> bool {
        self.clients.iter().any(Client::has_output)
    }

    /// Whether nobody is left who may still agree to the end.
    pub(super) fn is_left(&self) -> bool {
        self.clients.iter().all(|client| client.silent)
    }

    /// Says goodbye to all clients.
    pub(super) fn close(&mut self) {
        for client in &mut self.clients {
            client.close(1001, "the exchange ends");
        }
    }

    pub(super) fn served(&self) -> u64 {
        self.report.served
    }

    /// Looks after the clients and serves what is due, but nothing that is due after `most_ns`. Gives when to come again.
    pub(super) fn turn(&mut self, driver: &mut Driver, now_ns: u64, most_ns: u64) -> u64 {
        self.accept(driver);
        self.serve(driver, now_ns, most_ns);
        let mut at = 0;
        while at < self.clients.len() {
            let did = self.clients[at].turn(driver, &mut self.buffer);
            self.report.connected += did.opened;
            self.report.refused += did.refused;
            self.report.asked += did.asked;
            self.report.pinged += did.pinged;
            self.report.bytes += did.bytes;
            if did.gone {
                self.clients.swap_remove(at).end(driver);
            } else {
                at += 1;
            }
        }
        if self.began_ns.is_none() && self.clients.iter().any(Client::is_open) {
            self.began_ns = Some(now_ns);
            return now_ns;
        }
        match (self.hand.due.filter(|_| !self.over), self.began_ns) {
            (Some(due), Some(began_ns)) if due.paced => began_ns.saturating_add(due.at_ns),
            // A socket that takes more is reported by the poll.
            (Some(_), Some(_))
                if self.clients.iter().any(Client::is_served)
                    && self.clients.iter().all(Client::takes_more) =>
            {
                now_ns
            }
            _ => u64::MAX,
        }
    }

    fn accept(&mut self, driver: &mut Driver) {
        while driver.listener_maybe_readable(self.listener) {
            match driver.accept(self.listener) {
                Ok(Some(stream)) if self.clients.len() < CLIENTS_MAX => {
                    self.clients.push(Client::new(stream));
                }
                Ok(Some(stream)) => Client::new(stream).end(driver),
                Ok(None) => break,
                Err(error) => {
                    self.report.fault.get_or_insert(error.to_string());
                    break;
                }
            }
        }
        // The list of those that are readable is not needed: there are few of them.
        while driver.listener_next_ready(self.listener).is_some() {}
    }

    fn serve(&mut self, driver: &mut Driver, now_ns: u64, most_ns: u64) {
        if most_ns == 0 {
            self.over = true;
        }
        let Some(began_ns) = self.began_ns else {
            return;
        };
        for _ in 0..BURST {
            if self.over {
                return;
            }
            let Some(due) = self.hand.due else {
                self.over = true;
                return;
            };
            let due_ns = began_ns.saturating_add(due.at_ns);
            if due.paced && due.at_ns > most_ns || !due.paced && now_ns - began_ns > most_ns {
                self.over = true;
                return;
            }
            let waits = match due.paced {
                true => due_ns > now_ns,
                false => {
                    !self.clients.iter().any(Client::is_served)
                        || !self.clients.iter().all(Client::takes_more)
                }
            };
            if waits {
                return;
            }
            if due.paced {
                self.late.record(now_ns - due_ns);
            }
            self.give(driver);
            self.number += 1;
            self.advance(driver);
        }
    }

    /// Gives the message to all who are there.
    fn give(&mut self, driver: &mut Driver) {
        let Ok(text) = core::str::from_utf8(self.hand.message()) else {
            *self.report.skipped.entry("not_utf8").or_default() += 1;
            return;
        };
        let (mut served, mut cut) = (false, false);
        for client in &mut self.clients {
            if !client.is_open() {
                continue;
            }
            let wishes = &mut self.wishes;
            let sent = client.sent;
            let is_due = |wish: Option<u64>| wish.is_some_and(|after| sent >= after);
            let (cuts, falls_silent) = (is_due(wishes.cut_after), is_due(wishes.silent_after));
            // What was served before arrives.
            let may_now = (cuts || falls_silent) && client.has_left(driver);
            if cuts && may_now {
                wishes.cut_after = None;
                client.cut_within(text, driver);
                cut = true;
                continue;
            }
            if let Some((after, code)) = wishes.close_after
                && client.sent >= after
            {
                wishes.close_after = None;
                client.close(code, "as asked for");
                continue;
            }
            if falls_silent && may_now {
                wishes.silent_after = None;
                client.silent = true;
            }
            if client.silent {
                continue;
            }
            match client.send(text) {
                true => served = true,
                false => self.report.too_slow += 1,
            }
        }
        match (served, cut) {
            (true, _) => self.report.served += 1,
            (false, true) => self.report.cut += 1,
            (false, false) => self.miss(),
        }
    }

    fn miss(&mut self) {
        let (number, report) = (self.number, &mut self.report);
        report.missed += 1;
        match report.gaps.last_mut() {
            Some(gap) if gap.first + gap.messages == number => gap.messages += 1,
            _ => {
                report.gap_count += 1;
                if report.gaps.len() < GAPS_KEPT {
                    let messages = 1;
                    report.gaps.push(Gap {
                        first: number,
                        messages,
                    });
                }
            }
        }
    }

    /// Has the next message ready.
    fn advance(&mut self, driver: &mut Driver) {
        if let Err(words) = self.source.make(driver, &mut self.hand) {
            self.report.fault.get_or_insert(words);
        }
    }

    /// Gives all sockets back, and the report.
    pub(super) fn finish(self, driver: &mut Driver) -> ExchangeReport {
        for client in self.clients {
            client.end(driver);
        }
        let mut report = self.report;
        for (why, count) in self.source.skipped() {
            *report.skipped.entry(why).or_default() += count;
        }
        report.late_ns = percentiles(&self.late);
        report
    }
}
