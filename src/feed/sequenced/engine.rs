//! The rules of a sequenced feed, as the room's head states them.
//!
//! Invariant: each message of a packet that is understood is counted under one heading, and each
//! sequence of an era is handed out once or given up once, in order.

use crate::base::Reason as _;
use crate::feed::packets::{Packet, PacketReject, Purpose, Session, Transport};
use crate::feed::sequenced::counts::{LineCounts, UnionCounts};
use crate::feed::sequenced::line::Line;
use crate::feed::sequenced::past::Past;
use crate::feed::sequenced::window::Window;
use crate::feed::sequenced::{
    Delivery, ERAS_KEPT, Event, Join, Params, ParamsError, Sink, State, Why,
};

/// One feed out of its lines.
///
/// ```
/// use hopline::feed::moldudp64::Writer;
/// use hopline::feed::packets::Transport;
/// use hopline::feed::sequenced::{Delivery, Params, Sequenced, Sink, State};
///
/// struct Print(Vec<(u64, u64, State)>);
/// impl Sink for Print {
///     fn message(&mut self, m: &Delivery<'_>) {
///         self.0.push((m.sequence, m.lost, m.state));
///     }
/// }
///
/// let mut feed = Sequenced::new(&Params::of(Transport::MoldUdp64))?;
/// let (mut out, mut buffer) = (Print(Vec::new()), [0; 64]);
/// let mut packet = |first| {
///     let mut writer = Writer::new(&mut buffer, *b"0000000001", first).unwrap();
///     writer.push(b"tick");
///     let len = writer.finish();
///     buffer[..len].to_vec()
/// };
/// feed.packet(0, &packet(1), 0, &mut out).unwrap();
/// feed.packet(0, &packet(3), 1_000, &mut out).unwrap(); // 2 is missing, 3 waits for it
/// feed.tick(2_001_000, &mut out);
/// assert_eq!(out.0, [(1, 0, State::Stale), (3, 1, State::Gap)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sequenced {
    core: Core,
    window: Window,
    lines: Box<[Line]>,
    transport: Transport,
    join: Join,
    deadline_ns: u64,
    stale_ns: u64,
    now_ns: u64,
    /// When something up to date was last heard.
    heard_ns: u64,
    /// A sequence that heartbeats have told of, and since when; and the farthest told of since.
    told: Option<(u64, u64)>,
    told_later: Option<(u64, u64)>,
    /// Where the session said that it ends.
    end: Option<u64>,
    ended: bool,
    /// The last eras that are over.
    left: [Option<Left>; ERAS_KEPT],
}

/// An era that is over.
#[derive(Clone, Copy, Debug)]
struct Left {
    era: u64,
    session: Session,
    /// All before it are known to have been sent.
    high: u64,
}

/// The part that hands out: apart from the window, whose bytes it hands out.
#[derive(Debug)]
struct Core {
    session: Option<Session>,
    era: u64,
    /// Handed out or given up; its position is the feed's.
    past: Past,
    /// All before it are known to have been sent.
    high: u64,
    state: State,
    /// The worst state entered since the last message.
    worst: State,
    is_stale: bool,
    has_gap: bool,
    is_recovering: bool,
    /// Messages in unbroken order since the last loss.
    unbroken: u64,
    heals_after: u64,
    begins: bool,
    lost: u64,
    lost_earlier: u64,
    counts: UnionCounts,
}

impl Core {
    fn settle(&mut self, sink: &mut impl Sink) {
        let state = if self.is_stale {
            State::Stale
        } else if self.has_gap {
            State::Gap
        } else if self.is_recovering {
            State::Recovering
        } else {
            State::Live
        };
        if state != self.state {
            self.state = state;
            self.worst = self.worst.max(state);
            sink.event(Event::State(state));
        }
    }

    fn open_gap(&mut self, sink: &mut impl Sink) {
        if !self.has_gap {
            self.has_gap = true;
            self.counts.gaps += 1;
            self.settle(sink);
        }
    }

