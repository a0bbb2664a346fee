//! A TOML text as tables of settings with their places.
//!
//! Keys come in the order of the file. Places are those of keys, and of headers for tables.
//!
//! Invariant: knows TOML and nothing of lines, loads and budgets.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::topology::problem::{all, closest};
use crate::topology::{Params, Place, Problem, Problems, Value};

use super::source_text::SourceText;

/// Most keys of a file: all hops of the largest line with a budget each have about 3,000. Looking
/// for one key among all others must not take seconds, whatever the file is.
const KEYS_MAX: usize = 1 << 13;

/// Most breaks of the syntax that are told of a file; behind that many it is no TOML at all.
const BREAKS_MAX: usize = 32;

/// A table, or a whole document.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) place: Place,
    pub(super) entries: Vec<Entry>,
}

/// A table of lists of texts, with its place.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) place: Place,
    pub(super) lists: Vec<(String, Vec<String>)>,
}

/// A key of a table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    item: Item,
}

#[derive(Debug)]
enum Item {
    Value(Value),
    Table(Table),
    /// `[[key]]`, or a list of tables.
    Tables(Vec<Table>),
    /// What has no place in a case: what it is.
    Odd(&'static str),
}

/// Parses a text.
///
/// # Errors
/// All breaks of TOML's syntax, one for each line and up to a bound; or too many keys.
pub(super) fn parse(source: &SourceText) -> Result<Table, Problems> {
    source.not_empty()?;
    let (document, errors) = DeTable::parse_recoverable(source.text());
    let mut lines = BTreeSet::new();
    let mut problems = Problems::default();
    for error in errors {
        let line = source.line(error.span().unwrap_or_default().start);
        if lines.len() < BREAKS_MAX && lines.insert(line) {
            problems.push(syntax(source, &error));
        }
    }
    problems.sort();
    let document = problems.into_result(document.into_inner())?;
    let keys = keys(&document);
    if keys > KEYS_MAX {
        let what = format!("the file has {keys} keys, which are too many for a case");
        let help = format!("is it the right file? At most {KEYS_MAX} are read");
        return Err(Problem::new(what, help).at(Some(&source.place(0))).into());
    }
    Ok(table(source, source.place(0), document))
}

/// Keys of a table and of the tables within it.
fn keys(table: &DeTable<'_>) -> usize {
    let within = table.values().map(|value| keys_of(value.get_ref()));
    table.len() + within.sum::<usize>()
}

fn keys_of(value: &DeValue<'_>) -> usize {
    match value {
        DeValue::Table(table) => keys(table),
        DeValue::Array(values) => values.iter().map(|value| keys_of(value.get_ref())).sum(),
        _ => 0,
    }
}

/// Names a break of the syntax: the parser's words, but for the commonest.
fn syntax(source: &SourceText, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or_default();
    let problem = match (error.message(), source.text().get(span.clone())) {
        ("duplicate key", Some(key)) => {
            let is_header = source.text()[..span.start].ends_with('[');
            let help = if is_header {
                format!("keep one of them, or write [[{key}]] where there may be several")
            } else {
                "keep one of them".to_owned()
            };
            Problem::new(format!("\"{key}\" is there twice"), help)
        }
        (message, _) => {
            let help = if message.contains("unquoted key") {
                "keys of other characters stand in quotes, such as [hop.\"btc->book\"]"
            } else if message.contains("string") {
                "texts stand in quotes, such as name = \"book\""
            } else {
                "write key = value, [table], or [[table]] where there are several"
            };
            Problem::new(format!("not TOML: {message}"), help)
        }
    };
    problem.at(Some(&source.place(span.start)))
}

fn table(source: &SourceText, place: Place, given: DeTable<'_>) -> Table {
    let mut given: Vec<_> = given.into_iter().collect();
    given.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        let place = source.place(key.span().start);
        Entry {
            item: item(source, &place, value.into_inner()),
            place,
            key: String::from(key.into_inner()),
        }
    };
    Table {
        place,
        entries: given.into_iter().map(entry).collect(),
    }
}

fn item(source: &SourceText, key: &Place, given: DeValue<'_>) -> Item {
    match given {
        DeValue::Table(given) => Item::Table(table(source, key.clone(), given)),
        DeValue::Array(given)
            if !given.is_empty() && given.iter().all(|value| value.get_ref().is_table()) =>
        {
            let tables = given.into_iter().map(|value| {
                let at = value.span().start;
                match value.into_inner() {
                    DeValue::Table(given) => table(source, source.place(at), given),
                    _ => table(source, source.place(at), DeTable::new()),
                }
            });
            Item::Tables(tables.collect())
        }
        plain => match value(plain) {
            Ok(value) => Item::Value(value),
            Err(what) => Item::Odd(what),
        },
    }
}

/// A plain value, or what it is instead.
fn value(given: DeValue<'_>) -> Result<Value, &'static str> {
    Ok(match given {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::Int)
            .map_err(|_| "a number beyond 64 bits")?,
        DeValue::Float(number) => {
            let number: f64 = number
                .as_str()
                .parse()
                .map_err(|_| "a number beyond 64 bits")?;
            Value::Float(number)
        }
        DeValue::Boolean(flag) => Value::Bool(flag),
        DeValue::Array(values) => {
            let values = values.into_iter().map(|item| value(item.into_inner()));
            Value::List(values.collect::<Result<_, _>>()?)
        }
        DeValue::Datetime(_) => return Err("a date or time"),
        DeValue::Table(_) => return Err("a list with a table in it"),
    })
}

