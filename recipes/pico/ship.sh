#!/bin/sh
# Puts a trained pico where it ships from, and measures it:
#
#   recipes/pico/ship.sh [BUILD [FOLDER]]      default: build runs/pico, as recipes/pico/train.sh leaves it
#
# Writes models/pico, recipes/pico/scores.json, docs/pico-scores.md and docs/pico-loss.svg. SAMPLES: of each task (1000).
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
folder=${2:-runs/pico}
mkdir -p models/pico
for file in config.json preprocessor_config.json generation_config.json tokenizer.json tokenizer_config.json \
    special_tokens_map.json model.safetensors; do
  if [ -f "$folder/model/$file" ]; then cp "$folder/model/$file" models/pico/; fi
done
cp "$folder/model/loss.svg" docs/pico-loss.svg
"$build/bin/convert_checkpoint" models/pico --type Q8_0 --mmproj-type Q8_0 --out models/pico/pico-Q8_0.gguf
[ -f "$folder/foreign/data.jsonl" ] || recipes/pico/foreign.sh "$folder/foreign"
"$build/bin/pico_eval" --model models/pico --samples "${SAMPLES:-1000}" --data "$folder/foreign/data.jsonl" --write
