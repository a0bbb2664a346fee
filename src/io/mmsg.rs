//! The system calls that move many datagrams at once, and the socket options beside them.
//!
//! - `recvmmsg(2)`, `sendmmsg(2)`: an array of datagrams a call.
//! - `UDP_GRO`, `UDP_SEGMENT` (`udp(7)`): a *train*, one buffer of equal segments of which only the
//!   last may be shorter, is one datagram to the system and many to the other end.
//! - `SO_TIMESTAMPING`, `SO_TIMESTAMPNS` (Documentation/networking/timestamping.rst), `SO_RXQ_OVFL`
//!   (`socket(7)`): what the kernel says beside the bytes.
//!
//! Control messages are read and written as bytes, in safe code: only the calls themselves, and the
//! headers that they take, need unsafe code.
//!
//! Invariant: a header points only into slices that are borrowed for the whole call.

#![allow(
    unsafe_code,
    reason = "calls for many datagrams and their control messages have no safe form; fenced here"
)]

use core::mem::MaybeUninit;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::io::batch::{BATCH_SLOTS_MAX, Entry, Head, RecvSlots, SEND_CALLS_MAX};
use crate::io::stamp::StampChoice;

/// Bytes of a socket address of either family, rounded up to whole words.
const NAME_BYTES: usize = 32;

/// Words of control messages for one datagram: a segment size (24 B), three time stamps (64 B) and a
/// count of drops (24 B).
const CONTROL_WORDS: usize = 14;

/// Bytes that a buffer is said to have beyond its own: none, but for `--cfg planted_slot`, which exists to prove
/// `.ci/valgrind`.
const PLANTED_BYTES: usize = if cfg!(planted_slot) { 1 << 20 } else { 0 };

/// Words before the data of a control message: its length, and its level and type together.
const CONTROL_HEAD_WORDS: usize = 2;

// The layout of control messages below is that of 64-bit systems.
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

/// Room for a sender's address.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Name([u8; NAME_BYTES]);

impl Name {
    pub(crate) const EMPTY: Name = Name([0; NAME_BYTES]);

    /// The address that the system wrote, if it is one of the two families.
    fn addr(&self) -> Option<SocketAddr> {
        let word = |at: usize| [self.0[at], self.0[at + 1]];
        let port = u16::from_be_bytes(word(2));
        match i32::from(u16::from_ne_bytes(word(0))) {
            libc::AF_INET => {
                let ip: [u8; 4] = self.0[4..8].try_into().ok()?;
                Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
            }
            libc::AF_INET6 => {
                let flow: [u8; 4] = self.0[4..8].try_into().ok()?;
                let ip: [u8; 16] = self.0[8..24].try_into().ok()?;
                let scope: [u8; 4] = self.0[24..28].try_into().ok()?;
                let addr = SocketAddrV6::new(
                    Ipv6Addr::from(ip),
                    port,
                    u32::from_be_bytes(flow),
                    u32::from_ne_bytes(scope),
                );
                Some(addr.into())
            }
            _ => None,
        }
    }

    /// The address as the system reads it, and how long it is.
    fn of(addr: SocketAddr) -> (Name, usize) {
        let mut name = Name::EMPTY;
        name.0[2..4].copy_from_slice(&addr.port().to_be_bytes());
        let family = |family: i32| (family as u16).to_ne_bytes();
        match addr {
            SocketAddr::V4(addr) => {
                name.0[..2].copy_from_slice(&family(libc::AF_INET));
                name.0[4..8].copy_from_slice(&addr.ip().octets());
                (name, size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(addr) => {
                name.0[..2].copy_from_slice(&family(libc::AF_INET6));
                name.0[4..8].copy_from_slice(&addr.flowinfo().to_be_bytes());
                name.0[8..24].copy_from_slice(&addr.ip().octets());
                name.0[24..28].copy_from_slice(&addr.scope_id().to_ne_bytes());
                (name, size_of::<libc::sockaddr_in6>())
            }
        }
    }
}

/// Room for what the system says beside a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control([u64; CONTROL_WORDS]);

/// What the system said beside a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    segment: Option<usize>,
    /// The kernel's stamp, on `CLOCK_REALTIME`.
    stamp_wall_ns: Option<u64>,
    /// The device's stamp, on its own clock.
    stamp_device_ns: Option<u64>,
    drops: Option<u32>,
}

impl Control {
    pub(crate) const EMPTY: Control = Control([0; CONTROL_WORDS]);

