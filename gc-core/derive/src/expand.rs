//! What `#[derive(Trace)]` generates.
//!
//! For `struct Node<'g, T> { next: GcCell<'g, Node<'g, T>>, value: T, #[leaf] name: String }`:
//!
//! ```text
//! const _: () = {
//!     unsafe impl<'g, T: Trace<H> + Rebind> Trace<H> for Node<'g, T> {
//!         fn trace(&self, tracer) {
//!             match self { Node { next, value, name: _ } => { trace next; trace value } }
//!         }
//!     }
//!     unsafe impl<'g, T: Rebind> Rebind for Node<'g, T> {
//!         type At<'another_guard> = Node<'another_guard, T::At<'another_guard>>;
//!         const EDGES: bool = true;
//!     }
//!     fn assertions<'another_guard, 'g, T>() {
//!         // Per traced field, and per #[leaf] field:
//!         edge::<'another_guard, field's type, field's type under 'another_guard>();
//!         leaf::<field's type>();
//!         may_die(Death::<Node<'g, T>>::how()); // says why, if the next lines conflict
//!     }
//!     trait TypesWithEdgesMayNotImplementDrop {}
//!     impl<T: Drop> TypesWithEdgesMayNotImplementDrop for T {}
//!     impl<'g, T> TypesWithEdgesMayNotImplementDrop for Node<'g, T> {}  // conflicts if it does
//! };
//! ```
//!
//! The pattern names every field without `..`, so a field that is added is traced or does not
//! compile. Nothing here decides by the name of a type what it is: traits do. Where a message of the
//! compiler would be about the derive, the spelling is looked at first, for a better one (`input`).

use crate::{
    input::{
        Names, Root, all_fields, is_leaf, names, refuse_borrow_under, refuse_leaf_under,
        refuse_packed, refuse_union, the_lifetime,
    },
    rebind::{at, rebound, spelled},
};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Data, DeriveInput, Fields, GenericParam, Lifetime, Path, Result, Type, TypeParamBound,
    WherePredicate, parse_quote, spanned::Spanned, visit::Visit,
};

/// What the generated code needs to know about the type.
pub(crate) struct Shape<'a> {
    input: &'a DeriveInput,
    names: Names,
    pub(crate) lifetime: Option<&'a Lifetime>,
    /// Type parameters that occur in traced fields.
    pub(crate) traced: Vec<&'a Ident>,
}

pub(crate) fn expand(input: &DeriveInput, root: Root) -> Result<TokenStream> {
    let shape = Shape::of(input, root)?;
    let (trace, rebind) = (shape.trace_impl()?, shape.rebind_impl());
    let (assertions, no_drop) = (shape.assertions()?, shape.no_drop());
    Ok(quote! {
        #[doc(hidden)]
        #[allow(
            dead_code,
            non_local_definitions,
            drop_bounds,
            private_bounds,
            unused_imports,
            clippy::multiple_bound_locations,
            clippy::extra_unused_lifetimes,
            clippy::extra_unused_type_parameters
        )]
        const _: () = {
            #trace
            #rebind
            #assertions
            #no_drop
        };
    })
}

impl<'a> Shape<'a> {
    fn of(input: &'a DeriveInput, root: Root) -> Result<Self> {
        refuse_packed(input)?;
        let lifetime = the_lifetime(input)?;
        let names = names(input, root)?;
        let fields: Vec<_> = all_fields(input)?.into_iter().flatten().collect();
        if let Some(lifetime) = lifetime {
            fields.iter().try_for_each(|field| refuse_borrow_under(lifetime, field))?;
            fields.iter().try_for_each(|field| refuse_leaf_under(lifetime, field))?;
        }
        let traced = input
            .generics
            .type_params()
            .map(|parameter| &parameter.ident)
            .filter(|name| fields.iter().any(|field| !is_leaf(field) && mentions(&field.ty, name)))
            .collect();
        Ok(Self { input, names, lifetime, traced })
    }

