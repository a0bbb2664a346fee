//! The stage `risk`: lets a signal become an order only within its limits.
//!
//! | setting | default | means |
//! |---|---|---|
//! | `position_max` | `"1"` | largest position of a symbol, long or short |
//! | `order_max` | `"0.1"` | largest quantity of an order |
//! | `rate` | `"50/s"` | orders a second on average |
//! | `burst` | 10 | orders that may go at once |
//! | `kill` | `false` | refuse everything from the start |
//!
//! An order is taken as filled at once and in full: nothing comes back from an exchange here, so
//! the position is what it would be then. Checks stand in the order of [`Why`]; what an early one
//! refuses costs no token of the rate.
//!
//! Invariant: no order leaves after the switch is seen thrown, and none that breaks a limit.

use crate::base::primitive::{Arc, AtomicBool, Ordering};
use crate::feed::decimal::{Qty, UNITS_PER_ONE};
use crate::feed::symbols::SYMBOLS_MAX;
use crate::frame::View;
use crate::stage::{Context, Out, Outcome, Port, Stage};
use crate::topology::{Params, Problem};

use super::frames::{Order, Side, Signal};

const OUT: Out<Order> = Out::at(0);

/// Most orders that may go at once: beyond it the rate limits nothing.
const BURST_MAX: u64 = 10_000;

crate::reasons! {
    /// Why an order is refused.
    pub enum Why {
        /// The switch is thrown.
        Killed = "killed",
        /// A symbol beyond the largest table.
        UnknownSymbol = "unknown_symbol",
        /// No quantity, or more than an order may have.
        OrderSize = "order_size",
        /// The position would grow beyond its limit.
        PositionLimit = "position_limit",
        /// Too many orders in too short a time.
        RateLimit = "rate_limit",
    }
}

/// Ends all trading; clones throw the same switch. It can be thrown from any thread at any time and
/// acts from the next signal on that sees it; nothing takes it back.
#[derive(Clone, Debug)]
pub struct KillSwitch(Arc<AtomicBool>);

impl Default for KillSwitch {
    fn default() -> KillSwitch {
        KillSwitch(Arc::new(AtomicBool::new(false)))
    }
}

impl KillSwitch {
    /// Throws the switch.
    pub fn kill(&self) {
        // Relaxed: the flag publishes nothing but itself.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is thrown.
    #[inline]
    #[must_use]
    pub fn is_killed(&self) -> bool {
        // Relaxed: as in `kill`.
        self.0.load(Ordering::Relaxed)
    }
}

/// What a risk stage is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskSpec {
    /// Largest position of a symbol, long or short.
    pub position_max: Qty,
    /// Largest quantity of an order.
    pub order_max: Qty,
    /// Nanoseconds that an order takes of the rate: a second by the rate.
    pub interval_ns: u64,
    /// Orders that may go at once; at least 1.
    pub burst: u64,
    /// Whether everything is refused from the start.
    pub kill: bool,
}

impl Default for RiskSpec {
    fn default() -> RiskSpec {
        RiskSpec {
            position_max: Qty(UNITS_PER_ONE),
            order_max: Qty(UNITS_PER_ONE / 10),
            interval_ns: 1_000_000_000 / 50,
            burst: 10,
            kill: false,
        }
    }
}

impl RiskSpec {
    /// From a node's settings; this file's head lists them.
    ///
    /// # Errors
    /// A setting of the wrong type or out of bounds.
    pub fn from_params(params: &mut Params) -> Result<RiskSpec, Problem> {
        let default = RiskSpec::default();
        let position_max = super::fixed(params, "position_max", |text| text.parse().ok())?;
        let order_max = super::fixed(params, "order_max", |text| text.parse().ok())?;
        let rate = params.rate("rate")?;
        Ok(RiskSpec {
            position_max: position_max.unwrap_or(default.position_max),
            order_max: order_max.unwrap_or(default.order_max),
            // A rate is at most 1e9 a second, so an interval is at least a nanosecond.
            interval_ns: rate.map_or(default.interval_ns, |rate| (1e9 / rate).round() as u64),
            burst: params.count("burst", default.burst, 1..=BURST_MAX)?,
            kill: params.flag("kill", default.kill)?,
        })
    }
}

