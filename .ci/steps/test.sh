#!/usr/bin/env bash
# The README's command.
set -euo pipefail
exec .ci/within 1200 cargo test --workspace
