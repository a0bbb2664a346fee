//! A session in virtual time: each way to lose a connection, each limit to the nanosecond, and
//! random lives whose sums must hold.
//!
//! Invariant: the tests have no clock; time is a number that they raise.

use hopline::base::{Prng, Reason};
use hopline::wire::session::{Lost, Phase, RETRY_AFTER_NS_MAX, Session, SessionConfig, Step};

const S: u64 = 1_000_000_000;

fn config() -> SessionConfig {
    SessionConfig {
        connect_ns: 10 * S,
        handshake_ns: 8 * S,
        ping_ns: 15 * S,
        silence_ns: 45 * S,
        pong_ns: Some(40 * S),
        stale_ns: Some(5 * S),
        stale_drop_ns: None,
        close_ns: 3 * S,
        wait_min_ns: S,
        wait_max_ns: 30 * S,
        healthy_ns: 30 * S,
        seed: 7,
    }
}

/// A session that was opened at 0.
fn open(config: SessionConfig) -> Session {
    let mut session = Session::new(config, 0);
    assert_eq!(session.poll(0), Some(Step::Dial));
    session.connected(0);
    session.opened(0);
    assert_eq!((session.poll(0), session.phase()), (None, Phase::Live));
    session
}

/// The steps at their times, as a loop sees them that sleeps until the next one, up to `until_ns`.
fn steps(session: &mut Session, until_ns: u64) -> Vec<(u64, Step)> {
    let mut all = Vec::new();
    loop {
        let now_ns = session.next_ns();
        if now_ns > until_ns {
            return all;
        }
        assert_eq!(
            session.poll(now_ns.saturating_sub(1)),
            None,
            "not before its time"
        );
        let step = session.poll(now_ns);
        let step = step.expect("at its time there is something to do");
        all.push((now_ns, step));
        if matches!(step, Step::Drop(_)) {
            return all;
        }
    }
}

#[test]
fn a_dial_and_a_handshake_that_take_too_long_are_given_up() {
    let mut session = Session::new(config(), 5);
    assert_eq!(
        (session.next_ns(), session.poll(4), session.poll(5)),
        (5, None, Some(Step::Dial))
    );
    assert_eq!(
        steps(&mut session, u64::MAX),
        [(5 + 10 * S, Step::Drop(Lost::ConnectTimeout))]
    );
    let again_ns = session.next_ns();
    assert_eq!(session.poll(again_ns), Some(Step::Dial));
    session.connected(again_ns + S);
    assert_eq!(session.phase(), Phase::Handshaking);
    let dropped = (again_ns + 9 * S, Step::Drop(Lost::HandshakeTimeout));
    assert_eq!(steps(&mut session, u64::MAX), [dropped]);
    assert_eq!(
        (session.counts().dials, session.counts().lost_in_all()),
        (2, 2)
    );
}

#[test]
fn a_half_open_connection_is_found_within_its_limit() {
    let mut session = open(SessionConfig {
        stale_ns: None,
        pong_ns: None,
        ..config()
    });
    let expected = [
        (15 * S, Step::Ping(1)),
        (30 * S, Step::Ping(2)),
        (45 * S, Step::Drop(Lost::Silent)),
    ];
    assert_eq!(steps(&mut session, u64::MAX), expected);
    assert_eq!(session.counts().lost(Lost::Silent), 1);
    // Anything that comes in is life, an answer or not.
    let mut session = open(SessionConfig {
        stale_ns: None,
        pong_ns: None,
        ..config()
    });
    session.received(20 * S);
    let last = steps(&mut session, u64::MAX).pop();
    assert_eq!(last, Some((65 * S, Step::Drop(Lost::Silent))));
}

#[test]
fn pings_without_an_answer_end_a_connection_on_which_data_still_comes() {
    let mut session = open(SessionConfig {
        stale_ns: None,
        ..config()
    });
    let mut dropped = None;
    for now_ns in (S..100 * S).step_by(S as usize) {
        session.message(now_ns);
        while let Some(step) = session.poll(now_ns) {
            if let Step::Drop(why) = step {
                dropped.get_or_insert((now_ns, why));
            }
        }
    }
    assert_eq!(
        dropped,
        Some((55 * S, Lost::NoPong)),
        "40 s behind the first ping"
    );
}

#[test]
fn the_answer_to_a_ping_gives_its_round_and_no_other_does() {
    let mut session = open(SessionConfig {
        stale_ns: None,
        ..config()
    });
    assert_eq!(session.pong(1, S), None, "nothing was asked");
    assert_eq!(session.poll(15 * S), Some(Step::Ping(1)));
    assert_eq!(session.pong(2, 16 * S), None, "of a ping that was not sent");
    assert_eq!(session.pong(1, 16 * S), Some(S));
    assert_eq!(session.pong(1, 17 * S), None, "twice");
    assert_eq!(session.poll(30 * S), Some(Step::Ping(2)));
    session.received(40 * S);
    assert_eq!(session.poll(45 * S), Some(Step::Ping(3)));
    // Only the last one need be answered, and then nothing is owed, but the round is not known.
    assert_eq!(session.pong(3, 46 * S), None);
    assert_eq!((session.counts().pings, session.counts().pongs), (3, 2));
    session.received(80 * S);
    assert_eq!(session.poll(86 * S), Some(Step::Ping(4)), "and not dropped");
}

