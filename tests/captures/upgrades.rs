//! Captures of frames that have another version since: upgraded where that is registered, refused before the start where it is not.

#![allow(
    clippy::disallowed_types,
    reason = "a test looks at what a sink saw after the run"
)]

use std::sync::{Arc, Mutex};

use hopline::adapter::{Captured, capture, captured};
use hopline::base::{Envelope, Flags};
use hopline::frame::capture::{CaptureKind, CaptureStart, WhyEnded};
use hopline::frame::{Frame, HeaderError, KindInfo, Upgrade, View};
use hopline::io::{CaptureWriter, Driver, IoError, VirtualNet};
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::topology::{Hop, Inline, Line, Report};

#[hopline::frame(schema = 950, version = 1, name = "price")]
struct PriceV1 {
    value: u32,
    is_bid: bool,
}

#[hopline::frame(schema = 950, version = 3, name = "price")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Price {
    value: u64,
    side: u8,
    venue: u16,
}

/// Never written: version 2 has no upgrade.
#[hopline::frame(schema = 950, version = 2, name = "price")]
struct PriceV2 {
    value: u64,
}

#[hopline::frame(schema = 951, version = 1, name = "pulse")]
struct Pulse {
    at: u64,
}

#[hopline::frame_set]
enum Prices {
    Price(Price),
    Pulse(Pulse),
}

impl Upgrade for Price {
    fn upgrade(from: u16, payload: &[u8], out: &mut [u8]) -> Result<usize, HeaderError> {
        match from {
            1 => {
                let old = PriceV1::read(payload)?;
                let new = Price {
                    value: old.value().into(),
                    side: if old.is_bid() { 1 } else { 2 },
                    venue: 7,
                };
                Ok(new.write(out)?)
            }
            _ => Err(Self::no_upgrade(from)),
        }
    }
}

const FILE: &str = "old.cap";

fn envelope(kind: u16, len: usize, flags: Flags) -> Envelope {
    Envelope {
        kind,
        len: len as u16,
        flags,
        ..Envelope::default()
    }
}

/// A capture of frames `F`, each a message, between pulses.
fn recorded<F: Frame>(net: &VirtualNet, frames: &[F]) {
    let mut io = Driver::from(net.driver());
    let kinds = [KindInfo::of::<F>(), KindInfo::of::<Pulse>()];
    let start = CaptureStart {
        kinds: kinds.iter().map(CaptureKind::of).collect(),
        ..CaptureStart::default()
    };
    let mut writer = CaptureWriter::create(&mut io, FILE.as_ref(), &start, 1 << 20).unwrap();
    let mut payload = [0; 96];
    let mut sequence = 0;
    let mut put = |writer: &mut CaptureWriter, kind: u16, payload: &[u8]| {
        let envelope = envelope(kind, payload.len(), Flags::WHOLE);
        writer.frame(&mut io, &envelope, payload, sequence);
        sequence += 1;
    };
    for (at, frame) in frames.iter().enumerate() {
        let len = frame.write(&mut payload).unwrap();
        put(&mut writer, F::SCHEMA, &payload[..len]);
        let len = Pulse { at: at as u64 }.write(&mut payload).unwrap();
        put(&mut writer, Pulse::SCHEMA, &payload[..len]);
    }
    let (counts, _) = writer.close(&mut io, WhyEnded::HopEnded);
    assert_eq!(counts.messages, 2 * frames.len() as u64);
}

/// A sink that keeps prices.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Vec<Price>>>);

impl Egress for Keep {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if frame.envelope.kind == Price::SCHEMA {
            let view = View::<Price>::read(frame.payload).unwrap();
            self.0.lock().unwrap().push(view.to_owned());
        }
        Delivery::Sent
    }
}

