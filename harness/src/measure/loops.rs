//! The loops: a sender and a receiver on two pinned threads, whatever the link between them.
//!
//! Both threads are the loop's own: the caller's thread only waits for them to end, so its
//! affinity stays as it was. Each handle lives on the stack of the thread that uses it.
//!
//! Invariant: a loop ends, also if the link loses items: every wait is bounded by looks.

use std::sync::{Barrier, OnceLock};
use std::thread;

use hopline::base::primitive::spin_hint;
use hopline::host::{Pin, pin};

use super::floor::Floor;
use super::link::{Link, Rx, Tx};
use super::spans::{Percentiles, Spans};
use super::{MeasureError, Plan};

/// From the barrier to the first intended time: enough for both threads to be past it.
const LEAD_NS: u64 = 200_000;

/// Looks until there is something or the looks are used up, as a spinning loop does.
#[inline(always)]
fn wait<T>(
    spins_max: u64,
    doing: &'static str,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, MeasureError> {
    for _ in 0..spins_max {
        if let Some(found) = look() {
            return Ok(found);
        }
        spin_hint();
    }
    Err(MeasureError::Stuck { doing, spins_max })
}

/// Sends one item, however long there is no room.
#[inline(always)]
fn send(plan: &Plan, tx: &mut impl Tx, number: u64) -> Result<(), MeasureError> {
    wait(plan.spins_max, "a link without room", || {
        tx.send(number).then_some(())
    })
}

/// Takes one item, however long there is none.
#[inline(always)]
fn take(plan: &Plan, rx: &mut impl Rx) -> Result<u64, MeasureError> {
    wait(plan.spins_max, "an empty link", || rx.take())
}

/// Takes one item and does `then` as soon as it is read, however long there is none.
#[inline(always)]
fn take_with<T>(
    plan: &Plan,
    rx: &mut impl Rx,
    mut then: impl FnMut(u64) -> T,
) -> Result<T, MeasureError> {
    wait(plan.spins_max, "an empty link", || rx.take_with(&mut then))
}

/// Runs `here` on the first core and `there` on the second, begun together.
fn on_two_cores<A: Send, B: Send>(
    plan: &Plan,
    here: impl FnOnce(&Barrier) -> Result<A, MeasureError> + Send,
    there: impl FnOnce(&Barrier) -> Result<B, MeasureError> + Send,
) -> Result<(A, B), MeasureError> {
    let (begin, cores) = (Barrier::new(2), plan.cores);
    let (ours, theirs) = thread::scope(|scope| {
        let here = scope.spawn(|| side(cores[0], &begin, here));
        let there = scope.spawn(|| side(cores[1], &begin, there));
        (here.join(), there.join())
    });
    let ours = ours.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let theirs = theirs.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => Ok((ours, theirs)),
        // The other side of a fault only gets stuck: the fault itself is the news.
        (Err(MeasureError::Stuck { .. }), Err(error)) | (Err(error), _) | (_, Err(error)) => {
            Err(error)
        }
    }
}

/// One side: pinned, then begun with the other, which must not be left waiting if the pin fails.
fn side<T>(
    core: usize,
    begin: &Barrier,
    run: impl FnOnce(&Barrier) -> Result<T, MeasureError>,
) -> Result<T, MeasureError> {
    let pinned = pin(core, Pin::Require);
    if pinned.is_err() {
        begin.wait();
    }
    pinned?;
    run(begin)
}

