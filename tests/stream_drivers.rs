//! Connections and Unix datagrams: one suite that every driver passes, and what is special to each.

use std::path::PathBuf;

use hopline::io::{
    Driver, Endpoint, FaultPlan, Faulty, Half, IoErrorKind, Sent, StreamRead, StreamSpec,
    StreamWrite, UnixSpec, VIRTUAL_STREAM_BYTES, Virtual, VirtualNet,
};

#[path = "common/rig.rs"]
mod rig;
#[path = "common/streams.rs"]
mod streams;

use rig::{MILLISECOND_NS, PATIENCE_POLLS, Rig, addr};
use streams::{abstract_name, pair, places, read, read_exact, rigs, write_all};

#[test]
fn bytes_arrive_in_order_both_ways_at_every_kind_of_place() {
    for mut rig in rigs() {
        let folder = tempfile::tempdir().unwrap();
        for at in places(&folder) {
            let (listener, ours, theirs) = pair(&mut rig, &at);
            let sent: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
            for (from, to) in [(ours, theirs), (theirs, ours)] {
                write_all(&mut rig, from, &sent);
                let got = read_exact(&mut rig, to, sent.len());
                assert!(got == sent, "{} {at}", rig.name);
                let mut buf = [0; 8];
                let nothing = rig.driver.stream_read(to, &mut buf);
                assert_eq!(nothing, Ok(StreamRead::WouldBlock), "{} {at}", rig.name);
            }
            for id in [ours, theirs] {
                rig.driver.stream_close(id).unwrap();
            }
            rig.driver.listener_close(listener).unwrap();
        }
    }
}

#[test]
fn readiness_is_reported_once_and_listed_with_its_listener() {
    for mut rig in rigs() {
        let (listener, ours, theirs) = pair(&mut rig, &addr("127.0.0.1:0").into());
        let mut buf = [0; 8];
        assert!(rig.driver.stream_maybe_readable(theirs), "unknown at first");
        let nothing = rig.driver.stream_read(theirs, &mut buf);
        assert_eq!(nothing, Ok(StreamRead::WouldBlock));
        assert!(!rig.driver.stream_maybe_readable(theirs));
        while rig.poll(0).ready {}
        while rig.driver.listener_next_ready(listener).is_some() {}

        write_all(&mut rig, ours, b"ab");
        for _ in 0..PATIENCE_POLLS {
            if rig.driver.stream_maybe_readable(theirs) {
                break;
            }
            rig.poll(MILLISECOND_NS);
        }
        assert_eq!(
            rig.driver.listener_next_ready(listener),
            Some(theirs),
            "{}",
            rig.name
        );
        assert_eq!(
            rig.driver.listener_next_ready(listener),
            None,
            "{}",
            rig.name
        );
        assert_eq!(read(&mut rig, theirs, &mut buf[..1]), StreamRead::Bytes(1));
        assert!(
            rig.driver.stream_maybe_readable(theirs),
            "until it would block"
        );
        assert_eq!(read(&mut rig, theirs, &mut buf), StreamRead::Bytes(1));

        // One that is closed while it is listed is not listed any more.
        write_all(&mut rig, ours, b"c");
        for _ in 0..20 {
            rig.poll(MILLISECOND_NS);
        }
        rig.driver.stream_close(theirs).unwrap();
        assert_eq!(
            rig.driver.listener_next_ready(listener),
            None,
            "{}",
            rig.name
        );
    }
}

#[test]
fn a_full_connection_takes_no_more_and_says_when_it_does_again() {
    for mut rig in rigs() {
        let (_, ours, theirs) = pair(&mut rig, &addr("127.0.0.1:0").into());
        let block = vec![7; 1 << 16];
        let mut written = 0;
        loop {
            match rig.driver.stream_write(ours, &block).unwrap() {
                StreamWrite::Bytes(count) => written += count,
                StreamWrite::WouldBlock => break,
                StreamWrite::Broken => panic!("{}", rig.name),
            }
            assert!(written < 1 << 26, "{}: it never fills", rig.name);
        }
        assert!(!rig.driver.stream_maybe_writable(ours), "{}", rig.name);
        let mut left = written;
        while left > 0 && !rig.driver.stream_maybe_writable(ours) {
            let len = left.min(1 << 16);
            left -= read_exact(&mut rig, theirs, len).len();
            rig.poll(0);
        }
        let again = rig.driver.stream_write(ours, &block).unwrap();
        assert!(
            matches!(again, StreamWrite::Bytes(_)),
            "{} {again:?}",
            rig.name
        );
    }
}

