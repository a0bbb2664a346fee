//! Whether a frame can still be done by its deadline: asked before it is queued and again before it is worked on.
//!
//! Invariant: a frame that is found in time at the front of the queue is done by its deadline, if its work takes
//! no longer than it was said to take.
//!
//! Dropping at the front what is late keeps a server from work that nobody waits for; refusing at the back what will
//! be late keeps a queue from holding it in the meantime (expected delay against what is left of a deadline, as in
//! Breakwater: Cho et al., "Overload Control for us-scale RPCs with Breakwater", OSDI 2020, and in the deadlines that
//! gRPC hands on).

/// The deadline of a frame that has none.
pub const NEVER_NS: u64 = u64::MAX;

/// Whether a frame that would be queued now could not be done by its deadline.
///
/// `backlog` counts the frames that go before it, the one in work among them; with it they take `needed_ns`. With an empty backlog
/// a frame whose deadline has not passed is always taken, however long a service was measured: so a measure that was too high
/// corrects itself.
///
/// ```
/// use hopline::overload::late::{NEVER_NS, is_hopeless};
/// // 49 frames and itself take 500 us, which is what is left.
/// assert!(!is_hopeless(49, 50 * 10_000, 1_000_000, 1_500_000));
/// assert!(is_hopeless(50, 51 * 10_000, 1_000_000, 1_500_000));
/// assert!(!is_hopeless(0, 600_000, 1_000_000, 1_500_000));
/// assert!(!is_hopeless(50, 600_000, 1_000_000, NEVER_NS));
/// ```
#[inline]
#[must_use]
pub const fn is_hopeless(backlog: usize, needed_ns: u64, now_ns: u64, deadline_ns: u64) -> bool {
    let needed_ns = if backlog == 0 { 0 } else { needed_ns };
    is_late(now_ns, needed_ns, deadline_ns)
}

/// Whether a frame that would be worked on now could not be done by its deadline. A `service_ns` of 0 asks only
/// whether the deadline has passed.
///
/// ```
/// use hopline::overload::late::is_late;
/// assert!(!is_late(1_490_000, 10_000, 1_500_000));
/// assert!(is_late(1_490_001, 10_000, 1_500_000));
/// assert!(!is_late(1_500_000, 0, 1_500_000));
/// ```
#[inline]
#[must_use]
pub const fn is_late(now_ns: u64, service_ns: u64, deadline_ns: u64) -> bool {
    now_ns.saturating_add(service_ns) > deadline_ns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::overload::ServiceTime;
    use crate::overload::sim::{self, Load, Server, Work};

    const BUDGET_NS: u64 = 500_000;

    /// The deadline as it acts on a hop: refused at the back, and dropped at the front for what was measured wrongly.
    fn served(load: Load) -> Server {
        let service = core::cell::Cell::new(ServiceTime::new());
        load.run(
            |now_ns, backlog| {
                let needed_ns = (backlog as u64 + 1) * service.get().mean_ns();
                !is_hopeless(backlog, needed_ns, now_ns, now_ns + BUDGET_NS)
            },
            |now_ns, age_ns| {
                is_late(
                    now_ns,
                    service.get().likely_ns(),
                    (now_ns - age_ns) + BUDGET_NS,
                )
            },
            |took_ns| {
                let mut mean = service.get();
                mean.measured(took_ns);
                service.set(mean);
            },
        )
    }

    #[test]
    fn overload_keeps_what_is_admitted_in_budget_and_the_server_busy() {
        sim::stays_in_budget(served, BUDGET_NS);
    }

    #[test]
    fn of_bursts_it_serves_what_can_be_served() {
        for work in [Work::Fixed, Work::Varied] {
            for times in [2.0, 5.0, 10.0] {
                let load = Load::bursty(times, work);
                let (server, best) = (served(load), load.attainable(BUDGET_NS));
                let goodput = server.goodput(BUDGET_NS);
                assert!(
                    goodput >= 0.96 * best,
                    "{times}x {work:?}: {goodput} of {best}"
                );
                assert!(server.quantile_ns(1.0) <= BUDGET_NS, "{times}x {work:?}");
            }
        }
    }

    #[test]
    fn without_it_the_same_load_is_served_too_late() {
        let server = Load::steady(2.0, Work::Fixed).run(|_, _| true, |_, _| false, |_| {});
        assert!(server.goodput(BUDGET_NS) < 0.05);
        assert!(server.quantile_ns(0.99) > 100 * BUDGET_NS);
    }

    #[test]
    fn nothing_is_dropped_below_capacity() {
        sim::drops_nothing_below_capacity(served);
    }

    #[test]
    fn a_fall_of_the_load_is_recovered_from_at_once() {
        sim::recovers(served, 2 * BUDGET_NS);
    }

    #[test]
    fn a_service_time_that_was_measured_too_high_corrects_itself() {
        let mut service = ServiceTime::new();
        service.measured(50_000_000);
        let mut now_ns = 0;
        for _ in 0..200 {
            now_ns += 1_000_000;
            // No queue, but less time left than a service is said to take: nothing but the front's own check may end it.
            let deadline_ns = now_ns + 60_000_000;
            assert!(!is_hopeless(0, service.mean_ns(), now_ns, deadline_ns));
            service.measured(10_000);
        }
        assert!(service.mean_ns() < 12_000, "{}", service.mean_ns());
    }

    proptest! {
        #[test]
        fn what_is_taken_and_served_in_order_is_never_late(
            backlog in 1usize..1 << 20, service_ns in 0u64..1 << 40, now_ns: u64, spare in 0u64..4,
        ) {
            let start_ns = now_ns.saturating_add((backlog as u64).saturating_mul(service_ns));
            // Up to a service and more beside what the queue takes, and a nanosecond less than each of them.
            let deadline_ns = start_ns.saturating_add(spare / 2 * service_ns).saturating_sub(spare % 2);
            let needed_ns = (backlog as u64 + 1).saturating_mul(service_ns);
            prop_assert_eq!(
                is_hopeless(backlog, needed_ns, now_ns, deadline_ns),
                is_late(start_ns, service_ns, deadline_ns)
            );
        }
    }
}