/// A token bucket as one number: when the bucket would be full again (the "generic cell rate
/// algorithm" of ITU-T I.371, in its virtual scheduling form).
#[derive(Clone, Copy, Debug)]
struct Bucket {
    interval_ns: u64,
    /// How far `full_at_ns` may lie ahead for one more token to be there.
    ahead_max_ns: u64,
    full_at_ns: u64,
}

impl Bucket {
    fn new(interval_ns: u64, burst: u64) -> Bucket {
        Bucket {
            interval_ns,
            ahead_max_ns: interval_ns.saturating_mul(burst.saturating_sub(1)),
            full_at_ns: 0,
        }
    }

    /// Takes a token, if there is one.
    #[inline]
    fn take(&mut self, now_ns: u64) -> bool {
        let full_at_ns = self.full_at_ns.max(now_ns);
        if full_at_ns - now_ns > self.ahead_max_ns {
            return false;
        }
        self.full_at_ns = full_at_ns.saturating_add(self.interval_ns);
        true
    }
}

/// Limits orders; see this file's head.
#[derive(Debug)]
pub struct Risk {
    spec: RiskSpec,
    switch: KillSwitch,
    bucket: Bucket,
    positions: Box<[Qty]>,
    next_id: u64,
}

impl Risk {
    /// A stage without positions that ends trading when `switch` is thrown.
    #[must_use]
    pub fn new(spec: RiskSpec, switch: KillSwitch) -> Risk {
        Risk {
            spec,
            switch,
            bucket: Bucket::new(spec.interval_ns, spec.burst),
            positions: vec![Qty::ZERO; SYMBOLS_MAX].into_boxed_slice(),
            next_id: 1,
        }
    }

    /// The order that a signal becomes, or why it does not.
    fn judge(&mut self, signal: &Signal, now_ns: u64) -> Result<Order, Why> {
        if self.spec.kill || self.switch.is_killed() {
            return Err(Why::Killed);
        }
        let position = self
            .positions
            .get_mut(usize::from(signal.symbol))
            .ok_or(Why::UnknownSymbol)?;
        if signal.qty <= Qty::ZERO || signal.qty > self.spec.order_max {
            return Err(Why::OrderSize);
        }
        let after = match signal.side {
            Side::Buy => position.checked_add(signal.qty),
            Side::Sell => position.checked_sub(signal.qty),
        };
        let max = i128::from(self.spec.position_max.0);
        let after = after
            .filter(|after| i128::from(after.0).abs() <= max)
            .ok_or(Why::PositionLimit)?;
        if !self.bucket.take(now_ns) {
            return Err(Why::RateLimit);
        }
        *position = after;
        let id = self.next_id;
        self.next_id += 1;
        Ok(Order {
            id,
            update_id: signal.update_id,
            event_ms: signal.event_ms,
            t_ns: now_ns,
            price: signal.price,
            qty: signal.qty,
            position: after,
            symbol: signal.symbol,
            side: signal.side,
        })
    }
}

