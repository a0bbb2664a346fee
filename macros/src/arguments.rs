//! The arguments of the frame attribute.
//!
//! Invariant: what leaves here is in range; later code does not check again.

use proc_macro2::{Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Ident, LitInt, LitStr};

/// Longest name, in bytes; the library's `NAME_BYTES_MAX`, which the expansion asserts as well.
const NAME_BYTES_MAX: usize = 48;

/// How the attribute is written, for the messages.
const EXAMPLE: &str = "#[hopline::frame(schema = 7, version = 1)]";

/// What `key` takes.
const FIELD: &str = "`key` names a field that holds a number, such as `key = \"symbol\"`";

/// What `key_of` takes.
const METHOD: &str =
    "`key_of` names a method of the frame that returns a u64, such as `key_of = \"symbol_key\"`";

/// What the attribute says.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) schema: u16,
    pub(crate) version: u16,
    pub(crate) name: Option<String>,
    /// What the frame's key is.
    pub(crate) key: Option<Key>,
}

/// Where a frame has its key.
#[derive(Debug)]
pub(crate) enum Key {
    /// A field.
    Field(Ident),
    /// A method of the frame.
    Method(Ident),
}

impl Arguments {
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Arguments> {
        let mut schema = None;
        let mut version = None;
        let mut name = None;
        let mut key = None;
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("schema") {
                let value = number(&meta, "schema")?;
                once(&mut schema, value, &meta, "schema")
            } else if meta.path.is_ident("version") {
                let value = number(&meta, "version")?;
                once(&mut version, value, &meta, "version")
            } else if meta.path.is_ident("name") {
                let value = plain_name(&meta)?;
                once(&mut name, value, &meta, "name")
            } else if meta.path.is_ident("key") {
                let value = Key::Field(ident(&meta, FIELD)?);
                once(&mut key, value, &meta, "key")
            } else if meta.path.is_ident("key_of") {
                let value = Key::Method(ident(&meta, METHOD)?);
                once(&mut key, value, &meta, "key")
            } else {
                Err(meta.error(format!(
                    "unknown argument; a frame takes `schema`, `version`, `name` and `key` or `key_of`: {EXAMPLE}"
                )))
            }
        });
        parser.parse2(tokens)?;
        Ok(Arguments {
            schema: schema.ok_or_else(|| missing("schema"))?,
            version: version.ok_or_else(|| missing("version"))?,
            name,
            key,
        })
    }
}

fn missing(key: &str) -> syn::Error {
    syn::Error::new(
        Span::call_site(),
        format!("a frame needs its `{key}`: write {EXAMPLE}"),
    )
}

fn once<T>(
    place: &mut Option<T>,
    value: T,
    meta: &ParseNestedMeta<'_>,
    key: &str,
) -> syn::Result<()> {
    if place.replace(value).is_some() {
        return Err(meta.error(format!("`{key}` is given twice; keep one")));
    }
    Ok(())
}

/// A number from 1 to 65535. Zero is refused: it is what an empty slot reads as.
fn number(meta: &ParseNestedMeta<'_>, key: &str) -> syn::Result<u16> {
    let wrong = |span: Span| {
        syn::Error::new(
            span,
            format!("`{key}` is a number from 1 to 65535, such as `{key} = 7`"),
        )
    };
    let literal: LitInt = meta
        .value()
        .and_then(|value| value.parse())
        .map_err(|error| wrong(error.span()))?;
    match literal.base10_parse::<u16>() {
        Ok(0) | Err(_) => Err(wrong(literal.span())),
        Ok(number) => Ok(number),
    }
}

fn plain_name(meta: &ParseNestedMeta<'_>) -> syn::Result<String> {
    let wrong = |span: Span| {
        syn::Error::new(
            span,
            format!(
                "`name` is 1 to {NAME_BYTES_MAX} letters, digits and underscores, \
                 such as `name = \"quote\"`"
            ),
        )
    };
    let literal: LitStr = meta
        .value()
        .and_then(|value| value.parse())
        .map_err(|error| wrong(error.span()))?;
    let name = literal.value();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(wrong(literal.span()));
    }
    Ok(name)
}

