//! Runs a test in a process of its own binary that runs on the library.

use std::{env, path::PathBuf, process::Command, sync::OnceLock};

pub(crate) const CHILD: &str = "ALLOC_PRELOAD_TEST";

/// The library, built now: cargo builds no cdylib for an integration test.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("preload-test");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--package", env!("CARGO_PKG_NAME")])
            .arg("--target-dir")
            .arg(&target)
            // Flags for the tests, such as a sanitizer's, are not meant for it.
            .env_remove("RUSTFLAGS")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success());
        target.join("release/liballoc_preload.so")
    })
}

/// A run of the test `name` of this binary on the library.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(CHILD, "1").env("LD_PRELOAD", library());
    command
}

/// Runs `body` on the library; it must succeed.
pub(crate) fn preloaded(name: &str, body: fn()) {
    if env::var_os(CHILD).is_some() {
        // Of glibc's blocks 104 bytes may be used.
        // SAFETY: a live block.
        assert_eq!(unsafe { libc::malloc_usable_size(libc::malloc(100)) }, 112, "not preloaded");
        return body();
    }
    let ran = command(name).output().unwrap();
    assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
}
