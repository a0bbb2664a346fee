//! The goodput that a load allows: what a line without any overhead could do with it within the budget.
//!
//! A load that comes in bursts leaves the line idle between them, longer than a message may wait. What a queue of the budget's
//! length does not bridge is lost to any policy, so a goodput is judged as a share of what could be had.
//!
//! For messages of equal service and equal time to live, in the order in which they come, taking each that can still be done in
//! time is best: leaving one out never lets two others in.
//!
//! Invariant: a share from 0 to 1, which no policy beats but by a service that is shorter than the mean.

use hopline::feed::Schedule;

/// A server as the bound has it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// What a message takes, in nanoseconds.
    pub service_ns: f64,
    /// From its due time until it has to be done with, in nanoseconds.
    pub budget_ns: u64,
}

impl Server {
    /// The share of the time from `from_ns` to `to_ns`, counted from the schedule's start, in which it works on what is done in
    /// time.
    #[must_use]
    pub fn attainable(&self, mut schedule: Schedule, from_ns: u64, to_ns: u64) -> f64 {
        let (mut free_ns, mut done) = (0.0_f64, 0_u64);
        loop {
            let due_ns = schedule.next_ns();
            if due_ns >= to_ns {
                break;
            }
            let end_ns = free_ns.max(due_ns as f64) + self.service_ns;
            if end_ns > due_ns as f64 + self.budget_ns as f64 {
                continue;
            }
            free_ns = end_ns;
            done += u64::from(end_ns >= from_ns as f64 && end_ns < to_ns as f64);
        }
        let span_ns = to_ns.saturating_sub(from_ns).max(1) as f64;
        (done as f64 * self.service_ns / span_ns).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hopline::feed::Arrivals;

    const SECOND_NS: u64 = 1_000_000_000;

    fn of(rate_per_s: f64, arrivals: Arrivals) -> f64 {
        let server = Server {
            service_ns: 10_000.0,
            budget_ns: 500_000,
        };
        let schedule = Schedule::new(rate_per_s, arrivals, 1).unwrap();
        server.attainable(schedule, 0, SECOND_NS)
    }

    #[test]
    fn an_even_load_is_done_up_to_the_capacity() {
        assert!((of(50_000.0, Arrivals::Constant) - 0.5).abs() < 0.01);
        assert!(of(1_000_000.0, Arrivals::Constant) > 0.999);
        assert!(of(1_000_000.0, Arrivals::Poisson) > 0.999);
    }

    #[test]
    fn of_a_burst_what_the_budget_holds_is_done() {
        // 5,000 messages at once, 20 times a second: a queue of 500 us is 50 of them, and each 50 ms have room for 5,000.
        let bursts = Arrivals::Bursts {
            messages: 5_000,
            within_ns: 1,
        };
        let found = of(100_000.0, bursts);
        assert!((found - 0.01).abs() < 0.001, "{found}");
    }
}
