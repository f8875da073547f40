#!/usr/bin/env bash
# Half a minute of every size, alignment and hand-over there is, with an oracle that reports two
# live blocks at one address at once: the heap as a value, then as the allocator of goroutines that
# are preempted every millisecond. Then whatever threads do, on 64 goroutines that are preempted about every 100 µs
# and whose results must be a thread's: ten seconds by injection, and three for each of the other kinds.
set -euo pipefail
# By --workspace, so that what was built for all tests serves: a package alone has other features of its
# dependencies, and is built anew.
export ALLOC_STRESS_SECONDS=${ALLOC_STRESS_SECONDS:-30}
# The first two together: more threads than processors make for other interleavings.
.ci/within 300 cargo test --workspace --test stress &
heap=$!
trap 'kill "$heap" 2>/dev/null || true' EXIT
.ci/within 300 cargo test --workspace --test alloc_stress
wait "$heap"
trap - EXIT
SOAK_SECONDS=${SOAK_SECONDS:-10} .ci/within 300 cargo test --workspace --test soak -- by_injection
SOAK_SECONDS=${SOAK_SECONDS:-3} .ci/within 300 cargo test --workspace --test soak -- --skip by_injection
export GC_STRESS_SECONDS=${GC_STRESS_SECONDS:-10}
.ci/within 300 cargo test --workspace --test oracle
export GODEBUG=gccheckmark=1,gcpoison=1
# Whatever collects the runtime's heap and does not turn both on itself.
.ci/within 300 cargo test --workspace --test holders --test paced --test shutdown --test contract --test idle_marking \
    --test handlers --test memory_limit --test refused_servants
.ci/within 300 cargo test --workspace --lib wire::
.ci/within 300 cargo test --workspace --test examples interpreters
