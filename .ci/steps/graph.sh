#!/usr/bin/env bash
# The arrows between the crates (docs/architecture.md): a leaf names no leaf, so that each can be
# used alone; and bench/, whose peers are large, is a workspace of its own.
set -euo pipefail
leaves='alloc-core sched-core gc-core sysmon'
for leaf in $leaves; do
    for other in $leaves runtime; do
        [ "$leaf" = "$other" ] && continue
        # Captured first: `grep -q` in a pipe would end cargo by SIGPIPE.
        tree=$(cargo tree --quiet --package "$leaf" --edges normal,build,dev --prefix none)
        if grep -q "^$other v" <<<"$tree"; then
            echo "$leaf depends on $other: leaves must not know each other" >&2
            exit 1
        fi
    done
    echo "$leaf stands alone"
done
members=$(cargo metadata --no-deps --format-version 1 | grep -oE '"manifest_path":"[^"]+"')
if grep -q '/bench/' <<<"$members"; then
    echo 'bench/ must stay outside the workspace' >&2
    exit 1
fi
