#!/usr/bin/env bash
# valgrind and AddressSanitizer over the tests of the crates that hand out memory.
#
# valgrind runs ordinary builds, std included, twenty times slower: so only tests that do not spin
# against each other. It finds reads of what was never written and accesses to what is not mapped.
#
# AddressSanitizer runs the allocator's and the collector's tests. It needs an unstable flag, hence RUSTC_BOOTSTRAP, and --target, so that build scripts and
# macros are built without it. A target folder of its own keeps the other builds warm.
set -euo pipefail
if command -v valgrind >/dev/null; then
    # Their names are those of the executables that cargo is about to list.
    checked='alloc_core|large|fixed_region|page_heap'
    cargo test --package alloc-core --lib --tests --no-run 2>&1 |
        sed -nE "s/.*Executable .*\((.*\/($checked)-[0-9a-f]+)\)/\1/p" |
        while read -r test; do
            echo "valgrind ${test##*/}"
            PROPTEST_CASES=4 timeout --kill-after=10 300 valgrind -q --error-exitcode=9 --fair-sched=try "$test" </dev/null
        done
else
    echo 'no valgrind here: left out'
fi
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
