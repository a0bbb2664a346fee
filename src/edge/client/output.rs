//! What leaves a connection: its output is filled from the channels, what is too large for it leaves by itself, and what is the
//! same for many leaves from where it lies.
//!
//! Invariant: behind the last words nothing leaves.

use bytes::Bytes;

use super::piece::{Piece, Put, Text, put};
use super::{Client, Now, On, Via};
use crate::base::Reason as _;
use crate::edge::channel::Channel;
use crate::edge::code::Code;
use crate::edge::counts::Ended;
use crate::edge::event::{Body as _, Gap, Kind, Shed, with_skip};
use crate::edge::hub::Hub;
use crate::edge::lanes::Out;
use crate::edge::run::{Run, Runs};

/// What leaves by itself, without passing through the output.
#[derive(Debug)]
pub(super) struct Large {
    pub(super) bytes: Bytes,
    pub(super) left: usize,
    /// Whether it comes before what is in the output: a handshake's answer.
    pub(super) leads: bool,
}

impl Large {
    /// Bytes that leave behind what is in the output; nothing where there are none.
    pub(super) fn behind(bytes: Bytes) -> Option<Large> {
        (!bytes.is_empty()).then_some(Large {
            bytes,
            left: 0,
            leads: false,
        })
    }

    /// Whether it is what is written next, with an output that is empty or not.
    fn is_next(&self, output_is_empty: bool) -> bool {
        self.leads || self.left > 0 || output_is_empty
    }
}

impl Client {
    /// Takes from its channels what its output has room for, and says whether that was all. `text` is used for what is this
    /// client's alone.
    pub fn fill(&mut self, hub: &mut Hub, now: Now, text: &mut String) -> bool {
        if self.ending.is_some() || matches!(self.via, Via::Http(_)) {
            return true;
        }
        while self.large.is_none() {
            let epoch = hub.epoch();
            let mut sample = None;
            let out = match self.lanes.next(hub.channels(), now.ns) {
                Ok(Some(out)) => out,
                Ok(None) => return true,
                Err(_) => {
                    self.end(Code::Slow, Ended::Slow, None, now);
                    return true;
                }
            };
            let put = match out {
                Out::Own(json) => {
                    // Its type is for the event's name alone, where there is one.
                    put(&mut self.via, &Piece::own(json), epoch)
                }
                Out::Event {
                    channel,
                    event,
                    skipped,
                    head,
                    is_sample,
                } => {
                    if is_sample {
                        sample = event.offset().map(|at| (channel, at, event.born_ns()));
                    }
                    let piece = Piece {
                        kind: event.kind().name(),
                        offset: event.offset(),
                        text: Text::Shared(event),
                    };
                    if skipped == 0 {
                        put(&mut self.via, &piece, epoch)
                    } else {
                        text.clear();
                        text.push_str(&with_skip(event.json(), skipped, head));
                        let piece = Piece {
                            text: Text::Own(text),
                            ..piece
                        };
                        put(&mut self.via, &piece, epoch)
                    }
                }
                Out::Gap(id, missing) => {
                    let name = hub.channel(id).map_or("", Channel::name);
                    let gap = Gap {
                        channel: name,
                        from: missing.from,
                        to: missing.to,
                        why: missing.why,
                    };
                    put(&mut self.via, &Piece::own(&gap.text()), epoch)
                }
                Out::Shed(id, count, why) => {
                    let name = hub.channel(id).map_or("", Channel::name);
                    let shed = Shed {
                        channel: name,
                        count,
                        why,
                    };
                    put(&mut self.via, &Piece::own(&shed.text()), epoch)
                }
                Out::Snapshot(id) => {
                    let Some(channel) = hub.channel_mut(id) else {
                        return true;
                    };
                    let last = channel.last();
                    let Some(snapshot) = channel.snapshot() else {
                        return true;
                    };
                    let piece = Piece {
                        kind: Kind::Snapshot.name(),
                        offset: Some(last),
                        text: Text::Shared(snapshot),
                    };
                    let put = put(&mut self.via, &piece, epoch);
                    if !matches!(put, Put::NoRoom) {
                        self.lanes.snapshot_is_of(id, last);
                    }
                    put
                }
            };
            match put {
                Put::Done => {}
                Put::NoRoom => return false,
                Put::Large(bytes) => self.large = Large::behind(bytes),
                Put::Closed => return true,
            }
            if let Some((channel, offset, born_ns)) = sample {
                let bytes = self.waiting_bytes();
                self.sampled.put(channel, offset, born_ns, bytes);
            }
            self.lanes.taken(now.ns);
        }
        false
    }

