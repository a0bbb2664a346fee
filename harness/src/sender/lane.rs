//! One lane of the sender: what feeds one source, and what it has to say of it.
//!
//! Invariant: a lane holds one message, so that any number of captures takes bounded memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use hopline::base::limits::MESSAGE_BYTES_MAX;
use hopline::base::{Reason, Reject};
use hopline::budget::report::Percentiles;
use hopline::clock::Clock;
use hopline::feed::{Arrivals, Schedule, Synthetic, SyntheticSpec, parse_line};
use hopline::hist::Totals;
use hopline::io::{Driver, Fill, LineEvent, LineReader, Sent, UdpId, UdpSpec};
use hopline::topology::report::percentiles;
use serde::Serialize;

use crate::exit::Failure;

/// Bytes of a capture that are read ahead: some 10 ms at 400 times the speed of the market.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// Bytes of a capture taken at once, so that reading ahead delays no datagram by more than 0.2 ms.
const FILL_BYTES: usize = 32 << 10;

/// Wanted receive buffer for what returns, in bytes: some 0.3 s of small datagrams at 20,000 a
/// second, should the sender lose its core. The system may grant less.
const RETURNS_BYTES: usize = 4 << 20;

/// Bytes at the head of a datagram of ours: sequence and intended time, both little endian.
const STAMP_BYTES: usize = 16;

/// What a lane sends.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A synthetic market.
    Market(SyntheticSpec),
    /// Opaque datagrams that know when they were meant to leave.
    Datagrams {
        rate_per_s: f64,
        arrivals: Arrivals,
        seed: u64,
        /// At least 16.
        bytes: usize,
    },
    /// The messages of a capture, at a multiple of their recorded pace.
    Capture {
        file: PathBuf,
        /// `None` is as fast as it goes.
        speed: Option<f64>,
        /// The recorded time that the start stands for.
        epoch_ns: u64,
    },
}

/// What is to feed one source.
#[derive(Clone, Debug)]
pub(crate) struct LaneSpec {
    /// The source, by name.
    pub(crate) source: String,
    /// Where it listens.
    pub(crate) to: SocketAddr,
    pub(crate) content: Content,
}

/// What a lane did, as the report has it.
#[derive(Clone, Debug, Serialize)]
pub struct SenderReport {
    /// The source that it fed.
    pub source: String,
    /// Where it sent to.
    pub to: String,
    /// `market`, `datagrams` or the capture's path.
    pub content: String,
    /// The core that the sending thread was bound to, if it was.
    pub core: Option<usize>,
    /// Datagrams that the system took.
    pub sent: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Datagrams that it did not take.
    pub unsent: u64,
    /// Times that it had no room for one, and the sender waited.
    pub would_block: u64,
    /// Lines of the capture that are no messages, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// How long after its intended time each datagram left, in nanoseconds.
    pub late_ns: Percentiles,
    /// Datagrams that came back; absent where none is expected.
    pub returned: Option<u64>,
    /// Datagrams that came back and that the kernel dropped before the sender took them.
    pub kernel_dropped: u64,
    /// From the intended time to the return, in nanoseconds; absent where none is expected.
    pub round_trip_ns: Option<Percentiles>,
    /// What went wrong first, in words.
    pub fault: Option<String>,
}

enum Feed {
    Market(Box<Synthetic>),
    Datagrams { schedule: Schedule, sequence: u64 },
    Capture(Box<Capture>),
}

struct Capture {
    lines: LineReader,
    file: PathBuf,
    speed: Option<f64>,
    epoch_ns: u64,
    skipped: [u64; Reject::NAMES.len()],
}

/// When a message leaves.
#[derive(Clone, Copy)]
pub(super) struct Due {
    /// Nanoseconds after the start.
    pub(super) at_ns: u64,
    /// False where it leaves as soon as it can, and `at_ns` only gives its place among the lanes.
    pub(super) paced: bool,
}

/// What feeds one source.
pub(super) struct Lane {
    source: String,
    to: SocketAddr,
    content: String,
    socket: UdpId,
    feed: Feed,
    /// The next message, and when it leaves; `None` at the end.
    next: Option<Due>,
    message: Box<[u8]>,
    len: usize,
    bytes: u64,
    unsent: u64,
    would_block: u64,
    late: Totals,
    returned: u64,
    round_trip: Totals,
    fault: Option<String>,
}

