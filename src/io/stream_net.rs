//! The connections of a network in memory, as the network sees them: two ends each, and what is on its
//! way between them.
//!
//! Whatever happens costs by what happens: a poll hears of the ends that something came to and a
//! write moves its own bytes, however many connections there are.
//!
//! Invariant: what was written arrives whole and in order, or the connection broke.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::{BinaryHeap, VecDeque};

use crate::io::error::{BIND, IoError, IoErrorKind};
use crate::io::ready::{Chain, Links};
use crate::io::{Endpoint, StreamSpec};

/// Most bytes of one direction of a virtual connection, on the way and unread; then writing would
/// block. Twice Linux's default of a Unix socket's buffer is not needed to fill one.
pub const VIRTUAL_STREAM_BYTES: usize = 64 << 10;

/// How many of those the peer has taken in, read or not: what is beyond them counts as not sent for
/// [`StreamSpec::notsent_lowat_bytes`].
pub const VIRTUAL_WINDOW_BYTES: usize = VIRTUAL_STREAM_BYTES / 2;

/// Bytes that an end has room for before it grows to what it is used for.
const END_BYTES: usize = 1 << 10;

/// First port given to a listener that names none.
const PORT_MIN: u16 = 40_000;

/// What is on its way to an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coming {
    Bytes(usize),
    End,
    Reset,
}

/// A piece that is on its way: when it arrives, its number among all pieces, and what it is.
type Piece = (u64, u64, Coming);

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) peer: Option<usize>,
    /// Bytes in order; the first `arrived` of them can be read.
    pub(crate) bytes: VecDeque<u8>,
    pub(crate) arrived: usize,
    coming: VecDeque<Piece>,
    pub(crate) ended: bool,
    pub(crate) broken: bool,
    /// It writes no more.
    pub(crate) shut: bool,
    pub(crate) holders: usize,
    /// Something came that no poll has reported.
    pub(crate) fresh: bool,
    /// The driver whose poll reports it, and its place there.
    watcher: Option<(usize, usize)>,
    /// Most bytes that its writes leave on the way and unread.
    most_bytes: usize,
}

/// Where a listener hears.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) at: Endpoint,
    pub(crate) waiting: VecDeque<usize>,
    backlog: usize,
    pub(crate) fresh: bool,
    most_bytes: usize,
}

/// Places of a driver that something came to and that its poll has not reported.
#[derive(Debug)]
pub(crate) struct Watch {
    links: Links,
    fresh: Chain,
}

impl Watch {
    pub(crate) fn pop(&mut self) -> Option<usize> {
        self.links.pop(&mut self.fresh)
    }

    fn push(&mut self, place: usize) {
        self.links.push(&mut self.fresh, place);
    }
}

/// All connections of a network.
#[derive(Debug)]
pub(crate) struct StreamNet {
    ends: Vec<Option<End>>,
    free: Vec<usize>,
    /// Buffers of ends that are gone, to use again.
    spare: Vec<(VecDeque<u8>, VecDeque<Piece>)>,
    pub(crate) ports: Vec<Option<Port>>,
    next_port: u16,
    /// When pieces arrive, by their numbers, and where. A piece whose end is gone stays until its time.
    arrivals: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pieces: u64,
    watches: Vec<Option<Watch>>,
    /// Most bytes of one read, and of one write.
    pub(crate) cuts: [usize; 2],
}

impl Default for StreamNet {
    fn default() -> StreamNet {
        StreamNet {
            ends: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            ports: Vec::new(),
            next_port: PORT_MIN,
            arrivals: BinaryHeap::new(),
            pieces: 0,
            watches: Vec::new(),
            cuts: [usize::MAX; 2],
        }
    }
}

/// Puts a value at a free place, of which there are few.
fn put<T>(places: &mut Vec<Option<T>>, value: T) -> usize {
    let free = places.iter().position(Option::is_none);
    let at = free.unwrap_or_else(|| {
        places.push(None);
        places.len() - 1
    });
    places[at] = Some(value);
    at
}

/// Most bytes that writes leave on the way and unread, by what the spec says.
fn most_bytes(spec: &StreamSpec) -> usize {
    let lowat = spec.notsent_lowat_bytes.filter(|bytes| *bytes > 0);
    match (lowat, &spec.at) {
        (Some(bytes), Endpoint::Tcp(_)) => {
            VIRTUAL_STREAM_BYTES.min(VIRTUAL_WINDOW_BYTES.saturating_add(bytes))
        }
        _ => VIRTUAL_STREAM_BYTES,
    }
}

