#!/usr/bin/env bash
# Durable one-edge commits of PostgreSQL, in the form that graphite-bench --beside takes: it is called with a number of
# clients and of seconds, and prints commits a second.
#
# Needs a running server with its default settings (synchronous_commit and fsync on), psql and pgbench, and a role that
# may create databases and make checkpoints; run as that role, or with PGUSER and PGHOST set. The first call makes the
# database graphite_commits with the bench's graph in it and the indexes of postgres.sh, from GRAPH_DIR if that is set
# and else from target/bench-graph, as whoever runs this may read it. The database stays, and each call adds to it:
# `dropdb graphite_commits` before a run that counts.
#
# usage: postgres_commits.sh CLIENTS SECONDS
set -euo pipefail

clients=${1:?usage: postgres_commits.sh CLIENTS SECONDS}
seconds=${2:?usage: postgres_commits.sh CLIENTS SECONDS}
graph=${GRAPH_DIR:-$(dirname "$0")/../../target/bench-graph}
database=graphite_commits

known=$(psql -qAt postgres -c "select count(*) from pg_database where datname = '$database'")
if [ "$known" = 0 ]; then
    if ! [ -r "$graph/nodes.csv" ] || ! [ -r "$graph/edges.csv" ]; then
        echo "$graph has no nodes.csv and edges.csv that can be read; graphite-bench makes them" >&2
        exit 1
    fi
    createdb "$database"
    # Half of a graph is not measured the next time.
    trap 'dropdb --if-exists "$database"' EXIT
    psql -q -v ON_ERROR_STOP=1 "$database" << SQL
create table nodes (id int primary key, name text, age int);
create table edges (src int, dst int, since int);
\\copy nodes from '$graph/nodes.csv' csv header
\\copy edges from '$graph/edges.csv' csv header
create index on edges (src, dst);
create index on edges (dst, src);
vacuum analyze;
-- As after Graphite's import: what is changed for the first time after it is logged whole.
checkpoint;
SQL
    trap - EXIT
fi
nodes=$(psql -qAt "$database" -c 'select count(*) from nodes')
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
# As many threads as drive the clients of Graphite.
pgbench -n -M prepared -c "$clients" -j "$((clients < 2 ? clients : 2))" -T "$seconds" -f "$work" "$database" |
    sed -n 's/^tps = \([0-9.]*\).*$/\1/p'
