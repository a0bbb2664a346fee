//! Rounds in which every candidate has its turn.
//!
//! Invariant: the figures at the same place of two series come from the same round.

use core::fmt;

use serde::Serialize;

use super::MeasureError;

/// What a candidate is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What measuring costs.
    Null,
    /// The physical floor: ratios are taken to it.
    Floor,
    /// hopline's own.
    Ours,
    /// A rival that carries the same payload.
    Peer,
    /// Shown, and compared with the floor only.
    Aside,
}

/// One thing to measure, once a round.
pub struct Candidate<'a, S> {
    /// The name in tables.
    pub name: String,
    /// Bytes of payload that it carries: candidates with the same number are compared.
    pub payload_bytes: usize,
    /// What it is in the comparison.
    pub role: Role,
    measure: Box<dyn FnMut(usize) -> Result<S, MeasureError> + 'a>,
}

impl<'a, S> Candidate<'a, S> {
    /// A candidate that `measure` measures, given the number of the round.
    pub fn new(
        name: impl Into<String>,
        payload_bytes: usize,
        role: Role,
        measure: impl FnMut(usize) -> Result<S, MeasureError> + 'a,
    ) -> Candidate<'a, S> {
        Candidate {
            name: name.into(),
            payload_bytes,
            role,
            measure: Box::new(measure),
        }
    }
}

impl<S> fmt::Debug for Candidate<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("name", &self.name)
            .field("payload_bytes", &self.payload_bytes)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// What a candidate measured, round by round.
#[derive(Clone, Debug, PartialEq)]
pub struct Runs<S> {
    /// The name in tables.
    pub name: String,
    /// Bytes of payload.
    pub payload_bytes: usize,
    /// What it is in the comparison.
    pub role: Role,
    /// A figure a round.
    pub rounds: Vec<S>,
}

impl<S> Runs<S> {
    /// One number of each round.
    pub fn series(&self, of: impl Fn(&S) -> f64) -> Vec<f64> {
        self.rounds.iter().map(of).collect()
    }
}

/// Measures every candidate in each of `rounds` rounds, beginning with another one each time.
///
/// # Errors
/// What a candidate says, or [`MeasureError::Nothing`] if there is none.
pub fn interleave<S>(
    rounds: usize,
    candidates: Vec<Candidate<'_, S>>,
) -> Result<Vec<Runs<S>>, MeasureError> {
    interleave_while(rounds, candidates, |_| true)
}

/// The same in fewer rounds, if `goes_on` says so: it is asked before each but the first, with how
/// many were done.
///
/// # Errors
/// As [`interleave`].
pub fn interleave_while<S>(
    rounds: usize,
    candidates: Vec<Candidate<'_, S>>,
    mut goes_on: impl FnMut(usize) -> bool,
) -> Result<Vec<Runs<S>>, MeasureError> {
    let count = candidates.len();
    if count == 0 || rounds == 0 {
        return Err(MeasureError::Nothing);
    }
    let mut measures = Vec::with_capacity(count);
    let mut runs = Vec::with_capacity(count);
    for candidate in candidates {
        measures.push(candidate.measure);
        runs.push(Runs {
            name: candidate.name,
            payload_bytes: candidate.payload_bytes,
            role: candidate.role,
            rounds: Vec::with_capacity(rounds),
        });
    }
    for round in 0..rounds {
        if round > 0 && !goes_on(round) {
            break;
        }
        for turn in 0..count {
            let at = (round + turn) % count;
            runs[at].rounds.push((measures[at])(round)?);
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;

    use super::*;

    #[test]
    fn every_round_has_all_and_begins_with_another() {
        let order = RefCell::new(Vec::new());
        let candidate = |name: &'static str| {
            let order = &order;
            Candidate::new(name, 8, Role::Ours, move |round| {
                order.borrow_mut().push(format!("{name}{round}"));
                Ok(round)
            })
        };
        let runs = interleave(3, vec![candidate("a"), candidate("b")]).unwrap();
        assert_eq!(order.borrow().join(" "), "a0 b0 b1 a1 a2 b2");
        assert!(runs.iter().all(|run| run.rounds == [0, 1, 2]));
        assert_eq!(runs[1].series(|&round| round as f64), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn rounds_end_early_and_whole() {
        let candidate = || Candidate::new("x", 8, Role::Ours, Ok);
        let of = |rounds| {
            let runs = interleave_while(5, vec![candidate(), candidate()], |done| done < rounds);
            let runs = runs.unwrap();
            [runs[0].rounds.len(), runs[1].rounds.len()]
        };
        assert_eq!([of(0), of(3), of(9)], [[1; 2], [3; 2], [5; 2]]);
    }

    #[test]
    fn a_fault_ends_it_and_nothing_is_not_measured() {
        let fault = || Candidate::new("x", 8, Role::Ours, |_| Err::<(), _>(MeasureError::Nothing));
        assert!(interleave(2, vec![fault()]).is_err());
        assert_eq!(interleave::<()>(2, vec![]), Err(MeasureError::Nothing));
        assert_eq!(interleave(0, vec![fault()]), Err(MeasureError::Nothing));
    }
}
