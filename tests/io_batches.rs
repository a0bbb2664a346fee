//! Batches of datagrams: all drivers alike, trains on real loopback, drops to the datagram, stamps.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hopline::io::{
    BATCH_SLOTS_MAX, DeviceStamps, Driver, FaultPlan, Faulty, GroupSend, Interface, IoErrorKind,
    Join, RecvBatch, SendBatch, Sent, TRAIN_SEGMENTS_MAX, TRAINS_FROM, Trains, UdpId, UdpSpec,
    Virtual, VirtualNet,
};

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A driver of each kind, by name.
fn drivers() -> [(&'static str, Driver); 3] {
    let faulty = Faulty::new(Virtual::new().into(), FaultPlan::default());
    [
        ("real", Driver::real().unwrap()),
        ("virtual", Virtual::new().into()),
        ("faulty", faulty.into()),
    ]
}

/// A socket that receives by `spec`, and one that is connected to it.
fn pair(driver: &mut Driver, spec: &UdpSpec) -> (UdpId, UdpId) {
    let inbox = driver.udp_open(spec).unwrap();
    let to = driver.udp_local_addr(inbox).unwrap();
    let out = driver.udp_open(&UdpSpec::connected(to)).unwrap();
    (inbox, out)
}

/// Sends all of a batch; the number of calls that it took.
fn send_all(driver: &mut Driver, out: UdpId, batch: &mut SendBatch) -> usize {
    let mut calls = 0;
    while !batch.is_empty() {
        let sent = driver.udp_send_batch(out, batch).unwrap();
        assert_eq!(sent.what, Sent::Yes);
        calls += 1;
    }
    calls
}

/// Takes all that waits.
fn take_all(driver: &mut Driver, inbox: UdpId, batch: &mut RecvBatch) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while driver.udp_recv_batch(inbox, batch).unwrap() > 0 {
        let promised = batch.len();
        let mut now = 0;
        while let Some(datagram) = batch.next() {
            assert!(!datagram.truncated);
            all.push(datagram.bytes.to_vec());
            now += 1;
        }
        assert_eq!(now, promised);
    }
    all
}

#[test]
fn what_goes_in_as_a_batch_comes_out_in_order() {
    let lens = [0, 1, 64, 64, 64, 10, 64, 64, 1_400, 1_400, 700, 0, 64];
    let datagrams: Vec<Vec<u8>> = (0..8)
        .flat_map(|round| lens.map(|len| vec![round as u8 + 1; len]))
        .collect();
    for (name, mut driver) in drivers() {
        for trains in [Trains::Off, Trains::Backlog, Trains::On] {
            let spec = UdpSpec {
                trains,
                ..UdpSpec::bound(any())
            };
            let (inbox, out) = pair(&mut driver, &spec);
            let mut batch = SendBatch::new(datagrams.len(), 1 << 16);
            for datagram in &datagrams {
                assert!(batch.push(None, datagram));
            }
            let calls = send_all(&mut driver, out, &mut batch);
            let mut batch = RecvBatch::of_trains();
            let got = take_all(&mut driver, inbox, &mut batch);
            assert_eq!(got, datagrams, "{name}, {trains:?}");
            if name == "real" {
                assert!(calls < datagrams.len() / 8, "{calls} calls");
            }
            assert_eq!(driver.udp_recv_batch(inbox, &mut batch), Ok(0));
            assert!(!driver.udp_maybe_readable(inbox));
        }
    }
}

#[test]
fn a_batch_in_hand_is_not_overwritten() {
    for (name, mut driver) in drivers() {
        let (inbox, out) = pair(&mut driver, &UdpSpec::bound(any()));
        for byte in [1, 2] {
            assert_eq!(driver.udp_send(out, None, &[byte]), Ok(Sent::Yes));
        }
        let mut batch = RecvBatch::new(1, 100);
        assert_eq!(driver.udp_recv_batch(inbox, &mut batch), Ok(1));
        assert_eq!(driver.udp_recv_batch(inbox, &mut batch), Ok(1), "{name}");
        assert_eq!(batch.next().unwrap().bytes, [1], "{name}");
        assert_eq!(take_all(&mut driver, inbox, &mut batch), [[2]], "{name}");
    }
}