#[test]
fn an_end_is_told_from_a_break_and_one_half_may_end_alone() {
    for mut rig in rigs() {
        let at = addr("127.0.0.1:0").into();
        let mut buf = [0; 8];
        let (_, ours, theirs) = pair(&mut rig, &at);
        write_all(&mut rig, ours, b"last");
        rig.driver.stream_shutdown(ours, Half::Write).unwrap();
        assert_eq!(read_exact(&mut rig, theirs, 4), b"last");
        assert_eq!(
            read(&mut rig, theirs, &mut buf),
            StreamRead::End,
            "{}",
            rig.name
        );
        // The other way still works.
        write_all(&mut rig, theirs, b"reply");
        assert_eq!(read_exact(&mut rig, ours, 5), b"reply");
        let broken = rig.driver.stream_write(ours, b"more");
        assert_eq!(broken, Ok(StreamWrite::Broken), "{}", rig.name);

        // Closing over bytes that nobody read is a break.
        let (_, ours, theirs) = pair(&mut rig, &at);
        write_all(&mut rig, ours, b"unread");
        read_exact(&mut rig, theirs, 1);
        rig.driver.stream_close(theirs).unwrap();
        assert_eq!(
            read(&mut rig, ours, &mut buf),
            StreamRead::Reset,
            "{}",
            rig.name
        );
    }
}

#[test]
fn a_second_handle_keeps_a_connection_open_and_ends_it_for_both() {
    for mut rig in rigs() {
        let (_, ours, theirs) = pair(&mut rig, &addr("127.0.0.1:0").into());
        let handed = rig.driver.stream_hand_over(theirs).unwrap();
        let second = rig.driver.stream_adopt(handed).unwrap();
        rig.driver.stream_close(theirs).unwrap();
        write_all(&mut rig, second, b"still here");
        assert_eq!(
            read_exact(&mut rig, ours, 10),
            b"still here",
            "{}",
            rig.name
        );
        let handed = rig.driver.stream_hand_over(second).unwrap();
        rig.driver.stream_close(second).unwrap();
        drop(handed);
        let end = read(&mut rig, ours, &mut [0; 8]);
        assert_eq!(end, StreamRead::End, "{}", rig.name);
    }
}

#[test]
fn nobody_there_an_address_in_use_and_wrong_ids_are_errors() {
    for mut rig in rigs() {
        let (listener, ours, theirs) = pair(&mut rig, &addr("127.0.0.1:0").into());
        let at = rig.driver.listener_endpoint(listener).unwrap();
        let twice = rig.driver.listen(&StreamSpec::at(at.clone())).unwrap_err();
        assert_eq!(twice.kind, IoErrorKind::AddrInUse, "{}", rig.name);
        assert_eq!(
            twice.to_string(),
            format!("cannot bind {at}: address already in use")
        );
        rig.driver.listener_close(listener).unwrap();
        for id in [ours, theirs] {
            rig.driver.stream_close(id).unwrap();
        }
        // Refused at once, or as soon as the answer is there.
        let refused = match rig.driver.stream_connect(&StreamSpec::at(at)) {
            Err(error) => error,
            Ok(id) => (0..PATIENCE_POLLS)
                .find_map(|_| {
                    rig.poll(MILLISECOND_NS);
                    rig.driver.stream_connected(id).err()
                })
                .unwrap(),
        };
        assert_eq!(refused.kind, IoErrorKind::ConnectionRefused, "{}", rig.name);
        let wrong = rig.driver.stream_read(ours, &mut [0; 8]).unwrap_err();
        assert_eq!(wrong.kind, IoErrorKind::WrongId);
        assert_eq!(
            rig.driver.accept(listener).unwrap_err().kind,
            IoErrorKind::WrongId
        );
        assert!(!rig.driver.stream_maybe_readable(ours));
        assert_eq!(rig.driver.listener_next_ready(listener), None);
    }
}