    /// Reads the control messages of the first `len` bytes. One that is cut off ends the reading.
    fn read(&self, len: usize) -> Said {
        let mut said = Said::default();
        let words = &self.0[..(len / 8).min(CONTROL_WORDS)];
        let mut at = 0;
        while let Some(&[bytes, kind]) = words.get(at..at + CONTROL_HEAD_WORDS) {
            let next = at + (bytes as usize).div_ceil(8);
            let Some(data) = words.get(at + CONTROL_HEAD_WORDS..next) else {
                break;
            };
            let kind = kind.to_ne_bytes();
            let half = |at: usize| [kind[at], kind[at + 1], kind[at + 2], kind[at + 3]];
            let (level, name) = (i32::from_ne_bytes(half(0)), i32::from_ne_bytes(half(4)));
            match (level, name, data) {
                (libc::SOL_UDP, libc::UDP_GRO, &[word, ..]) => {
                    said.segment = usize::try_from(first_i32(word)).ok().filter(|&len| len > 0);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[word, ..]) => {
                    said.drops = Some(first_i32(word) as u32);
                }
                // Of the three stamps of `SO_TIMESTAMPING` the first is the software's, as is the only one
                // of `SO_TIMESTAMPNS`; the second is no longer used, the third is the device's.
                (libc::SOL_SOCKET, libc::SO_TIMESTAMPING | libc::SO_TIMESTAMPNS, data) => {
                    // What was cut off within a word is not the system's.
                    let whole = (bytes as usize / 8).saturating_sub(CONTROL_HEAD_WORDS);
                    let data = &data[..whole.min(data.len())];
                    said.stamp_wall_ns = stamp_ns(data, 0);
                    said.stamp_device_ns = stamp_ns(data, 2);
                }
                _ => {}
            }
            // An empty message would never end.
            at = next.max(at + CONTROL_HEAD_WORDS);
        }
        said
    }

    /// One control message that says how long the segments of a train are, and its length in bytes.
    fn segment(bytes: u16) -> (Control, usize) {
        let mut control = Control::EMPTY;
        let head = CONTROL_HEAD_WORDS * 8;
        let (level, name) = (libc::SOL_UDP.to_ne_bytes(), libc::UDP_SEGMENT.to_ne_bytes());
        let kind = [
            level[0], level[1], level[2], level[3], name[0], name[1], name[2], name[3],
        ];
        let [low, high] = bytes.to_ne_bytes();
        control.0[0] = (head + size_of::<u16>()) as u64;
        control.0[1] = u64::from_ne_bytes(kind);
        control.0[2] = u64::from_ne_bytes([low, high, 0, 0, 0, 0, 0, 0]);
        (control, head + 8)
    }
}

/// The stamp of that number among those that lie one behind the other, two words each. Zero seconds:
/// none was taken.
fn stamp_ns(data: &[u64], nth: usize) -> Option<u64> {
    let &[seconds, rest] = data.get(2 * nth..2 * nth + 2)? else {
        return None;
    };
    let is_stamp = seconds > 0 && rest < 1_000_000_000;
    is_stamp.then(|| seconds.saturating_mul(1_000_000_000).saturating_add(rest))
}

fn first_i32(word: u64) -> i32 {
    let bytes = word.to_ne_bytes();
    i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Takes up to `want` datagrams (at least one is asked for) into `slots`, and says how many came.
/// Drop counts that came along raise `drops`; `stamps` says whose stamp a datagram gets.
#[inline]
pub(crate) fn recv_many(
    socket: BorrowedFd<'_>,
    want: usize,
    slots: &mut RecvSlots,
    drops: &mut Drops,
    stamps: &mut StampChoice,
) -> io::Result<usize> {
    let want = want.clamp(1, slots.len().min(BATCH_SLOTS_MAX));
    let RecvSlots {
        bytes,
        bytes_each,
        stride,
        names,
        controls,
        heads,
    } = slots;
    let mut vectors: [MaybeUninit<libc::iovec>; BATCH_SLOTS_MAX] =
        [const { MaybeUninit::uninit() }; BATCH_SLOTS_MAX];
    let mut headers: [MaybeUninit<libc::mmsghdr>; BATCH_SLOTS_MAX] =
        [const { MaybeUninit::uninit() }; BATCH_SLOTS_MAX];
    let rows = bytes.chunks_exact_mut(*stride).zip(&mut names[..]);
    for (((buffer, name), control), (vector, header)) in rows
        .zip(&mut controls[..])
        .zip(vectors.iter_mut().zip(&mut headers))
        .take(want)
    {
        let buffer = &mut buffer[..*bytes_each];
        let vector = vector.write(libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len() + PLANTED_BYTES,
        });
        let header = header.write(empty_header());
        header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = NAME_BYTES as libc::socklen_t;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = size_of_val(&control.0) as _;
    }
    let got = if want == 1 {
        // The plain call is cheaper for one.
        let first = headers[0].as_mut_ptr();
        // SAFETY: the loop above wrote the first header.
        let header = unsafe { &mut *first };
        // SAFETY: the header points at one vector, one name and one control buffer that are all
        // borrowed above, with their true lengths, and the descriptor is borrowed for the call.
        let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header.msg_hdr, 0) };
        header.msg_len = u32::try_from(len).unwrap_or(0);
        if len < 0 { -1 } else { 1 }
    } else {
        // SAFETY: the first `want` headers are written; each points at a vector, a name and a control
        // buffer of its own that are borrowed above, with their true lengths; no timeout is given.
        unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                want as u32,
                0 as _,
                core::ptr::null_mut(),
            )
        }
    };
    let Ok(got) = usize::try_from(got) else {
        return Err(io::Error::last_os_error());
    };
    for (at, header) in headers.iter().enumerate().take(got.min(want)) {
        // SAFETY: the first `want` headers are written, and `got` does not exceed it.
        let header = unsafe { header.assume_init_ref() };
        let flags = header.msg_hdr.msg_flags;
        #[allow(
            clippy::unnecessary_cast,
            reason = "the C libraries differ in its type"
        )]
        let control_bytes = header.msg_hdr.msg_controllen as usize;
        let said = controls[at].read(control_bytes);
        if let Some(count) = said.drops {
            drops.saw(count);
        }
        let len = (header.msg_len as usize).min(*bytes_each);
        heads[at] = Head {
            len,
            segment: said.segment.unwrap_or(len).max(1),
            from: names[at].addr(),
            stamp_wall_ns: stamps.of(said.stamp_wall_ns, said.stamp_device_ns),
            // Without all of its control messages a train cannot be told from a datagram.
            truncated: flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        };
    }
    Ok(got)
}

