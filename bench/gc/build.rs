//! Links the Boehm peer with the archive that `bench/setup` unpacked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_BOEHM").is_some() {
        let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo:rustc-link-arg-bin=gc-boehm={folder}/../.libgc/libgc.a");
    }
}