#[test]
fn data_that_grows_stale_is_said_once_and_its_return_is_told() {
    let mut session = open(config());
    assert!(!session.message(2 * S));
    session.received(6 * S);
    assert_eq!(steps(&mut session, 7 * S), [(7 * S, Step::Stale)]);
    assert_eq!(
        (session.phase(), session.data_age_ns(8 * S)),
        (Phase::Stale, Some(6 * S))
    );
    assert_eq!(steps(&mut session, 16 * S), [(15 * S, Step::Ping(1))]);
    assert!(session.is_open() && session.message(16 * S));
    assert_eq!(session.phase(), Phase::Live);
    assert_eq!(steps(&mut session, 22 * S), [(21 * S, Step::Stale)]);
    assert_eq!(session.counts().stale, 2);
    // A feed that is quiet for longer is tried elsewhere, though the peer is well.
    let mut session = open(SessionConfig {
        stale_drop_ns: Some(20 * S),
        ..config()
    });
    session.received(19 * S);
    let last = steps(&mut session, u64::MAX).pop();
    assert_eq!(last, Some((20 * S, Step::Drop(Lost::Stale))));
}

#[test]
fn a_loop_that_was_away_sends_one_ping_and_hears_before_it_judges() {
    let mut session = open(SessionConfig {
        stale_ns: None,
        pong_ns: None,
        ..config()
    });
    session.received(100 * S);
    assert_eq!(session.poll(100 * S), Some(Step::Ping(1)));
    assert_eq!((session.poll(100 * S), session.next_ns()), (None, 115 * S));
    // Time that goes back does no harm.
    session.received(3 * S);
    assert_eq!(session.poll(101 * S), None);
}

#[test]
fn waits_lie_between_their_bounds_grow_and_differ_by_seed() {
    let mut firsts = Vec::new();
    for seed in 0..200 {
        let mut session = Session::new(SessionConfig { seed, ..config() }, 0);
        let mut now_ns = 0;
        for nth in 0..8 {
            assert_eq!(session.poll(now_ns), Some(Step::Dial));
            session.lost(Lost::Refused, now_ns);
            let wait_ns = session.next_ns() - now_ns;
            let most_ns = ((2 * S) << nth).min(30 * S);
            assert!((S..=most_ns).contains(&wait_ns), "{nth}: {wait_ns}");
            if nth == 3 {
                firsts.push(wait_ns);
            }
            now_ns += wait_ns;
        }
        assert_eq!(session.counts().lost(Lost::Refused), 8);
    }
    firsts.sort_unstable();
    firsts.dedup();
    assert_eq!(firsts.len(), 200, "nobody comes back together");
    assert!(
        firsts[20] < 5 * S && firsts[180] > 12 * S,
        "over all of the span"
    );
}

#[test]
fn only_a_connection_that_held_makes_the_next_wait_short() {
    let waited = |live_ns: u64| {
        let mut session = Session::new(config(), 0);
        let mut now_ns = 0;
        for _ in 0..10 {
            assert_eq!(session.poll(now_ns), Some(Step::Dial));
            session.lost(Lost::Refused, now_ns);
            now_ns = session.next_ns();
        }
        session.poll(now_ns);
        session.connected(now_ns);
        session.opened(now_ns);
        now_ns += live_ns;
        session.lost(Lost::Reset, now_ns);
        // The next one's ceiling tells which it was; drawn often enough, it is reached.
        session.next_ns() - now_ns
    };
    assert!(waited(30 * S) <= 2 * S);
    assert!(waited(30 * S - 1) > 2 * S, "by this seed");
}

#[test]
fn a_peer_that_asks_for_time_gets_it_up_to_a_bound() {
    for (asked_ns, least_ns) in [(0, S), (60 * S, 60 * S), (u64::MAX, RETRY_AFTER_NS_MAX)] {
        let mut session = Session::new(config(), 0);
        session.poll(0);
        session.connected(0);
        session.lost_until(Lost::HandshakeRefused, S, asked_ns);
        let wait_ns = session.next_ns() - S;
        assert!(wait_ns >= least_ns && wait_ns <= least_ns.max(2 * S));
    }
}

