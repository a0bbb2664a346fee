//! The settings of one node, with the place of each, whatever format they were written in.

use crate::base::units::{UnitError, parse_bytes, parse_rate, parse_span_ns};

use super::problem::{Place, Problem, Problems, closest, list};

/// A setting's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number with a point.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// Several values.
    List(Vec<Value>),
}

impl Value {
    /// What it is, in words.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number with a point",
            Value::Bool(_) => "true or false",
            Value::List(_) => "a list",
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    value: Value,
    place: Option<Place>,
    used: bool,
}

/// The settings of one node. Each getter marks its key as known; what nobody asked for is an
/// unknown key.
#[derive(Clone, Debug, Default)]
pub struct Params {
    entries: Vec<Entry>,
    known: Vec<&'static str>,
    place: Option<Place>,
}

impl Params {
    /// No settings yet; `place` is where the node stands.
    #[must_use]
    pub fn new(place: Option<Place>) -> Params {
        Params {
            place,
            ..Params::default()
        }
    }

    /// Adds a setting; a later one of the same key replaces it.
    pub fn set(&mut self, key: &str, value: Value, place: Option<Place>) {
        self.entries.retain(|entry| entry.key != key);
        self.entries.push(Entry {
            key: key.to_owned(),
            value,
            place,
            used: false,
        });
    }

