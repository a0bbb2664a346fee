//! TotalView-ITCH 5.0 against the crate itch5: every field of every type, on what the simulated
//! exchange says and on random bytes, and what neither may read.

use hopline::base::Prng;
use hopline::feed::itch::{self, MESSAGE_BYTES_MAX, Message, TYPES};
use hopline::feed::simulated::Orders;
use hopline::feed::views::MessageReject;
use zerocopy::IntoBytes;

#[path = "feed/itch_oracle.rs"]
mod oracle;

/// Both readings of a message that both know.
fn compare(bytes: &[u8]) {
    let message = itch::decode(bytes).unwrap();
    let ours = oracle::ours(&message);
    assert!(ours.len() > 3);
    assert_eq!(ours, oracle::theirs(bytes), "{message:?}");
}

#[test]
fn every_field_of_every_type_is_what_the_oracle_reads() {
    let mut prng = Prng::new(5);
    for (kind, len) in TYPES {
        for _ in 0..300 {
            let mut bytes = vec![0; *len];
            bytes
                .iter_mut()
                .for_each(|byte| *byte = prng.next_u64() as u8);
            bytes[0] = *kind;
            compare(&bytes);
        }
        // Codes are letters: with them each known one is met.
        for _ in 0..300 {
            let mut bytes = vec![0; *len];
            let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ";
            bytes
                .iter_mut()
                .for_each(|byte| *byte = letters[prng.below(letters.len() as u64) as usize]);
            bytes[0] = *kind;
            compare(&bytes);
        }
    }
}

#[test]
fn what_the_simulated_exchange_says_is_what_the_oracle_reads() {
    let mut exchange = Orders::new(11, 50, 2_000);
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    let mut seen = [0_u32; 256];
    for nth in 0..40_000 {
        let len = exchange.next(34_200_000_000_000 + nth * 1_000, &mut buffer);
        compare(&buffer[..len]);
        seen[usize::from(buffer[0])] += 1;
    }
    for (kind, _) in TYPES {
        assert!(seen[usize::from(*kind)] > 0, "{}", *kind as char);
    }
}

#[test]
fn views_write_what_they_read() {
    let mut exchange = Orders::new(3, 5, 100);
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    for _ in 0..2_000 {
        let len = exchange.next(1, &mut buffer);
        let bytes = &buffer[..len];
        let again = match itch::decode(bytes).unwrap() {
            Message::AddOrder(m) => m.as_bytes(),
            Message::AddOrderMpid(m) => m.as_bytes(),
            Message::OrderReplace(m) => m.as_bytes(),
            Message::OrderExecuted(m) => m.as_bytes(),
            Message::OrderDelete(m) => m.as_bytes(),
            _ => continue,
        };
        assert_eq!(again, bytes);
    }
}

#[test]
fn a_message_worked_out_by_hand_is_read_as_written() {
    // 100 shares of ZIEXT to buy at 99.05, order 429974, 09:30:00.000000001.
    let bytes = [
        b"A\x00\x07\x00\x02\x1f\x1a\xce\xd9\x80\x01".as_slice(),
        b"\x00\x00\x00\x00\x00\x06\x8f\x96B\x00\x00\x00\x64ZIEXT   \x00\x0f\x1d\x24",
    ]
    .concat();
    let Ok(Message::AddOrder(add)) = itch::decode(&bytes) else {
        panic!();
    };
    assert_eq!((add.head.locate.get(), add.head.tracking.get()), (7, 2));
    assert_eq!(add.head.timestamp.get(), 0x1f1a_ced9_8001);
    assert_eq!(
        (add.reference.get(), add.side, add.shares.get()),
        (429_974, b'B', 100)
    );
    assert_eq!(
        (add.stock.to_string(), add.price.price().to_string()),
        ("ZIEXT".into(), "99.05".into())
    );
    assert_eq!(itch::head(&bytes), Some(&add.head));
    for cut in 0..bytes.len() {
        let reject = if cut == 0 {
            MessageReject::Empty
        } else {
            MessageReject::TooShort
        };
        assert_eq!(itch::decode(&bytes[..cut]), Err(reject));
    }
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(itch::decode(&longer), Err(MessageReject::TooLong));
}
