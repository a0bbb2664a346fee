//! The files of Unix sockets: made by binding, replaced when stale, removed at the end.
//!
//! A socket's file outlives a process that was killed, and then binding fails for ever. Nobody
//! answers behind such a file: a connection to it is refused (unix(7)). It is removed only then, and
//! only if it is still the same file. Between that look and the removal another process could
//! put a file of its own there; two processes that are started on one path in the same microsecond
//! are the user's to keep apart.
//!
//! Invariant: no file is removed but a socket's that refuses, or our own.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{SockAddr, Socket};

use crate::io::Endpoint;
use crate::io::error::{BIND, IoError, IoErrorKind};

/// The file of a bound socket; removed when this is dropped, if it is still the same.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity_of(&self.path).is_some_and(|found| found == self.identity) {
            // Nothing can be done about a folder that became read-only; the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and number of a socket's file; `None` for anything else.
fn identity_of(path: &Path) -> Option<(u64, u64)> {
    let data = fs::symlink_metadata(path).ok()?;
    data.file_type()
        .is_socket()
        .then(|| (data.dev(), data.ino()))
}

/// The address as the system takes it.
///
/// # Errors
/// A path or name that is too long.
pub(crate) fn sock_addr(at: &Endpoint) -> io::Result<SockAddr> {
    match at {
        Endpoint::Tcp(addr) => Ok((*addr).into()),
        Endpoint::Path(path) => SockAddr::unix(path),
        // On Linux a name that begins with a zero byte has no file.
        Endpoint::Abstract(name) if cfg!(target_os = "linux") => {
            SockAddr::unix(format!("\0{name}"))
        }
        Endpoint::Abstract(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Binds a Unix socket, replacing a file that nobody answers behind. `probe` is another socket of
/// the same type.
///
/// # Errors
/// Somebody answers there, or something else than a socket is there, or what the system said.
pub(crate) fn bind(
    socket: &Socket,
    at: &Endpoint,
    probe: impl FnOnce() -> io::Result<Socket>,
) -> Result<Option<SocketFile>, IoError> {
    let failed = |error: io::Error| IoError::from_os(&error, BIND).on(at);
    let addr = sock_addr(at).map_err(failed)?;
    let Endpoint::Path(path) = at else {
        socket.bind(&addr).map_err(failed)?;
        return Ok(None);
    };
    match socket.bind(&addr) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let Some(found) = identity_of(path) else {
                let what = format_args!("{at}: a file that is no socket is there");
                return Err(IoError::new(IoErrorKind::AddrInUse, BIND).on(&what));
            };
            let refused = probe()
                .and_then(|probe| probe.connect(&addr))
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if !refused || identity_of(path) != Some(found) {
                return Err(failed(error));
            }
            fs::remove_file(path).map_err(failed)?;
            socket.bind(&addr).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(identity_of(path).map(|identity| SocketFile {
        path: path.clone(),
        identity,
    }))
}
