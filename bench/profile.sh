#!/bin/sh
# Shows what kvserver does for one request, and where its time goes. docs/profiling.md explains what is seen.
#
# usage: profile.sh one [always|everysec|os]     the system calls of one SET, with times
#        profile.sh count [always|everysec|os]   how many of them 6,400 SETs and GETs need, at pipeline 1 and 64
#        profile.sh flame DIRECTORY              flame graphs of GET, of SET with the log, and of GETs of a large value
#
# Needs Linux, redis-cli and redis-benchmark (redis-tools), strace for the first two, perf and inferno (cargo install inferno)
# for the third. KVSERVER names the program, by default ../target/dist/kvserver. Listens on 127.0.0.1:16399, and keeps its
# files in a temporary directory.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
server=${KVSERVER:-$here/../target/dist/kvserver}
port=16399
dir=$(mktemp -d)
pid=

stop() {
    if [ -n "$pid" ]; then
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
        pid=
    fi
    return 0
}
trap 'stop; rm -rf "$dir"' EXIT

# Starts a server of one loop with a durability, on an empty directory.
start() {
    stop
    rm -rf "$dir/data"
    "$server" --dir "$dir/data" --listen "resp://127.0.0.1:$port" --durability "$1" --loops 1 >"$dir/log" 2>&1 &
    pid=$!
    for _ in $(seq 100); do
        [ "$(redis-cli -p "$port" PING 2>/dev/null)" = PONG ] && return
        sleep 0.1
    done
    echo "the server does not answer: $(cat "$dir/log")" >&2
    exit 1
}

# Runs strace with some flags on the server while a command runs.
traced() {
    out=$1 flags=$2
    shift 2
    # shellcheck disable=SC2086 # the flags are several words
    strace -f $flags -o "$out" -p "$pid" 2>"$dir/attached" &
    tracer=$!
    until grep -q attached "$dir/attached"; do sleep 0.1; done
    "$@" >/dev/null
    kill -INT "$tracer"
    wait "$tracer" 2>/dev/null || true
}

load() {
    redis-benchmark -p "$port" -r 100000 -q "$@" >/dev/null 2>&1
}

case "${1:-}" in
one)
    start "${2:-always}"
    traced "$dir/one" "-tt -T -s 40 -e trace=network,epoll_wait,futex,pwritev,fdatasync,write" \
        redis-cli -p "$port" SET greeting hello
    # From the request to the end of its connection.
    sed -n '/accept4.* = [0-9]/,/recvfrom.*, "", /p' "$dir/one" | grep -v EAGAIN
    ;;
count)
    for command in set get; do
        for pipeline in 1 64; do
            start "${2:-everysec}"
            traced "$dir/count" "-c" load -t "$command" -n 6400 -c 1 -P "$pipeline"
            echo "6,400 ${command}s at pipeline $pipeline"
            awk 'NR > 2 && $4 >= 20 { print "  " $4, $NF }' "$dir/count"
        done
    done
    ;;
flame)
    out=${2:?where to put the graphs}
    for name in get set large; do
        start everysec
        load -t set -n 200000 -P 64
        redis-cli -p "$port" SETRANGE large 33554431 x >/dev/null
        case $name in
        large) load -n 2000 -c 2 GET large & ;;
        *) load -t "$name" -n 10000000 -P 64 & ;;
        esac
        loader=$!
        perf record --quiet --freq 997 --call-graph dwarf,16384 --output "$dir/perf" --pid "$pid" -- sleep 3
        kill "$loader" 2>/dev/null || true
        perf script --no-inline --input "$dir/perf" 2>/dev/null | inferno-collapse-perf 2>/dev/null |
            inferno-flamegraph --minwidth 0.4 --title "kvserver: $name" >"$out/flame-$name.svg"
        echo "$out/flame-$name.svg"
    done
    ;;
*)
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
