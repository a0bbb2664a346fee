//! One UDP socket for several nodes, on whatever threads they run: a sink answers from the port at
//! which a source hears.
//!
//! Invariant: who comes first opens it, all others wait for that; only opening takes a lock.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
#[allow(
    clippy::disallowed_types,
    reason = "taken while a line is built and opened, never in a turn"
)]
use std::sync::Mutex;
use std::sync::{Arc, OnceLock, PoisonError, Weak};

use crate::io::UdpSpec;
use crate::io::error::{IoError, IoErrorKind};
use crate::io::virtual_driver::SharedInbox;

/// What drivers share.
#[derive(Debug)]
pub(crate) enum SharedSocket {
    Real(UdpSocket),
    Virtual(SharedInbox),
}

#[derive(Debug)]
struct Inner {
    spec: UdpSpec,
    opened: OnceLock<Result<SharedSocket, IoError>>,
}

/// A socket that several nodes join with [`Driver::udp_join`](crate::io::Driver::udp_join). Clones
/// are the same socket; it closes when all of them and all who joined are gone.
///
/// ```
/// use hopline::io::{Driver, SharedUdp, UdpSpec};
/// let shared = SharedUdp::new(UdpSpec::bound("127.0.0.1:0".parse().unwrap()));
/// let (mut hears, mut answers) = (Driver::real()?, Driver::real()?);
/// let (inbox, out) = (hears.udp_join(&shared, true)?, answers.udp_join(&shared, false)?);
/// assert_eq!(hears.udp_local_addr(inbox)?, answers.udp_local_addr(out)?);
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedUdp(Arc<Inner>);

impl SharedUdp {
    /// A socket that is opened by the first who joins it.
    #[must_use]
    pub fn new(spec: UdpSpec) -> SharedUdp {
        SharedUdp(Arc::new(Inner {
            spec,
            opened: OnceLock::new(),
        }))
    }

    /// How it is opened.
    #[must_use]
    pub fn spec(&self) -> &UdpSpec {
        &self.0.spec
    }

    /// The address it is bound to, with the port that the system chose; `None` before it is open.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self.0.opened.get()?.as_ref().ok()? {
            SharedSocket::Real(socket) => socket.local_addr().ok(),
            SharedSocket::Virtual(inbox) => Some(inbox.local()),
        }
    }

    /// The socket, opened by `open` if nobody has yet. An error is the same for all.
    pub(crate) fn socket(
        &self,
        open: impl FnOnce() -> Result<SharedSocket, IoError>,
    ) -> Result<&SharedSocket, IoError> {
        self.0
            .opened
            .get_or_init(open)
            .as_ref()
            .map_err(Clone::clone)
    }
}

/// Shared sockets by name, so that a source and a sink that know only a word find each other.
/// Clones are the same table. It does not keep sockets open: a name is free when all are gone.
#[derive(Clone, Debug, Default)]
#[allow(
    clippy::disallowed_types,
    reason = "taken while a line is built and opened, never in a turn"
)]
pub struct SharedSockets(Arc<Mutex<BTreeMap<String, Weak<Inner>>>>);

impl SharedSockets {
    /// Makes a shared socket known by `name`. A name of an earlier line with the same spec goes
    /// over to the new socket.
    ///
    /// # Errors
    /// [`IoErrorKind::InvalidInput`] if a living socket of another spec has the name.
    pub fn declare(&self, name: &str, spec: UdpSpec) -> Result<SharedUdp, IoError> {
        // The table is whole between any two calls, so a panic elsewhere does not spoil it.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, socket| socket.strong_count() > 0);
        let other = table.get(name).and_then(Weak::upgrade);
        if other.is_some_and(|other| other.spec != spec) {
            return Err(IoError::new(IoErrorKind::InvalidInput, "share two sockets as").on(&name));
        }
        let shared = SharedUdp::new(spec);
        table.insert(name.to_owned(), Arc::downgrade(&shared.0));
        Ok(shared)
    }

    /// The socket of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<SharedUdp> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(name).and_then(Weak::upgrade).map(SharedUdp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Driver, Sent, VirtualNet};

    #[test]
    fn an_answer_leaves_from_the_port_that_heard() {
        let net = VirtualNet::new();
        let virtual_pair = (Driver::from(net.driver()), Driver::from(net.driver()));
        let real_pair = (Driver::real().unwrap(), Driver::real().unwrap());
        for (mut hears, mut answers) in [virtual_pair, real_pair] {
            let shared = SharedUdp::new(UdpSpec::bound("127.0.0.1:0".parse().unwrap()));
            let out = answers.udp_join(&shared, false).unwrap();
            let inbox = hears.udp_join(&shared, true).unwrap();
            let addr = hears.udp_local_addr(inbox).unwrap();
            let client = hears.udp_open(&UdpSpec::connected(addr)).unwrap();
            assert_eq!(shared.local_addr(), Some(addr));
            assert_eq!(hears.udp_send(client, None, b"ping"), Ok(Sent::Yes));
            let mut buf = [0; 8];
            let mut wait = |driver: &mut Driver, id| {
                for _ in 0..1_000 {
                    if let Some(datagram) = driver.udp_recv(id, &mut buf).unwrap() {
                        return datagram.from;
                    }
                    driver.poll(0, Some(1_000_000)).unwrap();
                }
                panic!("nothing came");
            };
            let from = wait(&mut hears, inbox);
            assert_eq!(answers.udp_send(out, Some(from), b"pong"), Ok(Sent::Yes));
            // The client is connected: it hears only that address.
            assert_eq!(wait(&mut hears, client), addr);
        }
        assert_eq!(net.counts().unrouted, 0);
    }

    #[test]
    fn a_virtual_shared_port_is_free_again_when_all_are_gone() {
        let net = VirtualNet::new();
        let addr = "127.0.0.1:7".parse().unwrap();
        let shared = SharedUdp::new(UdpSpec::bound(addr));
        let mut driver = Driver::from(net.driver());
        let ids = [true, false].map(|receives| driver.udp_join(&shared, receives).unwrap());
        for id in ids {
            driver.udp_close(id).unwrap();
        }
        assert!(driver.udp_open(&UdpSpec::bound(addr)).is_err());
        drop(shared);
        assert!(driver.udp_open(&UdpSpec::bound(addr)).is_ok());
    }

    #[test]
    fn names_are_found_as_long_as_their_sockets_live() {
        let sockets = SharedSockets::default();
        let spec = UdpSpec::bound("127.0.0.1:7".parse().unwrap());
        assert!(sockets.find("echo").is_none());
        let first = sockets.declare("echo", spec).unwrap();
        let second = sockets.declare("echo", spec).unwrap();
        assert!(sockets.declare("echo", UdpSpec::default()).is_err());
        drop(first);
        assert!(sockets.find("echo").is_some());
        drop(second);
        assert!(sockets.find("echo").is_none());
        assert!(sockets.declare("echo", UdpSpec::default()).is_ok());
    }
}
