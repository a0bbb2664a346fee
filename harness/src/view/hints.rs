//! Where to look next, from what a run has shown.
//!
//! Invariant: each line names a thing of the run and something to do about it.

use hopline::base::limits::{DEPTH_MAX, FRAGMENTS_MAX};
use hopline::base::units::Span;
use hopline::budget::Culprit;
use hopline::budget::culprit::Cause;
use hopline::budget::losses::LostTo;
use hopline::budget::report::{HopReport, ends};
use hopline::topology::Report;

use super::text::grouped;
use crate::report::RunReport;

/// A source that was behind its schedule by more than this did not keep up: a loop that loses its
/// core for a few slices of the scheduler is behind by less.
const BEHIND_NS: u64 = 100_000_000;

/// Where to look next, from what the run has shown; `program` and `case` as the user called them.
pub(crate) fn hints(run: &RunReport, program: &str, case: &str, is_fed: bool) -> Vec<String> {
    let report = &run.report;
    let mut hints = Vec::new();
    hints.extend(report.hops.iter().flat_map(|hop| lost(report, hop)));
    for (name, source) in &report.ledger.sources {
        if source.kernel_dropped > 0 {
            let least = if source.kernel_dropped_at_least {
                "at least "
            } else {
                ""
            };
            hints.push(format!(
                "the kernel dropped {least}{} datagrams before {name} took them: runbooks/kernel-drops.md",
                grouped(source.kernel_dropped)
            ));
        }
        if source.late_ns_max > BEHIND_NS {
            hints.push(format!(
                "{name} was up to {} behind its schedule: the line could not keep up, or its core was taken away",
                Span(source.late_ns_max)
            ));
        }
    }
    for sink in report.stages.iter().filter(|stage| stage.role == "sink") {
        if let Some(refused) = sink.rejected.get("refused") {
            hints.push(format!(
                "nobody listened where {} sends: {} of its datagrams were refused",
                sink.name,
                grouped(*refused)
            ));
        }
    }
    if hints.is_empty()
        && let Some(slow) = slowest(report)
    {
        hints.push(slow);
    }
    if is_fed {
        let source = report.ledger.sources.keys().next();
        let source = source.map_or("NAME", String::as_str);
        hints.push(format!(
            "{program} run {case} --input {source}=FILE --speed 100x, with a capture of your own"
        ));
    }
    hints.push(format!(
        "{program} plan {case}, for threads, cores and bytes; {program} run --help, for the rest"
    ));
    hints
}

/// What a hop has lost, to what, and what may help: a line for each of its limits.
fn lost(report: &Report, hop: &HopReport) -> Vec<String> {
    let (name, losses) = (&hop.name, hop.losses());
    let hint = |what: LostTo| {
        let messages = match losses.to(what) {
            0 => return None,
            messages => grouped(messages),
        };
        Some(match what {
            LostTo::Room => {
                let is_culprit = |culprit: &&Culprit| culprit.hop.as_ref() == Some(name);
                let culprit = report.culprit().filter(is_culprit);
                // Full for most of the time is no burst.
                let mostly_full = hop.full_ns > report.line.elapsed_ns / 2;
                if mostly_full || culprit.is_some_and(|culprit| culprit.cause != Cause::Bursts) {
                    format!(
                        "{name} lost {messages} messages for want of room: a deeper hop would only make them wait; \
                         docs/ATTRIBUTION.md"
                    )
                } else {
                    // A message of the most fragments must fit at all.
                    let deeper = (hop.depth * 4).clamp(2 * FRAGMENTS_MAX, DEPTH_MAX);
                    format!(
                        "{name} lost {messages} messages for want of room: its consumer was too slow for its depth; \
                         try --hop '{name}:depth={deeper}'"
                    )
                }
            }
            LostTo::Newer => format!(
                "{name}: {messages} messages gave way to newer ones of their keys, as its policy says"
            ),
            LostTo::Age => format!(
                "{name} lost {messages} messages for their age: more is offered than its consumer takes within the limit; \
                 docs/ATTRIBUTION.md"
            ),
            LostTo::Rate => format!(
                "{name} shed {messages} messages over its rate ({}): its source is faster than it may be",
                hop.policy
            ),
            LostTo::Ladder => format!(
                "{name} shed {messages} messages on the degrade ladder: more is offered than its consumer takes; \
                 docs/OVERLOAD.md"
            ),
            LostTo::Sample => format!(
                "{name} took a sample and shed {messages} messages: more is offered than its consumer takes"
            ),
            // The faults, the ledger and the rows above say why.
            LostTo::Other => return None,
        })
    };
    LostTo::ALL.into_iter().filter_map(hint).collect()
}

/// The hop with the longest p99, and whether it waits or works.
fn slowest(report: &Report) -> Option<String> {
    let hop = report
        .hops
        .iter()
        .filter(|hop| hop.sojourn_ns.count > 0)
        .max_by_key(|hop| hop.sojourn_ns.p99)?;
    let (_, consumer) = ends(&hop.name);
    let what = if hop.wait_ns.p99 > hop.service_ns.p99 {
        format!("mostly waiting for {consumer} to get its turn")
    } else {
        format!("mostly {consumer}'s own work")
    };
    Some(format!(
        "the slowest hop is {}: p99 {}, {what}",
        hop.name,
        Span(hop.sojourn_ns.p99)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::a_run;
    use super::*;

    #[test]
    fn what_a_hop_lost_is_told_by_the_limit_it_was_lost_to() {
        let mut run = a_run();
        let name = run.report.hops[0].name.clone();
        let told = |run: &RunReport| hints(run, "hopline", "mine", false).join("\n");
        let with = |why: &str, was_degraded: bool| {
            let mut run = a_run();
            let hop = &mut run.report.hops[0];
            hop.policy = "drop_newest, 50000/s".to_owned();
            let map = match why {
                "late" | "stale" => &mut hop.discarded,
                _ => &mut hop.shed,
            };
            map.insert(why.to_owned(), 1_234);
            if was_degraded {
                hop.rungs.insert("sample".to_owned(), 1);
            }
            told(&run)
        };
        for (why, was_degraded, words) in [
            (
                "rate_limited",
                false,
                "over its rate (drop_newest, 50000/s)",
            ),
            ("hopeless", false, "for their age"),
            ("late", false, "for their age"),
            ("stale", false, "for their age"),
            ("sampled", false, "took a sample"),
            ("sampled", true, "on the degrade ladder"),
            ("degraded", true, "on the degrade ladder"),
            ("refused", true, "on the degrade ladder"),
            ("conflated", true, "on the degrade ladder"),
            ("conflated", false, "gave way to newer ones"),
        ] {
            let told = with(why, was_degraded);
            assert!(
                told.contains(words) && told.contains("1,234"),
                "{why}: {told}"
            );
            assert!(!told.contains("depth="), "{why}: {told}");
        }
        for why in ["full", "rejected"] {
            let told = with(why, false);
            assert!(
                told.contains(&format!("--hop '{name}:depth=")),
                "{why}: {told}"
            );
        }
        // At full for most of the time is no burst, whoever is to blame.
        let hop = &mut run.report.hops[0];
        hop.shed.insert("full".to_owned(), 9);
        hop.full_ns = run.report.line.elapsed_ns;
        assert!(
            told(&run).contains("a deeper hop would only"),
            "{}",
            told(&run)
        );
    }
}
