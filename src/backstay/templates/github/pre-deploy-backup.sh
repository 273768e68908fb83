#!/usr/bin/env bash
# Written by `backstay init --github`: backs up a PostgreSQL database. Needs no backstay.yml (set BACKSTAY_APP then).
# Exit status: that of `backstay backup create` (0 done, 30 the backup failed and nothing was lost, 2 usage).
set +x # a trace would print the password
set -euo pipefail

usage() {
    cat >&2 <<'USAGE'
usage: pre-deploy-backup.sh ENV HOST NAME USER [PASSWORD]

  ENV         environment, such as prod
  HOST        host of the database, HOST:PORT, or the folder of its socket
  NAME        name of the database
  USER        role to connect as
  PASSWORD    better left out and given in the variable DB_PASSWORD: everybody on this machine can read arguments
USAGE
    exit 2
}

# percent_encode TEXT: sets `encoded`. Byte by byte and without another process, so that no password is ever an argument.
percent_encode() {
    local LC_ALL=C text=$1 position byte code
    encoded=
    for ((position = 0; position < ${#text}; position++)); do
        byte=${text:position:1}
        if [[ $byte == [A-Za-z0-9._~-] ]]; then
            encoded+=$byte
        else
            printf -v code '%d' "'$byte"
            printf -v code '%%%02X' $((code & 255))
            encoded+=$code
        fi
    done
}

if (($# < 4 || $# > 5)); then usage; fi
for word in "$1" "$2" "$3" "$4"; do
    if [[ -z $word || $word == -* ]]; then usage; fi
done
environment=$1 host=$2 password=${5:-}
if [[ -n $password ]]; then
    echo "warning: the PASSWORD argument can be read by everybody on this machine (ps);" \
        "leave it out and set the variable DB_PASSWORD" >&2
else
    password=${DB_PASSWORD:-}
fi

percent_encode "$3"
name=$encoded
percent_encode "$4"
login=$encoded
if [[ -n $password ]]; then
    percent_encode "$password"
    login+=:$encoded
fi
query=
if [[ $host == /* ]]; then
    percent_encode "$host"
    query="?host=$encoded${PGPORT:+&port=$PGPORT}" host=
elif [[ $host =~ ^[0-9A-Fa-f]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*$ ]]; then
    host="[$host]${PGPORT:+:$PGPORT}"
elif [[ $host =~ ^([A-Za-z0-9._-]+|\[[0-9A-Fa-f.:]+\])$ ]]; then
    host=$host${PGPORT:+:$PGPORT}
elif [[ ! $host =~ ^([A-Za-z0-9._-]+|\[[0-9A-Fa-f.:]+\]):[0-9]+$ ]]; then
    usage
fi
export BACKSTAY_DATABASE_URL="postgresql://$login@$host/$name$query"
unset password encoded login DB_PASSWORD

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

# In place of this shell, whose own arguments may hold the password.
exec "$backstay" backup create "$environment"