#[test]
fn a_datagram_longer_than_its_buffer_is_marked() {
    for (name, mut driver) in drivers() {
        let (inbox, out) = pair(&mut driver, &UdpSpec::bound(any()));
        assert_eq!(driver.udp_send(out, None, &[7; 101]), Ok(Sent::Yes));
        let mut batch = RecvBatch::new(4, 100);
        assert_eq!(driver.udp_recv_batch(inbox, &mut batch), Ok(1));
        let cut = batch.next().unwrap();
        assert!(cut.truncated && cut.bytes == [7; 100], "{name}");
        // The first call asked for one; those for several tell each.
        for nth in 0..6 {
            let bytes = [nth; 101];
            let fits = usize::from(nth % 2);
            assert_eq!(driver.udp_send(out, None, &bytes[fits..]), Ok(Sent::Yes));
        }
        let (mut nth, mut most) = (0, 0);
        while nth < 6 {
            most = most.max(driver.udp_recv_batch(inbox, &mut batch).unwrap());
            while let Some(datagram) = batch.next() {
                assert_eq!(datagram.truncated, nth % 2 == 0, "{name}: {nth}");
                assert_eq!(datagram.bytes, [nth; 100], "{name}");
                nth += 1;
            }
        }
        assert!(most > 1, "{name}");
    }
}

#[test]
fn replies_go_to_whom_they_are_for() {
    for (name, mut driver) in drivers() {
        let here = driver.udp_open(&UdpSpec::bound(any())).unwrap();
        let ends: Vec<UdpId> = (0..3)
            .map(|_| driver.udp_open(&UdpSpec::bound(any())).unwrap())
            .collect();
        let mut batch = SendBatch::new(30, 3_000);
        for nth in 0..30u8 {
            let to = driver
                .udp_local_addr(ends[usize::from(nth) / 5 % 3])
                .unwrap();
            assert!(batch.push(Some(to), &[nth; 64]));
        }
        send_all(&mut driver, here, &mut batch);
        let from = driver.udp_local_addr(here).unwrap();
        for (at, end) in ends.into_iter().enumerate() {
            let mut batch = RecvBatch::new(BATCH_SLOTS_MAX, 100);
            let mut seen = Vec::new();
            while driver.udp_recv_batch(end, &mut batch).unwrap() > 0 {
                while let Some(datagram) = batch.next() {
                    assert_eq!(datagram.from, Some(from));
                    seen.push(usize::from(datagram.bytes[0]));
                }
            }
            let own: Vec<usize> = (0..30).filter(|nth| nth / 5 % 3 == at).collect();
            assert_eq!(seen, own, "{name}");
        }
    }
}

#[test]
fn nowhere_to_send_is_an_error_that_takes_the_datagram_out() {
    for (name, mut driver) in drivers() {
        let out = driver.udp_open(&UdpSpec::bound(any())).unwrap();
        let mut batch = SendBatch::new(4, 100);
        assert!(batch.push(None, b"x") && batch.push(None, b"y"));
        for left in [1, 0] {
            let error = driver.udp_send_batch(out, &mut batch).unwrap_err();
            assert_eq!(error.kind, IoErrorKind::InvalidInput, "{name}");
            assert_eq!(batch.len(), left);
        }
        let sent = driver.udp_send_batch(out, &mut batch).unwrap();
        assert_eq!((sent.count, sent.what), (0, Sent::Yes));
    }
}

#[test]
fn what_finds_nobody_is_refused_and_counted_to_the_datagram() {
    let mut driver = Driver::real().unwrap();
    let (inbox, out) = pair(&mut driver, &UdpSpec::bound(any()));
    driver.udp_close(inbox).unwrap();
    let mut batch = SendBatch::new(64, 4_096);
    let (mut sent, mut refused) = (0, 0);
    for _ in 0..10 {
        while batch.push(None, &[1; 64]) {}
        while !batch.is_empty() {
            let now = driver.udp_send_batch(out, &mut batch).unwrap();
            match now.what {
                Sent::Yes => sent += now.count,
                Sent::Refused => refused += now.count,
                Sent::WouldBlock => panic!("the buffer has room for 64 datagrams"),
            }
        }
    }
    assert!(sent > 0 && refused > 0);
    assert_eq!(sent + refused, 640);
    assert_eq!(driver.udp_counts(out).unwrap().send_refused, refused as u64);
}

