//! `#[runtime::main]` and `#[runtime::test]`.
//!
//! Both put a function of the same name around the one that was written, and run that on a
//! goroutine. Use them through the `runtime` crate, whose doc tests compile and run the examples: this
//! crate cannot depend on it.

use proc_macro::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, ReturnType, parse_macro_input};

/// Runs `main` on a goroutine.
///
/// The runtime is built from the environment (`GOMAXPROCS`, `GOGC`, `GOMEMLIMIT`, `GODEBUG`). As in Go, the
/// program ends when `main` returns, whatever other goroutines are doing. A panic in `main` is a
/// panic of the program.
///
#[cfg_attr(not(doctest), doc = include_str!("main.md"))]
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    expand(arguments, &function, "main", &quote!(::runtime::main_with), &quote!())
}

/// Runs a test on a goroutine of a runtime of its own.
///
/// The test fails if goroutines are left ten seconds after it has returned.
///
#[cfg_attr(not(doctest), doc = include_str!("test.md"))]
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    let attribute = quote!(#[::core::prelude::v1::test]);
    expand(arguments, &function, "a test", &quote!(::runtime::test_with), &attribute)
}

/// A function of the same name, which hands the one that was written to `run`.
///
/// The result is turned into an exit code on the goroutine, so it need not be `Send`: `main` may
/// return a `Result<(), Box<dyn Error>>`.
fn expand(
    arguments: TokenStream,
    function: &ItemFn,
    what: &str,
    run: &proc_macro2::TokenStream,
    attribute: &proc_macro2::TokenStream,
) -> TokenStream {
    if let Err(error) = check(&arguments, function, what) {
        return error.into_compile_error().into();
    }
    let ItemFn { attrs, vis, sig, block } = function;
    let name = &sig.ident;
    let call = quote_spanned!(block.span()=> #run(#name));
    // `#[should_panic]` wants a test without a result to stay one.
    let (output, call) = match sig.output {
        ReturnType::Default => (quote!(), quote!(let _ = #call;)),
        ReturnType::Type(..) => (quote!(-> ::std::process::ExitCode), call),
    };
    quote! {
        #attribute
        #(#attrs)*
        #vis fn #name() #output {
            #sig #block
            #call
        }
    }
    .into()
}

/// What cannot be run on a goroutine by itself.
fn check(arguments: &TokenStream, function: &ItemFn, what: &str) -> syn::Result<()> {
    if !arguments.is_empty() {
        let tokens = proc_macro2::TokenStream::from(arguments.clone());
        return Err(Error::new(tokens.span(), "no arguments: use `runtime::Builder` for settings"));
    }
    if let Some(asyncness) = function.sig.asyncness {
        let advice = "an ordinary function: goroutines block where others await";
        return Err(Error::new(asyncness.span, format!("{what} is {advice}")));
    }
    if !function.sig.inputs.is_empty() {
        return Err(Error::new(function.sig.inputs.span(), format!("{what} takes no arguments")));
    }
    Ok(())
}
