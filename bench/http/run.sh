#!/bin/sh
# Compares bench_http with nghttpd under h2load, both over TLS on loopback, and prints requests a second and the ratio.
# Usage: bench/http/run.sh BUILD_DIR [SECONDS]
set -eu
build=${1:?build directory}
seconds=${2:-5}
dir=$(mktemp -d)
pids=
cleanup() {
        for p in $pids; do kill "$p" 2>/dev/null || true; done
        wait
        rm -rf "$dir"
}
trap cleanup EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/key" -out "$dir/cert" -days 1 \
        -subj /CN=localhost 2>/dev/null
mkdir "$dir/www"
head -c 1700 /dev/zero | tr '\0' x >"$dir/www/one"
head -c 17000000 /dev/zero | tr '\0' x >"$dir/www/list"
"$build/bench/http/bench_http" 0 2 "$dir/cert" "$dir/key" >"$dir/port" &
pids="$pids $!"
nghttpd_port=$((20000 + $$ % 10000))
nghttpd -n 2 -d "$dir/www" "$nghttpd_port" "$dir/key" "$dir/cert" >/dev/null &
pids="$pids $!"
sleep 1
port=$(cat "$dir/port")
head -c 1700 /dev/zero | tr '\0' y >"$dir/body"

rate() { # URL, further h2load options
        url=$1
        shift
        h2load -D "$seconds" --warm-up-time 1 -c 16 -m 8 -t 1 "$@" "$url" | sed -n 's/^finished in .*s, \([0-9.]*\) req.*/\1/p'
}
mean_ms() {
        h2load -n 200 -c 1 -m 1 -w 30 -W 30 "$1" | sed -n 's/^time for request: *[^ ]* *[^ ]* *\([^ ]*\) .*/\1/p'
}
ours=$(rate "https://127.0.0.1:$port/")
theirs=$(rate "https://127.0.0.1:$nghttpd_port/one")
post=$(rate "https://127.0.0.1:$port/" -d "$dir/body")
echo "GET 1.7 KB:   cube $ours/s   nghttpd $theirs/s   ratio $(echo "scale=2; $ours / $theirs" | bc)"
echo "POST 1.7 KB:  cube $post/s"
echo "LIST 17 MB:   cube $(mean_ms "https://127.0.0.1:$port/list")   nghttpd $(mean_ms "https://127.0.0.1:$nghttpd_port/list") (mean)"
