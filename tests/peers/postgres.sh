#!/usr/bin/env bash
# The work of graphite-bench on PostgreSQL, over its Unix socket, with pgbench.
#
# Needs a running server with its default settings (synchronous_commit and fsync on), psql and pgbench, and a role
# that may create a database; run as that role. GRAPH_DIR is an absolute path that this role can read:
# target/bench-graph, once graphite-bench has made it.
#
# usage: postgres.sh GRAPH_DIR [SECONDS]
set -euo pipefail

graph=${1:?usage: postgres.sh GRAPH_DIR [SECONDS]}
seconds=${2:-5}
database=graphite_peer
work=$(mktemp -d)
finish() {
    dropdb --if-exists "$database"
    rm -rf "$work"
}
trap finish EXIT

dropdb --if-exists "$database"
createdb "$database"
for setting in fsync synchronous_commit shared_buffers; do
    echo "$setting = $(psql -qAt "$database" -c "show $setting")"
done

# Loaded first and indexed then, as that is faster. Both directions have an index, as edges have in Graphite.
cat > "$work/load.sql" <<SQL
create table nodes (id int primary key, name text, age int);
create table edges (src int, dst int, since int);
\\copy nodes from '$graph/nodes.csv' csv header
\\copy edges from '$graph/edges.csv' csv header
create index on edges (src, dst);
create index on edges (dst, src);
vacuum analyze;
SQL
began=$(date +%s%N)
psql -q -v ON_ERROR_STOP=1 "$database" -f "$work/load.sql"
echo "load with indexes: $((($(date +%s%N) - began) / 1000000)) ms"
psql -qAt "$database" -c "select 'bytes: ' || pg_database_size(current_database())"

last=$(($(psql -qAt "$database" -c 'select count(*) from nodes') - 1))
cat > "$work/point.sql" <<SQL
\\set id random(0, $last)
select * from nodes where id = :id;
SQL
for hops in 2 3; do
    joins=""
    for hop in $(seq 2 "$hops"); do
        joins="$joins join edges e$hop on e$hop.src = e$((hop - 1)).dst"
    done
    cat > "$work/hops$hops.sql" <<SQL
\\set id random(0, $last)
select count(distinct e$hops.dst) from edges e1 $joins where e1.src = :id;
SQL
done
cat > "$work/commit.sql" <<SQL
\\set src random(0, $last)
\\set dst random(0, $last)
insert into edges values (:src, :dst, 2026);
SQL

measure() {
    printf '%-8s %2s clients: ' "$1" "$2"
    pgbench -n -M prepared -c "$2" -j "$(($2 < 2 ? $2 : 2))" -T "$seconds" -f "$work/$1.sql" "$database" 2>/dev/null |
        sed -n 's/^latency average = \(.*\)$/\1 mean,/p; s/^tps = \([0-9.]*\).*$/\1 a second/p' | tr '\n' ' '
    echo
}
measure point 1
measure point 8
measure hops2 1
measure hops3 1
# Last, as they make it another graph.
measure commit 1
measure commit 8
measure commit 32
