//! `#[hopline::frame(…)]`.
//!
//! Invariant: one struct, one layout, one schema id.

use crate::arguments::{Arguments, Key, snake_case};
use crate::fields;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Data, DeriveInput, Fields};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let arguments = Arguments::parse(arguments)?;
    let mut input: DeriveInput = syn::parse2(item)?;
    let Data::Struct(data) = &mut input.data else {
        return Err(syn::Error::new(
            input.ident.span(),
            "a frame is a struct: use one frame for each variant and `#[hopline::frame_set]` for \
             an enum of them",
        ));
    };
    match &data.fields {
        Fields::Named(named) if !named.named.is_empty() => {}
        Fields::Named(_) | Fields::Unit => {
            return Err(syn::Error::new(
                input.ident.span(),
                "a frame needs a field, so that there is something to check: add one",
            ));
        }
        Fields::Unnamed(unnamed) => {
            return Err(syn::Error::new_spanned(
                unnamed,
                "the fields of a frame have names: write `struct Quote { bid: i64 }`; a tuple \
                 struct can be a `#[hopline::frame_part]`",
            ));
        }
    }
    fields::refuse_generics(&input.generics, "a frame")?;
    fields::refuse_attributes(&input.attrs, false)?;
    fields::refuse_fields(&data.fields)?;

    let plain = data.fields.clone();
    fields::fix(&mut data.fields);
    let ident = &input.ident;
    let archived = format_ident!("Archived{}", ident);
    let Arguments {
        schema, version, ..
    } = arguments;
    let name = arguments.name.unwrap_or_else(|| snake_case(ident));
    let derives = fields::derives();
    let asserts = fields::assert_native(&plain);
    let native = fields::native_body(&plain);
    let accessors = accessors(&plain);
    let key = key(&plain, arguments.key.as_ref())?;
    let too_large = format!(
        "frame `{name}` does not fit in a slot: its archived form is larger than \
         hopline::base::limits::PAYLOAD_BYTES; drop fields or split it into two frames"
    );
    let too_strict = format!("frame `{name}` is aligned to more than 16 bytes, which no slot is");
    let too_long =
        format!("the name of frame `{name}` is too long for a report: give a shorter one");
    let limits = quote_spanned! { ident.span() =>
        const _: () = {
            ::core::assert!(
                ::core::mem::size_of::<#archived>() <= ::hopline::base::limits::PAYLOAD_BYTES,
                #too_large
            );
            ::core::assert!(
                ::core::mem::align_of::<#archived>() <= ::hopline::frame::PAYLOAD_ALIGN,
                #too_strict
            );
            ::core::assert!(#name.len() <= ::hopline::base::limits::NAME_BYTES_MAX, #too_long);
        };
    };

    Ok(quote! {
        #derives
        #input

        #asserts
        #limits

        impl #archived {
            #accessors
        }

        impl ::hopline::frame::Native for #ident {
            #[inline]
            fn native(archived: &#archived) -> Self {
                #ident #native
            }
        }

        impl ::hopline::frame::Frame for #ident {
            const SCHEMA: u16 = #schema;
            const VERSION: u16 = #version;
            const NAME: &'static str = #name;
            type Archived = #archived;
            #key

            #[inline]
            fn write(
                &self,
                buf: &mut [u8],
            ) -> ::core::result::Result<usize, ::hopline::frame::FrameError> {
                ::hopline::frame::archive::write(self, buf)
            }

            #[inline]
            fn read(
                bytes: &[u8],
            ) -> ::core::result::Result<&#archived, ::hopline::frame::FrameError> {
                ::hopline::frame::archive::read(#schema, bytes)
            }

            #[inline]
            fn owned(archived: &#archived) -> Self {
                <#ident as ::hopline::frame::Native>::native(archived)
            }
        }
    })
}

