//! One server and its queue in virtual time, on which the tests of this room load their policies.
//!
//! Invariant: the same load gives the same frames, services and answers on every machine.

use std::collections::VecDeque;

use crate::base::Prng;

/// Mean service, in nanoseconds.
pub(super) const SERVICE_NS: u64 = 10_000;

/// What it takes to drop one frame, in nanoseconds: at 10 times its capacity a server drops 9 for each that it serves.
const DROP_NS: u64 = 30;

/// How long a load lasts, in nanoseconds.
const SPAN_NS: u64 = 1_000_000_000;

/// How the services differ.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// All take the mean.
    Fixed,
    /// From half to one and a half of the mean, each as often.
    Varied,
}

/// Mean frames of a burst, and how many times the mean rate it comes at.
const BURST: u64 = 50;
const INTENSITY: f64 = 20.0;

/// Arrivals, in multiples of what the server can do: Poisson, or in bursts of some 50 frames, at 20 times the mean rate, that come
/// at random.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    times: f64,
    then: f64,
    work: Work,
    in_bursts: bool,
}

impl Load {
    /// When a load that falls does so, in nanoseconds.
    pub(super) const FALL_NS: u64 = SPAN_NS / 2;

    pub(super) fn steady(times: f64, work: Work) -> Load {
        Load {
            times,
            then: times,
            work,
            in_bursts: false,
        }
    }

    pub(super) fn bursty(times: f64, work: Work) -> Load {
        Load {
            in_bursts: true,
            ..Load::steady(times, work)
        }
    }

    pub(super) fn falls(times: f64, then: f64) -> Load {
        Load {
            times,
            then,
            work: Work::Fixed,
            in_bursts: false,
        }
    }

    /// From an arrival at `at` to the next one.
    fn gap(self, at: f64, prng: &mut Prng) -> f64 {
        let times = if (at as u64) < Load::FALL_NS {
            self.times
        } else {
            self.then
        };
        let mean = SERVICE_NS as f64 / times;
        if !self.in_bursts {
            return prng.exponential(mean);
        }
        if prng.below(BURST) > 0 {
            return mean / INTENSITY;
        }
        // Of all gaps of a burst one is a pause, and together they have the mean.
        let burst = BURST as f64;
        prng.exponential(burst * mean - (burst - 1.0) * mean / INTENSITY)
    }

    /// Goodput of a server that knows what each frame takes and works on each that will be done within the budget: the most that
    /// can be had of frames that take alike.
    pub(super) fn attainable(self, budget_ns: u64) -> f64 {
        let mut prng = Prng::new(0x5eed);
        let (mut at, mut free_ns, mut good) = (0.0, 0, 0);
        loop {
            at += self.gap(at, &mut prng);
            let now_ns = at as u64;
            if now_ns >= SPAN_NS {
                return good as f64 / (SPAN_NS / SERVICE_NS) as f64;
            }
            let end_ns = now_ns.max(free_ns) + SERVICE_NS;
            if end_ns <= now_ns + budget_ns {
                (free_ns, good) = (end_ns, good + 1);
            }
        }
    }

    /// Runs it: `admit(now, backlog)` at the back of the queue, `drop(now, age)` at its front, `served(took)` after a service.
    /// The backlog counts the frame in work.
    pub(super) fn run(
        self,
        mut admit: impl FnMut(u64, usize) -> bool,
        mut drop: impl FnMut(u64, u64) -> bool,
        mut served: impl FnMut(u64),
    ) -> Server {
        let mut prng = Prng::new(0x5eed);
        let mut queue: VecDeque<u64> = VecDeque::new();
        let mut server = Server::default();
        let mut free_ns = 0;
        let mut at = 0.0;
        loop {
            at += self.gap(at, &mut prng);
            let now_ns = at as u64;
            let ended = now_ns >= SPAN_NS;
            while let Some(&arrived_ns) = queue.front()
                && (ended || free_ns.max(arrived_ns) <= now_ns)
            {
                queue.pop_front();
                let begin_ns = free_ns.max(arrived_ns);
                if drop(begin_ns, begin_ns - arrived_ns) {
                    free_ns = begin_ns + DROP_NS;
                    server.lost.push(arrived_ns);
                    continue;
                }
                let took_ns = match self.work {
                    Work::Fixed => SERVICE_NS,
                    Work::Varied => SERVICE_NS / 2 + prng.below(SERVICE_NS),
                };
                free_ns = begin_ns + took_ns;
                served(took_ns);
                server.served.push((arrived_ns, free_ns - arrived_ns));
            }
            if ended {
                return server;
            }
            server.offered += 1;
            if admit(now_ns, queue.len() + usize::from(free_ns > now_ns)) {
                queue.push_back(now_ns);
            } else {
                server.lost.push(now_ns);
            }
        }
    }
}