#[test]
fn no_room_leaves_the_batch_as_it_is() {
    let plan = FaultPlan {
        send_would_block_one_in: 1,
        ..FaultPlan::default()
    };
    let mut driver = Driver::from(Faulty::new(Virtual::new().into(), plan));
    let (_, out) = pair(&mut driver, &UdpSpec::bound(any()));
    let mut batch = SendBatch::new(4, 100);
    assert!(batch.push(None, b"x"));
    let sent = driver.udp_send_batch(out, &mut batch).unwrap();
    assert_eq!(
        (sent.count, sent.what, batch.len()),
        (0, Sent::WouldBlock, 1)
    );
}

#[test]
fn a_faulty_driver_spoils_batches_one_by_one() {
    let plan = FaultPlan {
        seed: 3,
        recv_drop_one_in: 4,
        recv_duplicate_one_in: 5,
        ..FaultPlan::default()
    };
    let mut driver = Driver::from(Faulty::new(Virtual::new().into(), plan));
    let (inbox, out) = pair(&mut driver, &UdpSpec::bound(any()));
    for byte in 0..200 {
        assert_eq!(driver.udp_send(out, None, &[byte]), Ok(Sent::Yes));
    }
    let got = take_all(&mut driver, inbox, &mut RecvBatch::new(8, 100)).len() as u64;
    let Driver::Faulty(faulty) = &driver else {
        unreachable!()
    };
    let counts = faulty.counts();
    assert!(counts.recv_dropped > 0 && counts.recv_duplicated > 0);
    assert_eq!(got, 200 - counts.recv_dropped + counts.recv_duplicated);
}

/// Sends `trains` trains of 64 B segments that nobody takes meanwhile.
fn flood(driver: &mut Driver, out: UdpId, trains: usize) -> u64 {
    let mut batch = SendBatch::new(TRAIN_SEGMENTS_MAX, 64 * TRAIN_SEGMENTS_MAX);
    for _ in 0..trains {
        while batch.push(None, &[1; 64]) {}
        assert_eq!(send_all(driver, out, &mut batch), 1, "one call for a train");
    }
    (trains * TRAIN_SEGMENTS_MAX) as u64
}

#[test]
fn a_dropped_train_counts_once_and_a_datagram_counts_itself() {
    let mut driver = Driver::real().unwrap();
    for trains in [false, true] {
        let spec = UdpSpec {
            recv_buffer_bytes: Some(16_384),
            trains: if trains { Trains::On } else { Trains::Off },
            ..UdpSpec::bound(any())
        };
        let (inbox, out) = pair(&mut driver, &spec);
        let granted = driver.udp_granted(inbox).unwrap();
        if granted.trains != trains || !driver.udp_granted(out).unwrap().sends_trains {
            eprintln!("skipped: this kernel has no trains");
            continue;
        }
        assert_eq!(driver.udp_kernel_drops(inbox), Some(0));
        let sent = flood(&mut driver, out, 50);
        let mut batch = RecvBatch::of_trains();
        let got = take_all(&mut driver, inbox, &mut batch).len() as u64;
        let drops = driver.udp_kernel_drops(inbox).unwrap();
        assert!(got > 0 && drops > 0);
        let lost = if trains {
            drops * TRAIN_SEGMENTS_MAX as u64
        } else {
            drops
        };
        assert_eq!(got + lost, sent, "trains: {trains}");
        // What comes next brings the same figure along.
        assert_eq!(driver.udp_send(out, None, b"next"), Ok(Sent::Yes));
        assert_eq!(take_all(&mut driver, inbox, &mut batch).len(), 1);
        assert_eq!(driver.udp_kernel_drops(inbox), Some(drops));
    }
}

