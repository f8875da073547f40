#!/usr/bin/env bash
# valgrind and AddressSanitizer over the tests of the crates that hand out memory.
#
# valgrind runs ordinary builds, std included, twenty times slower: so only tests that neither spin against
# each other nor move hundreds of megabytes. It finds reads of what was never written and accesses to what
# is not mapped. Not among them: managed, holes, global, foreign_frees, profile, harden and limit take a quarter of a minute each and
# more; alignment wants more addresses in one piece than valgrind leaves, and huge looks at what is resident, where valgrind has its
# share; stress and process are about what several threads do at once; large and examples share their names with tests of other
# crates, so that two would be found, and what the examples do is done by others here. It is installed, as root or by sudo, where it is missing.
#
# AddressSanitizer runs all of the allocator's and the collector's tests; `--cfg asan` has the collector hide the
# free cells of its blocks. The allocator hides none of its own: a live cell and a free one look the same to the
# sanitizer, so an overflow or a use after free inside our blocks is not seen here, only what the tests and std do with
# memory of the sanitizer's malloc, with stacks and with statics. To hide cells, each of the ways by which one leaves or
# enters a magazine would have to say so. A hardened heap looks for such mistakes (tests/harden.rs), and the mixers of random
# and stress compare what every block holds. It does not run the runtime's: goroutines change stacks and thread-local storage
# without telling it, and their collected cells lie in pages of which it knows nothing. There, poison and checkmark
# look for the same (`GODEBUG=gcpoison=1,gccheckmark=1`, in the stress step). It needs an unstable flag, hence
# RUSTC_BOOTSTRAP, and --target, so that build scripts and macros are built without it. A target folder of its own keeps the other builds warm.
set -euo pipefail
if ! command -v valgrind >/dev/null; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends valgrind libc6-dbg >/dev/null
fi
# Their names are those of the executables that cargo is about to list; by --workspace, as what was built for all
# tests serves.
checked='alloc_core|failing_source|fixed_region|harden_global|lines|machine_page|page_heap|page_index|random|scavenge|sequences|stacks|stats|zeroed'
tests=$(cargo test --workspace --lib --tests --no-run 2>&1 |
    sed -nE "s/.*Executable .*\((.*\/($checked)-[0-9a-f]+)\)/\1/p")
[ "$(wc -w <<<"$tests")" = "$(wc -w <<<"${checked//|/ }")" ] || { echo "not all of $checked are there" >&2; exit 1; }
RANDOM_STEPS=2500 PROPTEST_CASES=4 xargs -n 1 -P 2 timeout --kill-after=10 300 \
    valgrind -q --error-exitcode=9 --fair-sched=try <<<"$tests"
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS='-Zsanitizer=address --cfg asan'
# Our mappings are reserved in large pieces and never given back at exit; that is no leak. And what no memory could hold is
# refused, as by any other malloc.
export ASAN_OPTIONS='detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1'
# Property tests repeat less here: instrumented code is two to three times slower.
export PROPTEST_CASES=${PROPTEST_CASES:-32}
host=$(rustc -vV | sed -n 's/^host: //p')
.ci/within 900 cargo test --package alloc-core --package gc-core --lib --tests \
    --target "$host" --target-dir target/sanitize
