#!/bin/sh
# Puts a trained pico-o where it ships from, and measures it:
#
#   recipes/pico-o/ship.sh [BUILD [FOLDER]]      default: build runs/pico-o, as recipes/pico-o/train.sh leaves it
#
# Writes models/pico-o and recipes/pico-o/scores.json. SAMPLES: of each task (200).
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
folder=${2:-runs/pico-o}
mkdir -p models/pico-o
for file in config.json preprocessor_config.json generation_config.json tokenizer.json tokenizer_config.json \
    special_tokens_map.json model.safetensors; do
  cp "$folder/more/$file" models/pico-o/
done
"$build/bin/pico_o_eval" --model models/pico-o --samples "${SAMPLES:-200}" --json recipes/pico-o/scores.json
