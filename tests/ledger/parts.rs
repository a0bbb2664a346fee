//! What emits on the lines: a source and a stage that do what their plans say, and write down what they saw.
//!
//! Invariant: what is drawn here depends on the plan's seed and on what came, never on the time of the machine.

use hopline::base::{Flags, Prng, Reason, Reject};
use hopline::frame::{Frame, View};
use hopline::io::{Driver, IoError};
use hopline::stage::{
    Arrival, Context, Decode, Decoded, Emit, Feed, Ingress, Out, Outcome, Port, SourceContext,
    Stage,
};

use crate::account::{Made, Said, Seen, Shared};
use crate::plan::{Habits, Moment, SourcePlan, StagePlan};

/// Longest that a stage holds a message before it looks at it again.
const HOLD_NS: u64 = 400_000;

/// What each frame says of itself.
macro_rules! kind {
    ($name:ident, $schema:literal, $text:literal $(, key = $key:literal)?) => {
        #[hopline::frame(schema = $schema, version = 1, name = $text $(, key = $key)?)]
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name {
            seq: u64,
            from: u32,
            port: u32,
            part: u32,
            parts: u32,
            key: u64,
        }

        impl $name {
            fn of(made: &Made, part: usize) -> $name {
                $name {
                    seq: made.seq,
                    from: made.from as u32,
                    port: made.port as u32,
                    part: part as u32,
                    parts: made.parts as u32,
                    key: key_of(made.seq),
                }
            }

            pub(crate) fn seen(view: View<'_, $name>) -> Seen {
                Seen {
                    from: view.from() as usize,
                    port: view.port() as usize,
                    seq: view.seq(),
                    part: view.part() as usize,
                    parts: view.parts() as usize,
                }
            }
        }
    };
}

/// Keys of the kind that has some.
pub(crate) const KEYS: u64 = 5;

pub(crate) fn key_of(seq: u64) -> u64 {
    Prng::new(seq).below(KEYS)
}

kind!(Token, 910, "token", key = "key");
kind!(Mark, 911, "mark");
kind!(Alien, 912, "alien");

#[hopline::frame_set]
#[derive(Clone, Debug)]
pub(crate) enum Both {
    Token(Token),
    Mark(Mark),
}

#[hopline::frame_set]
#[derive(Clone, Debug)]
pub(crate) enum All {
    Token(Token),
    Mark(Mark),
    Alien(Alien),
}

const PORTS: &[Port] = &[Port::new::<Both>("out"), Port::optional::<Both>("extra")];

fn out(port: usize) -> Out<All> {
    Out::at(port)
}

hopline::reasons! {
    /// Why a stage ends a message.
    pub(crate) enum Why {
        /// It led to nothing.
        Nothing = "nothing",
        /// It was enough.
        Enough = "enough",
        /// It was not wanted.
        Unwanted = "unwanted",
    }
}

/// Panics without the words that a hook would print.
pub(crate) fn panics() -> ! {
    std::panic::resume_unwind(Box::new("planted"))
}

pub(crate) fn hit(prng: &mut Prng, one_in: u32) -> bool {
    one_in != 0 && prng.below(u64::from(one_in)) == 0
}

/// What emits: the part that a source's decoder and a stage have in common.
struct Emitter {
    me: usize,
    habits: Habits,
    prng: Prng,
    shared: Shared,
    /// Frames that may still be emitted by each port in this call.
    left: [usize; 2],
    /// Emissions that a hop was offered, and those that one took, since these were last asked for.
    offered: u64,
    sent: u64,
}

impl Emitter {
    fn new(me: usize, seed: u64, habits: &Habits, shared: &Shared) -> Emitter {
        Emitter {
            me,
            habits: habits.clone(),
            prng: Prng::new(seed ^ Prng::new(me as u64).next_u64()),
            shared: shared.clone(),
            left: [0; 2],
            offered: 0,
            sent: 0,
        }
    }

    fn hit(&mut self, one_in: u32) -> bool {
        hit(&mut self.prng, one_in)
    }

    fn begin(&mut self) {
        self.left = [self.habits.emit_max; 2];
        (self.offered, self.sent) = (0, 0);
    }

    fn take_offered(&mut self) -> (u64, u64) {
        (
            core::mem::take(&mut self.offered),
            core::mem::take(&mut self.sent),
        )
    }

