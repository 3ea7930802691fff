#!/bin/sh
# Trains pico-o from pico's tower and nothing else, resuming where an earlier call was interrupted:
#
#   recipes/pico-o/train.sh [BUILD [FOLDER]]      default: build runs/pico-o
#
# Needs `make training`. log.jsonl and loss.svg in FOLDER/model, then FOLDER/more, show how far it is.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
folder=${2:-runs/pico-o}
mkdir -p "$folder"
cat recipes/pico/words.txt recipes/pico-o/words.txt > "$folder/words.txt"
[ -f "$folder/start/config.json" ] ||
  "$build/bin/make_pico" --model recipes/pico-o/model.json --words "$folder/words.txt" --out "$folder/start"
# Tensors come and go in many sizes, which this malloc takes better than the C library's.
malloc=$(ldconfig -p | sed -n 's/.*libjemalloc.so.2 .*=> //p' | head -n 1)

# train RECIPE START OUT: resumes OUT, unless it is done. A recipe names the plug-in as it lies in build/, and pico as it
# lies in the source tree.
train() {
  [ ! -f "$3/model.safetensors" ] || return 0
  sed -e "s#\"\.\./\.\./build/#\"$(cd "$build" && pwd)/#" -e "s#\"\.\./\.\./models/#\"$(pwd)/models/#g" "$1" > "$3.json"
  env ${malloc:+LD_PRELOAD="$malloc"} MALLOC_CONF=dirty_decay_ms:10000,muzzy_decay_ms:10000,narenas:2 \
    "$build/bin/minicpm" train sft "$2" --config "$3.json" --out "$3" --resume
}
train recipes/pico-o/train.json "$folder/start" "$folder/model"
train recipes/pico-o/more.json "$folder/model" "$folder/more"
