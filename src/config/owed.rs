//! `budget.toml`: what the line owes from end to end, and what each hop owes.
//!
//! Invariant: reads limits and judges nothing.

use crate::base::units::Span;
use crate::budget::{Beyond, BeyondBudgets, Budget, BudgetError, Of, Quantile};
use crate::topology::draft::DraftHop;
use crate::topology::problem::{all, closest};
use crate::topology::{Params, Place, Problem, Problems};

use super::document::Table;
use super::line::noted;

/// What the line owes from end to end, from the intended time of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slo {
    /// The limits, if there are any.
    pub budget: Option<Budget>,
    /// Most that P99 may lie above P50, in nanoseconds.
    pub jitter_ns: Option<u64>,
    /// Most that 99 of a hundred differences between the spans of two successive messages may be, in nanoseconds.
    pub ipdv_ns: Option<u64>,
}

/// What `budget.toml` says.
#[derive(Clone, Debug, Default)]
pub(super) struct Owed {
    pub(super) slo: Slo,
    hops: Vec<HopBudget>,
    /// The hops beyond the line, which are the edge's.
    pub(super) beyond: BeyondBudgets,
}

#[derive(Clone, Debug)]
struct HopBudget {
    hop: String,
    place: Place,
    budget: Budget,
}

impl Owed {
    /// Reads the document.
    pub(super) fn read(mut document: Table, problems: &mut Problems) -> Owed {
        let mut owed = Owed::default();
        if let Some(table) = document.take_table("slo", problems) {
            let mut params = table.into_params(&[], problems);
            let budget = limits(&mut params, problems);
            owed.slo = Slo {
                budget: Some(budget).filter(|budget| !budget.limits().is_empty()),
                jitter_ns: noted(of_p99(&mut params, "jitter"), problems).flatten(),
                ipdv_ns: noted(of_p99(&mut params, "ipdv"), problems).flatten(),
            };
            problems.0.extend(params.unknown().0);
        }
        if let Some(hops) = document.take_table("hop", problems) {
            for (hop, place, table) in hops.into_tables("hop", problems) {
                let mut params = table.into_params(&[], problems);
                if let Some(beyond) = Beyond::parse(&hop) {
                    let budget = limits(&mut params, problems);
                    // Neither `of` nor `lossless`: it has no ring, and what is sampled says nothing of what is lost.
                    problems.0.extend(params.unknown().0);
                    let budget = Some(budget).filter(|budget| !budget.limits().is_empty());
                    owed.beyond[beyond as usize] = budget;
                    continue;
                }
                let words = Of::ALL.map(Of::name);
                let of = noted(params.word("of", &words, Of::parse), problems).flatten();
                let lossless = noted(params.flag("lossless", false), problems).unwrap_or(false);
                let budget = limits(&mut params, problems);
                problems.0.extend(params.unknown().0);
                let budget = budget.of(of.unwrap_or_default()).lossless(lossless);
                owed.hops.push(HopBudget { hop, place, budget });
            }
        }
        document.unknown(&["slo", "hop"], problems);
        owed
    }

    /// Whether any of it is a limit of the line's own: what may not be lost alone is none, and what is beyond the line depends on who
    /// looks at it.
    pub(super) fn has_limits(&self) -> bool {
        let slo = &self.slo;
        let of_hop = |hop: &HopBudget| !hop.budget.limits().is_empty();
        slo.budget.is_some()
            || slo.jitter_ns.is_some()
            || slo.ipdv_ns.is_some()
            || self.hops.iter().any(of_hop)
    }

    /// The hops that may lose nothing.
    pub(super) fn lossless(&self) -> impl Iterator<Item = &str> {
        let hops = self.hops.iter().filter(|hop| hop.budget.is_lossless());
        hops.map(|hop| hop.hop.as_str())
    }