impl StreamNet {
    /// A driver comes: its number.
    pub(crate) fn join(&mut self) -> usize {
        let watch = Watch {
            links: Links::new(),
            fresh: Chain::new(),
        };
        put(&mut self.watches, watch)
    }

    /// A driver goes.
    pub(crate) fn leave(&mut self, driver: usize) {
        self.watches[driver] = None;
    }

    /// What of this driver something came to.
    pub(crate) fn watch_of(&mut self, driver: usize) -> Option<&mut Watch> {
        self.watches.get_mut(driver)?.as_mut()
    }

    /// Lets what is due by `now_ns` arrive.
    pub(crate) fn advance(&mut self, now_ns: u64) {
        while let Some(&Reverse((at_ns, number, at))) = self.arrivals.peek()
            && at_ns <= now_ns
        {
            self.arrivals.pop();
            let Some(coming) = self.take_piece(at, number) else {
                continue;
            };
            if let Some(end) = self.ends[at].as_mut() {
                match coming {
                    Coming::Bytes(count) => end.arrived += count,
                    Coming::End => end.ended = true,
                    Coming::Reset => end.broken = true,
                }
            }
            self.touch(at);
        }
    }

    /// The piece of that number, if the end that it was sent to is still there.
    fn take_piece(&mut self, at: usize, number: u64) -> Option<Coming> {
        let coming = &mut self.ends.get_mut(at)?.as_mut()?.coming;
        // Pieces of an end arrive in their order: see `tell_peer`.
        let is_first = coming.front().is_some_and(|first| first.1 == number);
        is_first.then(|| coming.pop_front())?.map(|piece| piece.2)
    }

    /// When the next piece arrives.
    pub(crate) fn next_at_ns(&mut self) -> Option<u64> {
        while let Some(&Reverse((at_ns, number, at))) = self.arrivals.peek() {
            let end = self.ends.get(at).and_then(Option::as_ref);
            let first = end.and_then(|end| end.coming.front());
            if first.is_some_and(|first| first.1 == number) {
                return Some(at_ns);
            }
            self.arrivals.pop();
        }
        None
    }

    pub(crate) fn reset_all(&mut self) -> usize {
        let mut broken = 0;
        for at in 0..self.ends.len() {
            if let Some(end) = self.ends[at].as_mut() {
                broken += usize::from(!end.broken);
                end.broken = true;
                self.touch(at);
            }
        }
        broken / 2
    }

    /// Something came to this end: the poll that watches it will say so.
    pub(crate) fn touch(&mut self, at: usize) {
        let Some(end) = self.ends.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        end.fresh = true;
        if let Some((driver, place)) = end.watcher
            && let Some(watch) = self.watch_of(driver)
        {
            watch.push(place);
        }
    }

    /// From now on that driver's poll reports what comes to this end, which is at `place` there.
    pub(crate) fn watch(&mut self, at: usize, driver: usize, place: usize) {
        if let Some(watch) = self.watch_of(driver) {
            watch.links.grow(place + 1);
        }
        let Some(end) = self.ends.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        end.watcher = Some((driver, place));
        if end.fresh {
            self.touch(at);
        }
    }

    /// The watcher has closed its hold.
    pub(crate) fn unwatch(&mut self, at: usize) {
        let end = self.ends.get_mut(at).and_then(Option::as_mut);
        if let Some((driver, place)) = end.and_then(|end| end.watcher.take())
            && let Some(watch) = self.watch_of(driver)
        {
            watch.links.remove(&mut watch.fresh, place);
        }
    }

    pub(crate) fn end(&mut self, at: usize, what: &'static str) -> Result<&mut End, IoError> {
        let end = self.ends.get_mut(at).and_then(Option::as_mut);
        end.ok_or(IoError::new(IoErrorKind::WrongId, what))
    }

    /// Sends something to the other end, behind all that was sent there before.
    pub(crate) fn tell_peer(&mut self, at: usize, coming: Coming, at_ns: u64) {
        let peer = self.ends[at].as_ref().and_then(|end| end.peer);
        let Some(peer) = peer else {
            return;
        };
        if let Some(end) = self.ends[peer].as_mut() {
            let at_ns = end.coming.back().map_or(at_ns, |last| last.0.max(at_ns));
            self.pieces += 1;
            end.coming.push_back((at_ns, self.pieces, coming));
            self.arrivals.push(Reverse((at_ns, self.pieces, peer)));
        }
    }

