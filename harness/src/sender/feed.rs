//! What the messages of a lane are: made up by a schedule, or a capture's.
//!
//! Invariant: no feed takes more memory for being long.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hopline::adapter::rhythm_of;
use hopline::base::limits::MESSAGE_BYTES_MAX;
use hopline::feed::readings::{LineFormat, READING_BYTES_MAX, Readings};
use hopline::feed::schedule::ScheduleError;
use hopline::feed::simulated::lines::PACKET_BYTES_MAX;
use hopline::feed::simulated::{Lines, LinesSpec, Saying};
use hopline::feed::{Arrivals, Schedule, Synthetic, SyntheticSpec};
use hopline::io::Driver;

use super::capture::Capture;
use crate::exit::Failure;

/// Bytes at the head of a datagram of ours: sequence and intended time, both little endian.
pub(super) const STAMP_BYTES: usize = 16;

/// What is sent.
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
    /// Packets of a made-up exchange, on one or two lossy lines; the second one's address is here.
    Exchange {
        spec: LinesSpec,
        saying: Saying,
        rate_per_s: f64,
        arrivals: Arrivals,
        seed: u64,
        line_b: Option<SocketAddr>,
    },
    /// Lines of telemetry, one a datagram.
    Lines {
        rate_per_s: f64,
        arrivals: Arrivals,
        seed: u64,
        format: LineFormat,
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

/// When a message leaves.
#[derive(Clone, Copy)]
pub(crate) struct Due {
    /// Nanoseconds after the start.
    pub(crate) at_ns: u64,
    /// False where it leaves as soon as it can, and `at_ns` only gives its place among the lanes.
    pub(crate) paced: bool,
}

impl Due {
    /// At a time of a schedule.
    fn at(at_ns: u64) -> Due {
        Due { at_ns, paced: true }
    }
}

/// A message, and when it leaves; without a time there is none.
pub(crate) struct Made {
    pub(crate) due: Option<Due>,
    /// Where it goes, if not to the lane's one address.
    pub(crate) to: Option<SocketAddr>,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) len: usize,
    /// Of a made-up exchange: messages that were said up to its end.
    pub(crate) said: u64,
}

impl Made {
    /// None yet, with room for that many bytes.
    pub(crate) fn new(bytes_max: usize) -> Made {
        Made {
            due: None,
            to: None,
            bytes: vec![b'.'; bytes_max].into_boxed_slice(),
            len: 0,
            said: 0,
        }
    }

