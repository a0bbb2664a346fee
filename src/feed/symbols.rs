//! The bounded table of symbols: names on the wire, small numbers in frames.
//!
//! A line has one numbering; each source's table holds the symbols that this source carries, with
//! the line's numbers, so that another source's symbol is refused where it enters.
//!
//! Invariant: fixed once built; looking up allocates nothing.

/// Most symbols of a table: an exchange lists several hundred products on one feed.
pub const SYMBOLS_MAX: usize = 1024;

/// Longest name of a symbol, in bytes; the longest that the exchange lists (a dated contract on a
/// thousandfold unit) has about 20.
pub const SYMBOL_BYTES_MAX: usize = 32;

/// Why a table cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SymbolsError {
    /// No symbol was given.
    #[error("a source needs at least one symbol")]
    Empty,
    /// More symbols than [`SYMBOLS_MAX`].
    #[error("{0} symbols are more than the {SYMBOLS_MAX} that a source may carry")]
    TooMany(usize),
    /// A name that no symbol of the exchange can have.
    #[error("\"{0}\" is no symbol: 1 to {SYMBOL_BYTES_MAX} of A-Z, 0-9 and _ are")]
    BadName(String),
    /// A name or a number that stands twice.
    #[error("symbol \"{0}\" or its number stands twice")]
    Twice(String),
    /// A default symbol that is not in the table.
    #[error("default symbol \"{0}\" is not one of the source's symbols")]
    UnknownDefault(String),
}

/// The symbols that a source carries and their numbers.
///
/// ```
/// use hopline::feed::Symbols;
/// let symbols = Symbols::new(&["BTCUSDT", "ETHUSDT"]).unwrap();
/// assert_eq!(symbols.find(b"ETHUSDT"), Some(1));
/// assert_eq!(symbols.name(0), Some("BTCUSDT"));
/// assert_eq!(symbols.find(b"DOGEUSDT"), None);
/// ```
#[derive(Clone, Debug)]
pub struct Symbols {
    /// Sorted by name.
    entries: Box<[(Box<str>, u16)]>,
}

impl Symbols {
    /// A table in which each name has its place in `names` as its number.
    ///
    /// # Errors
    /// No name, too many, one that is no symbol, or one twice.
    pub fn new(names: &[&str]) -> Result<Symbols, SymbolsError> {
        Symbols::build(
            names
                .iter()
                .enumerate()
                .map(|(at, name)| (*name, at as u16)),
            names.len(),
        )
    }

    /// A table with numbers as given, for a source that carries some of a line's symbols.
    ///
    /// # Errors
    /// No name, too many, one that is no symbol, or a name or a number twice.
    pub fn numbered(entries: &[(&str, u16)]) -> Result<Symbols, SymbolsError> {
        Symbols::build(entries.iter().copied(), entries.len())
    }

    fn build<'a>(
        entries: impl Iterator<Item = (&'a str, u16)>,
        count: usize,
    ) -> Result<Symbols, SymbolsError> {
        if count == 0 {
            return Err(SymbolsError::Empty);
        }
        if count > SYMBOLS_MAX {
            return Err(SymbolsError::TooMany(count));
        }
        let mut sorted: Vec<(Box<str>, u16)> = Vec::with_capacity(count);
        for (name, number) in entries {
            let is_plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            if name.is_empty() || name.len() > SYMBOL_BYTES_MAX || !name.bytes().all(is_plain) {
                return Err(SymbolsError::BadName(name.to_owned()));
            }
            if sorted
                .iter()
                .any(|(other, taken)| **other == *name || *taken == number)
            {
                return Err(SymbolsError::Twice(name.to_owned()));
            }
            sorted.push((name.into(), number));
        }
        sorted.sort_unstable();
        Ok(Symbols {
            entries: sorted.into_boxed_slice(),
        })
    }

    /// The number of a symbol; `None` when this source does not carry it.
    #[inline]
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        // Most sources carry one symbol, for which a search by halves is a single comparison.
        let at = self
            .entries
            .binary_search_by(|(other, _)| other.as_bytes().cmp(name));
        at.ok().map(|at| self.entries[at].1)
    }

    /// The number of a symbol that is written in either case, as in a stream's name.
    #[must_use]
    pub(crate) fn find_any_case(&self, name: &[u8]) -> Option<u16> {
        let mut upper = [0; SYMBOL_BYTES_MAX];
        let upper = upper.get_mut(..name.len())?;
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        self.find(upper)
    }

    /// The name behind a number. A search through the table: for reports, not for a turn.
    #[must_use]
    pub fn name(&self, number: u16) -> Option<&str> {
        let entry = self.entries.iter().find(|(_, other)| *other == number);
        entry.map(|(name, _)| &**name)
    }

    /// Names and numbers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u16)> {
        self.entries.iter().map(|(name, number)| (&**name, *number))
    }

    /// How many symbols there are; at least one.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a table without symbols cannot be built"
    )]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_checked_when_it_is_built() {
        assert_eq!(Symbols::new(&[]).unwrap_err(), SymbolsError::Empty);
        assert_eq!(
            Symbols::new(&["A", "A"]).unwrap_err(),
            SymbolsError::Twice("A".into())
        );
        assert_eq!(
            Symbols::numbered(&[("A", 1), ("B", 1)]).unwrap_err(),
            SymbolsError::Twice("B".into())
        );
        for name in [
            "",
            "btcusdt",
            "BTC USDT",
            "É",
            &"A".repeat(SYMBOL_BYTES_MAX + 1),
        ] {
            assert_eq!(
                Symbols::new(&[name]).unwrap_err(),
                SymbolsError::BadName(name.to_owned())
            );
        }
        let many = vec!["A"; SYMBOLS_MAX + 1];
        assert_eq!(
            Symbols::new(&many).unwrap_err(),
            SymbolsError::TooMany(SYMBOLS_MAX + 1)
        );
    }

    #[test]
    fn every_symbol_is_found_under_its_number() {
        let names: Vec<String> = (0..SYMBOLS_MAX)
            .map(|n| format!("S{}", n * 7919 % 5003))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let symbols = Symbols::new(&names).unwrap();
        assert_eq!(symbols.len(), SYMBOLS_MAX);
        for (at, name) in names.iter().enumerate() {
            assert_eq!(symbols.find(name.as_bytes()), Some(at as u16));
            assert_eq!(
                symbols.find_any_case(name.to_lowercase().as_bytes()),
                Some(at as u16)
            );
            assert_eq!(symbols.name(at as u16), Some(*name));
        }
        assert_eq!(symbols.find(b"S"), None);
        assert_eq!(symbols.find_any_case(&[b's'; 99]), None);
    }
}