/// Round trips over two links of one kind, halved: the closed loop.
///
/// The asker stamps with `rdtsc`, sends `number`, and stamps with `rdtscp` once the answer is there;
/// the echo sends back the sum of what it read, so both have touched every byte of both payloads.
///
/// # Errors
/// If a thread cannot be pinned, or the link loses or changes an item.
pub fn ping_pong<L: Link>(
    link: &L,
    plan: &Plan,
    round: usize,
) -> Result<Percentiles, MeasureError> {
    let trips = plan.warm_up + plan.trips;
    let words = link.words();
    let (mut there, mut arrived) = link.open(round);
    let (mut back, mut returned) = link.open(round);
    let asker = move |begin: &Barrier| {
        let mut spans = Spans::new(plan.clock_step_ns);
        let mut wrong = 0;
        begin.wait();
        for number in 0..trips {
            let begin_ns = plan.clock.stamp();
            send(plan, &mut there, number)?;
            let (answer, end_ns) = take_with(plan, &mut returned, |answer| {
                (answer, plan.clock.stamp_after())
            })?;
            let expected = number.wrapping_mul(words).wrapping_mul(words);
            wrong += u64::from(answer != expected);
            if number >= plan.warm_up {
                spans.record(end_ns.saturating_sub(begin_ns));
            }
        }
        all_right(wrong, trips)?;
        Ok(spans.percentiles(2.0))
    };
    let echo = move |begin: &Barrier| {
        begin.wait();
        for _ in 0..trips {
            let (sum, sent) = take_with(plan, &mut arrived, |sum| (sum, back.send(sum)))?;
            if !sent {
                send(plan, &mut back, sum)?;
            }
        }
        // Handles go back with the result, so that closing a ring is no part of the last trip.
        Ok((arrived, back))
    };
    Ok(on_two_cores(plan, asker, echo)?.0)
}

fn all_right(wrong: u64, items: u64) -> Result<(), MeasureError> {
    match wrong {
        0 => Ok(()),
        wrong => Err(MeasureError::Corrupt { wrong, items }),
    }
}

/// One way, from intended times: the item `k` is due at the begin plus `k` periods, and its
/// latency counts from there, whenever the sender got to it.
///
/// # Errors
/// If a thread cannot be pinned, or the link loses or changes an item.
pub fn open_loop<L: Link>(
    link: &L,
    plan: &Plan,
    round: usize,
) -> Result<Percentiles, MeasureError> {
    let items = plan.warm_up + plan.open_items;
    let words = link.words();
    let (mut tx, mut rx) = link.open(round);
    let first_due_ns = &OnceLock::new();
    let sender = move |begin: &Barrier| {
        let first_ns = *first_due_ns.get_or_init(|| plan.clock.stamp() + LEAD_NS);
        begin.wait();
        for number in 0..items {
            while plan.clock.stamp() < first_ns + number * plan.period_ns {
                spin_hint();
            }
            send(plan, &mut tx, number)?;
        }
        Ok(tx)
    };
    let receiver = move |begin: &Barrier| {
        let mut spans = Spans::new(plan.clock_step_ns);
        let mut wrong = 0;
        let mut next = 0;
        begin.wait();
        // Set before the barrier; a sender that could not be pinned sets none and sends nothing.
        let first_ns = first_due_ns.get().copied().unwrap_or_default();
        while next < items {
            let sum = take(plan, &mut rx)?;
            let now_ns = plan.clock.stamp_after();
            // A bare line may have skipped some; nothing else may.
            let number = sum / words;
            wrong += u64::from(sum % words != 0 || number < next);
            next = number.max(next) + 1;
            if number >= plan.warm_up {
                spans.record(now_ns.saturating_sub(first_ns + number * plan.period_ns));
            }
        }
        all_right(wrong, items)?;
        Ok(spans.percentiles(1.0))
    };
    Ok(on_two_cores(plan, sender, receiver)?.1)
}

