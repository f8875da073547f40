//! What `cargo test` shows where the models themselves are left out. Without a harness, as that would keep the line
//! to itself.

#[cfg(not(loom))]
fn main() {
    let command = r#"RUSTFLAGS="--cfg loom" cargo test -p loom-tests --target-dir target-loom"#;
    let guide = include_str!("../src/lib.rs");
    assert!(guide.contains(command), "the crate's guide must name the command: {command}");
    println!("the models are left out; they run by: {command}");
}

#[cfg(loom)]
fn main() {}
