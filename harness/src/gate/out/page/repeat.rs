//! How to do it again: the command as it was given, the seeds, and what single runs had to say.
//!
//! Invariant: the command that stands there asks for the same runs, and can be pasted.

use super::ROWS_MAX;
use super::facts::named;
use crate::gate::model::GateReport;
use crate::gate::out::phrase::escape;
use crate::view::text::without_figures;

/// The folder that the command writes into.
const AGAIN: &str = "gate-again";

/// A word of a command line, in quotes where the shell would take it apart.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The commit of a base that is a revision, `REV (commit)`: the revision itself may be another one by then.
fn commit(base: &str) -> &str {
    let inner = base.rsplit_once(" (").map(|(_, commit)| commit);
    inner
        .and_then(|commit| commit.strip_suffix(')'))
        .unwrap_or(base)
}

/// The words that ask for the same once more, for a folder of their own.
fn again(report: &GateReport) -> Vec<String> {
    if report.arguments.is_empty() {
        // An older report: by what it knows.
        let command = report.command.split(" --base").next().unwrap_or_default();
        let mut words = vec!["hopline".to_owned()];
        words.extend(command.split(' ').map(str::to_owned));
        words.push(report.case.clone());
        match (report.command.as_str(), &report.base) {
            ("gate --base", Some(base)) => words.extend(["--base".to_owned(), base.clone()]),
            ("gate --base-rev", Some(base)) => {
                words.extend(["--base-rev".to_owned(), commit(base).to_owned()]);
            }
            _ => {}
        }
        words.extend(["--out".to_owned(), AGAIN.to_owned()]);
        return words;
    }
    let mut words = Vec::new();
    let mut given = report.arguments.iter().cloned();
    // What follows `--` is no flag.
    let mut rest = Vec::new();
    while let Some(word) = given.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        match name {
            "--" => {
                rest = [word].into_iter().chain(given.by_ref()).collect();
            }
            "--json" => {}
            "--out" => drop(value.or_else(|| given.next())),
            "--base-rev" => {
                let asked = value.or_else(|| given.next()).unwrap_or_default();
                let known = report.base.as_deref().map_or(&*asked, commit);
                words.extend(["--base-rev".to_owned(), known.to_owned()]);
            }
            _ => words.push(word),
        }
    }
    words.extend(["--out".to_owned(), AGAIN.to_owned()]);
    words.extend(rest);
    words
}

/// Whether a note begins like another one but for its figures.
fn is_like(told: &str, note: &str) -> bool {
    without_figures(told).starts_with(&without_figures(note))
}

/// A program by its path and what was in it.
fn program(name: &str, path: &str, hash: Option<&String>) -> String {
    let hash = hash.map(|hash| format!(", {hash} by FNV-1a"));
    format!("# {name}: {path}{}\n", hash.unwrap_or_default())
}

/// The commands that do it again, and what was drawn from which seed.
pub(super) fn section(report: &GateReport) -> String {
    let words: Vec<String> = again(report).iter().map(|word| quoted(word)).collect();
    let mut programs = program("head", &report.head, report.head_hash.as_ref());
    if let Some(base) = &report.base {
        programs += &program("base", base, report.base_hash.as_ref());
    }
    let mut out = format!(
        "<pre tabindex=\"0\"><code>{}{}\nhopline report gate.json {AGAIN}/gate.json</code></pre>\n",
        escape(&programs),
        escape(&words.join(" "))
    );
    let seeds: Vec<String> = named(report)
        .map(|(name, run)| format!("{name}: {}", run.seed))
        .collect();
    if !seeds.is_empty() {
        let seeds = seeds
            .get(..seeds.len().min(ROWS_MAX))
            .unwrap_or_default()
            .join(", ");
        out += &format!(
            "<p class=\"hint\">Seeds: {}. hopline {}.</p>\n",
            escape(&seeds),
            escape(&report.version)
        );
    }
    let mut notes: Vec<String> = named(report)
        .flat_map(|(name, run)| {
            // What runs say stands at the head of the page already, be it with the figures of another one.
            let is_told = |note: &&String| report.notes.iter().any(|told| is_like(told, note));
            let own = run.notes.iter().filter(move |note| !is_told(note));
            own.map(move |note| format!("<li>{name}: {}</li>\n", escape(note)))
        })
        .collect();
    notes.truncate(ROWS_MAX);
    if !notes.is_empty() {
        out += &format!("<ul>\n{}</ul>\n", notes.concat());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_repeated_by_its_commit() {
        assert_eq!(commit("main (0123456789ab)"), "0123456789ab");
        assert_eq!(commit("main"), "main");
        let report = GateReport {
            command: "gate --base-rev".to_owned(),
            case: "mine".to_owned(),
            base: Some("HEAD~1 (0123456789ab)".to_owned()),
            ..GateReport::default()
        };
        let words = section(&report);
        assert!(
            words.contains("hopline gate mine --base-rev 0123456789ab --out gate-again\n"),
            "{words}"
        );
    }

    #[test]
    fn all_that_was_asked_for_is_asked_for_again() {
        for (given, expected) in [
            (
                "./hopline gate mine --rate 20k --for=1s --hop a->b:depth=2 --json --out x",
                "./hopline gate mine --rate 20k --for=1s --hop 'a->b:depth=2' --out gate-again",
            ),
            (
                "mine gate --out=x --base-rev=main --seed 7 -- --json",
                "mine gate --base-rev 0123456789ab --seed 7 --out gate-again -- --json",
            ),
            (
                "mine gate c --base-rev main --base-bin old",
                "mine gate c --base-rev 0123456789ab --base-bin old --out gate-again",
            ),
        ] {
            let report = GateReport {
                arguments: given.split(' ').map(str::to_owned).collect(),
                base: Some("main (0123456789ab)".to_owned()),
                head_hash: Some("cbf29ce484222325".to_owned()),
                ..GateReport::default()
            };
            let words = section(&report);
            let expected = format!("\n{}\n", escape(expected));
            assert!(words.contains(&expected), "{words}");
            assert!(words.contains("cbf29ce484222325"), "{words}");
        }
    }

    #[test]
    fn a_command_can_be_pasted() {
        assert_eq!(quoted("tick-to-trade"), "tick-to-trade");
        assert_eq!(quoted("my case"), "'my case'");
        assert_eq!(quoted("it's; rm"), "'it'\\''s; rm'");
        assert_eq!(quoted(""), "''");
    }
}