/// One call's worth of sending: consecutive entries that leave as one train, or one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Train {
    /// Entries in it.
    pub(crate) count: usize,
    /// Bytes of all of them.
    pub(crate) len: usize,
    /// Bytes of each but the last, which may have less.
    pub(crate) segment: usize,
}

impl Train {
    /// Nothing.
    pub(crate) const EMPTY: Train = Train {
        count: 0,
        len: 0,
        segment: 0,
    };
}

/// Sends trains that lie one behind the other in `bytes`, the first of them to `entries[0].to`, and
/// says how many of the trains the system took.
pub(crate) fn send_many(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    entries: &[Entry],
    trains: &[Train],
) -> io::Result<usize> {
    let mut names = [Name::EMPTY; SEND_CALLS_MAX];
    let mut controls: [MaybeUninit<Control>; SEND_CALLS_MAX] =
        [const { MaybeUninit::uninit() }; SEND_CALLS_MAX];
    let mut vectors: [MaybeUninit<libc::iovec>; SEND_CALLS_MAX] =
        [const { MaybeUninit::uninit() }; SEND_CALLS_MAX];
    let mut headers: [MaybeUninit<libc::mmsghdr>; SEND_CALLS_MAX] =
        [const { MaybeUninit::uninit() }; SEND_CALLS_MAX];
    let (mut rest, mut entry) = (bytes, 0);
    let mut written = 0;
    let rows = names
        .iter_mut()
        .zip(&mut controls)
        .zip(vectors.iter_mut().zip(&mut headers));
    for (((name, control), (vector, header)), train) in rows.zip(trains) {
        let Some((now, after)) = rest.split_at_checked(train.len) else {
            break;
        };
        let Some(to) = entries.get(entry).map(|entry| entry.to) else {
            break;
        };
        rest = after;
        entry += train.count;
        let vector = vector.write(libc::iovec {
            iov_base: now.as_ptr().cast_mut().cast(),
            iov_len: now.len(),
        });
        let header = header.write(empty_header());
        if let Some(to) = to {
            let len;
            (*name, len) = Name::of(to);
            header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = len as libc::socklen_t;
        }
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        if train.count > 1 {
            let (said, len) = Control::segment(train.segment as u16);
            let control = control.write(said);
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = len as _;
        }
        written += 1;
    }
    if written == 0 {
        return Ok(0);
    }
    // SAFETY: the first `written` headers are written; what they point at is borrowed above, with its
    // true length, and the system only reads it.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            written,
            0 as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// A header that points nowhere.
#[inline(always)]
fn empty_header() -> libc::mmsghdr {
    let header = MaybeUninit::zeroed();
    // SAFETY: integers of zero and null pointers are valid, and a header has nothing else.
    unsafe { header.assume_init() }
}

/// Sets an option of a socket to a number, or to two of them.
fn set<const N: usize>(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    words: [i32; N],
) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed and `words` is live for the call, which only reads it.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            words.as_ptr().cast(),
            size_of_val(&words) as libc::socklen_t,
        )
    };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Asks for trains as they come (Linux 5.0); whether they are granted.
