//! The rules once more, on serde_json's value and without regard to speed. `None` is a reject.

use super::*;

pub(super) fn decode(text: &[u8], default_symbol: &str) -> Option<Owned> {
    let value: Value = serde_json::from_str(std::str::from_utf8(text).ok()?).ok()?;
    let outer = value.as_object()?;
    let data = outer.get("data").filter(|data| data.is_object());
    let object = data.unwrap_or(&value).as_object()?;
    let stream = outer.get("stream");
    let int = |key: &str| object.get(key)?.as_u64();
    let int_or_zero = |key: &str| object.get(key).map_or(Some(0), Value::as_u64);
    let event_ms = || int_or_zero("E");
    let transaction_ms = || int_or_zero("T");
    let price = |key: &str| Some(Price(units(object.get(key)?)?));
    let qty = |key: &str| Some(Qty(units(object.get(key)?)?)).filter(|qty| qty.0 >= 0);
    let symbol = || {
        let name = match (object.get("s"), stream) {
            (Some(name), _) => name.as_str()?.to_owned(),
            (None, Some(stream)) => stream.as_str()?.split('@').next()?.to_ascii_uppercase(),
            (None, None) => default_symbol.to_owned(),
        };
        ["BTCUSDT", "ETHUSDT"]
            .iter()
            .position(|s| *s == name)
            .map(|at| at as u16)
    };
    let kind = match object.get("e") {
        Some(kind) => kind.as_str()?,
        None if object.contains_key("lastUpdateId") => "snapshot",
        None => "bookTicker",
    };
    Some(match kind {
        "bookTicker" => Owned::BookTicker(BookTicker {
            update_id: int("u")?,
            bid: price("b")?,
            bid_qty: qty("B")?,
            ask: price("a")?,
            ask_qty: qty("A")?,
            event_ms: event_ms()?,
            transaction_ms: transaction_ms()?,
            symbol: symbol()?,
        }),
        "trade" => Owned::Trade(Trade {
            trade_id: int("t")?,
            price: price("p")?,
            qty: qty("q")?,
            event_ms: event_ms()?,
            transaction_ms: transaction_ms()?,
            symbol: symbol()?,
            buyer_is_maker: object.get("m")?.as_bool()?.into(),
        }),
        "depthUpdate" => {
            let (bids, asks) = (levels(object.get("b")?)?, levels(object.get("a")?)?);
            let head = DepthHead {
                first_id: int("U")?,
                last_id: int("u")?,
                prev_id: int_or_zero("pu")?,
                event_ms: event_ms()?,
                transaction_ms: transaction_ms()?,
                symbol: symbol()?,
                bids: bids.len() as u16,
                asks: asks.len() as u16,
                has_prev: object.contains_key("pu").into(),
            };
            Owned::Depth(head, bids, asks)
        }
        "snapshot" => {
            let (bids, asks) = (levels(object.get("bids")?)?, levels(object.get("asks")?)?);
            let head = SnapshotHead {
                last_id: int("lastUpdateId")?,
                event_ms: event_ms()?,
                transaction_ms: transaction_ms()?,
                symbol: symbol()?,
                bids: bids.len() as u16,
                asks: asks.len() as u16,
            };
            Owned::Snapshot(head, bids, asks)
        }
        _ => return None,
    })
}

fn levels(list: &Value) -> Option<Vec<Level>> {
    let level = |level: &Value| {
        let (price, qty) = (units(level.get(0)?)?, units(level.get(1)?)?);
        (qty >= 0).then_some(Level {
            price: Price(price),
            qty: Qty(qty),
        })
    };
    list.as_array()?.iter().map(level).collect()
}

fn units(number: &Value) -> Option<i64> {
    let text = number.as_str()?;
    let body = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = body.split_once('.').unwrap_or((body, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let fraction_kept = fraction.trim_end_matches('0');
    if !digits(whole) || !digits(fraction) || fraction_kept.len() > 8 {
        return None;
    }
    let sign = if body.len() < text.len() { "-" } else { "" };
    format!("{sign}{whole}{fraction_kept:0<8}").parse().ok()
}
