//! Decoders of sequenced market feeds: each message becomes a frame of its bytes, with its place and what
//! can be relied on.
//!
//! From a source that is not sequenced (a connection, a file) each message counts as the next one of a feed
//! without loss.
//!
//! Invariant: what is no message of the feed is refused before it is a frame.

use core::marker::PhantomData;

use crate::base::Reject;
use crate::feed::packets::{Carrier, Session};
use crate::feed::sequenced::{Delivery, State};
use crate::feed::views::MessageReject;
use crate::feed::{DeepMessage, ItchMessage, TopsMessage, deep, tops};
use crate::frame::Frame;
use crate::stage::{Context, Decode, Decoded, Out, Port};

/// A frame that a message of a sequenced feed becomes.
pub trait FeedFrame: Frame + Send {
    /// By which transport its feed comes.
    const CARRIER: Carrier;

    /// The frame of a message, and its number.
    ///
    /// # Errors
    /// Bytes that are no message of the feed.
    fn of(delivery: &Delivery<'_>, number: u16) -> Result<Self, MessageReject>;
}

macro_rules! feed_frame {
    ($frame:ident, $carrier:expr) => {
        impl FeedFrame for $frame {
            const CARRIER: Carrier = $carrier;

            #[inline]
            fn of(delivery: &Delivery<'_>, number: u16) -> Result<$frame, MessageReject> {
                $frame::of(delivery, number)
            }
        }
    };
}

feed_frame!(ItchMessage, Carrier::MoldUdp64);
feed_frame!(DeepMessage, Carrier::IexTp(deep::PROTOCOL));
feed_frame!(TopsMessage, Carrier::IexTp(tops::PROTOCOL));

/// Decodes the messages of a feed into its frames.
#[derive(Debug)]
pub struct FeedDecoder<F> {
    /// Messages so far, where nobody numbers them.
    sequence: u64,
    /// Of the next frame.
    number: u16,
    kind: PhantomData<fn(F)>,
}

impl<F> FeedDecoder<F> {
    fn new() -> FeedDecoder<F> {
        FeedDecoder {
            sequence: 0,
            number: 0,
            kind: PhantomData,
        }
    }
}

/// Messages of TotalView-ITCH 5.0.
#[must_use]
pub fn itch() -> FeedDecoder<ItchMessage> {
    FeedDecoder::new()
}

/// Messages of DEEP 1.0.
#[must_use]
pub fn deep() -> FeedDecoder<DeepMessage> {
    FeedDecoder::new()
}

/// Messages of TOPS 1.6.
#[must_use]
pub fn tops() -> FeedDecoder<TopsMessage> {
    FeedDecoder::new()
}

impl<F: FeedFrame> Decode for FeedDecoder<F> {
    fn ports(&self) -> &'static [Port] {
        const { &[Port::new::<F>("out")] }
    }

    fn only_copies(&self) -> bool {
        true
    }

    fn comes_by(&self) -> Option<Carrier> {
        Some(F::CARRIER)
    }

    #[inline]
    fn decode_in_sequence(
        &mut self,
        delivery: &Delivery<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Decoded, Reject> {
        let frame = F::of(delivery, self.number).map_err(MessageReject::as_reject)?;
        // Whether a hop takes it or not: who gets the next one sees that one is missing.
        self.number = self.number.wrapping_add(1);
        cx.emit(Out::<F>::at(0), &frame);
        Ok(Decoded::default())
    }

    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        self.sequence += 1;
        let delivery = Delivery {
            session: Session::Number(0),
            era: 1,
            sequence: self.sequence,
            line: 0,
            state: State::Live,
            begins: self.sequence == 1,
            lost: 0,
            lost_earlier: 0,
            received_ns: cx.now_ns(),
            bytes: message,
        };
        self.decode_in_sequence(&delivery, cx)
    }
}
