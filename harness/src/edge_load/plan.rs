//! What each client of a load is: how it is connected, what it follows, and how it behaves.
//!
//! Invariant: a function of the client's number: two loads of the same flags have the same clients.

use hopline::edge::ChannelName;
use serde::Serialize;

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Via {
    /// A WebSocket, over which it follows all channels.
    #[serde(rename = "ws")]
    WebSocket,
    /// Server-sent events of one channel.
    Sse,
    /// Lines of JSON of one channel.
    Ndjson,
}

impl Via {
    pub(super) const ALL: [Via; 3] = [Via::WebSocket, Via::Sse, Via::Ndjson];
}

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As a client should.
    Steady,
    /// It asks, and never reads.
    Slow,
    /// It sends pings as fast as they are read.
    Flood,
}

/// So many connections are cut at once, at that time from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(super) count: usize,
    pub(super) at_ns: u64,
}

/// The clients of a load.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) clients: u32,
    /// The ways, which clients take in turn.
    pub(super) vias: Vec<Via>,
    pub(super) channels: Vec<ChannelName<'static>>,
    /// So many never read; they come first.
    pub(super) slow: u32,
    /// So many send without end; they come next, on WebSockets.
    pub(super) flood: u32,
}

impl Plan {
    pub(super) fn manner(&self, client: u32) -> Manner {
        match client {
            client if client < self.slow => Manner::Slow,
            client if client < self.slow + self.flood => Manner::Flood,
            _ => Manner::Steady,
        }
    }

    pub(super) fn via(&self, client: u32) -> Via {
        match self.manner(client) {
            Manner::Flood => Via::WebSocket,
            _ => self.vias[client as usize % self.vias.len()],
        }
    }

    /// Places of the channels that it follows: a WebSocket all, a stream one, in turn.
    pub(super) fn follows(&self, client: u32) -> core::ops::Range<u16> {
        let count = self.channels.len();
        if self.via(client) == Via::WebSocket {
            return 0..count as u16;
        }
        let nth = client as usize / self.vias.len() % count;
        nth as u16..nth as u16 + 1
    }

    /// How many take each way.
    pub(super) fn count(&self, via: Via) -> u32 {
        (0..self.clients)
            .filter(|client| self.via(*client) == via)
            .count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(vias: &[Via]) -> Plan {
        let name = |name| ChannelName::new(name).unwrap();
        Plan {
            clients: 30,
            vias: vias.to_vec(),
            channels: vec![name("dag/line"), name("alerts/line"), name("stats/line")],
            slow: 4,
            flood: 2,
        }
    }

    #[test]
    fn each_way_has_its_share_and_each_channel_its_followers() {
        let plan = plan(&Via::ALL);
        let counts = Via::ALL.map(|via| plan.count(via));
        assert_eq!(counts.iter().sum::<u32>(), 30);
        assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");
        for via in [Via::Sse, Via::Ndjson] {
            let of_via = (0..30).filter(|client| plan.via(*client) == via);
            let followed: std::collections::BTreeSet<u16> = of_via
                .map(|client| {
                    let follows = plan.follows(client);
                    assert_eq!(follows.len(), 1);
                    follows.start
                })
                .collect();
            assert_eq!(followed.len(), 3, "{via:?}");
        }
        assert_eq!(plan.follows(0), 0..3);
    }

    #[test]
    fn those_that_send_without_end_have_a_way_to_send() {
        let plan = plan(&[Via::Sse]);
        let manners = |manner| {
            (0..30)
                .filter(|client| plan.manner(*client) == manner)
                .count()
        };
        let counts = [Manner::Slow, Manner::Flood, Manner::Steady].map(manners);
        assert_eq!(counts, [4, 2, 24]);
        assert_eq!((plan.via(5), plan.via(6)), (Via::WebSocket, Via::Sse));
    }
}