/// What says that the frame has a key, and which.
fn key(fields: &Fields, key: Option<&Key>) -> syn::Result<TokenStream> {
    let (span, value) = match key {
        None => return Ok(TokenStream::new()),
        // `self` is that of the method around it only where both have one span.
        Some(Key::Method(method)) => (
            method.span(),
            quote_spanned! { method.span() => self.#method() },
        ),
        Some(Key::Field(field)) => {
            if !fields.iter().any(|one| one.ident.as_ref() == Some(field)) {
                let what = format!("`key` names `{field}`, which is no field of the frame");
                return Err(syn::Error::new(field.span(), what));
            }
            (
                field.span(),
                quote_spanned! { field.span() => self.#field as u64 },
            )
        }
    };
    Ok(quote_spanned! { span =>
        const KEYED: bool = true;

        // A field may be a u64 already.
        #[allow(clippy::unnecessary_cast)]
        #[inline]
        #[allow(clippy::unnecessary_cast, reason = "the field may have any integer type")]
        fn key(&self) -> u64 {
            #value
        }
    })
}

/// One method a field that returns its native value, as visible as the field is.
fn accessors(fields: &Fields) -> TokenStream {
    let methods = fields.iter().filter_map(|field| {
        let ident = field.ident.as_ref()?;
        let (vis, ty) = (&field.vis, &field.ty);
        let docs: Vec<&Attribute> = field
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("doc"))
            .collect();
        let fallback = docs.is_empty().then(|| {
            let text = format!("The native value of field `{ident}`.");
            quote! { #[doc = #text] }
        });
        Some(quote! {
            #(#docs)*
            #fallback
            #[inline]
            #[must_use]
            #[allow(dead_code, reason = "a reader needs some of the fields")]
            #vis fn #ident(&self) -> #ty {
                <#ty as ::hopline::frame::Native>::native(&self.#ident)
            }
        })
    });
    quote! { #(#methods)* }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(item: TokenStream) -> String {
        expand(quote!(schema = 7, version = 1), item)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_named_struct_is_a_frame() {
        let tokens = expand(
            quote!(schema = 7, version = 1),
            quote!(
                struct BookTicker {
                    bid: i64,
                }
            ),
        )
        .unwrap()
        .to_string();
        assert!(tokens.contains("\"book_ticker\""), "{tokens}");
        assert!(tokens.contains("SCHEMA : u16 = 7u16"), "{tokens}");
    }

    #[test]
    fn a_key_is_a_field() {
        let item = quote!(
            struct Q {
                id: u32,
            }
        );
        let with =
            |key: TokenStream| expand(quote!(schema = 7, version = 1, key = #key), item.clone());
        let tokens = with(quote!("id")).unwrap().to_string();
        assert!(tokens.contains("KEYED : bool = true"), "{tokens}");
        let error = with(quote!("name")).unwrap_err().to_string();
        assert!(error.contains("no field"), "{error}");
        let computed = expand(quote!(schema = 7, version = 1, key_of = "of"), item.clone());
        let tokens = computed.unwrap().to_string();
        assert!(tokens.contains("self . of ()"), "{tokens}");
    }

    #[test]
    fn other_shapes_are_refused_with_what_to_write() {
        for (item, says) in [
            (
                quote!(
                    struct Q(i64);
                ),
                "have names",
            ),
            (
                quote!(
                    struct Q;
                ),
                "needs a field",
            ),
            (
                quote!(
                    struct Q {}
                ),
                "needs a field",
            ),
            (
                quote!(
                    enum Q {
                        A,
                    }
                ),
                "frame_set",
            ),
            (
                quote!(
                    struct Q<T> {
                        a: T,
                    }
                ),
                "no generics",
            ),
            (
                quote!(
                    struct Q<'a> {
                        a: &'a u8,
                    }
                ),
                "no generics",
            ),
            (
                quote!(
                    struct Q<const N: usize> {
                        a: [u8; N],
                    }
                ),
                "no generics",
            ),
            (
                quote!(
                    struct Q
                    where
                        u8: Copy,
                    {
                        a: u8,
                    }
                ),
                "no generics",
            ),
            (
                quote!(
                    #[rkyv(attr(x))]
                    struct Q {
                        a: u8,
                    }
                ),
                "set rkyv up",
            ),
            (
                quote!(
                    struct Q {
                        #[rkyv(with = X)]
                        a: u8,
                    }
                ),
                "set rkyv up",
            ),
            (
                quote!(
                    struct Q {
                        #[cfg(unix)]
                        a: u8,
                        b: u8,
                    }
                ),
                "depend on `cfg`",
            ),
        ] {
            let found = error(item.clone());
            assert!(found.contains(says), "{item}: {found}");
        }
    }

    #[test]
    fn types_without_a_fixed_size_are_refused_with_what_to_write() {
        for (ty, says) in [
            (quote!(String), "[u8; N]"),
            (quote!(std::string::String), "[u8; N]"),
            (quote!(Vec<u8>), "[T; N]"),
            (quote!([Vec<u8>; 2]), "[T; N]"),
            (quote!(Box<u8>), "the value itself"),
            (quote!(&'static str), "the value itself"),
            (quote!(Option<u32>), "means none"),
            (quote!((u8, u8)), "frame_part"),
            (quote!(usize), "`u64`"),
            (quote!(isize), "`i64`"),
        ] {
            let found = error(quote!(struct Q { a: u8, b: #ty }));
            assert!(found.contains("has a fixed size"), "{ty}: {found}");
            assert!(found.contains(says), "{ty}: {found}");
        }
    }
}
