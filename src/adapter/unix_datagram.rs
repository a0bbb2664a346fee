//! Datagrams between processes of one machine, by Unix sockets.
//!
//! Invariant: nothing is lost on the way: a receiver that takes no more holds the sender back, and a
//! receiver that is not there is counted.

use crate::adapter::stream_sink::Piece;
use crate::adapter::udp_sink::Unsent;
use crate::adapter::{Intake, Trouble, decodes, unix_name};
use crate::base::limits::{BURST_MESSAGES, MESSAGE_BYTES_MAX};
use crate::base::{Reason, Reject};
use crate::budget::IngressCounters;
use crate::feed::datagram::{DATAGRAM_BYTES_MAX, Datagrams};
use crate::frame::{Input, KindInfo};
use crate::io::{Driver, Endpoint, IoError, IoErrorKind, Sent, UnixId, UnixSpec};
use crate::stage::{
    Arrival, Decode, Delivery, Egress, Feed, Ingress, Leaving, Port, SourceContext,
};
use crate::topology::{IntoSink, Params, Problem};

/// A description of a source of Unix datagrams.
#[derive(Clone, Debug)]
pub struct UnixDatagramFrom {
    bind: Result<Endpoint, Problem>,
}

/// Datagrams that are sent to the Unix socket `bind`: a path, or `@name` for one without a file. A
/// wrong one is reported when the line is built.
///
/// ```
/// use hopline::adapter::{datagrams, unix_datagram};
/// let source = unix_datagram("@hopline-in").decode(datagrams());
/// ```
#[must_use]
pub fn unix_datagram(bind: &str) -> UnixDatagramFrom {
    UnixDatagramFrom {
        bind: unix_name("bind", bind),
    }
}

decodes!(UnixDatagramFrom);

impl UnixDatagramFrom {
    /// From the setting `bind`.
    pub(crate) fn from_params(params: &mut Params) -> Result<UnixDatagramFrom, Problem> {
        let text = params.need_text("bind", "feed.sock")?;
        let bind = unix_name("bind", &text).map_err(|error| error.at(params.place_of("bind")))?;
        Ok(UnixDatagramFrom { bind: Ok(bind) })
    }
}

impl Intake for UnixDatagramFrom {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        Ok(Box::new(UnixDatagramSource {
            bind: self.bind?,
            decoder,
            buffer: Box::default(),
            len: None,
            at: 0,
            received_ns: 0,
            socket: None,
            trouble: Trouble::default(),
        }))
    }
}

/// Receives Unix datagrams.
pub struct UnixDatagramSource {
    bind: Endpoint,
    decoder: Box<dyn Decode>,
    buffer: Box<[u8]>,
    /// Bytes of the datagram in hand, where in it to go on, and when it came, in nanoseconds of the line's clock.
    len: Option<usize>,
    at: usize,
    received_ns: u64,
    socket: Option<UnixId>,
    trouble: Trouble,
}

impl core::fmt::Debug for UnixDatagramSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("UnixDatagramSource")
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

impl Ingress for UnixDatagramSource {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn memory_bytes(&self) -> usize {
        size_of::<UnixDatagramSource>() + MESSAGE_BYTES_MAX + self.decoder.memory_bytes()
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.socket = Some(io.unix_open(&UnixSpec {
            bind: Some(self.bind.clone()),
            ..UnixSpec::default()
        })?);
        self.buffer = vec![0; MESSAGE_BYTES_MAX].into_boxed_slice();
        Ok(())
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        let Some(socket) = self.socket else {
            return Feed::Ended;
        };
        let mut begun = false;
        for _ in 0..BURST_MESSAGES {
            // Held back is told from idle before the mark is set.
            if !cx.has_room() {
                break;
            }
            if !core::mem::replace(&mut begun, true) {
                cx.begin_io();
            }
            if self.len.is_none() {
                match cx.io().unix_recv(socket, &mut self.buffer) {
                    Ok(Some(datagram)) => {
                        cx.note_datagrams(1);
                        if datagram.truncated {
                            cx.reject(Reject::TooLong, datagram.len);
                            continue;
                        }
                        (self.len, self.at, self.received_ns) = (Some(datagram.len), 0, cx.stamp());
                    }
                    Ok(None) => break,
                    Err(error) => {
                        self.trouble.note(error);
                        break;
                    }
                }
            }
            let arrival = Arrival {
                bytes: &self.buffer[..self.len.unwrap_or(0)],
                t_intended_ns: self.received_ns,
                scheduled: false,
                received_wall_ns: None,
                peer: None,
            };
            if !cx.packet(arrival, &mut self.at, self.decoder.as_mut()) {
                self.len = None;
            }
        }
        Feed::Live
    }

