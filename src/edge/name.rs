//! What a channel is called: `name/group`, as in `dag/line` or `samples/decode->book`.
//!
//! Invariant: a name that was taken is two parts around one slash, and can stand in a URL, a JSON text and a line of a stream.

use core::fmt;
use std::borrow::Cow;

use crate::base::limits::EDGE_NAME_BYTES_MAX;

crate::reasons! {
    /// Why a text is no channel's name.
    pub enum NameFault {
        /// Not two parts around one slash.
        NotTwoParts = "not_two_parts",
        /// A part with nothing in it.
        EmptyPart = "empty_part",
        /// A part over [`EDGE_NAME_BYTES_MAX`].
        PartTooLong = "part_too_long",
        /// A part that is `.` or `..`, which clients take out of a URL.
        Dots = "dots",
        /// A control character.
        BadCharacter = "bad_character",
    }
}

impl NameFault {
    /// What is wrong, and what to write instead.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            NameFault::NotTwoParts => "a channel is called name/group, with one slash",
            NameFault::EmptyPart => "both parts of a channel's name have characters",
            NameFault::PartTooLong => const { TOO_LONG },
            NameFault::Dots => "a part of a channel's name is not . or ..",
            NameFault::BadCharacter => "a channel's name has no control characters",
        }
    }
}

/// It says the bound, which a constant text can only repeat.
const TOO_LONG: &str = {
    assert!(EDGE_NAME_BYTES_MAX == 196);
    "each part of a channel's name has at most 196 bytes"
};

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

impl core::error::Error for NameFault {}

/// A channel's name that may be one; whether there is such a channel, its server knows.
///
/// ```
/// use hopline::edge::{ChannelName, NameFault};
/// let name = ChannelName::new("samples/decode->book").unwrap();
/// assert_eq!((name.name(), name.group()), ("samples", "decode->book"));
/// assert_eq!(ChannelName::new("samples"), Err(NameFault::NotTwoParts));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName<'a>(Cow<'a, str>);

impl<'a> ChannelName<'a> {
    /// The channel of that name. Copies nothing.
    ///
    /// # Errors
    /// No channel may be called so.
    pub fn new(text: impl Into<Cow<'a, str>>) -> Result<ChannelName<'a>, NameFault> {
        let text = text.into();
        let (name, group) = text.split_once('/').ok_or(NameFault::NotTwoParts)?;
        if group.contains('/') {
            return Err(NameFault::NotTwoParts);
        }
        for part in [name, group] {
            if part.is_empty() {
                return Err(NameFault::EmptyPart);
            }
            if part.len() > EDGE_NAME_BYTES_MAX {
                return Err(NameFault::PartTooLong);
            }
            if matches!(part, "." | "..") {
                return Err(NameFault::Dots);
            }
            if part.chars().any(char::is_control) {
                return Err(NameFault::BadCharacter);
            }
        }
        Ok(ChannelName(text))
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(name, _)| name)
    }

    /// What stands behind it.
    #[must_use]
    pub fn group(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, group)| group)
    }

    /// The same in memory of its own.
    #[must_use]
    pub fn into_owned(self) -> ChannelName<'static> {
        ChannelName(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for ChannelName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_two_parts_around_one_slash() {
        let longest = "x".repeat(EDGE_NAME_BYTES_MAX);
        let right = format!("{longest}/{longest}");
        for text in ["dag/line", "a/b", "samples/a.x->b#fast", "größe/ß", &right] {
            let name = ChannelName::new(text).unwrap();
            assert_eq!(format!("{}/{}", name.name(), name.group()), text);
            assert_eq!(name.to_string(), text);
            assert_eq!(name.clone().into_owned(), name);
        }
        for (text, fault) in [
            ("", NameFault::NotTwoParts),
            ("a", NameFault::NotTwoParts),
            ("a/b/c", NameFault::NotTwoParts),
            ("a//b", NameFault::NotTwoParts),
            ("/b", NameFault::EmptyPart),
            ("a/", NameFault::EmptyPart),
            ("a/..", NameFault::Dots),
            ("./a", NameFault::Dots),
            ("a/b\n", NameFault::BadCharacter),
            ("a\0/b", NameFault::BadCharacter),
            ("a/\u{85}", NameFault::BadCharacter),
            (&format!("{longest}y/a"), NameFault::PartTooLong),
            (&format!("a/y{longest}"), NameFault::PartTooLong),
        ] {
            assert_eq!(ChannelName::new(text), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn what_does_not_have_to_be_copied_is_not() {
        let text = String::from("dag/line");
        let name = ChannelName::new(text.as_str()).unwrap();
        assert_eq!(name.as_str().as_ptr(), text.as_ptr());
    }
}
