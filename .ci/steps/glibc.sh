#!/usr/bin/env bash
# Goroutines are threads under three releases of glibc, and the probe refuses two doctored ones.
set -euo pipefail
.ci/within 900 sched-core/tests/glibc/run