    /// Gives each hop its budget.
    pub(super) fn apply(&self, hops: &mut [DraftHop], problems: &mut Problems) {
        for owed in &self.hops {
            if let Some(hop) = hops.iter_mut().find(|hop| hop.name() == owed.hop) {
                hop.hop.budget = Some(owed.budget.clone());
                continue;
            }
            let what = format!(
                "a budget for \"{}\", which is no hop of this line",
                owed.hop
            );
            problems.push(Problem::new(what, no_such_hop(&owed.hop, hops)).at(Some(&owed.place)));
        }
    }
}

/// The hop that was meant, or all that there are.
pub(super) fn no_such_hop(given: &str, hops: &[DraftHop]) -> String {
    let names: Vec<String> = hops.iter().map(DraftHop::name).collect();
    let names = || names.iter().map(String::as_str);
    match closest(given, names()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => all("hops", names()),
    }
}

/// The limits among the settings; a wrong one is noted and left out.
fn limits(params: &mut Params, problems: &mut Problems) -> Budget {
    let mut budget = Budget::default();
    for quantile in Quantile::ALL {
        let key = quantile.name();
        let Some(Some(limit_ns)) = noted(params.span_ns(key), problems) else {
            continue;
        };
        match budget.clone().limit_ns(quantile, limit_ns) {
            Ok(with) => budget = with,
            Err(error) => problems.push(refused(params, key, &error)),
        }
    }
    budget
}

/// A limit that is not on the span itself, but on what its P99 is made of.
fn of_p99(params: &mut Params, key: &'static str) -> Result<Option<u64>, Problem> {
    let limit_ns = params.span_ns(key)?;
    if limit_ns == Some(0) {
        return Err(refused(params, key, &BudgetError::Zero(Quantile::P99)));
    }
    Ok(limit_ns)
}

/// Says what a budget's error says, split into what and help.
fn refused(params: &Params, key: &str, error: &BudgetError) -> Problem {
    let (what, help) = match error {
        BudgetError::Zero(_) => (
            format!("\"{key}\" is a budget of zero, which can never hold"),
            "write the span that you can accept, such as \"20us\"".to_owned(),
        ),
        BudgetError::TooLong(_, ns) => (
            format!(
                "\"{key}\" = {} is longer than histograms tell apart",
                Span(*ns)
            ),
            format!(
                "write less than \"{}\"",
                Span(crate::base::limits::HIST_MAX_NS)
            ),
        ),
        BudgetError::Order(low, high) => (
            format!(
                "{} = {} is above {} = {}",
                low.quantile.name(),
                Span(low.limit_ns),
                high.quantile.name(),
                Span(high.limit_ns)
            ),
            "limits must not fall as quantiles rise: raise the second or lower the first"
                .to_owned(),
        ),
        BudgetError::Unit(..) | BudgetError::Twice(_) => (error.to_string(), String::new()),
    };
    params.problem(key, what, help)
}

#[cfg(test)]
mod tests {
    use crate::budget::{Beyond, Quantile};
    use crate::config::{Case, CaseFiles, SourceText};

    fn case(budget: &str) -> Case {
        let text = |name: &str, text: &str| SourceText::new(name, text);
        let line = "[[source]]\nname = \"btc\"\nkind = \"udp\"\n";
        let files = CaseFiles {
            line: text("line.toml", line),
            load: None,
            budget: Some(text("budget.toml", budget)),
        };
        Case::parse("mine", files).unwrap()
    }

    #[test]
    fn what_is_owed_beyond_the_line_is_the_edges_and_no_judged_run_asks_for_it() {
        let case = case("[hop.\"edge.wire\"]\np99 = \"20ms\"\n");
        let [queue, wire, paint] = case.beyond();
        assert!(queue.is_none() && paint.is_none());
        let limit = wire.as_ref().unwrap().limits()[0];
        assert_eq!(
            (limit.quantile, limit.limit_ns),
            (Quantile::P99, 20_000_000)
        );
        assert_eq!(Beyond::EdgeWire as usize, 1);
        assert!(!case.owes());
    }
}
