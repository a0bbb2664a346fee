//! What a network device says of its own receive stamps.
//!
//! A device that stamps has a clock of its own (a PTP hardware clock, `/dev/ptpN`), and stamps nothing
//! until an administrator switches it on. Both are asked before its stamps are counted on:
//! `ETHTOOL_GET_TS_INFO` for what it can do, `SIOCGHWTSTAMP` for what it does
//! (Documentation/networking/timestamping.rst, sections 3.1 and 3.3).
//!
//! Invariant: asks only; it switches nothing on a device.

#![allow(
    unsafe_code,
    reason = "questions to a network device have no safe form; fenced here"
)]

use core::fmt;
use core::str::FromStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of a device's name with the zero behind it (`IFNAMSIZ`).
const NAME_BYTES: usize = 16;

/// `ETHTOOL_GET_TS_INFO` of linux/ethtool.h.
const GET_TS_INFO: u32 = 0x41;

/// The name of a network device, as `ip link` shows it.
///
/// ```
/// use hopline::io::Device;
/// let device: Device = "eth0".parse()?;
/// assert_eq!(device.to_string(), "eth0");
/// assert!("a name that is too long".parse::<Device>().is_err());
/// # Ok::<(), hopline::io::DeviceError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device([u8; NAME_BYTES]);

/// A text that cannot be the name of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no name of a network device: write it as `ip link` shows it, such as \"eth0\"")]
pub struct DeviceError;

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Device, DeviceError> {
        let is_right = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
        if text.is_empty() || text.len() >= NAME_BYTES || !text.bytes().all(is_right) {
            return Err(DeviceError);
        }
        let mut name = [0; NAME_BYTES];
        name[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Device(name))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        f.pad(core::str::from_utf8(name).unwrap_or_default())
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}

/// Whether a device's own receive stamps come with datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceStamps {
    /// They were not asked for.
    #[default]
    Unasked,
    /// They come, by the clock `/dev/ptpN` of that number.
    Granted {
        /// The number.
        phc: u32,
    },
    /// There is no such device, or it would not say.
    NoAnswer,
    /// The device has none: loopback, most virtual ones, many that are real.
    None,
    /// The device has them, but not for every packet: nobody has switched that on
    /// (`hwstamp_ctl -i eth0 -r 1`).
    Off,
}

/// Asks whether `device` stamps every packet that it receives, now. Any socket will do to ask by.
pub(crate) fn stamps_of(socket: BorrowedFd<'_>, device: Device) -> DeviceStamps {
    let mut info = TsInfo {
        command: GET_TS_INFO,
        ..TsInfo::default()
    };
    match ask(socket, device, libc::SIOCETHTOOL, &mut info) {
        Ok(()) => {}
        // A driver that has never heard of the question has nothing to offer.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return DeviceStamps::None,
        Err(_) => return DeviceStamps::NoAnswer,
    }
    let mut config = StampConfig::default();
    let config = ask(socket, device, libc::SIOCGHWTSTAMP, &mut config).map(|()| config);
    judge(&info, config.ok())
}

/// What the two answers mean.
fn judge(info: &TsInfo, config: Option<StampConfig>) -> DeviceStamps {
    const NEEDED: u32 = libc::SOF_TIMESTAMPING_RX_HARDWARE | libc::SOF_TIMESTAMPING_RAW_HARDWARE;
    const EVERY_PACKET: u32 = libc::HWTSTAMP_FILTER_ALL;
    let Ok(phc) = u32::try_from(info.phc) else {
        return DeviceStamps::None;
    };
    if info.stamping & NEEDED != NEEDED || info.receive_filters & (1 << EVERY_PACKET) == 0 {
        return DeviceStamps::None;
    }
    match config {
        Some(config) if config.receive_filter == EVERY_PACKET => DeviceStamps::Granted { phc },
        _ => DeviceStamps::Off,
    }
}

