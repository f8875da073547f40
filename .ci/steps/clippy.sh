#!/usr/bin/env bash
# The workspace's lints (Cargo.toml), as errors: undocumented unsafe blocks, missing docs and more. The allocator also
# without its default features, as who brings no std would build it.
set -euo pipefail
command -v cargo-clippy >/dev/null || rustup component add clippy
cargo clippy --workspace --all-targets -- -D warnings
cargo clippy --package alloc-core --no-default-features -- -D warnings
