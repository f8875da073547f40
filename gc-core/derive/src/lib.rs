//! `#[derive(Trace)]` for gc-core.
//!
//! Two names for one derive: [`macro@Trace`] writes paths of `gc_core`, [`macro@RuntimeTrace`]
//! writes paths of `runtime::gc`, which re-exports it as `Trace`, so that a program that depends
//! on the runtime alone can use it. What is generated, and why, is in the `expand` module.

mod expand;
mod input;
mod rebind;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input, parse_quote};

/// Implements `Trace` and `Rebind` for a type that may lie in a collected heap.
///
/// - The type has at most one lifetime, that of the guard.
/// - Fields are edges or hold edges (`Gc`, `GcCell`, types that derive `Trace`; `Option`, `Result`, `Box`, arrays,
///   tuples and std's collections of them), or are plain data.
/// - `#[leaf]` on a field: not looked into; its type is `'static + Send + Sync`.
/// - `#[trace(heap = Tag)]` on the type: its edges are of the heap with this tag. Default:
///   `gc_core::Plain`.
/// - `#[trace(crate = path)]`: where the library is, if the program knows it by another name than
///   `gc_core`.
/// - A type with a lifetime or with traced type parameters does not implement `Drop`.
/// - Unions and packed types are refused.
#[proc_macro_derive(Trace, attributes(leaf, trace))]
pub fn derive_trace(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let root = input::Root { library: parse_quote!(::gc_core), tag: parse_quote!(Plain) };
    expand::expand(&input, root).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// As [`macro@Trace`], for the heap of the runtime: `#[trace(crate = path)]` says where `runtime::gc` is.
#[proc_macro_derive(RuntimeTrace, attributes(leaf, trace))]
pub fn derive_runtime_trace(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let root = input::Root { library: parse_quote!(::runtime::gc), tag: parse_quote!(RuntimeHeap) };
    expand::expand(&input, root).unwrap_or_else(syn::Error::into_compile_error).into()
}
