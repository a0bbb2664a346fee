//! The file: written, read back, cut, damaged, bounded, followed.

use hopline::base::{Envelope, Flags, Reason};
use hopline::frame::capture::{
    BLOCK_HEAD_BYTES, CaptureFault, CaptureKind, CaptureStart, WhyEnded, content_hash, frame_bytes,
};
use hopline::frame::{KindInfo, View};
use hopline::io::{
    CaptureCounts, CaptureEvent, CaptureReader, CaptureWriter, Driver, FaultPlan, Faulty, Fill,
    IoErrorKind, Unrecorded, VirtualNet,
};

use crate::numbers::Number;

pub(crate) fn start() -> CaptureStart {
    CaptureStart {
        wall_ns: 1_700_000_000_000_000_000,
        line_ns: 5_000,
        line: "numbers".to_owned(),
        hop: "in->out".to_owned(),
        sources: vec!["in".to_owned(), "other".to_owned()],
        kinds: vec![CaptureKind::of(&KindInfo::of::<Number>())],
    }
}

/// Frame `at` of `of` of message `message`.
fn frame(
    writer: &mut CaptureWriter,
    io: &mut Driver,
    message: u64,
    at: usize,
    of: usize,
    sequence: u64,
) {
    let envelope = Envelope {
        t_offer_ns: 10_000 + message * 100,
        origin_ns: 40,
        deadline_ns: 9,
        kind: 900,
        len: 8,
        source: (message % 2) as u16,
        class: 3,
        flags: Flags::fragment(at, of),
    };
    writer.frame(io, &envelope, &message.to_le_bytes(), sequence);
}

/// A file of `messages`, message n of `n % 3 + 1` frames, with its end if it is closed.
pub(crate) fn written(messages: u64, closed: bool) -> Vec<u8> {
    let net = VirtualNet::new();
    let mut io = Driver::from(net.driver());
    let mut writer = CaptureWriter::create(&mut io, "a.cap".as_ref(), &start(), 1 << 30).unwrap();
    let mut sequence = 0;
    for message in 0..messages {
        let of = message as usize % 3 + 1;
        for at in 0..of {
            frame(&mut writer, &mut io, message, at, of, sequence);
            sequence += 1;
        }
    }
    if closed {
        let (counts, error) = writer.close(&mut io, WhyEnded::HopEnded);
        assert_eq!(
            (counts.messages, counts.frames, error),
            (messages, sequence, None)
        );
    } else {
        writer.flush(&mut io);
    }
    net.file("a.cap").unwrap()
}

/// What a reader makes of a file: the messages, what was bad, and where it breaks off.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Read {
    pub(crate) messages: Vec<u64>,
    pub(crate) bad: Vec<(u64, CaptureFault)>,
    pub(crate) torn: Option<(u64, CaptureFault)>,
    pub(crate) ended: bool,
}

/// Reads a file in slices; `Err` if its head cannot be read.
pub(crate) fn read(bytes: &[u8], slice: usize) -> Result<Read, String> {
    let net = VirtualNet::new();
    net.put_file("a.cap", bytes);
    let mut io = Driver::from(net.driver());
    let mut reader = CaptureReader::open(&mut io, "a.cap".as_ref()).map_err(|error| {
        assert_eq!(error.kind, IoErrorKind::Malformed);
        error.to_string()
    })?;
    let mut read = Read::default();
    let mut hash = 0;
    loop {
        match reader.next_event() {
            Some(CaptureEvent::Message(message)) => {
                let mut value = None;
                for (header, payload) in message.frames() {
                    let mut scratch = hopline::frame::Aligned::<8>::new();
                    let payload = scratch.copy_from(payload).unwrap();
                    value = Some(View::<Number>::read(payload).unwrap().value());
                    hash = content_hash(
                        hash,
                        header.schema(),
                        header.version(),
                        header.meta().flags,
                        payload,
                    );
                }
                if read.bad.is_empty() {
                    assert_eq!(hash, message.hash);
                }
                read.messages.push(value.unwrap());
            }
            Some(CaptureEvent::Bad(bad)) => read.bad.push((bad.offset, bad.fault)),
            Some(CaptureEvent::End(end)) => {
                assert_eq!(
                    end.messages,
                    read.messages.len() as u64 + read.bad.len() as u64
                );
                read.ended = true;
            }
            None => match reader.fill(&mut io, slice).unwrap() {
                Fill::End => break,
                Fill::Full => panic!("nothing can be read and nothing taken"),
                Fill::Progress { .. } => {}
            },
        }
    }
    read.torn = reader.torn().map(|torn| (torn.offset, torn.fault));
    Ok(read)
}

#[test]
fn what_was_written_is_read_back() {
    let file = written(1_000, true);
    for slice in [1, 7, 4096, 1 << 20] {
        let read = read(&file, slice).unwrap();
        assert_eq!(read.messages, (0..1_000).collect::<Vec<_>>());
        assert_eq!((read.bad, read.torn, read.ended), (vec![], None, true));
    }
}