    /// Hands out the message at the position.
    #[inline]
    fn deliver(&mut self, line: u8, bytes: &[u8], received_ns: u64, sink: &mut impl Sink) {
        let Some(session) = self.session else {
            return;
        };
        let sequence = self.past.next();
        sink.message(&Delivery {
            session,
            era: self.era,
            sequence,
            line,
            state: self.worst.max(self.state),
            begins: self.begins,
            lost: self.lost,
            lost_earlier: self.lost_earlier,
            received_ns,
            bytes,
        });
        self.past.advance(sequence + 1, true);
        self.counts.delivered += 1;
        (self.begins, self.lost, self.lost_earlier) = (false, 0, 0);
        if self.is_recovering {
            self.unbroken += 1;
            if self.unbroken == self.heals_after {
                self.is_recovering = false;
                if self.state == State::Recovering {
                    self.settle(sink);
                }
            }
        }
        self.worst = State::Live;
    }

    /// Gives up all from the position to `end`.
    fn lose(&mut self, end: u64, why: Why, sink: &mut impl Sink) {
        let first = self.past.next();
        let (Some(session), Some(lost @ 1..)) = (self.session, end.checked_sub(first)) else {
            return;
        };
        // Whatever was lost had been missing first, if only within this call.
        self.open_gap(sink);
        self.past.advance(end, false);
        self.counts.lost = self.counts.lost.saturating_add(lost);
        self.lost = self.lost.saturating_add(lost);
        (self.is_recovering, self.unbroken) = (true, 0);
        sink.event(Event::Lost {
            session,
            era: self.era,
            first,
            end,
            why,
        });
    }
}

impl Sequenced {
    /// A feed of which nothing was heard yet. Allocates all that it ever needs.
    ///
    /// # Errors
    /// Parameters out of their bounds.
    pub fn new(params: &Params) -> Result<Sequenced, ParamsError> {
        params.check()?;
        let marks = params.past_marks();
        let line = || Line {
            era: 0,
            past: Past::new(marks),
            advanced_ns: 0,
            counts: LineCounts::default(),
        };
        Ok(Sequenced {
            core: Core {
                session: None,
                era: 0,
                past: Past::new(marks),
                high: 1,
                state: State::Stale,
                worst: State::Stale,
                is_stale: true,
                has_gap: false,
                is_recovering: false,
                unbroken: 0,
                heals_after: params.heals_after,
                begins: false,
                lost: 0,
                lost_earlier: 0,
                counts: UnionCounts::default(),
            },
            window: Window::new(params.window_messages, params.window_message_bytes),
            lines: (0..params.lines).map(|_| line()).collect(),
            transport: params.transport,
            join: params.join,
            deadline_ns: params.deadline_ns,
            stale_ns: params.stale_ns,
            now_ns: 0,
            heard_ns: 0,
            told: None,
            told_later: None,
            end: None,
            ended: false,
            left: [None; ERAS_KEPT],
        })
    }

    /// Takes in a datagram that a line brought at `now_ns`, of a clock that does not go back (where it
    /// does, it is taken to stand still).
    ///
    /// # Errors
    /// The reason for which it is refused, counted already; nothing else is changed by it.
    pub fn packet(
        &mut self,
        line: usize,
        datagram: &[u8],
        now_ns: u64,
        sink: &mut impl Sink,
    ) -> Result<(), PacketReject> {
        self.tick(now_ns, sink);
        self.arrived(line, datagram, now_ns, sink)
    }

    /// The same without letting time pass: nothing is given up for being late. For who takes packets from
    /// sockets in batches: a copy that already waits in the other socket has to come in first, so time passes by
    /// [`Sequenced::tick_as_far_as`]. What is missing is given up all the same where the window has no room.
    ///
    /// # Errors
    /// As [`Sequenced::packet`].
    pub fn arrived(
        &mut self,
        line: usize,
        datagram: &[u8],
        now_ns: u64,
        sink: &mut impl Sink,
    ) -> Result<(), PacketReject> {
        self.now_ns = self.now_ns.max(now_ns);
        let Some(from) = self.lines.get_mut(line) else {
            self.core.counts.unknown_line += 1;
            return Err(PacketReject::UnknownLine);
        };
        from.counts.packets += 1;
        from.counts.bytes += datagram.len() as u64;
        let packet = match self.transport.parse(datagram) {
            Ok(packet) => packet,
            Err(reject) => {
                from.counts.rejected[reject.index()] += 1;
                return Err(reject);
            }
        };
        from.counts.messages += packet.messages.len() as u64;
        if packet.purpose != Purpose::Messages {
            from.counts.heartbeats += 1;
        }
        if !self.is_of_now(line, &packet, sink) {
            self.lines[line].counts.straggler += packet.messages.len() as u64;
            return Ok(());
        }
        self.lines[line].note(packet.first, packet.end(), self.now_ns);
        self.take(line, &packet, sink);
        self.close(sink);
        Ok(())
    }

