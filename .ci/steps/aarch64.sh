#!/usr/bin/env bash
# Mechanism and scheduler on aarch64, under qemu.
set -euo pipefail
timeout --kill-after=10 900 sched-core/tests/aarch64/run
