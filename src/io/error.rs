//! What can go wrong between a line and the operating system, in words a person can act on.
//!
//! Invariant: an error of the data path holds no heap memory; only opening names its subject.

use core::fmt;
use core::net::SocketAddr;
use std::io;

/// Opening at an address or a path.
pub(crate) const BIND: &str = "bind";

/// Making a connection to one.
pub(crate) const CONNECT: &str = "connect to";

/// Becoming a member of a group.
pub(crate) const JOIN: &str = "join";

/// Choosing the way to a group.
pub(crate) const GROUP_SEND: &str = "send to groups by interface";

/// What kind of trouble it is; small and closed, so that callers can match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IoErrorKind {
    /// No such file or folder.
    NotFound,
    /// The user may not do this.
    PermissionDenied,
    /// Another socket holds this address.
    AddrInUse,
    /// This machine has no such address.
    AddrNotAvailable,
    /// Nobody listens at the other end.
    ConnectionRefused,
    /// No route to the other end.
    Unreachable,
    /// The other end has not answered.
    NoAnswer,
    /// No space is left on the device, or the quota is used up.
    DiskFull,
    /// The reader of a pipe is gone.
    BrokenPipe,
    /// A folder where a file is expected.
    IsADirectory,
    /// A file with what an earlier run left there, which is not to be overwritten.
    AlreadyThere,
    /// Longer than one datagram can be.
    MessageTooLong,
    /// The process has as many files or sockets open as it may, or the driver has.
    TooManyOpen,
    /// An id that this driver did not give out, or that was closed.
    WrongId,
    /// What was asked for makes no sense.
    InvalidInput,
    /// What is there is not what it should be; the subject says where.
    Malformed,
    /// What is there was written in a version that is not read here; the subject says of what.
    OtherVersion,
    /// A signal came in between, again and again.
    Interrupted,
    /// The device failed, or a kind without a name here; the code says which.
    Other,
}

impl IoErrorKind {
    /// The kind in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            IoErrorKind::NotFound => "no such file or folder",
            IoErrorKind::PermissionDenied => "permission denied",
            IoErrorKind::AddrInUse => "address already in use",
            IoErrorKind::AddrNotAvailable => "this machine has no such address",
            IoErrorKind::ConnectionRefused => "nobody listens there",
            IoErrorKind::Unreachable => "no route to it",
            IoErrorKind::NoAnswer => "no answer from there",
            IoErrorKind::DiskFull => "no space left on the device",
            IoErrorKind::BrokenPipe => "the reader is gone",
            IoErrorKind::IsADirectory => "it is a folder",
            IoErrorKind::AlreadyThere => "it holds what an earlier run left there",
            IoErrorKind::MessageTooLong => "message too long for one datagram",
            IoErrorKind::TooManyOpen => "too many open files or sockets",
            IoErrorKind::WrongId => "unknown or closed id",
            IoErrorKind::InvalidInput => "invalid request",
            IoErrorKind::Malformed => "not in the expected format",
            IoErrorKind::OtherVersion => "no upgrade from it is known",
            IoErrorKind::Interrupted => "interrupted by a signal",
            IoErrorKind::Other => "operating system error",
        }
    }

    /// What to do about it, where that can be said in general.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            IoErrorKind::NotFound => {
                Some("check the path; relative paths start at the folder you are in")
            }
            IoErrorKind::PermissionDenied => {
                Some("check the owner and mode; ports below 1024 need privileges")
            }
            IoErrorKind::AddrInUse => Some(
                "another process holds it (`ss -tulpn` shows which): end it or choose another port",
            ),
            IoErrorKind::AddrNotAvailable => {
                Some("use an address of this machine (`ip addr` lists them), 127.0.0.1 or 0.0.0.0")
            }
            IoErrorKind::ConnectionRefused => Some("start the receiver first, or check its port"),
            IoErrorKind::Unreachable => {
                Some("check the address and the route (`ip route get ADDRESS`)")
            }
            IoErrorKind::NoAnswer => {
                Some("check the address; a firewall may drop what is sent there")
            }
            IoErrorKind::DiskFull => {
                Some("free some space (`df -h` shows the device) or write elsewhere")
            }
            IoErrorKind::IsADirectory => Some("name a file inside the folder"),
            IoErrorKind::AlreadyThere => {
                Some("read it and remove it, move it away, or name another file")
            }
            IoErrorKind::OtherVersion => Some(
                "replay it with the program that recorded it, or register an upgrade of its frames (`Captured::upgrades`)",
            ),
            IoErrorKind::TooManyOpen => Some("raise `ulimit -n`, or use fewer sources and sinks"),
            _ => None,
        }
    }

    fn of(error: &io::Error) -> IoErrorKind {
        match error.raw_os_error() {
            Some(libc::EMSGSIZE) => return IoErrorKind::MessageTooLong,
            Some(libc::EMFILE | libc::ENFILE) => return IoErrorKind::TooManyOpen,
            _ => {}
        }
        match error.kind() {
            io::ErrorKind::NotFound => IoErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => IoErrorKind::PermissionDenied,
            io::ErrorKind::AddrInUse => IoErrorKind::AddrInUse,
            io::ErrorKind::AddrNotAvailable => IoErrorKind::AddrNotAvailable,
            io::ErrorKind::ConnectionRefused => IoErrorKind::ConnectionRefused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                IoErrorKind::Unreachable
            }
            io::ErrorKind::TimedOut => IoErrorKind::NoAnswer,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => IoErrorKind::DiskFull,
            io::ErrorKind::BrokenPipe => IoErrorKind::BrokenPipe,
            io::ErrorKind::IsADirectory => IoErrorKind::IsADirectory,
            io::ErrorKind::InvalidInput => IoErrorKind::InvalidInput,
            io::ErrorKind::Interrupted => IoErrorKind::Interrupted,
            _ => IoErrorKind::Other,
        }
    }
}

