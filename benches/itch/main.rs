//! What reading binary market data costs: TotalView-ITCH 5.0 beside the crate itch5 on the same bytes, DEEP
//! and TOPS, and books of both.
//!
//! Packets are those of the simulated exchanges, 1,400 bytes or so each. *fields* opens a packet, finds each
//! message, checking its length, and adds up every field; *fields, whole packets* checks all lengths of a packet before
//! its first message, as a sequenced feed does; itch5 is given the same packets
//! behind their headers. *books* opens, reads and applies each message; *two lines* takes the packets of two
//! lines into one feed before that. `null` walks over the packets without opening them. Subjects take turns
//! round by round, in another order, so that a busy neighbour slows all of them; the median round counts, and a ratio is one within
//! a round.
//!
//! The bars, on one core: ITCH fields at least 30 million messages a second and level with itch5, books of
//! orders 5 million, DEEP and TOPS fields 20 million.
//!
//! Run: `cargo bench --bench itch`.

use std::hint::black_box;

use hopline::base::addresses;
use hopline::feed::books::levels::{LevelBooks, LevelBooksSpec};
use hopline::feed::books::orders::{OrderBooks, OrderBooksSpec};
use hopline::feed::packets::{PacketReject, Transport, Unchecked};
use hopline::feed::sequenced::{Delivery, Params, Sequenced, Sink};
use hopline::feed::simulated::{Feed, Levels, Lines, LinesSpec, Orders, Saying};
use hopline::feed::{Arrivals, Schedule, deep, iextp, itch, moldudp64, tops};
use hopline::host::lay_on_huge_pages;

mod ours;
mod sum;
mod theirs;

use sum::Sum;

/// What the others are compared with.
const RIVAL: &str = "itch fields itch5";

const ROUNDS: usize = 15;
const MESSAGES: u64 = 400_000;
const SYMBOLS: u16 = 4_000;
const OPEN_ORDERS: usize = 200_000;

/// Packets one behind the other, and where each ends.
struct Packets {
    transport: Transport,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Packets {
    fn of(saying: Saying, lines: usize) -> (Packets, Vec<(usize, u64)>) {
        let spec = LinesSpec {
            messages: MESSAGES,
            lines,
            ..LinesSpec::default()
        };
        let schedule = Schedule::new(8e6, Arrivals::Constant, 1).unwrap();
        let mut lines = Lines::new(&spec, saying, schedule);
        let mut packets = Packets {
            transport: lines.transport(),
            bytes: Vec::new(),
            ends: Vec::new(),
        };
        let mut arrivals = Vec::new();
        while let Some(sent) = lines.next() {
            packets.bytes.extend_from_slice(sent.bytes);
            packets.ends.push(packets.bytes.len());
            arrivals.push((sent.line, sent.at_ns));
        }
        lay_on_huge_pages(&[addresses(&packets.bytes)]);
        (packets, arrivals)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let packet = &self.bytes[start..*end];
            start = *end;
            packet
        })
    }

    /// Every message of every packet, lengths checked as they are reached; `open` is that of the transport, which whoever reads
    /// a feed knows.
    #[inline(always)]
    fn each<'p>(
        &'p self,
        open: impl Fn(&'p [u8]) -> Result<Unchecked<'p>, PacketReject>,
        mut take: impl FnMut(&[u8]),
    ) {
        for packet in black_box(self).iter() {
            let opened = open(packet).expect("a packet without fault");
            let read = opened.each(&mut take);
            read.expect("a packet without fault");
        }
    }

    /// The same, each packet checked as a whole before its first message.
    #[inline]
    fn each_checked(&self, mut take: impl FnMut(&[u8])) {
        for packet in black_box(self).iter() {
            let packet = self
                .transport
                .parse(packet)
                .expect("a packet without fault");
            for message in packet.messages {
                take(message);
            }
        }
    }
}

macro_rules! add {
    ($sum:ident, $m:ident; $($bytes:ident)*; $($numbers:ident)*; $($prices:ident)*) => {
        $sum.wrapping_add(u64::from($m.kind))
            $(.wrapping_add(u64::from($m.$bytes)))*
            $(.wrapping_add($m.$numbers.get() as u64))*
            $(.wrapping_add($m.$prices.units() as u64))*
    };
}

macro_rules! shared {
    ($feed:ident, $bytes:ident, $sum:ident; $($own:tt)*) => {
        match $feed::decode($bytes) {
            Ok($feed::Message::SystemEvent(m)) => add!($sum, m; event; timestamp;),
            Ok($feed::Message::SecurityDirectory(m)) => {
                add!($sum, m; flags luld_tier; timestamp round_lot_size; adjusted_close).wrapping_add(m.symbol.key())
            }
            Ok($feed::Message::TradingStatus(m)) => add!($sum, m; status; timestamp;)
                .wrapping_add(m.symbol.key())
                .wrapping_add(u64::from(u32::from_le_bytes(m.reason))),
            Ok($feed::Message::RetailLiquidity(m)) => {
                add!($sum, m; indicator; timestamp;).wrapping_add(m.symbol.key())
            }
            Ok($feed::Message::OperationalHalt(m)) => {
                add!($sum, m; status; timestamp;).wrapping_add(m.symbol.key())
            }
            Ok($feed::Message::ShortSaleStatus(m)) => {
                add!($sum, m; status detail; timestamp;).wrapping_add(m.symbol.key())
            }
            Ok($feed::Message::TradeReport(m) | $feed::Message::TradeBreak(m)) => {
                add!($sum, m; flags; timestamp size trade_id; price).wrapping_add(m.symbol.key())
            }
            Ok($feed::Message::OfficialPrice(m)) => {
                add!($sum, m; price_type; timestamp; price).wrapping_add(m.symbol.key())
            }
            Ok($feed::Message::AuctionInformation(m)) => add!(
                $sum, m; auction imbalance_side extension; timestamp paired imbalance scheduled_s;
                reference indicative book_clearing collar_reference collar_lower collar_upper
            ).wrapping_add(m.symbol.key()),
            $($own)*
            Err(_) => $sum,
        }
    };
}

#[inline]
fn deep_fields(sum: u64, bytes: &[u8]) -> u64 {
    shared!(deep, bytes, sum;
        Ok(deep::Message::SecurityEvent(m)) => add!(sum, m; event; timestamp;).wrapping_add(m.symbol.key()),
        Ok(deep::Message::PriceLevelBuy(m) | deep::Message::PriceLevelSell(m)) => {
            add!(sum, m; flags; timestamp size; price).wrapping_add(m.symbol.key())
        }
    )
}

#[inline]
fn tops_fields(sum: u64, bytes: &[u8]) -> u64 {
    shared!(tops, bytes, sum;
        Ok(tops::Message::QuoteUpdate(m)) => {
            add!(sum, m; flags; timestamp bid_size ask_size; bid ask).wrapping_add(m.symbol.key())
        }
    )
}

fn our_sum(packets: &Packets) -> Sum {
    let mut sum = Sum::default();
    packets.each(moldudp64::open, |message| {
        ours::add_message(&mut sum, message)
    });
    sum
}

fn our_sum_checked(packets: &Packets) -> Sum {
    let mut sum = Sum::default();
    packets.each_checked(|message| ours::add_message(&mut sum, message));
    sum
}

fn their_sum(packets: &Packets) -> Sum {
    let mut sum = Sum::default();
    for packet in black_box(packets).iter() {
        theirs::add_messages(&mut sum, &packet[moldudp64::HEADER_BYTES..]);
    }
    sum
}

/// Books as the sink of a feed.
struct Books(OrderBooks);

impl Sink for Books {
    #[inline]
    fn message(&mut self, m: &Delivery<'_>) {
        apply(&mut self.0, m.bytes);
    }
}

#[inline]
fn apply(books: &mut OrderBooks, bytes: &[u8]) {
    if let Ok(message) = itch::decode(bytes) {
        let _counted = books.apply(&message);
    }
}

fn order_books() -> OrderBooks {
    let spec = OrderBooksSpec {
        symbols: SYMBOLS.into(),
        depth: 32,
        orders: OPEN_ORDERS,
        seed: 1,
    };
    let books = OrderBooks::new(&spec).unwrap();
    // As the stage does.
    lay_on_huge_pages(&books.spans());
    books
}

/// A thing to measure: its name and a round, which says how many nanoseconds a message took.
struct Subject<'s> {
    name: &'static str,
    round: Box<dyn FnMut() -> f64 + 's>,
    rounds_ns: Vec<f64>,
}

/// How long a call takes, in nanoseconds a message.
fn timed(call: impl FnOnce()) -> f64 {
    let start = quanta::Instant::now();
    call();
    start.elapsed().as_nanos() as f64 / MESSAGES as f64
}

