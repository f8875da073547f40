#!/usr/bin/env bash
# The repository stands alone: no file speaks of a path outside it, no link in a page is dead, and a test, a fault or
# a program that must not compile, if a page names it, is there.
set -euo pipefail
if git grep -nIE '(^|[^a-zA-Z0-9_.-])/(home|root|work|mnt|Users)/[a-zA-Z]' -- .; then
    echo "these lines name paths of somebody's machine" >&2
    exit 1
fi
dead=0
while IFS=: read -r page link; do
    target=${link%%#*}
    [ -n "$target" ] || continue
    target=$(realpath -m --relative-to=. "$(dirname "$page")/$target")
    [[ $target != ../* && -e $target ]] || { echo "$page: dead link to $target" >&2; dead=1; }
done < <(git ls-files '*.md' | while read -r page; do
    { grep -oE '\]\([^)]+\)' "$page" || true; } | sed -E 's/^\]\(//; s/\)$//' | { grep -vE '^(https?|mailto):|^#' || true; } | sed "s|^|$page:|"
done)
# `a_name…`, `…a_name` and `file::a_name`: of a function or a fault.
there=$(git grep -hoE 'fn [a-z0-9_]+' -- '*.rs' | cut -c4-; git ls-files '*.fault' | sed 's|.*/||; s|\.fault$||')
while read -r name; do
    pattern="^$name\$"
    pattern=${pattern/#^…/} pattern=${pattern/%…\$/}
    grep -qE "$pattern" <<<"$there" || { echo "no test or fault is called $name" >&2; dead=1; }
done < <(git grep -hoE '`([a-z_]+::)*(…[a-z0-9_]+|[a-z0-9_]+…)`|`([a-z]+::)+[a-z0-9]+(_[a-z0-9]+){2,}`' \
    -- docs/orderings.md docs/soundness.md loom-tests/src/lib.rs | tr -d '`' | sed 's/.*:://' | sort -u)
# `ui/name`, of a program that must not compile.
while read -r name; do
    compgen -G "ui-tests/tests/*/$name.rs" >/dev/null || { echo "no program in ui-tests is called $name" >&2; dead=1; }
done < <(git grep -hoE '`ui/[a-z0-9_]+`' -- '*.md' '*.rs' | tr -d '`' | sed 's|^ui/||' | sort -u)
exit "$dead"
