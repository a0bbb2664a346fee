//! What a driver with many connections tells of them: the lists of those that something came of, its
//! bound, and when a slow reader is noticed. One suite for every driver.

use hopline::io::{
    Driver, FaultPlan, Faulty, IoErrorKind, ListenerId, StreamId, StreamSpec, StreamWrite,
    VIRTUAL_STREAM_BYTES, VIRTUAL_WINDOW_BYTES, Virtual,
};

#[path = "common/rig.rs"]
mod rig;
#[path = "common/streams.rs"]
mod streams;

use rig::{MILLISECOND_NS, PATIENCE_POLLS, Rig, addr};
use streams::{abstract_name, pair, pair_by, read_exact, rigs, write_all};

/// Polls without news after which there will be none.
const QUIET_POLLS: usize = 20;

/// Forgets all that is listed.
fn forget(rig: &mut Rig, listener: ListenerId) {
    while rig.driver.listener_next_ready(listener).is_some() {}
    while rig.driver.listener_next_writable(listener).is_some() {}
    while rig.driver.unlistened_next_ready().is_some() {}
    while rig.driver.unlistened_next_writable().is_some() {}
}

/// Polls until nothing comes any more, and forgets all that is listed.
fn settle(rig: &mut Rig, listener: ListenerId) {
    let mut quiet = 0;
    while quiet < QUIET_POLLS {
        quiet = if rig.poll(MILLISECOND_NS).ready {
            0
        } else {
            quiet + 1
        };
    }
    forget(rig, listener);
}

/// Writes until there is no room any more, also after a while; how many bytes that was.
fn fill(rig: &mut Rig, id: StreamId) -> usize {
    let block = vec![7; 16 << 10];
    let (mut written, mut quiet) = (0, 0);
    while quiet < QUIET_POLLS {
        match rig.driver.stream_write(id, &block).unwrap() {
            StreamWrite::Bytes(count) => (written, quiet) = (written + count, 0),
            StreamWrite::WouldBlock => quiet += 1,
            StreamWrite::Broken => panic!("{}: broken", rig.name),
        }
        assert!(written < 1 << 26, "{}: it never fills", rig.name);
        if quiet > 0 {
            rig.poll(MILLISECOND_NS);
        }
    }
    assert!(!rig.driver.stream_maybe_writable(id), "{}", rig.name);
    written
}

/// Reads all of so many bytes, and polls until `id` may be written to.
fn drain(rig: &mut Rig, from: StreamId, mut bytes: usize, id: StreamId) {
    while bytes > 0 {
        bytes -= read_exact(rig, from, bytes.min(64 << 10)).len();
    }
    let writable = (0..PATIENCE_POLLS).any(|_| {
        rig.poll(MILLISECOND_NS);
        rig.driver.stream_maybe_writable(id)
    });
    assert!(writable, "{}: no room though all was read", rig.name);
}

#[test]
fn a_full_connection_is_listed_once_when_it_has_room_again() {
    for mut rig in rigs() {
        for at in [addr("127.0.0.1:0").into(), abstract_name("lists")] {
            let (listener, ours, theirs) = pair(&mut rig, &at);
            settle(&mut rig, listener);
            for again in 0..2 {
                let written = fill(&mut rig, theirs);
                // There may have been room for a moment while it filled.
                forget(&mut rig, listener);
                rig.poll(MILLISECOND_NS);
                let early = rig.driver.listener_next_writable(listener);
                assert_eq!(early, None, "{} {again}: it is full", rig.name);
                drain(&mut rig, ours, written, theirs);
                let listed = rig.driver.listener_next_writable(listener);
                assert_eq!(listed, Some(theirs), "{} {again}", rig.name);
                assert_eq!(rig.driver.listener_next_writable(listener), None);
                assert_eq!(rig.driver.unlistened_next_writable(), None);
                settle(&mut rig, listener);
            }
            // The one that connected has no listener.
            let written = fill(&mut rig, ours);
            drain(&mut rig, theirs, written, ours);
            let listed = rig.driver.unlistened_next_writable();
            assert_eq!(listed, Some(ours), "{}", rig.name);
            assert_eq!(rig.driver.unlistened_next_writable(), None);
            assert_eq!(rig.driver.listener_next_writable(listener), None);

            // One that is closed while it is listed is not listed any more.
            let written = fill(&mut rig, theirs);
            drain(&mut rig, ours, written, theirs);
            for id in [ours, theirs] {
                rig.driver.stream_close(id).unwrap();
            }
            assert_eq!(rig.driver.listener_next_writable(listener), None);
            assert_eq!(rig.driver.unlistened_next_ready(), None);
            rig.driver.listener_close(listener).unwrap();
        }
    }
}

