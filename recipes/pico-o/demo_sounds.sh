#!/bin/sh
# Makes the sounds of `make demo` and of the end-to-end test: samples of the generator's held-out split. The questions and
# the right answers stand in assets/pico-o/demo.tsv: title, files, question, answer.
#
#   recipes/pico-o/demo_sounds.sh build
#
# Needs eSpeak NG (packages-train.txt).
set -eu
build=$1
out=$(cd "$(dirname "$0")/../.." && pwd)/assets/pico-o
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
mkdir -p "$out"

# sample TASK INDEX: one held-out sample into $temporary/TASK
sample() {
  "$build/bin/pico_o_data" --task "$1" --split test --seed 11 --difficulty 0.6 --first "$2" --count 1 --out "$temporary/$1"
}
sample ask_sum 3 && cp "$temporary/ask_sum/3.wav" "$out/sum.wav"
sample ask_color 6 && cp "$temporary/ask_color/6.wav" "$out/color.wav" && cp "$temporary/ask_color/6.png" "$out/shapes.png"
sample commands 5 && cp "$temporary/commands/5.wav" "$out/command.wav"
ls -l "$out"
