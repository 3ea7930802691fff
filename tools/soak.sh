#!/bin/sh
# soak.sh BUILD SECONDS: the server under everything at once for so long (tests/server/soak_test.cc), then under slow
# clients of slowhttptest where that is installed, while others ask for its health. Run it in the root of the source tree.
set -eu
build=$1
ctest --test-dir "$build" -R '^e2e\.model\.o26$' > /dev/null  # makes the model of the live sessions
MINICPM_SOAK_SECONDS=$2 "$build/bin/test_server" --gtest_filter='SoakTest.*'
command -v slowhttptest > /dev/null || { echo "slowhttptest is not installed: its part is left out"; exit 0; }

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2> /dev/null || true; rm -rf "$folder"' EXIT
"$build/bin/minicpm" serve models/pico --port 0 --no-state --log off > "$folder/ready" &
server=$!
for _ in $(seq 100); do
  grep -q 'is ready' "$folder/ready" && break
  sleep 0.1
done
url=$(sed -n 's/ is ready.*//p' "$folder/ready")
[ -n "$url" ] || { echo "soak: the server does not start"; exit 1; }

# The second longest of a hundred requests for /health, in seconds; fails where one is not answered with 200.
health() {
  for _ in $(seq 100); do
    curl -s -o /dev/null --max-time 5 -w '%{http_code} %{time_total}\n' "$url/health" || echo "0 5"
  done > "$folder/times"
  awk '$1 != 200 { bad = 1 } { print $2 } END { exit bad }' "$folder/times" > "$folder/sorted" || return 1
  sort -n "$folder/sorted" | sed -n '99p'
}

quiet=$(health) || { echo "soak: /health failed"; exit 1; }
for kind in -H -B -X; do
  case $kind in
    -H) path=/health more="-i 5 -x 24" ;;
    -B) path=/v1/chat/completions more="-i 5 -s 8192 -x 10" ;;
    -X) path=/openapi.json more="-w 1 -y 16 -z 16 -n 5 -k 3" ;;
  esac
  # shellcheck disable=SC2086
  slowhttptest -c 900 $kind $more -r 300 -l 20 -u "$url$path" > "$folder/slow" 2>&1 &
  slow=$!
  sleep 5
  busy=$(health) || { echo "soak: /health failed under slowhttptest $kind"; exit 1; }
  wait $slow || true
  echo "slowhttptest $kind: p99 of /health ${busy} s (${quiet} s without)"
done
kill -TERM "$server"
wait "$server"
server=
