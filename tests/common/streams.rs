//! Connections of any driver, for tests of drivers.

#![allow(dead_code, reason = "each test binary uses what it needs")]

use hopline::io::{
    Driver, Endpoint, FaultPlan, Faulty, ListenerId, StreamId, StreamRead, StreamSpec, StreamWrite,
    Virtual,
};

use crate::rig::{MILLISECOND_NS, PATIENCE_POLLS, Rig, addr};

/// Every driver; faulty ones without a fault.
pub(crate) fn rigs() -> Vec<Rig> {
    let empty = FaultPlan::default;
    vec![
        Rig::new("real", Driver::real().unwrap()),
        Rig::new("virtual", Virtual::new()),
        Rig::new("faulty real", Faulty::new(Driver::real().unwrap(), empty())),
        Rig::new(
            "faulty virtual",
            Faulty::new(Virtual::new().into(), empty()),
        ),
    ]
}

/// A name that no other test has.
pub(crate) fn abstract_name(of: &str) -> Endpoint {
    Endpoint::Abstract(format!("hopline-test-{}-{of}", std::process::id()))
}

/// A place of each kind to listen at.
pub(crate) fn places(folder: &tempfile::TempDir) -> Vec<Endpoint> {
    vec![
        Endpoint::Tcp(addr("127.0.0.1:0")),
        Endpoint::Tcp(addr("[::1]:0")),
        Endpoint::Path(folder.path().join("stream.sock")),
        abstract_name("stream"),
    ]
}

/// A connection: the listener, the end that connected, the end that was accepted.
pub(crate) fn pair(rig: &mut Rig, at: &Endpoint) -> (ListenerId, StreamId, StreamId) {
    pair_by(rig, &StreamSpec::at(at.clone()))
}

/// The same of a listener and a connection that are opened so.
pub(crate) fn pair_by(rig: &mut Rig, spec: &StreamSpec) -> (ListenerId, StreamId, StreamId) {
    let listener = rig.driver.listen(spec).unwrap();
    let at = rig.driver.listener_endpoint(listener).unwrap();
    let spec = StreamSpec { at, ..spec.clone() };
    let ours = rig.driver.stream_connect(&spec).unwrap();
    let mut theirs = None;
    for _ in 0..PATIENCE_POLLS {
        theirs = theirs.or_else(|| rig.driver.accept(listener).unwrap());
        if let (Some(theirs), true) = (theirs, rig.driver.stream_connected(ours).unwrap()) {
            return (listener, ours, theirs);
        }
        rig.poll(MILLISECOND_NS);
    }
    panic!("{}: no connection", rig.name);
}

pub(crate) fn write_all(rig: &mut Rig, id: StreamId, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rig.driver.stream_write(id, bytes).unwrap() {
            StreamWrite::Bytes(count) => bytes = &bytes[count..],
            StreamWrite::WouldBlock => drop(rig.poll(MILLISECOND_NS)),
            StreamWrite::Broken => panic!("{}: broken", rig.name),
        }
    }
}

/// What reading comes to once there is something.
pub(crate) fn read(rig: &mut Rig, id: StreamId, buf: &mut [u8]) -> StreamRead {
    for _ in 0..PATIENCE_POLLS {
        match rig.driver.stream_read(id, buf).unwrap() {
            StreamRead::WouldBlock => drop(rig.poll(MILLISECOND_NS)),
            other => return other,
        }
    }
    panic!("{}: nothing came", rig.name);
}

pub(crate) fn read_exact(rig: &mut Rig, id: StreamId, len: usize) -> Vec<u8> {
    let (mut out, mut buf) = (Vec::new(), vec![0; len]);
    while out.len() < len {
        let want = len - out.len();
        let StreamRead::Bytes(count) = read(rig, id, &mut buf[..want]) else {
            panic!("{}: over after {} bytes", rig.name, out.len());
        };
        out.extend_from_slice(&buf[..count]);
    }
    out
}
