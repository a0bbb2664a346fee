//! A driver that spoils another one's work, by a seed.
//!
//! Invariant: every fault it puts in is counted, and a plan without faults changes nothing.

use core::net::SocketAddr;
use std::path::Path;

use crate::base::Prng;
use crate::base::limits::{BURST_MESSAGES, MESSAGE_BYTES_MAX};
use crate::io::error::{BIND, IoError, IoErrorKind};
use crate::io::stream_faulty::StreamFaults;
use crate::io::{
    BatchSent, Datagram, Driver, FileId, FileMode, OwnAddress, Polled, RecvBatch, SendBatch, Sent,
    SharedUdp, Trains, UdpBuffers, UdpCounts, UdpGranted, UdpId, UdpSpec, Waker,
};

/// The number that a failed read comes back with: an input or output error of the device.
const DEVICE_ERROR: i32 = libc::EIO;

/// Which faults to put in. The default is none. `…_one_in: n` means each time with a chance of
/// 1/n, drawn from `seed` by a generator of its own, so that one rate does not move another's
/// faults; 0 is never, 1 is always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Where the generators start.
    pub seed: u64,
    /// A received datagram is lost.
    pub recv_drop_one_in: u32,
    /// A received datagram comes a second time. One is kept for that at any time.
    pub recv_duplicate_one_in: u32,
    /// A received datagram is cut to a random shorter length and marked so.
    pub recv_truncate_one_in: u32,
    /// A send finds no room.
    pub send_would_block_one_in: u32,
    /// A send finds nobody at the other end.
    pub send_refused_one_in: u32,
    /// A write takes only a first part, at least one byte. Single bytes are written whole.
    pub short_write_one_in: u32,
    /// The disk is full once this many bytes were written, over all files.
    pub disk_full_after_bytes: Option<u64>,
    /// Opening a socket or a file fails with this.
    pub open_fails: Option<IoErrorKind>,
    /// Reading a file fails once this many bytes were read, over all files.
    pub read_error_after_bytes: Option<u64>,
    /// A read of a connection takes only a first part, at most 64 bytes.
    pub stream_short_read_one_in: u32,
    /// A write to a connection takes only a first part, at least one byte.
    pub stream_short_write_one_in: u32,
    /// A write to a connection finds no room; the next poll says that there is some, if there is.
    pub stream_would_block_one_in: u32,
    /// A connection breaks off at a read or write.
    pub stream_reset_one_in: u32,
    /// A poll returns at once and says that something is ready. With 1, virtual time stands still.
    pub poll_spurious_one_in: u32,
}

/// How often each fault was put in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Datagrams lost.
    pub recv_dropped: u64,
    /// Datagrams that came twice.
    pub recv_duplicated: u64,
    /// Datagrams cut.
    pub recv_truncated: u64,
    /// Sends that found no room.
    pub send_would_block: u64,
    /// Sends that were refused.
    pub send_refused: u64,
    /// Writes that took only a part.
    pub short_writes: u64,
    /// Writes that met a full disk.
    pub disk_full: u64,
    /// Sockets and files that did not open.
    pub opens_failed: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Reads of connections that took only a part.
    pub stream_short_reads: u64,
    /// Writes to connections that took only a part.
    pub stream_short_writes: u64,
    /// Writes to connections that found no room.
    pub stream_would_block: u64,
    /// Connections that broke off.
    pub stream_resets: u64,
    /// Polls that returned for nothing.
    pub polls_spurious: u64,
}

/// A chance of one in `n`, with a generator of its own.
#[derive(Debug)]
pub(crate) struct Chance {
    one_in: u32,
    prng: Prng,
}

impl Chance {
    pub(crate) fn new(one_in: u32, seed: u64, place: u64) -> Chance {
        // The first output of a generator spreads neighbouring places far apart.
        let start = Prng::new(seed ^ Prng::new(place).next_u64()).next_u64();
        Chance {
            one_in,
            prng: Prng::new(start),
        }
    }

    pub(crate) fn hit(&mut self) -> bool {
        self.one_in != 0 && self.prng.below(u64::from(self.one_in)) == 0
    }

    /// A number below `bound`, or 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.prng.below(bound.max(1))
    }
}

/// A datagram that is to come a second time.
#[derive(Debug)]
struct Again {
    pending: Option<(UdpId, Datagram)>,
    bytes: Box<[u8]>,
}

/// A driver with seeded faults.
///
/// ```
/// use hopline::io::{Driver, FaultPlan, Faulty, Sent, UdpSpec, Virtual};
/// let plan = FaultPlan { send_refused_one_in: 1, ..FaultPlan::default() };
/// let mut driver = Driver::from(Faulty::new(Virtual::new().into(), plan));
/// let out = driver.udp_open(&UdpSpec::connected("127.0.0.1:9".parse().unwrap()))?;
/// assert_eq!(driver.udp_send(out, None, b"tick")?, Sent::Refused);
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Debug)]
pub struct Faulty {
    pub(crate) inner: Driver,
    plan: FaultPlan,
    pub(crate) counts: FaultCounts,
    pub(crate) streams: StreamFaults,
    recv_drop: Chance,
    recv_duplicate: Chance,
    recv_truncate: Chance,
    pub(crate) send_would_block: Chance,
    pub(crate) send_refused: Chance,
    short_write: Chance,
    poll_spurious: Chance,
    again: Again,
    written_bytes: u64,
    read_bytes: u64,
}