pub(crate) fn want_trains(socket: BorrowedFd<'_>) -> bool {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, [1]).is_ok()
}

/// Takes that back; whether it is.
pub(crate) fn refuse_trains(socket: BorrowedFd<'_>) -> bool {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, [0]).is_ok()
}

/// Whether trains can be sent (Linux 4.18). Asking changes nothing: a size of 0 is none.
pub(crate) fn sends_trains(socket: BorrowedFd<'_>) -> bool {
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, [0]).is_ok()
}

/// Asks that the count of drops comes with what follows them; whether it does.
pub(crate) fn want_drops(socket: BorrowedFd<'_>) -> bool {
    set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, [1]).is_ok()
}

/// Asks for the kernel's receive stamps and those of a device beside them; whether they come.
pub(crate) fn want_device_stamps(socket: BorrowedFd<'_>) -> bool {
    let software = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    let hardware = libc::SOF_TIMESTAMPING_RX_HARDWARE | libc::SOF_TIMESTAMPING_RAW_HARDWARE;
    let flags = (software | hardware) as i32;
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, [flags]).is_ok()
}

/// Asks for the kernel's receive stamps, by the newer interface or the older; whether they come.
pub(crate) fn want_stamps(socket: BorrowedFd<'_>) -> bool {
    let flags = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_TIMESTAMPING,
        [flags as i32],
    )
    .is_ok()
        || set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, [1]).is_ok()
}

/// Takes only what was sent to a group that this socket itself joined (`IP_MULTICAST_ALL`,
/// `IPV6_MULTICAST_ALL`): by default a socket hears every group that anybody on the machine joined.
pub(crate) fn only_joined(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    /// `IPV6_MULTICAST_ALL` of linux/in6.h, since Linux 4.20.
    const IPV6_MULTICAST_ALL: i32 = 29;
    if v6 {
        set(socket, libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL, [0])
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, [0])
    }
}

/// The path's MTU as the system knows it now, of a connected socket, in bytes.
pub(crate) fn path_mtu(socket: BorrowedFd<'_>, v6: bool) -> Option<usize> {
    let (level, name) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU)
    };
    let mut mtu = 0i32;
    let mut len = size_of_val(&mtu) as libc::socklen_t;
    // SAFETY: the descriptor is borrowed for the call; `mtu` and `len` are live and writable, and
    // `len` holds the size of `mtu`.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut mtu).cast(),
            &raw mut len,
        )
    };
    usize::try_from(mtu)
        .ok()
        .filter(|&mtu| status == 0 && mtu > 0)
}

/// A socket's count of drops: the kernel's 32 bits, told by two ways that may overtake each other,
/// made into 64.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drops {
    total: u64,
}

impl Drops {
    /// The kernel says so many. An older figure than one seen before changes nothing.
    pub(crate) fn saw(&mut self, count: u32) {
        let ahead = count.wrapping_sub(self.total as u32);
        if ahead < 1 << 31 {
            self.total += u64::from(ahead);
        }
    }

    /// So many in all.
    pub(crate) fn total(self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, name: i32, data: &[u64], bytes: usize) -> Vec<u64> {
        let mut kind = level.to_ne_bytes().to_vec();
        kind.extend_from_slice(&name.to_ne_bytes());
        let kind = u64::from_ne_bytes(kind.try_into().unwrap());
        let mut words = vec![16 + bytes as u64, kind];
        words.extend_from_slice(data);
        words
    }

