//! A driver and its time, for tests of drivers.

#![allow(dead_code, reason = "each test binary uses what it needs")]

use std::net::SocketAddr;

use hopline::io::{Datagram, Driver, Polled, Sent, UdpId, UdpSpec};

pub(crate) const MILLISECOND_NS: u64 = 1_000_000;

/// Most polls until a datagram on loopback must have come.
pub(crate) const PATIENCE_POLLS: usize = 2_000;

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A driver and the time it is told.
pub(crate) struct Rig {
    pub(crate) name: &'static str,
    pub(crate) driver: Driver,
    pub(crate) now_ns: u64,
}

impl Rig {
    pub(crate) fn new(name: &'static str, driver: impl Into<Driver>) -> Rig {
        Rig {
            name,
            driver: driver.into(),
            now_ns: 0,
        }
    }

    pub(crate) fn bound(&mut self) -> (UdpId, SocketAddr) {
        let spec = UdpSpec::bound(addr("127.0.0.1:0"));
        let id = self.driver.udp_open(&spec).unwrap();
        (id, self.driver.udp_local_addr(id).unwrap())
    }

    pub(crate) fn poll(&mut self, timeout_ns: u64) -> Polled {
        let polled = self.driver.poll(self.now_ns, Some(timeout_ns)).unwrap();
        self.now_ns = polled.advance_to_ns.unwrap_or(self.now_ns);
        polled
    }

    /// Polls until something is ready.
    pub(crate) fn await_ready(&mut self) {
        let ready = (0..PATIENCE_POLLS).any(|_| self.poll(MILLISECOND_NS).ready);
        assert!(ready, "{}: nothing became ready", self.name);
    }

    pub(crate) fn recv(&mut self, id: UdpId, buf: &mut [u8]) -> Datagram {
        for _ in 0..PATIENCE_POLLS {
            if let Some(datagram) = self.driver.udp_recv(id, buf).unwrap() {
                return datagram;
            }
            self.poll(MILLISECOND_NS);
        }
        panic!("{}: nothing came", self.name);
    }

    pub(crate) fn send(&mut self, id: UdpId, to: SocketAddr, bytes: &[u8]) {
        assert_eq!(self.driver.udp_send(id, Some(to), bytes), Ok(Sent::Yes));
    }
}
