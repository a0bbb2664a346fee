//! Two reports side by side: whatever they are, from whichever hosts.
//!
//! It judges nothing: runs that lie apart in time differ by more than the code. `hopline gate CASE --base` judges.
//!
//! Invariant: what differs between the hosts is said before any ratio.

use hopline::base::units::Span;

use super::measured::{is_unjudged, quantiles};
use super::phrase::{by_hop, hop, letters, moment, quantile, sign, span_of, times, tone};
use crate::gate::model::{GateReport, Verdict};
use crate::view::table::{Cell, Table, numbers, words};
use crate::view::text::{Paint, Tone, wrap};

/// Least change that is called one, as a share: two runs of the same program differ by some percent.
const CHANGE_SEEN: f64 = 0.05;

/// Most facts of hosts that are named when they differ.
const FACTS_MAX: usize = 16;

/// A quantile in both reports, or in one of them.
#[derive(Clone, Debug)]
pub struct Row {
    /// In the first.
    pub a: Option<Verdict>,
    /// In the second.
    pub b: Option<Verdict>,
}

impl Row {
    /// The first of them that is there: it says which quantile of what.
    #[must_use]
    pub fn any(&self) -> Option<&Verdict> {
        self.a.as_ref().or(self.b.as_ref())
    }

    /// The second clean quantile over the first; `None` where one of them has no clean frames.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let (a, b) = (self.a.as_ref()?, self.b.as_ref()?);
        let known = a.n_clean > 0 && b.n_clean > 0 && a.clean_ns > 0;
        known.then(|| b.clean_ns as f64 / a.clean_ns as f64)
    }

    /// How the change is painted.
    pub(crate) fn tone(&self) -> Tone {
        match self.ratio() {
            Some(ratio) if ratio > 1.0 + CHANGE_SEEN => Tone::Warn,
            Some(ratio) if ratio < 1.0 - CHANGE_SEEN => Tone::Good,
            Some(_) => Tone::Plain,
            None => Tone::Dim,
        }
    }

    /// The change in words and signs, so that colour is not needed.
    pub(crate) fn change(&self) -> String {
        match self.ratio() {
            Some(ratio) if ratio > 1.0 + CHANGE_SEEN => format!("▲ {}", times(ratio)),
            Some(ratio) if ratio < 1.0 - CHANGE_SEEN => format!("▼ {}", times(ratio)),
            Some(ratio) => format!("= {}", times(ratio)),
            None if self.a.is_none() => "new".to_owned(),
            None if self.b.is_none() => "gone".to_owned(),
            None => "–".to_owned(),
        }
    }
}

/// Two reports, row by row.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// The reports.
    pub reports: [&'a GateReport; 2],
    /// What to call them: their files.
    pub names: [String; 2],
    /// Hop by hop in the order of the first report's line, then what only the second has.
    pub rows: Vec<Row>,
    /// Whether the rows are verdicts. Where one of the reports judged nothing they are P50 and P99 of every span.
    pub has_verdicts: bool,
    /// What to know before reading the ratios: other hosts, other cases, partial reports.
    pub notes: Vec<String>,
}

fn key(verdict: &Verdict) -> (&str, &str, &str) {
    (&verdict.hop, &verdict.of, &verdict.quantile)
}

