//! What the rounds came to, as a table for people and as rows for machines.
//!
//! Invariant: a ratio is the median of ratios within rounds, never a ratio of medians.

use core::fmt::Write;

use serde::Serialize;

use super::rounds::{Role, Runs};
use super::spans::Percentiles;
use super::spread::{Spread, ratios, signs};

/// One candidate as a row for machines: medians over the rounds, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The candidate.
    pub name: String,
    /// Bytes of payload that it carried.
    pub payload_bytes: usize,
    /// Median over the rounds of their p50.
    pub p50: f64,
    /// The same of p90.
    pub p90: f64,
    /// The same of p99.
    pub p99: f64,
    /// p50 over the floor's, within rounds; 0 where no floor ran.
    pub ratio: f64,
}

/// One candidate, summed up.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The candidate.
    pub name: String,
    /// Bytes of payload.
    pub payload_bytes: usize,
    /// What it is in the comparison.
    pub role: Role,
    /// p50 over the rounds, in nanoseconds; p90 and p99 likewise.
    pub p50: Spread,
    /// See [`Measured::p50`].
    pub p90: Spread,
    /// See [`Measured::p50`].
    pub p99: Spread,
    /// p50 over the floor's p50; `None` where no floor ran.
    pub p50_to_floor: Option<Spread>,
    /// p99 over the floor's p99.
    pub p99_to_floor: Option<Spread>,
    /// p50 over the best peer's: the peer of the same payload whose median p50 is lowest (for a
    /// peer, the best of the others).
    pub to_best: Option<(String, Spread)>,
    /// In how many rounds its p50 is below the named rival's, out of how many.
    pub below: Option<(usize, usize)>,
}

/// All candidates, summed up.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// In the order in which they were given.
    pub measured: Vec<Measured>,
    /// The rival of the sign counts.
    pub against: Option<String>,
}

fn p50(percentiles: &Percentiles) -> f64 {
    percentiles.p50
}

fn p99(percentiles: &Percentiles) -> f64 {
    percentiles.p99
}

/// The peer of that payload with the lowest median, other than `but`.
fn best<'a, S>(
    runs: &'a [Runs<S>],
    payload_bytes: usize,
    but: &str,
    of: impl Fn(&S) -> f64 + Copy,
) -> Option<&'a Runs<S>> {
    runs.iter()
        .filter(|run| run.role == Role::Peer && run.payload_bytes == payload_bytes)
        .filter(|run| run.name != but)
        .min_by(|a, b| {
            let median = |run: &Runs<S>| Spread::of(&run.series(of)).median;
            median(a).total_cmp(&median(b))
        })
}

impl Summary {
    /// Sums up; `against` names the rival of the sign counts.
    #[must_use]
    pub fn of(runs: &[Runs<Percentiles>], against: Option<&str>) -> Summary {
        let floor = runs.iter().find(|run| run.role == Role::Floor);
        let measured = runs.iter().map(|run| {
            let to_floor = |of: fn(&Percentiles) -> f64| {
                let floor = floor?;
                Some(Spread::of(&ratios(&run.series(of), &floor.series(of))))
            };
            let compared = matches!(run.role, Role::Ours | Role::Peer);
            let to_best = compared.then(|| best(runs, run.payload_bytes, &run.name, p50));
            let to_best = to_best.flatten().map(|best| {
                let ratios = ratios(&run.series(p50), &best.series(p50));
                (best.name.clone(), Spread::of(&ratios))
            });
            let rival = runs.iter().find(|rival| {
                compared
                    && Some(rival.name.as_str()) == against
                    && rival.payload_bytes == run.payload_bytes
                    && rival.name != run.name
            });
            Measured {
                name: run.name.clone(),
                payload_bytes: run.payload_bytes,
                role: run.role,
                p50: Spread::of(&run.series(p50)),
                p90: Spread::of(&run.series(|percentiles| percentiles.p90)),
                p99: Spread::of(&run.series(p99)),
                p50_to_floor: to_floor(p50),
                p99_to_floor: to_floor(p99),
                to_best,
                below: rival.map(|rival| signs(&run.series(p50), &rival.series(p50))),
            }
        });
        Summary {
            measured: measured.collect(),
            against: against.map(str::to_owned),
        }
    }

    /// The candidate of that name and payload.
    #[must_use]
    pub fn find(&self, name: &str, payload_bytes: usize) -> Option<&Measured> {
        self.measured
            .iter()
            .find(|measured| measured.name == name && measured.payload_bytes == payload_bytes)
    }

    /// The physical floor, if it ran.
    #[must_use]
    pub fn floor(&self) -> Option<Percentiles> {
        let floor = self.measured.iter().find(|one| one.role == Role::Floor)?;
        Some(Percentiles {
            p50: floor.p50.median,
            p90: floor.p90.median,
            p99: floor.p99.median,
        })
    }

