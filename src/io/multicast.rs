//! Groups: who joins one, and how one is sent to.
//!
//! Invariant: a socket that joins a group hears no other group, whoever on the machine joined it.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::str::FromStr;
use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt::set_ip_multicast_if_with_ifindex;
use socket2::{InterfaceIndexOrAddress, Socket};

use crate::io::mmsg;

/// The interface by which a group is heard or sent to.
///
/// ```
/// use hopline::io::Interface;
/// assert_eq!("192.0.2.2".parse(), Ok(Interface::Address("192.0.2.2".parse().unwrap())));
/// assert_eq!("3".parse(), Ok(Interface::Index(3)));
/// assert!("eth0".parse::<Interface>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interface {
    /// The one that the system's routes name for the group.
    #[default]
    Any,
    /// The one that has this address. IPv4 only.
    Address(Ipv4Addr),
    /// By its number, as `ip link` shows it.
    Index(u32),
}

/// A text that names no interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no interface: write its IPv4 address, or its number as `ip link` shows it")]
pub struct InterfaceError;

impl FromStr for Interface {
    type Err = InterfaceError;

    fn from_str(text: &str) -> Result<Interface, InterfaceError> {
        if let Ok(address) = text.parse() {
            return Ok(Interface::Address(address));
        }
        match text.parse() {
            Ok(index @ 1..) => Ok(Interface::Index(index)),
            _ => Err(InterfaceError),
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interface::Any => f.write_str("any"),
            Interface::Address(address) => address.fmt(f),
            Interface::Index(index) => index.fmt(f),
        }
    }
}

/// A group that a socket joins when it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Join {
    /// The group's address.
    pub group: IpAddr,
    /// Where it is heard.
    pub interface: Interface,
}

/// How a socket sends to groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupSend {
    /// By which interface.
    pub interface: Interface,
    /// How many routers a datagram may pass and one more; the system's is 1, which stays on the link.
    pub ttl: Option<u8>,
    /// Whether members on this machine hear it; the system's is yes.
    pub loops: Option<bool>,
}

/// Joins a group. The socket shares its port with other members and is not bound yet.
pub(crate) fn join(socket: &Socket, join: &Join) -> io::Result<()> {
    if !join.group.is_multicast() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Off the newest kernels the option is missing for IPv6; those then hear what others joined.
    let only = mmsg::only_joined(socket.as_fd(), join.group.is_ipv6());
    match (join.group, join.interface) {
        (IpAddr::V4(group), interface) => {
            only?;
            let interface = match interface {
                Interface::Any => InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
                Interface::Address(address) => InterfaceIndexOrAddress::Address(address),
                Interface::Index(index) => InterfaceIndexOrAddress::Index(index),
            };
            socket.join_multicast_v4_n(&group, &interface)
        }
        (IpAddr::V6(group), Interface::Any) => socket.join_multicast_v6(&group, 0),
        (IpAddr::V6(group), Interface::Index(index)) => socket.join_multicast_v6(&group, index),
        (IpAddr::V6(_), Interface::Address(_)) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Sets how a socket sends to groups.
pub(crate) fn prepare_send(socket: &Socket, send: &GroupSend, v6: bool) -> io::Result<()> {
    match (send.interface, v6) {
        (Interface::Any, _) => {}
        (Interface::Address(address), false) => socket.set_multicast_if_v4(&address)?,
        (Interface::Address(_), true) => return Err(io::ErrorKind::InvalidInput.into()),
        (Interface::Index(index), false) => {
            set_ip_multicast_if_with_ifindex(
                socket,
                &Ipv4Addr::UNSPECIFIED,
                &Ipv4Addr::UNSPECIFIED,
                index,
            )?;
        }
        (Interface::Index(index), true) => socket.set_multicast_if_v6(index)?,
    }
    if let Some(ttl) = send.ttl {
        match v6 {
            true => socket.set_multicast_hops_v6(ttl.into())?,
            false => socket.set_multicast_ttl_v4(ttl.into())?,
        }
    }
    if let Some(loops) = send.loops {
        match v6 {
            true => socket.set_multicast_loop_v6(loops)?,
            false => socket.set_multicast_loop_v4(loops)?,
        }
    }
    Ok(())
}
