#!/usr/bin/env bash
# Half a minute of every size, alignment and hand-over there is, with an oracle that reports two
# live blocks at one address at once: the heap as a value, then as the allocator of goroutines that
# are preempted every millisecond. Then ten seconds of whatever threads do for each kind of
# preemption, every 100 µs, on 64 goroutines whose results must be a thread's.
set -euo pipefail
export ALLOC_STRESS_SECONDS=${ALLOC_STRESS_SECONDS:-30} SOAK_SECONDS=${SOAK_SECONDS:-10}
timeout --kill-after=10 300 cargo test --package alloc-core --test stress
timeout --kill-after=10 300 cargo test --package runtime --test alloc_stress
timeout --kill-after=10 300 cargo test --package sched-core --test soak
export GC_STRESS_SECONDS=${GC_STRESS_SECONDS:-10}
timeout --kill-after=10 300 cargo test --package gc-core --test oracle
