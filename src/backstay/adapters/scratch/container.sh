# A PostgreSQL server on /scratch, or on a cluster of its own when there are no data.
# MAJOR: wanted version. PASSWORD: of the superuser. Runs in any image that has initdb, postgres and su.
set -eu
bin=
for folder in "/usr/lib/postgresql/$MAJOR/bin" "$(dirname "$(command -v initdb || echo /none/initdb)")"; do
    if [ -z "$bin" ] && [ -x "$folder/initdb" ]; then bin=$folder; fi
done
[ -n "$bin" ] || { echo "this image has no initdb of PostgreSQL $MAJOR"; exit 3; }
as() { if [ "$(id -u)" = 0 ]; then su postgres -s /bin/sh -c "$1"; else sh -c "$1"; fi; }
conf="-c config_file=/scratch/settings.conf -c hba_file=/scratch/access.conf -c ident_file=/scratch/map.conf"
# Shared memory of a container is small by default.
conf="$conf -c dynamic_shared_memory_type=mmap -p 5432"
: >/scratch/map.conf
mkdir -p /scratch/log
make=no
if [ ! -d /scratch/data ]; then
    make=yes
    printf %s "$PASSWORD" >/scratch/password
fi
[ "$(id -u)" != 0 ] || chown -R postgres /scratch
if [ $make = yes ]; then
    as "$bin/initdb --username backstay_scratch --pwfile /scratch/password --auth=scram-sha-256 --encoding=UTF8 \
        --locale=C.UTF-8 --no-sync -D /scratch/data" >/dev/null ||
    as "rm -rf /scratch/data; $bin/initdb --username backstay_scratch --pwfile /scratch/password \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync -D /scratch/data"
    rm /scratch/password
else
    export PASSWORD
    as "echo \"CREATE ROLE backstay_scratch SUPERUSER LOGIN PASSWORD '\$PASSWORD'\" |
        $bin/postgres --single -D /scratch/data $conf template1"
fi
unset PASSWORD
as "exec $bin/postgres -D /scratch/data $conf"