impl Stage for Risk {
    type In = Signal;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Order>("order")];

    fn memory_bytes(&self) -> usize {
        size_of_val(&*self.positions)
    }

    fn on_frame(&mut self, signal: View<'_, Signal>, cx: &mut Context<'_>) -> Outcome<Why> {
        match self.judge(&signal.to_owned(), cx.now_ns()) {
            Ok(order) => {
                cx.emit(OUT, &order);
                Outcome::done()
            }
            Err(why) => Outcome::rejected(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feed::decimal::Price;

    fn signal(side: Side, qty: i64) -> Signal {
        Signal {
            update_id: 7,
            event_ms: 8,
            price: Price(100),
            qty: Qty(qty),
            micro_price: Price(101),
            strength_ppm: 900_000,
            symbol: 0,
            side,
        }
    }

    fn spec() -> RiskSpec {
        RiskSpec {
            position_max: Qty(10),
            order_max: Qty(6),
            interval_ns: 100,
            burst: 2,
            kill: false,
        }
    }

    #[test]
    fn limits_hold_on_both_sides_and_a_way_back_is_open() {
        let mut risk = Risk::new(spec(), KillSwitch::default());
        let mut at = 0;
        let mut judge = |signal: Signal| {
            at += 1_000;
            risk.judge(&signal, at)
                .map(|order| (order.id, order.position.0))
        };
        assert_eq!(judge(signal(Side::Buy, 7)), Err(Why::OrderSize));
        assert_eq!(judge(signal(Side::Buy, 0)), Err(Why::OrderSize));
        assert_eq!(judge(signal(Side::Buy, -1)), Err(Why::OrderSize));
        assert_eq!(judge(signal(Side::Buy, 6)), Ok((1, 6)));
        assert_eq!(judge(signal(Side::Buy, 5)), Err(Why::PositionLimit));
        assert_eq!(judge(signal(Side::Buy, 4)), Ok((2, 10)));
        for (id, after) in [(3, 4), (4, -2), (5, -8)] {
            assert_eq!(judge(signal(Side::Sell, 6)), Ok((id, after)));
        }
        assert_eq!(judge(signal(Side::Sell, 3)), Err(Why::PositionLimit));
        let mut beyond = signal(Side::Buy, 1);
        beyond.symbol = SYMBOLS_MAX as u16;
        assert_eq!(judge(beyond), Err(Why::UnknownSymbol));
    }

    #[test]
    fn a_thrown_switch_refuses_everything() {
        let switch = KillSwitch::default();
        let mut risk = Risk::new(spec(), switch.clone());
        assert!(risk.judge(&signal(Side::Buy, 1), 1).is_ok());
        switch.kill();
        assert_eq!(risk.judge(&signal(Side::Buy, 1), 9_999), Err(Why::Killed));
        assert!(switch.is_killed());
        let killed = RiskSpec {
            kill: true,
            ..spec()
        };
        let mut risk = Risk::new(killed, KillSwitch::default());
        assert_eq!(risk.judge(&signal(Side::Buy, 1), 1), Err(Why::Killed));
    }

    #[test]
    fn what_is_refused_earlier_costs_no_token() {
        let mut risk = Risk::new(spec(), KillSwitch::default());
        for _ in 0..100 {
            assert_eq!(
                risk.judge(&signal(Side::Buy, 9), 1_000),
                Err(Why::OrderSize)
            );
        }
        assert!(risk.judge(&signal(Side::Buy, 1), 1_000).is_ok());
        assert!(risk.judge(&signal(Side::Buy, 1), 1_000).is_ok());
        assert_eq!(
            risk.judge(&signal(Side::Buy, 1), 1_099),
            Err(Why::RateLimit)
        );
        assert!(risk.judge(&signal(Side::Buy, 1), 1_100).is_ok());
    }

    proptest! {
        /// Against a bucket that counts tokens in fractions of a nanosecond's share.
        #[test]
        fn the_bucket_agrees_with_one_that_counts_tokens(
            interval_ns in 1u64..50,
            burst in 1u64..6,
            gaps in prop::collection::vec(0u64..80, 1..200),
        ) {
            let mut bucket = Bucket::new(interval_ns, burst);
            let full = burst * interval_ns;
            let (mut now_ns, mut filled) = (1_000, full);
            for gap_ns in gaps {
                now_ns += gap_ns;
                filled = (filled + gap_ns).min(full);
                let expected = filled >= interval_ns;
                filled -= if expected { interval_ns } else { 0 };
                prop_assert_eq!(bucket.take(now_ns), expected);
            }
        }
    }
}