/// Nanoseconds an item to move [`Plan::stream_items`] items flat out: with a `batch` of 1 one by
/// one, else in batches of that many.
///
/// # Errors
/// If a thread cannot be pinned, or the link loses or changes an item.
pub fn stream<L: Link>(
    link: &L,
    plan: &Plan,
    batch: usize,
    round: usize,
) -> Result<f64, MeasureError> {
    let items = plan.stream_items;
    let words = link.words();
    let (mut tx, mut rx) = link.open(round);
    let batch = batch.max(1);
    let sender = move |begin: &Barrier| {
        begin.wait();
        let begin_ns = plan.clock.stamp();
        let mut sent = 0;
        while sent < items {
            if batch == 1 {
                send(plan, &mut tx, sent)?;
                sent += 1;
            } else {
                let count = batch.min((items - sent) as usize);
                sent += wait(plan.spins_max, "a link without room", || {
                    match tx.send_batch(sent, count) {
                        0 => None,
                        some => Some(some as u64),
                    }
                })?;
            }
        }
        Ok((begin_ns, tx))
    };
    let receiver = move |begin: &Barrier| {
        let (mut taken, mut total) = (0, 0u64);
        begin.wait();
        while taken < items {
            let (count, sum) = if batch == 1 {
                (1, take(plan, &mut rx)?)
            } else {
                wait(plan.spins_max, "an empty link", || {
                    match rx.take_batch(batch) {
                        (0, _) => None,
                        some => Some(some),
                    }
                })?
            };
            taken += count as u64;
            total = total.wrapping_add(sum);
        }
        let end_ns = plan.clock.stamp_after();
        let expected = (0..items).fold(0u64, |sum, number| {
            sum.wrapping_add(number.wrapping_mul(words))
        });
        all_right(u64::from(total != expected), items)?;
        Ok((end_ns, rx))
    };
    let ((begin_ns, _tx), (end_ns, _rx)) = on_two_cores(plan, sender, receiver)?;
    Ok(end_ns.saturating_sub(begin_ns) as f64 / items as f64)
}

