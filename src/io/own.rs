//! Whether an address is a socket's own: what is sent there comes back to it.
//!
//! Invariant: the system is asked only about addresses with the socket's own port, and while they are
//! remembered once each.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::net::UdpSocket;

/// Addresses whose answers are remembered: a few peers that use one port for both ends.
const KNOWN_MAX: usize = 16;

/// A socket's own address, and what was found out about others.
///
/// ```
/// use hopline::io::{Driver, UdpSpec};
/// let mut driver = Driver::real()?;
/// let socket = driver.udp_open(&UdpSpec::bound("0.0.0.0:0".parse().unwrap()))?;
/// let port = driver.udp_local_addr(socket)?.port();
/// let mut own = driver.udp_own(socket)?;
/// assert!(own.is(([127, 0, 0, 1], port).into()));
/// assert!(!own.is(([127, 0, 0, 1], port ^ 1).into()));
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OwnAddress {
    local: SocketAddr,
    is_of_this_machine: fn(IpAddr) -> bool,
    known: [Option<(IpAddr, bool)>; KNOWN_MAX],
}

impl OwnAddress {
    pub(crate) fn new(local: SocketAddr, is_of_this_machine: fn(IpAddr) -> bool) -> OwnAddress {
        OwnAddress {
            local: SocketAddr::new(local.ip().to_canonical(), local.port()),
            is_of_this_machine,
            known: [None; KNOWN_MAX],
        }
    }

    /// Whether a datagram to `to` comes back to this socket, or to all who hear at its port: its own
    /// address, that of no host, a group's; for a socket that hears at every address, each of this machine.
    ///
    /// Costs a comparison where the port is another; else three system calls, once for each of the
    /// last 16 addresses.
    #[inline]
    pub fn is(&mut self, to: SocketAddr) -> bool {
        to.port() == self.local.port() && self.is_with_its_port(to.ip().to_canonical())
    }

    #[cold]
    fn is_with_its_port(&mut self, ip: IpAddr) -> bool {
        if ip == self.local.ip() || ip.is_unspecified() || ip.is_multicast() {
            return true;
        }
        if !self.local.ip().is_unspecified() {
            return false;
        }
        if ip.is_loopback() {
            return true;
        }
        let last = match ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        };
        let known = &mut self.known[usize::from(last) % KNOWN_MAX];
        match *known {
            Some((known_ip, is_own)) if known_ip == ip => is_own,
            _ => known.insert((ip, (self.is_of_this_machine)(ip))).1,
        }
    }
}

/// Whether an address is one of this machine's: what goes there then comes from there as well.
/// Nothing is sent.
pub(crate) fn is_of_this_machine(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let ask = || {
        let socket = UdpSocket::bind((any, 0))?;
        // The discard port: any will do, for only the route is asked for.
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    // Without a route it is nobody's here.
    ask().is_ok_and(|from| from.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_own_where_what_goes_there_comes_back() {
        for (local, to, expected) in [
            ("127.0.0.1:7", "127.0.0.1:7", true),
            ("127.0.0.1:7", "127.0.0.1:8", false),
            ("127.0.0.1:7", "127.0.0.2:7", false),
            ("127.0.0.1:7", "0.0.0.0:7", true),
            ("127.0.0.1:7", "[::ffff:127.0.0.1]:7", true),
            ("0.0.0.0:7", "127.0.0.1:7", true),
            ("0.0.0.0:7", "127.9.9.9:7", true),
            ("0.0.0.0:7", "127.0.0.1:8", false),
            ("0.0.0.0:7", "192.0.2.1:7", false),
            ("0.0.0.0:7", "192.0.2.17:7", true),
            ("0.0.0.0:7", "239.1.2.3:7", true),
            ("[::]:7", "[::1]:7", true),
            ("[::]:7", "[::ffff:127.0.0.1]:7", true),
            ("[::]:7", "[2001:db8::1]:7", false),
            ("[::]:7", "[2001:db8::1]:8", false),
            ("[::1]:7", "[::1]:7", true),
        ] {
            // A machine with one address beside its loopback.
            let mut own = OwnAddress::new(local.parse().unwrap(), |ip| {
                ip == IpAddr::from([192, 0, 2, 17])
            });
            for _ in 0..2 {
                assert_eq!(own.is(to.parse().unwrap()), expected, "{local} {to}");
            }
        }
    }

    #[test]
    fn two_addresses_of_one_place_are_told_apart() {
        let mut own = OwnAddress::new("0.0.0.0:7".parse().unwrap(), |ip| {
            ip == IpAddr::from([192, 0, 2, 1])
        });
        for _ in 0..3 {
            assert!(own.is("192.0.2.1:7".parse().unwrap()));
            assert!(!own.is("192.0.2.17:7".parse().unwrap()));
        }
    }

    #[test]
    fn the_system_knows_its_own() {
        assert!(is_of_this_machine(Ipv4Addr::LOCALHOST.into()));
        // Of the range for examples: nobody's.
        assert!(!is_of_this_machine(Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
