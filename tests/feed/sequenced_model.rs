//! A slow model of a sequenced feed: the rules of its head over sets that know no bound, for comparison.
//!
//! It reads packets by the offsets of the specifications, keeps every sequence that ever came, and finds
//! out by searching what the feed finds out by positions.

use std::collections::{BTreeMap, BTreeSet};

use hopline::feed::sequenced::{Event, Join, Params, State, Why};

/// What is handed out, whoever hands it out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out {
    Message {
        era: u64,
        sequence: u64,
        line: u8,
        state: State,
        begins: bool,
        lost: u64,
        lost_earlier: u64,
        received_ns: u64,
        bytes: Vec<u8>,
    },
    Event(Event),
}

/// A packet of MoldUDP64, read the slow way.
pub(crate) struct Read {
    pub(crate) session: [u8; 10],
    pub(crate) first: u64,
    pub(crate) is_end: bool,
    pub(crate) messages: Vec<Vec<u8>>,
}

pub(crate) fn read(bytes: &[u8]) -> Read {
    let number = |at: usize, len: usize| {
        let digits = bytes[at..at + len].iter();
        digits.fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let (count, mut at, mut messages) = (number(18, 2), 20, Vec::new());
    let is_end = count == 0xffff;
    for _ in 0..if is_end { 0 } else { count } {
        let len = number(at, 2) as usize;
        messages.push(bytes[at + 2..at + 2 + len].to_vec());
        at += 2 + len;
    }
    assert_eq!(at, bytes.len());
    Read {
        session: bytes[..10].try_into().unwrap(),
        first: number(10, 8),
        is_end,
        messages,
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    era: usize,
    from: u64,
    next: u64,
    brought: BTreeSet<u64>,
    advanced_ns: u64,
    /// Of eras that it left.
    missing_before: u64,
    pub(crate) counts: [u64; 6],
}

/// Eras that are remembered when they are over.
const ERAS_KEPT: usize = 8;

pub(crate) const FIRST: usize = 0;
pub(crate) const DUPLICATE: usize = 1;
pub(crate) const LATE: usize = 2;
pub(crate) const OLD: usize = 3;
pub(crate) const STRAGGLER: usize = 4;
pub(crate) const UNHELD: usize = 5;

impl Line {
    fn note(&mut self, first: u64, end: u64, now_ns: u64) {
        if first >= self.next || end > self.next {
            self.advanced_ns = now_ns;
        }
        self.next = self.next.max(end);
        self.brought
            .extend((first..end).filter(|sequence| *sequence >= self.from));
    }

    pub(crate) fn missing(&self) -> u64 {
        self.missing_before + (self.next - self.from) - self.brought.len() as u64
    }
}

struct Era {
    session: [u8; 10],
    high: u64,
}

struct Held {
    order: u64,
    line: u8,
    received_ns: u64,
    bytes: Vec<u8>,
}

pub(crate) struct Model {
    params: Params,
    pub(crate) out: Vec<Out>,
    pub(crate) lines: Vec<Line>,
    /// All eras so far; the last is the one that is now.
    eras: Vec<Era>,
    from: u64,
    next: u64,
    given: BTreeSet<u64>,
    held: BTreeMap<u64, Held>,
    order: u64,
    now_ns: u64,
    heard_ns: u64,
    told: Vec<(u64, u64)>,
    end: Option<u64>,
    ended: bool,
    stale: bool,
    gap: bool,
    recovering: bool,
    unbroken: u64,
    state: State,
    worst: State,
    begins: bool,
    lost: u64,
    lost_earlier: u64,
}

impl Model {
    pub(crate) fn new(params: Params) -> Model {
        Model {
            lines: vec![Line::default(); params.lines],
            params,
            out: Vec::new(),
            eras: Vec::new(),
            from: 1,
            next: 1,
            given: BTreeSet::new(),
            held: BTreeMap::new(),
            order: 0,
            now_ns: 0,
            heard_ns: 0,
            told: Vec::new(),
            end: None,
            ended: false,
            stale: true,
            gap: false,
            recovering: false,
            unbroken: 0,
            state: State::Stale,
            worst: State::Stale,
            begins: false,
            lost: 0,
            lost_earlier: 0,
        }
    }

    fn session(&self) -> hopline::feed::packets::Session {
        hopline::feed::packets::Session::Name(self.eras.last().unwrap().session)
    }

    fn high(&self) -> u64 {
        self.eras.last().map_or(1, |era| era.high)
    }

    fn settle(&mut self) {
        let state = match (self.stale, self.gap, self.recovering) {
            (true, _, _) => State::Stale,
            (_, true, _) => State::Gap,
            (_, _, true) => State::Recovering,
            _ => State::Live,
        };
        if state != self.state {
            self.state = state;
            self.worst = self.worst.max(state);
            self.out.push(Out::Event(Event::State(state)));
        }
    }

    fn hand_out(&mut self, line: u8, received_ns: u64, bytes: Vec<u8>) {
        self.out.push(Out::Message {
            era: self.eras.len() as u64,
            sequence: self.next,
            line,
            state: self.worst.max(self.state),
            begins: self.begins,
            lost: self.lost,
            lost_earlier: self.lost_earlier,
            received_ns,
            bytes,
        });
        self.given.insert(self.next);
        self.next += 1;
        (self.begins, self.lost, self.lost_earlier) = (false, 0, 0);
        if self.recovering {
            self.unbroken += 1;
            if self.unbroken == self.params.heals_after {
                self.recovering = false;
                if self.state == State::Recovering {
                    self.settle();
                }
            }
        }
        self.worst = State::Live;
    }

    fn hand_out_held(&mut self) {
        while let Some(held) = self.held.remove(&self.next) {
            self.hand_out(held.line, held.received_ns, held.bytes);
        }
    }

    fn give_up(&mut self, end: u64, why: Why) {
        self.hand_out_held();
        while self.next < end {
            let held = self.held.keys().next().copied();
            let to = held.unwrap_or(end).min(end);
            self.gap = true;
            self.settle();
            self.out.push(Out::Event(Event::Lost {
                session: self.session(),
                era: self.eras.len() as u64,
                first: self.next,
                end: to,
                why,
            }));
            self.lost += to - self.next;
            (self.recovering, self.unbroken) = (true, 0);
            self.next = to;
            self.hand_out_held();
        }
    }

    pub(crate) fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while self.high() > self.next {
            self.told.retain(|(sequence, _)| *sequence > self.next);
            let oldest = self.held.iter().min_by_key(|(_, held)| held.order);
            let held = oldest.map(|(sequence, held)| (*sequence, held.received_ns));
            let is_due = |wait: &(u64, u64)| self.now_ns - wait.1 >= self.params.deadline_ns;
            let due = held
                .filter(is_due)
                .or(self.told.first().copied().filter(is_due));
            let Some((sequence, _)) = due else {
                break;
            };
            self.give_up(sequence, Why::Deadline);
        }
        self.close();
        let quiet = self.now_ns - self.heard_ns;
        if !self.stale && !self.ended && quiet >= self.params.stale_ns {
            self.stale = true;
            self.settle();
        }
    }

    fn close(&mut self) {
        self.gap = self.high() > self.next;
        self.settle();
        if let Some(end) = self.end
            && self.next >= end
            && !self.ended
        {
            self.ended = true;
            self.out.push(Out::Event(Event::Ended {
                session: self.session(),
                next: self.next,
            }));
        }
    }

    pub(crate) fn finish(&mut self) {
        self.give_up(self.high(), Why::Finished);
        self.close();
        for line in 0..self.lines.len() {
            self.leave(line);
        }
    }

    fn begin(&mut self, session: [u8; 10], first: u64) {
        self.eras.push(Era {
            session,
            high: first,
        });
        (self.from, self.next) = (first, first);
        self.given.clear();
        self.told.clear();
        (self.end, self.ended) = (None, false);
        self.lost_earlier += self.lost;
        self.lost = 0;
        self.begins = true;
        (self.gap, self.recovering, self.unbroken) = (false, first > 1, 0);
        self.out.push(Out::Event(Event::Began {
            session: self.session(),
            era: self.eras.len() as u64,
            first,
        }));
        self.settle();
    }

    /// What the line never brought of the era that it is in, up to where the era is known to go.
    fn leave(&mut self, line: usize) {
        let from = &mut self.lines[line];
        let known = from.era + ERAS_KEPT + 1 > self.eras.len();
        if from.era > 0 && known {
            from.next = from.next.max(self.eras[from.era - 1].high);
        }
    }

    fn enter(&mut self, line: usize) {
        self.leave(line);
        let (era, first, now_ns) = (self.eras.len(), self.from, self.now_ns);
        let from = &mut self.lines[line];
        from.missing_before = from.missing();
        (from.era, from.from, from.next, from.advanced_ns) = (era, first, first, now_ns);
        from.brought.clear();
    }

    fn is_of_now(&mut self, line: usize, packet: &Read, end: u64) -> bool {
        if self.eras.is_empty() {
            let first = match self.params.join {
                Join::AtOne => 1,
                Join::AtFirst => packet.first,
            };
            self.begin(packet.session, first);
            self.enter(line);
            return true;
        }
        let (now_ns, span) = (self.now_ns, self.params.window_messages as u64);
        let now_era = self.eras.len();
        let session = self.eras[now_era - 1].session;
        let oldest_known = now_era.saturating_sub(ERAS_KEPT + 1);
        let from = &self.lines[line];
        let was_quiet = now_ns - from.advanced_ns >= self.params.deadline_ns;
        if packet.session != session {
            let known =
                (oldest_known..now_era - 1).rfind(|at| self.eras[*at].session == packet.session);
            match known {
                Some(at) if !self.stale => {
                    if from.era == at + 1 {
                        self.lines[line].note(packet.first, end, now_ns);
                    }
                    return false;
                }
                _ => {
                    let first = known.map_or(1, |at| self.eras[at].high);
                    self.give_up(self.high(), Why::Session);
                    self.begin(packet.session, first);
                    self.enter(line);
                    return true;
                }
            }
        }
        if from.era < now_era {
            let in_known = from.era > oldest_known;
            let same = in_known && self.eras[from.era - 1].session == session;
            if same && !was_quiet && packet.first + span >= from.next {
                self.lines[line].note(packet.first, end, now_ns);
                return false;
            }
            self.enter(line);
            return true;
        }
        let begins = packet.first == 1 && from.next > 1 && (from.next > span + 1 || was_quiet);
        if begins || (self.stale && packet.first + span < from.next) {
            self.give_up(self.high(), Why::Restart);
            self.begin(session, 1);
            self.enter(line);
        }
        true
    }

    pub(crate) fn packet(&mut self, line: usize, bytes: &[u8], now_ns: u64) {
        self.tick(now_ns);
        let now_ns = self.now_ns;
        let packet = read(bytes);
        let end = packet.first + packet.messages.len() as u64;
        if !self.is_of_now(line, &packet, end) {
            self.lines[line].counts[STRAGGLER] += packet.messages.len() as u64;
            return;
        }
        self.lines[line].note(packet.first, end, now_ns);
        if end >= self.next {
            self.heard_ns = now_ns;
            self.stale = false;
            self.settle();
        }
        if packet.first > self.next {
            self.gap = true;
            self.settle();
        }
        let mut told =
            (packet.messages.is_empty() && packet.first > self.high()).then_some(packet.first);
        let era = self.eras.last_mut().unwrap();
        era.high = era.high.max(end);
        let span = self.params.window_messages as u64;
        let (is_empty, is_end) = (packet.messages.is_empty(), packet.is_end);
        for (sequence, message) in (packet.first..).zip(packet.messages) {
            if sequence >= self.next + span {
                self.give_up(sequence - span + 1, Why::Window);
            }
            let heading = if sequence < self.from {
                OLD
            } else if self.given.contains(&sequence) || self.held.contains_key(&sequence) {
                DUPLICATE
            } else if sequence < self.next {
                LATE
            } else if sequence == self.next {
                self.hand_out(line as u8, now_ns, message);
                self.hand_out_held();
                FIRST
            } else if message.len() > self.params.window_message_bytes {
                told = Some(sequence + 1);
                UNHELD
            } else {
                self.order += 1;
                let held = Held {
                    order: self.order,
                    line: line as u8,
                    received_ns: now_ns,
                    bytes: message,
                };
                self.held.insert(sequence, held);
                FIRST
            };
            self.lines[line].counts[heading] += 1;
        }
        if let Some(sequence) = told {
            self.told.retain(|(told, _)| *told > self.next);
            self.told.truncate(1);
            self.told.push((sequence, now_ns));
        }
        if is_end && end == self.high() {
            self.end = Some(end);
        } else if !is_empty && self.end.is_some_and(|over| end > over) {
            (self.end, self.ended) = (None, false);
        }
        self.close();
    }
}
