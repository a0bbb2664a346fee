//! Unix datagrams in memory, on virtual time.
//!
//! Invariant: no system call; a datagram that was taken arrives.

use std::collections::VecDeque;

use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::io::error::{BIND, IoError, IoErrorKind};
use crate::io::table::Table;
use crate::io::{Endpoint, Sent, UnixDatagram, UnixId, UnixSpec, Virtual};

/// Most datagrams that wait at one name; then sending would block. Linux's default is 10, and
/// common settings are 512.
const QUEUE_DATAGRAMS: usize = 512;

/// What waits at a name.
#[derive(Debug)]
struct Inbox {
    at: Endpoint,
    queue: VecDeque<(u64, Vec<u8>)>,
    fresh: bool,
}

/// All names of a network.
#[derive(Debug, Default)]
pub(crate) struct UnixNet {
    inboxes: Vec<Option<Inbox>>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl UnixNet {
    /// When the next datagram after `now_ns` arrives.
    pub(crate) fn next_at_ns(&self, now_ns: u64) -> Option<u64> {
        let queues = self.inboxes.iter().flatten().map(|inbox| &inbox.queue);
        let coming = queues.flatten().map(|(at_ns, _)| *at_ns);
        coming.filter(|at_ns| *at_ns > now_ns).min()
    }

    fn of_name(&mut self, at: &Endpoint) -> Option<&mut Inbox> {
        let mut inboxes = self.inboxes.iter_mut().flatten();
        inboxes.find(|inbox| inbox.at == *at)
    }
}

/// A socket of one driver.
#[derive(Debug)]
struct Unix {
    inbox: Option<usize>,
    to: Option<Endpoint>,
    readable: bool,
}

/// The sockets of one driver.
#[derive(Debug)]
pub(crate) struct UnixSockets(Table<Unix>);

impl UnixSockets {
    pub(crate) const fn new() -> UnixSockets {
        UnixSockets(Table::new(crate::io::SOCKETS_MAX))
    }

    pub(crate) fn close_all(&self, net: &mut UnixNet) {
        for inbox in self.0.iter().filter_map(|unix| unix.inbox) {
            net.inboxes[inbox] = None;
        }
    }

    /// Marks what something came to, and says whether there was any.
    pub(crate) fn take_fresh(&mut self, net: &mut UnixNet, now_ns: u64) -> bool {
        let mut ready = false;
        for index in 0..self.0.places() {
            if let Some(unix) = self.0.at_mut(index)
                && let Some(inbox) = unix.inbox.and_then(|at| net.inboxes[at].as_mut())
                && inbox.fresh
                && inbox
                    .queue
                    .front()
                    .is_some_and(|(at_ns, _)| *at_ns <= now_ns)
            {
                (inbox.fresh, unix.readable, ready) = (false, true, true);
            }
        }
        ready
    }
}

impl Virtual {
    pub(crate) fn unix_open(&mut self, spec: &UnixSpec) -> Result<UnixId, IoError> {
        let mut state = self.net.state();
        let net = &mut state.unix;
        let inbox = match &spec.bind {
            None => None,
            Some(at) if net.of_name(at).is_some() => {
                return Err(IoError::new(IoErrorKind::AddrInUse, BIND).on(at));
            }
            Some(at) => {
                net.inboxes.push(Some(Inbox {
                    at: at.clone(),
                    queue: VecDeque::with_capacity(QUEUE_DATAGRAMS),
                    fresh: false,
                }));
                Some(net.inboxes.len() - 1)
            }
        };
        let unix = Unix {
            inbox,
            to: spec.connect.clone(),
            readable: true,
        };
        let slot = self.unix.0.insert(unix, "open a socket");
        if slot.is_err()
            && let Some(at) = inbox
        {
            net.inboxes[at] = None;
        }
        slot.map(UnixId)
    }

    pub(crate) fn unix_close(&mut self, id: UnixId) -> Result<(), IoError> {
        let unix = self.unix.0.remove(id.0, "close a socket")?;
        if let Some(at) = unix.inbox {
            self.net.state().unix.inboxes[at] = None;
        }
        Ok(())
    }

    pub(crate) fn unix_recv(
        &mut self,
        id: UnixId,
        buf: &mut [u8],
    ) -> Result<Option<UnixDatagram>, IoError> {
        let unix = self.unix.0.get_mut(id.0, "receive")?;
        let mut state = self.net.state();
        let now_ns = state.now_ns;
        let net = &mut state.unix;
        let inbox = unix.inbox.and_then(|at| net.inboxes[at].as_mut());
        let Some((_, mut bytes)) = inbox.and_then(|inbox| {
            let due = inbox
                .queue
                .front()
                .is_some_and(|(at_ns, _)| *at_ns <= now_ns);
            due.then(|| inbox.queue.pop_front()).flatten()
        }) else {
            unix.readable = false;
            return Ok(None);
        };
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        let truncated = bytes.len() > len;
        bytes.clear();
        net.spare.push(bytes);
        Ok(Some(UnixDatagram { len, truncated }))
    }

    pub(crate) fn unix_send(&mut self, id: UnixId, bytes: &[u8]) -> Result<Sent, IoError> {
        let unix = self.unix.0.get_mut(id.0, "send")?;
        let to = unix.to.as_ref();
        let to = to.ok_or(IoError::new(IoErrorKind::InvalidInput, "send"))?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(IoError::new(IoErrorKind::MessageTooLong, "send"));
        }
        let mut state = self.net.state();
        let at_ns = state.now_ns.saturating_add(state.delay_ns);
        let net = &mut state.unix;
        let mut stored = net.spare.pop().unwrap_or_default();
        let Some(inbox) = net.of_name(to) else {
            return Ok(Sent::Refused);
        };
        if inbox.queue.len() >= QUEUE_DATAGRAMS {
            return Ok(Sent::WouldBlock);
        }
        stored.extend_from_slice(bytes);
        inbox.queue.push_back((at_ns, stored));
        inbox.fresh = true;
        Ok(Sent::Yes)
    }

    pub(crate) fn unix_maybe_readable(&self, id: UnixId) -> bool {
        let unix = self.unix.0.get(id.0, "receive");
        unix.is_ok_and(|unix| unix.readable)
    }
}
