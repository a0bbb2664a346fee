//! What a feed hands out, on its way to the decoder: at once where there is room, else by the queue.
//!
//! Invariant: messages leave in the order of the feed; what a frame should have said and no hop took is said by
//! the next one.

use crate::base::Reason as _;
use crate::base::limits::BURST_MESSAGES;
use crate::budget::sequenced::{LostRange, SequencedCounters};
use crate::feed::packets::Session;
use crate::feed::sequenced::{Delivery, Event, Sink, State};
use crate::stage::{Decode, InHand, SourceContext};

use super::waiting::Waiting;

/// What the next frame has to say of what was before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    state: State,
    begins: bool,
    lost: u64,
    lost_earlier: u64,
}

impl Owed {
    pub(super) const NOTHING: Owed = Owed {
        state: State::Live,
        begins: false,
        lost: 0,
        lost_earlier: 0,
    };

    /// The same message, saying this as well.
    #[inline]
    fn beside<'d>(&self, delivery: &Delivery<'d>) -> Delivery<'d> {
        let mut merged = *delivery;
        merged.state = merged.state.max(self.state);
        if merged.begins {
            // What was owed is of earlier eras.
            merged.lost_earlier = merged
                .lost_earlier
                .saturating_add(self.lost)
                .saturating_add(self.lost_earlier);
        } else {
            merged.lost = merged.lost.saturating_add(self.lost);
            merged.lost_earlier = merged.lost_earlier.saturating_add(self.lost_earlier);
        }
        merged.begins |= self.begins;
        merged
    }
}

/// Hands messages to the decoder.
pub(super) struct Giver<'h, 'a, 't> {
    pub(super) cx: &'h mut SourceContext<'a, 't>,
    pub(super) decoder: &'h mut dyn Decode,
    pub(super) owed: &'h mut Owed,
    pub(super) in_hand: InHand,
    /// Messages for which there is room for certain.
    pub(super) room: usize,
}

impl Giver<'_, '_, '_> {
    /// Whether a message has room.
    #[inline]
    fn has_room(&mut self) -> bool {
        if self.room == 0 {
            self.room = if self.cx.has_room_for(BURST_MESSAGES) {
                BURST_MESSAGES
            } else {
                usize::from(self.cx.has_room_for(1))
            };
        }
        self.room > 0
    }

    #[inline]
    fn give(&mut self, delivery: &Delivery<'_>, t_intended_ns: u64, waited: bool) {
        self.room = self.room.saturating_sub(1);
        let delivery = self.owed.beside(delivery);
        let has_left =
            self.cx
                .sequenced_message(&delivery, t_intended_ns, self.decoder, self.in_hand, waited);
        *self.owed = if has_left {
            Owed::NOTHING
        } else {
            Owed {
                state: delivery.state,
                begins: delivery.begins,
                lost: delivery.lost,
                lost_earlier: delivery.lost_earlier,
            }
        };
    }

    /// Hands over what waits, as long as there is room, at most so many.
    pub(super) fn give_waiting(&mut self, waiting: &mut Waiting, most: usize) {
        for _ in 0..most {
            if waiting.is_empty() || !self.has_room() {
                return;
            }
            let Some((delivery, t_intended_ns)) = waiting.next() else {
                return;
            };
            self.give(&delivery, t_intended_ns, true);
        }
    }
}

/// Takes what a feed hands out in a turn.
pub(super) struct Hand<'h, 'a, 't> {
    pub(super) giver: Giver<'h, 'a, 't>,
    pub(super) waiting: &'h mut Waiting,
    pub(super) counters: &'h SequencedCounters,
    /// When the datagram in hand came in, and when its messages were ready.
    pub(super) received_ns: u64,
    pub(super) t_intended_ns: u64,
}

impl Sink for Hand<'_, '_, '_> {
    #[inline]
    fn message(&mut self, delivery: &Delivery<'_>) {
        // What was held became ready when its copy came in.
        let t_intended_ns = if delivery.received_ns == self.received_ns {
            self.t_intended_ns
        } else {
            delivery.received_ns
        };
        // There is room in the queue for all that can come at once; if that were not so, the hop would say
        // that it had none.
        let waits = !self.waiting.is_empty() || !self.giver.has_room();
        if !waits || !self.waiting.push(delivery, t_intended_ns) {
            self.giver.give(delivery, t_intended_ns, false);
        }
    }

    fn event(&mut self, event: Event) {
        if let Event::Lost {
            session,
            era,
            first,
            end,
            why,
        } = event
        {
            self.counters.note_lost(LostRange {
                session: characters(session),
                era,
                first,
                end,
                why: why.name(),
            });
        }
    }
}

/// A session in ten characters: those of MoldUDP64, or a number as `Session` prints it.
fn characters(session: Session) -> [u8; 10] {
    match session {
        Session::Name(name) => name,
        Session::Number(number) => {
            let mut text = *b"0x00000000";
            for (at, digit) in text[2..].iter_mut().enumerate() {
                *digit = b"0123456789abcdef"[(number >> (28 - 4 * at) & 15) as usize];
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_written_as_it_is_printed() {
        for session in [Session::Number(0x4287_00af), Session::Name(*b"0123456789")] {
            assert_eq!(&characters(session)[..], session.to_string().as_bytes());
        }
    }

    #[test]
    fn what_is_owed_is_said_once_more() {
        let message = Delivery {
            session: Session::Number(1),
            era: 1,
            sequence: 5,
            line: 0,
            state: State::Recovering,
            begins: false,
            lost: 1,
            lost_earlier: 0,
            received_ns: 0,
            bytes: b"",
        };
        let owed = Owed {
            state: State::Gap,
            begins: true,
            lost: 2,
            lost_earlier: 3,
        };
        let both = owed.beside(&message);
        assert_eq!((both.state, both.begins), (State::Gap, true));
        assert_eq!((both.lost, both.lost_earlier), (3, 3));
        let first = Delivery {
            begins: true,
            ..message
        };
        let both = owed.beside(&first);
        assert_eq!((both.lost, both.lost_earlier), (1, 5));
        let nothing = Owed::NOTHING.beside(&message);
        assert_eq!((nothing.state, nothing.lost), (message.state, message.lost));
    }
}