/// What became of the frames.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// Frames that arrived.
    pub(super) offered: usize,
    /// Arrival and sojourn of those served.
    served: Vec<(u64, u64)>,
    /// Arrival of those refused or dropped.
    lost: Vec<u64>,
}

impl Server {
    /// Frames served within the budget, as a share of what the server could do in the span of the load.
    pub(super) fn goodput(&self, budget_ns: u64) -> f64 {
        let good = self.served.iter().filter(|one| one.1 <= budget_ns).count();
        good as f64 / (SPAN_NS / SERVICE_NS) as f64
    }

    /// A quantile of the sojourn of all that were served, in nanoseconds.
    pub(super) fn quantile_ns(&self, quantile: f64) -> u64 {
        self.quantile_from_ns(0, quantile)
    }

    /// The same of those that arrived from then on.
    pub(super) fn quantile_from_ns(&self, from_ns: u64, quantile: f64) -> u64 {
        let later = self.served.iter().filter(|one| one.0 >= from_ns);
        let mut sojourns: Vec<u64> = later.map(|one| one.1).collect();
        assert!(sojourns.len() > 1_000, "too few to tell");
        sojourns.sort_unstable();
        sojourns[(quantile * (sojourns.len() - 1) as f64) as usize]
    }

    /// Frames refused or dropped.
    pub(super) fn lost(&self) -> usize {
        self.lost.len()
    }

    /// The same of those that arrived from then on.
    pub(super) fn lost_from(&self, from_ns: u64) -> usize {
        self.lost.iter().filter(|&&at_ns| at_ns >= from_ns).count()
    }
}

#[test]
fn a_server_below_its_capacity_waits_as_theory_has_it() {
    let server = Load::steady(0.5, Work::Fixed).run(|_, _| true, |_, _| false, |_| {});
    assert_eq!(server.served.len(), server.offered);
    // Pollaczek and Khinchine for fixed services: load / (2 (1 - load)) services of waiting in the mean.
    let sum_ns: u64 = server.served.iter().map(|one| one.1).sum();
    let mean_ns = sum_ns as f64 / server.served.len() as f64;
    assert!(
        (mean_ns / SERVICE_NS as f64 - 1.5).abs() < 0.02,
        "{mean_ns}"
    );
}

/// That at twice to ten times its capacity a server does useful work nine parts of ten, all of it within a budget.
pub(super) fn stays_in_budget(served: impl Fn(Load) -> Server, budget_ns: u64) {
    for work in [Work::Fixed, Work::Varied] {
        for times in [2.0, 5.0, 10.0] {
            let server = served(Load::steady(times, work));
            let (goodput, p99_ns) = (server.goodput(budget_ns), server.quantile_ns(0.99));
            assert!(goodput >= 0.9, "{times}x {work:?}: goodput {goodput}");
            assert!(p99_ns <= budget_ns, "{times}x {work:?}: p99 {p99_ns}");
        }
    }
}

/// That hardly anything is dropped below the server's capacity.
pub(super) fn drops_nothing_below_capacity(served: impl Fn(Load) -> Server) {
    let server = served(Load::steady(0.8, Work::Fixed));
    assert!(server.lost() * 1_000 <= server.offered, "{}", server.lost());
}

/// That from `within_ns` after the fall of a load on nothing is lost, and nothing takes longer than without an overload before.
pub(super) fn recovers(served: impl Fn(Load) -> Server, within_ns: u64) {
    let control = served(Load::steady(0.5, Work::Fixed)).quantile_ns(0.99);
    let server = served(Load::falls(10.0, 0.5));
    let after_ns = Load::FALL_NS + within_ns;
    assert_eq!(server.lost_from(after_ns), 0);
    let p99_ns = server.quantile_from_ns(after_ns, 0.99);
    assert!(p99_ns <= control + SERVICE_NS, "{p99_ns} and {control}");
}
