//! Books of orders and of price levels against maps that keep everything, whole and where there is no
//! room, and each way in which a message can be about nothing.

use std::collections::{BTreeMap, HashMap};

use hopline::base::{Prng, Reason as _};
use hopline::feed::books::levels::{LevelBooks, LevelBooksSpec};
use hopline::feed::books::orders::{OrderBooks, OrderBooksSpec};
use hopline::feed::books::{Applied, BookReject, BooksError, Level, Side};
use hopline::feed::itch::{AddOrder, Head, Message, OrderCancel, OrderReplace, StockDirectory};
use hopline::feed::simulated::{Feed, Levels, Orders, symbol};
use hopline::feed::views::{Price4, SignedPrice4, Symbol8};
use hopline::feed::{deep, iex, itch};
use zerocopy::FromZeros;

/// Prices with shares and orders, of a side of a symbol: all there are.
type Full = HashMap<(u32, bool), BTreeMap<i64, (u64, u32)>>;

/// What a side shows must be the best of all there are, whole as far as it goes.
fn shows_the_best(
    side: Side<'_>,
    full: Option<&BTreeMap<i64, (u64, u32)>>,
    is_buy: bool,
    depth: usize,
) {
    let empty = BTreeMap::new();
    let full = full.unwrap_or(&empty);
    let level = |(price, (shares, orders)): (&i64, &(u64, u32))| Level {
        price: *price,
        shares: *shares,
        orders: *orders,
    };
    let mut best: Vec<Level> = full.iter().map(level).collect();
    if is_buy {
        best.reverse();
    }
    let shown: Vec<Level> = side.levels().collect();
    assert!(shown.len() <= depth);
    assert_eq!(shown, best[..shown.len()]);
    assert_eq!(side.best(), shown.first().copied());
    if side.is_whole() {
        assert_eq!(shown.len(), best.len());
    }
    assert_eq!(side.is_unknown(), shown.is_empty() && !side.is_whole());
}