#[test]
fn what_was_never_full_is_not_listed_as_writable() {
    for mut rig in rigs() {
        let (listener, ours, theirs) = pair(&mut rig, &addr("127.0.0.1:0").into());
        settle(&mut rig, listener);
        for _ in 0..10 {
            write_all(&mut rig, theirs, b"tick");
            assert_eq!(read_exact(&mut rig, ours, 4), b"tick");
            write_all(&mut rig, ours, b"tock");
            assert_eq!(read_exact(&mut rig, theirs, 4), b"tock");
            rig.poll(0);
        }
        assert_eq!(rig.driver.listener_next_writable(listener), None);
        assert_eq!(rig.driver.unlistened_next_writable(), None);
        // What has come and was not read is, as readable.
        settle(&mut rig, listener);
        write_all(&mut rig, theirs, b"tick");
        write_all(&mut rig, ours, b"tock");
        for _ in 0..QUIET_POLLS {
            rig.poll(MILLISECOND_NS);
        }
        assert_eq!(rig.driver.listener_next_ready(listener), Some(theirs));
        assert_eq!(rig.driver.unlistened_next_ready(), Some(ours));
        assert_eq!(rig.driver.listener_next_writable(listener), None);
        assert_eq!(rig.driver.unlistened_next_writable(), None);
    }
}

#[test]
fn what_a_closed_listener_leaves_is_listed_without_one() {
    for mut rig in rigs() {
        let (listener, ours, theirs) = pair(&mut rig, &addr("127.0.0.1:0").into());
        settle(&mut rig, listener);
        // Listed with its listener, and not asked for until that is closed.
        write_all(&mut rig, ours, b"a");
        let written = fill(&mut rig, theirs);
        drain(&mut rig, ours, written, theirs);
        rig.driver.listener_close(listener).unwrap();
        assert_eq!(rig.driver.listener_next_ready(listener), None);
        assert_eq!(rig.driver.unlistened_next_writable(), Some(theirs));
        let mut readable = [(); 3].map(|()| rig.driver.unlistened_next_ready());
        readable.sort_by_key(|id| id.is_none_or(|id| id == theirs));
        assert_eq!(readable[1], Some(theirs), "{}: {readable:?}", rig.name);
        assert_eq!((readable[0], readable[2]), (Some(ours), None));
        // What comes later is listed there as well.
        assert_eq!(read_exact(&mut rig, theirs, 1), b"a");
        let nothing = rig.driver.stream_read(theirs, &mut [0; 8]);
        assert_eq!(nothing, Ok(hopline::io::StreamRead::WouldBlock));
        write_all(&mut rig, ours, b"b");
        rig.await_ready();
        assert_eq!(rig.driver.unlistened_next_ready(), Some(theirs));

        // A listener at the same place has nothing of its predecessor's.
        let (next, _, newer) = pair(&mut rig, &addr("127.0.0.1:0").into());
        write_all(&mut rig, ours, b"c");
        for _ in 0..QUIET_POLLS {
            rig.poll(MILLISECOND_NS);
        }
        let listed = rig.driver.listener_next_ready(next);
        assert!(listed.is_none_or(|id| id == newer), "{}", rig.name);
    }
}

#[test]
fn a_connection_under_way_is_listed_when_it_has_come_to_something() {
    let mut rig = Rig::new("real", Driver::real().unwrap());
    let at = addr("127.0.0.1:0");
    let listener = rig.driver.listen(&StreamSpec::at(at)).unwrap();
    let to = rig.driver.listener_endpoint(listener).unwrap();
    let ours = rig.driver.stream_connect(&StreamSpec::at(to)).unwrap();
    let next = |rig: &mut Rig| {
        (0..PATIENCE_POLLS).find_map(|_| {
            rig.poll(MILLISECOND_NS);
            rig.driver.unlistened_next_writable()
        })
    };
    assert_eq!(next(&mut rig), Some(ours));
    assert_eq!(rig.driver.stream_connected(ours), Ok(true));
    assert_eq!(rig.driver.unlistened_next_writable(), None);

    // To nobody: the port was somebody's, and is free again.
    let to = rig.driver.listener_endpoint(listener).unwrap();
    rig.driver.listener_close(listener).unwrap();
    rig.driver.stream_close(ours).unwrap();
    let refused = match rig.driver.stream_connect(&StreamSpec::at(to)) {
        Ok(ours) => {
            assert_eq!(next(&mut rig), Some(ours));
            rig.driver.stream_connected(ours).unwrap_err()
        }
        Err(known_at_once) => known_at_once,
    };
    assert_eq!(refused.kind, IoErrorKind::ConnectionRefused);
}

#[test]
fn a_write_that_is_told_to_find_no_room_is_followed_by_room_like_any_other() {
    let plan = || FaultPlan {
        stream_would_block_one_in: 1,
        ..FaultPlan::default()
    };
    for inner in [Driver::real().unwrap(), Virtual::new().into()] {
        let mut rig = Rig::new("planted", Faulty::new(inner, plan()));
        let (listener, ours, theirs) = pair(&mut rig, &addr("127.0.0.1:0").into());
        settle(&mut rig, listener);
        for round in 1..=3 {
            for (id, listed_by) in [(theirs, Some(listener)), (ours, None)] {
                let refused = rig.driver.stream_write(id, b"tick");
                assert_eq!(refused, Ok(StreamWrite::WouldBlock));
                assert!(!rig.driver.stream_maybe_writable(id));
                rig.await_ready();
                assert!(rig.driver.stream_maybe_writable(id), "round {round}");
                let listed = match listed_by {
                    Some(listener) => rig.driver.listener_next_writable(listener),
                    None => rig.driver.unlistened_next_writable(),
                };
                assert_eq!(listed, Some(id), "round {round}");
            }
        }
        let Driver::Faulty(faulty) = &rig.driver else {
            panic!("it is the faulty one");
        };
        assert_eq!(faulty.counts().stream_would_block, 6);
    }
}