/// `struct ethtool_ts_info` of linux/ethtool.h.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct TsInfo {
    command: u32,
    stamping: u32,
    phc: i32,
    transmit: u32,
    transmit_reserved: [u32; 3],
    receive_filters: u32,
    receive_reserved: [u32; 3],
}

/// `struct hwtstamp_config` of linux/net_tstamp.h.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct StampConfig {
    flags: u32,
    transmit: u32,
    receive_filter: u32,
}

/// `struct ifreq` of linux/if.h with its pointer.
#[repr(C)]
struct Request<T> {
    name: [u8; NAME_BYTES],
    data: *mut T,
    rest: [usize; 2],
}

const _: () = assert!(size_of::<TsInfo>() == 44 && size_of::<StampConfig>() == 12);
const _: () = assert!(size_of::<Request<TsInfo>>() == size_of::<libc::ifreq>());

/// What the system writes its answer to: plain words, of the size that its question has.
trait Answer: Copy {}
impl Answer for TsInfo {}
impl Answer for StampConfig {}

fn ask<T: Answer>(
    socket: BorrowedFd<'_>,
    device: Device,
    question: libc::c_ulong,
    answer: &mut T,
) -> io::Result<()> {
    let mut request = Request {
        name: device.0,
        data: core::ptr::from_mut(answer),
        rest: [0; 2],
    };
    // SAFETY: the descriptor is borrowed for the call; the request is as large as the system's, its name
    // ends with a zero, and its pointer is to a live, writable value of the layout that the question
    // has, which for `SIOCETHTOOL` begins with the command; any bits are a value of it.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), question as _, &raw mut request) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn loopback_has_no_stamps_and_a_device_that_is_not_there_gives_no_answer() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ask = |name: &str| stamps_of(socket.as_fd(), name.parse().unwrap());
        assert_eq!(ask("lo"), DeviceStamps::None);
        assert_eq!(ask("not-there-9"), DeviceStamps::NoAnswer);
    }

    #[test]
    fn the_answer_for_loopback_is_the_kernels() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut info = TsInfo {
            command: GET_TS_INFO,
            phc: 77,
            ..TsInfo::default()
        };
        let lo = "lo".parse().unwrap();
        ask(socket.as_fd(), lo, libc::SIOCETHTOOL, &mut info).unwrap();
        // It has software stamps and no clock: the words were written where they are read.
        let software = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
        assert_eq!(info.stamping & software, software);
        assert_eq!((info.phc, info.command), (-1, GET_TS_INFO));
    }

    #[test]
    fn stamps_are_granted_only_by_a_device_that_stamps_every_packet_now() {
        let able = TsInfo {
            stamping: libc::SOF_TIMESTAMPING_RX_HARDWARE | libc::SOF_TIMESTAMPING_RAW_HARDWARE,
            phc: 2,
            receive_filters: 0b11,
            ..TsInfo::default()
        };
        let config = |receive_filter| {
            Some(StampConfig {
                receive_filter,
                ..StampConfig::default()
            })
        };
        let granted = DeviceStamps::Granted { phc: 2 };
        assert_eq!(judge(&able, config(1)), granted);
        for off in [config(0), config(12), None] {
            assert_eq!(judge(&able, off), DeviceStamps::Off);
        }
        for unable in [
            TsInfo { phc: -1, ..able },
            TsInfo {
                stamping: libc::SOF_TIMESTAMPING_RAW_HARDWARE,
                ..able
            },
            // Only the packets of a time protocol.
            TsInfo {
                receive_filters: 1 | 1 << 12,
                ..able
            },
        ] {
            assert_eq!(judge(&unable, config(1)), DeviceStamps::None);
        }
    }

    #[test]
    fn names_of_devices_are_short_words() {
        for right in ["lo", "eth0", "enp0s31f6", "fifteen-letters"] {
            assert_eq!(right.parse::<Device>().unwrap().to_string(), right);
        }
        for wrong in ["", "sixteen-letters!", "a b", "../x", "eth0:1", "ä", "a\0"] {
            assert_eq!(wrong.parse::<Device>(), Err(DeviceError), "{wrong:?}");
        }
    }
}