    fn in_hand(&self) -> usize {
        self.len.map_or(0, |len| {
            self.decoder.messages_left(&self.buffer[..len], self.at)
        })
    }

    fn housekeep(&mut self, _io: &mut Driver, counters: &IngressCounters) {
        let is = self.decoder.line_ends().is_some();
        counters.in_lines.set(u64::from(is));
    }

    fn close(&mut self, io: &mut Driver, _counters: &IngressCounters) {
        if let Some(socket) = self.socket.take()
            && let Err(error) = io.unix_close(socket)
        {
            self.trouble.note(error);
        }
    }

    fn fault(&mut self) -> Option<String> {
        self.trouble.tell(&self.bind)
    }
}

/// A description of a sink that sends to one name.
#[derive(Clone, Debug)]
pub struct UnixDatagramTo {
    to: Result<Endpoint, Problem>,
}

/// Sends each message as a datagram to the Unix socket `to`: a path, or `@name`. A wrong one is
/// reported when the line is built. Nobody there is counted as refused.
#[must_use]
pub fn unix_datagram_to(to: &str) -> UnixDatagramTo {
    UnixDatagramTo {
        to: unix_name("to", to),
    }
}

impl IntoSink for UnixDatagramTo {
    fn into_sink(self) -> Result<Box<dyn Egress>, Problem> {
        Ok(Box::new(UnixDatagramSink::new(self.to?)))
    }
}

/// Sends Unix datagrams.
#[derive(Debug)]
pub struct UnixDatagramSink {
    to: Endpoint,
    socket: Option<UnixId>,
    whole: Box<[u8]>,
    len: usize,
    filled: usize,
    trouble: Trouble,
}

impl UnixDatagramSink {
    fn new(to: Endpoint) -> UnixDatagramSink {
        UnixDatagramSink {
            to,
            socket: None,
            whole: Box::default(),
            len: 0,
            filled: 0,
            trouble: Trouble::default(),
        }
    }

    /// From the setting `to`.
    pub(crate) fn from_params(params: &mut Params) -> Result<UnixDatagramSink, Problem> {
        let text = params.need_text("to", "feed.sock")?;
        let to = unix_name("to", &text).map_err(|error| error.at(params.place_of("to")))?;
        Ok(UnixDatagramSink::new(to))
    }

    /// Takes bytes at their place; anything but the next ones, or the last ones again, leaves a hole.
    #[inline]
    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if (at == self.filled || end == self.filled) && end <= self.len {
            self.whole[at..end].copy_from_slice(bytes);
            self.filled = end;
        }
    }
}

impl Egress for UnixDatagramSink {
    fn takes(&self) -> &'static [KindInfo] {
        Datagrams::KINDS
    }

    fn reasons(&self) -> &'static [&'static str] {
        Unsent::NAMES
    }

    fn memory_bytes(&self) -> usize {
        size_of::<UnixDatagramSink>() + DATAGRAM_BYTES_MAX
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        let spec = UnixSpec {
            connect: Some(self.to.clone()),
            ..UnixSpec::default()
        };
        self.socket = Some(io.unix_open(&spec)?);
        self.whole = vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice();
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, io: &mut Driver) -> Delivery {
        match Piece::of(&frame) {
            Piece::Head(head) => {
                let total = usize::from(head.total);
                (self.len, self.filled) = (total.min(self.whole.len()), 0);
                self.put(0, head.as_slice());
            }
            Piece::Part(part) => self.put(usize::from(part.at), part.as_slice()),
            Piece::Wrong => self.filled = usize::MAX,
        }
        if !frame.envelope.flags.is_last() {
            return Delivery::Part;
        }
        let Some(socket) = self.socket else {
            return Unsent::Failed.into();
        };
        if self.filled != self.len {
            return Unsent::Malformed.into();
        }
        match io.unix_send(socket, &self.whole[..self.len]) {
            Ok(Sent::Yes) => Delivery::Sent,
            Ok(Sent::WouldBlock) => Delivery::NotNow,
            Ok(Sent::Refused) => Unsent::Refused.into(),
            Err(error) if error.kind == IoErrorKind::MessageTooLong => Unsent::TooLong.into(),
            Err(error) => {
                self.trouble.note(error);
                Unsent::Failed.into()
            }
        }
    }

    fn fault(&mut self) -> Option<String> {
        self.trouble.tell(&self.to)
    }
}