impl<'a> Comparison<'a> {
    /// Puts two reports side by side.
    #[must_use]
    pub fn new(reports: [&'a GateReport; 2], names: [String; 2]) -> Comparison<'a> {
        let has_verdicts = !reports.into_iter().any(is_unjudged);
        let [a, b] = reports.map(|report| {
            if has_verdicts {
                by_hop(report).into_iter().cloned().collect()
            } else {
                quantiles(report)
            }
        });
        let mut others: Vec<Option<Verdict>> = b.into_iter().map(Some).collect();
        let mut same = |one: &Verdict| {
            let is_same = |other: &&mut Option<Verdict>| {
                other.as_ref().is_some_and(|other| key(other) == key(one))
            };
            others.iter_mut().find(is_same)?.take()
        };
        let mut rows: Vec<Row> = Vec::with_capacity(a.len());
        for one in a {
            let b = same(&one);
            rows.push(Row { a: Some(one), b });
        }
        // What the first has too is no longer among the others.
        let only_b = others.into_iter().flatten();
        rows.extend(only_b.map(|other| Row {
            a: None,
            b: Some(other),
        }));
        let notes = notes(reports, &names);
        Comparison {
            reports,
            names,
            rows,
            has_verdicts,
            notes,
        }
    }

    /// As text, in lines of at most `width` columns.
    pub(crate) fn lines(&self, width: usize, paint: Paint) -> Vec<String> {
        let mut out = vec![String::new()];
        let add = |out: &mut Vec<String>, text: &str, tone: Tone| {
            for line in wrap(text, width.saturating_sub(2).max(20)) {
                out.push(format!("  {}", paint.paint(&line, tone)));
            }
        };
        for ((report, name), letter) in self.reports.iter().zip(&self.names).zip(["A", "B"]) {
            add(
                &mut out,
                &format!("{letter} {}", about(report, name)),
                Tone::Plain,
            );
        }
        for note in &self.notes {
            add(&mut out, &format!("note: {note}"), Tone::Warn);
        }
        let mut columns = vec![
            words("hop"),
            words("span"),
            words("q"),
            numbers("clean A"),
            numbers("clean B"),
            numbers("B / A"),
            numbers("raw A").may_go(3),
            numbers("raw B").may_go(3),
        ];
        if self.has_verdicts {
            columns.extend([words("verdict A").may_go(1), words("verdict B").may_go(1)]);
        }
        let mut table = Table::new(columns);
        for row in &self.rows {
            let Some(any) = row.any() else { continue };
            let mut cells: Vec<Cell> = vec![
                hop(&any.hop).into(),
                span_of(&any.of).into(),
                quantile(&any.quantile).into(),
                clean(row.a.as_ref()).into(),
                clean(row.b.as_ref()).into(),
                Cell::new(row.change(), row.tone()),
                Cell::new(raw(row.a.as_ref()), Tone::Dim),
                Cell::new(raw(row.b.as_ref()), Tone::Dim),
            ];
            if self.has_verdicts {
                cells.extend([verdict(row.a.as_ref()), verdict(row.b.as_ref())]);
            }
            table.row(cells);
        }
        if !table.is_empty() {
            out.push(String::new());
            out.extend(table.lines(width, paint));
        }
        out.push(String::new());
        add(&mut out, JUDGES_NOTHING, Tone::Dim);
        out
    }
}

/// What a comparison is not.
pub(crate) const JUDGES_NOTHING: &str = "A comparison judges nothing: these runs lie apart in time. \
`hopline gate CASE --base BIN` gives a verdict.";

/// A report in a line.
pub(crate) fn about(report: &GateReport, name: &str) -> String {
    if is_unjudged(report) {
        return format!(
            "{name}: {} of {}, {} ({})",
            report.command,
            report.case,
            report.head,
            moment(report.began_unix_s)
        );
    }
    format!(
        "{name}: {} {} of {}, {} ({})",
        sign(report.word),
        letters(report.word),
        report.case,
        report.head,
        moment(report.began_unix_s)
    )
}

/// A clean quantile, or a dash.
pub(crate) fn clean(verdict: Option<&Verdict>) -> String {
    match verdict {
        Some(verdict) if verdict.n_clean > 0 => Span(verdict.clean_ns).to_string(),
        _ => "–".to_owned(),
    }
}

/// A raw quantile, or a dash.
pub(crate) fn raw(verdict: Option<&Verdict>) -> String {
    match verdict {
        Some(verdict) if verdict.n > 0 => Span(verdict.raw_ns).to_string(),
        _ => "–".to_owned(),
    }
}

fn verdict(verdict: Option<&Verdict>) -> Cell {
    verdict.map_or_else(Cell::default, |verdict| {
        let word = format!("{} {}", sign(verdict.word), letters(verdict.word));
        Cell::new(word, tone(verdict.word))
    })
}

fn notes(reports: [&GateReport; 2], names: &[String; 2]) -> Vec<String> {
    let [a, b] = reports;
    let mut notes = Vec::new();
    if a.case != b.case {
        notes.push(format!("the cases differ: {} and {}", a.case, b.case));
    }
    for (report, name) in reports.iter().zip(names) {
        if report.partial {
            notes.push(format!("{name} is partial: its gate was cut short"));
        }
    }
    let missing = "nothing";
    let mut facts: Vec<&String> = a.host.keys().chain(b.host.keys()).collect();
    facts.sort();
    facts.dedup();
    let differing: Vec<String> = facts
        .into_iter()
        .filter(|fact| a.host.get(*fact) != b.host.get(*fact))
        .take(FACTS_MAX)
        .map(|fact| {
            let of = |report: &GateReport| {
                report
                    .host
                    .get(fact)
                    .cloned()
                    .unwrap_or_else(|| missing.to_owned())
            };
            format!("{fact} {} against {}", of(a), of(b))
        })
        .collect();
    if !differing.is_empty() {
        notes.push(format!(
            "the hosts differ, so ratios speak of them too: {}",
            differing.join("; ")
        ));
    }
    notes
}