#[test]
fn the_words_of_a_message_come_back() {
    let net = VirtualNet::new();
    net.put_file("a.cap", &written(3, true));
    let mut io = Driver::from(net.driver());
    let mut reader = CaptureReader::open(&mut io, "a.cap".as_ref()).unwrap();
    assert_eq!(reader.start(), &start());
    reader.fill(&mut io, 1 << 20).unwrap();
    let mut sequences = Vec::new();
    while let Some(CaptureEvent::Message(message)) = reader.next_event() {
        let about = message.about;
        assert_eq!((about.class, about.deadline_ns), (3, 9));
        assert_eq!(about.offered_ns - about.intended_ns, 40);
        let wall_ns = 1_700_000_000_000_000_000 + about.intended_ns - 5_000;
        assert_eq!(message.intended_wall_ns(), wall_ns);
        sequences.push((message.sequence(), message.frames, about.source));
    }
    assert_eq!(sequences, [(0, 1, 0), (1, 2, 1), (3, 3, 0)]);
    assert_eq!(reader.end().unwrap().why, Some(WhyEnded::HopEnded));
}

#[test]
fn cut_at_every_byte_it_gives_the_whole_messages_and_the_place() {
    let file = written(6, false);
    let head = start().encode().len();
    // The ends of the blocks.
    let mut ends = vec![head];
    for message in 0..6_usize {
        let frames = message % 3 + 1;
        ends.push(ends[message] + BLOCK_HEAD_BYTES + frames * frame_bytes(8));
    }
    assert_eq!(ends[6], file.len());
    for cut in 0..=file.len() {
        let read = read(&file[..cut], 64);
        if cut < head {
            let words = read.unwrap_err();
            assert!(words.contains("at byte 0"), "{words}");
            continue;
        }
        let read = read.unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(
            read.messages,
            (0..whole as u64).collect::<Vec<_>>(),
            "cut at {cut}"
        );
        assert!(read.bad.is_empty() && !read.ended);
        match read.torn {
            None => assert!(ends.contains(&cut)),
            Some((offset, CaptureFault::Truncated { needed, found })) => {
                assert_eq!((offset as usize, found), (ends[whole], cut - ends[whole]));
                assert!(needed > found);
            }
            torn => panic!("{torn:?}"),
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_told_with_its_block_and_costs_no_other_unless_its_length_is_gone() {
    let file = written(6, true);
    let head = start().encode().len();
    let block = BLOCK_HEAD_BYTES + frame_bytes(8);
    for at in 0..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 0x10;
        let read = read(&bad, 4096);
        if at < head {
            assert!(read.unwrap_err().contains("at byte 0"), "byte {at}");
            continue;
        }
        let read = read.unwrap();
        assert!(
            !read.bad.is_empty() || read.torn.is_some(),
            "byte {at}: {read:?}"
        );
        // The first message's own bytes, beside its magic and its length.
        if (head + 8..head + block).contains(&at) {
            assert_eq!(read.messages, [1, 2, 3, 4, 5], "byte {at}");
            assert_eq!(read.bad[0].0 as usize, head);
            assert!(read.ended);
        }
    }
}

#[test]
fn one_that_is_no_capture_or_of_another_version_is_told_so() {
    let padded = |head: &[u8]| {
        let mut bytes = head.to_vec();
        bytes.resize(64, 0);
        bytes
    };
    for (bytes, words) in [
        (padded(b"1723161255030314667 {}"), "no block begins with"),
        (Vec::new(), "it ends within a block"),
        (padded(b"HOPC\x02\0\0\0"), "version 2"),
        (
            padded(b"HOPC\x01\0\0\0\xff\xff\xff\xff"),
            "a block of 4294967295 bytes",
        ),
    ] {
        let error = read(&bytes, 64).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_gzipped_one_is_read_as_well_and_a_cut_one_is_told() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let file = written(50, true);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&file).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(read(&packed, 512).unwrap().messages.len(), 50);
    let cut = read(&packed[..packed.len() / 2], 512);
    assert!(cut.is_err() || cut.unwrap().torn.is_some());
}

fn counts(bytes_max: u64, plan: FaultPlan, messages: u64) -> (CaptureCounts, bool, Vec<u8>) {
    let net = VirtualNet::new();
    let mut io = Driver::from(Faulty::new(net.driver().into(), plan));
    let mut writer = CaptureWriter::create(&mut io, "a.cap".as_ref(), &start(), bytes_max).unwrap();
    for message in 0..messages {
        frame(&mut writer, &mut io, message, 0, 1, message);
        if message % 16 == 0 {
            writer.flush(&mut io);
        }
    }
    let (counts, error) = writer.close(&mut io, WhyEnded::Stopped);
    (counts, error.is_some(), net.file("a.cap").unwrap())
}

#[test]
fn a_bound_is_kept_and_what_comes_after_it_is_counted() {
    for bytes_max in [2_000, 5_000, 5_001, 40_000] {
        let (counts, failed, file) = counts(bytes_max, FaultPlan::default(), 1_000);
        assert!(!failed && file.len() as u64 <= bytes_max, "{bytes_max}");
        assert_eq!(counts.bytes, file.len() as u64);
        let unrecorded = counts.unrecorded[Unrecorded::Bound.index()];
        assert_eq!(counts.messages + unrecorded, 1_000);
        let read = read(&file, 4096).unwrap();
        assert_eq!(read.messages.len() as u64, counts.messages);
        assert!(read.ended && unrecorded > 0);
    }
}

#[test]
fn a_full_disk_leaves_whole_messages_and_is_counted() {
    for full_after in (400..3_000).step_by(37) {
        let plan = FaultPlan {
            disk_full_after_bytes: Some(full_after),
            ..FaultPlan::default()
        };
        let (counts, failed, file) = counts(1 << 20, plan, 300);
        assert!(failed);
        let unrecorded = counts.unrecorded[Unrecorded::DiskFull.index()];
        assert_eq!(counts.messages + unrecorded, 300, "{full_after}");
        assert_eq!(
            (counts.unrecorded_total(), counts.bytes),
            (unrecorded, file.len() as u64)
        );
        let read = read(&file, 4096).unwrap();
        assert_eq!(read.messages, (0..counts.messages).collect::<Vec<_>>());
        assert_eq!((read.torn, read.ended), (None, false), "{full_after}");
    }
}

#[test]
fn short_writes_change_nothing() {
    let plan = FaultPlan {
        short_write_one_in: 2,
        ..FaultPlan::default()
    };
    let (_, failed, file) = counts(1 << 20, plan, 300);
    let (_, _, whole) = counts(1 << 20, FaultPlan::default(), 300);
    assert!(!failed && file == whole);
}

#[test]
fn messages_of_which_frames_were_lost_are_torn_and_counted() {
    let net = VirtualNet::new();
    let mut io = Driver::from(net.driver());
    let mut writer = CaptureWriter::create(&mut io, "a.cap".as_ref(), &start(), 1 << 20).unwrap();
    // Message 0 has lost its end, 2 its middle, 4 its beginning.
    for (message, at, of, sequence) in [
        (0, 0, 2, 0),
        (1, 0, 1, 2),
        (2, 0, 3, 3),
        (2, 2, 3, 5),
        (3, 0, 1, 6),
        (4, 1, 3, 8),
        (4, 2, 3, 9),
        (5, 0, 2, 10),
        (5, 1, 2, 11),
    ] {
        frame(&mut writer, &mut io, message, at, of, sequence);
    }
    writer.note_lost(3);
    let mut unknown = Envelope {
        kind: 901,
        flags: Flags::WHOLE,
        ..Envelope::default()
    };
    writer.frame(&mut io, &unknown, &[], 12);
    unknown.flags = Flags::FIRST;
    writer.frame(&mut io, &unknown, &[], 13);
    let (counts, _) = writer.close(&mut io, WhyEnded::Stopped);
    let why = |why: Unrecorded| counts.unrecorded[why.index()];
    assert_eq!((counts.messages, counts.frames_lost), (3, 3));
    assert_eq!(
        (why(Unrecorded::Torn), why(Unrecorded::UnknownKind)),
        (3, 2)
    );
    let read = read(&net.file("a.cap").unwrap(), 4096).unwrap();
    assert_eq!(read.messages, [1, 3, 5]);
}

#[test]
fn it_can_be_followed_while_it_is_written() {
    let net = VirtualNet::new();
    let mut io = Driver::from(net.driver());
    let mut writer = CaptureWriter::create(&mut io, "a.cap".as_ref(), &start(), 1 << 20).unwrap();
    let mut reader = CaptureReader::open(&mut io, "a.cap".as_ref()).unwrap();
    let mut seen = 0;
    for message in 0..100 {
        frame(&mut writer, &mut io, message, 0, 1, message);
        if message % 7 == 0 {
            writer.flush(&mut io);
            while reader.fill(&mut io, 100).unwrap() != Fill::End {}
            while let Some(event) = reader.next_event() {
                assert!(matches!(event, CaptureEvent::Message(_)));
                seen += 1;
            }
            assert_eq!(seen, message + 1);
            assert!(reader.torn().is_none() && !reader.is_over());
        }
    }
    writer.close(&mut io, WhyEnded::HopEnded);
    while reader.fill(&mut io, 100).unwrap() != Fill::End {}
    while let Some(event) = reader.next_event() {
        seen += u64::from(matches!(event, CaptureEvent::Message(_)));
    }
    assert!(seen == 100 && reader.is_over());
}

/// Reads whatever it is, and says how many events came.
pub(crate) fn read_any(bytes: &[u8]) -> Result<usize, ()> {
    let net = VirtualNet::new();
    net.put_file("a.cap", bytes);
    let mut io = Driver::from(net.driver());
    let mut reader = CaptureReader::open(&mut io, "a.cap".as_ref()).map_err(drop)?;
    let mut events = 0;
    loop {
        if reader.next_event().is_some() {
            events += 1;
        } else if reader.fill(&mut io, 4096).unwrap() == Fill::End {
            break;
        }
    }
    let _ = reader.torn();
    Ok(events)
}
