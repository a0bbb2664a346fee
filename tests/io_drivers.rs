//! One suite that every driver passes, and what is special to each.

use std::path::Path;

use hopline::io::{
    Driver, FILES_MAX, FaultPlan, Faulty, FileMode, IoErrorKind, NetCounts, Polled, SOCKETS_MAX,
    Sent, UdpSpec, VIRTUAL_QUEUE_DATAGRAMS, Virtual, VirtualNet,
};

#[path = "common/rig.rs"]
mod rig;

use rig::{MILLISECOND_NS, Rig, addr};

/// Every driver; faulty ones without a fault.
fn rigs() -> Vec<Rig> {
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

#[test]
fn datagrams_arrive_whole_in_order_and_with_their_sender() {
    for mut rig in rigs() {
        let (inbox, to) = rig.bound();
        let (out, from) = rig.bound();
        let messages: [&[u8]; 4] = [b"one", b"", &[7; 9_000], b"four"];
        for message in messages {
            rig.send(out, to, message);
        }
        let mut buf = [0; 10_000];
        for message in messages {
            let datagram = rig.recv(inbox, &mut buf);
            assert_eq!(&buf[..datagram.len], message, "{}", rig.name);
            assert_eq!((datagram.from, datagram.truncated), (from, false));
        }
        assert_eq!(rig.driver.udp_recv(inbox, &mut buf), Ok(None));
        let buffers = rig.driver.udp_buffers(inbox).unwrap();
        assert!(buffers.recv_bytes >= 9_000 && buffers.send_bytes >= 9_000);
    }
}

#[test]
fn a_datagram_longer_than_the_buffer_is_marked_and_the_next_is_whole() {
    for mut rig in rigs() {
        let (inbox, to) = rig.bound();
        let (out, _) = rig.bound();
        for message in [&b"123456789"[..], b"12345678"] {
            rig.send(out, to, message);
        }
        let mut buf = [0; 8];
        for truncated in [true, false] {
            let datagram = rig.recv(inbox, &mut buf);
            assert_eq!(&buf[..datagram.len], b"12345678", "{}", rig.name);
            assert_eq!(datagram.truncated, truncated, "{}", rig.name);
        }
    }
}

#[test]
fn readiness_is_reported_once_and_marked_until_it_would_block() {
    for mut rig in rigs() {
        let (inbox, to) = rig.bound();
        let (out, _) = rig.bound();
        let mut buf = [0; 8];
        assert!(rig.driver.udp_maybe_readable(inbox), "unknown at first");
        assert_eq!(rig.driver.udp_recv(inbox, &mut buf), Ok(None));
        assert!(!rig.driver.udp_maybe_readable(inbox));
        assert_eq!(rig.poll(0), Polled::default(), "{}", rig.name);

        rig.send(out, to, b"a");
        rig.send(out, to, b"b");
        rig.await_ready();
        assert!(rig.driver.udp_maybe_readable(inbox));
        assert!(!rig.poll(0).ready, "{}: reported twice", rig.name);
        for _ in 0..2 {
            assert!(rig.driver.udp_maybe_readable(inbox));
            rig.recv(inbox, &mut buf);
        }
        assert!(rig.driver.udp_maybe_readable(inbox));
        assert_eq!(rig.driver.udp_recv(inbox, &mut buf), Ok(None));
        assert!(!rig.driver.udp_maybe_readable(inbox));

        rig.send(out, to, b"c");
        rig.await_ready();
        assert_eq!(rig.recv(inbox, &mut buf).len, 1);
    }
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    for mut rig in rigs() {
        let (peer, peer_addr) = rig.bound();
        let (stranger, _) = rig.bound();
        let spec = UdpSpec::connected(peer_addr);
        let own = rig.driver.udp_open(&spec).unwrap();
        let own_addr = rig.driver.udp_local_addr(own).unwrap();
        assert_eq!(rig.driver.udp_send(own, None, b"ask"), Ok(Sent::Yes));
        let mut buf = [0; 16];
        assert_eq!(rig.recv(peer, &mut buf).from, own_addr, "{}", rig.name);
        rig.send(stranger, own_addr, b"stranger");
        rig.send(peer, own_addr, b"answer");
        let datagram = rig.recv(own, &mut buf);
        assert_eq!(&buf[..datagram.len], b"answer", "{}", rig.name);
        assert_eq!(datagram.from, peer_addr);
    }
}

#[test]
fn requests_that_make_no_sense_are_errors() {
    for mut rig in rigs() {
        let (id, _) = rig.bound();
        let nobody = rig.driver.udp_send(id, None, b"to nobody").unwrap_err();
        assert_eq!(nobody.kind, IoErrorKind::InvalidInput);
        let to = Some(addr("127.0.0.1:9"));
        let long = rig.driver.udp_send(id, to, &[0; 65_508]).unwrap_err();
        assert_eq!(long.kind, IoErrorKind::MessageTooLong, "{}", rig.name);
        assert_eq!(
            long.subject.capacity(),
            0,
            "no heap memory on the data path"
        );
        let mixed = UdpSpec {
            bind: Some(addr("127.0.0.1:0")),
            connect: Some(addr("[::1]:9")),
            ..UdpSpec::default()
        };
        let error = rig.driver.udp_open(&mixed).unwrap_err();
        assert_eq!(error.kind, IoErrorKind::InvalidInput);
        assert!(error.to_string().contains("[::1]:9"), "{error}");
    }
}

#[test]
fn a_closed_id_is_an_error_everywhere() {
    for mut rig in rigs() {
        let (id, _) = rig.bound();
        rig.driver.udp_close(id).unwrap();
        // Its place is taken again, by another socket.
        let (other, _) = rig.bound();
        let wrong = IoErrorKind::WrongId;
        let driver = &mut rig.driver;
        assert_eq!(driver.udp_recv(id, &mut [0; 8]).unwrap_err().kind, wrong);
        let to = Some(addr("127.0.0.1:9"));
        assert_eq!(driver.udp_send(id, to, b"").unwrap_err().kind, wrong);
        assert_eq!(driver.udp_local_addr(id).unwrap_err().kind, wrong);
        assert_eq!(driver.udp_buffers(id).unwrap_err().kind, wrong);
        assert_eq!(driver.udp_counts(id).unwrap_err().kind, wrong);
        assert_eq!(driver.udp_close(id).unwrap_err().kind, wrong);
        assert_eq!(driver.udp_kernel_drops(id), None);
        assert!(!driver.udp_maybe_readable(id));
        assert!(driver.udp_maybe_readable(other));
    }
}

#[test]
fn a_port_in_use_says_so_and_what_to_do() {
    for mut rig in rigs() {
        let (_, taken) = rig.bound();
        let error = rig.driver.udp_open(&UdpSpec::bound(taken)).unwrap_err();
        assert_eq!(error.kind, IoErrorKind::AddrInUse);
        assert_eq!(
            error.to_string(),
            format!("cannot bind {taken}: address already in use"),
            "{}",
            rig.name
        );
        assert!(format!("{error:#}").contains("choose another port"));
    }
}

#[test]
fn the_tables_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for mut rig in rigs() {
        for _ in 0..SOCKETS_MAX {
            rig.bound();
        }
        let error = rig.driver.udp_open(&UdpSpec::default()).unwrap_err();
        assert_eq!(error.kind, IoErrorKind::TooManyOpen, "{}", rig.name);
        for _ in 0..FILES_MAX {
            rig.driver.file_open(&path, FileMode::Append).unwrap();
        }
        let error = rig.driver.file_open(&path, FileMode::Append).unwrap_err();
        assert_eq!(error.kind, IoErrorKind::TooManyOpen, "{}", rig.name);
    }
}