fn totals() -> Totals {
    Totals::new(&[]).expect("no limits are never too many")
}

impl Lane {
    pub(super) fn open(spec: LaneSpec, driver: &mut Driver) -> Result<Lane, Failure> {
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::usage(format!("cannot feed \"{}\": {what}", spec.source), "")
        };
        let mut message_bytes = MESSAGE_BYTES_MAX;
        let (feed, content) = match spec.content {
            Content::Market(market) => {
                let feed = Synthetic::new(&market).map_err(|error| wrong(&error))?;
                (Feed::Market(Box::new(feed)), "market".to_owned())
            }
            Content::Datagrams {
                rate_per_s,
                arrivals,
                seed,
                bytes,
            } => {
                let schedule =
                    Schedule::new(rate_per_s, arrivals, seed).map_err(|error| wrong(&error))?;
                message_bytes = bytes.clamp(STAMP_BYTES, MESSAGE_BYTES_MAX);
                let sequence = 0;
                (
                    Feed::Datagrams { schedule, sequence },
                    "datagrams".to_owned(),
                )
            }
            Content::Capture {
                file,
                speed,
                epoch_ns,
            } => {
                let lines = LineReader::open(driver, &file, READ_AHEAD_BYTES)?;
                let content = file.display().to_string();
                let skipped = [0; Reject::NAMES.len()];
                let capture = Capture {
                    lines,
                    file,
                    speed,
                    epoch_ns,
                    skipped,
                };
                (Feed::Capture(Box::new(capture)), content)
            }
        };
        Ok(Lane {
            source: spec.source,
            to: spec.to,
            content,
            socket: driver.udp_open(&UdpSpec {
                recv_buffer_bytes: Some(RETURNS_BYTES),
                ..UdpSpec::connected(spec.to)
            })?,
            feed,
            next: None,
            message: vec![b'.'; message_bytes].into_boxed_slice(),
            len: 0,
            bytes: 0,
            unsent: 0,
            would_block: 0,
            late: totals(),
            returned: 0,
            round_trip: totals(),
            fault: None,
        })
    }

    /// Makes the next message ready, if there is one.
    pub(super) fn prepare(&mut self, driver: &mut Driver) {
        self.next = match &mut self.feed {
            Feed::Market(feed) => feed.next(&mut self.message).map(|(at_ns, len)| {
                self.len = len;
                Due { at_ns, paced: true }
            }),
            Feed::Datagrams { schedule, sequence } => {
                self.len = self.message.len();
                self.message[..8].copy_from_slice(&sequence.to_le_bytes());
                *sequence += 1;
                Some(Due {
                    at_ns: schedule.next_ns(),
                    paced: true,
                })
            }
            Feed::Capture(capture) => match capture.next(driver, &mut self.message) {
                Ok(next) => next.map(|(due, len)| {
                    self.len = len;
                    due
                }),
                Err(what) => {
                    self.fault.get_or_insert(what);
                    None
                }
            },
        };
    }

    /// The next message, and when it leaves; `None` at the end.
    pub(super) fn next(&self) -> Option<Due> {
        self.next
    }

    /// Reads a little ahead. False if there was nothing to read, or no room.
    pub(super) fn read_ahead(&mut self, driver: &mut Driver) -> bool {
        match &mut self.feed {
            Feed::Capture(capture) if !capture.lines.at_end() => {
                let filled = capture.lines.fill(driver, FILL_BYTES);
                matches!(filled, Ok(Fill::Progress { .. }))
            }
            _ => false,
        }
    }

    /// Sends the message in hand and makes the next one ready. Waits for room unless `stopped`.
    /// True if the system took it.
    pub(super) fn send(
        &mut self,
        driver: &mut Driver,
        clock: &Clock,
        t0_ns: u64,
        stopped: impl Fn() -> bool,
    ) -> bool {
        let Some(due) = self.next else {
            return false;
        };
        let sending_ns = clock.stamp();
        let intended_ns = if due.paced {
            t0_ns.saturating_add(due.at_ns)
        } else {
            sending_ns
        };
        self.stamp(intended_ns);
        let mut refused = false;
        let sent = loop {
            let message = &self.message[..self.len];
            match driver.udp_send(self.socket, None, message) {
                Ok(Sent::Yes) => break true,
                Ok(Sent::WouldBlock) if !stopped() => {
                    self.would_block += 1;
                    std::thread::yield_now();
                }
                // The word is about an earlier datagram: this one gets its chance.
                Ok(Sent::Refused) if !refused => refused = true,
                Ok(_) => break false,
                Err(error) => {
                    self.fault.get_or_insert_with(|| error.to_string());
                    break false;
                }
            }
        };
        if sent {
            self.bytes += self.len as u64;
            if due.paced {
                self.late.record(sending_ns.saturating_sub(intended_ns));
            }
        } else {
            self.unsent += 1;
        }
        self.prepare(driver);
        sent
    }

    /// Takes datagrams that came back, at most `most`, and says how many.
    pub(super) fn take_returns(
        &mut self,
        driver: &mut Driver,
        clock: &Clock,
        inbox: &mut [u8],
        most: usize,
    ) -> usize {
        if !matches!(self.feed, Feed::Datagrams { .. }) {
            return 0;
        }
        let mut taken = 0;
        while taken < most {
            let Ok(Some(datagram)) = driver.udp_recv(self.socket, inbox) else {
                break;
            };
            let now_ns = clock.stamp_after();
            taken += 1;
            let stamp = inbox[..datagram.len].get(8..STAMP_BYTES);
            if let Some(Ok(intended)) = stamp.map(<[u8; 8]>::try_from) {
                self.returned += 1;
                let away_ns = now_ns.saturating_sub(u64::from_le_bytes(intended));
                self.round_trip.record(away_ns);
            }
        }
        taken
    }

    /// Writes the intended time into a datagram of ours.
    fn stamp(&mut self, intended_ns: u64) {
        if let Feed::Datagrams { .. } = self.feed {
            self.message[8..STAMP_BYTES].copy_from_slice(&intended_ns.to_le_bytes());
        }
    }

    pub(super) fn report(self, driver: &Driver, core: Option<usize>, sent: u64) -> SenderReport {
        let expects_returns = matches!(self.feed, Feed::Datagrams { .. });
        let skipped = match &self.feed {
            Feed::Capture(capture) => Reject::NAMES
                .iter()
                .zip(capture.skipped)
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| (*name, count))
                .collect(),
            _ => BTreeMap::new(),
        };
        SenderReport {
            source: self.source,
            to: self.to.to_string(),
            content: self.content,
            core,
            sent,
            bytes: self.bytes,
            unsent: self.unsent,
            would_block: self.would_block,
            skipped,
            late_ns: percentiles(&self.late),
            returned: expects_returns.then_some(self.returned),
            kernel_dropped: driver.udp_kernel_drops(self.socket).unwrap_or(0),
            round_trip_ns: expects_returns.then(|| percentiles(&self.round_trip)),
            fault: self.fault,
        }
    }
}

