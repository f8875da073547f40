//! What `cargo test` shows where the models themselves are left out.

#[test]
#[cfg(not(loom))]
fn models_need_the_loom_cfg() {
    let command = r#"RUSTFLAGS="--cfg loom" cargo test -p loom-tests --target-dir target-loom"#;
    println!("the models run under loom: {command}");
    let guide = include_str!("../src/lib.rs");
    assert!(guide.contains(command), "the crate's guide must name the command: {command}");
}
