#!/usr/bin/env bash
# AddressSanitizer over the allocator's and the collector's tests: the two crates that hand out
# memory. It needs an unstable flag, hence RUSTC_BOOTSTRAP, and --target, so that build scripts and
# macros are built without it. A target folder of its own keeps the other builds warm.
set -euo pipefail
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS='-Zsanitizer=address'
# Our mappings are reserved in large pieces and never given back at exit; that is no leak.
export ASAN_OPTIONS='detect_leaks=0:detect_stack_use_after_return=0'
# Property tests repeat less here: instrumented code is two to three times slower.
export PROPTEST_CASES=${PROPTEST_CASES:-32}
host=$(rustc -vV | sed -n 's/^host: //p')
# `ui` tests (what must not compile) start compilers of their own and touch no memory of ours.
timeout --kill-after=10 900 cargo test --package alloc-core --package gc-core --lib --tests \
    --target "$host" --target-dir target/sanitize -- --skip ui