fn main() {
    let orders = || Saying::Orders(Orders::new(1, SYMBOLS, OPEN_ORDERS));
    let levels = |feed| Saying::Levels(Levels::new(feed, 1, SYMBOLS));
    let (itch, _) = Packets::of(orders(), 1);
    let (two, arrivals) = Packets::of(orders(), 2);
    let (deep, _) = Packets::of(levels(Feed::Deep), 1);
    let (tops, _) = Packets::of(levels(Feed::Tops), 1);

    let (ours, theirs) = (our_sum(&itch), their_sum(&itch));
    assert_eq!((ours.messages, ours.numbers), (MESSAGES, theirs.numbers));

    let mut subjects = Vec::new();
    let mut add = |name, round: Box<dyn FnMut() -> f64>| {
        let rounds_ns = Vec::with_capacity(ROUNDS);
        subjects.push(Subject {
            name,
            round,
            rounds_ns,
        });
    };
    // Leaked, so that boxes of one type may look at them: they live as long as the process.
    let [itch, two, deep, tops] =
        [itch, two, deep, tops].map(|packets| &*Box::leak(Box::new(packets)));
    add(
        "null",
        Box::new(move || {
            timed(|| {
                for packet in black_box(itch).iter() {
                    black_box(packet.first());
                }
            })
        }),
    );
    add(
        "itch fields hopline",
        Box::new(move || timed(|| _ = black_box(our_sum(itch)))),
    );
    add(
        "itch fields, whole packets",
        Box::new(move || timed(|| _ = black_box(our_sum_checked(itch)))),
    );
    add(
        RIVAL,
        Box::new(move || timed(|| _ = black_box(their_sum(itch)))),
    );
    let mut books = order_books();
    add(
        "itch books",
        Box::new(move || {
            books.clear();
            timed(|| itch.each(moldudp64::open, |message| apply(&mut books, message)))
        }),
    );
    let mut books = Books(order_books());
    add(
        "itch two lines, books",
        Box::new(move || {
            books.0.clear();
            let mut feed = Sequenced::new(&Params::of(two.transport)).unwrap();
            timed(|| {
                for (packet, (line, at_ns)) in black_box(two).iter().zip(&arrivals) {
                    let taken = feed.packet(*line, packet, *at_ns, &mut books);
                    assert!(taken.is_ok());
                }
            })
        }),
    );
    add(
        "deep fields",
        Box::new(move || {
            timed(|| {
                let mut sum = 0;
                deep.each(iextp::open, |message| sum = deep_fields(sum, message));
                black_box(sum);
            })
        }),
    );
    add(
        "tops fields",
        Box::new(move || {
            timed(|| {
                let mut sum = 0;
                tops.each(iextp::open, |message| sum = tops_fields(sum, message));
                black_box(sum);
            })
        }),
    );
    let spec = LevelBooksSpec {
        symbols: SYMBOLS.into(),
        depth: 32,
    };
    let mut books = LevelBooks::new(&spec).unwrap();
    lay_on_huge_pages(&books.spans());
    add(
        "deep books",
        Box::new(move || {
            books.clear();
            timed(|| {
                deep.each(iextp::open, |message| {
                    if let Ok(message) = deep::decode(message) {
                        let _counted = books.apply(&message);
                    }
                });
            })
        }),
    );

    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            let subject = &mut subjects[at];
            // Whoever reads a feed first fetches it for those behind; so each has read it once before it counts.
            (subject.round)();
            let ns = (subject.round)();
            subject.rounds_ns.push(ns);
        }
    }
    println!(
        "{:<27} {:>10} {:>10} {:>12}   x itch5 (lowest-highest)",
        "subject", "p50 ns", "max ns", "million/s"
    );
    let rival = subjects.iter().find(|subject| subject.name == RIVAL);
    let rivals_ns = rival.expect("it is one of them").rounds_ns.clone();
    for subject in &subjects {
        let [_, p50, max] = spread(subject.rounds_ns.clone());
        let ratio = if subject.name.starts_with("itch fields") && subject.name != RIVAL {
            let pairs = rivals_ns.iter().zip(&subject.rounds_ns);
            let [low, middle, high] = spread(pairs.map(|(theirs, ours)| theirs / ours).collect());
            format!("{middle:.2} ({low:.2}-{high:.2})")
        } else {
            String::new()
        };
        println!(
            "{:<27} {p50:>10.2} {max:>10.2} {:>12.1}   {ratio}",
            subject.name,
            1e3 / p50
        );
    }
}

/// The lowest, the middle one and the highest.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_unstable_by(f64::total_cmp);
    [
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    ]
}
