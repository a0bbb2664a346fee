//! What frames and parts have in common: rules for their fields.
//!
//! Invariant: a layout depends on nothing but the source text of its fields.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Fields, Generics, Type, parse_quote_spanned};

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

/// Refuses fields that could not have a fixed layout, as far as their text shows it; the rest is for
/// the trait `Native`, whose errors are longer.
pub(crate) fn refuse_fields(fields: &Fields) -> syn::Result<()> {
    for field in fields {
        refuse_attributes(&field.attrs, true)?;
        refuse_type(&field.ty)?;
    }
    Ok(())
}

fn refuse_type(ty: &Type) -> syn::Result<()> {
    let instead = match ty {
        Type::Array(array) => return refuse_type(&array.elem),
        Type::Reference(_) | Type::Ptr(_) => "write the value itself, or an id from a table",
        Type::Slice(_) => "write `[T; N]`, with a length beside it",
        Type::Tuple(_) => "write a struct with `#[hopline::frame_part]`",
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else {
                return Ok(());
            };
            match last.ident.to_string().as_str() {
                "String" => "write `[u8; N]` with a length beside it, or an id from a table",
                "Vec" => "write `[T; N]` with a length beside it, or several frames",
                "Box" | "Rc" | "Arc" => "write the value itself",
                "Option" => "write a value that means none, or a `bool` beside it",
                "usize" => "write `u32` or `u64`: a layout has no machine's width",
                "isize" => "write `i32` or `i64`: a layout has no machine's width",
                _ => return Ok(()),
            }
        }
        _ => return Ok(()),
    };
    Err(syn::Error::new_spanned(
        ty,
        format!("a field of a frame has a fixed size: {instead}"),
    ))
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

/// Has rkyv archive every field as a native one.
pub(crate) fn fix(fields: &mut Fields) {
    for field in fields {
        let span = field.ty.span();
        field
            .attrs
            .push(parse_quote_spanned! { span => #[rkyv(with = ::hopline::frame::Fixed)] });
    }
}
