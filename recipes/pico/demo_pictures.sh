#!/bin/sh
# Makes the pictures of `make demo` and of the end-to-end test: samples of the generator's held-out split, one of
# them as a video. The questions and the right answers stand in assets/pico/demo.tsv: title, files, question, answer.
#
#   recipes/pico/demo_pictures.sh build
#
# Needs the ffmpeg program and the fonts of packages-train.txt.
set -eu
build=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
out=$here/assets/pico
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
mkdir -p "$out"

# sample TASK INDEX: one held-out sample into $temporary/TASK
sample() {
  "$build/bin/pico_data" --task "$1" --split test --seed 11 --difficulty 0.6 --first "$2" --count 1 --out "$temporary/$1"
}
sample word 7 && cp "$temporary/word/0.png" "$out/word.png"
sample shapes_two 14 && cp "$temporary/shapes_two/0.png" "$out/shapes.png"
sample chart 18 && cp "$temporary/chart/0.png" "$out/chart.png"
sample two_pictures 2 && cp "$temporary/two_pictures/0.png" "$out/first.png" &&
  cp "$temporary/two_pictures/0_1.png" "$out/second.png"
# Two frames a second, like the samples.
sample video 3 && ffmpeg -loglevel error -y -framerate 2 -i "$temporary/video/0/%02d.png" \
  -vf 'pad=ceil(iw/2)*2:ceil(ih/2)*2' -c:v libx264 -crf 18 -pix_fmt yuv420p -an -map_metadata -1 -fflags +bitexact \
  "$out/motion.mp4"

sample page 21 && cp "$temporary/page/0.png" "$out/page.png"
ls -l "$out"
