//! Each fault that a driver can be told to make shows, and is counted.

use std::path::Path;

use hopline::io::{
    Driver, FaultCounts, FaultPlan, Faulty, FileMode, IoErrorKind, Sent, UdpSpec, VirtualNet,
};

#[path = "common/rig.rs"]
mod rig;

use rig::{Rig, addr};

fn virtual_with(plan: FaultPlan) -> (Rig, VirtualNet) {
    let net = VirtualNet::new();
    let rig = Rig::new("planted", Faulty::new(net.driver().into(), plan));
    (rig, net)
}

fn counts(rig: &Rig) -> FaultCounts {
    match &rig.driver {
        Driver::Faulty(faulty) => faulty.counts(),
        other => panic!("{other:?} counts no faults"),
    }
}

/// Sends `count` datagrams that hold their number through a driver with faults; what came out,
/// and whether it was marked as cut.
fn through(plan: FaultPlan, count: u64) -> (Vec<(u64, bool)>, FaultCounts) {
    let (mut rig, _) = virtual_with(plan);
    let (inbox, to) = rig.bound();
    let (out, _) = rig.bound();
    let (mut came, mut buf) = (Vec::new(), [0; 8]);
    for number in 0..count {
        rig.send(out, to, &number.to_le_bytes());
        while let Some(datagram) = rig.driver.udp_recv(inbox, &mut buf).unwrap() {
            buf[datagram.len..].fill(0);
            came.push((u64::from_le_bytes(buf), datagram.truncated));
        }
    }
    (came, counts(&rig))
}

#[test]
fn lost_doubled_and_cut_datagrams_are_counted() {
    let plan = |seed| FaultPlan {
        seed,
        recv_drop_one_in: 10,
        recv_duplicate_one_in: 20,
        ..FaultPlan::default()
    };
    let (came, counts) = through(plan(1), 10_000);
    assert_eq!(
        came.len() as u64,
        10_000 - counts.recv_dropped + counts.recv_duplicated
    );
    assert!((800..1_200).contains(&counts.recv_dropped), "{counts:?}");
    assert!((350..550).contains(&counts.recv_duplicated), "{counts:?}");
    let twice = came.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!(twice as u64, counts.recv_duplicated);
    assert_eq!(
        through(plan(1), 10_000),
        (came.clone(), counts),
        "same seed"
    );
    assert_ne!(through(plan(2), 10_000).0, came, "another seed");

    // One more fault does not move the others' draws.
    let with_cuts = FaultPlan {
        recv_truncate_one_in: 30,
        ..plan(1)
    };
    let (cut, cut_counts) = through(with_cuts, 10_000);
    assert_eq!(cut.len(), came.len());
    assert_eq!(cut_counts.recv_dropped, counts.recv_dropped);
    let marked = cut.iter().filter(|(_, truncated)| *truncated).count() as u64;
    assert!((200..400).contains(&cut_counts.recv_truncated));
    assert!(
        marked >= cut_counts.recv_truncated,
        "doubled ones are marked twice"
    );
}

#[test]
fn a_doubled_datagram_keeps_its_socket_marked() {
    let (mut rig, _) = virtual_with(FaultPlan {
        recv_duplicate_one_in: 1,
        ..FaultPlan::default()
    });
    let (inbox, to) = rig.bound();
    let (other, _) = rig.bound();
    rig.send(other, to, b"a");
    let mut buf = [0; 8];
    assert!(rig.driver.udp_recv(inbox, &mut buf).unwrap().is_some());
    assert_eq!(rig.driver.udp_recv(other, &mut buf), Ok(None));
    assert!(rig.driver.udp_maybe_readable(inbox));
    assert!(!rig.driver.udp_maybe_readable(other));
    let again = rig.driver.udp_recv(inbox, &mut []).unwrap().unwrap();
    assert_eq!((again.len, again.truncated), (0, true));
    assert_eq!(rig.driver.udp_recv(inbox, &mut buf), Ok(None));
    assert_eq!(counts(&rig).recv_duplicated, 1);
}