    /// Emits as the habits say: one message or several, on one port or both, or what is none.
    fn emit(&mut self, cx: &mut Context<'_>) {
        if self.hit(self.habits.take_back) {
            drop(cx.message(out(0), Token::SCHEMA, self.left[0].max(1)));
            return;
        }
        if self.hit(self.habits.empty) {
            let nothing = cx.message(out(0), Mark::SCHEMA, 0).send();
            assert_eq!(
                nothing,
                Emit::Unconnected,
                "a message of nothing is nothing"
            );
            return;
        }
        let messages = match self.hit(self.habits.several) {
            true => 1 + self.prng.below(4),
            false => 1,
        };
        for _ in 0..messages {
            self.message(cx);
        }
    }

    fn message(&mut self, cx: &mut Context<'_>) {
        let port = usize::from(self.hit(self.habits.on_extra));
        if self.left[port] == 0 {
            return;
        }
        let parts = match self.prng.below(2) {
            0 => 1,
            _ => 1 + self.prng.below(self.left[port] as u64) as usize,
        };
        self.left[port] -= parts;
        let is_mark = self.prng.below(4) == 0;
        let alien_at = self
            .hit(self.habits.alien)
            .then(|| self.prng.below(parts as u64) as usize);
        let kind = match (alien_at, is_mark) {
            (Some(0), _) => "other",
            (_, true) => "mark",
            (_, false) => "token",
        };
        let seq = lock(&self.shared).next_seq(self.me, port);
        let is_frame = parts == 1 && self.prng.below(2) == 0;
        let made = Made {
            from: self.me,
            port,
            seq,
            parts,
            kind,
            alien_at,
            // What is a message of several fragments does not wait.
            key: (parts == 1 && kind == "token").then(|| key_of(seq)),
        };
        let told = if is_frame {
            match kind {
                "other" => cx.emit(out(port), &Alien::of(&made, 0)),
                "mark" => cx.emit(out(port), &Mark::of(&made, 0)),
                _ => cx.emit(out(port), &Token::of(&made, 0)),
            }
        } else {
            let schema = match kind {
                "other" => Alien::SCHEMA,
                "mark" => Mark::SCHEMA,
                _ => Token::SCHEMA,
            };
            let mut message = cx.message(out(port), schema, parts);
            for part in 0..parts {
                match (alien_at == Some(part), is_mark) {
                    (true, _) => message.push(&Alien::of(&made, part)),
                    (_, true) => message.push(&Mark::of(&made, part)),
                    (_, false) => message.push(&Token::of(&made, part)),
                }
            }
            message.send()
        };
        self.offered += u64::from(told != Emit::Unconnected);
        self.sent += u64::from(told.is_sent());
        lock(&self.shared).emitted(made, told);
    }

    /// Panics in the middle of a message, which is then taken back.
    fn panic_in_message(&mut self, cx: &mut Context<'_>) -> ! {
        let made = Made {
            from: self.me,
            port: 0,
            seq: u64::MAX,
            parts: 2,
            kind: "token",
            alien_at: None,
            key: None,
        };
        let mut message = cx.message(out(0), Token::SCHEMA, self.habits.emit_max);
        message.push(&Token::of(&made, 0));
        panics()
    }
}

pub(crate) fn lock(
    shared: &Shared,
) -> impl core::ops::DerefMut<Target = crate::account::Account> + '_ {
    shared.lock().expect("no part panics while it writes")
}

/// A source that hands over numbered messages in bursts.
pub(crate) struct Feeder {
    plan: SourcePlan,
    left: u64,
    hand: u64,
    t0_ns: u64,
    decoder: Decoder,
}

struct Decoder {
    emitter: Emitter,
    decoded: u64,
}

impl Feeder {
    pub(crate) fn new(me: usize, seed: u64, plan: &SourcePlan, shared: &Shared) -> Feeder {
        Feeder {
            left: plan.messages,
            hand: 0,
            t0_ns: 0,
            decoder: Decoder {
                emitter: Emitter::new(me, seed, &plan.habits, shared),
                decoded: 0,
            },
            plan: plan.clone(),
        }
    }

    fn due_ns(&self) -> u64 {
        self.t0_ns + (self.plan.messages - self.left) / self.plan.burst * self.plan.gap_ns
    }

    fn hold(&mut self, messages: u64) {
        self.hand = messages;
        let emitter = &self.decoder.emitter;
        lock(&emitter.shared).nodes[emitter.me].in_hand = messages;
    }
}

