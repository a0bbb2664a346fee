//! What stands behind a consuming node: a stage, or an egress.
//!
//! Invariant: the two differ in what they say of a frame and in where their time goes, and in nothing
//! else that a turn would have to know.

use crate::base::Envelope;
use crate::budget::Regime;
use crate::frame::{FrameError, Input};
use crate::io::{Driver, IoError};

use super::Stage;
use super::context::Context;
use super::counts::OwnCounts;
use super::egress::{Delivery, Egress, Leaving};
use super::outcome::Disposal;

/// What stands behind a consuming node: a stage, or an egress.
pub(crate) trait Handler: Send {
    const REGIME: Regime;

    /// Whether an emission is dated from when its frame was taken.
    const ONLY_COPIES: bool = false;

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError>;

    fn frame(
        &mut self,
        envelope: &Envelope,
        payload: &[u8],
        cx: &mut Context<'_>,
        io: &mut Driver,
    ) -> Result<Fate, FrameError>;

    /// Sends the oldest of what it queued: what became of how many.
    fn send_queued(&mut self, _io: &mut Driver) -> Option<(Fate, usize)> {
        None
    }

    fn timer(&mut self, _cx: &mut Context<'_>) {}

    fn rest(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn pending(&self) -> bool {
        false
    }

    fn housekeep(&mut self, _now_ns: u64, _io: &mut Driver) {}

    fn give_up(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn drained(&mut self, cx: &mut Context<'_>, io: &mut Driver) -> Result<(), IoError>;

    /// Whether that was all of it, or it is to be called again.
    fn is_drained(&self) -> bool {
        true
    }

    /// A number of what it has come to, asked once at the end.
    fn state_hash(&self) -> Option<u64> {
        None
    }

    /// Shows what it counts of its own.
    fn tell(&self, _counts: &OwnCounts) {}

    fn lost(&mut self) -> Option<(u8, u64)> {
        None
    }

    fn fault(&mut self) -> Option<String> {
        None
    }

    /// Drops the instance that panicked.
    fn let_go(&mut self) {}

    /// Makes another one and starts it.
    fn remake(&mut self) -> Result<(), String> {
        Err("it cannot be made again".to_owned())
    }
}

/// What a handler says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This became of it.
    Now(Disposal),
    /// It stays where it is.
    NotNow,
    /// It is in a queue that is sent by the end of the turn.
    Queued,
}

/// Makes an instance of a stage, or says why it could not.
pub type Make<S> = Box<dyn FnMut() -> Result<S, String> + Send>;

pub(crate) struct StageHandler<S> {
    /// None from a panic that it is restarted after until another one is made: no frame comes meanwhile.
    stage: Option<S>,
    make: Make<S>,
}

impl<S: Stage> StageHandler<S> {
    pub(crate) fn new(stage: S, make: Make<S>) -> StageHandler<S> {
        StageHandler {
            stage: Some(stage),
            make,
        }
    }
}

impl<S: Stage> Handler for StageHandler<S> {
    const REGIME: Regime = Regime::Work;
    const ONLY_COPIES: bool = S::ONLY_COPIES;

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        if let Some(stage) = &mut self.stage {
            stage.on_start();
        }
        Ok(())
    }

    #[inline]
    fn frame(
        &mut self,
        envelope: &Envelope,
        payload: &[u8],
        cx: &mut Context<'_>,
        _io: &mut Driver,
    ) -> Result<Fate, FrameError> {
        let Some(stage) = &mut self.stage else {
            return Ok(Fate::NotNow);
        };
        let view = S::In::view(envelope.kind, payload)?;
        Ok(Fate::Now(stage.on_frame(view, cx).disposal()))
    }

    fn timer(&mut self, cx: &mut Context<'_>) {
        if let Some(stage) = &mut self.stage {
            stage.on_timer(cx);
        }
    }

    fn drained(&mut self, cx: &mut Context<'_>, _io: &mut Driver) -> Result<(), IoError> {
        if let Some(stage) = &mut self.stage {
            stage.on_drain(cx);
        }
        Ok(())
    }

    fn is_drained(&self) -> bool {
        self.stage.as_ref().is_none_or(S::is_drained)
    }

    fn state_hash(&self) -> Option<u64> {
        self.stage.as_ref()?.state_hash()
    }

    fn tell(&self, counts: &OwnCounts) {
        if let Some(stage) = &self.stage {
            counts.tell(stage);
        }
    }

    fn let_go(&mut self) {
        self.stage = None;
    }

    fn remake(&mut self) -> Result<(), String> {
        let mut stage = (self.make)()?;
        stage.on_start();
        self.stage = Some(stage);
        Ok(())
    }
}

pub(crate) struct EgressHandler(pub(crate) Box<dyn Egress>);

impl Handler for EgressHandler {
    const REGIME: Regime = Regime::Io;

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.0.open(io)
    }

    #[inline]
    fn frame(
        &mut self,
        envelope: &Envelope,
        payload: &[u8],
        _cx: &mut Context<'_>,
        io: &mut Driver,
    ) -> Result<Fate, FrameError> {
        Ok(fate(self.0.on_frame(Leaving { envelope, payload }, io)))
    }

    fn send_queued(&mut self, io: &mut Driver) -> Option<(Fate, usize)> {
        let (delivery, count) = self.0.send_queued(io)?;
        Some((fate(delivery), count))
    }

    fn rest(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.0.flush(io)
    }

    fn pending(&self) -> bool {
        self.0.pending()
    }

    fn housekeep(&mut self, now_ns: u64, io: &mut Driver) {
        self.0.housekeep(now_ns, io);
    }

    fn give_up(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.0.give_up(io)
    }

    fn drained(&mut self, _cx: &mut Context<'_>, io: &mut Driver) -> Result<(), IoError> {
        self.0.close(io)
    }

    fn lost(&mut self) -> Option<(u8, u64)> {
        self.0.lost()
    }

    fn fault(&mut self) -> Option<String> {
        self.0.fault()
    }
}

fn fate(delivery: Delivery) -> Fate {
    match delivery {
        Delivery::Sent => Fate::Now(Disposal::Done),
        Delivery::Part => Fate::Now(Disposal::Held),
        Delivery::Rejected(why) => Fate::Now(Disposal::Rejected(why)),
        Delivery::NotNow => Fate::NotNow,
        Delivery::Queued => Fate::Queued,
    }
}
