//! The attributes of hopline's frames: `frame`, `frame_part` and `frame_set`.
//!
//! Use them through the library (`#[hopline::frame(…)]`); the room `hopline::frame` describes what
//! they make, with examples that compile.
//!
//! Invariant: what is written here names the library by `::hopline::…` only, so that it means the
//! same inside the library and outside.

mod arguments;
mod fields;
mod frame;
mod part;
mod set;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;

/// Makes a struct with named fields a frame: `#[hopline::frame(schema = 7, version = 1, name = "quote")]`.
///
/// | argument | needed | meaning |
/// |---|---|---|
/// | `schema` | yes | id of the kind, 1 to 65535; the `kind` of an envelope |
/// | `version` | yes | version of this layout, 1 to 65535 |
/// | `name` | no | name in reports; else the struct's name in snake case |
/// | `key` | no | the integer field by which hops conflate and split, such as `key = "symbol"` |
/// | `key_of` | no | a method of the frame that returns that key as a `u64`, where no field holds it; not beside `key` |
///
/// It writes the archived type (`ArchivedQuote` for `Quote`) with one accessor method a field that
/// returns the native value, and the implementations of `hopline::frame::Frame` and
/// `hopline::frame::Native`. That the archived frame fits in a slot is asserted at compile time.
#[proc_macro_attribute]
pub fn frame(arguments: TokenStream, item: TokenStream) -> TokenStream {
    answer(frame::expand, arguments, item)
}

/// Makes a struct or an enum without fields usable as a field of a frame: `#[hopline::frame_part]`.
///
/// Named and tuple structs of fixed-size fields, and enums of which no variant has fields. An enum
/// is archived as one byte, its discriminant.
#[proc_macro_attribute]
pub fn frame_part(arguments: TokenStream, item: TokenStream) -> TokenStream {
    answer(part::expand, arguments, item)
}

/// Makes an enum with one frame a variant the set of kinds of a mixed hop: `#[hopline::frame_set]`.
///
/// For `Market` it writes `MarketView`, an enum of views with the same variants, and the
/// implementations of `hopline::frame::Input` and `hopline::frame::Carries`.
#[proc_macro_attribute]
pub fn frame_set(arguments: TokenStream, item: TokenStream) -> TokenStream {
    answer(set::expand, arguments, item)
}

/// The expansion; or the error beside the untouched item, so that the mistake is reported once and
/// not again at each use of the type.
fn answer(
    expand: fn(Tokens, Tokens) -> syn::Result<Tokens>,
    arguments: TokenStream,
    item: TokenStream,
) -> TokenStream {
    let kept = item.clone();
    match expand(arguments.into(), item.into()) {
        Ok(tokens) => tokens.into(),
        Err(error) => {
            let mut tokens = TokenStream::from(error.to_compile_error());
            tokens.extend(kept);
            tokens
        }
    }
}
