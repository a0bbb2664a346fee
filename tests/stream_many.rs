//! Thousands of connections on one driver: each is told of once when something came of it, and their
//! places are given out again under other ids.

use std::collections::HashSet;

use hopline::io::{
    Driver, FaultPlan, Faulty, ListenerId, StreamId, StreamRead, StreamSpec, StreamWrite, Virtual,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[path = "common/data.rs"]
#[allow(dead_code, reason = "only a skip is said here")]
mod data;
#[path = "common/rig.rs"]
mod rig;
#[path = "common/streams.rs"]
mod streams;

use rig::{MILLISECOND_NS, PATIENCE_POLLS, Rig};
use streams::abstract_name;

/// Connections to serve, each with both its ends here.
const PAIRS: usize = 10_000;

/// Files of the process that are none of these.
const OTHER_FILES: u64 = 300;

/// How many pairs the process may have open.
fn pairs_allowed() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // It only raises what is this process's own.
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    let files = limit.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES);
    PAIRS.min(usize::try_from(files / 2).unwrap_or(PAIRS))
}

/// Connections by their pairs: the end that connected and the end that was accepted.
struct Many {
    rig: Rig,
    listener: ListenerId,
    spec: StreamSpec,
    pairs: Vec<(StreamId, StreamId)>,
}

impl Many {
    fn new(name: &'static str, driver: Driver, pairs: usize) -> Many {
        let driver = driver.with_streams_max(2 * pairs).unwrap();
        let mut rig = Rig::new(name, driver);
        let spec = StreamSpec::at(abstract_name(&format!("many-{}", name.replace(' ', "-"))));
        let listener = rig.driver.listen(&spec).unwrap();
        let mut many = Many {
            rig,
            listener,
            spec,
            pairs: Vec::new(),
        };
        for _ in 0..pairs {
            let pair = many.connect();
            many.pairs.push(pair);
        }
        many.forget();
        many
    }

    fn connect(&mut self) -> (StreamId, StreamId) {
        let driver = &mut self.rig.driver;
        let ours = driver.stream_connect(&self.spec).unwrap();
        let theirs = driver.accept(self.listener).unwrap().expect("it waits");
        assert_eq!(driver.stream_connected(ours), Ok(true));
        (ours, theirs)
    }

    /// Has the poll told of all, and forgets what it reports.
    fn forget(&mut self) {
        let mut buf = [0; 64];
        for at in 0..self.pairs.len() {
            let (ours, theirs) = self.pairs[at];
            for id in [ours, theirs] {
                let read = self.rig.driver.stream_read(id, &mut buf).unwrap();
                assert_eq!(read, StreamRead::WouldBlock);
            }
        }
        while self.rig.poll(0).ready {}
        let (driver, listener) = (&mut self.rig.driver, self.listener);
        while driver.listener_next_ready(listener).is_some() {}
        while driver.listener_next_writable(listener).is_some() {}
        while driver.unlistened_next_ready().is_some() {}
        while driver.unlistened_next_writable().is_some() {}
    }

    /// Polls until the list has what is expected, in any order, each once, and nothing else.
    fn await_listed(
        &mut self,
        next: impl Fn(&mut Driver, ListenerId) -> Option<StreamId>,
        mut expected: HashSet<StreamId>,
    ) {
        for _ in 0..PATIENCE_POLLS {
            while let Some(id) = next(&mut self.rig.driver, self.listener) {
                assert!(expected.remove(&id), "{}: nobody wrote", self.rig.name);
            }
            if expected.is_empty() {
                return;
            }
            self.rig.poll(MILLISECOND_NS);
        }
        panic!("{}: {} were never listed", self.rig.name, expected.len());
    }

    /// Of pairs at that distance: clients write, and their servers' ends are listed.
    fn some_write(&mut self, step: usize) {
        let some: Vec<_> = self.pairs.iter().copied().step_by(step).collect();
        for (ours, _) in &some {
            let written = self.rig.driver.stream_write(*ours, b"tick").unwrap();
            assert_eq!(written, StreamWrite::Bytes(4));
        }
        let expected = some.iter().map(|(_, theirs)| *theirs).collect();
        self.await_listed(
            |driver, listener| driver.listener_next_ready(listener),
            expected,
        );
        let mut buf = [0; 8];
        for (_, theirs) in some {
            let read = self.rig.driver.stream_read(theirs, &mut buf);
            assert_eq!(read, Ok(StreamRead::Bytes(4)));
        }
    }

    /// The same for those whose clients read nothing for a while.
    fn some_are_slow(&mut self, step: usize) {
        let some: Vec<_> = self.pairs.iter().copied().step_by(step).collect();
        let (block, mut buf) = (vec![7; 64 << 10], vec![0; 64 << 10]);
        let driver = &mut self.rig.driver;
        for (_, theirs) in &some {
            while driver.stream_write(*theirs, &block).unwrap() != StreamWrite::WouldBlock {}
        }
        self.rig.poll(0);
        let early = self.rig.driver.listener_next_writable(self.listener);
        assert_eq!(early, None, "{}: all are full", self.rig.name);
        let driver = &mut self.rig.driver;
        for (ours, _) in &some {
            while driver.stream_read(*ours, &mut buf).unwrap() != StreamRead::WouldBlock {}
        }
        let expected = some.into_iter().map(|(_, theirs)| theirs).collect();
        self.await_listed(
            |driver, listener| driver.listener_next_writable(listener),
            expected,
        );
    }

    /// Half of all go, without an order, and others take their places.
    fn half_are_others(&mut self) {
        let mut gone = Vec::new();
        for at in (0..self.pairs.len()).step_by(2).rev() {
            let (ours, theirs) = self.pairs[at];
            for id in [ours, theirs] {
                self.rig.driver.stream_close(id).unwrap();
                gone.push(id);
            }
        }
        for at in (0..self.pairs.len()).step_by(2) {
            self.pairs[at] = self.connect();
        }
        let ids = self
            .pairs
            .iter()
            .flat_map(|(ours, theirs)| [*ours, *theirs]);
        let ids: HashSet<StreamId> = ids.collect();
        assert_eq!(ids.len(), 2 * self.pairs.len(), "{}", self.rig.name);
        let places: HashSet<usize> = ids.iter().map(|id| id.place()).collect();
        assert_eq!(places.len(), ids.len(), "{}", self.rig.name);
        for id in gone {
            assert!(!ids.contains(&id));
            assert!(self.rig.driver.stream_write(id, b"tick").is_err());
            assert!(!self.rig.driver.stream_maybe_readable(id));
        }
        self.forget();
    }
}

fn story(name: &'static str, driver: Driver, pairs: usize) {
    let mut many = Many::new(name, driver, pairs);
    many.some_write(97);
    many.some_write(1);
    many.some_are_slow(101);
    many.half_are_others();
    many.some_write(3);
    many.some_are_slow(83);
    let one_more = many.rig.driver.stream_connect(&many.spec);
    assert!(one_more.is_err(), "{name}: it is full");
}

#[test]
fn thousands_of_connections_of_the_machine_are_each_told_of_once() {
    let pairs = pairs_allowed();
    if pairs < PAIRS / 4 {
        let why = "the process may not have that many files open";
        return data::skipped("thousands_of_connections_of_the_machine", why);
    }
    println!("{pairs} pairs");
    story("real", Driver::real().unwrap(), pairs);
}

#[test]
fn ten_thousand_connections_in_memory_are_each_told_of_once() {
    story("virtual", Virtual::new().into(), PAIRS);
    let faulty = Faulty::new(Virtual::new().into(), FaultPlan::default());
    story("faulty virtual", faulty.into(), PAIRS);
}
