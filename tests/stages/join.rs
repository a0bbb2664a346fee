//! A book that is live is what the exchange's book was at that id, whatever was lost on the way.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use hopline::base::Prng;
use hopline::feed::market::Left;
use hopline::stages::{BookState, Top};
use hopline::topology::{Hop, Line};
use proptest::prelude::*;

use crate::book::{Sides, Watched, spec};
use crate::tape::{Tape, Timed, Wire, keep, run};

/// What happens next at the exchange or on the way from it.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The book changes, and the change arrives.
    Change,
    /// The book changes, and the change is lost.
    Lost,
    /// The last change that arrived comes once more.
    Again,
    /// A snapshot arrives that was taken that many changes ago.
    Snapshot(usize),
    /// The top arrives as a bookTicker.
    Ticker,
    /// A trade arrives.
    Trade,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => Just(Step::Change),
        1 => Just(Step::Lost),
        1 => Just(Step::Again),
        2 => (0usize..6).prop_map(Step::Snapshot),
        2 => Just(Step::Ticker),
        1 => Just(Step::Trade),
    ]
}

/// The exchange: its book at every id, and the text of what it sends.
struct Exchange {
    prng: Prng,
    with_prev: bool,
    /// The book after each change, by the change's last id.
    truth: Vec<(u64, Sides)>,
    trades: u64,
    last_change: Option<String>,
}

impl Exchange {
    fn new(seed: u64, with_prev: bool) -> Exchange {
        Exchange {
            prng: Prng::new(seed),
            with_prev,
            truth: vec![(1_000, Sides::default())],
            trades: 0,
            last_change: None,
        }
    }

    fn now(&self) -> &(u64, Sides) {
        self.truth.last().unwrap()
    }

