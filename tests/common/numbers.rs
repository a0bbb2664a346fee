//! A source that counts and a sink that checks the order, for tests of lines.

#![allow(dead_code, reason = "each test binary uses what it needs")]

use hopline::base::Reject;
use hopline::frame::View;
use hopline::io::{Driver, IoError};
use hopline::stage::{
    Arrival, Context, Decode, Decoded, Delivery, Egress, Feed, Ingress, Leaving, Out, Port,
    SourceContext,
};

#[hopline::frame(schema = 900, version = 1, name = "number")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) value: u64,
}

pub(crate) const NUMBERS: Out<Number> = Out::at(0);

/// Emits a number for each 8 bytes; refuses anything else; `parts` fragments for each.
pub(crate) struct Numbers {
    pub(crate) parts: usize,
}

impl Decode for Numbers {
    fn ports(&self) -> &'static [Port] {
        const PORTS: &[Port] = &[Port::new::<Number>("out")];
        PORTS
    }

    fn max_emit(&self) -> usize {
        self.parts
    }

    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let bytes: [u8; 8] = message.try_into().map_err(|_| Reject::BadLine)?;
        let frame = Number {
            value: u64::from_le_bytes(bytes),
        };
        if self.parts == 1 {
            cx.emit(NUMBERS, &frame);
        } else {
            let mut message = cx.message(NUMBERS, 900, self.parts);
            for _ in 0..self.parts {
                message.push(&frame);
            }
            message.send();
        }
        Ok(Decoded::default())
    }
}

/// Sends `count` numbers, `gap_ns` apart (0: as fast as it goes).
pub(crate) struct Counting {
    pub(crate) count: u64,
    pub(crate) gap_ns: u64,
    pub(crate) sent: u64,
    pub(crate) t0_ns: u64,
    pub(crate) decoder: Numbers,
}

impl Counting {
    pub(crate) fn new(count: u64, gap_ns: u64) -> Counting {
        Counting {
            count,
            gap_ns,
            sent: 0,
            t0_ns: 0,
            decoder: Numbers { parts: 1 },
        }
    }

    pub(crate) fn parts(mut self, parts: usize) -> Counting {
        self.decoder.parts = parts;
        self
    }

    pub(crate) fn due_ns(&self) -> u64 {
        self.t0_ns + self.sent * self.gap_ns
    }
}

impl Ingress for Counting {
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
        for nth in 0..32 {
            if self.sent == self.count {
                return Feed::Ended;
            }
            let now_ns = cx.stamp();
            if now_ns < self.due_ns() || !cx.has_room() {
                return Feed::Live;
            }
            if nth == 0 {
                cx.begin_io();
            }
            let bytes = self.sent.to_le_bytes();
            let t_intended_ns = if self.gap_ns == 0 {
                now_ns
            } else {
                self.due_ns()
            };
            let arrival = Arrival {
                bytes: &bytes,
                t_intended_ns,
                scheduled: self.gap_ns > 0,
                received_wall_ns: None,
                peer: None,
            };
            cx.message(arrival, &mut self.decoder);
            self.sent += 1;
        }
        Feed::Live
    }

    fn next_due_ns(&self) -> Option<u64> {
        Some(self.due_ns())
    }
}

#[derive(Default)]
pub(crate) struct Collect {
    pub(crate) last: Option<u64>,
}

impl Egress for Collect {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if !frame.envelope.flags.is_last() {
            return Delivery::Part;
        }
        let value = View::<Number>::read(frame.payload)
            .expect("a number")
            .value();
        assert!(self.last.is_none_or(|last| value > last), "order is kept");
        self.last = Some(value);
        Delivery::Sent
    }
}
