#!/bin/sh
# The store beside Debian's etcd-server, on the same disk: durable puts of 1 KB with 256 in flight, and gets.
# etcd is driven over its own gRPC by h2load: 16 connections of 16 streams, one prepared PutRequest (of one key, the
# easiest case for etcd; the store gets 10,000 keys at random). h2load takes a part of the machine, as the store's own
# driver does.
#
#   bench/store.sh [seconds [directory]]      directory: on the disk to measure; a new one below it is used and removed
set -eu

seconds=${1:-3}
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build}
dir=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/cube-bench-XXXXXX")
etcd_pid=
finish() {
        [ -z "$etcd_pid" ] || { kill "$etcd_pid" && wait "$etcd_pid"; } 2>/dev/null || true
        rm -rf "$dir"
}
trap finish EXIT

ninja -C "$build" --quiet bench/store/bench_store
"$build/bench/store/bench_store" "$dir/cube" "$seconds" 256 10000 | tee "$dir/cube.out"

for program in etcd h2load; do
        if ! command -v "$program" >/dev/null; then
                echo "etcd: not measured, $program is missing (apt-get install etcd-server etcd-client nghttp2-client)"
                exit 0
        fi
done

# An etcdserverpb.PutRequest { 1: key, 2: value } behind gRPC's five bytes: not compressed, length.
python3 - "$dir/put" <<'P'
import struct, sys
def field(number, data):
    n, length = len(data), b''
    while n > 127:
        length, n = length + bytes([n & 127 | 128]), n >> 7
    return bytes([number << 3 | 2]) + length + bytes([n]) + data
message = field(1, b'/registry/configmaps/default/bench') + field(2, b'x' * 1024)
open(sys.argv[1], 'wb').write(b'\0' + struct.pack('>I', len(message)) + message)
P

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
peer=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
etcd --data-dir "$dir/etcd" \
        --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer" >"$dir/etcd.log" 2>&1 &
etcd_pid=$!
for _ in $(seq 100); do
        ETCDCTL_API=3 etcdctl --endpoints "127.0.0.1:$port" endpoint health >/dev/null 2>&1 && break
        sleep 0.1
done

h2load -D "$seconds" -c 16 -m 16 -t 1 -d "$dir/put" -H 'content-type: application/grpc' -H 'te: trailers' \
        "http://127.0.0.1:$port/etcdserverpb.KV/Put" >"$dir/h2load.out"
etcd_puts=$(sed -n 's/^finished in .*, \([0-9.]*\) req\/s.*/\1/p' "$dir/h2load.out")
# Each put is a revision: that many were really made.
made=$(ETCDCTL_API=3 etcdctl --endpoints "127.0.0.1:$port" -w json get /registry/configmaps/default/bench |
        sed -n 's/.*"version":\([0-9]*\).*/\1/p')
cube_puts=$(sed -n 's/^puts: \([0-9]*\)\/s.*/\1/p' "$dir/cube.out")
echo "etcd: ${etcd_puts%.*}/s of 1 KB, durable, 256 in flight ($made puts made)"
awk -v c="$cube_puts" -v e="$etcd_puts" 'BEGIN { printf "ratio: %.1f (goal 5)\n", c / e }'