fn orders_are_what_maps_say(depth: usize, seed: u64) {
    let spec = OrderBooksSpec {
        symbols: 20,
        depth,
        orders: 3_000,
        seed,
    };
    let mut books = OrderBooks::new(&spec).unwrap();
    let mut exchange = Orders::new(seed, 20, 3_000);
    let (mut full, mut open) = (Full::new(), HashMap::new());
    let mut buffer = [0; itch::MESSAGE_BYTES_MAX];
    let take = |full: &mut Full,
                reference: u64,
                shares: Option<u32>,
                open: &mut HashMap<u64, (u32, bool, i64, u32)>| {
        let (symbol, is_buy, price, left) = open.get_mut(&reference).unwrap();
        let shares = shares.unwrap_or(*left);
        *left -= shares;
        let level = full.get_mut(&(*symbol, *is_buy)).unwrap();
        let entry = level.get_mut(price).unwrap();
        entry.0 -= u64::from(shares);
        if *left == 0 {
            entry.1 -= 1;
            if entry.1 == 0 {
                level.remove(price);
            }
            open.remove(&reference);
        }
    };
    let enter = |full: &mut Full,
                 reference: u64,
                 order: (u32, bool, i64, u32),
                 open: &mut HashMap<_, _>| {
        let level = full.entry((order.0, order.1)).or_default();
        let entry = level.entry(order.2).or_default();
        *entry = (entry.0 + u64::from(order.3), entry.1 + 1);
        open.insert(reference, order);
    };
    for nth in 0..30_000 {
        let len = exchange.next(nth, &mut buffer);
        let message = itch::decode(&buffer[..len]).unwrap();
        let applied = books.apply(&message).unwrap();
        match message {
            Message::AddOrder(_) | Message::AddOrderMpid(_) => {
                let (Message::AddOrder(m)
                | Message::AddOrderMpid(itch::AddOrderMpid { add: m, .. })) = message
                else {
                    panic!();
                };
                let price = i64::from(m.price.units());
                let order = (
                    books.index(m.head.locate.get()).unwrap(),
                    m.side == b'B',
                    price,
                    m.shares.get(),
                );
                enter(&mut full, m.reference.get(), order, &mut open);
            }
            Message::OrderExecuted(m) => take(
                &mut full,
                m.reference.get(),
                Some(m.shares.get()),
                &mut open,
            ),
            Message::OrderExecutedPrice(m) => take(
                &mut full,
                m.reference.get(),
                Some(m.shares.get()),
                &mut open,
            ),
            Message::OrderCancel(m) => take(
                &mut full,
                m.reference.get(),
                Some(m.shares.get()),
                &mut open,
            ),
            Message::OrderDelete(m) => take(&mut full, m.reference.get(), None, &mut open),
            Message::OrderReplace(m) => {
                let (symbol, is_buy, ..) = open[&m.reference.get()];
                take(&mut full, m.reference.get(), None, &mut open);
                let order = (symbol, is_buy, i64::from(m.price.units()), m.shares.get());
                enter(&mut full, m.new_reference.get(), order, &mut open);
            }
            Message::StockDirectory(m) => {
                let index = books.index(m.head.locate.get()).unwrap();
                assert_eq!(books.symbol(index), Some(m.stock));
            }
            _ => assert_eq!(applied, Applied::Nothing),
        }
        assert_eq!(books.open(), open.len());
        if let Applied::Book(index) = applied {
            shows_the_best(books.bids(index), full.get(&(index, true)), true, depth);
            shows_the_best(books.asks(index), full.get(&(index, false)), false, depth);
        }
    }
    let counts = books.counts();
    assert_eq!(counts.messages(), 30_000);
    assert_eq!(counts.rejected.iter().sum::<u64>(), 0);
    assert_eq!(counts.hidden > 0, depth < 10, "{}", counts.hidden);
    assert!(counts.applied > 25_000 && open.len() > 500);
    // Out of a few prices comes one that is not known, and back.
    for reference in open.keys().copied().collect::<Vec<_>>() {
        let mut delete = itch::OrderDelete::new_zeroed();
        delete.reference.set(reference);
        assert!(books.apply(&Message::OrderDelete(&delete)).is_ok());
    }
    for index in 0..books.symbols() as u32 {
        assert_eq!(books.top(index), (None, None));
        assert!(books.bids(index).is_whole() && books.asks(index).is_whole());
    }
}

#[test]
fn books_of_orders_are_what_maps_say() {
    for (depth, seed) in [(1, 1), (3, 2), (64, 3)] {
        orders_are_what_maps_say(depth, seed);
    }
}

#[test]
fn books_of_levels_are_what_maps_say() {
    for depth in [2, 6, 64] {
        let mut books = LevelBooks::new(&LevelBooksSpec { symbols: 30, depth }).unwrap();
        let mut exchange = Levels::new(Feed::Deep, 5, 30);
        let mut full = Full::new();
        let mut buffer = [0; iex::MESSAGE_BYTES_MAX];
        for nth in 0..30_000 {
            let len = exchange.next(nth, &mut buffer);
            let message = deep::decode(&buffer[..len]).unwrap();
            let applied = books.apply(&message).unwrap();
            let (m, is_buy) = match message {
                deep::Message::PriceLevelBuy(m) => (m, true),
                deep::Message::PriceLevelSell(m) => (m, false),
                _ => continue,
            };
            let index = books.index(m.symbol).unwrap();
            assert_eq!(applied, Applied::Book(index));
            assert_eq!(books.is_settled(index), m.flags & 1 == 1);
            let level = full.entry((index, is_buy)).or_default();
            match u64::from(m.size.get()) {
                0 => drop(level.remove(&m.price.units())),
                size => drop(level.insert(m.price.units(), (size, 0))),
            }
            shows_the_best(books.bids(index), full.get(&(index, true)), true, depth);
            shows_the_best(books.asks(index), full.get(&(index, false)), false, depth);
        }
        assert_eq!(books.counts().hidden > 0, depth < 20);
        assert_eq!(books.counts().messages(), 30_000);
    }
}

fn directory(locate: u16) -> StockDirectory {
    let mut directory = StockDirectory::new_zeroed();
    (directory.head, directory.stock) = (Head::new(b'R', locate, 0), symbol(locate));
    directory
}