#[test]
fn everything_lost_ends_a_receive_all_the_same() {
    let (mut rig, _) = virtual_with(FaultPlan {
        recv_drop_one_in: 1,
        ..FaultPlan::default()
    });
    let (inbox, to) = rig.bound();
    let (out, _) = rig.bound();
    for _ in 0..100 {
        rig.send(out, to, b"a");
    }
    while rig.driver.udp_maybe_readable(inbox) {
        assert_eq!(rig.driver.udp_recv(inbox, &mut [0; 8]), Ok(None));
    }
    assert_eq!(counts(&rig).recv_dropped, 100);
}

#[test]
fn sends_that_fail_are_counted_and_not_sent() {
    let (mut rig, net) = virtual_with(FaultPlan {
        seed: 5,
        send_would_block_one_in: 4,
        send_refused_one_in: 5,
        ..FaultPlan::default()
    });
    let (out, _) = rig.bound();
    let (mut yes, mut blocked, mut refused) = (0, 0, 0);
    for _ in 0..1_000 {
        match rig.driver.udp_send(out, Some(addr("127.0.0.1:9")), b"a") {
            Ok(Sent::Yes) => yes += 1,
            Ok(Sent::WouldBlock) => blocked += 1,
            Ok(Sent::Refused) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let counts = counts(&rig);
    assert_eq!(
        (counts.send_would_block, counts.send_refused),
        (blocked, refused)
    );
    assert!(blocked > 100 && refused > 100 && yes > 300);
    assert_eq!((net.counts().sent, net.sent().len()), (yes, yes as usize));
}

#[test]
fn short_writes_and_a_full_disk_lose_no_byte() {
    let (mut rig, net) = virtual_with(FaultPlan {
        seed: 5,
        short_write_one_in: 2,
        disk_full_after_bytes: Some(1_000),
        ..FaultPlan::default()
    });
    let id = rig
        .driver
        .file_open(Path::new("log"), FileMode::CreateTruncate)
        .unwrap();
    let text: Vec<u8> = (0..2_000u32).map(|at| at as u8).collect();
    let mut written = 0;
    let error = loop {
        match rig.driver.file_write(id, &text[written..written + 100]) {
            Ok(len) => written += len,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, written), (IoErrorKind::DiskFull, 1_000));
    assert_eq!(net.file("log").unwrap(), text[..1_000]);
    let counts = counts(&rig);
    assert!(counts.short_writes > 3, "{counts:?}");
    assert_eq!(counts.disk_full, 1);
}

#[test]
fn failed_opens_and_reads_are_counted() {
    let (mut rig, net) = virtual_with(FaultPlan {
        open_fails: Some(IoErrorKind::PermissionDenied),
        ..FaultPlan::default()
    });
    net.put_file("in", b"text");
    let spec = UdpSpec::bound(addr("127.0.0.1:80"));
    assert_eq!(
        rig.driver.udp_open(&spec).unwrap_err().to_string(),
        "cannot bind 127.0.0.1:80: permission denied"
    );
    let file = rig.driver.file_open(Path::new("in"), FileMode::Read);
    assert_eq!(
        file.unwrap_err().to_string(),
        "cannot open in: permission denied"
    );
    assert_eq!(counts(&rig).opens_failed, 2);

    let (mut rig, net) = virtual_with(FaultPlan {
        read_error_after_bytes: Some(3),
        ..FaultPlan::default()
    });
    net.put_file("in", b"text");
    let id = rig
        .driver
        .file_open(Path::new("in"), FileMode::Read)
        .unwrap();
    let mut buf = [0; 8];
    assert_eq!(rig.driver.file_read(id, &mut buf), Ok(3));
    let error = rig.driver.file_read(id, &mut buf).unwrap_err();
    assert_eq!((error.kind, error.code), (IoErrorKind::Other, Some(5)));
    assert_eq!(counts(&rig).read_errors, 1);
}

#[test]
fn polls_that_return_for_nothing_are_counted() {
    let (mut rig, _) = virtual_with(FaultPlan {
        seed: 5,
        poll_spurious_one_in: 2,
        ..FaultPlan::default()
    });
    let ready = (0..100).filter(|_| rig.poll(1_000).ready).count() as u64;
    assert!(ready > 20 && ready < 80, "{ready}");
    assert_eq!(counts(&rig).polls_spurious, ready);
    assert_eq!(rig.now_ns, (100 - ready) * 1_000, "only the others waited");
}
