#!/bin/sh
# Answers a question about a picture with a small checkpoint of MiniCPM-V 4.5's layout, made on the spot.
set -eu
build=$1
model=$build/demo/MiniCPM-V-4_5-random
picture=assets/desk.jpg
if [ ! -f "$model/config.json" ]; then
  mkdir -p "$build/demo"
  "$build/bin/make_checkpoint" --version v45 --size tiny --format hf --type F32 --seed 7 --out "$model"
fi
cat <<TEXT
This is a check of the whole chain, not of wit: the published weights are many gigabytes, so the checkpoint here has
MiniCPM-V 4.5's layout at a small size with random weights. The picture is really decoded, cut into slices, encoded and
read; the words that come out mean nothing. With published weights the same command answers in earnest.

\$ minicpm run $model --image $picture -p "What is on the desk?" -n 48 --seed 1 --verbose
TEXT
exec "$build/bin/minicpm" run "$model" --image "$picture" -p "What is on the desk?" -n 48 --seed 1 --verbose
