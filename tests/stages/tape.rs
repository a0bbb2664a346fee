//! The ends of a test's line: a source that plays messages at their times, and a sink that keeps frames.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use hopline::base::Reject;
use hopline::base::limits::FRAGMENTS_MAX;
use hopline::feed::market::{DepthHead, Market, SnapshotHead};
use hopline::feed::{Decoder, Message, Symbols, fragments};
use hopline::frame::{Frame, KindInfo};
use hopline::io::VirtualNet;
use hopline::io::{Driver, IoError};
use hopline::stage::{Arrival, Decode, Decoded, Feed, Ingress, SourceContext};
use hopline::stage::{Context, Delivery, Egress, Out, Port, egress::Leaving};
use hopline::stages::Pass;
use hopline::topology::{Inline, Line, Report};

/// A message and when it is due, in nanoseconds from the start.
pub(crate) type Timed = (u64, Vec<u8>);

/// Runs a line on virtual time, in a world of its own.
pub(crate) fn run(line: Line) -> Report {
    let driver = Driver::from(VirtualNet::new().driver());
    line.run_inline(Inline::new(driver), None).unwrap().0
}

/// The exchange's JSON into frames.
pub(crate) struct Wire(Decoder);

impl Wire {
    /// For one symbol under its number of the line.
    pub(crate) fn new(symbol: &str, number: u16) -> Wire {
        let symbols = Symbols::numbered(&[(symbol, number)]).unwrap();
        Wire(Decoder::new(symbols, Some(symbol)).unwrap())
    }
}

impl Decode for Wire {
    fn ports(&self) -> &'static [Port] {
        const { &[Port::new::<Market>("out")] }
    }

    fn max_emit(&self) -> usize {
        FRAGMENTS_MAX
    }

    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let out = Out::<Market>::at(0);
        let message = self.0.decode(message)?;
        match &message {
            Message::BookTicker(ticker) => drop(cx.emit(out, ticker)),
            Message::Trade(trade) => drop(cx.emit(out, trade)),
            Message::Depth { head, .. } => {
                let mut frames = cx.message(out, DepthHead::SCHEMA, message.frames());
                frames.push(head);
                fragments(&message).for_each(|levels| frames.push(&levels));
                frames.send();
            }
            Message::Snapshot { head, .. } => {
                let mut frames = cx.message(out, SnapshotHead::SCHEMA, message.frames());
                frames.push(head);
                fragments(&message).for_each(|levels| frames.push(&levels));
                frames.send();
            }
        }
        Ok(Decoded::default())
    }
}

/// Plays messages.
pub(crate) struct Tape<D> {
    messages: Vec<Timed>,
    next: usize,
    decoder: D,
    t0_ns: u64,
}

impl<D: Decode> Tape<D> {
    pub(crate) fn new(messages: Vec<Timed>, decoder: D) -> Tape<D> {
        Tape {
            messages,
            next: 0,
            decoder,
            t0_ns: 0,
        }
    }
}

impl<D: Decode> Ingress for Tape<D> {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        self.t0_ns = t0_ns;
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        for _ in 0..32 {
            let Some((due_ns, bytes)) = self.messages.get(self.next) else {
                return Feed::Ended;
            };
            let t_intended_ns = self.t0_ns + due_ns;
            if cx.stamp() < t_intended_ns || !cx.has_room() {
                break;
            }
            let arrival = Arrival {
                bytes,
                t_intended_ns,
                scheduled: true,
                received_wall_ns: None,
                peer: None,
            };
            cx.message(arrival, &mut self.decoder);
            self.next += 1;
        }
        Feed::Live
    }

    fn next_due_ns(&self) -> Option<u64> {
        let (due_ns, _) = self.messages.get(self.next)?;
        Some(self.t0_ns + due_ns)
    }
}

/// Keeps the frames of one kind, or of a set.
pub(crate) struct Keep<F: Pass>(SyncSender<F::Owned>);

/// A sink, and where its frames are after the run.
pub(crate) fn keep<F: Pass>() -> (Keep<F>, Receiver<F::Owned>) {
    let (tx, rx) = sync_channel(1 << 18);
    (Keep(tx), rx)
}

impl<F: Pass> Egress for Keep<F> {
    fn takes(&self) -> &'static [KindInfo] {
        F::KINDS
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        let view = F::view(frame.envelope.kind, frame.payload).unwrap();
        self.0.try_send(F::keep(view)).unwrap();
        if frame.envelope.flags.is_last() {
            Delivery::Sent
        } else {
            Delivery::Part
        }
    }
}
