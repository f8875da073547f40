#!/usr/bin/env bash
# Mechanism and scheduler on aarch64, under qemu. And on a machine that sched-core does not know: the other leaves
# build there, and it says in one error that it does not.
set -euo pipefail
other=riscv64gc-unknown-linux-gnu
rustup target list --installed | grep -qx "$other" || rustup -q target add "$other"
.ci/within 300 cargo check --quiet --target "$other" --package alloc-core --package gc-core --package sysmon
said=$(.ci/within 300 cargo check --quiet --target "$other" --package sched-core --message-format short 2>&1 || true)
said=$(grep -E ': (error|warning)' <<<"$said" || true)
if [[ $said == *$'\n'* || $said != *': error: sched-core supports x86-64 and aarch64 only' ]]; then
    printf 'sched-core on %s is to give one error, not this:\n%s\n' "$other" "$said" >&2
    exit 1
fi
.ci/within 900 sched-core/tests/aarch64/run
