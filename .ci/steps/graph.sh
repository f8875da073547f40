# A leaf crate names no other leaf: each can be used alone.
set -euo pipefail
leaves='alloc-core sched-core gc-core sysmon'
for leaf in $leaves; do
    for other in $leaves; do
        [ "$leaf" = "$other" ] && continue
        if cargo tree --quiet --package "$leaf" --edges normal,build --prefix none | grep -q "^$other v"; then
            echo "$leaf depends on $other: leaves must not know each other (docs/architecture.md)" >&2
            exit 1
        fi
    done
done