fn add(reference: u64, locate: u16, side: u8, shares: u32, price: u32) -> AddOrder {
    let mut add = AddOrder::new_zeroed();
    (add.head, add.side) = (Head::new(b'A', locate, 0), side);
    (add.reference, add.shares, add.price) = (reference.into(), shares.into(), Price4::new(price));
    add
}

#[test]
fn an_order_message_about_nothing_has_its_reason_and_changes_nothing() {
    let spec = OrderBooksSpec {
        symbols: 2,
        depth: 4,
        orders: 3,
        seed: 1,
    };
    let mut books = OrderBooks::new(&spec).unwrap();
    let apply = |books: &mut OrderBooks, message: Message<'_>, reject: BookReject| {
        let (hash, count) = (books.state_hash(), books.counts().rejected[reject.index()]);
        assert_eq!(books.apply(&message), Err(reject));
        assert_eq!(books.counts().rejected[reject.index()], count + 1);
        let is_gone = reject == BookReject::TooManyShares;
        assert_eq!(books.state_hash() == hash, !is_gone, "{reject:?}");
    };
    for locate in [3, 9] {
        books
            .apply(&Message::StockDirectory(&directory(locate)))
            .unwrap();
    }
    apply(
        &mut books,
        Message::StockDirectory(&directory(4)),
        BookReject::NoRoomForSymbol,
    );
    apply(
        &mut books,
        Message::AddOrder(&add(1, 4, b'B', 5, 100)),
        BookReject::UnknownSymbol,
    );
    apply(
        &mut books,
        Message::AddOrder(&add(1, 3, b'X', 5, 100)),
        BookReject::UnknownSide,
    );
    apply(
        &mut books,
        Message::AddOrder(&add(1, 3, b'B', 0, 100)),
        BookReject::NoShares,
    );
    for reference in 1..=3 {
        books
            .apply(&Message::AddOrder(&add(reference, 3, b'B', 5, 100)))
            .unwrap();
    }
    apply(
        &mut books,
        Message::AddOrder(&add(1, 3, b'B', 5, 100)),
        BookReject::DuplicateOrder,
    );
    apply(
        &mut books,
        Message::AddOrder(&add(4, 3, b'B', 5, 100)),
        BookReject::NoRoomForOrder,
    );
    let mut cancel = OrderCancel::new_zeroed();
    (cancel.reference, cancel.shares) = (7.into(), 1.into());
    apply(
        &mut books,
        Message::OrderCancel(&cancel),
        BookReject::UnknownOrder,
    );
    let mut replace = OrderReplace::new_zeroed();
    (replace.reference, replace.new_reference, replace.shares) = (7.into(), 8.into(), 1.into());
    apply(
        &mut books,
        Message::OrderReplace(&replace),
        BookReject::UnknownOrder,
    );
    (replace.reference, replace.new_reference) = (1.into(), 2.into());
    apply(
        &mut books,
        Message::OrderReplace(&replace),
        BookReject::DuplicateOrder,
    );
    replace.shares.set(0);
    apply(
        &mut books,
        Message::OrderReplace(&replace),
        BookReject::NoShares,
    );
    (cancel.reference, cancel.shares) = (1.into(), 6.into());
    apply(
        &mut books,
        Message::OrderCancel(&cancel),
        BookReject::TooManyShares,
    );
    assert_eq!(
        (books.open(), books.bids(0).best().map(|best| best.orders)),
        (2, Some(2))
    );
    books.clear();
    assert_eq!(
        (books.open(), books.symbols(), books.index(3)),
        (0, 0, None)
    );
}