#[test]
fn a_driver_has_as_many_connections_as_it_is_opened_for() {
    for rig in rigs() {
        let (name, driver) = (rig.name, rig.driver);
        assert_eq!(driver.streams_max(), 4096, "{name}");
        let mut rig = Rig::new(name, driver.with_streams_max(3).unwrap());
        let (listener, ours, theirs) = pair(&mut rig, &abstract_name("bound"));
        let at = rig.driver.listener_endpoint(listener).unwrap();
        let third = rig.driver.stream_connect(&StreamSpec::at(at.clone()));
        let third = third.unwrap();
        let full = rig.driver.stream_connect(&StreamSpec::at(at.clone()));
        assert_eq!(full.unwrap_err().kind, IoErrorKind::TooManyOpen, "{name}");
        rig.driver.stream_close(third).unwrap();
        rig.driver.stream_connect(&StreamSpec::at(at)).unwrap();
        let wrong = rig.driver.stream_close(third);
        assert_eq!(wrong.unwrap_err().kind, IoErrorKind::WrongId, "{name}");

        // More later on, and what there is stays.
        let mut rig = Rig::new(name, rig.driver.with_streams_max(65_536).unwrap());
        assert_eq!(rig.driver.streams_max(), 65_536);
        write_all(&mut rig, ours, b"tick");
        assert_eq!(read_exact(&mut rig, theirs, 4), b"tick", "{name}");
        let fewer = rig.driver.with_streams_max(2).unwrap_err();
        assert_eq!(
            fewer.to_string(),
            "cannot have room for 2 connections: invalid request"
        );
    }
    for wrong in [0, 65_537] {
        for rig in rigs() {
            let error = rig.driver.with_streams_max(wrong).unwrap_err();
            assert_eq!(error.kind, IoErrorKind::InvalidInput, "{wrong}");
        }
    }
}

/// What a peer that reads nothing is sent before there is no room: by an accepted connection, and by
/// one that connected.
fn swallowed(rig: &mut Rig, spec: &StreamSpec) -> [usize; 2] {
    let (_, ours, theirs) = pair_by(rig, spec);
    [fill(rig, theirs), fill(rig, ours)]
}

#[test]
fn with_a_bound_on_what_is_not_sent_a_slow_reader_is_noticed_early() {
    const LOWAT_BYTES: usize = 16 << 10;
    for mut rig in rigs() {
        let usual = StreamSpec::at(addr("127.0.0.1:0"));
        let early = StreamSpec {
            notsent_lowat_bytes: Some(LOWAT_BYTES),
            ..usual.clone()
        };
        let without = swallowed(&mut rig, &usual);
        let with = swallowed(&mut rig, &early);
        println!("{}: {without:?} without, {with:?} with", rig.name);
        match &rig.driver {
            Driver::Virtual(_) => {
                assert_eq!(without, [VIRTUAL_STREAM_BYTES; 2]);
                assert_eq!(with, [VIRTUAL_WINDOW_BYTES + LOWAT_BYTES; 2]);
            }
            Driver::Real(_) => {
                for (with, without) in with.into_iter().zip(without) {
                    assert!(with > 0 && with * 4 < without, "{with} of {without}");
                }
            }
            Driver::Faulty(_) => assert!(with < without, "{}", rig.name),
        }
        // 0 is the system's own bound, and a connection that is not TCP has none.
        let none = StreamSpec {
            notsent_lowat_bytes: Some(0),
            ..usual
        };
        assert!(swallowed(&mut rig, &none) > with, "{}", rig.name);
        let unix = [None, Some(LOWAT_BYTES)].map(|bytes| {
            let spec = StreamSpec {
                notsent_lowat_bytes: bytes,
                ..StreamSpec::at(abstract_name(&format!("lowat-{bytes:?}")))
            };
            swallowed(&mut rig, &spec)
        });
        assert_eq!(unix[0], unix[1], "{}", rig.name);
    }
}

#[test]
fn room_is_told_again_under_a_bound_on_what_is_not_sent() {
    for mut rig in rigs() {
        let spec = StreamSpec {
            notsent_lowat_bytes: Some(16 << 10),
            ..StreamSpec::at(addr("127.0.0.1:0"))
        };
        let (listener, ours, theirs) = pair_by(&mut rig, &spec);
        for _ in 0..3 {
            settle(&mut rig, listener);
            let written = fill(&mut rig, theirs);
            drain(&mut rig, ours, written, theirs);
            let listed = rig.driver.listener_next_writable(listener);
            assert_eq!(listed, Some(theirs), "{}", rig.name);
        }
    }
}