    /// Lets time pass: gives up what has been missing for too long, and tells when all is quiet.
    pub fn tick(&mut self, now_ns: u64, sink: &mut impl Sink) {
        self.tick_as_far_as(now_ns, u64::MAX, sink);
    }

    /// The same, giving up nothing from the sequence `reach` on: the least [`Sequenced::position`] of the lines that
    /// may still have older packets waiting, in a socket that was not found empty, say. What such a line has
    /// not come to yet, it may yet bring.
    pub fn tick_as_far_as(&mut self, now_ns: u64, reach: u64, sink: &mut impl Sink) {
        self.now_ns = self.now_ns.max(now_ns);
        let now_ns = self.now_ns;
        let is_due = |since_ns: u64| now_ns - since_ns >= self.deadline_ns;
        if self.core.high > self.core.past.next() {
            loop {
                let next = self.core.past.next();
                if next >= reach {
                    break;
                }
                if let Some((sequence, since_ns)) = self.window.oldest()
                    && is_due(since_ns)
                {
                    give_up(
                        &mut self.core,
                        &mut self.window,
                        sequence.min(reach),
                        Why::Deadline,
                        sink,
                    );
                    continue;
                }
                match self.told {
                    Some((sequence, since_ns)) if sequence > next => {
                        if !is_due(since_ns) {
                            break;
                        }
                        give_up(
                            &mut self.core,
                            &mut self.window,
                            sequence.min(reach),
                            Why::Deadline,
                            sink,
                        );
                        if sequence > reach {
                            break;
                        }
                    }
                    None => break,
                    Some(_) => {}
                }
                self.told = self.told_later.take();
            }
            self.close(sink);
        }
        if !self.core.is_stale && !self.ended && now_ns - self.heard_ns >= self.stale_ns {
            self.core.is_stale = true;
            self.core.counts.stale += 1;
            self.core.settle(sink);
        }
    }

    /// When to call [`Sequenced::tick`] next, if no packet comes before; `None`: not at all.
    pub fn next_tick_ns(&mut self) -> Option<u64> {
        let held = self.window.oldest();
        let next = self.core.past.next();
        let told = self.told.filter(|(sequence, _)| *sequence > next);
        let waits = [held, told].into_iter().flatten();
        let due = waits.map(|(_, since_ns)| since_ns.saturating_add(self.deadline_ns));
        let quiet = !self.core.is_stale && !self.ended;
        let stale = quiet.then(|| self.heard_ns.saturating_add(self.stale_ns));
        due.chain(stale).min()
    }