impl Ingress for Feeder {
    fn ports(&self) -> &'static [Port] {
        PORTS
    }

    fn max_emit(&self) -> usize {
        self.plan.habits.emit_max
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        self.t0_ns = t0_ns;
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        let only_hand = self.hand > 0;
        let mut begun = false;
        for _ in 0..32 {
            if self.hand == 0 {
                if only_hand {
                    return Feed::Live;
                }
                if self.left == 0 {
                    return Feed::Ended;
                }
                if cx.stamp() < self.due_ns() {
                    return Feed::Live;
                }
                let batch = self.plan.batch.min(self.left);
                self.left -= batch;
                self.hold(batch);
            }
            if !cx.has_room() {
                return Feed::Live;
            }
            if !begun {
                cx.begin_io();
                begun = true;
            }
            let bytes = self.decoder.decoded.to_le_bytes();
            let arrival = Arrival {
                bytes: &bytes,
                t_intended_ns: self.due_ns(),
                scheduled: self.plan.gap_ns > 0,
                received_wall_ns: None,
                peer: None,
            };
            self.hold(self.hand - 1);
            cx.message(arrival, &mut self.decoder);
        }
        Feed::Live
    }

    fn in_hand(&self) -> usize {
        self.hand as usize
    }

    fn next_due_ns(&self) -> Option<u64> {
        Some(self.due_ns())
    }
}

impl Decode for Decoder {
    fn ports(&self) -> &'static [Port] {
        PORTS
    }

    fn max_emit(&self) -> usize {
        self.emitter.habits.emit_max
    }

    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let emitter = &mut self.emitter;
        emitter.begin();
        self.decoded += 1;
        let moment = emitter
            .habits
            .panic_at
            .filter(|(nth, _)| *nth + 1 == self.decoded);
        let moment = moment.map(|(_, moment)| moment);
        {
            let mut account = lock(&emitter.shared);
            account.called();
            account.nodes[emitter.me].received += 1;
            assert_eq!(message.len(), 8);
        }
        if let Some(moment) = moment {
            let me = emitter.me;
            if moment == Moment::AfterEmitting {
                emitter.emit(cx);
            }
            let mut account = lock(&emitter.shared);
            account.fails(me, None, false);
            account.decoded(me, Some("panicked"), 0, 0);
            drop(account);
            if moment == Moment::InMessage {
                emitter.panic_in_message(cx);
            }
            panics();
        }
        let silent = emitter.hit(emitter.habits.silent);
        let refused = emitter
            .hit(emitter.habits.reject)
            .then_some(Reject::BadLine);
        if refused.is_none() || silent {
            emitter.emit(cx);
        }
        let (offered, sent) = emitter.take_offered();
        let refused = refused.or_else(|| (offered == 0 && !silent).then_some(Reject::Empty));
        lock(&emitter.shared).decoded(emitter.me, refused.map(Reason::name), sent, offered);
        refused.map_or(Ok(Decoded::default()), Err)
    }
}

/// A stage that emits at most `MAX` frames on a port for a frame.
pub(crate) struct Worker<const MAX: usize> {
    work: u64,
    emitter: Emitter,
    messages: u64,
    held: u64,
    /// Whether a fragment of the message in hand led to an emission.
    led: bool,
}

impl<const MAX: usize> Worker<MAX> {
    pub(crate) fn new(me: usize, seed: u64, plan: &StagePlan, shared: &Shared) -> Worker<MAX> {
        Worker {
            work: plan.work,
            emitter: Emitter::new(me, seed, &plan.habits, shared),
            messages: 0,
            held: 0,
            led: false,
        }
    }

    /// Whether it is to panic again, and at which message and where.
    fn panic_at(&self) -> Option<(u64, Moment)> {
        let emitter = &self.emitter;
        let before = lock(&emitter.shared).nodes[emitter.me].panics;
        let at = emitter.habits.panic_at;
        at.filter(|_| before < emitter.habits.panics)
    }

    fn moment(&self) -> Option<Moment> {
        let at = self.panic_at().filter(|(nth, _)| *nth == self.messages);
        at.map(|(_, moment)| moment)
    }

    fn panics_at(&self, moment: Moment) {
        if self.panic_at().is_some_and(|(_, at)| at == moment) {
            let ends = moment == Moment::Drain;
            lock(&self.emitter.shared).fails(self.emitter.me, None, ends);
            panics();
        }
    }