/// By how many nanoseconds the second core's clock is ahead of the first's, from trips over bare
/// cache lines: half the difference between there and back. Figures of [`open_loop`] carry it.
///
/// # Errors
/// If a thread cannot be pinned.
pub fn clock_skew_ns(plan: &Plan) -> Result<f64, MeasureError> {
    let trips = plan.warm_up + plan.trips.min(10_000);
    let ((mut there, mut arrived), (mut back, mut returned)) = (Floor.open(0), Floor.open(0));
    let asker = move |begin: &Barrier| {
        let mut twice_ahead_ns = Vec::with_capacity(trips as usize);
        begin.wait();
        for number in 0..trips {
            let sent_ns = plan.clock.stamp();
            send(plan, &mut there, number)?;
            let met_ns = take(plan, &mut returned)?;
            let end_ns = plan.clock.stamp_after();
            let (out, home) = (
                met_ns as f64 - sent_ns as f64,
                end_ns as f64 - met_ns as f64,
            );
            twice_ahead_ns.push(out - home);
        }
        Ok(super::median(&twice_ahead_ns[plan.warm_up as usize..]) / 2.0)
    };
    let echo = move |begin: &Barrier| {
        begin.wait();
        for _ in 0..trips {
            take(plan, &mut arrived)?;
            send(plan, &mut back, plan.clock.stamp_after())?;
        }
        Ok(())
    };
    Ok(on_two_cores(plan, asker, echo)?.0)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use super::*;
    use crate::measure::{
        Answers, BlobLink, FanInLink, HopLink, LinedLink, MpscLink, MulticastLink, Null,
        PackedLink, Walk,
    };

    /// A link with faults: what the loops must find.
    #[derive(Clone, Copy)]
    enum Fault {
        None,
        /// Loses the item of this number.
        Loses(u64),
        /// Changes the item of this number.
        Changes(u64),
    }

    #[allow(clippy::disallowed_types, reason = "a link for a test needs no speed")]
    type Queue = Arc<std::sync::Mutex<VecDeque<u64>>>;
    struct Faulty(Fault);
    struct End(Queue, Fault);

    impl Link for Faulty {
        type Tx = End;
        type Rx = End;
        fn words(&self) -> u64 {
            3
        }
        fn open(&self, _round: usize) -> (End, End) {
            let queue = Queue::default();
            (End(queue.clone(), self.0), End(queue, self.0))
        }
    }

    impl Tx for End {
        fn send(&mut self, number: u64) -> bool {
            match self.1 {
                Fault::Loses(lost) if lost == number => {}
                Fault::Changes(changed) if changed == number => {
                    self.0.lock().unwrap().push_back(3 * number + 1);
                }
                _ => self.0.lock().unwrap().push_back(3 * number),
            }
            true
        }
    }

    impl Rx for End {
        fn take(&mut self) -> Option<u64> {
            self.0.lock().unwrap().pop_front()
        }
    }

    /// Small, and without timing: a shared or single core only makes it slower. `None` where two
    /// threads cannot run at once.
    fn plan() -> Option<Plan> {
        let plan = Plan::new().ok()?;
        Some(Plan {
            warm_up: 10,
            trips: 200,
            open_items: 200,
            stream_items: 2_000,
            ..plan
        })
    }

    fn check<L: Link>(link: &L, plan: &Plan) {
        for round in 0..2 {
            let trip = ping_pong(link, plan, round).unwrap();
            assert!(trip.p50 > 0.0 && trip.p50 <= trip.p90 && trip.p90 <= trip.p99);
            let open = open_loop(link, plan, round).unwrap();
            assert!(open.p50 <= open.p90 && open.p90 <= open.p99);
            assert!(stream(link, plan, 1, round).unwrap() > 0.0);
            assert!(stream(link, plan, 32, round).unwrap() > 0.0);
        }
    }

    #[test]
    fn every_loop_runs_over_every_ring() {
        let Some(plan) = plan() else { return };
        check(&PackedLink::<1>::of(64), &plan);
        check(&LinedLink::<7>::of(64), &plan);
        check(&LinedLink::<15>::of(64), &plan);
        check(&HopLink::of(64, 96), &plan);
        check(&MpscLink::<7>::of(64), &plan);
        check(&BlobLink::of(64, 1024), &plan);
        check(&MulticastLink::<7>::of(64, Answers::First), &plan);
        check(&MulticastLink::<7>::of(64, Answers::Last), &plan);
        check(&Faulty(Fault::None), &plan);
        for round in 0..2 {
            assert!(ping_pong(&Null, &plan, round).is_ok());
            let fan_in = ping_pong(&FanInLink::<4, 7>::of(64), &plan, round).unwrap();
            assert!(fan_in.p50 > 0.0);
            assert!(ping_pong(&Floor, &plan, round).unwrap().p50 > 0.0);
            assert!(ping_pong(&Walk { depth: 64 }, &plan, round).unwrap().p50 > 0.0);
            assert!(open_loop(&Floor, &plan, round).is_ok());
        }
        assert!(clock_skew_ns(&plan).unwrap().is_finite());
    }

    #[test]
    fn an_item_that_is_lost_or_changed_is_an_error_and_no_hang() {
        let Some(plan) = plan() else { return };
        // A sender that sends last gets the receiver stuck; nothing else may take that long here.
        let impatient = Plan {
            spins_max: 200_000,
            ..plan.clone()
        };
        let stuck = |error: MeasureError| matches!(error, MeasureError::Stuck { .. });
        assert!(stuck(
            ping_pong(&Faulty(Fault::Loses(50)), &impatient, 0).unwrap_err()
        ));
        assert!(stuck(
            stream(&Faulty(Fault::Loses(50)), &impatient, 1, 0).unwrap_err()
        ));
        assert!(stuck(
            stream(&Faulty(Fault::Loses(1_999)), &impatient, 8, 0).unwrap_err()
        ));
        let changed = Faulty(Fault::Changes(100));
        let corrupt = |error: MeasureError| matches!(error, MeasureError::Corrupt { .. });
        assert!(corrupt(ping_pong(&changed, &plan, 0).unwrap_err()));
        assert!(corrupt(open_loop(&changed, &plan, 0).unwrap_err()));
        assert!(corrupt(stream(&changed, &plan, 1, 0).unwrap_err()));
    }

    #[test]
    fn a_core_that_is_not_there_is_named() {
        let Some(plan) = plan() else { return };
        for cores in [[plan.cores[0], usize::MAX], [usize::MAX, plan.cores[1]]] {
            let nowhere = Plan {
                cores,
                spins_max: 100_000,
                ..plan.clone()
            };
            let error = ping_pong(&Floor, &nowhere, 0).unwrap_err();
            assert!(matches!(error, MeasureError::Pin(_)), "{error}");
        }
    }
}
