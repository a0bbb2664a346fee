//! The connections of a listening source for the sinks that reply on them, on whatever threads they
//! run.
//!
//! A sink gets a second handle of each connection, over a ring of its own: the source never waits
//! for it and takes no lock. A message carries a [`PeerId`], which names the connection and not only
//! its place, so that a reply never goes to whoever came next.
//!
//! Invariant: what was opened is told before a message of it can arrive; only opening takes a lock.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::collections::BTreeMap;
#[allow(
    clippy::disallowed_types,
    reason = "taken while a line is built and opened, never in a turn"
)]
use std::sync::Mutex;
use std::sync::{Arc, OnceLock, PoisonError, Weak};

use crate::base::limits::{CONNECTIONS_DEFAULT, CONNECTIONS_MAX};
use crate::io::error::{IoError, IoErrorKind};
use crate::io::{Endpoint, HandedStream, StreamSpec};
use crate::ring::Packed;
use crate::ring::spsc::{Consumer, Producer, memory_bytes, ring};

/// Most sinks that reply on one source's connections. Each costs a file descriptor a connection.
pub const REPLY_SINKS_MAX: usize = 4;

/// What a source has told a sink and that has not heard it at most: room for a beginning and an end
/// of each connection, twice. See `StreamSource::accept`.
const HANDOFFS_MAX: usize = 4 * CONNECTIONS_MAX;

/// A connection of a source, for the time of that connection.
///
/// In a frame it travels in the fields of an address, as one that no network has: in the
/// discard-only prefix `100::/64` (RFC 6666).
///
/// ```
/// use hopline::io::PeerId;
/// let peer = PeerId { place: 7, turn: 3 };
/// assert_eq!(PeerId::of(peer.addr()), Some(peer));
/// assert_eq!(PeerId::of("127.0.0.1:7".parse().unwrap()), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerId {
    /// Its place among the source's connections.
    pub place: u16,
    /// How many connections had that place before.
    pub turn: u32,
}

impl PeerId {
    /// As the fields of an address can carry it.
    #[inline]
    #[must_use]
    pub const fn addr(self) -> SocketAddr {
        let bits = (0x0100_u128 << 112) | ((self.turn as u128) << 16) | self.place as u128;
        SocketAddr::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), 1)
    }

    /// The connection that such an address names.
    #[inline]
    #[must_use]
    pub fn of(addr: SocketAddr) -> Option<PeerId> {
        let IpAddr::V6(ip) = addr.ip() else {
            return None;
        };
        let bits = ip.to_bits();
        (bits >> 48 == 0x0100 << 64 && addr.port() == 1).then_some(PeerId {
            place: bits as u16,
            turn: (bits >> 16) as u32,
        })
    }
}

/// What a source tells the sinks that reply on its connections.
#[derive(Debug)]
pub enum Handoff {
    /// There is a new connection.
    Opened(PeerId, HandedStream),
    /// It is over: nothing more can be written.
    Closed(PeerId),
}

#[derive(Debug)]
#[allow(
    clippy::disallowed_types,
    reason = "taken while a line is built and opened, never in a turn"
)]
struct Inner {
    spec: StreamSpec,
    sinks: Mutex<Vec<Producer<Handoff>>>,
    at: OnceLock<Endpoint>,
    connections_max: OnceLock<usize>,
}

/// A source's connections for the sinks that reply on them. Clones are the same.
#[derive(Clone, Debug)]
pub struct SharedStream(Arc<Inner>);