#[test]
fn drops_of_a_full_buffer_are_counted_to_the_datagram() {
    for mut rig in rigs() {
        let spec = UdpSpec {
            recv_buffer_bytes: Some(8_192),
            ..UdpSpec::bound(addr("127.0.0.1:0"))
        };
        let inbox = rig.driver.udp_open(&spec).unwrap();
        let to = rig.driver.udp_local_addr(inbox).unwrap();
        let (out, _) = rig.bound();
        assert_eq!(rig.driver.udp_kernel_drops(inbox), Some(0));
        let sent = 300;
        for _ in 0..sent {
            rig.send(out, to, &[1; 1_000]);
        }
        let mut received = 0;
        let mut buf = [0; 1_500];
        while rig.driver.udp_recv(inbox, &mut buf).unwrap().is_some() {
            received += 1;
        }
        let dropped = rig.driver.udp_kernel_drops(inbox).unwrap();
        assert!(received > 0 && dropped > 0, "{}", rig.name);
        assert_eq!(received + dropped, sent, "{}", rig.name);
    }
}

#[test]
fn a_waker_ends_a_poll_once() {
    for mut rig in rigs() {
        let waker = rig.driver.waker();
        let caller = waker.clone();
        let thread = std::thread::spawn(move || caller.wake());
        thread.join().unwrap().unwrap();
        waker.wake().unwrap();
        let polled = rig.poll(10_000 * MILLISECOND_NS);
        assert!(polled.woken && !polled.ready, "{}", rig.name);
        assert_eq!(rig.now_ns, 0, "{}: no time passes", rig.name);
        assert_eq!(rig.poll(0), Polled::default());
    }
}

