#!/usr/bin/env bash
# The API pages build, and every link in them leads somewhere.
set -euo pipefail
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps
