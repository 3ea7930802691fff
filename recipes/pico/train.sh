#!/bin/sh
# Trains pico from nothing and makes its files, resuming where an earlier call was interrupted:
#
#   recipes/pico/train.sh [BUILD [FOLDER]]      default: build runs/pico
#
# Needs `make training`. Takes some hours on two cores with AVX-512 BF16; FOLDER/model/loss.svg shows how far it is.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
folder=${2:-runs/pico}
mkdir -p "$folder"
[ -f "$folder/start/config.json" ] || "$build/bin/make_pico" --out "$folder/start"
# The recipe names the plug-in as it lies in build/.
sed "s#\"\.\./\.\./build/#\"$(cd "$build" && pwd)/#" recipes/pico/train.json > "$folder/train.json"
# Tensors come and go in many sizes, which this malloc takes better than the C library's.
malloc=$(ldconfig -p | sed -n 's/.*libjemalloc.so.2 .*=> //p' | head -n 1)
[ -z "$malloc" ] || export LD_PRELOAD="$malloc" MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1,narenas:2,oversize_threshold:0
"$build/bin/minicpm" train sft "$folder/start" --config "$folder/train.json" --out "$folder/model" --resume
"$build/bin/convert_checkpoint" "$folder/model" --type Q8_0 --mmproj-type Q8_0 --out "$folder/pico-Q8_0.gguf"