/// A replay by that decoder: the report and the prices that came, or why it did not start.
fn replayed(net: &VirtualNet, decoder: Captured<Prices>) -> Result<(Report, Vec<Price>), String> {
    let keep = Keep::default();
    let mut line = Line::builder("again");
    line.source("in", capture(FILE).speed(None).decode(decoder));
    line.sink("out", keep.clone());
    line.connect("in", "out", Hop::depth(512));
    let inline = Inline::new(net.driver().into());
    let ran = line.build().unwrap().run_inline(inline, None);
    let (report, _) = ran.map_err(|error| error.to_string())?;
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let kept = keep.0.lock().unwrap().clone();
    Ok((report, kept))
}

fn old() -> [PriceV1; 3] {
    [(10, true), (11, false), (12, true)].map(|(value, is_bid)| PriceV1 { value, is_bid })
}

#[test]
fn frames_of_an_older_version_are_upgraded_by_what_is_registered() {
    let net = VirtualNet::new();
    recorded(&net, &old());
    let (report, kept) = replayed(&net, captured().upgrades::<Price>()).unwrap();
    let price = |value, side| Price {
        value,
        side,
        venue: 7,
    };
    assert_eq!(kept, [price(10, 1), price(11, 2), price(12, 1)]);
    let source = &report.ledger.sources["in"];
    assert_eq!((source.received, source.ingested), (6, 6));
    // What was recorded is what was read, and its hash says so.
    assert_eq!(source.fidelity.as_ref().unwrap().hash_matches, Some(true));
    // Frames of this version need none.
    recorded(&net, &kept);
    let (_, again) = replayed(&net, captured()).unwrap();
    assert_eq!(again, kept);
    assert_eq!(
        replayed(&net, captured().upgrades::<Price>()).unwrap().1,
        kept
    );
}

#[test]
fn a_version_without_an_upgrade_is_refused_before_the_start() {
    let net = VirtualNet::new();
    recorded(&net, &old());
    let refusal = replayed(&net, captured()).unwrap_err();
    assert!(
        refusal.contains("old.cap with frames \"price\" of version 1, not 3"),
        "{refusal}"
    );
    assert!(refusal.contains("upgrade"), "{refusal}");
    // One that is registered and knows nothing of it.
    recorded(&net, &[PriceV2 { value: 3 }]);
    let refusal = replayed(&net, captured().upgrades::<Price>()).unwrap_err();
    assert!(refusal.contains("of version 2, not 3"), "{refusal}");
}

/// The frame as another program has it, which is ahead of this one.
#[hopline::frame(schema = 950, version = 4, name = "price")]
struct PriceV4 {
    value: u64,
}

#[test]
fn a_newer_version_is_refused_whatever_is_registered() {
    let net = VirtualNet::new();
    recorded(&net, &[PriceV4 { value: 3 }]);
    for decoder in [captured(), captured().upgrades::<Price>()] {
        let refusal = replayed(&net, decoder).unwrap_err();
        assert!(refusal.contains("of version 4, not 3"), "{refusal}");
    }
}

#[test]
fn a_payload_that_an_upgrade_cannot_read_is_refused_by_itself() {
    let net = VirtualNet::new();
    let good = old();
    recorded(&net, &good);
    let before = net.file(FILE).unwrap();
    // A bool that is neither, in a block whose check sum is right: the recorder wrote it so.
    let mut io = Driver::from(net.driver());
    let start = CaptureStart {
        kinds: vec![CaptureKind::of(&KindInfo::of::<PriceV1>())],
        ..CaptureStart::default()
    };
    let mut writer = CaptureWriter::create(&mut io, FILE.as_ref(), &start, 1 << 20).unwrap();
    let mut payload = [0; 96];
    for (sequence, frame) in good.iter().enumerate() {
        let len = frame.write(&mut payload).unwrap();
        if sequence == 1 {
            payload[..len].fill(9);
        }
        let envelope = envelope(950, len, Flags::WHOLE);
        writer.frame(&mut io, &envelope, &payload[..len], sequence as u64);
    }
    writer.close(&mut io, WhyEnded::HopEnded);
    assert_ne!(net.file(FILE).unwrap(), before);
    let (report, kept) = replayed(&net, captured().upgrades::<Price>()).unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(report.ledger.sources["in"].rejected["corrupt"], 1);
}