    /// A change of up to 40 levels a side, so that it may have more fragments than a batch.
    fn change(&mut self) -> String {
        let (prev, mut sides) = self.now().clone();
        // Where the product names no predecessor, ids follow each other without gaps.
        let first = prev
            + 1
            + if self.with_prev {
                self.prng.below(3)
            } else {
                0
            };
        let last = first + self.prng.below(4);
        let mut texts = [String::new(), String::new()];
        for (text, base) in texts.iter_mut().zip([100, 200]) {
            let mut levels = Vec::new();
            for _ in 0..self.prng.below(41) {
                let (price, qty) = (base + self.prng.below(60), self.prng.below(3));
                levels.push(format!(r#"["{price}","{qty}"]"#));
                let side = if base == 100 {
                    &mut sides.bids
                } else {
                    &mut sides.asks
                };
                let price = price as i64 * 100_000_000;
                if qty == 0 {
                    side.remove(&price);
                } else {
                    side.insert(price, qty as i64 * 100_000_000);
                }
            }
            *text = levels.join(",");
        }
        self.truth.push((last, sides));
        let pu = if self.with_prev {
            format!(r#""pu":{prev},"#)
        } else {
            String::new()
        };
        let [bids, asks] = texts;
        let text = format!(
            r#"{{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":{first},"u":{last},{pu}"b":[{bids}],"a":[{asks}]}}"#
        );
        self.last_change = Some(text.clone());
        text
    }

    fn snapshot(&self, ago: usize) -> String {
        let at = self.truth.len().saturating_sub(1 + ago);
        let (id, sides) = &self.truth[at];
        let text = |side: &BTreeMap<i64, i64>| {
            let level = |(price, qty): (&i64, &i64)| {
                format!(r#"["{}","{}"]"#, price / 100_000_000, qty / 100_000_000)
            };
            side.iter().map(level).collect::<Vec<_>>().join(",")
        };
        let (bids, asks) = (text(&sides.bids), text(&sides.asks));
        format!(r#"{{"lastUpdateId":{id},"bids":[{bids}],"asks":[{asks}]}}"#)
    }

    fn ticker(&self) -> Option<String> {
        let (id, sides) = self.now();
        let [bid, ask] = sides
            .top()?
            .map(|(p, q)| (p / 100_000_000, q / 100_000_000));
        Some(format!(
            r#"{{"e":"bookTicker","u":{id},"s":"BTCUSDT","b":"{}","B":"{}","a":"{}","A":"{}"}}"#,
            bid.0, bid.1, ask.0, ask.1
        ))
    }

    fn message(&mut self, step: Step) -> Option<String> {
        match step {
            Step::Change => Some(self.change()),
            Step::Lost => {
                self.change();
                None
            }
            Step::Again => self.last_change.clone(),
            Step::Snapshot(ago) => Some(self.snapshot(ago)),
            Step::Ticker => self.ticker(),
            Step::Trade => {
                self.trades += 1;
                let id = self.trades;
                Some(format!(
                    r#"{{"e":"trade","s":"BTCUSDT","t":{id},"p":"{}","q":"1","m":false}}"#,
                    150 + id % 2
                ))
            }
        }
    }
}

fn check(seed: u64, with_prev: bool, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut exchange = Exchange::new(seed, with_prev);
    let mut texts: Vec<String> = steps
        .iter()
        .filter_map(|step| exchange.message(*step))
        .collect();
    // Whatever happened before, a snapshot of now makes the book live, and a change keeps it so.
    texts.push(exchange.snapshot(0));
    texts.push(exchange.change());
    let end_id = exchange.now().0;
    let truth: Arc<BTreeMap<u64, Sides>> = Arc::new(exchange.truth.into_iter().collect());
    let messages: Vec<Timed> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| (at as u64 * 1_000, text.as_bytes().to_vec()))
        .collect();
    let count = messages.len();

    let (seen_tx, seen) = mpsc::sync_channel(count);
    let (tops, got_tops) = keep::<Top>();
    let (log, got_log) = keep::<Left>();
    let mut line = Line::builder("join");
    line.source("btc", Tape::new(messages, Wire::new("BTCUSDT", 0)));
    line.stage("book", move || {
        let (truth, seen_tx) = (truth.clone(), seen_tx.clone());
        Watched::new(&spec(), move |book, symbol| {
            let (state, id) = (book.state(symbol).unwrap(), book.last_id(symbol));
            if state == BookState::Live {
                assert_eq!(Some(&Sides::of(book, symbol)), truth.get(&id), "at id {id}");
            }
            seen_tx.try_send((state, id)).unwrap();
        })
    });
    line.sink("tops", tops);
    line.sink("log", log);
    line.connect("btc", "book", Hop::depth(1024));
    line.connect("book.top", "tops", Hop::depth(64));
    line.connect("book.log", "log", Hop::depth(64));
    let report = run(line.build().unwrap());
    prop_assert!(
        report.is_good(),
        "{:?} {:?}",
        report.faults,
        report.ledger.breaches
    );

    let seen: Vec<_> = seen.iter().collect();
    prop_assert_eq!(seen.len(), count);
    prop_assert_eq!(seen.last(), Some(&(BookState::Live, end_id)));
    prop_assert_eq!(got_log.iter().count(), count);
    // Every change of the state was shown.
    let mut states: Vec<BookState> = seen.iter().map(|(state, _)| *state).collect();
    states.dedup();
    let mut shown: Vec<BookState> = got_tops.iter().map(|top| top.state).collect();
    shown.dedup();
    states.retain(|state| *state != BookState::Empty);
    shown.retain(|state| *state != BookState::Empty);
    prop_assert_eq!(shown, states);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_live_book_is_what_the_exchanges_was(
        seed in any::<u64>(),
        with_prev in any::<bool>(),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        check(seed, with_prev, &steps)?;
    }
}

#[test]
fn a_lost_change_makes_the_book_stale_until_a_snapshot_repairs_it() {
    use Step::{Change, Lost, Snapshot};
    let mut exchange = Exchange::new(1, true);
    let steps = [
        Change,
        Change,
        Snapshot(1),
        Change,
        Lost,
        Change,
        Change,
        Snapshot(3),
        Snapshot(1),
        Change,
    ];
    let messages: Vec<Timed> = steps
        .iter()
        .filter_map(|step| exchange.message(*step))
        .map(|text| (0, text.into_bytes()))
        .collect();
    let (seen_tx, seen) = mpsc::sync_channel(16);
    let (tops, _got) = keep::<Top>();
    let mut line = Line::builder("gap");
    line.source("btc", Tape::new(messages, Wire::new("BTCUSDT", 0)));
    line.stage("book", move || {
        let seen_tx = seen_tx.clone();
        Watched::new(&spec(), move |book, symbol| {
            seen_tx.try_send(book.state(symbol).unwrap()).unwrap();
        })
    });
    line.sink("tops", tops);
    line.connect("btc", "book", Hop::depth(1024));
    line.connect("book", "tops", Hop::depth(64));
    let report = run(line.build().unwrap());
    let seen: Vec<BookState> = seen.iter().collect();
    use BookState::{Empty, Live, Stale};
    assert_eq!(
        seen,
        [Empty, Empty, Live, Live, Stale, Stale, Stale, Live, Live]
    );
    let book = report
        .stages
        .iter()
        .find(|stage| stage.name == "book")
        .unwrap();
    assert_eq!(book.absorbed["snapshot_too_old"], 1);
    assert_eq!(book.absorbed["awaits_snapshot"], 3);
    assert!(report.is_good());
}
