#!/usr/bin/env bash
# The models of the lock-free parts, then the planted faults: each must turn its model red.
set -euo pipefail
RUSTFLAGS='--cfg loom' cargo test --package loom-tests --target-dir target-loom
