//! Decides once where goroutines can have TLS of their own, and says it as `cfg(own_tls)`; and where
//! calls can be injected into them, `cfg(injection)`.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(own_tls, injection)");
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    let linked_statically = target("FEATURE").split(',').any(|feature| feature == "crt-static");
    let arch = target("ARCH");
    let glibc = (&*target("OS"), &*target("ENV")) == ("linux", "gnu") && !linked_statically;
    if glibc && matches!(&*arch, "x86_64" | "aarch64") {
        println!("cargo::rustc-cfg=own_tls");
    }
    if glibc && arch == "x86_64" {
        println!("cargo::rustc-cfg=injection");
    }
}
