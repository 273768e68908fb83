#!/usr/bin/env bash
# Written by `backstay init --github`: tells people about a deployment. Needs no backstay.yml (set BACKSTAY_APP then).
# Exit status: that of `backstay notify` (0 taken over for delivery, 2 usage or configuration).
set -euo pipefail

usage() {
    cat >&2 <<'USAGE'
usage: deployment-notifications.sh ENV STATUS COMPONENT MESSAGE

  ENV          environment, such as prod
  STATUS       started, success, failed or rollback; others are shown as they are
  COMPONENT    frontend, backend or all
  MESSAGE      one text, in quotes
USAGE
    exit 2
}

if (($# != 4)) || [[ -z $1 || $1 == -* || -z $2 || $2 == -* || -z $3 || $3 == -* ]]; then usage; fi

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

exec "$backstay" notify -- "$1" "$2" "$3" "$4"