/// Why an operation failed, and on what.
///
/// Shown as `cannot bind 127.0.0.1:26400: address already in use`; with `{:#}` the
/// [hint](IoError::hint) follows.
///
/// ```
/// use hopline::io::{IoError, IoErrorKind};
/// let error = IoError::new(IoErrorKind::AddrInUse, "bind").on(&"127.0.0.1:26400");
/// assert_eq!(error.to_string(), "cannot bind 127.0.0.1:26400: address already in use");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoError {
    /// What kind of trouble it is.
    pub kind: IoErrorKind,
    /// What was being done, as a verb: "bind", "open", "receive".
    pub what: &'static str,
    /// The path or address; empty (and without heap memory) on the data path.
    pub subject: String,
    /// The operating system's error number, if it came from there.
    pub code: Option<i32>,
}

impl IoError {
    /// An error of this kind while doing `what`, without a subject. Does not allocate.
    #[must_use]
    pub const fn new(kind: IoErrorKind, what: &'static str) -> IoError {
        IoError {
            kind,
            what,
            subject: String::new(),
            code: None,
        }
    }

    /// What the operating system said while doing `what`. Does not allocate.
    #[must_use]
    pub fn from_os(error: &io::Error, what: &'static str) -> IoError {
        IoError {
            code: error.raw_os_error(),
            ..IoError::new(IoErrorKind::of(error), what)
        }
    }

    /// The same error, naming what it was about. Allocates: for opening only.
    #[must_use]
    pub fn on(mut self, subject: &dyn fmt::Display) -> IoError {
        self.subject = subject.to_string();
        self
    }