    /// The type under its own parameters.
    pub(crate) fn itself(&self) -> Type {
        let (name, (_, generics, _)) = (&self.input.ident, self.input.generics.split_for_impl());
        parse_quote!(#name #generics)
    }

    /// The type under the lifetime [`at`].
    pub(crate) fn rebound(&self) -> Type {
        let name = &self.input.ident;
        let arguments = self.input.generics.params.iter().map(|parameter| match parameter {
            GenericParam::Lifetime(_) => at().into_token_stream(),
            GenericParam::Type(ty) if self.traced.contains(&&ty.ident) => {
                self.parameter_at(&ty.ident).into_token_stream()
            }
            GenericParam::Type(ty) => ty.ident.to_token_stream(),
            GenericParam::Const(constant) => constant.ident.to_token_stream(),
        });
        parse_quote!(#name<#(#arguments),*>)
    }

    /// A traced type parameter under the lifetime [`at`].
    pub(crate) fn parameter_at(&self, name: &Ident) -> Type {
        self.parameter_under(name, &at())
    }

    fn parameter_under(&self, name: &Ident, lifetime: &Lifetime) -> Type {
        let library = &self.names.library;
        parse_quote!(<#name as #library::Rebind>::At<#lifetime>)
    }

    /// The type's own bounds, and those that the generated code needs.
    fn bounds(&self, with_trace: bool) -> Vec<WherePredicate> {
        let Names { library, heap } = &self.names;
        let own = self.input.generics.where_clause.iter().flat_map(|clause| &clause.predicates);
        let mut bounds: Vec<WherePredicate> = own.cloned().collect();
        for parameter in self.input.generics.type_params() {
            let name = &parameter.ident;
            if !self.traced.contains(&name) {
                bounds.push(
                    parse_quote!(#name: 'static + ::core::marker::Send + ::core::marker::Sync),
                );
                continue;
            }
            let lifetime = self.lifetime.into_iter();
            bounds.push(parse_quote!(#name: #library::Rebind #(+ #lifetime)*));
            if with_trace {
                bounds.push(parse_quote!(#name: #library::Trace<#heap>));
            }
            let any: Lifetime = parse_quote!('__any);
            let under = self.parameter_under(name, &any);
            let mut traits = parameter.bounds.iter().filter(|bound| is_trait(bound)).peekable();
            if traits.peek().is_some() {
                bounds.push(parse_quote!(for<#any> #under: #(#traits)+*));
            }
        }
        bounds
    }

    fn trace_impl(&self) -> Result<TokenStream> {
        let Names { library, heap } = &self.names;
        let (generics, _, _) = self.input.generics.split_for_impl();
        let (itself, bounds) = (self.itself(), self.bounds(true));
        let arms = self.arms()?;
        Ok(quote! {
            // SAFETY: the pattern names every field. Those that are not leaves are traced, and
            // the assertions below say by trait what leaves and edges are.
            unsafe impl #generics #library::Trace<#heap> for #itself where #(#bounds),* {
                #[inline]
                fn trace(&self, tracer: &mut #library::trace::Tracer) {
                    match self { #(#arms)* }
                }
            }
        })
    }

    fn arms(&self) -> Result<Vec<TokenStream>> {
        let name = &self.input.ident;
        let arms = match &self.input.data {
            Data::Struct(data) => vec![self.arm(quote!(#name), &data.fields)],
            Data::Enum(data) => data
                .variants
                .iter()
                .map(|variant| {
                    let variant_name = &variant.ident;
                    self.arm(quote!(#name::#variant_name), &variant.fields)
                })
                .collect(),
            Data::Union(_) => return Err(refuse_union(self.input)),
        };
        // A reference to an empty enum is matched by no arm at all only behind a deref.
        Ok(if arms.is_empty() { vec![quote!(_ => {})] } else { arms })
    }

    fn arm(&self, path: TokenStream, fields: &Fields) -> TokenStream {
        let Names { library, heap } = &self.names;
        let mut patterns = Vec::new();
        let mut bodies = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            let member = field.ident.as_ref().map_or_else(
                || syn::Index::from(index).into_token_stream(),
                ToTokens::to_token_stream,
            );
            if is_leaf(field) {
                patterns.push(quote!(#member: _));
                continue;
            }
            let binding = format_ident!("field_{index}");
            let (span, ty) = (field.ty.span(), spelled(self, &field.ty));
            let library = at_span(library, span);
            patterns.push(quote!(#member: #binding));
            bodies.push(quote_spanned! {span=>
                <#ty as #library::Trace<#heap>>::trace(#binding, tracer);
            });
        }
        quote!(#path { #(#patterns),* } => { #(#bodies)* })
    }

    fn rebind_impl(&self) -> TokenStream {
        let library = &self.names.library;
        let (generics, _, _) = self.input.generics.split_for_impl();
        let (itself, rebound, bounds) = (self.itself(), self.rebound(), self.bounds(false));
        let (at, traced) = (at(), &self.traced);
        // Without a lifetime, edges can only come in through a parameter.
        let edges = match self.lifetime {
            Some(_) => quote!(true),
            None => quote!(false #(|| <#traced as #library::Rebind>::EDGES)*),
        };
        quote! {
            // SAFETY: the lifetime is replaced in the type, and the assertions below say that
            // this replaces it in every field.
            unsafe impl #generics #library::Rebind for #itself where #(#bounds),* {
                type At<#at> = #rebound;
                const EDGES: bool = #edges;
            }
        }
    }

    fn assertions(&self) -> Result<TokenStream> {
        let library = &self.names.library;
        let parameters = &self.input.generics.params;
        let (at, bounds) = (at(), self.bounds(true));
        let mut lines = Vec::new();
        for field in all_fields(self.input)?.into_iter().flatten() {
            let (span, ty) = (field.ty.span(), spelled(self, &field.ty));
            let library = at_span(library, span);
            lines.push(if is_leaf(field) {
                quote_spanned!(span=> #library::derive::leaf::<#ty>();)
            } else {
                let moved = rebound(self, &field.ty);
                quote_spanned!(span=> #library::derive::edge::<#at, #ty, #moved>();)
            });
        }
        let parameters = parameters.iter().map(|parameter| match parameter {
            // Defaults are not allowed in a function's parameters.
            GenericParam::Type(ty) => {
                let (name, bounds) = (&ty.ident, &ty.bounds);
                quote!(#name: #bounds)
            }
            GenericParam::Const(constant) => {
                let (name, ty) = (&constant.ident, &constant.ty);
                quote!(const #name: #ty)
            }
            GenericParam::Lifetime(lifetime) => lifetime.to_token_stream(),
        });
        let dies = self.may_hold_edges().then(|| self.dies());
        Ok(quote! {
            fn assertions<#at, #(#parameters),*>() where #(#bounds),* { #(#lines)* #dies }
        })
    }

    fn may_hold_edges(&self) -> bool {
        self.lifetime.is_some() || !self.traced.is_empty()
    }

    /// Says what is wrong if [`no_drop`](Self::no_drop) conflicts.
    fn dies(&self) -> TokenStream {
        let (itself, span) = (self.itself(), self.input.ident.span());
        let library = at_span(&self.names.library, span);
        quote_spanned! {span=>
            use #library::derive::Otherwise as _;
            #library::derive::may_die(#library::derive::Death::<#itself>::how());
        }
    }

    /// A type that may hold edges must not look at them when it dies: they may be gone.
    fn no_drop(&self) -> TokenStream {
        if !self.may_hold_edges() {
            return TokenStream::new();
        }
        let (generics, _, clause) = self.input.generics.split_for_impl();
        let itself = self.itself();
        let span = self.input.ident.span();
        quote_spanned! {span=>
            trait TypesWithEdgesMayNotImplementDrop {}
            impl<T: ::core::ops::Drop + ?::core::marker::Sized> TypesWithEdgesMayNotImplementDrop for T {}
            impl #generics TypesWithEdgesMayNotImplementDrop for #itself #clause {}
        }
    }
}

/// A path as if it stood at `span`: so do messages about what it names.
fn at_span(path: &Path, span: Span) -> TokenStream {
    let moved = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    path.to_token_stream().into_iter().map(moved).collect()
}

fn is_trait(bound: &TypeParamBound) -> bool {
    matches!(bound, TypeParamBound::Trait(bound) if matches!(bound.modifier, syn::TraitBoundModifier::None))
}

/// Whether a type mentions a type parameter.
fn mentions(ty: &Type, name: &Ident) -> bool {
    struct Search<'a>(&'a Ident, bool);
    impl Visit<'_> for Search<'_> {
        fn visit_ident(&mut self, ident: &Ident) {
            self.1 |= ident == self.0;
        }
    }
    let mut search = Search(name, false);
    search.visit_type(ty);
    search.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(input: &DeriveInput) -> Result<String> {
        let root = Root { library: parse_quote!(::gc_core), tag: parse_quote!(Plain) };
        Ok(expand(input, root)?.to_string())
    }

    /// A program may know the library by another name, and not at all by its own.
    #[test]
    fn all_paths_are_of_the_crate_that_the_type_names() {
        let code = expanded(&parse_quote! {
            #[trace(crate = collected::heap)]
            struct Node<'g, T> {
                next: Edge<'g, Node<'g, T>>,
                value: T,
                #[leaf]
                name: String,
            }
        });
        let code = code.unwrap();
        assert!(!code.contains("gc_core") && code.contains("Trace < collected :: heap :: Plain >"));
    }

    #[test]
    fn what_an_attribute_may_say_is_said() {
        let refused = expanded(&parse_quote!(
            #[trace(tag = Other)]
            struct Node;
        ))
        .unwrap_err();
        assert_eq!(refused.to_string(), "expected `heap = Tag` or `crate = path`");
    }
}