impl Table {
    /// Takes a key out.
    fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Takes `[key]` out.
    pub(super) fn take_table(&mut self, key: &str, problems: &mut Problems) -> Option<Table> {
        let entry = self.take(key)?;
        match entry.item {
            Item::Table(table) => Some(table),
            other => {
                let what = format!("\"{key}\" is {}", other.what());
                problems.push(Problem::new(what, format!("write [{key}]")).at(Some(&entry.place)));
                None
            }
        }
    }

    /// Takes all of `[[key]]` out.
    pub(super) fn take_tables(&mut self, key: &str, problems: &mut Problems) -> Vec<Table> {
        let Some(entry) = self.take(key) else {
            return Vec::new();
        };
        match entry.item {
            Item::Tables(tables) => tables,
            Item::Table(table) => {
                let what = format!("\"{key}\" is one table, and there may be several");
                let help = format!("write [[{key}]] instead of [{key}]");
                problems.push(Problem::new(what, help).at(Some(&entry.place)));
                vec![table]
            }
            other => {
                let what = format!("\"{key}\" is {}", other.what());
                let help = format!("write [[{key}]]");
                problems.push(Problem::new(what, help).at(Some(&entry.place)));
                Vec::new()
            }
        }
    }

    /// Takes a table of lists of texts out; one text alone is a list too. `example` is a right one.
    pub(super) fn take_lists(
        &mut self,
        key: &str,
        example: &str,
        problems: &mut Problems,
    ) -> Option<Lists> {
        let entry = self.take(key)?;
        let mut wrong = |key: &str, is: &str, place: &Place| {
            let what = format!("\"{key}\" is {is}");
            problems.push(Problem::new(what, format!("write {example}")).at(Some(place)));
        };
        let Item::Table(table) = entry.item else {
            wrong(key, entry.item.what(), &entry.place);
            return None;
        };
        if table.entries.is_empty() {
            wrong(key, "empty", &entry.place);
        }
        let mut lists = Vec::new();
        for inner in table.entries {
            let text = |value: &Value| match value {
                Value::Text(text) => Ok(text.clone()),
                other => Err(format!("a list with {} in it", other.what())),
            };
            let texts = match &inner.item {
                Item::Value(Value::List(values)) => values.iter().map(text).collect(),
                Item::Value(Value::Text(text)) => Ok(vec![text.clone()]),
                Item::Value(value) => Err(value.what().to_owned()),
                other => Err(other.what().to_owned()),
            };
            match texts {
                Ok(texts) => lists.push((inner.key, texts)),
                Err(is) => wrong(&inner.key, &is, &inner.place),
            }
        }
        Some(Lists {
            place: entry.place,
            lists,
        })
    }

    /// All tables within `[key]`, each with its own key.
    pub(super) fn into_tables(
        self,
        key: &str,
        problems: &mut Problems,
    ) -> Vec<(String, Place, Table)> {
        let mut tables = Vec::new();
        for entry in self.entries {
            match entry.item {
                Item::Table(table) => tables.push((entry.key, entry.place, table)),
                other => {
                    let what = format!("\"{}\" is {}", entry.key, other.what());
                    let help = format!("write a table for each, such as [{key}.\"btc->book\"]");
                    problems.push(Problem::new(what, help).at(Some(&entry.place)));
                }
            }
        }
        tables
    }

    /// What is left, of which nothing is known here; `known` are the tables that are.
    /// Gives the names of nodes in it, which are not there for a reason that is told.
    pub(super) fn unknown(self, known: &[&str], problems: &mut Problems) -> Vec<String> {
        let mut names = Vec::new();
        for entry in self.entries {
            problems.push(unknown_key(&entry, known));
            if let Item::Tables(tables) = entry.item {
                let texts = tables.iter().filter_map(|table| table.text("name"));
                names.extend(texts.map(str::to_owned));
            }
        }
        names
    }

    fn text(&self, key: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        match &entry.item {
            Item::Value(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Its plain settings. `tables` are the keys of tables that were taken out before.
    pub(super) fn into_params(self, tables: &[&str], problems: &mut Problems) -> Params {
        let mut params = Params::new(Some(self.place));
        for entry in self.entries {
            match entry.item {
                Item::Value(value) => params.set(&entry.key, value, Some(entry.place)),
                Item::Odd(_) => {
                    let what = format!("\"{}\" is {}", entry.key, entry.item.what());
                    let help = "write a text, a number, true or false, or a list of them";
                    problems.push(Problem::new(what, help).at(Some(&entry.place)));
                }
                Item::Table(_) | Item::Tables(_) => problems.push(unknown_key(&entry, tables)),
            }
        }
        params
    }
}

fn unknown_key(entry: &Entry, tables: &[&str]) -> Problem {
    let problem = match (closest(&entry.key, tables.iter().copied()), &entry.item) {
        (Some(meant), _) => Problem::new(
            format!("unknown key \"{}\"", entry.key),
            format!("did you mean \"{meant}\"?"),
        ),
        (None, Item::Table(_) | Item::Tables(_)) if tables.is_empty() => Problem::new(
            format!("\"{}\" is {}", entry.key, entry.item.what()),
            "there are no tables within this one: write key = value",
        ),
        _ => Problem::new(
            format!("unknown key \"{}\"", entry.key),
            all("tables", tables.iter().copied()),
        ),
    };
    problem.at(Some(&entry.place))
}

impl Item {
    fn what(&self) -> &'static str {
        match self {
            Item::Value(Value::List(_)) => "a list",
            Item::Value(_) => "a plain value",
            Item::Table(_) => "a table",
            Item::Tables(_) => "a list of tables",
            Item::Odd(what) => what,
        }
    }
}
