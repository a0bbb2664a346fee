//! The checker behind `tests/tidy.rs`: habits of the whole repository, a function each.
//!
//! Invariant: a rule reads files and names breaches; it knows nothing of the other rules.

use std::path::{Component, Path, PathBuf};

use crate::lexer;
use crate::tree;
use crate::{
    CASE_FILES, COLUMNS_MAX, KNOB_KEYS, LINES_MAX, LOCK, PROFILE_KEYS, READERS, RUNBOOK_HEADINGS,
    WORDS, Word,
};

/// A project under inspection.
pub(crate) struct Project<'a> {
    root: &'a Path,
    files: Vec<String>,
}

/// Every breach in the project at `root`, as `file:line: what is wrong`.
pub(crate) fn breaches(root: &Path) -> Vec<String> {
    let project = Project {
        root,
        files: tree::files(root),
    };
    let mut found = Vec::new();
    for rule in [
        sizes, words, lock, links, bounds, heads, cases, knobs, profiles, runbooks, scripts,
    ] {
        rule(&project, &mut found);
    }
    found
}

impl Project<'_> {
    fn read(&self, file: &str) -> String {
        tree::read(self.root, file)
    }

    fn has(&self, file: &str) -> bool {
        self.files.iter().any(|other| other == file)
    }

    /// The files in a folder and below, with what follows the folder's name.
    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter_map(move |file| Some((file.as_str(), file.strip_prefix(folder)?)))
    }
}

/// No line too wide to read beside another, no file too long to hold in mind.
fn sizes(project: &Project<'_>, found: &mut Vec<String>) {
    for file in project.files.iter().filter(|file| file.ends_with(".rs")) {
        let text = project.read(file);
        for (at, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                found.push(format!(
                    "{file}:{}: {columns} columns, at most {COLUMNS_MAX}",
                    at + 1
                ));
            }
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!(
                "{file}: {lines} lines, at most {LINES_MAX}; two nouns are two files"
            ));
        }
    }
}

/// Words that have a better one.
fn words(project: &Project<'_>, found: &mut Vec<String>) {
    for file in project.files.iter().filter(|file| *file != LOCK) {
        let text = project.read(file);
        for (at, line) in text.lines().enumerate() {
            for Word {
                text: word,
                below,
                instead,
            } in WORDS
            {
                let here = below.is_empty() || below.iter().any(|folder| file.starts_with(folder));
                if here && says(line, word) {
                    found.push(format!("{file}:{}: {word}: {instead}", at + 1));
                }
            }
        }
    }
}

/// Whether a line says a word: not as part of a longer word, path or host name.
fn says(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    let (first, last) = (word.chars().next(), word.chars().last());
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = match first {
            // A path of the machine begins here; elsewhere it is the middle of a relative one.
            Some('/') => !before.is_some_and(|c| joins(c) || matches!(c, '.' | '-' | '}' | '*')),
            Some(c) if joins(c) => !before.is_some_and(joins),
            _ => true,
        };
        open && !(last.is_some_and(joins) && after.is_some_and(joins))
    })
}

/// Dependencies come from the one public registry.
fn lock(project: &Project<'_>, found: &mut Vec<String>) {
    for (at, line) in project.read(LOCK).lines().enumerate() {
        if line.starts_with("source = ")
            && !line.ends_with("github.com/rust-lang/crates.io-index\"")
        {
            found.push(format!("{LOCK}:{}: another registry", at + 1));
        }
    }
}

/// Every link from a text to a file of the project leads somewhere.
fn links(project: &Project<'_>, found: &mut Vec<String>) {
    for file in project.files.iter().filter(|file| file.ends_with(".md")) {
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        let mut fenced = false;
        for (at, line) in project.read(file).lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            if fenced {
                continue;
            }
            for target in targets(line) {
                let target = target.split('#').next().unwrap_or("");
                if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let inside = inside(&folder.join(target));
                if !inside.is_some_and(|path| project.root.join(path).exists()) {
                    found.push(format!("{file}:{}: no such file: {target}", at + 1));
                }
            }
        }
    }
}

/// What the links of a line point to, `[text](target)` outside `code`.
fn targets(line: &str) -> Vec<&str> {
    let prose = line.split('`').step_by(2);
    let after_text = prose.flat_map(|part| part.split("](").skip(1));
    after_text
        .filter_map(|rest| rest.split([')', ' ']).next())
        .collect()
}

/// The path without its detours, or `None` if it leaves the project.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::CurDir => {}
            Component::ParentDir if out.pop() => {}
            _ => return None,
        }
    }
    Some(out)
}

/// Every bound says why it has its value.
fn bounds(project: &Project<'_>, found: &mut Vec<String>) {
    const BOUNDS: &str = "src/base/limits.rs";
    let parts = project.below("src/base/limits/").map(|(file, _)| file);
    for file in std::iter::once(BOUNDS).chain(parts) {
        let text = project.read(file);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.starts_with("pub const") && !(at > 0 && lines[at - 1].starts_with("///")) {
                found.push(format!("{file}:{}: a bound without its reason", at + 1));
            }
        }
    }
}

