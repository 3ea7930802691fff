#!/bin/sh
# Trains pico-o from pico's tower and nothing else, resuming where an earlier call was interrupted:
#
#   recipes/pico-o/train.sh [BUILD [FOLDER]]      default: build runs/pico-o
#
# Needs `make training`. log.jsonl and loss.svg in FOLDER/model show how far it is.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
folder=${2:-runs/pico-o}
mkdir -p "$folder"
cat recipes/pico/words.txt recipes/pico-o/words.txt > "$folder/words.txt"
[ -f "$folder/start/config.json" ] ||
  "$build/bin/make_pico" --model recipes/pico-o/model.json --words "$folder/words.txt" --out "$folder/start"
# The recipe names the plug-in as it lies in build/, and pico as it lies in the source tree.
sed -e "s#\"\.\./\.\./build/#\"$(cd "$build" && pwd)/#" -e "s#\"\.\./\.\./models/#\"$(pwd)/models/#g" \
  recipes/pico-o/train.json > "$folder/train.json"
# Tensors come and go in many sizes, which this malloc takes better than the C library's.
malloc=$(ldconfig -p | sed -n 's/.*libjemalloc.so.2 .*=> //p' | head -n 1)
[ -f "$folder/model/model.safetensors" ] || env ${malloc:+LD_PRELOAD="$malloc"} \
  MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1,narenas:2,oversize_threshold:0 \
  "$build/bin/minicpm" train sft "$folder/start" --config "$folder/train.json" --out "$folder/model" --resume