    /// The message.
    pub(crate) fn message(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A feed that is open, what it is called, and how long its messages are at most.
pub(crate) struct Opened {
    pub(crate) feed: Feed,
    pub(crate) name: String,
    pub(crate) message_bytes: usize,
}

/// Where the messages of a lane come from.
pub(crate) enum Feed {
    Market {
        feed: Box<Synthetic>,
        rate_per_s: f64,
    },
    Datagrams {
        schedule: Schedule,
        sequence: u64,
        rate_per_s: f64,
    },
    /// Packets of a made-up exchange, on one line or two; with the address of each.
    Exchange {
        lines: Box<Lines>,
        to: [SocketAddr; 2],
        rate_per_s: f64,
    },
    Lines {
        schedule: Schedule,
        readings: Readings,
        rate_per_s: f64,
    },
    Capture(Box<Capture>),
}

impl Feed {
    /// Opens what is to be sent to `to`, in the rhythm of `recorded` if there is one. A spec that makes no feed is a failure by
    /// `wrong`.
    pub(crate) fn open(
        content: Content,
        recorded: Option<&Path>,
        to: SocketAddr,
        driver: &mut Driver,
        wrong: impl Fn(&dyn Display) -> Failure,
    ) -> Result<Opened, Failure> {
        let scheduled = |rate_per_s, arrivals, seed| {
            Schedule::new(rate_per_s, arrivals, seed).map_err(|error| wrong(&error))
        };
        let mut opened = match content {
            Content::Market(market) => {
                let feed = Synthetic::new(&market).map_err(|error| wrong(&error))?;
                Opened {
                    feed: Feed::Market {
                        feed: Box::new(feed),
                        rate_per_s: market.rate_per_s,
                    },
                    name: "market".to_owned(),
                    message_bytes: MESSAGE_BYTES_MAX,
                }
            }
            Content::Datagrams {
                rate_per_s,
                arrivals,
                seed,
                bytes,
            } => Opened {
                feed: Feed::Datagrams {
                    schedule: scheduled(rate_per_s, arrivals, seed)?,
                    sequence: 0,
                    rate_per_s,
                },
                name: "datagrams".to_owned(),
                message_bytes: bytes.clamp(STAMP_BYTES, MESSAGE_BYTES_MAX),
            },
            Content::Exchange {
                spec,
                saying,
                rate_per_s,
                arrivals,
                seed,
                line_b,
            } => {
                let schedule = scheduled(rate_per_s, arrivals, seed)?;
                let name = saying.name().to_owned();
                Opened {
                    feed: Feed::Exchange {
                        lines: Box::new(Lines::new(&spec, saying, schedule)),
                        to: [to, line_b.unwrap_or(to)],
                        rate_per_s,
                    },
                    name,
                    message_bytes: PACKET_BYTES_MAX,
                }
            }
            Content::Lines {
                rate_per_s,
                arrivals,
                seed,
                format,
            } => Opened {
                feed: Feed::Lines {
                    schedule: scheduled(rate_per_s, arrivals, seed)?,
                    readings: Readings::new(format, seed),
                    rate_per_s,
                },
                name: format.name().to_owned(),
                message_bytes: READING_BYTES_MAX,
            },
            Content::Capture {
                file,
                speed,
                epoch_ns,
            } => Opened {
                name: file.display().to_string(),
                feed: Feed::Capture(Box::new(Capture::open(driver, file, speed, epoch_ns)?)),
                message_bytes: MESSAGE_BYTES_MAX,
            },
        };
        if let Some(file) = recorded {
            let rhythm = rhythm_of(driver, file)?;
            let follows = opened
                .feed
                .follow(|rate_per_s| Schedule::recorded(rate_per_s, rhythm));
            follows.map_err(|error| wrong(&error))?;
        }
        Ok(opened)
    }

    /// Makes the next message, with its time if there is one.
    ///
    /// # Errors
    /// What is wrong with the capture; there is no next message then.
    pub(crate) fn make(&mut self, driver: &mut Driver, made: &mut Made) -> Result<(), String> {
        made.due = None;
        made.due = match self {
            Feed::Market { feed, .. } => feed.next(&mut made.bytes).map(|(at_ns, len)| {
                made.len = len;
                Due::at(at_ns)
            }),
            Feed::Datagrams {
                schedule, sequence, ..
            } => {
                made.len = made.bytes.len();
                made.bytes[..8].copy_from_slice(&sequence.to_le_bytes());
                *sequence += 1;
                Some(Due::at(schedule.next_ns()))
            }
            Feed::Exchange { lines, to, .. } => lines.next().map(|sent| {
                made.len = sent.bytes.len();
                made.bytes[..made.len].copy_from_slice(sent.bytes);
                made.to = to.get(sent.line).copied();
                made.said = sent.said;
                Due::at(sent.at_ns)
            }),
            Feed::Lines {
                schedule, readings, ..
            } => {
                made.len = readings.write(&mut made.bytes);
                Some(Due::at(schedule.next_ns()))
            }
            Feed::Capture(capture) => capture.next(driver, &mut made.bytes)?.map(|(due, len)| {
                made.len = len;
                due
            }),
        };
        Ok(())
    }

    /// Lines of a capture that are no messages, by reason.
    pub(crate) fn skipped(&self) -> BTreeMap<&'static str, u64> {
        match self {
            Feed::Capture(capture) => capture.skipped(),
            _ => BTreeMap::new(),
        }
    }

    /// Sends what is made up by another schedule of the same mean rate.
    fn follow(
        &mut self,
        other: impl FnOnce(f64) -> Result<Schedule, ScheduleError>,
    ) -> Result<(), ScheduleError> {
        match self {
            Feed::Market { feed, rate_per_s } => feed.follow(other(*rate_per_s)?),
            Feed::Datagrams {
                schedule,
                rate_per_s,
                ..
            }
            | Feed::Lines {
                schedule,
                rate_per_s,
                ..
            } => *schedule = other(*rate_per_s)?,
            Feed::Exchange {
                lines, rate_per_s, ..
            } => lines.follow(other(*rate_per_s)?),
            Feed::Capture(_) => {}
        }
        Ok(())
    }
}
