#!/usr/bin/env bash
# The repository stands alone: no file speaks of a path outside it, no link in a page is dead.
set -euo pipefail
# Written with brackets so that the patterns do not find themselves.
if git grep -nI -e '[.][.]/shared' -e '[/]work/[a-z]' -e '[/]tmp/wt' -- .; then
    echo 'these lines name paths outside the repository' >&2
    exit 1
fi
dead=0
while IFS=: read -r page link; do
    target=${link%%#*}
    [ -z "$target" ] || [ -e "$(dirname "$page")/$target" ] || { echo "$page: dead link to $target" >&2; dead=1; }
done < <(git ls-files '*.md' | while read -r page; do
    { grep -oE '\]\([^)]+\)' "$page" || true; } | sed -E 's/^\]\(//; s/\)$//' | { grep -vE '^(https?|mailto):|^#' || true; } | sed "s|^|$page:|"
done)
exit "$dead"
