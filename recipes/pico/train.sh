#!/bin/sh
# Trains pico from nothing and makes its files, resuming where an earlier call was interrupted:
#
#   recipes/pico/train.sh [BUILD [FOLDER]]      default: build runs/pico
#
# Four runs: train.json begins from random weights; more.json, finish.json and count.json each go on from the result
# before. Needs `make training`. Takes some hours on two cores with AVX-512 BF16; loss.svg in FOLDER/first, second, third
# and model shows how far it is.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
folder=${2:-runs/pico}
mkdir -p "$folder"
[ -f "$folder/start/config.json" ] || "$build/bin/make_pico" --out "$folder/start"
# The recipes name the plug-in as it lies in build/.
for run in train more finish count; do
  sed "s#\"\.\./\.\./build/#\"$(cd "$build" && pwd)/#" "recipes/pico/$run.json" > "$folder/$run.json"
done
# Tensors come and go in many sizes, which this malloc takes better than the C library's.
malloc=$(ldconfig -p | sed -n 's/.*libjemalloc.so.2 .*=> //p' | head -n 1)
# train START RUN OUT
train() {
  [ -f "$3/model.safetensors" ] || env ${malloc:+LD_PRELOAD="$malloc"} \
    MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1,narenas:2,oversize_threshold:0 \
    "$build/bin/minicpm" train sft "$1" --config "$folder/$2.json" --out "$3" --resume
}
train "$folder/start" train "$folder/first"
train "$folder/first" more "$folder/second"
train "$folder/second" finish "$folder/third"
train "$folder/third" count "$folder/model"
"$build/bin/convert_checkpoint" "$folder/model" --type Q8_0 --mmproj-type Q8_0 --out "$folder/pico-Q8_0.gguf"
