//! The checker behind `tests/floors.rs`: reads a tree of sources and names each breach.
//!
//! Invariant: it reads text only, so it needs no build of the tree that it checks.

use std::path::Path;

use crate::lexer::{self, Source, Token};
use crate::tree;
use crate::{ADDRESS_TYPES, FENCE, FLOORS, LEDGER, NO_MACROS, ONLY_IN, ROOT_MACROS};

/// Every breach in the project at `root`, as `file:line: what is wrong`.
pub(crate) fn breaches(root: &Path) -> Vec<String> {
    let files = tree::files(root);
    let mut found = Vec::new();
    rows(&files, &tree::read(root, "src/lib.rs"), &mut found);
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let source = lexer::split(&tree::read(root, file));
        let tokens = lexer::tokens(&source.code);
        if let Some(inside) = file.strip_prefix("src/") {
            placement(file, inside, &tokens, &mut found);
            names(file, inside, &tokens, &mut found);
        }
        fence(file, &source, &tokens, &mut found);
    }
    ledger(root, &files, &mut found);
    found
}

fn floor(room: &str) -> Option<u32> {
    let row = FLOORS.iter().find(|(name, _)| *name == room);
    row.map(|(_, floor)| *floor)
}

/// Rows, folders and the list in lib.rs agree.
fn rows(files: &[String], lib: &str, found: &mut Vec<String>) {
    for (at, (room, _)) in FLOORS.iter().enumerate() {
        if FLOORS[..at].iter().any(|(name, _)| name == room) {
            found.push(format!("{room}: two rows in FLOORS"));
        }
    }
    let source = lexer::split(lib);
    let tokens = lexer::tokens(&source.code);
    let declared = |room: &str| {
        let is = |t: &[Token<'_>]| t[0].text == "mod" && t[1].text == room && t[2].text == ";";
        tokens.windows(3).any(is)
    };
    let mut rooms: Vec<&str> = files
        .iter()
        .filter_map(|file| Some(file.strip_prefix("src/")?.split_once('/')?.0))
        .collect();
    rooms.dedup();
    for room in rooms {
        if floor(room).is_none() {
            found.push(format!("src/{room}: no row in FLOORS"));
        } else if !declared(room) {
            found.push(format!("src/{room}: lib.rs does not open it"));
        }
    }
}

/// What may stand at the top of `src/`, and what holds for every file below it.
fn placement(file: &str, inside: &str, tokens: &[Token<'_>], found: &mut Vec<String>) {
    if inside == "lib.rs" {
        for token in tokens {
            if ITEMS.contains(&token.text) {
                let line = token.line;
                found.push(format!(
                    "{file}:{line}: lib.rs only lists rooms; `{}` belongs in one",
                    token.text
                ));
            }
        }
    } else if !inside.contains('/') {
        found.push(format!(
            "{file}: no room; only lib.rs stands at the top of src/"
        ));
    }
    for three in tokens.windows(3) {
        let words = [three[0].text, three[1].text, three[2].text];
        let line = three[0].line;
        match words {
            ["[", "path", "="] => {
                found.push(format!("{file}:{line}: a module lies where its name says"));
            }
            ["include", "!", _] => found.push(format!("{file}:{line}: write a module")),
            ["extern", "crate", _] if inside != "lib.rs" => {
                found.push(format!(
                    "{file}:{line}: another name for a crate hides the room"
                ));
            }
            ["static", "mut", _] => found.push(format!("{file}:{line}: static mut")),
            [name, "!", after] if NO_MACROS.contains(&name) && after != "=" => {
                found.push(format!("{file}:{line}: {name}! is not for the library"));
            }
            _ => {}
        }
    }
}

/// Words that begin something other than a list of rooms.
const ITEMS: &[&str] = &[
    "fn",
    "struct",
    "enum",
    "union",
    "trait",
    "impl",
    "static",
    "type",
    "macro_rules",
];

/// Imports run downwards, and outside names stay in their rooms.
fn names(file: &str, inside: &str, tokens: &[Token<'_>], found: &mut Vec<String>) {
    let (room, depth) = match inside.split_once('/') {
        Some((room, _)) => {
            let folders = inside.matches('/').count();
            (room, folders + usize::from(!inside.ends_with("/mod.rs")))
        }
        None => ("", 0),
    };
    let own = floor(room);
    for path in lexer::paths(tokens) {
        let line = path.line;
        let mut breach = |what: String| found.push(format!("{file}:{line}: {what}"));
        let first = path.segments[0];
        let from_root =
            first == "crate" || first == "hopline" && (path.segments.len() > 1 || path.names_crate);
        if from_root && !room.is_empty() {
            match (path.segments.get(1).copied(), own) {
                (None, _) if path.renamed || first == "hopline" => {
                    breach("another name for the crate root hides the room".to_owned());
                }
                (None, _) => {}
                (Some(target), _) if target == room || ROOT_MACROS.contains(&target) => {}
                (Some(target), Some(own)) if floor(target).is_some() => {
                    let other = floor(target).expect("a guard asked");
                    if other >= own {
                        breach(format!(
                            "{room} (floor {own}) imports {target} (floor {other})"
                        ));
                    }
                }
                (Some(target), _) => breach(format!(
                    "{first}::{target} goes through the crate root; name its room"
                )),
            }
        }
        let supers = path.segments.iter().filter(|s| **s == "super").count();
        if supers > 1 || supers == 1 && depth + path.inline_depth < 2 && !room.is_empty() {
            breach(format!("write crate:: instead of {}", path.text()));
        }
        if path.segments.len() > 1 || path.names_crate || path.renamed {
            for (name, homes, instead) in ONLY_IN {
                let at_home = homes.iter().any(|home| *home == room || *home == inside);
                if !at_home && speaks_of(&path.segments, name) {
                    breach(format!("{} is not for here: {instead}", path.text()));
                }
            }
        }
    }
}

/// Whether a path names `name`: `a::b` from its beginning, `*::a::b` anywhere in it.
fn speaks_of(segments: &[&str], name: &str) -> bool {
    let wanted: Vec<&str> = name.trim_start_matches("*::").split("::").collect();
    if name.starts_with("*::") {
        return segments.windows(wanted.len()).any(|part| part == wanted);
    }
    let mut given = segments.to_vec();
    if matches!(given[0], "core" | "alloc") {
        given[0] = "std";
    }
    let address = name == "std::net" && given.get(2).is_some_and(|s| ADDRESS_TYPES.contains(s));
    given.starts_with(&wanted) && !address
}

/// Unsafe code stands in the fenced files only, each piece below its fact.
fn fence(file: &str, source: &Source, tokens: &[Token<'_>], found: &mut Vec<String>) {
    let fenced = FENCE.contains(&file);
    let contracts = trait_implementations(tokens);
    let mut pieces = 0;
    for (at, token) in tokens.iter().enumerate() {
        let line = token.line;
        let next = |n: usize| tokens.get(at + n).map_or("", |token| token.text);
        match token.text {
            "unsafe_code" if !fenced && lowers_lint(tokens, at) => {
                found.push(format!(
                    "{file}:{line}: allows unsafe_code outside the fence"
                ));
            }
            "unsafe" if !fenced => found.push(format!("{file}:{line}: unsafe outside the fence")),
            // A pointer type promises nothing by itself.
            "unsafe" if next(1) == "fn" && next(2) == "(" => {}
            // What the caller owes is said once, at the trait.
            "unsafe" if next(1) == "fn" && contracts[at] => pieces += 1,
            "unsafe" => {
                pieces += 1;
                let declares = matches!(next(1), "fn" | "trait" | "extern");
                if !has_fact(source, line, declares) {
                    found.push(format!("{file}:{line}: unsafe without SAFETY right above"));
                }
            }
            _ => {}
        }
    }
    if fenced && pieces == 0 {
        found.push(format!(
            "{file}: in FENCE, but has no unsafe; take the row out"
        ));
    }
}

/// For each token, whether it stands right inside an `impl Trait for Type { … }`.
fn trait_implementations(tokens: &[Token<'_>]) -> Vec<bool> {
    let (mut braces, mut begun, mut trait_named) = (Vec::new(), false, false);
    let mut out = Vec::with_capacity(tokens.len());
    for token in tokens {
        match token.text {
            // Inside a function, `impl Trait` is a type.
            "impl" if !braces.last().is_some_and(|inside| *inside) => {
                (begun, trait_named) = (true, false);
            }
            "for" if begun => trait_named = true,
            "{" => {
                braces.push(begun && trait_named);
                begun = false;
            }
            "}" => {
                braces.pop();
            }
            ";" => begun = false,
            _ => {}
        }
        out.push(braces.last().is_some_and(|inside| *inside));
    }
    out
}

/// Whether the lint at `at` stands in `allow(…)`, `warn(…)` or `expect(…)`.
fn lowers_lint(tokens: &[Token<'_>], at: usize) -> bool {
    let before = tokens[..at].iter().rev().map(|token| token.text);
    let mut words = before.skip_while(|word| *word != "(");
    matches!(words.nth(1), Some("allow" | "warn" | "expect"))
}

/// Whether a SAFETY comment stands right above `line`: attributes, further comments and the
/// beginning of the same statement may come between. A declaration may have a `# Safety` section.
fn has_fact(source: &Source, line: usize, declares: bool) -> bool {
    let code: Vec<&str> = source.code.lines().collect();
    let comments: Vec<&str> = source.comments.lines().collect();
    let says = |at: usize| {
        comments[at].contains("SAFETY:") || declares && comments[at].contains("# Safety")
    };
    if says(line - 1) {
        return true;
    }
    for at in (0..line - 1).rev() {
        if says(at) {
            return true;
        }
        let text = code[at].trim();
        let comment_only = text.is_empty() && !comments[at].trim().is_empty();
        let attribute = text.starts_with("#[") || text.starts_with("#![");
        let begins_statement = !text.is_empty() && !text.ends_with([';', '{', '}', ',']);
        if !(comment_only || attribute || begins_statement) {
            return false;
        }
    }
    false
}

/// The ledger of unsafe code and the tree agree, and each row's proof exists.
fn ledger(root: &Path, files: &[String], found: &mut Vec<String>) {
    let text = tree::read(root, LEDGER);
    let mut listed = Vec::new();
    for (at, row) in text.lines().enumerate() {
        let line = at + 1;
        let cells: Vec<&str> = row.trim().trim_matches('|').split('|').collect();
        let file = cells[0].trim().trim_matches('`');
        if !row.starts_with('|') || !file.ends_with(".rs") {
            continue;
        }
        listed.push(file);
        if !FENCE.contains(&file) || !files.iter().any(|f| f == file) {
            found.push(format!(
                "{LEDGER}:{line}: {file} is no fenced file of the tree"
            ));
        }
        let proofs: Vec<&str> = cells[cells.len() - 1]
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        if cells.len() != 3 || cells[1].trim().is_empty() || proofs.is_empty() {
            found.push(format!(
                "{LEDGER}:{line}: a row is file, fact and proof in backticks"
            ));
        }
        for proof in proofs
            .into_iter()
            .filter(|proof| !proof_exists(root, proof))
        {
            found.push(format!("{LEDGER}:{line}: no such proof: {proof}"));
        }
    }
    for file in FENCE.iter().filter(|f| files.iter().any(|file| file == *f)) {
        if !listed.contains(file) {
            found.push(format!("{file}: no row in {LEDGER}"));
        }
    }
}

/// `file.rs` is a test file, `file.rs::function` a test in it.
fn proof_exists(root: &Path, proof: &str) -> bool {
    let (file, function) = match proof.split_once("::") {
        Some((file, path)) => (file, path.rsplit("::").next()),
        None => (proof, None),
    };
    let source = lexer::split(&tree::read(root, file));
    let tokens = lexer::tokens(&source.code);
    match function {
        Some(name) => tokens
            .windows(2)
            .any(|two| two[0].text == "fn" && two[1].text == name),
        None => {
            file.contains("tests/")
                && tokens
                    .windows(2)
                    .any(|two| two[0].text == "[" && two[1].text == "test")
        }
    }
}
