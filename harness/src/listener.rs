//! The other end of a line's UDP sinks, where nobody else is: takes what they send and counts it.
//!
//! Without it a run on one machine sends into the void, and the kernel answers every other datagram
//! with a refusal. A listener stands only on loopback, never under `--live`, and never where an
//! address is taken: then somebody listens already.
//!
//! Invariant: no thread and no wait: the sockets are emptied whenever the runner looks at the line,
//! so a listener takes no time from a loop that spins.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

use serde::Serialize;

/// Longest datagram; what is longer is cut, and counted all the same.
const DATAGRAM_BYTES: usize = 65_536;

/// Most datagrams taken in one look, so that a flood does not hold up the view.
const BURST: usize = 4_096;

/// What a listener took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerReport {
    /// The sink that sends to it.
    pub sink: String,
    /// Where it listens.
    pub address: String,
    /// Datagrams that it got.
    pub received: u64,
    /// Bytes of them.
    pub bytes: u64,
}

struct Listener {
    socket: UdpSocket,
    report: ListenerReport,
}

/// All listeners of a run.
#[derive(Default)]
pub(crate) struct Listeners {
    all: Vec<Listener>,
    buffer: Box<[u8]>,
}

impl Listeners {
    /// Listens at these sinks' addresses, as far as they are on loopback and free.
    pub(crate) fn open(sinks: &[(String, SocketAddr)]) -> Listeners {
        let mut all: Vec<Listener> = Vec::new();
        for (sink, address) in sinks
            .iter()
            .filter(|(_, address)| address.ip().is_loopback())
        {
            let Ok(socket) = UdpSocket::bind(address) else {
                continue;
            };
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            let report = ListenerReport {
                sink: sink.clone(),
                address: address.to_string(),
                received: 0,
                bytes: 0,
            };
            all.push(Listener { socket, report });
        }
        Listeners {
            all,
            buffer: vec![0; DATAGRAM_BYTES].into_boxed_slice(),
        }
    }

    /// Takes what has come.
    pub(crate) fn take(&mut self) {
        for listener in &mut self.all {
            for _ in 0..BURST {
                match listener.socket.recv(&mut self.buffer) {
                    Ok(len) => {
                        listener.report.received += 1;
                        listener.report.bytes += len as u64;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // Nothing more now; a socket that fails shows as datagrams that never came.
                    Err(_) => break,
                }
            }
        }
    }

    /// Takes the rest and says what came.
    pub(crate) fn finish(mut self) -> Vec<ListenerReport> {
        self.take();
        self.all
            .into_iter()
            .map(|listener| listener.report)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_counted_and_a_taken_or_distant_address_is_left_alone() {
        let free = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sinks = [
            ("orders".to_owned(), free),
            ("taken".to_owned(), taken.local_addr().unwrap()),
            ("distant".to_owned(), "192.0.2.1:9".parse().unwrap()),
        ];
        let mut listeners = Listeners::open(&sinks);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..3 {
            assert_eq!(sender.send_to(b"order", free).unwrap(), 5);
        }
        listeners.take();
        let reports = listeners.finish();
        assert_eq!(reports.len(), 1);
        assert_eq!(
            (
                reports[0].sink.as_str(),
                reports[0].received,
                reports[0].bytes
            ),
            ("orders", 3, 15)
        );
    }
}
