#!/bin/sh
# Runs every fuzz target of a build for some seconds each; stops at the first finding.
set -eu
build=$1
seconds=$2
for target in "$build"/bin/*_fuzz; do
  name=$(basename "$target")
  corpus=$build/corpus/$name
  mkdir -p "$corpus"
  echo "$name: $seconds s" >&2
  seeds=tests/fuzz/seeds/$name
  # shellcheck disable=SC2046  # the seed folder is optional
  "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 "$corpus" \
    $([ -d "$seeds" ] && echo "$seeds") > "$build/$name.log" 2>&1 || { tail -40 "$build/$name.log"; exit 1; }
  grep -E 'number_of_executed_units|peak_rss' "$build/$name.log"
done
