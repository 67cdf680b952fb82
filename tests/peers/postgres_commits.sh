#!/usr/bin/env bash
# Durable one-edge commits of PostgreSQL, in the form that graphite-bench --beside takes: it is called with a number of
# clients and of seconds, and prints commits a second.
#
# Needs a running server with its default settings (synchronous_commit and fsync on), psql and pgbench, and a role that
# may create a database; run as that role, or with PGUSER and PGHOST set. The database graphite_commits is made at the
# first call, with an empty table that has the indexes of postgres.sh, and stays: dropdb graphite_commits removes it.
#
# usage: postgres_commits.sh CLIENTS SECONDS
set -euo pipefail

clients=${1:?usage: postgres_commits.sh CLIENTS SECONDS}
seconds=${2:?usage: postgres_commits.sh CLIENTS SECONDS}
database=graphite_commits
nodes=131072

if ! psql -qAt "$database" -c 'select 1' > /dev/null 2>&1; then
    createdb "$database"
    psql -q -v ON_ERROR_STOP=1 "$database" << 'SQL'
create table edges (src int, dst int, since int);
create index on edges (src, dst);
create index on edges (dst, src);
SQL
fi
for setting in fsync synchronous_commit; do
    if [ "$(psql -qAt "$database" -c "show $setting")" != on ]; then
        echo "$setting is not on, so its commits are not durable" >&2
        exit 1
    fi
done
work=$(mktemp)
trap 'rm -f "$work"' EXIT
cat > "$work" << SQL
\\set src random(0, $((nodes - 1)))
\\set dst random(0, $((nodes - 1)))
insert into edges values (:src, :dst, 2026);
SQL
pgbench -n -M prepared -c "$clients" -j "$((clients < 8 ? clients : 8))" -T "$seconds" -f "$work" "$database" 2> /dev/null |
    sed -n 's/^tps = \([0-9.]*\).*$/\1/p'
