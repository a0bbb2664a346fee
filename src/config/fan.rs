//! The settings of a hop with several consumers: how its messages are divided, and what happens with a slow one.
//!
//! Invariant: reads words; whether they fit each other and the hop is told with the line.

use crate::overload::{Slow, Split};
use crate::topology::{Hop, Params, Problem, Problems};

use super::document::Table;
use super::line::noted;

/// What `slow` of a hop looks like.
const SLOW_EXAMPLE: &str = "slow = { monitor = \"tap\" }";

/// Takes `slow` out of a hop's table.
pub(super) fn take_slow(table: &mut Table, problems: &mut Problems) -> Vec<(String, Slow)> {
    let Some(given) = table.take_lists("slow", SLOW_EXAMPLE, problems) else {
        return Vec::new();
    };
    let mut slow = Vec::new();
    for (name, words) in given.lists {
        let word = match words.as_slice() {
            [word] => Slow::parse(word),
            _ => None,
        };
        match word {
            Some(word) => slow.push((name, word)),
            None => {
                let what = format!("slow: \"{name}\" is \"{}\"", words.join("\", \""));
                let help = "write \"hold\", \"tap\" or \"disconnect\"";
                problems.push(Problem::new(what, help).at(Some(&given.place)));
            }
        }
    }
    slow
}

/// Reads how messages are divided.
pub(super) fn read(params: &mut Params, hop: &mut Hop, problems: &mut Problems) {
    let words = Split::ALL.map(Split::name);
    let split = params.word("split", &words, Split::parse);
    hop.split = noted(split, problems).flatten();
    let isolate = params.flag("isolate", false);
    hop.isolate = noted(isolate, problems).unwrap_or_default();
}
