//! Decides once where goroutines can have TLS of their own, and says it as `cfg(own_tls)`.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(own_tls)");
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    let linked_statically = target("FEATURE").split(',').any(|feature| feature == "crt-static");
    if (&*target("ARCH"), &*target("OS"), &*target("ENV")) == ("x86_64", "linux", "gnu")
        && !linked_statically
    {
        println!("cargo::rustc-cfg=own_tls");
    }
}
