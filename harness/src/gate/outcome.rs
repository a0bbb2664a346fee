//! From verdicts to the one word and the exit code of a command.
//!
//! Invariant: without a verdict, or with one that rests on no frame, the exit code is never 0.

use std::collections::BTreeMap;

use super::model::{RunAnalysis, Verdict, Word};
use crate::Exit;

/// What INCONCLUSIVE does to the exit code: `--inconclusive=`. The word stays what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inconclusive {
    /// Without the option: a code of its own, 2.
    #[default]
    Shown,
    /// `pass`: 0. For where a red build costs more than a budget that is looked at next time.
    Pass,
    /// `fail`: 1. For where nothing may go on that was not shown to be fast enough.
    Fail,
    /// `neutral`: 0, and the caller shows it as neither good nor bad.
    Neutral,
}

impl Inconclusive {
    /// What the option's value says.
    ///
    /// ```
    /// use hopline_harness::gate::outcome::Inconclusive;
    /// assert_eq!(Inconclusive::parse("neutral"), Some(Inconclusive::Neutral));
    /// assert_eq!(Inconclusive::parse("maybe"), None);
    /// ```
    #[must_use]
    pub fn parse(value: &str) -> Option<Inconclusive> {
        match value {
            "pass" => Some(Inconclusive::Pass),
            "fail" => Some(Inconclusive::Fail),
            "neutral" => Some(Inconclusive::Neutral),
            _ => None,
        }
    }
}

/// What is said where so large a part of what a generator sent came to its source from others.
pub(crate) fn others_words(source: &str, share: f64) -> String {
    format!(
        "\"{source}\" got {} more than was sent to it: something else sends to its address, which nothing may while it is judged",
        percent(share)
    )
}

/// What is said where the logs of some hops had no room for all of their messages.
pub(crate) fn cut_words<'a>(runs: impl Iterator<Item = &'a RunAnalysis>) -> String {
    let mut most: BTreeMap<&str, u64> = BTreeMap::new();
    for (hop, lost) in runs.flat_map(RunAnalysis::cut_hops) {
        let so_far = most.entry(hop).or_default();
        *so_far = lost.max(*so_far);
    }
    let hops = most
        .iter()
        .map(|(hop, lost)| format!("{lost} messages of {hop}"));
    let hops: Vec<String> = hops.collect();
    format!(
        "{} found no room in the log of a run: shorter runs (--for) or a lower rate",
        hops.join(", ")
    )
}

/// The word for all verdicts together, the worst of them, and how the command ends: 3 before 1 before 2 before 0.
///
/// Verdicts that are only reported do not count. A verdict without frames ends 2 even where INCONCLUSIVE is to pass:
/// nothing was measured, so nothing can be looked over.
#[must_use]
pub fn overall(verdicts: &[Verdict], inconclusive: Inconclusive) -> (Word, Exit) {
    let judged = || verdicts.iter().filter(|verdict| !verdict.reported_only);
    let Some(worst) = judged().map(|verdict| verdict.word).max() else {
        return (Word::Inconclusive, Exit::Inconclusive);
    };
    let unmeasured = judged().any(|verdict| verdict.word == Word::Inconclusive && verdict.n == 0);
    let exit = match worst {
        Word::Pass | Word::PassClean => Exit::Good,
        Word::Fail => Exit::Fail,
        Word::Loss => Exit::Loss,
        Word::Inconclusive => match inconclusive {
            Inconclusive::Fail => Exit::Fail,
            Inconclusive::Pass | Inconclusive::Neutral if !unmeasured => Exit::Good,
            _ => Exit::Inconclusive,
        },
    };
    (worst, exit)
}

/// Puts the worst first, and what is only reported last. Those of the same word stay in their order.
pub fn sort(verdicts: &mut [Verdict]) {
    verdicts.sort_by_key(|verdict| (verdict.reported_only, std::cmp::Reverse(verdict.word)));
}

/// Takes back what was said by a part of what was to be measured: only a loss stays, since more runs could not undo it.
pub(super) fn cut_short(verdicts: &mut [Verdict]) {
    for verdict in verdicts.iter_mut().filter(|one| one.word != Word::Loss) {
        let said = Said::inconclusive(
            "cut short",
            "the gate was ended before all runs were made: run it again",
        );
        said.put_into(verdict);
    }
    sort(verdicts);
}

/// A word with its reason and what to do, before it is put beside its figures.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) word: Word,
    pub(super) reason: String,
    pub(super) next_step: String,
}

impl Said {
    pub(super) fn inconclusive(reason: &str, next_step: impl Into<String>) -> Said {
        Said {
            word: Word::Inconclusive,
            reason: reason.to_owned(),
            next_step: next_step.into(),
        }
    }

    pub(super) fn pass(word: Word, reason: impl Into<String>) -> Said {
        Said {
            word,
            reason: reason.into(),
            next_step: String::new(),
        }
    }

    pub(super) fn bad(word: Word, reason: impl Into<String>, next_step: impl Into<String>) -> Said {
        Said {
            word,
            reason: reason.into(),
            next_step: next_step.into(),
        }
    }

    pub(super) fn put_into(self, verdict: &mut Verdict) {
        verdict.word = self.word;
        verdict.reason = self.reason;
        verdict.next_step = self.next_step;
    }
}

/// A share of one as a person reads it.
pub(super) fn percent(share: f64) -> String {
    let hundredths = share * 100.0;
    match hundredths.abs() {
        0.0 => "0 %".to_owned(),
        // Nearly all is not all.
        at if (99.5..100.0).contains(&at) => {
            format!("{:.2} %", (hundredths * 100.0).trunc() / 100.0)
        }
        at if at >= 9.95 => format!("{hundredths:.0} %"),
        at if at >= 0.995 => format!("{hundredths:.1} %"),
        at if at >= 0.0995 => format!("{hundredths:.2} %"),
        _ => format!("{hundredths:.4} %"),
    }
}

/// What the host touched of so many frames, and by what.
pub(super) fn touched(n: u64, n_clean: u64, n_slowed: u64) -> String {
    let of_all = |part: u64| percent(part as f64 / n.max(1) as f64);
    let dirty = n.saturating_sub(n_clean);
    let all = format!("{} of the frames", of_all(dirty));
    match (n_slowed.min(dirty), dirty.saturating_sub(n_slowed)) {
        (0, _) => format!("{all}, by gaps"),
        (_, 0) => format!("{all}, by a core that ran slowly"),
        (slowed, by_gaps) => format!(
            "{all}, {} by gaps and {} by a core that ran slowly",
            of_all(by_gaps),
            of_all(slowed)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(word: Word) -> Verdict {
        Verdict {
            word,
            n: 10_000,
            ..Verdict::default()
        }
    }

    #[test]
    fn the_worst_word_wins() {
        use Word::{Fail, Inconclusive as Unclear, Loss, Pass, PassClean};
        let cases: [(&[Word], Word, Exit); 6] = [
            (&[Pass], Pass, Exit::Good),
            (&[Pass, PassClean], PassClean, Exit::Good),
            (&[Pass, Unclear, PassClean], Unclear, Exit::Inconclusive),
            (&[Unclear, Fail], Fail, Exit::Fail),
            (&[Fail, Loss, Unclear], Loss, Exit::Loss),
            (&[], Unclear, Exit::Inconclusive),
        ];
        for (words, word, exit) in cases {
            let mut verdicts: Vec<Verdict> = words.iter().copied().map(verdict).collect();
            let got = overall(&verdicts, Inconclusive::Shown);
            assert_eq!(got, (word, exit), "{words:?}");
            sort(&mut verdicts);
            assert!(verdicts.first().is_none_or(|first| first.word == word));
        }
    }

    #[test]
    fn the_option_says_what_inconclusive_ends_with_and_nothing_else() {
        let end = |word, option| overall(&[verdict(word)], option).1;
        for (option, exit) in [
            (Inconclusive::Shown, Exit::Inconclusive),
            (Inconclusive::Pass, Exit::Good),
            (Inconclusive::Neutral, Exit::Good),
            (Inconclusive::Fail, Exit::Fail),
        ] {
            assert_eq!(end(Word::Inconclusive, option), exit);
            assert_eq!(end(Word::Fail, option), Exit::Fail);
            assert_eq!(end(Word::Loss, option), Exit::Loss);
            assert_eq!(end(Word::PassClean, option), Exit::Good);
        }
    }

    #[test]
    fn no_samples_never_end_well() {
        let empty = Verdict::default();
        let both = [verdict(Word::Pass), empty];
        for option in [Inconclusive::Pass, Inconclusive::Neutral] {
            assert_eq!(overall(&both, option).1, Exit::Inconclusive);
            assert_eq!(overall(&[], option).1, Exit::Inconclusive);
        }
    }

    #[test]
    fn what_is_only_reported_does_not_count() {
        let mut reported = verdict(Word::Fail);
        reported.reported_only = true;
        let mut both = vec![reported.clone(), verdict(Word::Pass)];
        assert_eq!(
            overall(&both, Inconclusive::Shown),
            (Word::Pass, Exit::Good)
        );
        sort(&mut both);
        assert!(both[1].reported_only);
        let alone = overall(&[reported], Inconclusive::Shown);
        assert_eq!(alone, (Word::Inconclusive, Exit::Inconclusive));
    }

    #[test]
    fn what_is_cut_short_neither_passes_nor_fails() {
        use Word::{Fail, Inconclusive as Unclear, Loss, Pass, PassClean};
        let mut verdicts = [Pass, PassClean, Unclear, Fail].map(verdict);
        cut_short(&mut verdicts);
        for verdict in &verdicts {
            assert_eq!((verdict.word, &*verdict.reason), (Unclear, "cut short"));
        }
        let mut lost = [verdict(Pass), verdict(Loss)];
        cut_short(&mut lost);
        assert_eq!(lost.map(|verdict| verdict.word), [Loss, Unclear]);
    }

    #[test]
    fn shares_are_readable() {
        let texts = [1.0, 0.999_96, 0.5, 0.0153, 0.0022, 0.0001, 0.0].map(percent);
        let read = [
            "100 %", "99.99 %", "50 %", "1.5 %", "0.22 %", "0.0100 %", "0 %",
        ];
        assert_eq!(texts, read);
    }

    #[test]
    fn what_the_host_touched_has_its_ways() {
        let words = [(100, 10, 0), (100, 10, 90), (100, 10, 30), (0, 0, 0)]
            .map(|(n, n_clean, n_slowed)| touched(n, n_clean, n_slowed));
        assert_eq!(
            words,
            [
                "90 % of the frames, by gaps",
                "90 % of the frames, by a core that ran slowly",
                "90 % of the frames, 60 % by gaps and 30 % by a core that ran slowly",
                "0 % of the frames, by gaps",
            ]
        );
    }
}
