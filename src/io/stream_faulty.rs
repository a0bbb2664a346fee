//! Faults of connections: cut reads and writes, no room, breaks.
//!
//! Invariant: every fault put in is counted; a connection that was broken stays so.

use std::net::SocketAddr;

use crate::io::error::{BIND, CONNECT, IoError};
use crate::io::faulty::Chance;
use crate::io::{
    Driver, Endpoint, FaultPlan, Faulty, Half, HandedStream, ListenerId, Sent, StreamId,
    StreamRead, StreamSpec, StreamWrite, UnixDatagram, UnixId, UnixSpec, each,
};

/// The generators of a plan's faults of connections.
#[derive(Debug)]
pub(crate) struct StreamFaults {
    short_read: Chance,
    short_write: Chance,
    would_block: Chance,
    reset: Chance,
    /// Connections that were broken by a fault.
    broken: Vec<StreamId>,
}

impl StreamFaults {
    pub(crate) fn new(plan: &FaultPlan) -> StreamFaults {
        let chance = |one_in, place| Chance::new(one_in, plan.seed, place);
        StreamFaults {
            short_read: chance(plan.stream_short_read_one_in, 8),
            short_write: chance(plan.stream_short_write_one_in, 9),
            would_block: chance(plan.stream_would_block_one_in, 10),
            reset: chance(plan.stream_reset_one_in, 11),
            broken: Vec::new(),
        }
    }
}

impl Faulty {
    /// Whether this connection is broken, or breaks now.
    fn breaks(&mut self, id: StreamId) -> Result<bool, IoError> {
        if self.streams.broken.contains(&id) {
            return Ok(true);
        }
        if !self.streams.reset.hit() {
            return Ok(false);
        }
        self.inner.stream_shutdown(id, Half::Both)?;
        self.streams.broken.push(id);
        self.counts.stream_resets += 1;
        Ok(true)
    }

    pub(crate) fn listen(&mut self, spec: &StreamSpec) -> Result<ListenerId, IoError> {
        self.fail_open("listen on", &spec.at)?;
        self.inner.listen(spec)
    }

    pub(crate) fn listener_endpoint(&self, id: ListenerId) -> Result<Endpoint, IoError> {
        self.inner.listener_endpoint(id)
    }

    pub(crate) fn listener_close(&mut self, id: ListenerId) -> Result<(), IoError> {
        self.inner.listener_close(id)
    }

    pub(crate) fn listener_maybe_readable(&self, id: ListenerId) -> bool {
        self.inner.listener_maybe_readable(id)
    }

    pub(crate) fn accept(&mut self, id: ListenerId) -> Result<Option<StreamId>, IoError> {
        self.inner.accept(id)
    }

    pub(crate) fn listener_next_ready(&mut self, id: ListenerId) -> Option<StreamId> {
        self.inner.listener_next_ready(id)
    }

    pub(crate) fn listener_next_writable(&mut self, id: ListenerId) -> Option<StreamId> {
        self.inner.listener_next_writable(id)
    }

    pub(crate) fn unlistened_next_ready(&mut self) -> Option<StreamId> {
        self.inner.unlistened_next_ready()
    }

    pub(crate) fn unlistened_next_writable(&mut self) -> Option<StreamId> {
        self.inner.unlistened_next_writable()
    }

    pub(crate) fn streams_max(&self) -> usize {
        self.inner.streams_max()
    }

    pub(crate) fn set_streams_max(&mut self, streams_max: usize) -> bool {
        each!(&mut self.inner, driver => driver.set_streams_max(streams_max))
    }

    pub(crate) fn stream_hold(&mut self, id: StreamId) -> Result<(), IoError> {
        each!(&mut self.inner, driver => driver.stream_hold(id))
    }

    pub(crate) fn stream_connect(&mut self, spec: &StreamSpec) -> Result<StreamId, IoError> {
        self.fail_open(CONNECT, &spec.at)?;
        self.inner.stream_connect(spec)
    }

    pub(crate) fn stream_peer(&self, id: StreamId) -> Result<Option<SocketAddr>, IoError> {
        self.inner.stream_peer(id)
    }

    pub(crate) fn stream_connected(&mut self, id: StreamId) -> Result<bool, IoError> {
        self.inner.stream_connected(id)
    }

    pub(crate) fn stream_read(
        &mut self,
        id: StreamId,
        buf: &mut [u8],
    ) -> Result<StreamRead, IoError> {
        // A wrong id stays an error.
        if self.inner.stream_maybe_readable(id) && self.breaks(id)? {
            return Ok(StreamRead::Reset);
        }
        let mut len = buf.len();
        if len > 1 && self.streams.short_read.hit() {
            len = 1 + self.streams.short_read.below(len.min(64) as u64 - 1) as usize;
            self.counts.stream_short_reads += 1;
        }
        self.inner.stream_read(id, &mut buf[..len])
    }

    pub(crate) fn stream_write(
        &mut self,
        id: StreamId,
        bytes: &[u8],
    ) -> Result<StreamWrite, IoError> {
        if self.inner.stream_maybe_writable(id) && self.breaks(id)? {
            return Ok(StreamWrite::Broken);
        }
        if self.inner.stream_maybe_writable(id) && self.streams.would_block.hit() {
            // The mark goes with it, and a poll that finds room brings it back.
            self.stream_hold(id)?;
            self.counts.stream_would_block += 1;
            return Ok(StreamWrite::WouldBlock);
        }
        let mut len = bytes.len();
        if len > 1 && self.streams.short_write.hit() {
            len = 1 + self.streams.short_write.below(len as u64 - 1) as usize;
            self.counts.stream_short_writes += 1;
        }
        self.inner.stream_write(id, &bytes[..len])
    }

    pub(crate) fn stream_maybe_readable(&self, id: StreamId) -> bool {
        self.inner.stream_maybe_readable(id)
    }

    pub(crate) fn stream_maybe_writable(&self, id: StreamId) -> bool {
        self.inner.stream_maybe_writable(id)
    }

    pub(crate) fn stream_shutdown(&mut self, id: StreamId, half: Half) -> Result<(), IoError> {
        self.inner.stream_shutdown(id, half)
    }

    pub(crate) fn stream_close(&mut self, id: StreamId) -> Result<(), IoError> {
        self.streams.broken.retain(|broken| *broken != id);
        self.inner.stream_close(id)
    }

    pub(crate) fn stream_hand_over(&self, id: StreamId) -> Result<HandedStream, IoError> {
        self.inner.stream_hand_over(id)
    }

    pub(crate) fn stream_adopt(&mut self, handed: HandedStream) -> Result<StreamId, IoError> {
        self.inner.stream_adopt(handed)
    }

    pub(crate) fn unix_open(&mut self, spec: &UnixSpec) -> Result<UnixId, IoError> {
        match spec.bind.as_ref().or(spec.connect.as_ref()) {
            Some(at) => self.fail_open(BIND, at)?,
            None => self.fail_open(BIND, &"any name")?,
        }
        self.inner.unix_open(spec)
    }

    pub(crate) fn unix_close(&mut self, id: UnixId) -> Result<(), IoError> {
        self.inner.unix_close(id)
    }

    pub(crate) fn unix_recv(
        &mut self,
        id: UnixId,
        buf: &mut [u8],
    ) -> Result<Option<UnixDatagram>, IoError> {
        self.inner.unix_recv(id, buf)
    }

    pub(crate) fn unix_send(&mut self, id: UnixId, bytes: &[u8]) -> Result<Sent, IoError> {
        if self.send_would_block.hit() {
            self.counts.send_would_block += 1;
            return Ok(Sent::WouldBlock);
        }
        if self.send_refused.hit() {
            self.counts.send_refused += 1;
            return Ok(Sent::Refused);
        }
        self.inner.unix_send(id, bytes)
    }

    pub(crate) fn unix_maybe_readable(&self, id: UnixId) -> bool {
        self.inner.unix_maybe_readable(id)
    }
}
