//! What frames and parts have in common: rules for their fields.
//!
//! Invariant: a layout depends on nothing but the source text of its fields.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Fields, Generics};

/// The derives and the attribute that set rkyv up.
pub(crate) fn derives() -> TokenStream {
    quote! {
        #[derive(::hopline::frame::rkyv::Archive, ::hopline::frame::rkyv::Serialize)]
        #[rkyv(crate = ::hopline::frame::rkyv, derive(Debug))]
    }
}

/// Refuses generics: a schema id belongs to one layout.
pub(crate) fn refuse_generics(generics: &Generics, what: &str) -> syn::Result<()> {
    if generics.params.is_empty() && generics.where_clause.is_none() {
        return Ok(());
    }
    let span = if generics.params.is_empty() {
        generics.where_clause.span()
    } else {
        generics.params.span()
    };
    Err(syn::Error::new(
        span,
        format!("{what} has no generics, as it has one layout: write a struct for each type"),
    ))
}

/// Refuses attributes that would change the layout behind the frame's back.
pub(crate) fn refuse_attributes(attributes: &[Attribute], on_field: bool) -> syn::Result<()> {
    for attribute in attributes {
        if attribute.path().is_ident("rkyv") {
            return Err(syn::Error::new_spanned(
                attribute,
                "the frame attributes set rkyv up: remove this",
            ));
        }
        if on_field && attribute.path().is_ident("cfg") {
            return Err(syn::Error::new_spanned(
                attribute,
                "a layout cannot depend on `cfg`: write two structs with two schema ids, or keep \
                 the field",
            ));
        }
    }
    Ok(())
}

/// Refuses fields whose attributes change the layout.
pub(crate) fn refuse_field_attributes(fields: &Fields) -> syn::Result<()> {
    for field in fields {
        refuse_attributes(&field.attrs, true)?;
    }
    Ok(())
}

/// An assertion for each field that its type may be one; reported at the type.
pub(crate) fn assert_native(fields: &Fields) -> TokenStream {
    let asserts = fields.iter().map(|field| {
        let ty = &field.ty;
        quote_spanned! { ty.span() =>
            const _: fn() = ::hopline::frame::assert_native::<#ty>;
        }
    });
    quote! { #(#asserts)* }
}

/// Native values of all fields of `archived`, as the body of a struct expression.
pub(crate) fn native_body(fields: &Fields) -> TokenStream {
    let values = fields.iter().zip(fields.members()).map(|(field, member)| {
        let ty = &field.ty;
        quote! { #member: <#ty as ::hopline::frame::Native>::native(&archived.#member) }
    });
    quote! { { #(#values),* } }
}
