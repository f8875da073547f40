#!/usr/bin/env bash
# The README's command.
set -euo pipefail
cargo test --workspace