    /// One row a candidate, the null and the floor left out.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let shown = |measured: &&Measured| !matches!(measured.role, Role::Null | Role::Floor);
        let row = |measured: &Measured| Row {
            name: measured.name.clone(),
            payload_bytes: measured.payload_bytes,
            p50: measured.p50.median,
            p90: measured.p90.median,
            p99: measured.p99.median,
            ratio: measured.p50_to_floor.map_or(0.0, |ratio| ratio.median),
        };
        self.measured.iter().filter(shown).map(row).collect()
    }

    /// A table of text: nanoseconds as `median (lowest-highest)` over the rounds.
    #[must_use]
    pub fn table(&self) -> String {
        let below = self.against.as_ref().map(|against| format!("< {against}"));
        let head = format!(
            "{:<34} {:>5} {:>22} {:>22} {:>22} {:>18} {:>11}  {:<26} {}",
            "",
            "bytes",
            "p50 ns",
            "p90 ns",
            "p99 ns",
            "p50 / floor",
            "p99 / floor",
            "p50 / best peer",
            below.as_deref().unwrap_or_default(),
        );
        let mut text = format!("{}\n", head.trim_end());
        for one in &self.measured {
            let bytes = match one.role {
                Role::Null | Role::Floor => String::new(),
                _ => one.payload_bytes.to_string(),
            };
            let floor = |ratio: Option<Spread>| ratio.map(|ratio| format!("{ratio:.2}"));
            let p99_ratio = one.p99_to_floor.map(|ratio| format!("{:.2}", ratio.median));
            let best = one.to_best.as_ref();
            let best = best.map(|(name, ratio)| format!("{:.2} {name}", ratio.median));
            let below = one
                .below
                .map(|(below, rounds)| format!("{below} of {rounds}"));
            let row = format!(
                "{:<34} {:>5} {:>22} {:>22} {:>22} {:>18} {:>11}  {:<26} {}",
                one.name,
                bytes,
                one.p50.to_string(),
                one.p90.to_string(),
                one.p99.to_string(),
                floor(one.p50_to_floor).unwrap_or_default(),
                p99_ratio.unwrap_or_default(),
                best.unwrap_or_default(),
                below.unwrap_or_default(),
            );
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A table of streams: nanoseconds an item, and the ratio to the best peer of the same payload.
#[must_use]
pub fn stream_table(runs: &[Runs<f64>]) -> String {
    let mut text = format!(
        "{:<34} {:>5} {:>22}  {}\n",
        "", "bytes", "ns an item", "/ best peer"
    );
    for run in runs {
        let series = run.series(|&ns| ns);
        let best = best(runs, run.payload_bytes, &run.name, |&ns| ns).map(|best| {
            let ratio = Spread::of(&ratios(&series, &best.series(|&ns| ns)));
            format!("{ratio:.2} {}", best.name)
        });
        let _ = writeln!(
            text,
            "{:<34} {:>5} {:>22}  {}",
            run.name,
            run.payload_bytes,
            Spread::of(&series).to_string(),
            best.unwrap_or_default()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(name: &str, payload_bytes: usize, role: Role, p50s: &[f64]) -> Runs<Percentiles> {
        let round = |&p50: &f64| Percentiles {
            p50,
            p90: p50 * 1.5,
            p99: p50 * 2.0,
        };
        Runs {
            name: name.to_owned(),
            payload_bytes,
            role,
            rounds: p50s.iter().map(round).collect(),
        }
    }

    fn sample() -> Summary {
        let runs = [
            runs("floor", 8, Role::Floor, &[100.0, 200.0, 50.0]),
            runs("ours", 56, Role::Ours, &[90.0, 220.0, 50.0]),
            runs("quick", 56, Role::Peer, &[100.0, 210.0, 60.0]),
            runs("slow", 56, Role::Peer, &[300.0, 600.0, 10.0]),
            runs("other size", 8, Role::Peer, &[1.0, 1.0, 1.0]),
        ];
        Summary::of(&runs, Some("quick"))
    }

    #[test]
    fn ratios_are_taken_within_rounds_and_to_the_best_of_the_same_payload() {
        let summary = sample();
        let ours = summary.find("ours", 56).unwrap();
        let to_floor = ours.p50_to_floor.unwrap();
        assert_eq!(
            (to_floor.low, to_floor.median, to_floor.high),
            (0.9, 1.0, 1.1)
        );
        let (best, ratio) = ours.to_best.as_ref().unwrap();
        assert_eq!((best.as_str(), ratio.median), ("quick", 0.9));
        assert_eq!(ours.below, Some((2, 3)));
        let quick = summary.find("quick", 56).unwrap();
        assert_eq!(quick.to_best.as_ref().unwrap().0, "slow");
        assert_eq!(quick.below, None);
        assert_eq!(summary.find("other size", 8).unwrap().to_best, None);
    }

    #[test]
    fn rows_and_table_show_it() {
        let summary = sample();
        assert_eq!(summary.floor().unwrap().p50, 100.0);
        let rows = summary.rows();
        assert_eq!(rows.len(), 4);
        let json = serde_json::to_value(&rows[0]).unwrap();
        let keys = ["name", "payload_bytes", "p50", "p90", "p99", "ratio"];
        assert!(keys.iter().all(|key| json.get(key).is_some()), "{json}");
        assert_eq!(json.as_object().unwrap().len(), keys.len());
        let table = summary.table();
        let ours = table.lines().find(|row| row.starts_with("ours")).unwrap();
        assert!(ours.contains("90.0 (50.0-220.0)"), "{ours}");
        assert!(
            ours.contains("0.90 quick") && ours.ends_with("2 of 3"),
            "{ours}"
        );
    }

    #[test]
    fn streams_are_compared_with_the_best_peer() {
        let run = |name: &str, role, rounds: &[f64]| Runs {
            name: name.to_owned(),
            payload_bytes: 8,
            role,
            rounds: rounds.to_vec(),
        };
        let table = stream_table(&[
            run("ours", Role::Ours, &[2.0, 4.0]),
            run("peer", Role::Peer, &[4.0, 4.0]),
        ]);
        assert!(table.contains("1.00 (0.50-1.00) peer"), "{table}");
    }
}
