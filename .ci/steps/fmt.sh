#!/usr/bin/env bash
# One style, that of rustfmt.toml.
set -euo pipefail
command -v cargo-fmt >/dev/null || rustup component add rustfmt
cargo fmt --all --check
