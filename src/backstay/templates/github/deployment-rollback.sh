#!/usr/bin/env bash
# Written by `backstay init --github`: goes back to the release that served before.
# Exit status: that of `backstay rollback` (0 done, 11 locked, 21 needs a human, 2 usage or nothing to go back to).
set -euo pipefail

usage() {
    cat >&2 <<'USAGE'
usage: deployment-rollback.sh ENV [frontend|backend|all] [--dry-run]

  ENV          environment, such as prod
  --dry-run    show the plan and change nothing

Without a component, all of them. For components with other names: backstay rollback ENV COMPONENT
USAGE
    exit 2
}

words=()
options=()
for word in "$@"; do
    case $word in
        --dry-run) options=(--dry-run) ;;
        '' | -*) usage ;;
        *) words+=("$word") ;;
    esac
done
if ((${#words[@]} < 1 || ${#words[@]} > 2)); then usage; fi
component=${words[1]:-all}
case $component in
    frontend | backend | all) ;;
    *) usage ;;
esac

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

exec "$backstay" rollback "${words[0]}" "$component" ${options[@]+"${options[@]}"}