    /// Ends the run: hands out what is held and gives up what is missing. The feed can go on after it.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        self.give_up_all(Why::Finished, sink);
        self.close(sink);
        for line in 0..self.lines.len() {
            self.settle_line(line);
        }
    }

    /// Says that what is built from the feed was made whole by other means: a snapshot, say.
    pub fn resynced(&mut self, sink: &mut impl Sink) {
        self.core.is_recovering = false;
        self.core.settle(sink);
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.core.state
    }

    /// The session, once there is one, and its era.
    #[must_use]
    pub fn session(&self) -> Option<(Session, u64)> {
        self.core.session.map(|session| (session, self.core.era))
    }

    /// The sequence that is due next.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.core.past.next()
    }

    /// The sequence that a line comes to next: it has brought or passed over all before it. 0 while it is not in the
    /// era that is now.
    #[must_use]
    pub fn position(&self, line: usize) -> u64 {
        let line = self.lines.get(line);
        let line = line.filter(|line| line.era == self.core.era);
        line.map_or(0, |line| line.past.next())
    }

    /// Messages that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.window.count()
    }

    /// The first run of sequences that are missing now, from the first to the one after the last: what
    /// to ask for, where the transport can ask.
    #[must_use]
    pub fn missing(&self) -> Option<(u64, u64)> {
        let next = self.core.past.next();
        if self.core.high <= next {
            return None;
        }
        Some((next, self.window.first(next).unwrap_or(self.core.high)))
    }

    /// What a line brought; `None` for a line that there is not.
    #[must_use]
    pub fn line(&self, line: usize) -> Option<&LineCounts> {
        self.lines.get(line).map(|line| &line.counts)
    }

    /// What became of it all.
    #[must_use]
    pub fn union(&self) -> &UnionCounts {
        &self.core.counts
    }

    /// Whether a packet belongs to the era that is now; a new one may begin with it.
    fn is_of_now(&mut self, line: usize, packet: &Packet<'_>, sink: &mut impl Sink) -> bool {
        let Some(session) = self.core.session else {
            let first = match self.join {
                Join::AtOne => 1,
                Join::AtFirst => packet.first,
            };
            self.begin(packet.session, first, sink);
            self.core.counts.sessions += 1;
            self.enter(line);
            return true;
        };
        let (now_ns, span) = (self.now_ns, self.window.span());
        let from = &mut self.lines[line];
        let next = from.past.next();
        let was_quiet = now_ns - from.advanced_ns >= self.deadline_ns;
        if packet.session != session {
            let left = self.left.iter().flatten();
            let known = left
                .filter(|left| left.session == packet.session)
                .max_by_key(|left| left.era);
            let first = match known {
                None => 1,
                Some(left) if self.core.is_stale => left.high,
                Some(left) => {
                    if from.era == left.era {
                        from.note(packet.first, packet.end(), now_ns);
                    }
                    return false;
                }
            };
            self.give_up_all(Why::Session, sink);
            self.begin(packet.session, first, sink);
            self.core.counts.sessions += 1;
            self.enter(line);
            return true;
        }
        if from.era != self.core.era {
            let mut left = self.left.iter().flatten();
            let lags = left.any(|left| left.era == from.era && left.session == session)
                && !was_quiet
                && packet.first.saturating_add(span) >= next;
            if lags {
                from.note(packet.first, packet.end(), now_ns);
                return false;
            }
            self.enter(line);
            return true;
        }
        let from_one = packet.first == 1 && next > 1 && (next - 1 > span || was_quiet);
        let fell = packet.first.saturating_add(span) < next;
        if from_one || (fell && self.core.is_stale) {
            self.give_up_all(Why::Restart, sink);
            self.begin(session, 1, sink);
            self.core.counts.restarts += 1;
            self.enter(line);
        }
        true
    }

    /// Begins an era; nothing is held.
    fn begin(&mut self, session: Session, first: u64, sink: &mut impl Sink) {
        let core = &mut self.core;
        if let Some(over) = core.session {
            self.left.rotate_right(1);
            self.left[0] = Some(Left {
                era: core.era,
                session: over,
                high: core.high,
            });
        }
        core.session = Some(session);
        core.era += 1;
        core.past.begin(first);
        core.high = first;
        core.lost_earlier = core.lost_earlier.saturating_add(core.lost);
        core.lost = 0;
        core.begins = true;
        core.has_gap = false;
        // A feed that is joined midway lacks what was before; one that begins lacks nothing.
        core.is_recovering = first > 1;
        core.unbroken = 0;
        self.window.begin();
        (self.told, self.told_later) = (None, None);
        (self.end, self.ended) = (None, false);
        sink.event(Event::Began {
            session,
            era: core.era,
            first,
        });
        core.settle(sink);
    }

    /// Puts a line into the era that is now.
    fn enter(&mut self, line: usize) {
        self.settle_line(line);
        let from = &mut self.lines[line];
        from.era = self.core.era;
        from.past.begin(self.core.past.from());
        from.advanced_ns = self.now_ns;
    }

    /// Counts as missing on a line what its era had and it did not bring in the end.
    fn settle_line(&mut self, line: usize) {
        let from = &mut self.lines[line];
        let left = self.left.iter().flatten();
        let high = if from.era == self.core.era {
            Some(self.core.high)
        } else {
            let over = left.filter(|left| left.era == from.era);
            over.map(|left| left.high).next()
        };
        if let Some(high) = high
            && from.era != 0
        {
            let unseen = high.saturating_sub(from.past.next());
            from.counts.missing = from.counts.missing.saturating_add(unseen);
            from.past.advance(high, false);
        }
    }

    /// Takes in a packet of the era that is now.
    fn take(&mut self, line: usize, packet: &Packet<'_>, sink: &mut impl Sink) {
        let (core, window) = (&mut self.core, &mut self.window);
        let (now_ns, end) = (self.now_ns, packet.end());
        if end >= core.past.next() {
            self.heard_ns = now_ns;
            if core.is_stale {
                core.is_stale = false;
                core.settle(sink);
            }
        }
        if packet.first > core.past.next() {
            core.open_gap(sink);
        }
        let mut told = (packet.purpose != Purpose::Messages && packet.first > core.high)
            .then_some(packet.first);
        core.high = core.high.max(end);
        let counts = &mut self.lines[line].counts;
        let line = line as u8;
        for (sequence, message) in (packet.first..).zip(packet.messages) {
            if core.past.next() < sequence && sequence - core.past.next() >= window.span() {
                give_up(
                    core,
                    window,
                    sequence - window.span() + 1,
                    Why::Window,
                    sink,
                );
            }
            let next = core.past.next();
            if sequence == next {
                counts.first += 1;
                core.deliver(line, message, now_ns, sink);
                if window.count() > 0 {
                    drain(core, window, sink);
                }
            } else if sequence < next {
                match core.past.get(sequence) {
                    Some(true) => counts.duplicate += 1,
                    Some(false) => counts.late += 1,
                    None => counts.old += 1,
                }
            } else if window.has(sequence) {
                counts.duplicate += 1;
            } else if window.hold(sequence, line, message, now_ns) {
                counts.first += 1;
                core.counts.held_max = core.counts.held_max.max(window.count() as u64);
            } else {
                counts.unheld += 1;
                told = Some(sequence + 1);
            }
        }
        if let Some(sequence) = told {
            let next = core.past.next();
            let is_over = |told: &Option<(u64, u64)>| told.is_none_or(|(told, _)| told <= next);
            if is_over(&self.told) {
                self.told = self.told_later.take();
            }
            let is_first = is_over(&self.told);
            let place = if is_first {
                &mut self.told
            } else {
                &mut self.told_later
            };
            *place = Some((sequence, now_ns));
        }
        match packet.purpose {
            // One that is not after all that was sent is no end.
            Purpose::EndOfSession if end == core.high => self.end = Some(end),
            Purpose::Messages if self.end.is_some_and(|over| end > over) => {
                // It is not over after all.
                (self.end, self.ended) = (None, false);
            }
            _ => {}
        }
    }

    /// Gives up all that is missing and hands out all that is held.
    fn give_up_all(&mut self, why: Why, sink: &mut impl Sink) {
        let high = self.core.high;
        give_up(&mut self.core, &mut self.window, high, why, sink);
    }

    /// Settles the state after a change, and tells of an end that was reached.
    fn close(&mut self, sink: &mut impl Sink) {
        let core = &mut self.core;
        let next = core.past.next();
        core.has_gap = core.high > next;
        core.settle(sink);
        if let (Some(end), Some(session)) = (self.end, core.session)
            && next >= end
            && !self.ended
        {
            self.ended = true;
            core.counts.ended += 1;
            sink.event(Event::Ended { session, next });
        }
    }
}

/// Gives up what is missing before `end`, handing out what is held of it and right behind it.
fn give_up(core: &mut Core, window: &mut Window, end: u64, why: Why, sink: &mut impl Sink) {
    loop {
        drain(core, window, sink);
        let next = core.past.next();
        if next >= end {
            return;
        }
        let held = window.first(next).unwrap_or(end);
        core.lose(held.min(end), why, sink);
    }
}

/// Hands out what is held and due.
fn drain(core: &mut Core, window: &mut Window, sink: &mut impl Sink) {
    while let Some(held) = window.take(core.past.next()) {
        core.deliver(held.line, held.bytes, held.received_ns, sink);
    }
}