impl SharedStream {
    /// The connections of a source that listens so.
    #[must_use]
    #[allow(
        clippy::disallowed_types,
        reason = "taken while a line is built and opened, never in a turn"
    )]
    pub fn new(spec: StreamSpec) -> SharedStream {
        SharedStream(Arc::new(Inner {
            spec,
            sinks: Mutex::new(Vec::new()),
            at: OnceLock::new(),
            connections_max: OnceLock::new(),
        }))
    }

    /// The source lets in that many connections at a time.
    pub(crate) fn lets_in(&self, connections_max: usize) {
        // A second source on these connections could not listen there.
        let _ = self.0.connections_max.set(connections_max);
    }

    /// How many connections the source lets in at a time; as many as one that does not say it, before
    /// there is a source.
    pub(crate) fn connections_max(&self) -> usize {
        let known = self.0.connections_max.get();
        known.copied().unwrap_or(CONNECTIONS_DEFAULT)
    }

    /// Bytes of what a sink is told by.
    pub(crate) const fn subscription_bytes() -> usize {
        memory_bytes::<Handoff, Packed>(HANDOFFS_MAX)
    }

    /// How the source listens.
    #[must_use]
    pub fn spec(&self) -> &StreamSpec {
        &self.0.spec
    }

    /// Where the source listens, with the port that the system chose; `None` before it is open.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.0.at.get().cloned()
    }

    pub(crate) fn opened_at(&self, at: Endpoint) {
        // A second source on these connections could not listen there.
        let _ = self.0.at.set(at);
    }

    /// Another sink wants to reply; what the source tells it comes by the ring. Allocates.
    ///
    /// # Errors
    /// [`REPLY_SINKS_MAX`] do already.
    pub(crate) fn subscribe(&self) -> Result<Consumer<Handoff>, IoError> {
        const WHAT: &str = "reply on a connection";
        let mut sinks = self.0.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        if sinks.len() >= REPLY_SINKS_MAX {
            return Err(IoError::new(IoErrorKind::TooManyOpen, WHAT));
        }
        let (tx, rx) =
            ring(HANDOFFS_MAX).map_err(|_| IoError::new(IoErrorKind::InvalidInput, WHAT))?;
        sinks.push(tx);
        Ok(rx)
    }

    /// The rings to all sinks that want to reply. Asked once, when all have opened.
    pub(crate) fn take_sinks(&self) -> Vec<Producer<Handoff>> {
        let mut sinks = self.0.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        core::mem::take(&mut *sinks)
    }
}

/// Sources' connections by name, so that a source and a sink that know only a word find each other.
/// Clones are the same table. A name is free when all who have it are gone.
#[derive(Clone, Debug, Default)]
#[allow(
    clippy::disallowed_types,
    reason = "taken while a line is built and opened, never in a turn"
)]
pub struct SharedStreams(Arc<Mutex<BTreeMap<String, Weak<Inner>>>>);

impl SharedStreams {
    /// Makes a source's connections known by `name`. A name of an earlier line with the same spec
    /// goes over to the new one.
    ///
    /// # Errors
    /// [`IoErrorKind::InvalidInput`] if a living source of another spec has the name.
    pub fn declare(&self, name: &str, spec: StreamSpec) -> Result<SharedStream, IoError> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, shared| shared.strong_count() > 0);
        let other = table.get(name).and_then(Weak::upgrade);
        if other.is_some_and(|other| other.spec != spec) {
            return Err(IoError::new(IoErrorKind::InvalidInput, "share connections as").on(&name));
        }
        let shared = SharedStream::new(spec);
        table.insert(name.to_owned(), Arc::downgrade(&shared.0));
        Ok(shared)
    }

    /// The connections of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<SharedStream> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(name).and_then(Weak::upgrade).map(SharedStream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_told_from_its_predecessor_and_from_any_address() {
        let peer = PeerId {
            place: 1_023,
            turn: u32::MAX,
        };
        let next = PeerId { turn: 0, ..peer };
        assert_ne!(peer.addr(), next.addr());
        assert_eq!(PeerId::of(peer.addr()), Some(peer));
        for other in [
            "127.0.0.1:1",
            "[::1]:1",
            "[100::7]:2",
            "[101::7]:1",
            "[100:0:0:1::7]:1",
        ] {
            assert_eq!(PeerId::of(other.parse().unwrap()), None, "{other}");
        }
    }

    #[test]
    fn sinks_are_bounded_and_names_end_with_their_sources() {
        let spec = StreamSpec::at(Endpoint::Abstract("x".into()));
        let names = SharedStreams::default();
        let shared = names.declare("echo", spec.clone()).unwrap();
        assert!(names.find("echo").is_some());
        assert!(
            names
                .declare(
                    "echo",
                    StreamSpec {
                        nodelay: false,
                        ..spec
                    }
                )
                .is_err()
        );
        let rings: Vec<_> = (0..REPLY_SINKS_MAX)
            .map(|_| shared.subscribe().unwrap())
            .collect();
        assert_eq!(
            shared.subscribe().unwrap_err().kind,
            IoErrorKind::TooManyOpen
        );
        assert_eq!(shared.take_sinks().len(), rings.len());
        drop(shared);
        assert!(names.find("echo").is_none());
    }
}