#[test]
fn stopping_closes_what_is_open_drops_what_is_not_and_is_final() {
    let mut session = open(config());
    assert_eq!(
        (session.stop(S), session.phase()),
        (Some(Step::Close), Phase::Closing)
    );
    assert_eq!(session.stop(S), None);
    session.lost(Lost::Closed, 2 * S);
    assert_eq!(
        (session.phase(), session.next_ns()),
        (Phase::Stopped, u64::MAX)
    );
    assert_eq!(
        (
            session.counts().lost(Lost::Stopped),
            session.counts().lost_in_all()
        ),
        (1, 1)
    );
    assert_eq!(session.poll(u64::MAX), None);
    let mut session = open(config());
    session.stop(S);
    assert_eq!(
        steps(&mut session, u64::MAX),
        [(4 * S, Step::Drop(Lost::CloseTimeout))]
    );
    assert_eq!(session.phase(), Phase::Stopped);
    let mut session = Session::new(config(), 0);
    session.poll(0);
    assert_eq!(session.stop(1), Some(Step::Drop(Lost::Stopped)));
    assert_eq!(
        (session.phase(), session.counts().lost_in_all()),
        (Phase::Stopped, 1)
    );
    let mut session = Session::new(config(), 0);
    assert_eq!((session.stop(0), session.poll(0)), (None, None));
}

#[test]
fn a_random_life_adds_up_and_is_the_same_again() {
    let life = |seed: u64| {
        let mut prng = Prng::new(seed);
        let mut session = Session::new(SessionConfig { seed, ..config() }, 0);
        let (mut now_ns, mut log) = (0, Vec::new());
        let mut phases = [false; 5];
        for _ in 0..500 {
            now_ns = match prng.below(3) {
                0 => session.next_ns().min(now_ns + 60 * S).max(now_ns),
                _ => now_ns + prng.below(20 * S),
            };
            match (session.phase(), prng.below(10)) {
                (Phase::Connecting, 0..=6) => session.connected(now_ns),
                (Phase::Handshaking, 0..=6) => session.opened(now_ns),
                (Phase::Live | Phase::Stale, 0..=3) => {
                    session.message(now_ns);
                }
                (Phase::Live | Phase::Stale, 4..=5) => session.received(now_ns),
                (_, 6) => session.lost(Lost::Reset, now_ns),
                _ => {}
            }
            for _ in 0..10 {
                let Some(step) = session.poll(now_ns) else {
                    break;
                };
                log.push((now_ns, step));
                if let Step::Ping(number) = step
                    && prng.below(4) > 0
                {
                    session.pong(number, now_ns);
                }
            }
            assert_eq!(session.poll(now_ns), None, "a time has an end of steps");
            assert!(session.next_ns() > now_ns, "and then there is a later one");
            match session.phase() {
                Phase::Waiting => phases[0] = true,
                Phase::Connecting => phases[1] = true,
                Phase::Handshaking => phases[2] = true,
                Phase::Live => phases[3] = true,
                Phase::Stale => phases[4] = true,
                phase => panic!("{phase:?} without a stop"),
            }
            let counts = session.counts();
            let under_way = !matches!(session.phase(), Phase::Waiting);
            assert_eq!(
                counts.dials,
                counts.lost_in_all() + u64::from(under_way),
                "each dial ends once"
            );
            assert!(counts.opened <= counts.dials && counts.pongs <= counts.pings);
            assert!(counts.down_ns <= now_ns);
        }
        let sum: u64 = Lost::ALL
            .iter()
            .map(|why| session.counts().lost(*why))
            .sum();
        assert_eq!(sum, session.counts().lost_in_all());
        (log, phases)
    };
    let mut all = [false; 5];
    for seed in 0..300 {
        let (log, phases) = life(seed);
        for (all, one) in all.iter_mut().zip(phases) {
            *all |= one;
        }
        if seed < 10 {
            assert_eq!(life(seed).0, log);
        }
    }
    assert_eq!(all, [true; 5]);
    assert!(Lost::ALL.iter().all(|why| !why.name().is_empty()));
}

#[test]
fn a_time_in_which_nobody_listened_is_nobodys_silence() {
    let mut session = open(config());
    let at_15 = [(5 * S, Step::Stale), (15 * S, Step::Ping(1))];
    assert_eq!(steps(&mut session, 15 * S), at_15);
    // A minute and more in which nothing could be taken in: longer than any limit.
    session.unheard(90 * S);
    assert_eq!(session.poll(90 * S), Some(Step::Ping(2)));
    assert_eq!(session.poll(90 * S), None, "its limits count from here");
    assert_eq!(
        session.pong(2, 91 * S),
        None,
        "the first is the one that is timed"
    );
    assert_eq!(session.counts().pongs, 1);
    // From then on it is silent like any other.
    session.unheard(20 * S);
    let last = steps(&mut session, u64::MAX).pop();
    assert_eq!(last, Some((136 * S, Step::Drop(Lost::Silent))));
}