    /// Gives up one hold of an end. As with TCP, bytes that nobody read make the close a reset.
    pub(crate) fn let_go(&mut self, at: usize, at_ns: u64) {
        let Ok(end) = self.end(at, "close") else {
            return;
        };
        end.holders -= 1;
        if end.holders > 0 {
            return;
        }
        let (unread, shut, peer) = (end.arrived > 0, end.shut, end.peer);
        if unread {
            self.tell_peer(at, Coming::Reset, at_ns);
        } else if !shut {
            self.tell_peer(at, Coming::End, at_ns);
        }
        self.unwatch(at);
        if let Some(End {
            mut bytes,
            mut coming,
            ..
        }) = self.ends[at].take()
        {
            bytes.clear();
            coming.clear();
            self.spare.push((bytes, coming));
            self.free.push(at);
        }
        if let Some(peer) = peer {
            if let Some(end) = self.ends[peer].as_mut() {
                end.peer = None;
            }
            self.touch(peer);
        }
    }

    /// Bytes that may be written at this end now.
    pub(crate) fn room(&self, at: usize) -> usize {
        let Some(end) = self.ends.get(at).and_then(Option::as_ref) else {
            return usize::MAX;
        };
        let peer = end.peer.and_then(|peer| self.ends[peer].as_ref());
        peer.map_or(usize::MAX, |peer| {
            end.most_bytes.saturating_sub(peer.bytes.len())
        })
    }

    /// Whether writing at this end comes to something: there is room, or it has ended.
    pub(crate) fn takes(&self, at: usize) -> bool {
        let end = self.ends.get(at).and_then(Option::as_ref);
        end.is_none_or(|end| end.broken || end.shut) || self.room(at) > 0
    }

    fn taken(&self, at: &Endpoint) -> bool {
        self.ports.iter().flatten().any(|port| port.at == *at)
    }

    /// Opens a port, and says its place.
    pub(crate) fn open_port(&mut self, spec: &StreamSpec) -> Result<usize, IoError> {
        let mut at = spec.at.clone();
        if let Endpoint::Tcp(addr) = &mut at
            && addr.port() == 0
        {
            while self.taken(&Endpoint::Tcp(SocketAddr::new(addr.ip(), self.next_port))) {
                self.next_port = self.next_port.checked_add(1).unwrap_or(PORT_MIN);
            }
            addr.set_port(self.next_port);
        }
        if self.taken(&at) {
            return Err(IoError::new(IoErrorKind::AddrInUse, BIND).on(&at));
        }
        let port = Port {
            at,
            waiting: VecDeque::new(),
            backlog: spec.backlog as usize,
            fresh: false,
            most_bytes: most_bytes(spec),
        };
        Ok(put(&mut self.ports, port))
    }

    /// Closes a port, and the connections that wait there.
    pub(crate) fn close_port(&mut self, at: usize, at_ns: u64) {
        if let Some(port) = self.ports[at].take() {
            for end in port.waiting {
                self.let_go(end, at_ns);
            }
        }
    }

    /// Makes a connection to whoever listens there, and says its end on this side; `None` if nobody
    /// does, or too many wait.
    pub(crate) fn connect(&mut self, spec: &StreamSpec) -> Option<usize> {
        let reaches = |port: &Port| match (&port.at, &spec.at) {
            (Endpoint::Tcp(own), Endpoint::Tcp(to)) => {
                let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                own.port() == to.port() && (own.ip() == to.ip() || own.ip() == any)
            }
            (own, to) => own == to,
        };
        let mut ports = self.ports.iter();
        let port = ports.position(|port| port.as_ref().is_some_and(reaches))?;
        let there = self.ports[port].as_ref()?;
        if there.waiting.len() >= there.backlog {
            return None;
        }
        let theirs_bytes = there.most_bytes;
        let (ours, theirs) = (self.add(most_bytes(spec)), self.add(theirs_bytes));
        for (own, peer) in [(ours, theirs), (theirs, ours)] {
            if let Some(end) = self.ends[own].as_mut() {
                end.peer = Some(peer);
            }
        }
        let there = self.ports[port].as_mut()?;
        there.waiting.push_back(theirs);
        there.fresh = true;
        Some(ours)
    }

    fn add(&mut self, most_bytes: usize) -> usize {
        let spare = self.spare.pop();
        let (bytes, coming) =
            spare.unwrap_or_else(|| (VecDeque::with_capacity(END_BYTES), VecDeque::new()));
        let end = End {
            peer: None,
            bytes,
            arrived: 0,
            coming,
            ended: false,
            broken: false,
            shut: false,
            holders: 1,
            fresh: false,
            watcher: None,
            most_bytes,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.ends.push(None);
            self.ends.len() - 1
        });
        self.ends[at] = Some(end);
        at
    }
}