/// The name that an argument gives; `what` says which it has to be.
fn ident(meta: &ParseNestedMeta<'_>, what: &str) -> syn::Result<Ident> {
    let wrong = |span: Span| syn::Error::new(span, what);
    let literal: LitStr = meta
        .value()
        .and_then(|value| value.parse())
        .map_err(|error| wrong(error.span()))?;
    literal.parse().map_err(|_| wrong(literal.span()))
}

/// A type's name in snake case: `BookTicker` is `book_ticker`, `L2Update` is `l2_update`.
pub(crate) fn snake_case(ident: &Ident) -> String {
    let text = ident.to_string();
    let text = text.strip_prefix("r#").unwrap_or(&text);
    let letters: Vec<char> = text.chars().collect();
    let mut snake = String::with_capacity(text.len() + 4);
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|i| letters[i]);
        let after = letters.get(at + 1);
        // A capital starts a word, except inside a run of capitals (`HTTPHead` is `http_head`).
        let starts = letter.is_uppercase()
            && before.is_some_and(|b| {
                b != '_' && (!b.is_uppercase() || after.is_some_and(|a| a.is_lowercase()))
            });
        if starts {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn names_become_snake_case() {
        for (given, snake) in [
            ("Quote", "quote"),
            ("BookTicker", "book_ticker"),
            ("HTTPHead", "http_head"),
            ("L2Update", "l2_update"),
            ("Already_Split", "already_split"),
        ] {
            assert_eq!(snake_case(&Ident::new(given, Span::call_site())), snake);
        }
    }

    #[test]
    fn arguments_are_read_in_any_order() {
        let arguments =
            Arguments::parse(quote!(name = "top_2", version = 3, schema = 65535)).unwrap();
        assert_eq!((arguments.schema, arguments.version), (65535, 3));
        assert_eq!(arguments.name.as_deref(), Some("top_2"));
        assert!(
            Arguments::parse(quote!(schema = 1, version = 1))
                .unwrap()
                .name
                .is_none()
        );
    }

    #[test]
    fn errors_say_what_to_write_instead() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for (tokens, says) in [
            (quote!(), "needs its `schema`: write #[hopline::frame("),
            (quote!(schema = 7), "needs its `version`"),
            (quote!(schema = 0, version = 1), "number from 1 to 65535"),
            (
                quote!(schema = 65536, version = 1),
                "number from 1 to 65535",
            ),
            (quote!(schema = -1, version = 1), "number from 1 to 65535"),
            (quote!(schema = "7", version = 1), "number from 1 to 65535"),
            (quote!(schema, version = 1), "number from 1 to 65535"),
            (quote!(schema = 7, version = 0), "such as `version = 7`"),
            (quote!(schema = 7, schema = 8, version = 1), "given twice"),
            (quote!(schema = 7, version = 1, version = 1), "given twice"),
            (quote!(schema = 7, version = 1, id = 2), "unknown argument"),
            (quote!(schema = 7, version = 1, name = "a quote"), "letters"),
            (quote!(schema = 7, version = 1, name = ""), "1 to 48"),
            (quote!(schema = 7, version = 1, name = #long), "1 to 48"),
            (quote!(schema = 7, version = 1, name = 3), "`name` is"),
            (quote!(schema = 7, version = 1, key = 3), "`key` names"),
            (quote!(schema = 7, version = 1, key = "a b"), "`key` names"),
            (
                quote!(schema = 7, version = 1, key_of = 3),
                "`key_of` names",
            ),
            (
                quote!(schema = 7, version = 1, key = "a", key_of = "b"),
                "given twice",
            ),
        ] {
            let error = Arguments::parse(tokens.clone()).unwrap_err().to_string();
            assert!(error.contains(says), "{tokens}: {error}");
        }
    }
}
