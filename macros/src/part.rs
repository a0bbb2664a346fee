//! `#[hopline::frame_part]`.
//!
//! Invariant: a part is as fixed in size as the frame that holds it.

use crate::fields;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DataEnum, DeriveInput, Fields, Ident};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(syn::Error::new_spanned(
            arguments,
            "a part takes no arguments: schema and version belong to the frame; write \
             `#[hopline::frame_part]`",
        ));
    }
    let mut input: DeriveInput = syn::parse2(item)?;
    fields::refuse_generics(&input.generics, "a part of a frame")?;
    fields::refuse_attributes(&input.attrs, false)?;

    let ident = &input.ident;
    let archived = format_ident!("Archived{}", ident);
    let (asserts, value) = match &mut input.data {
        Data::Struct(data) => {
            if data.fields.is_empty() {
                return Err(syn::Error::new(
                    ident.span(),
                    "a part needs a field: without one it says nothing",
                ));
            }
            fields::refuse_fields(&data.fields)?;
            let native = fields::native_body(&data.fields);
            let asserts = fields::assert_native(&data.fields);
            fields::fix(&mut data.fields);
            (asserts, quote!(#ident #native))
        }
        Data::Enum(data) => (TokenStream::new(), variants(ident, &archived, data)?),
        Data::Union(_) => {
            return Err(syn::Error::new(
                ident.span(),
                "a union cannot be checked: write a struct, or one frame for each form",
            ));
        }
    };
    let derives = fields::derives();
    Ok(quote! {
        #derives
        #input

        #asserts

        impl ::hopline::frame::Native for #ident {
            #[inline]
            fn native(archived: &#archived) -> Self {
                #value
            }
        }
    })
}

/// A match from each archived variant to the native one.
fn variants(ident: &Ident, archived: &Ident, data: &DataEnum) -> syn::Result<TokenStream> {
    if data.variants.is_empty() {
        return Err(syn::Error::new(
            ident.span(),
            "a part needs a variant: an empty enum has no value",
        ));
    }
    let mut arms = Vec::with_capacity(data.variants.len());
    for variant in &data.variants {
        fields::refuse_attributes(&variant.attrs, true)?;
        if !matches!(variant.fields, Fields::Unit) {
            return Err(syn::Error::new_spanned(
                variant,
                "the variants of a part have no fields: an archived enum is as large as its \
                 largest variant; use one frame for each form and `#[hopline::frame_set]`",
            ));
        }
        let name = &variant.ident;
        arms.push(quote! { #archived::#name => #ident::#name });
    }
    Ok(quote! { match archived { #(#arms),* } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_and_plain_enums_are_parts() {
        for item in [
            quote!(
                struct Price(i64);
            ),
            quote!(
                struct Level {
                    price: Price,
                    qty: Qty,
                }
            ),
            quote!(
                #[repr(u8)]
                enum Side {
                    Buy = 1,
                    Sell = 2,
                }
            ),
        ] {
            expand(quote!(), item).unwrap();
        }
    }

    #[test]
    fn other_shapes_are_refused_with_what_to_write() {
        for (arguments, item, says) in [
            (
                quote!(schema = 1),
                quote!(
                    struct P(i64);
                ),
                "no arguments",
            ),
            (
                quote!(),
                quote!(
                    struct P;
                ),
                "needs a field",
            ),
            (
                quote!(),
                quote!(
                    enum P {}
                ),
                "needs a variant",
            ),
            (
                quote!(),
                quote!(
                    enum P {
                        A(u8),
                    }
                ),
                "have no fields",
            ),
            (quote!(), quote!(union P { a: u8 }), "cannot be checked"),
            (
                quote!(),
                quote!(
                    struct P<T>(T);
                ),
                "no generics",
            ),
            (
                quote!(),
                quote!(
                    enum P {
                        #[cfg(unix)]
                        A,
                        B,
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
