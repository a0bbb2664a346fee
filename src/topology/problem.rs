//! What is wrong with a line, where, and what to write instead.

use std::fmt;
use std::sync::Arc;

/// A place in a file of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, if it came from a file.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What to write or do instead.
    pub help: String,
}

impl Problem {
    /// A problem that came from no file, or whose place is added later.
    #[must_use]
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem {
            place: None,
            what: what.into(),
            help: help.into(),
        }
    }

    /// The same, at a place; one that it already has is kept, being the closer one.
    #[must_use]
    pub fn at(mut self, place: Option<&Place>) -> Problem {
        if self.place.is_none() {
            self.place = place.cloned();
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}", self.what)?;
        if !self.help.is_empty() {
            write!(f, "\n  help: {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// All that is wrong, so that one look mends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Puts them in the order of their places: file by file as they first come, from top to
    /// bottom; those without a place come last.
    pub(crate) fn sort(&mut self) {
        let mut files: Vec<Arc<str>> = Vec::new();
        for place in self.0.iter().filter_map(|problem| problem.place.as_ref()) {
            if !files.contains(&place.file) {
                files.push(place.file.clone());
            }
        }
        self.0.sort_by_key(|problem| match &problem.place {
            Some(place) => {
                let file = files.iter().position(|file| *file == place.file);
                (file.unwrap_or(files.len()), place.line, place.column)
            }
            None => (files.len(), 0, 0),
        });
    }

    /// Turns into an error if there is any problem.
    ///
    /// # Errors
    /// All problems.
    pub fn into_result<T>(self, value: T) -> Result<T, Problems> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The name in `names` that is closest to `given`, if one is close enough to be meant.
#[must_use]
pub fn closest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = given.chars().count();
    let most = (length / 3).max(1).min(length.saturating_sub(1));
    let distances = names.into_iter().map(|name| (distance(given, name), name));
    distances
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

/// Edits from one word to the other, a swap of neighbours being one: Levenshtein's distance with
/// Damerau's swaps (optimal string alignment), over three rows.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(row[j - 1] + 1).min(last[j] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// "sources here: a, b, c".
#[must_use]
pub fn all<'a>(of: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        return format!("there are no {of}");
    }
    format!("{of} here: {}", names.join(", "))
}

/// "a, b or c".
#[must_use]
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{closest, list};

    #[test]
    fn a_near_miss_is_recognised_and_a_far_one_is_not() {
        assert_eq!(closest("dept", ["depth", "when_full"]), Some("depth"));
        assert_eq!(
            closest("when_ful", ["depth", "when_full"]),
            Some("when_full")
        );
        assert_eq!(closest("sol", ["hop", "slo"]), Some("slo"));
        // Nothing is left of what was given.
        assert_eq!(closest("", ["x"]), None);
        assert_eq!(closest("a", ["b"]), None);
        assert_eq!(closest("colour", ["depth", "when_full"]), None);
        assert_eq!(list(["a", "b", "c"]), "a, b or c");
    }
}
