//! JUnit XML: a testcase for each quantile of each hop.
//!
//! | verdict | testcase |
//! |---|---|
//! | PASS, PASS_CLEAN | passes |
//! | INCONCLUSIVE | `skipped`, its reason as the message |
//! | FAIL | `failure` |
//! | LOSS | `error` |
//! | what is reported only and no pass | `skipped` |
//!
//! A gate that was cut short has one more testcase, which is an `error`: what is missing did not pass. The shape is
//! in both schemas that readers check against, that of Ant (`JUnit.xsd`) and that of Jenkins' xUnit plugin
//! (`junit-10.xsd`).
//!
//! Invariant: no verdict but a pass makes a testcase that passes.

use super::phrase::{advice, escape, figures, is_shown_only, letters, moment, place, worst_first};
use crate::gate::model::{GateReport, Verdict, Word};

/// Longest host name of the schema's readers; a longer one is cut.
const HOST_CHARS_MAX: usize = 255;

/// The report as JUnit XML.
#[must_use]
pub fn junit(report: &GateReport) -> String {
    let count = |word| super::phrase::count(report, word);
    let skipped = report
        .verdicts
        .iter()
        .filter(|verdict| is_skipped(verdict))
        .count();
    let cut_short = usize::from(report.partial);
    let host = report
        .host
        .get("fingerprint")
        .map_or("unknown", String::as_str);
    let host: String = host.split_whitespace().collect::<Vec<_>>().join(" ");
    let host: String = host.chars().take(HOST_CHARS_MAX).collect();
    let took_s = if report.took_s.is_finite() {
        report.took_s
    } else {
        0.0
    };
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    out += &format!(
        "  <testsuite id=\"0\" package=\"hopline\" name=\"{}\" timestamp=\"{}\" hostname=\"{}\" tests=\"{}\" \
         failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{took_s:.3}\">\n",
        escape(&suite(report)),
        moment(report.began_unix_s).trim_end_matches('Z'),
        escape(if host.is_empty() { "unknown" } else { &host }),
        report.verdicts.len() + cut_short,
        count(Word::Fail),
        count(Word::Loss) + cut_short,
        skipped,
    );
    out += "    <properties>\n";
    for (name, value) in properties(report) {
        // An empty name is refused by readers.
        let name = if name.is_empty() { "unnamed" } else { &name };
        let (name, value) = (escape(name), escape(&value));
        out += &format!("      <property name=\"{name}\" value=\"{value}\"/>\n");
    }
    out += "    </properties>\n";
    for verdict in worst_first(&report.verdicts) {
        out += &testcase(report, verdict);
    }
    if report.partial {
        out += &format!(
            "    <testcase classname=\"{}\" name=\"the whole gate\" time=\"0\">\n      \
             <error type=\"PARTIAL\" message=\"the gate was cut short: what is missing did not pass\"/>\n    </testcase>\n",
            escape(&suite(report))
        );
    }
    out += &format!(
        "    <system-out>{}</system-out>\n",
        escape(&report.notes.join("\n"))
    );
    out += "    <system-err></system-err>\n  </testsuite>\n</testsuites>\n";
    out
}

fn suite(report: &GateReport) -> String {
    format!("hopline {} {}", report.command, report.case)
}

fn properties(report: &GateReport) -> Vec<(String, String)> {
    let own = [
        ("version", report.version.clone()),
        ("head", report.head.clone()),
        ("base", report.base.clone().unwrap_or_default()),
        ("word", letters(report.word).to_owned()),
        ("exit_code", report.exit_code.to_string()),
    ];
    let own = own
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let host = report.host.iter();
    own.chain(host.map(|(name, value)| (format!("host.{name}"), value.clone())))
        .collect()
}

/// What is neither a pass nor a fault.
fn is_skipped(verdict: &Verdict) -> bool {
    verdict.word == Word::Inconclusive || (is_shown_only(verdict) && verdict.word == Word::Fail)
}

fn testcase(report: &GateReport, verdict: &Verdict) -> String {
    let mut text = format!(
        "    <testcase classname=\"{}.{}\" name=\"{}\" time=\"0\">",
        escape(&report.case),
        escape(&verdict.hop),
        escape(&place(verdict)),
    );
    let message = format!("{}; {}", figures(verdict), advice(verdict));
    let message = escape(message.trim_end_matches("; "));
    let kind = letters(verdict.word);
    let element = match verdict.word {
        Word::Pass | Word::PassClean => return text + "</testcase>\n",
        _ if is_skipped(verdict) && is_shown_only(verdict) => {
            format!("<skipped message=\"reported only: {kind}, {message}\">{message}</skipped>")
        }
        // Some readers show the attribute, some the text.
        Word::Inconclusive => format!("<skipped message=\"{message}\">{message}</skipped>"),
        Word::Fail => format!("<failure type=\"{kind}\" message=\"{message}\">{message}</failure>"),
        Word::Loss => format!("<error type=\"{kind}\" message=\"{message}\">{message}</error>"),
    };
    text += &format!("\n      {element}\n    </testcase>\n");
    text
}