#[test]
fn unix_datagrams_arrive_whole_and_a_full_queue_holds_back() {
    for mut rig in rigs() {
        let folder = tempfile::tempdir().unwrap();
        for at in [
            Endpoint::Path(folder.path().join("d.sock")),
            abstract_name("datagram"),
        ] {
            let send = UnixSpec {
                connect: Some(at.clone()),
                ..UnixSpec::default()
            };
            let out = rig.driver.unix_open(&send).unwrap();
            assert_eq!(
                rig.driver.unix_send(out, b"x"),
                Ok(Sent::Refused),
                "{}",
                rig.name
            );
            let bind = UnixSpec {
                bind: Some(at.clone()),
                ..UnixSpec::default()
            };
            let inbox = rig.driver.unix_open(&bind).unwrap();
            let mut buf = [0; 300];
            assert_eq!(rig.driver.unix_recv(inbox, &mut buf), Ok(None));
            assert!(!rig.driver.unix_maybe_readable(inbox));
            let mut sent = 0_u64;
            while rig.driver.unix_send(out, &sent.to_le_bytes()).unwrap() == Sent::Yes {
                sent += 1;
                assert!(sent < 100_000, "{}: it never fills", rig.name);
            }
            assert!(sent > 0, "{}: the name was looked for again", rig.name);
            rig.await_ready();
            assert!(rig.driver.unix_maybe_readable(inbox));
            for number in 0..sent {
                let datagram = rig.driver.unix_recv(inbox, &mut buf).unwrap().unwrap();
                assert_eq!((datagram.len, &buf[..8]), (8, &number.to_le_bytes()[..]));
            }
            assert_eq!(rig.driver.unix_send(out, &[1; 301]), Ok(Sent::Yes));
            let cut = rig.driver.unix_recv(inbox, &mut buf).unwrap().unwrap();
            assert_eq!((cut.len, cut.truncated), (300, true), "{}", rig.name);
            rig.driver.unix_close(inbox).unwrap();
            rig.driver.unix_close(out).unwrap();
            assert!(rig.driver.unix_recv(inbox, &mut buf).is_err());
        }
        let tcp = UnixSpec {
            bind: Some(addr("127.0.0.1:1").into()),
            ..UnixSpec::default()
        };
        assert!(rig.driver.unix_open(&tcp).is_err(), "{}", rig.name);
    }
}

#[test]
fn a_stale_socket_file_is_replaced_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let mut driver = Driver::real().unwrap();
    let spec = |name: &str| StreamSpec::at(Endpoint::Path(path(name)));

    // Left behind by somebody who did not clean up.
    drop(std::os::unix::net::UnixListener::bind(path("stale")).unwrap());
    assert!(path("stale").exists());
    let listener = driver.listen(&spec("stale")).unwrap();
    std::os::unix::net::UnixStream::connect(path("stale")).unwrap();
    driver.listener_close(listener).unwrap();
    assert!(!path("stale").exists(), "removed at its end");

    let living = std::os::unix::net::UnixListener::bind(path("living")).unwrap();
    let error = driver.listen(&spec("living")).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::AddrInUse);
    drop(living);
    let datagrams = std::os::unix::net::UnixDatagram::bind(path("other")).unwrap();
    assert!(
        driver.listen(&spec("other")).is_err(),
        "a socket of another type is nobody's to take"
    );
    assert!(path("other").exists());
    drop(datagrams);

    std::fs::write(path("file"), b"precious").unwrap();
    let error = driver.listen(&spec("file")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a file that is no socket is there"),
        "{error}"
    );
    assert_eq!(std::fs::read(path("file")).unwrap(), b"precious");

    // Somebody else's file at the same path is not ours to remove.
    let listener = driver.listen(&spec("moved")).unwrap();
    std::fs::remove_file(path("moved")).unwrap();
    std::fs::write(path("moved"), b"new").unwrap();
    driver.listener_close(listener).unwrap();
    assert!(path("moved").exists());

    // A driver that is dropped cleans up too.
    driver.listen(&spec("dropped")).unwrap();
    drop(driver);
    assert!(!path("dropped").exists());
    let long = path(&"x".repeat(200));
    assert!(
        Driver::real()
            .unwrap()
            .listen(&StreamSpec::at(Endpoint::Path(long)))
            .is_err()
    );
}

#[test]
fn a_virtual_connection_takes_its_time_and_its_cuts() {
    let net = VirtualNet::new();
    net.set_delay_ns(500);
    net.set_stream_cuts(3, 5);
    let mut rig = Rig::new("virtual", net.driver());
    let (_, ours, theirs) = pair(&mut rig, &abstract_name("x"));
    let began_ns = rig.now_ns;
    assert_eq!(
        rig.driver.stream_write(ours, b"abcdefgh"),
        Ok(StreamWrite::Bytes(5))
    );
    let mut buf = [0; 8];
    assert_eq!(
        rig.driver.stream_read(theirs, &mut buf),
        Ok(StreamRead::WouldBlock)
    );
    while rig.poll(10_000).ready || rig.now_ns < began_ns + 500 {}
    assert_eq!(
        rig.driver.stream_read(theirs, &mut buf),
        Ok(StreamRead::Bytes(3))
    );
    assert_eq!(
        rig.driver.stream_read(theirs, &mut buf),
        Ok(StreamRead::Bytes(2))
    );
    net.set_stream_cuts(usize::MAX, usize::MAX);
    let much = vec![0; VIRTUAL_STREAM_BYTES + 1];
    let written = rig.driver.stream_write(ours, &much);
    assert_eq!(written, Ok(StreamWrite::Bytes(VIRTUAL_STREAM_BYTES)));
    assert_eq!(net.reset_streams(), 1);
    assert_eq!(
        rig.driver.stream_read(theirs, &mut buf),
        Ok(StreamRead::Reset)
    );
    assert_eq!(rig.driver.stream_write(ours, b"x"), Ok(StreamWrite::Broken));
}

#[test]
fn faults_are_put_in_and_counted() {
    let plan = FaultPlan {
        seed: 5,
        stream_short_read_one_in: 2,
        stream_short_write_one_in: 2,
        stream_would_block_one_in: 3,
        stream_reset_one_in: 400,
        ..FaultPlan::default()
    };
    let mut rig = Rig::new("faulty", Faulty::new(Virtual::new().into(), plan));
    let (_, ours, theirs) = pair(&mut rig, &abstract_name("x"));
    let (mut sent, mut got, mut buf) = (Vec::new(), Vec::new(), [0; 256]);
    let over = (0..100_000_u32).any(|n| {
        let bytes = n.to_le_bytes();
        match rig.driver.stream_write(ours, &bytes).unwrap() {
            StreamWrite::Bytes(count) => sent.extend_from_slice(&bytes[..count]),
            StreamWrite::WouldBlock => {}
            StreamWrite::Broken => return true,
        }
        match rig.driver.stream_read(theirs, &mut buf).unwrap() {
            StreamRead::Bytes(count) => got.extend_from_slice(&buf[..count]),
            StreamRead::WouldBlock => {}
            StreamRead::End | StreamRead::Reset => return true,
        }
        rig.poll(0);
        false
    });
    assert!(
        over && got.len() > 100 && sent.starts_with(&got),
        "{} of {}",
        got.len(),
        sent.len()
    );
    let Driver::Faulty(faulty) = &rig.driver else {
        panic!("it is the faulty one");
    };
    let counts = faulty.counts();
    assert_eq!(counts.stream_resets, 1);
    let put_in = [
        counts.stream_short_reads,
        counts.stream_short_writes,
        counts.stream_would_block,
    ];
    assert!(put_in.iter().all(|count| *count > 10), "{counts:?}");
}
