//! What `#[derive(Trace)]` reads of a type before it generates anything: its attributes, its lifetime, its fields;
//! and what it refuses by spelling, where the compiler's words would be about the derive.

use proc_macro2::{Ident, TokenStream};
use syn::{
    Data, DeriveInput, Error, Field, Fields, Lifetime, Path, Result, TypeReference, parse_quote,
    visit::Visit,
};

/// Where the library is found unless the type says so, and the default heap in it.
pub(crate) struct Root {
    pub(crate) library: Path,
    pub(crate) tag: Ident,
}

/// The library, and the heap that the type's edges are of.
pub(crate) struct Names {
    pub(crate) library: Path,
    pub(crate) heap: Path,
}

/// All fields, by variant.
pub(crate) fn all_fields(input: &DeriveInput) -> Result<Vec<&Fields>> {
    match &input.data {
        Data::Struct(data) => Ok(vec![&data.fields]),
        Data::Enum(data) => Ok(data.variants.iter().map(|variant| &variant.fields).collect()),
        Data::Union(_) => Err(refuse_union(input)),
    }
}

pub(crate) fn refuse_union(input: &DeriveInput) -> Error {
    Error::new_spanned(&input.ident, "a union cannot be traced: nobody knows which field is live")
}

pub(crate) fn refuse_packed(input: &DeriveInput) -> Result<()> {
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("packed") {
                return Err(meta.error(
                    "a packed type cannot lie in a collected heap: its edges are not aligned",
                ));
            }
            // `align(8)` and friends carry an argument that is none of our business.
            if meta.input.peek(syn::token::Paren) {
                let content;
                syn::parenthesized!(content in meta.input);
                content.parse::<TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What an alias hides is found by the assertion that an edge moves with its type.
pub(crate) fn refuse_borrow_under(lifetime: &Lifetime, field: &Field) -> Result<()> {
    struct Search<'a>(&'a Lifetime, Option<TypeReference>);
    impl Visit<'_> for Search<'_> {
        fn visit_type_reference(&mut self, reference: &TypeReference) {
            if reference.lifetime.as_ref() == Some(self.0) {
                self.1 = Some(reference.clone());
            }
        }
    }
    let mut search = Search(lifetime, None);
    search.visit_type(&field.ty);
    let Some(reference) = search.1.filter(|_| !is_leaf(field)) else { return Ok(()) };
    Err(Error::new_spanned(
        reference,
        "nothing in the collected heap is borrowed: own the data, or point to an object of its own with `Gc`",
    ))
}

/// What an alias hides is found by the assertion that a leaf is `'static`.
pub(crate) fn refuse_leaf_under(lifetime: &Lifetime, field: &Field) -> Result<()> {
    struct Search<'a>(&'a Lifetime, bool);
    impl Visit<'_> for Search<'_> {
        fn visit_lifetime(&mut self, lifetime: &Lifetime) {
            self.1 |= lifetime == self.0;
        }
    }
    let mut search = Search(lifetime, false);
    search.visit_type(&field.ty);
    if is_leaf(field) && search.1 {
        return Err(Error::new_spanned(
            &field.ty,
            format!(
                "a `#[leaf]` is `'static` and knows no `{lifetime}`: without `#[leaf]` it is traced, \
                 if it is an edge or holds some; data that is borrowed must be owned"
            ),
        ));
    }
    Ok(())
}

pub(crate) fn the_lifetime(input: &DeriveInput) -> Result<Option<&Lifetime>> {
    let mut lifetimes = input.generics.lifetimes().map(|parameter| &parameter.lifetime);
    let first = lifetimes.next();
    match lifetimes.next() {
        None => Ok(first),
        Some(second) => Err(Error::new_spanned(
            second,
            "a collected type has one lifetime, that of its guard; it cannot borrow from elsewhere",
        )),
    }
}

/// `#[trace(heap = Tag, crate = path)]`
pub(crate) fn names(input: &DeriveInput, root: Root) -> Result<Names> {
    let (mut heap, mut library) = (None, None);
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("trace")) {
        attribute.parse_nested_meta(|meta| {
            let place = if meta.path.is_ident("heap") {
                &mut heap
            } else if meta.path.is_ident("crate") {
                &mut library
            } else {
                return Err(meta.error("expected `heap = Tag` or `crate = path`"));
            };
            *place = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    let (library, tag) = (library.unwrap_or(root.library), root.tag);
    let heap = heap.unwrap_or_else(|| parse_quote!(#library::#tag));
    Ok(Names { library, heap })
}

pub(crate) fn is_leaf(field: &Field) -> bool {
    field.attrs.iter().any(|attribute| attribute.path().is_ident("leaf"))
}
