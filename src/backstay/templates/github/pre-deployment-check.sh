#!/usr/bin/env bash
# Written by `backstay init --github`: checks whether ENV is ready for a deployment.
# Exit status: that of `backstay check` (0 ready, 10 a check failed, 2 usage or configuration).
set -euo pipefail

usage() {
    cat >&2 <<'USAGE'
usage: pre-deployment-check.sh ENV

  ENV    environment, such as dev
USAGE
    exit 2
}

if (($# != 1)) || [[ -z $1 || $1 == -* ]]; then usage; fi

# BACKSTAY names the command to run: a name on the PATH or a path.
backstay=${BACKSTAY:-backstay}
if [[ $backstay == */* && $backstay != /* ]]; then backstay=$PWD/$backstay; fi
if ! command -v "$backstay" >/dev/null; then
    echo "error: $backstay is not there; install Backstay, or name it with BACKSTAY=/path/to/backstay" >&2
    exit 127
fi

# The configuration lies in the root of the repository, wherever this is called from.
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..
if [[ -f $root/backstay.yml ]]; then cd "$root"; fi

exec "$backstay" check "$1"
