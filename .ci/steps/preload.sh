#!/usr/bin/env bash
# Unmodified programs give the same answers on our malloc. Installs what is missing, as root or by sudo.
set -euo pipefail
.ci/within 600 alloc-core/preload/run quick