#[test]
fn a_waker_ends_an_endless_poll_of_another_thread() {
    let mut driver = Driver::real().unwrap();
    let waker = driver.waker();
    let caller = std::thread::spawn(move || waker.wake().unwrap());
    // Whichever comes first, the poll ends; without the wake it never would.
    while !driver.poll(0, None).unwrap().woken {}
    caller.join().unwrap();
}

#[test]
fn files_are_written_appended_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for (at, mut rig) in rigs().into_iter().enumerate() {
        let path = folder.path().join(format!("file-{at}"));
        let write = |driver: &mut Driver, mode, bytes: &[u8]| {
            let id = driver.file_open(&path, mode).unwrap();
            assert_eq!(driver.file_write(id, bytes), Ok(bytes.len()));
            driver.file_sync(id).unwrap();
            driver.file_close(id).unwrap();
            let closed = driver.file_write(id, bytes).unwrap_err();
            assert_eq!(closed.kind, IoErrorKind::WrongId);
        };
        let driver = &mut rig.driver;
        let absent = driver.file_open(&path, FileMode::Read).unwrap_err();
        assert_eq!(
            absent.to_string(),
            format!("cannot open {}: no such file or folder", path.display())
        );
        write(driver, FileMode::CreateTruncate, b"to be lost");
        write(driver, FileMode::CreateTruncate, b"one");
        write(driver, FileMode::Append, b"two");
        let id = driver.file_open(&path, FileMode::Read).unwrap();
        let mut buf = [0; 4];
        assert_eq!(driver.file_read(id, &mut buf), Ok(4));
        assert_eq!(&buf, b"onet");
        assert_eq!(driver.file_read(id, &mut buf), Ok(2));
        assert_eq!(driver.file_read(id, &mut buf), Ok(0));
        assert!(driver.file_write(id, b"x").is_err(), "opened for reading");
        driver.file_close(id).unwrap();
        assert!(driver.file_read(id, &mut buf).is_err());
    }
}

#[test]
fn a_full_disk_is_an_error_of_its_own() {
    let mut real = Driver::real().unwrap();
    let full = real
        .file_open(Path::new("/dev/full"), FileMode::Append)
        .unwrap();
    let error = real.file_write(full, b"text").unwrap_err();
    assert_eq!(error.kind, IoErrorKind::DiskFull);

    let net = VirtualNet::new();
    net.set_disk_bytes(6);
    let mut driver = Driver::from(net.driver());
    let id = driver
        .file_open(Path::new("log"), FileMode::CreateTruncate)
        .unwrap();
    assert_eq!(driver.file_write(id, b"1234"), Ok(4));
    assert_eq!(driver.file_write(id, b"5678"), Ok(2), "what fits");
    let error = driver.file_write(id, b"78").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot write: no space left on the device"
    );
    assert_eq!(net.file("log").unwrap(), b"123456");
}