    /// Settles one message that it holds.
    fn settle(&mut self, cx: &mut Context<'_>, may_emit: bool) {
        let emitter = &mut self.emitter;
        let said = match emitter.prng.below(4) {
            0 => Outcome::rejected(Why::Unwanted),
            1 => Outcome::absorbed(Why::Enough),
            _ => {
                if may_emit {
                    emitter.emit(cx);
                }
                Outcome::absorbed(Why::Nothing)
            }
        };
        let (offered, _) = emitter.take_offered();
        cx.settle(said);
        lock(&emitter.shared).settled(emitter.me, said_of(said), offered > 0);
        self.held -= 1;
    }

    /// What it does with a whole message.
    fn decide(&mut self, cx: &mut Context<'_>) -> Outcome<Why> {
        let emitter = &mut self.emitter;
        let habits = emitter.habits.clone();
        if emitter.hit(habits.hold) {
            self.held += 1;
            let at_ns = cx.now_ns() + emitter.prng.below(HOLD_NS);
            cx.wake_at(at_ns);
            return Outcome::held();
        }
        if emitter.hit(habits.reject) {
            return Outcome::rejected(Why::Unwanted);
        }
        if emitter.hit(habits.absorb) {
            return Outcome::absorbed(Why::Enough);
        }
        if emitter.hit(habits.silent) {
            return Outcome::done();
        }
        emitter.emit(cx);
        if emitter.hit(habits.both) {
            return Outcome::rejected(Why::Unwanted);
        }
        match emitter.offered > 0 || self.led {
            true => Outcome::done(),
            false => Outcome::absorbed(Why::Nothing),
        }
    }
}

fn said_of(outcome: Outcome<Why>) -> Said {
    use hopline::stage::Disposal;
    let name = |why: u8| Why::NAMES[usize::from(why)];
    match outcome.disposal() {
        Disposal::Done => Said::Done,
        Disposal::Absorbed(why) => Said::Absorbed(name(why)),
        Disposal::Rejected(why) => Said::Rejected(name(why)),
        Disposal::Held => Said::Held,
    }
}

impl<const MAX: usize> Stage for Worker<MAX> {
    type In = Both;
    type Why = Why;
    const PORTS: &'static [Port] = PORTS;
    const MAX_EMIT: usize = MAX;

    fn on_frame(&mut self, frame: BothView<'_>, cx: &mut Context<'_>) -> Outcome<Why> {
        let seen = match frame {
            BothView::Token(view) => Token::seen(view),
            BothView::Mark(view) => Mark::seen(view),
        };
        assert_eq!(cx.flags(), Flags::fragment(seen.part, seen.parts));
        self.emitter.begin();
        let hop = lock(&self.emitter.shared).took(self.emitter.me, seen);
        if seen.part == 0 {
            // The rest of the one before may have been spoilt.
            self.led = false;
        }
        for _ in 0..self.work {
            let _ = cx.stamp();
        }
        let moment = self.moment();
        if let Some(moment @ (Moment::Before | Moment::AfterEmitting | Moment::InMessage)) = moment
        {
            if moment == Moment::AfterEmitting {
                self.emitter.emit(cx);
            }
            lock(&self.emitter.shared).fails(self.emitter.me, Some((seen, hop)), false);
            if moment == Moment::InMessage {
                self.emitter.panic_in_message(cx);
            }
            panics();
        }
        if !seen.is_last() {
            if seen.part == 0 && self.emitter.hit(self.emitter.habits.eager) {
                self.emitter.emit(cx);
                self.led = self.emitter.take_offered().0 > 0;
            }
            return Outcome::held();
        }
        self.messages += 1;
        if self.held > 0 && self.emitter.prng.below(3) == 0 {
            self.settle(cx, true);
        }
        let outcome = self.decide(cx);
        let offered = self.emitter.take_offered().0 > 0 || core::mem::take(&mut self.led);
        let mut account = lock(&self.emitter.shared);
        account.said(self.emitter.me, hop, said_of(outcome), offered);
        outcome
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.panics_at(Moment::Timer);
        lock(&self.emitter.shared).called();
        self.emitter.begin();
        if self.emitter.hit(self.emitter.habits.chatty) {
            self.emitter.emit(cx);
        }
        if self.held > 0 {
            self.settle(cx, true);
        }
        if self.held > 0 {
            let at_ns = cx.now_ns() + self.emitter.prng.below(HOLD_NS);
            cx.wake_at(at_ns);
        }
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) {
        self.panics_at(Moment::Drain);
        self.emitter.begin();
        if self.emitter.habits.keeps_at_end {
            return;
        }
        let mut first = true;
        while self.held > 0 {
            self.settle(cx, core::mem::take(&mut first));
        }
    }
}
