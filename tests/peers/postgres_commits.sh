#!/usr/bin/env bash
# Durable one-edge commits of PostgreSQL, in the form that graphite-bench --beside takes: it is called with a number of
# clients and of seconds, and prints commits a second.
#
# Needs a running server with its default settings (synchronous_commit and fsync on), psql and pgbench, and a role that
# may create a database; run as that role, or with PGUSER and PGHOST set. The database graphite_commits is made at the
# first call, with the graph of the bench in it and the indexes of postgres.sh, and stays: dropdb graphite_commits
# removes it. That role has to be able to read the graph: GRAPH_DIR, if it is not target/bench-graph.
#
# usage: postgres_commits.sh CLIENTS SECONDS
set -euo pipefail

clients=${1:?usage: postgres_commits.sh CLIENTS SECONDS}
seconds=${2:?usage: postgres_commits.sh CLIENTS SECONDS}
graph=${GRAPH_DIR:-$(dirname "$0")/../../target/bench-graph}
database=graphite_commits

if ! psql -qAt "$database" -c 'select 1' > /dev/null 2>&1; then
    if ! [ -r "$graph/nodes.csv" ] || ! [ -r "$graph/edges.csv" ]; then
        echo "$graph has no nodes.csv and edges.csv that can be read; graphite-bench makes them" >&2
        exit 1
    fi
    createdb "$database"
    if ! psql -q -v ON_ERROR_STOP=1 "$database" << SQL; then
create table nodes (id int primary key, name text, age int);
create table edges (src int, dst int, since int);
\\copy nodes from '$graph/nodes.csv' csv header
\\copy edges from '$graph/edges.csv' csv header
create index on edges (src, dst);
create index on edges (dst, src);
vacuum analyze;
SQL
        # Half of a graph is not measured the next time.
        dropdb "$database"
        exit 1
    fi
fi
for setting in fsync synchronous_commit; do
    if [ "$(psql -qAt "$database" -c "show $setting")" != on ]; then
        echo "$setting is not on, so its commits are not durable" >&2
        exit 1
    fi
done
last=$(($(psql -qAt "$database" -c 'select count(*) from nodes') - 1))
work=$(mktemp)
trap 'rm -f "$work"' EXIT
cat > "$work" << SQL
\\set src random(0, $last)
\\set dst random(0, $last)
insert into edges values (:src, :dst, 2026);
SQL
# As many threads as drive the clients of Graphite.
pgbench -n -M prepared -c "$clients" -j "$((clients < 2 ? clients : 2))" -T "$seconds" -f "$work" "$database" 2> /dev/null |
    sed -n 's/^tps = \([0-9.]*\).*$/\1/p'
