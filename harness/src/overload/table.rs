//! What was measured as a table for a text, and as lines for a program.
//!
//! Invariant: a table's row and its line of JSON say the same.

use hopline::base::units::Span;
use serde::Serialize;

use super::figures::Figures;
use super::recovery::Recovery;
use super::{BUDGET_NS, CONTROL_SHARE_MAX, RECOVERY_NS};

/// A policy under a load.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The policy.
    pub policy: String,
    /// Whether it is to keep the budget.
    pub is_judged: bool,
    /// The load, in capacities.
    pub load: f64,
    /// How it was spread: `poisson`, `bursty`.
    pub arrivals: String,
    /// What came of it.
    pub figures: Figures,
    /// Share over the budget in the control runs before and after.
    pub control_share: f64,
    /// What of the bars does not hold.
    pub misses: Vec<String>,
}

/// A policy when its load falls.
#[derive(Clone, Debug, Serialize)]
pub struct Fall {
    /// The policy.
    pub policy: String,
    /// Whether it is to recover in time.
    pub is_judged: bool,
    /// The load before, in capacities.
    pub load: f64,
    /// The load after, in capacities.
    pub to: f64,
    /// What came of it.
    pub recovery: Recovery,
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A count with its thousands set apart.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What was not delivered, by reason: `full 1,204, late 12`.
fn lost(figures: &Figures) -> String {
    let all = figures.shed.iter().chain(&figures.discarded);
    let words: Vec<String> = all
        .map(|(why, lost)| format!("{why} {}", count(*lost)))
        .collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

/// The loads, a row for each policy.
#[must_use]
pub fn rows(rows: &[Row]) -> String {
    let mut out = String::from(
        "| load | arrivals | policy | due/s | admitted | shed or discarded | goodput | attainable | p50 | p99 | p99.9 | max \
         | over budget | control | sender late p99 | bar |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let figures = &row.figures;
        let bar = match (row.misses.is_empty(), row.is_judged) {
            _ if row.control_share > CONTROL_SHARE_MAX => "not judged: the host".to_owned(),
            (true, _) => "holds".to_owned(),
            (false, true) => format!("**fails**: {}", row.misses.join(", ")),
            (false, false) => format!("fails: {}", row.misses.join(", ")),
        };
        let spans = [
            figures.spans_ns.p50,
            figures.spans_ns.p99,
            figures.spans_ns.p99_9,
            figures.spans_ns.max,
        ];
        out += &format!(
            "| {}x | {} | {} | {} | {} | {} | {:.1} % | {:.1} % | {} | {} | {} | {} | {bar} |\n",
            row.load,
            row.arrivals,
            row.policy,
            count(figures.due_per_s as u64),
            count(figures.accepted),
            lost(figures),
            figures.goodput * 100.0,
            figures.attainable * 100.0,
            spans.map(|span_ns| Span(span_ns).to_string()).join(" | "),
            percent(figures.over_share()),
            percent(row.control_share),
            Span(figures.late_ns.p99),
        );
    }
    out
}

/// The falls.
#[must_use]
pub fn falls(falls: &[Fall]) -> String {
    let mut out = String::from(
        "| policy | load | p99 before the fall | p99 without overload | back after | bar |\n|---|---|---|---|---|---|\n",
    );
    for fall in falls {
        let Recovery {
            reference_ns,
            before_ns,
            took_ns,
        } = fall.recovery;
        let took = took_ns.map_or("not in the run".to_owned(), |took| Span(took).to_string());
        let bar = match (
            took_ns.is_some_and(|took| took <= RECOVERY_NS),
            fall.is_judged,
        ) {
            // What is over the budget without overload is the host's doing, and nothing to come back to.
            _ if reference_ns > BUDGET_NS => "not judged: the host",
            (true, _) => "holds",
            (false, true) => "**fails**",
            (false, false) => "fails",
        };
        out += &format!(
            "| {} | {}x to {}x | {} | {} | {took} | {bar} |\n",
            fall.policy,
            fall.load,
            fall.to,
            Span(before_ns),
            Span(reference_ns),
        );
    }
    out
}

/// What the tables are judged by.
#[must_use]
pub fn bars() -> String {
    format!(
        "A bar holds where goodput is at least {:.0} % of the attainable (what the load allows within the budget, as \
         it comes), no more than {:.0} % and the control's share take \
         longer than {}, and a fall is over within {}. Nothing is judged where the control's share is over {:.0} %, or the p99 \
         without overload over the budget.",
        super::GOODPUT * 100.0,
        super::OVER_SHARE * 100.0,
        Span(BUDGET_NS),
        Span(RECOVERY_NS),
        CONTROL_SHARE_MAX * 100.0
    )
}

/// One line of JSON with the word `kind` in front.
///
/// # Errors
/// Never for the values of this room.
pub fn json(kind: &'static str, value: &impl Serialize) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Line<'a, T: Serialize> {
        kind: &'static str,
        #[serde(flatten)]
        value: &'a T,
    }
    serde_json::to_string(&Line { kind, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_failed_and_what_it_was_judged_by() {
        let figures = Figures {
            due_per_s: 900_000.4,
            accepted: 1_234_567,
            shed: [("full".to_owned(), 9)].into(),
            discarded: [("late".to_owned(), 1_000)].into(),
            delivered: 100,
            over: 2,
            goodput: 0.912,
            attainable: 1.0,
            ..Figures::default()
        };
        let mut row = Row {
            policy: "deadline".to_owned(),
            is_judged: true,
            load: 10.0,
            arrivals: "poisson".to_owned(),
            misses: figures.misses(0.0, true),
            figures,
            control_share: 0.0,
        };
        let text = rows(std::slice::from_ref(&row));
        assert!(
            text.contains(
                "| 10x | poisson | deadline | 900,000 | 1,234,567 | full 9, late 1,000 | 91.2 % | 100.0 % |"
            ),
            "{text}"
        );
        assert!(
            text.contains("| 2.00 % | 0.00 % |") && text.contains("**fails**: 2.00 % over budget"),
            "{text}"
        );
        row.misses.clear();
        assert!(rows(std::slice::from_ref(&row)).ends_with("| holds |\n"));
        row.control_share = 0.06;
        assert!(rows(std::slice::from_ref(&row)).ends_with("| not judged: the host |\n"));
        let line = json("load", &row).unwrap();
        assert!(
            line.starts_with(r#"{"kind":"load","policy":"deadline""#),
            "{line}"
        );
    }

    #[test]
    fn a_fall_that_is_not_over_fails() {
        let mut fall = Fall {
            policy: "block".to_owned(),
            is_judged: false,
            load: 5.0,
            to: 0.8,
            recovery: Recovery::default(),
        };
        assert!(falls(std::slice::from_ref(&fall)).ends_with("| not in the run | fails |\n"));
        fall.recovery.took_ns = Some(RECOVERY_NS);
        assert!(falls(std::slice::from_ref(&fall)).ends_with("| 100ms | holds |\n"));
        fall.recovery.reference_ns = BUDGET_NS + 1;
        assert!(falls(&[fall]).ends_with("| not judged: the host |\n"));
    }
}
