//! The system calls that mio and std have no form for.
//!
//! Invariant: the room's only unsafe code is in this file, in `mmsg.rs` and in `device.rs`.

#![allow(
    unsafe_code,
    reason = "socket memory information has no safe form; fenced here"
)]

use std::fs::File;
use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;

/// How much of a file the kernel is asked to fetch when it is opened: enough for the first
/// milliseconds, little enough that asking returns at once. Sequential reading fetches the rest.
#[cfg(target_os = "linux")]
const FETCH_BYTES: u64 = 1 << 20;

/// Takes one datagram: its whole length (which may exceed `buf`) and its sender.
#[cfg(target_os = "linux")]
#[inline]
pub(crate) fn recv(udp: &UdpSocket, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    use rustix::net::{RecvFlags, recvfrom};
    let (_, len, from) = recvfrom(udp, buf, RecvFlags::TRUNC)?;
    let from = from.ok_or(io::ErrorKind::InvalidData)?;
    Ok((len, SocketAddr::try_from(from)?))
}

/// Takes one datagram: at most `buf` of it, and its sender. A cut is not seen on this system.
#[cfg(not(target_os = "linux"))]
#[inline]
pub(crate) fn recv(udp: &UdpSocket, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    udp.recv_from(buf)
}

/// Says that `file` will be read from front to back, soon. Only advice: a failure changes nothing.
#[cfg(target_os = "linux")]
pub(crate) fn advise_sequential(file: &File) {
    use core::num::NonZeroU64;
    use rustix::fs::{Advice, fadvise};
    // A pipe or terminal refuses advice, rightly.
    let _ = fadvise(file, 0, None, Advice::Sequential);
    let _ = fadvise(file, 0, NonZeroU64::new(FETCH_BYTES), Advice::WillNeed);
}

/// This system takes no advice.
#[cfg(not(target_os = "linux"))]
pub(crate) fn advise_sequential(_file: &File) {}

/// Datagrams that the kernel dropped at this socket since it was opened, mostly because its
/// buffer was full (`SK_MEMINFO_DROPS`, Linux 4.12). `None` where the kernel does not say.
#[cfg(target_os = "linux")]
pub(crate) fn kernel_drops(udp: &UdpSocket) -> Option<u32> {
    use std::os::fd::AsRawFd;
    const WORDS: usize = libc::SK_MEMINFO_DROPS as usize + 1;
    let mut words = [0u32; WORDS];
    let mut len = size_of_val(&words) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `udp` is borrowed; `words` and `len` are live and
    // writable for the call, and `len` holds the size of `words`, which the kernel does not exceed.
    let status = unsafe {
        libc::getsockopt(
            udp.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    (status == 0 && len as usize == size_of_val(&words)).then(|| words[WORDS - 1])
}

/// This system does not say.
#[cfg(not(target_os = "linux"))]
pub(crate) fn kernel_drops(_udp: &UdpSocket) -> Option<u32> {
    None
}

/// A timer that ends a poll more finely than mio's whole milliseconds; as a hrtimer it also has
/// none of the 50 us of slack that the kernel gives to poll timeouts.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Timer {
    fd: std::os::fd::OwnedFd,
    armed: bool,
}

#[cfg(target_os = "linux")]
impl Timer {
    /// A timer that `registry` reports under `token`.
    pub(crate) fn open(registry: &mio::Registry, token: mio::Token) -> io::Result<Option<Timer>> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use std::os::fd::AsRawFd;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(
            &mut mio::unix::SourceFd(&fd.as_raw_fd()),
            token,
            mio::Interest::READABLE,
        )?;
        Ok(Some(Timer { fd, armed: false }))
    }

    /// Fires once, `span_ns` from now. Setting it anew forgets an expiry nobody has seen.
    pub(crate) fn arm(&mut self, span_ns: u64) -> io::Result<()> {
        self.set(span_ns)?;
        self.armed = true;
        Ok(())
    }

    /// Takes back an expiry that is still to come, so that it does not end a later poll.
    pub(crate) fn disarm(&mut self) -> io::Result<()> {
        if self.armed {
            self.set(0)?;
            self.armed = false;
        }
        Ok(())
    }

    /// The expiry was reported.
    pub(crate) fn fired(&mut self) {
        self.armed = false;
    }

    fn set(&self, span_ns: u64) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let spec = Itimerspec {
            it_interval: zero,
            it_value: Timespec {
                tv_sec: (span_ns / 1_000_000_000) as i64,
                tv_nsec: (span_ns % 1_000_000_000) as _,
            },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }
}

/// No fine timer on this system: polls end on whole milliseconds.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub(crate) fn open(_: &mio::Registry, _: mio::Token) -> io::Result<Option<Timer>> {
        Ok(None)
    }

    pub(crate) fn arm(&mut self, _span_ns: u64) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn disarm(&mut self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn fired(&mut self) {}
}