impl Capture {
    /// Copies the next message into `message`: when it leaves, and its length. `None` at the end.
    fn next(
        &mut self,
        driver: &mut Driver,
        message: &mut [u8],
    ) -> Result<Option<(Due, usize)>, String> {
        while !self.lines.at_end() {
            match self.lines.next_line() {
                Some(LineEvent::Line(line)) => match parse_line(line) {
                    Ok((_, json)) if json.len() > message.len() => {
                        self.skipped[Reject::TooLong.index()] += 1;
                    }
                    Ok((at_ns, json)) => {
                        message[..json.len()].copy_from_slice(json);
                        let span_ns = at_ns.saturating_sub(self.epoch_ns);
                        let due = match self.speed {
                            Some(speed) => Due {
                                at_ns: (span_ns as f64 / speed) as u64,
                                paced: true,
                            },
                            None => Due {
                                at_ns: span_ns,
                                paced: false,
                            },
                        };
                        return Ok(Some((due, json.len())));
                    }
                    Err(why) => self.skipped[why.index()] += 1,
                },
                Some(LineEvent::Bad(why)) => self.skipped[why.index()] += 1,
                None => {
                    let filled = self.lines.fill(driver, FILL_BYTES);
                    filled.map_err(|error| format!("{}: {error}", self.file.display()))?;
                }
            }
        }
        Ok(None)
    }
}
