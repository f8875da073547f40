#!/usr/bin/env bash
# A runtime with nothing to do makes no system call for ten seconds: by the kernel's counts of who went to sleep, and where
# strace is there, by a record of all system calls of all threads. In that record nothing stands between the beginning
# and the end of the test's own sleep.
set -euo pipefail
export QUIET_MS=10000
# By --workspace, so that what was built for all tests serves.
test=$(cargo test --workspace --test quiet --no-run 2>&1 | sed -nE 's/.*Executable .*\((.*\/quiet-[0-9a-f]+)\)/\1/p')
[ -x "$test" ] || { echo 'the test is not there' >&2; exit 1; }
# On the thread that calls it: libtest's own would wake to say that a test takes long.
quietly=("$test" --test-threads=1)
if ! command -v strace >/dev/null; then
    echo 'strace is not there: system calls are not counted'
    exec .ci/within 150 "${quietly[@]}"
fi
record=$(mktemp)
trap 'rm -f "$record"' EXIT
.ci/within 150 strace -f -o "$record" "${quietly[@]}"
awk '
    !who && /clock_nanosleep\(.*tv_sec=10, / { who = $1; if (!/unfinished/) { over = 1; exit }; next }
    who == $1 && /clock_nanosleep resumed/ { over = 1; exit }
    who { calls++; print > "/dev/stderr" }
    END {
        if (!over) { print "its sleep is not in the record" > "/dev/stderr"; exit 1 }
        print calls + 0 " system calls in 10 s"
        exit calls > 0
    }' "$record"
