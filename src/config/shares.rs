//! Sockets that sources share and sinks answer by: one without the other does nothing, or not start.
//!
//! Invariant: knows the names of sockets and opens none; looks at the file's own nodes, whatever a
//! run puts in their place.

use crate::topology::problem::{all, closest, list};
use crate::topology::{Problem, Problems};

use super::line::NodeSpec;

/// The kinds of sources by whose sockets a kind of sink answers. Other kinds may mean something else
/// by the same settings.
const ANSWERS: [(&str, &[&str]); 2] = [("udp_reply", &["udp"]), ("stream_reply", &["tcp", "unix"])];

/// The name by which a source shares its socket, if its kind does.
fn share(source: &NodeSpec) -> Option<&str> {
    let can = |(_, sources): &(&str, &[&str])| sources.contains(&source.kind.as_str());
    let name = source.params.peek_text("share")?;
    ANSWERS.iter().any(can).then_some(name)
}

/// The name of the socket by which a sink answers, and the kinds of sources that may share it.
fn socket(sink: &NodeSpec) -> Option<(&str, &'static [&'static str])> {
    let row = ANSWERS.iter().find(|(kind, _)| *kind == sink.kind)?;
    Some((sink.params.peek_text("socket")?, row.1))
}

/// Notes sinks that answer by a socket which nobody shares, and sources that share one by which
/// nobody answers.
pub(super) fn check(sources: &[&NodeSpec], sinks: &[&NodeSpec], problems: &mut Problems) {
    let shared = || {
        sources
            .iter()
            .copied()
            .filter(|source| share(source).is_some())
    };
    let mut has_stray = false;
    for sink in sinks {
        let Some((name, kinds)) = socket(sink) else {
            continue;
        };
        let of_kind = || shared().filter(|source| kinds.contains(&source.kind.as_str()));
        if of_kind().any(|source| share(source) == Some(name)) {
            continue;
        }
        has_stray = true;
        problems.push(match shared().find(|source| share(source) == Some(name)) {
            Some(other) => {
                let what = format!(
                    "\"{}\" of kind \"{}\" cannot answer by \"{name}\", which a source of kind \"{}\" shares",
                    sink.name, sink.kind, other.kind
                );
                let answers = ANSWERS.iter().filter(|(_, kinds)| kinds.contains(&other.kind.as_str()));
                let help = format!("write kind = {}", quoted(answers.map(|(kind, _)| *kind)));
                sink.params.problem("kind", what, help)
            }
            None => {
                let names = || of_kind().filter_map(share);
                let what = format!("socket = \"{name}\": no source shares a socket by that name");
                let help = match closest(name, names()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None if names().next().is_some() => all("shared", names()),
                    None => format!(
                        "write share = \"{name}\" in the [[source]] of kind {} whose senders it answers",
                        quoted(kinds.iter().copied())
                    ),
                };
                sink.params.problem("socket", what, help)
            }
        });
    }
    // A name that no sink has may be the one that a stray sink means.
    for source in shared().filter(|_| !has_stray) {
        let Some(name) = share(source) else { continue };
        let answers = |sink: &&NodeSpec| {
            socket(sink).is_some_and(|(socket, kinds)| {
                socket == name && kinds.contains(&source.kind.as_str())
            })
        };
        if !sinks.iter().any(answers) {
            problems.push(unanswered(source, name));
        }
    }
}

fn unanswered(source: &NodeSpec, name: &str) -> Problem {
    let what = format!("share = \"{name}\": no sink answers by that socket");
    let kinds = ANSWERS
        .iter()
        .filter(|(_, kinds)| kinds.contains(&source.kind.as_str()));
    let help = format!(
        "add a [[sink]] of kind {} with socket = \"{name}\", or remove share",
        quoted(kinds.map(|(kind, _)| *kind))
    );
    source.params.problem("share", what, help)
}

/// Words in quotes: "a" or "b".
fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    list(words.iter().map(String::as_str))
}