#[test]
fn a_folder_and_a_missing_address_are_named() {
    let mut driver = Driver::real().unwrap();
    let error = driver
        .file_open(Path::new("/"), FileMode::Read)
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot open /: it is a folder");
    // An address for documentation, on no machine (RFC 5737).
    let spec = UdpSpec::bound(addr("192.0.2.1:26400"));
    let error = driver.udp_open(&spec).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot bind 192.0.2.1:26400: this machine has no such address"
    );
}

#[test]
fn nobody_at_the_other_end_is_counted_and_stops_nothing() {
    let mut rig = Rig::new("real", Driver::real().unwrap());
    let (closed, peer) = rig.bound();
    rig.driver.udp_close(closed).unwrap();
    let out = rig.driver.udp_open(&UdpSpec::connected(peer)).unwrap();
    let mut buf = [0; 8];
    assert_eq!(rig.driver.udp_send(out, None, b"a"), Ok(Sent::Yes));
    assert_eq!(rig.driver.udp_send(out, None, b"b"), Ok(Sent::Refused));
    assert_eq!(rig.driver.udp_send(out, None, b"c"), Ok(Sent::Yes));
    assert_eq!(rig.driver.udp_recv(out, &mut buf), Ok(None));
    let counts = rig.driver.udp_counts(out).unwrap();
    assert_eq!((counts.send_refused, counts.recv_refused), (1, 1));

    let inbox = rig.driver.udp_open(&UdpSpec::bound(peer)).unwrap();
    assert_eq!(rig.driver.udp_send(out, None, b"d"), Ok(Sent::Yes));
    let datagram = rig.recv(inbox, &mut buf);
    assert_eq!(&buf[..datagram.len], b"d");
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "measures the poll's timeout from outside the library"
)]
fn a_poll_ends_at_its_timeout_also_below_a_millisecond() {
    use std::time::{Duration, Instant};
    let mut driver = Driver::real().unwrap();
    let mut timed = |timeout_ns| {
        let start = Instant::now();
        let polled = driver.poll(0, Some(timeout_ns)).unwrap();
        assert_eq!(polled, Polled::default());
        start.elapsed()
    };
    for timeout_ns in [150_000, 2 * MILLISECOND_NS, 2_300_000] {
        // Best of many, because the machine may be busy; mio alone would round up to milliseconds.
        let best = (0..100).map(|_| timed(timeout_ns)).min().unwrap();
        let most_ns = timeout_ns + MILLISECOND_NS / 2;
        let expected = Duration::from_nanos(timeout_ns)..Duration::from_nanos(most_ns);
        assert!(expected.contains(&best), "{timeout_ns} took {best:?}");
    }
    // A timer that was set and not waited for does not shorten a later poll.
    driver.waker().wake().unwrap();
    assert!(driver.poll(0, Some(1_500_000)).unwrap().woken);
    let start = Instant::now();
    driver.poll(0, Some(20 * MILLISECOND_NS)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn virtual_time_goes_to_the_first_delivery_or_the_timeout() {
    let net = VirtualNet::new();
    net.set_delay_ns(5_000);
    let mut rig = Rig::new("virtual", net.driver());
    let (inbox, to) = rig.bound();
    let (out, from) = rig.bound();
    let mut buf = [0; 8];
    assert_eq!(rig.poll(1_000).advance_to_ns, Some(1_000));
    rig.send(out, to, b"sent");
    assert!(net.inject(addr("10.0.0.1:1"), to, b"early", 4_000));
    assert_eq!(net.next_delivery_ns(), Some(4_000));
    assert_eq!(rig.driver.udp_recv(inbox, &mut buf), Ok(None), "not yet");
    let polled = rig.poll(1_000_000);
    assert_eq!((polled.ready, polled.advance_to_ns), (true, Some(4_000)));
    assert_eq!(rig.recv(inbox, &mut buf).from, addr("10.0.0.1:1"));
    assert_eq!(rig.poll(1_500).advance_to_ns, Some(5_500), "the timeout");
    let polled = rig.driver.poll(rig.now_ns, None).unwrap();
    assert_eq!((polled.ready, polled.advance_to_ns), (true, Some(6_000)));
    assert_eq!(rig.recv(inbox, &mut buf).from, from);
    let sent = net.sent();
    assert_eq!((sent.len(), sent[0].at_ns, sent[0].to), (1, 1_000, to));
    assert_eq!((sent[0].from, &sent[0].bytes[..]), (from, &b"sent"[..]));
    // Nothing is on the way: waiting for ever ends at once, and says so.
    assert_eq!(rig.driver.poll(6_000, None), Ok(Polled::default()));

    rig.send(out, to, b"told");
    rig.driver.observe_time(11_000);
    assert_eq!(rig.recv(inbox, &mut buf).len, 4);
}

#[test]
fn two_virtual_drivers_share_a_network_and_no_delivery_is_passed() {
    let (left, right) = Virtual::pair();
    let net = left.net();
    net.set_delay_ns(100);
    let (mut left, mut right) = (Rig::new("left", left), Rig::new("right", right));
    let (asks, asks_addr) = left.bound();
    let (answers, answers_addr) = right.bound();
    let mut buf = [0; 8];
    left.send(asks, answers_addr, b"ask");
    // The left one has nothing to wait for before its timeout, and stops for the right one's sake.
    let polled = left.poll(1_000);
    assert_eq!((polled.ready, polled.advance_to_ns), (false, Some(100)));
    assert!(right.poll(0).ready);
    assert_eq!(right.now_ns, 100, "the network's time");
    let from = right.recv(answers, &mut buf).from;
    assert_eq!(from, asks_addr);
    right.send(answers, from, b"answer");
    assert!(left.poll(1_000).ready);
    assert_eq!(left.recv(asks, &mut buf).len, 6);
    assert_eq!(left.now_ns, 200);

    // A driver that is gone takes its addresses with it.
    drop(right);
    left.send(asks, answers_addr, b"gone");
    left.poll(1_000);
    assert_eq!(net.counts().unrouted, 1);
    left.driver.udp_open(&UdpSpec::bound(answers_addr)).unwrap();
}

#[test]
fn a_virtual_queue_is_bounded_and_the_networks_ledger_closes() {
    let net = VirtualNet::new();
    let mut rig = Rig::new("virtual", net.driver());
    let (inbox, to) = rig.bound();
    let over = 10;
    for at in 0..VIRTUAL_QUEUE_DATAGRAMS + over {
        assert!(net.inject(addr("10.0.0.1:1"), to, &[0; 8], at as u64));
    }
    assert!(net.inject(addr("10.0.0.1:1"), addr("10.0.0.2:2"), b"", 0));
    rig.send(inbox, addr("127.0.0.1:9"), b"out");
    rig.driver.observe_time(VIRTUAL_QUEUE_DATAGRAMS as u64);
    let mut expected = NetCounts {
        copied: 0,
        sent: 1,
        injected: (VIRTUAL_QUEUE_DATAGRAMS + over + 1) as u64,
        delivered: VIRTUAL_QUEUE_DATAGRAMS as u64,
        dropped: 1,
        unrouted: 2,
        in_flight: over as u64 - 1,
    };
    assert_eq!(net.counts(), expected);
    rig.driver.observe_time(u64::MAX);
    expected.dropped = over as u64;
    expected.in_flight = 0;
    assert_eq!(net.counts(), expected);
    assert_eq!(rig.driver.udp_kernel_drops(inbox), Some(over as u64));
    assert!(!net.inject(addr("10.0.0.1:1"), to, &[0; 65_508], 0));
}