    fn control(words: &[u64]) -> (Control, usize) {
        let mut control = Control::EMPTY;
        control.0[..words.len()].copy_from_slice(words);
        (control, words.len() * 8)
    }

    #[test]
    fn control_messages_are_read_in_any_order_and_number() {
        let segment = message(libc::SOL_UDP, libc::UDP_GRO, &[64], 4);
        let stamp = message(
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPING,
            &[7, 9, 0, 0, 0, 0],
            48,
        );
        let drops = message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[3], 4);
        let all = Said {
            segment: Some(64),
            stamp_wall_ns: Some(7_000_000_009),
            stamp_device_ns: None,
            drops: Some(3),
        };
        for order in [[&segment, &stamp, &drops], [&drops, &segment, &stamp]] {
            let words: Vec<u64> = order.into_iter().flatten().copied().collect();
            let (control, len) = control(&words);
            assert_eq!(control.read(len), all);
        }
        let (control, _) = control(&segment);
        assert_eq!(control.read(0), Said::default());
    }

    #[test]
    fn nonsense_in_a_control_buffer_ends_the_reading() {
        let good = message(libc::SOL_UDP, libc::UDP_GRO, &[64], 4);
        for length in [0, 1, 15, 16, 200, u64::MAX] {
            let mut words = vec![length, good[1], 1];
            words.extend_from_slice(&good);
            let (control, len) = control(&words);
            // It ends, whatever it makes of it.
            let _ = control.read(len);
        }
        let (control, len) = control(&message(libc::SOL_UDP, libc::UDP_GRO, &[0], 4));
        assert_eq!(control.read(len).segment, None);
        let none = message(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &[0, 0], 16);
        let (control, len) = self::control(&none);
        assert_eq!(control.read(len).stamp_wall_ns, None);
    }

    #[test]
    fn of_three_stamps_the_first_and_the_third_are_read_if_they_are_whole() {
        let stamp = |data: &[u64], bytes| {
            let kind = (libc::SOL_SOCKET, libc::SO_TIMESTAMPING);
            let (control, len) = control(&message(kind.0, kind.1, data, bytes));
            let said = control.read(len);
            (said.stamp_wall_ns, said.stamp_device_ns)
        };
        let three = [7, 9, 1, 1, 8, 5];
        assert_eq!(
            stamp(&three, 48),
            (Some(7_000_000_009), Some(8_000_000_005))
        );
        // Cut short: within the third, within the first, before it.
        for (bytes, expected) in [
            (47, (Some(7_000_000_009), None)),
            (40, (Some(7_000_000_009), None)),
            (16, (Some(7_000_000_009), None)),
            (15, (None, None)),
            (8, (None, None)),
            (0, (None, None)),
        ] {
            assert_eq!(stamp(&three, bytes), expected, "{bytes}");
        }
        // The buffer ends before the message does.
        let (mut control, len) = control(&message(1, libc::SO_TIMESTAMPING, &three, 48));
        for len in (0..len).step_by(8) {
            assert_eq!(control.read(len).stamp_device_ns, None, "{len}");
        }
        control.0[0] = u64::MAX;
        assert_eq!(control.read(len), Said::default());
        // No seconds, or more nanoseconds than a second has.
        assert_eq!(stamp(&[0, 9, 0, 0, 0, 5], 48), (None, None));
        assert_eq!(
            stamp(&[7, 1_000_000_000, 0, 0, 8, u64::MAX], 48),
            (None, None)
        );
        assert_eq!(stamp(&[u64::MAX, 1, 0, 0, 0, 0], 48).0, Some(u64::MAX));
    }

    #[test]
    fn addresses_go_there_and_back() {
        for text in ["192.0.2.7:65535", "[2001:db8::7%3]:1"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::of(addr).0.addr(), Some(addr));
        }
        assert_eq!(Name::EMPTY.addr(), None);
    }

    #[test]
    fn a_count_of_drops_wraps_and_never_goes_back() {
        let mut drops = Drops::default();
        for (count, total) in [(5, 5), (3, 5), (u32::MAX / 2, 0x7fff_ffff)] {
            drops.saw(count);
            assert_eq!(drops.total(), total);
        }
        drops.saw(u32::MAX - 1);
        drops.saw(4);
        assert_eq!(drops.total(), (1 << 32) + 4);
    }
}
