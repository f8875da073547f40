#!/usr/bin/env bash
# Unmodified programs give the same answers on our malloc. Installs what is missing, as root or by sudo.
set -euo pipefail
timeout --kill-after=10 600 alloc-core/preload/run quick