impl Faulty {
    /// `inner` with the faults of `plan`. Allocates room for one datagram.
    #[must_use]
    pub fn new(inner: Driver, plan: FaultPlan) -> Faulty {
        let chance = |one_in, place| Chance::new(one_in, plan.seed, place);
        Faulty {
            recv_drop: chance(plan.recv_drop_one_in, 1),
            recv_duplicate: chance(plan.recv_duplicate_one_in, 2),
            recv_truncate: chance(plan.recv_truncate_one_in, 3),
            send_would_block: chance(plan.send_would_block_one_in, 4),
            send_refused: chance(plan.send_refused_one_in, 5),
            short_write: chance(plan.short_write_one_in, 6),
            poll_spurious: chance(plan.poll_spurious_one_in, 7),
            streams: StreamFaults::new(&plan),
            inner,
            plan,
            counts: FaultCounts::default(),
            again: Again {
                pending: None,
                bytes: vec![0; MESSAGE_BYTES_MAX].into_boxed_slice(),
            },
            written_bytes: 0,
            read_bytes: 0,
        }
    }

    /// How often each fault was put in so far.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        self.counts
    }

    /// The plan it works by.
    #[must_use]
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// The driver below.
    #[must_use]
    pub fn inner(&self) -> &Driver {
        &self.inner
    }

    pub(crate) fn fail_open(
        &mut self,
        what: &'static str,
        subject: &dyn core::fmt::Display,
    ) -> Result<(), IoError> {
        match self.plan.open_fails {
            None => Ok(()),
            Some(kind) => {
                self.counts.opens_failed += 1;
                Err(IoError::new(kind, what).on(subject))
            }
        }
    }

    pub(crate) fn udp_open(&mut self, spec: &UdpSpec) -> Result<UdpId, IoError> {
        match spec.bind.or(spec.connect) {
            Some(addr) => self.fail_open(BIND, &addr)?,
            None => self.fail_open(BIND, &"any address")?,
        }
        // A train has no place for a fault of one of its datagrams.
        self.inner.udp_open(&UdpSpec {
            trains: Trains::Off,
            ..*spec
        })
    }

    pub(crate) fn udp_join(
        &mut self,
        shared: &SharedUdp,
        receives: bool,
    ) -> Result<UdpId, IoError> {
        match shared.spec().bind {
            Some(addr) => self.fail_open(BIND, &addr)?,
            None => self.fail_open(BIND, &"any address")?,
        }
        let id = self.inner.udp_join(shared, receives)?;
        if let Driver::Real(real) = &mut self.inner {
            real.udp_refuse_trains(id)?;
        }
        Ok(id)
    }

    pub(crate) fn udp_close(&mut self, id: UdpId) -> Result<(), IoError> {
        if self.has_again(id) {
            self.again.pending = None;
        }
        self.inner.udp_close(id)
    }

    pub(crate) fn udp_local_addr(&self, id: UdpId) -> Result<SocketAddr, IoError> {
        self.inner.udp_local_addr(id)
    }

    pub(crate) fn udp_own(&self, id: UdpId) -> Result<OwnAddress, IoError> {
        self.inner.udp_own(id)
    }

    pub(crate) fn udp_buffers(&self, id: UdpId) -> Result<UdpBuffers, IoError> {
        self.inner.udp_buffers(id)
    }

    pub(crate) fn udp_counts(&self, id: UdpId) -> Result<UdpCounts, IoError> {
        self.inner.udp_counts(id)
    }

    fn has_again(&self, id: UdpId) -> bool {
        self.again.pending.is_some_and(|(of, _)| of == id)
    }

    pub(crate) fn udp_recv(
        &mut self,
        id: UdpId,
        buf: &mut [u8],
    ) -> Result<Option<Datagram>, IoError> {
        if let Some((of, datagram)) = self.again.pending
            && of == id
        {
            self.again.pending = None;
            self.counts.recv_duplicated += 1;
            let len = datagram.len.min(buf.len());
            buf[..len].copy_from_slice(&self.again.bytes[..len]);
            return Ok(Some(Datagram {
                len,
                truncated: datagram.truncated || len < datagram.len,
                ..datagram
            }));
        }
        // As many as a source takes in a turn; then it says `None` and the mark stays.
        for _ in 0..BURST_MESSAGES {
            let Some(mut datagram) = self.inner.udp_recv(id, buf)? else {
                return Ok(None);
            };
            if self.recv_drop.hit() {
                self.counts.recv_dropped += 1;
                continue;
            }
            if datagram.len > 0 && self.recv_truncate.hit() {
                datagram.len = self.recv_truncate.prng.below(datagram.len as u64) as usize;
                datagram.truncated = true;
                self.counts.recv_truncated += 1;
            }
            if self.again.pending.is_none()
                && datagram.len <= MESSAGE_BYTES_MAX
                && self.recv_duplicate.hit()
            {
                self.again.bytes[..datagram.len].copy_from_slice(&buf[..datagram.len]);
                self.again.pending = Some((id, datagram));
            }
            return Ok(Some(datagram));
        }
        Ok(None)
    }

    pub(crate) fn udp_send(
        &mut self,
        id: UdpId,
        to: Option<SocketAddr>,
        bytes: &[u8],
    ) -> Result<Sent, IoError> {
        // A wrong id stays an error.
        self.inner.udp_counts(id)?;
        if self.send_would_block.hit() {
            self.counts.send_would_block += 1;
            return Ok(Sent::WouldBlock);
        }
        if self.send_refused.hit() {
            self.counts.send_refused += 1;
            return Ok(Sent::Refused);
        }
        self.inner.udp_send(id, to, bytes)
    }

    pub(crate) fn udp_granted(&self, id: UdpId) -> Result<UdpGranted, IoError> {
        self.inner.udp_granted(id)
    }

    /// One by one, so that each datagram has its own chance of a fault.
    pub(crate) fn udp_recv_batch(
        &mut self,
        id: UdpId,
        batch: &mut RecvBatch,
    ) -> Result<usize, IoError> {
        batch.fill_with(|buf| self.udp_recv(id, buf))
    }

    pub(crate) fn udp_send_batch(
        &mut self,
        id: UdpId,
        batch: &mut SendBatch,
    ) -> Result<BatchSent, IoError> {
        batch.send_with(|to, bytes| self.udp_send(id, to, bytes))
    }

    pub(crate) fn udp_maybe_readable(&self, id: UdpId) -> bool {
        self.has_again(id) || self.inner.udp_maybe_readable(id)
    }

    pub(crate) fn udp_kernel_drops(&self, id: UdpId) -> Option<u64> {
        self.inner.udp_kernel_drops(id)
    }

    pub(crate) fn file_open(&mut self, path: &Path, mode: FileMode) -> Result<FileId, IoError> {
        self.fail_open("open", &path.display())?;
        self.inner.file_open(path, mode)
    }

    pub(crate) fn file_read(&mut self, id: FileId, buf: &mut [u8]) -> Result<usize, IoError> {
        let mut len = buf.len();
        if let Some(after) = self.plan.read_error_after_bytes {
            let left = after.saturating_sub(self.read_bytes);
            if left == 0 {
                self.counts.read_errors += 1;
                return Err(IoError {
                    code: Some(DEVICE_ERROR),
                    ..IoError::new(IoErrorKind::Other, "read")
                });
            }
            len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        let read = self.inner.file_read(id, &mut buf[..len])?;
        self.read_bytes += read as u64;
        Ok(read)
    }

    pub(crate) fn file_write(&mut self, id: FileId, bytes: &[u8]) -> Result<usize, IoError> {
        let mut len = bytes.len();
        if let Some(after) = self.plan.disk_full_after_bytes {
            let left = after.saturating_sub(self.written_bytes);
            if left == 0 && len > 0 {
                self.counts.disk_full += 1;
                return Err(IoError::new(IoErrorKind::DiskFull, "write"));
            }
            len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        if len > 1 && self.short_write.hit() {
            len = 1 + self.short_write.prng.below(len as u64 - 1) as usize;
            self.counts.short_writes += 1;
        }
        let written = self.inner.file_write(id, &bytes[..len])?;
        self.written_bytes += written as u64;
        Ok(written)
    }

    pub(crate) fn file_set_len(&mut self, id: FileId, len: u64) -> Result<(), IoError> {
        self.inner.file_set_len(id, len)
    }

    pub(crate) fn file_sync(&mut self, id: FileId) -> Result<(), IoError> {
        self.inner.file_sync(id)
    }

    pub(crate) fn file_close(&mut self, id: FileId) -> Result<(), IoError> {
        self.inner.file_close(id)
    }

    pub(crate) fn poll(&mut self, now_ns: u64, timeout_ns: Option<u64>) -> Result<Polled, IoError> {
        if self.poll_spurious.hit() {
            self.counts.polls_spurious += 1;
            let polled = self.inner.poll(now_ns, Some(0))?;
            return Ok(Polled {
                ready: true,
                ..polled
            });
        }
        self.inner.poll(now_ns, timeout_ns)
    }

    pub(crate) fn observe_time(&mut self, now_ns: u64) {
        self.inner.observe_time(now_ns);
    }

    pub(crate) fn waker(&self) -> Waker {
        self.inner.waker()
    }
}
