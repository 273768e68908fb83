#!/usr/bin/env bash
# Written by `backstay init --github`: smoke-tests what answers at URL. Needs no backstay.yml.
# Exit status: that of `backstay smoke` (0 all passed, 10 a test failed, 2 usage).
set -euo pipefail

usage() {
    cat >&2 <<'USAGE'
usage: smoke-tests.sh URL [RETRIES] [DELAY]

  URL        http:// or https:// address of the application
  RETRIES    how often to try in all; only what failed is tried again
  DELAY      seconds between two tries
USAGE
    exit 2
}

if (($# < 1 || $# > 3)); then usage; fi
if [[ ! $1 =~ ^https?://[^[:space:]]+$ ]]; then usage; fi
if (($# > 1)) && [[ ! $2 =~ ^[0-9]+$ ]]; then usage; fi
if (($# > 2)) && [[ ! $3 =~ ^[0-9]+([.][0-9]+)?$ ]]; then usage; fi

options=()
if (($# > 1)); then options+=(--retries "$2"); fi
if (($# > 2)); then options+=(--delay "$3"); fi

# BACKSTAY names the command to run: a name on the PATH or a path.
backstay=${BACKSTAY:-backstay}
if [[ $backstay == */* && $backstay != /* ]]; then backstay=$PWD/$backstay; fi
if ! command -v "$backstay" >/dev/null; then
    echo "error: $backstay is not there; install Backstay, or name it with BACKSTAY=/path/to/backstay" >&2
    exit 127
fi

# The configuration, if there is one, lies in the root of the repository.
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..
if [[ -f $root/backstay.yml ]]; then cd "$root"; fi

exec "$backstay" smoke "$1" ${options[@]+"${options[@]}"}
