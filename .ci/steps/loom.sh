#!/usr/bin/env bash
# The models of the lock-free parts, then the planted faults: each must turn its model red.
# Its own target folder: `--cfg loom` rebuilds everything.
set -euo pipefail
export CARGO_TARGET_DIR="${LOOM_TARGET_DIR:-target-loom}"
# What is left out of an ordinary build is linted here.
RUSTFLAGS='--cfg loom' cargo clippy --package loom-tests --all-targets -- -D warnings
RUSTFLAGS='--cfg loom' .ci/within 1200 cargo test --package loom-tests --tests
# Its builds are of another kind, so it looks first whether the models are green in them.
cargo run --quiet --package faults
