//! What a client's lanes have for it where the same is due to all that have come as far.
//!
//! Invariant: where [`Lanes::stretches`] gives any, [`Lanes::next`] would offer the same events in the same order, and nothing else.

use super::{ChannelId, Cursor, Lane, Lanes};
use crate::base::limits::EDGE_CONFLATE_FROM;
use crate::edge::channel::Channel;

/// Events of a channel, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) struct Stretch {
    pub(in crate::edge) channel: ChannelId,
    /// Behind this one.
    pub(in crate::edge) from: u64,
    /// Up to this one.
    pub(in crate::edge) to: u64,
}

impl Lanes {
    /// All that these channels have for it, into `stretches`; false if there is nothing, or some of it is for this client alone or
    /// is not to be sent as it is.
    pub(in crate::edge) fn stretches(
        &self,
        channels: &[Channel],
        stretches: &mut Vec<Stretch>,
    ) -> bool {
        stretches.clear();
        if !self.own.is_empty() {
            return false;
        }
        for cursor in &self.cursors {
            let Some(channel) = channels.get(cursor.channel.0 as usize) else {
                continue;
            };
            if cursor.has_to_tell() {
                return false;
            }
            let (from, to) = (cursor.at, channel.last());
            if from == to {
                continue;
            }
            let is_near = to - from < EDGE_CONFLATE_FROM && from + 1 >= channel.first();
            if !is_near || !cursor.takes_all() {
                return false;
            }
            stretches.push(Stretch {
                channel: cursor.channel,
                from,
                to,
            });
        }
        !stretches.is_empty()
    }

    /// Whether an event that is in a stretch is a sample for this client.
    pub(in crate::edge) fn samples(&self, channel: ChannelId, offset: u64) -> bool {
        let mut cursors = self.cursors.iter();
        cursors.any(|cursor| cursor.channel == channel && cursor.samples(offset))
    }

    /// All of these stretches are on their way.
    pub(in crate::edge) fn ran(&mut self, stretches: &[Stretch]) {
        for stretch in stretches {
            let Some(cursor) = self.of(stretch.channel) else {
                continue;
            };
            let events = stretch.to - cursor.at;
            (cursor.at, cursor.told) = (stretch.to, stretch.to);
            self.counts.sent += events;
            self.counts.messages += events;
        }
        (self.offered, self.retry_ns) = (None, None);
    }
}

impl Cursor {
    /// Whether something comes before its events.
    fn has_to_tell(&self) -> bool {
        self.snapshot || self.gap.is_some() || self.shed.iter().any(|count| *count > 0)
    }

    /// Whether each event goes to this client as it is and need not be heard of again.
    fn takes_all(&self) -> bool {
        let wish = &self.wish;
        self.lane != Lane::Critical
            && self.told == self.at
            && wish.kinds.is_empty()
            && wish.rate.is_none()
            && wish.budget_ns.is_none()
    }
}
