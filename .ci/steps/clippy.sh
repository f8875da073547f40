#!/usr/bin/env bash
# The workspace's lints (Cargo.toml), as errors: undocumented unsafe blocks, missing docs and more.
set -euo pipefail
command -v cargo-clippy >/dev/null || rustup component add clippy
cargo clippy --workspace --all-targets -- -D warnings