    /// Whether there is such a setting.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The value set under a key, without marking it as known.
    #[must_use]
    pub fn peek(&self, key: &str) -> Option<&Value> {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| &entry.value)
    }

    /// A text set under a key, without marking it as known.
    #[must_use]
    pub fn peek_text(&self, key: &str) -> Option<&str> {
        match self.peek(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn take(&mut self, key: &'static str) -> Option<(Value, Option<Place>)> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let entry = self.entries.iter_mut().find(|entry| entry.key == key)?;
        entry.used = true;
        Some((entry.value.clone(), entry.place.clone()))
    }

    fn missing(&self, key: &str, example: &str) -> Problem {
        Problem::new(
            format!("the setting \"{key}\" is missing"),
            format!("write {key} = {example}"),
        )
        .at(self.place.as_ref())
    }

    fn wrong(key: &str, value: &Value, expected: &str, place: Option<&Place>) -> Problem {
        Problem::new(
            format!("\"{key}\" is {}", value.what()),
            format!("write {expected}"),
        )
        .at(place)
    }

    /// A text, if set.
    ///
    /// # Errors
    /// Another type.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, Problem> {
        match self.take(key) {
            None => Ok(None),
            Some((Value::Text(text), _)) => Ok(Some(text)),
            Some((other, place)) => Err(Params::wrong(
                key,
                &other,
                &format!("a text, such as {key} = \"…\""),
                place.as_ref(),
            )),
        }
    }

    /// A text that must be set; `example` is what a right one looks like.
    ///
    /// # Errors
    /// Missing, or another type.
    pub fn need_text(&mut self, key: &'static str, example: &str) -> Result<String, Problem> {
        self.text(key)?
            .ok_or_else(|| self.missing(key, &format!("\"{example}\"")))
    }

    /// One of a closed list of words.
    ///
    /// # Errors
    /// Another type or word; the error lists the words.
    pub fn word<T>(
        &mut self,
        key: &'static str,
        words: &[&str],
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let write = || list(words.iter().map(String::as_str));
        let text = match self.take(key) {
            None => return Ok(None),
            Some((Value::Text(text), _)) => text,
            Some((other, place)) => {
                return Err(Params::wrong(key, &other, &write(), place.as_ref()));
            }
        };
        parse(&text).map(Some).ok_or_else(|| {
            let help = match closest(&text, words.iter().map(|word| word.trim_matches('"'))) {
                Some(word) => format!("did you mean \"{word}\"?"),
                None => format!("write {}", write()),
            };
            Problem::new(format!("\"{key}\" does not know the word \"{text}\""), help)
                .at(self.place_of(key))
        })
    }

    /// A whole number within bounds, or `default`.
    ///
    /// # Errors
    /// Another type, or out of bounds.
    pub fn count(
        &mut self,
        key: &'static str,
        default: u64,
        bounds: core::ops::RangeInclusive<u64>,
    ) -> Result<u64, Problem> {
        match self.take(key) {
            None => Ok(default),
            Some((Value::Int(number), place)) => match u64::try_from(number) {
                Ok(count) if bounds.contains(&count) => Ok(count),
                _ => Err(Problem::new(
                    format!("\"{key}\" = {number} is out of bounds"),
                    format!("write a number from {} to {}", bounds.start(), bounds.end()),
                )
                .at(place.as_ref())),
            },
            Some((other, place)) => {
                Err(Params::wrong(key, &other, "a whole number", place.as_ref()))
            }
        }
    }

    /// Yes or no, or `default`.
    ///
    /// # Errors
    /// Another type.
    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, Problem> {
        match self.take(key) {
            None => Ok(default),
            Some((Value::Bool(flag), _)) => Ok(flag),
            Some((other, place)) => {
                Err(Params::wrong(key, &other, "true or false", place.as_ref()))
            }
        }
    }

    /// A span of time in nanoseconds, if set (`"20us"`).
    ///
    /// # Errors
    /// Another type, or no span with its unit.
    pub fn span_ns(&mut self, key: &'static str) -> Result<Option<u64>, Problem> {
        self.unit(key, "a span with its unit, such as \"20us\"", parse_span_ns)
    }

    /// A rate in events a second, if set (`"50k/s"`).
    ///
    /// # Errors
    /// Another type, or no rate.
    pub fn rate(&mut self, key: &'static str) -> Result<Option<f64>, Problem> {
        self.unit(key, "a rate, such as \"50k/s\"", parse_rate)
    }

    /// A size in bytes, such as `"64MiB"`, if set.
    ///
    /// # Errors
    /// Another type, or no size.
    pub fn bytes(&mut self, key: &'static str) -> Result<Option<u64>, Problem> {
        self.unit(key, "a size, such as \"64MiB\"", parse_bytes)
    }

    /// A text read by `parse`, if set.
    ///
    /// # Errors
    /// Another type, or what `parse` says.
    pub fn unit<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, UnitError>,
    ) -> Result<Option<T>, Problem> {
        match self.take(key) {
            None => Ok(None),
            Some((Value::Text(text), place)) => parse(&text).map(Some).map_err(|error| {
                Problem::new(
                    format!("\"{key}\" = \"{}\" cannot be read", error.given),
                    format!("write {}", error.expected),
                )
                .at(place.as_ref())
            }),
            Some((other, place)) => Err(Params::wrong(key, &other, expected, place.as_ref())),
        }
    }

    /// A list of texts, or one text alone; empty if not set.
    ///
    /// # Errors
    /// Another type, or a list of something else.
    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Problem> {
        let expected = "a list of texts, such as [\"a\", \"b\"]";
        match self.take(key) {
            None => Ok(Vec::new()),
            Some((Value::Text(text), _)) => Ok(vec![text]),
            Some((Value::List(values), place)) => values
                .into_iter()
                .map(|value| match value {
                    Value::Text(text) => Ok(text),
                    other => Err(Params::wrong(key, &other, expected, place.as_ref())),
                })
                .collect(),
            Some((other, place)) => Err(Params::wrong(key, &other, expected, place.as_ref())),
        }
    }

    /// Where the node stands.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Where a setting stands, else where the node does.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Option<&Place> {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry
            .and_then(|entry| entry.place.as_ref())
            .or(self.place.as_ref())
    }

    /// A problem at a setting.
    #[must_use]
    pub fn problem(&self, key: &str, what: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem::new(what, help).at(self.place_of(key))
    }

    /// The same without what nobody has asked for since then, and as if nobody had asked.
    pub(crate) fn asked_by<T>(&self, ask: impl FnOnce(&mut Params) -> T) -> (T, Params) {
        let mut params = self.clone();
        for entry in &mut params.entries {
            entry.used = false;
        }
        let answer = ask(&mut params);
        params.entries.retain(|entry| entry.used);
        params.known.clear();
        (answer, params)
    }

    /// The settings that nobody asked for, each with the key that was perhaps meant.
    #[must_use]
    pub fn unknown(&self) -> Problems {
        Problems(self.strangers().map(|(_, problem)| problem).collect())
    }

    /// Of the settings that nobody asked for those that look like one that is not there: for a
    /// factory that gave up before it had asked for all of its settings.
    pub(crate) fn misspelt(&self) -> Problems {
        let missing = |key: &str| !self.has(key);
        let misspelt = self
            .strangers()
            .filter(|(meant, _)| meant.is_some_and(missing));
        Problems(misspelt.map(|(_, problem)| problem).collect())
    }

    fn strangers(&self) -> impl Iterator<Item = (Option<&str>, Problem)> {
        let unused = self.entries.iter().filter(|entry| !entry.used);
        unused.map(|entry| {
            let meant = closest(&entry.key, self.known.iter().copied());
            let help = match meant {
                Some(key) => format!("did you mean \"{key}\"?"),
                None if self.known.is_empty() => "this takes no settings of its own".to_owned(),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let problem = Problem::new(format!("unknown key \"{}\"", entry.key), help);
            (meant, problem.at(entry.place.as_ref()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Params, Value};

    #[test]
    fn unknown_keys_wrong_types_and_bounds_are_named() {
        let mut params = Params::new(None);
        params.set("levls", Value::Int(5), None);
        params.set("rate", Value::Int(5), None);
        assert_eq!(params.count("levels", 50, 1..=100), Ok(50));
        assert!(
            params
                .rate("rate")
                .unwrap_err()
                .to_string()
                .contains("\"rate\" is a whole number")
        );
        assert_eq!(
            params.unknown().to_string(),
            "unknown key \"levls\"\n  help: did you mean \"levels\"?"
        );
        params.set("levels", Value::Int(0), None);
        assert!(
            params
                .count("levels", 50, 1..=100)
                .unwrap_err()
                .help
                .contains("from 1 to 100")
        );
        assert!(params.need_text("bind", "127.0.0.1:26400").is_err());
    }
}
