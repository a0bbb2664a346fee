//! `#[hopline::frame_set]`.
//!
//! Invariant: a kind decides the variant; the bytes do not.

use crate::fields;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Data, DeriveInput, Fields, Ident, Type};

/// One variant of a set: its name, its frame and its documentation.
struct Kind<'a> {
    name: &'a Ident,
    frame: &'a Type,
    docs: Vec<&'a Attribute>,
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(syn::Error::new_spanned(
            arguments,
            "a set takes no arguments: each frame has its own schema; write `#[hopline::frame_set]`",
        ));
    }
    let input: DeriveInput = syn::parse2(item)?;
    fields::refuse_generics(&input.generics, "a set of frames")?;
    let kinds = kinds(&input)?;

    let (ident, vis) = (&input.ident, &input.vis);
    let view = format_ident!("{}View", ident);
    let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    let frames: Vec<_> = kinds.iter().map(|kind| kind.frame).collect();
    let variants = kinds.iter().map(|Kind { name, frame, docs }| {
        let fallback = docs.is_empty().then(|| {
            let text = format!("A frame of [`{ident}::{name}`].");
            quote! { #[doc = #text] }
        });
        quote! { #(#docs)* #fallback #name(::hopline::frame::View<'a, #frame>) }
    });
    let view_doc = format!("A frame of [`{ident}`], read in place; it lives one turn.");
    let same = format!(
        "two variants of `{ident}` have the same schema id, so a kind does not say which is meant: \
         give each frame its own `schema`"
    );
    let many = format!(
        "`{ident}` has more kinds than a hop carries (hopline::base::limits::KINDS_PER_HOP_MAX): \
         split it over two hops"
    );
    let limits = quote_spanned! { ident.span() =>
        const _: () = {
            let kinds = <#ident as ::hopline::frame::Input>::KINDS;
            ::core::assert!(::hopline::frame::schemas_differ(kinds), #same);
            ::core::assert!(kinds.len() <= ::hopline::base::limits::KINDS_PER_HOP_MAX, #many);
        };
    };

    Ok(quote! {
        #[allow(dead_code, reason = "a hop needs the set's kinds; its owned form may go unused")]
        #input

        #[doc = #view_doc]
        #[derive(Clone, Copy, Debug)]
        #vis enum #view<'a> {
            #(#variants),*
        }

        #limits

        impl #view<'_> {
            /// The kind of the frame: its schema id.
            #[inline]
            #[must_use]
            #[allow(dead_code, reason = "part of every set's interface")]
            #vis fn kind(&self) -> u16 {
                match self {
                    #(#view::#names(_) => <#frames as ::hopline::frame::Frame>::SCHEMA),*
                }
            }

            /// A copy of the frame that outlives the turn.
            #[inline]
            #[must_use]
            #[allow(dead_code, reason = "part of every set's interface")]
            #vis fn to_owned(self) -> #ident {
                match self {
                    #(#view::#names(view) => #ident::#names(view.to_owned())),*
                }
            }
        }

        impl ::hopline::frame::Input for #ident {
            type View<'a> = #view<'a>;
            const KINDS: &'static [::hopline::frame::KindInfo] =
                &[#(::hopline::frame::KindInfo::of::<#frames>()),*];

            #[inline]
            fn view(
                kind: u16,
                bytes: &[u8],
            ) -> ::core::result::Result<#view<'_>, ::hopline::frame::FrameError> {
                #(
                    if kind == <#frames as ::hopline::frame::Frame>::SCHEMA {
                        return ::hopline::frame::View::read(bytes).map(#view::#names);
                    }
                )*
                ::core::result::Result::Err(::hopline::frame::FrameError::UnknownKind(kind))
            }
        }

        impl ::hopline::frame::Replayed for #ident {
            fn give(
                kind: u16,
                bytes: &[u8],
                to: &mut impl ::hopline::frame::TakeFrame<#ident>,
            ) -> ::core::result::Result<(), ::hopline::frame::FrameError> {
                match <#ident as ::hopline::frame::Input>::view(kind, bytes)? {
                    #(#view::#names(view) => to.take::<#frames>(&view.to_owned())),*
                }
                ::core::result::Result::Ok(())
            }
        }

        #(impl ::hopline::frame::Carries<#frames> for #ident {})*
    })
}

fn kinds(input: &DeriveInput) -> syn::Result<Vec<Kind<'_>>> {
    let Data::Enum(data) = &input.data else {
        return Err(syn::Error::new(
            input.ident.span(),
            "a set is an enum with one frame a variant: \
             `enum Market { Ticker(BookTicker), Trade(Trade) }`",
        ));
    };
    if data.variants.is_empty() {
        return Err(syn::Error::new(
            input.ident.span(),
            "a set needs a variant: a hop without kinds carries nothing",
        ));
    }
    let mut kinds = Vec::with_capacity(data.variants.len());
    for variant in &data.variants {
        fields::refuse_attributes(&variant.attrs, true)?;
        let Fields::Unnamed(unnamed) = &variant.fields else {
            return Err(one_frame(variant));
        };
        let (Some(field), 1) = (unnamed.unnamed.first(), unnamed.unnamed.len()) else {
            return Err(one_frame(variant));
        };
        let docs = variant.attrs.iter().filter(|a| a.path().is_ident("doc"));
        kinds.push(Kind {
            name: &variant.ident,
            frame: &field.ty,
            docs: docs.collect(),
        });
    }
    Ok(kinds)
}

fn one_frame(variant: &syn::Variant) -> syn::Error {
    let name = &variant.ident;
    syn::Error::new_spanned(
        variant,
        format!("a variant of a set holds one frame without a name: write `{name}(SomeFrame)`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enum_of_frames_is_a_set() {
        let tokens = expand(
            quote!(),
            quote!(
                enum Market {
                    A(Quote),
                    B(Trade),
                }
            ),
        )
        .unwrap()
        .to_string();
        assert!(tokens.contains("enum MarketView < 'a >"), "{tokens}");
    }

    #[test]
    fn other_shapes_are_refused_with_what_to_write() {
        for (arguments, item, says) in [
            (
                quote!(a),
                quote!(
                    enum M {
                        A(Q),
                    }
                ),
                "no arguments",
            ),
            (
                quote!(),
                quote!(
                    struct M(Q);
                ),
                "is an enum",
            ),
            (
                quote!(),
                quote!(
                    enum M {}
                ),
                "needs a variant",
            ),
            (
                quote!(),
                quote!(
                    enum M {
                        A,
                    }
                ),
                "write `A(SomeFrame)`",
            ),
            (
                quote!(),
                quote!(
                    enum M {
                        A { q: Q },
                    }
                ),
                "write `A(SomeFrame)`",
            ),
            (
                quote!(),
                quote!(
                    enum M {
                        A(Q, R),
                    }
                ),
                "write `A(SomeFrame)`",
            ),
            (
                quote!(),
                quote!(
                    enum M<T> {
                        A(T),
                    }
                ),
                "no generics",
            ),
            (
                quote!(),
                quote!(
                    enum M {
                        #[cfg(unix)]
                        A(Q),
                    }
                ),
                "depend on `cfg`",
            ),
        ] {
            let found = expand(arguments, item.clone()).unwrap_err().to_string();
            assert!(found.contains(says), "{item}: {found}");
        }
    }
}