#[test]
fn a_train_is_never_taken_for_a_datagram() {
    let mut driver = Driver::real().unwrap();
    let spec = UdpSpec {
        trains: Trains::Backlog,
        ..UdpSpec::bound(any())
    };
    let (inbox, out) = pair(&mut driver, &spec);
    assert_eq!(driver.udp_send(out, None, b"x"), Ok(Sent::Yes));
    let error = driver.udp_recv(inbox, &mut [0; 100]).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::InvalidInput);
}

#[test]
fn trains_begin_with_a_backlog() {
    let mut driver = Driver::real().unwrap();
    let spec = UdpSpec {
        trains: Trains::Backlog,
        ..UdpSpec::bound(any())
    };
    let (inbox, out) = pair(&mut driver, &spec);
    let mut batch = RecvBatch::of_trains();
    for _ in 0..TRAINS_FROM {
        assert_eq!(driver.udp_send(out, None, b"lone"), Ok(Sent::Yes));
        assert_eq!(take_all(&mut driver, inbox, &mut batch).len(), 1);
    }
    assert!(!driver.udp_granted(inbox).unwrap().trains);
    // The first run comes datagram by datagram, and the next as a train.
    for _ in 0..2 {
        let sent = flood(&mut driver, out, 1);
        let got = take_all(&mut driver, inbox, &mut batch);
        assert!(got.len() as u64 == sent && got.iter().all(|datagram| datagram == &[1; 64]));
    }
    assert!(driver.udp_granted(inbox).unwrap().trains);
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the standard library's wall clock is the oracle of the kernel's stamps"
)]
fn the_kernel_says_when_a_datagram_came() {
    let wall_ns = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
    };
    let mut driver = Driver::real().unwrap();
    let spec = UdpSpec {
        stamps: true,
        ..UdpSpec::bound(any())
    };
    let (inbox, out) = pair(&mut driver, &spec);
    assert!(driver.udp_granted(inbox).unwrap().stamps);
    let mut batch = RecvBatch::new(4, 100);
    // The kernel begins to stamp a moment after it was asked by the first on the machine.
    let mut stamped = 0;
    for _ in 0..2_000 {
        let before_ns = wall_ns();
        assert_eq!(driver.udp_send(out, None, b"x"), Ok(Sent::Yes));
        let after_ns = wall_ns();
        assert_eq!(driver.udp_recv_batch(inbox, &mut batch), Ok(1));
        if let Some(stamp_ns) = batch.next().unwrap().stamp_wall_ns {
            // On loopback the datagram is received within the call that sends it.
            assert!((before_ns..=after_ns).contains(&stamp_ns));
            stamped += 1;
        }
        if stamped == 10 {
            break;
        }
        driver.poll(0, Some(1_000_000)).unwrap();
    }
    assert_eq!(stamped, 10);
    let plain = pair(&mut driver, &UdpSpec::bound(any()));
    assert_eq!(driver.udp_send(plain.1, None, b"x"), Ok(Sent::Yes));
    assert_eq!(driver.udp_recv_batch(plain.0, &mut batch), Ok(1));
    assert_eq!(batch.next().unwrap().stamp_wall_ns, None);
}

#[test]
fn stamps_of_a_device_are_asked_for_only_if_they_are_wanted() {
    let mut driver = Driver::real().unwrap();
    let mut granted = |stamps, device: Option<&str>| {
        let spec = UdpSpec {
            stamps,
            stamp_device: device.map(|name| name.parse().unwrap()),
            ..UdpSpec::bound(any())
        };
        let socket = driver.udp_open(&spec).unwrap();
        let granted = driver.udp_granted(socket).unwrap();
        driver.udp_close(socket).unwrap();
        (granted.stamps, granted.device_stamps)
    };
    assert_eq!(granted(true, None), (true, DeviceStamps::Unasked));
    assert_eq!(granted(false, Some("lo")), (false, DeviceStamps::Unasked));
    assert_eq!(granted(true, Some("lo")), (true, DeviceStamps::None));
    let nowhere = granted(true, Some("not-there-9"));
    assert_eq!(nowhere, (true, DeviceStamps::NoAnswer));
}

