#!/usr/bin/env bash
# Mechanism and scheduler on aarch64, under qemu.
set -euo pipefail
.ci/within 900 sched-core/tests/aarch64/run
