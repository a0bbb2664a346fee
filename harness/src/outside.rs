//! What brings a line its messages from outside of it, and when it has taken them in.
//!
//! Invariant: waits for nothing itself; whoever watches the run asks again.

use std::time::Duration;

use hopline::topology::Running;

use crate::exchange::Exchange;
use crate::sender::Senders;

/// How long the line may take to read what senders have sent, after they have stopped.
const TAKE_IN: Duration = Duration::from_millis(200);

/// How long it may take for what came over a connection, as long as it goes on.
const TAKE_IN_ALL: Duration = Duration::from_secs(5);

/// Who brings a line its messages from outside of it.
pub(crate) struct Outside {
    pub(crate) senders: Option<Senders>,
    pub(crate) exchange: Option<Exchange>,
}

impl Outside {
    pub(crate) fn is_there(&self) -> bool {
        self.senders.is_some() || self.exchange.is_some()
    }

    /// Whether all that will come has left.
    pub(crate) fn is_done(&self) -> bool {
        self.senders.as_ref().is_none_or(Senders::is_done)
            && self.exchange.as_ref().is_none_or(Exchange::is_done)
    }

    /// What has left so far to each source.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&str, u64)> {
        let senders = self.senders.iter().flat_map(Senders::sent);
        senders.chain(self.exchange.iter().flat_map(Exchange::sent))
    }

    pub(crate) fn stop(&self) {
        self.senders.iter().for_each(Senders::stop);
        self.exchange.iter().for_each(Exchange::stop);
    }
}

/// Waits until a line has taken in what was sent to it.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    since: Option<Duration>,
    /// When something was last seen to come over a connection, and how much had come by then.
    last: Duration,
    received: u64,
}

impl Taking {
    /// Whether every datagram that was sent has been received, or dropped by the kernel, or has
    /// had its time.
    pub(crate) fn is_over(&mut self, outside: &Outside, running: &mut Running) -> bool {
        let now = running.elapsed();
        let since = *self.since.get_or_insert(now);
        let sources = running.report().ledger.sources;
        // A connection loses nothing, so what a slow line still takes in is worth some time.
        if outside.exchange.is_some() {
            let received = sources.values().map(|source| source.received).sum();
            if received > self.received && now.saturating_sub(since) < TAKE_IN_ALL {
                (self.received, self.last) = (received, now);
            }
        }
        if now.saturating_sub(since.max(self.last)) >= TAKE_IN {
            return true;
        }
        outside.sent().all(|(name, sent)| {
            sources
                .get(name)
                .is_some_and(|source| source.datagrams() + source.kernel_dropped >= sent)
        })
    }
}