#[test]
fn a_level_message_about_nothing_has_its_reason() {
    let mut books = LevelBooks::new(&LevelBooksSpec {
        symbols: 1,
        depth: 2,
    })
    .unwrap();
    let mut directory = iex::SecurityDirectory::new_zeroed();
    directory.symbol = Symbol8::new("ZIEXT");
    let mut level = iex::PriceLevel::new_zeroed();
    (level.symbol, level.price) = (Symbol8::new("ZIEXT"), SignedPrice4::new(-1));
    let announce = deep::Message::SecurityDirectory(&directory);
    assert_eq!(
        books.apply(&deep::Message::PriceLevelBuy(&level)),
        Err(BookReject::UnknownSymbol)
    );
    assert_eq!(books.apply(&announce), Ok(Applied::Book(0)));
    assert_eq!(
        books.apply(&announce),
        Ok(Applied::Book(0)),
        "twice is the same"
    );
    assert_eq!(
        books.apply(&deep::Message::PriceLevelBuy(&level)),
        Err(BookReject::BadPrice)
    );
    directory.symbol = Symbol8::new("OTHER");
    let announce = deep::Message::SecurityDirectory(&directory);
    assert_eq!(books.apply(&announce), Err(BookReject::NoRoomForSymbol));
    assert_eq!(books.counts().messages(), 5);
}

#[test]
fn specs_out_of_bounds_are_refused() {
    let spec = OrderBooksSpec::default();
    let bad = |spec: OrderBooksSpec| OrderBooks::new(&spec).unwrap_err();
    assert_eq!(
        bad(OrderBooksSpec { symbols: 0, ..spec }),
        BooksError::Symbols(0)
    );
    assert_eq!(
        bad(OrderBooksSpec {
            depth: 5_000,
            ..spec
        }),
        BooksError::Depth(5_000)
    );
    assert_eq!(
        bad(OrderBooksSpec { orders: 0, ..spec }),
        BooksError::Orders(0)
    );
    let huge = OrderBooksSpec {
        symbols: 1 << 16,
        depth: 4_096,
        ..spec
    };
    assert!(matches!(bad(huge), BooksError::Memory(_)));
}

#[test]
fn the_same_messages_give_the_same_hash_and_another_seed_of_the_table_too() {
    let run = |table_seed: u64, seed: u64| {
        let spec = OrderBooksSpec {
            symbols: 10,
            depth: 8,
            orders: 500,
            seed: table_seed,
        };
        let mut books = OrderBooks::new(&spec).unwrap();
        let mut exchange = Orders::new(seed, 10, 500);
        let mut buffer = [0; itch::MESSAGE_BYTES_MAX];
        for nth in 0..5_000 {
            let len = exchange.next(nth, &mut buffer);
            books.apply(&itch::decode(&buffer[..len]).unwrap()).unwrap();
        }
        books.state_hash()
    };
    assert_eq!(run(1, 1), run(2, 1));
    assert_ne!(run(1, 1), run(1, 2));
}

#[test]
fn bytes_that_make_no_sense_leave_books_in_order() {
    let spec = OrderBooksSpec {
        symbols: 4,
        depth: 3,
        orders: 50,
        seed: 1,
    };
    let (mut books, mut prng) = (OrderBooks::new(&spec).unwrap(), Prng::new(1));
    for (nth, locate) in (0..200_000).zip((0..4).cycle()) {
        let kind = b"AXEDUR"[prng.below(6) as usize];
        let len = itch::TYPES
            .iter()
            .find(|(letter, _)| *letter == kind)
            .unwrap()
            .1;
        let mut bytes = vec![0; len];
        // Small numbers, so that references meet.
        for byte in &mut bytes[11..] {
            *byte = (prng.below(40) as u8).saturating_sub(36);
        }
        (bytes[0], bytes[2]) = (kind, locate);
        if kind == b'A' {
            bytes[19] = b"BSBSx"[nth % 5];
        }
        let _either = books.apply(&itch::decode(&bytes).unwrap());
        let shown: usize = (0..4)
            .map(|index| books.bids(index).levels().len() + books.asks(index).levels().len())
            .sum();
        assert!(shown <= books.open());
        for index in 0..4 {
            let (bids, asks) = (books.bids(index), books.asks(index));
            assert!(bids.levels().is_sorted_by(|a, b| a.price > b.price));
            assert!(asks.levels().is_sorted_by(|a, b| a.price < b.price));
        }
    }
    assert_eq!(books.counts().messages(), 200_000);
    assert!(books.counts().applied > 10_000);
}
