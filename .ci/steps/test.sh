#!/usr/bin/env bash
# The README's command. python3, which runs the script that gort is compared with, is installed, as root or by sudo,
# where it is missing.
set -euo pipefail
if ! command -v python3 >/dev/null; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends python3 >/dev/null
fi
exec .ci/within 1200 cargo test --workspace