    /// What is due to it, if it is what others get as well and nothing else waits: to be written from where it is, and told by
    /// [`Client::ran`].
    pub(in crate::edge) fn run<'a>(&self, hub: &Hub, runs: &'a mut Runs) -> Option<&'a Run> {
        let form = self.via.form()?;
        let is_free = self.ending.is_none() && self.large.is_none() && self.via.output().is_empty();
        is_free.then(|| runs.of(&self.lanes, form, hub)).flatten()
    }

    /// So many bytes of that run have left; the others wait in the output.
    pub(in crate::edge) fn ran(&mut self, run: &Run, count: usize, on: &mut On<'_>) {
        for one in run.samples() {
            if self.lanes.samples(one.channel, one.offset) {
                self.sampled
                    .put(one.channel, one.offset, one.born_ns, one.end);
            }
        }
        self.lanes.ran(run.stretches());
        self.via.push_rest(&run.bytes()[count..]);
        self.note_written(count, on);
    }

    /// What is in its output.
    fn first(&self) -> &[u8] {
        self.via.output().pending()
    }

    /// Bytes up to the end of all that waits.
    fn waiting_bytes(&self) -> usize {
        let first = self.first();
        let large = self.large.as_ref();
        first.len() + large.map_or(0, |large| large.bytes.len() - large.left)
    }

    /// What is to be written next.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        let first = self.first();
        match &self.large {
            // What was begun is written to its end before anything else, and begun only behind what waits.
            Some(large) if large.is_next(first.is_empty()) => &large.bytes[large.left..],
            _ => first,
        }
    }

    /// So many bytes of it have left.
    pub fn written(&mut self, count: usize, on: &mut On<'_>) {
        let first_is_empty = self.first().is_empty();
        match &mut self.large {
            Some(large) if large.is_next(first_is_empty) => {
                large.left += count;
                if large.left >= large.bytes.len() {
                    self.large = None;
                }
            }
            _ => self.via.written(count),
        }
        self.note_written(count, on);
    }

    fn note_written(&mut self, count: usize, on: &mut On<'_>) {
        let is_answered = matches!(self.via, Via::WebSocket { .. });
        self.sampled
            .written(count, on.now, is_answered, |ns| on.hops.queued(ns));
        let waits = !self.output().is_empty();
        self.session.wrote(count > 0, waits, on.now.ns);
        if !waits
            && let Via::Http(http) = &mut self.via
            && http.writing
            && http.keeps
        {
            http.writing = false;
            self.session.again(on.now.ns);
            let unread = core::mem::take(&mut http.unread);
            let mut input = unread.as_slice();
            self.take_request(&mut input, on);
            if let Via::Http(http) = &mut self.via {
                http.unread = input.to_vec();
            } else {
                let rest = input.to_vec();
                self.take(&rest, on);
            }
        }
    }

    /// Nothing waits for its socket, whatever did before.
    pub(in crate::edge) fn rests(&mut self, now: Now) {
        self.session.wrote(false, false, now.ns);
    }

    /// A write found no room.
    pub fn blocked(&mut self, now: Now) {
        self.session.wrote(false, true, now.ns);
    }

    /// What is larger than the output and not begun would leave behind the last words: it does not leave, though it counts as sent, as
    /// all does that lay in an output when the connection ended.
    pub(super) fn leave_large(&mut self) {
        if self
            .large
            .as_ref()
            .is_some_and(|large| !large.leads && large.left == 0)
        {
            self.large = None;
        }
    }
}