    /// What to do about it, where that can be said.
    ///
    /// ```
    /// use hopline::io::{IoError, IoErrorKind};
    /// let hint = |on| IoError::new(IoErrorKind::AddrInUse, "bind").on(&on).hint();
    /// assert!(hint("127.0.0.1:26400").is_some_and(|hint| hint.contains("another port")));
    /// assert!(hint("feed.sock").is_some_and(|hint| hint.contains("another path")));
    /// ```
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self.what {
            JOIN | GROUP_SEND => Some(
                "name an interface that knows groups (`ip -o link` has their numbers, `ip addr` their \
                 addresses), or add a route to the group",
            ),
            BIND | CONNECT if self.is_of_a_path() => self.unix_hint(),
            _ => self.kind.hint(),
        }
    }

    /// Whether it is about a Unix socket: all others have addresses.
    fn is_of_a_path(&self) -> bool {
        !self.subject.is_empty() && self.subject.parse::<SocketAddr>().is_err()
    }

    fn unix_hint(&self) -> Option<&'static str> {
        match (self.what, self.kind) {
            (BIND, IoErrorKind::NotFound) => Some(
                "make the folder that the socket is to lie in; relative paths start at the folder you are in",
            ),
            (BIND, IoErrorKind::PermissionDenied) => {
                Some("check the owner and mode of the folder: binding makes a file in it")
            }
            (BIND, IoErrorKind::AddrInUse) => Some(
                "another process answers there (`ss -xlp` shows which), or a file of another kind is in \
                 the way: end the one, remove the other, or choose another path",
            ),
            (_, IoErrorKind::NotFound) => Some(
                "start who binds it first, or check the path; relative paths start at the folder you are in",
            ),
            (_, IoErrorKind::PermissionDenied) => Some(
                "check the owner and mode of the socket's file: connecting needs the right to write",
            ),
            (_, IoErrorKind::ConnectionRefused) => {
                Some("the file is there and nobody behind it: start who binds it")
            }
            _ => self.kind.hint(),
        }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.what)?;
        if !self.subject.is_empty() {
            write!(f, " {}", self.subject)?;
        }
        match (self.kind, self.code) {
            (IoErrorKind::Other, Some(code)) => {
                write!(f, ": {}", io::Error::from_raw_os_error(code))?;
            }
            (kind, _) => write!(f, ": {}", kind.text())?,
        }
        match self.hint() {
            Some(hint) if f.alternate() => write!(f, "; {hint}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for IoError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_system_become_kinds() {
        for (code, kind) in [
            (libc::ENOENT, IoErrorKind::NotFound),
            (libc::EACCES, IoErrorKind::PermissionDenied),
            (libc::EADDRINUSE, IoErrorKind::AddrInUse),
            (libc::EADDRNOTAVAIL, IoErrorKind::AddrNotAvailable),
            (libc::ECONNREFUSED, IoErrorKind::ConnectionRefused),
            (libc::ENETUNREACH, IoErrorKind::Unreachable),
            (libc::ETIMEDOUT, IoErrorKind::NoAnswer),
            (libc::ENOSPC, IoErrorKind::DiskFull),
            (libc::EDQUOT, IoErrorKind::DiskFull),
            (libc::EPIPE, IoErrorKind::BrokenPipe),
            (libc::EISDIR, IoErrorKind::IsADirectory),
            (libc::EMSGSIZE, IoErrorKind::MessageTooLong),
            (libc::EMFILE, IoErrorKind::TooManyOpen),
            (libc::EINVAL, IoErrorKind::InvalidInput),
            (libc::EINTR, IoErrorKind::Interrupted),
            (libc::EIO, IoErrorKind::Other),
        ] {
            let error = IoError::from_os(&io::Error::from_raw_os_error(code), "test");
            assert_eq!((error.kind, error.code), (kind, Some(code)));
            assert_eq!(error.subject.capacity(), 0);
        }
    }

    #[test]
    fn hints_speak_of_what_it_is_about() {
        let hint = |what, kind, on: &str| IoError::new(kind, what).on(&on).hint().unwrap_or("none");
        for (what, kind, on, words) in [
            (
                BIND,
                IoErrorKind::AddrInUse,
                "[::1]:7",
                "choose another port",
            ),
            (
                BIND,
                IoErrorKind::AddrInUse,
                "a.sock",
                "choose another path",
            ),
            (BIND, IoErrorKind::NotFound, "a/b.sock", "make the folder"),
            (
                BIND,
                IoErrorKind::PermissionDenied,
                "a.sock",
                "mode of the folder",
            ),
            (
                BIND,
                IoErrorKind::PermissionDenied,
                "127.0.0.1:80",
                "ports below 1024",
            ),
            (
                CONNECT,
                IoErrorKind::NotFound,
                "a.sock",
                "start who binds it first",
            ),
            (
                CONNECT,
                IoErrorKind::ConnectionRefused,
                "a.sock",
                "nobody behind it",
            ),
            (
                CONNECT,
                IoErrorKind::ConnectionRefused,
                "127.0.0.1:7",
                "check its port",
            ),
            (
                JOIN,
                IoErrorKind::Other,
                "239.1.2.3 by interface 9",
                "ip -o link",
            ),
            (
                GROUP_SEND,
                IoErrorKind::AddrNotAvailable,
                "192.0.2.1",
                "ip addr",
            ),
            ("open", IoErrorKind::NotFound, "a.gz", "check the path"),
        ] {
            let said = hint(what, kind, on);
            assert!(said.contains(words), "{what} {on}: {said}");
        }
    }

    #[test]
    fn the_text_names_the_subject_and_the_hint() {
        let full = IoError::new(IoErrorKind::DiskFull, "write");
        assert_eq!(
            full.to_string(),
            "cannot write: no space left on the device"
        );
        assert!(format!("{full:#}").contains("df -h"));
        let eio = IoError::from_os(&io::Error::from_raw_os_error(libc::EIO), "read").on(&"a.gz");
        assert!(eio.to_string().starts_with("cannot read a.gz: "));
        assert!(eio.to_string().contains("os error 5"));
    }
}