/// A room says what it is for and what it deliberately does not know. What it embeds has other comments, or none.
fn heads(project: &Project<'_>, found: &mut Vec<String>) {
    for (file, inside) in project.below("src/") {
        if !file.ends_with(".rs") {
            continue;
        }
        let text = project.read(file);
        let room = inside.ends_with("/mod.rs") && inside.matches('/').count() == 1;
        let content = lexer::split(&text).code;
        if room && !content.trim().is_empty() && !text.contains("Invariant:") {
            found.push(format!("{file}: the head has no line \"Invariant:\""));
        }
        if !text.starts_with("//!") {
            found.push(format!(
                "{file}: the head does not say what the file is for"
            ));
        }
    }
}

/// A case is a folder of three files that some text names.
fn cases(project: &Project<'_>, found: &mut Vec<String>) {
    let texts: Vec<String> = project
        .files
        .iter()
        .filter(|file| *file == "README.md" || file.starts_with("docs/"))
        .map(|file| project.read(file))
        .collect();
    let mut names: Vec<&str> = project
        .below("harness/cases/")
        .filter_map(|(_, inside)| Some(inside.split_once('/')?.0))
        .collect();
    names.dedup();
    for name in names {
        let case = format!("harness/cases/{name}");
        for part in CASE_FILES {
            if !project.has(&format!("{case}/{part}")) {
                found.push(format!("{case}: no {part}"));
            }
        }
        if !texts.iter().any(|text| says(text, name)) {
            found.push(format!("{case}: neither README.md nor docs/ name it"));
        }
    }
}

/// A knob has all its keys, and its check only reads.
fn knobs(project: &Project<'_>, found: &mut Vec<String>) {
    for (file, inside) in project.below("tuning/knobs/") {
        let Some(knob) = table(project, file, KNOB_KEYS, found) else {
            continue;
        };
        if knob["name"].as_str() != inside.strip_suffix(".toml") {
            found.push(format!("{file}: name is not the file's"));
        }
        let check = knob["check"].as_table();
        let command = check.and_then(|check| check.get("command")?.as_array());
        let words: Vec<&str> = command
            .map(|command| command.iter().filter_map(|word| word.as_str()).collect())
            .unwrap_or_default();
        if !words.first().is_some_and(|first| READERS.contains(first)) {
            found.push(format!(
                "{file}: check.command does not begin with one of {READERS:?}"
            ));
        }
        if check
            .and_then(|check| check.get("expect")?.as_table())
            .is_none()
        {
            found.push(format!("{file}: check.expect is no table"));
        }
    }
}

/// A profile has all its keys and names knobs that exist.
fn profiles(project: &Project<'_>, found: &mut Vec<String>) {
    for (file, _) in project.below("tuning/profiles/") {
        let Some(profile) = table(project, file, PROFILE_KEYS, found) else {
            continue;
        };
        for knob in profile["knobs"]
            .as_table()
            .into_iter()
            .flat_map(toml::Table::keys)
        {
            if !project.has(&format!("tuning/knobs/{knob}.toml")) {
                found.push(format!("{file}: no knob {knob}"));
            }
        }
    }
}

/// The table in a file, if it is TOML and has all the keys.
fn table(
    project: &Project<'_>,
    file: &str,
    keys: &[&str],
    found: &mut Vec<String>,
) -> Option<toml::Table> {
    let table: toml::Table = match toml::from_str(&project.read(file)) {
        Ok(table) => table,
        Err(error) => {
            found.push(format!("{file}: {}", error.message()));
            return None;
        }
    };
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| !table.contains_key(**key))
        .collect();
    for key in &missing {
        found.push(format!("{file}: no key {key}"));
    }
    missing.is_empty().then_some(table)
}

/// A runbook has its headings, in order and with words below, and stands in the index.
fn runbooks(project: &Project<'_>, found: &mut Vec<String>) {
    const INDEX: &str = "README.md";
    let index = project.read(&format!("runbooks/{INDEX}"));
    for (file, name) in project
        .below("runbooks/")
        .filter(|(_, name)| *name != INDEX)
    {
        let text = project.read(file);
        let sections: Vec<(&str, &str)> = text
            .split("\n## ")
            .skip(1)
            .map(|section| section.split_once('\n').unwrap_or((section, "")))
            .collect();
        let headings: Vec<&str> = sections.iter().map(|(heading, _)| heading.trim()).collect();
        if headings != RUNBOOK_HEADINGS {
            found.push(format!("{file}: its headings are not {RUNBOOK_HEADINGS:?}"));
        }
        for (heading, _) in sections.iter().filter(|(_, body)| body.trim().is_empty()) {
            found.push(format!("{file}: nothing below {heading}"));
        }
        if !index.contains(&format!("({name})")) {
            found.push(format!("{file}: runbooks/{INDEX} does not link it"));
        }
    }
}

/// A proof says what it proves and stops at the first thing that goes wrong.
fn scripts(project: &Project<'_>, found: &mut Vec<String>) {
    for (file, _) in project.below(".ci/") {
        let text = project.read(file);
        let mut lines = text.lines();
        let shell = lines.next() == Some("#!/usr/bin/env bash");
        let says = lines.next().is_some_and(|line| line.starts_with("# "));
        if !(shell && says && lines.any(|line| line == "set -euo pipefail")) {
            found.push(format!(
                "{file}: no bash, first comment or set -euo pipefail"
            ));
        }
    }
}