#[test]
fn a_virtual_datagram_is_stamped_with_its_delivery() {
    let net = VirtualNet::new();
    let mut driver = Driver::from(net.driver());
    let spec = UdpSpec {
        stamps: true,
        ..UdpSpec::bound("127.0.0.1:7".parse().unwrap())
    };
    let inbox = driver.udp_open(&spec).unwrap();
    assert!(net.inject(any(), "127.0.0.1:7".parse().unwrap(), b"x", 1_000));
    driver.observe_time(5_000);
    let mut batch = RecvBatch::new(4, 100);
    assert_eq!(driver.udp_recv_batch(inbox, &mut batch), Ok(1));
    assert_eq!(batch.next().unwrap().stamp_wall_ns, Some(1_000));
}

/// Two members of a group, one of another group, and one who sends to the first; `None` where this
/// system has no way to send to groups.
fn group(driver: &mut Driver, ips: [&str; 2], interface: Interface) -> Option<([UdpId; 3], UdpId)> {
    let any_port = match ips[0].contains(':') {
        true => "[::]:0",
        false => "0.0.0.0:0",
    };
    let join = |ip: &str| {
        Some(Join {
            group: ip.parse().unwrap(),
            interface,
        })
    };
    let first = driver.udp_open(&UdpSpec {
        join: join(ips[0]),
        ..UdpSpec::bound(any_port.parse().unwrap())
    });
    let first = first.ok()?;
    let bind = driver.udp_local_addr(first).unwrap();
    let mut member = |ip| {
        let spec = UdpSpec {
            join: join(ip),
            ..UdpSpec::bound(bind)
        };
        driver.udp_open(&spec).unwrap()
    };
    let (second, other) = (member(ips[0]), member(ips[1]));
    let to = SocketAddr::new(ips[0].parse().unwrap(), bind.port());
    let spec = UdpSpec {
        group_send: GroupSend {
            interface,
            ttl: Some(0),
            loops: Some(true),
        },
        ..UdpSpec::connected(to)
    };
    let out = driver.udp_open(&spec).ok()?;
    match driver.udp_send(out, None, b"to all") {
        Ok(Sent::Yes) => Some(([first, second, other], out)),
        _ => None,
    }
}

#[test]
fn every_member_of_a_group_hears_it_and_nobody_else() {
    let v4 = ["239.66.1.2", "239.66.1.3"];
    let v6 = ["ff01::6601", "ff01::6602"];
    let local = Interface::Address("127.0.0.1".parse().unwrap());
    let mut skipped = 0;
    for (name, mut driver) in drivers() {
        // The loopback interface is the first that a system has.
        for (ips, interface) in [
            (v4, local),
            (v4, Interface::Index(1)),
            (v6, Interface::Index(1)),
        ] {
            let Some((members, _)) = group(&mut driver, ips, interface) else {
                assert_eq!(name, "real", "the virtual network has groups");
                skipped += 1;
                continue;
            };
            let mut batch = RecvBatch::new(4, 100);
            let heard = members.map(|member| take_all(&mut driver, member, &mut batch).len());
            assert_eq!(heard, [1, 1, 0], "{name}, {ips:?}");
        }
    }
    println!("skipped {skipped} of 3: no way to send to a group on this system");
    assert!(
        skipped < 3 || !cfg!(target_os = "linux"),
        "IPv4 groups work on any loopback"
    );
}

#[test]
fn a_group_that_is_none_and_an_interface_that_is_none_are_named() {
    let mut driver = Driver::real().unwrap();
    let join = |group: &str, interface| UdpSpec {
        join: Some(Join {
            group: group.parse().unwrap(),
            interface,
        }),
        ..UdpSpec::bound("0.0.0.0:0".parse().unwrap())
    };
    for (spec, words) in [
        (
            join("192.0.2.1", Interface::Any),
            "cannot join 192.0.2.1 by interface any",
        ),
        (
            join("239.66.1.2", Interface::Index(9_999)),
            "cannot join 239.66.1.2 by interface 9999",
        ),
        (
            join("ff02::66", Interface::Index(1)),
            "IPv4 and IPv6 do not mix",
        ),
    ] {
        let error = driver.udp_open(&spec).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
