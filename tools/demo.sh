#!/bin/sh
# Asks pico, the small model that ships with the project, about the pictures in assets/pico. While its weights are not
# there, a checkpoint with random weights shows the chain without its wit.
set -eu
build=$1
minicpm=$build/bin/minicpm

random_weights() {
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
  exec "$minicpm" run "$model" --image "$picture" -p "What is on the desk?" -n 48 --seed 1 --verbose
}

[ -f models/pico/model.safetensors ] || random_weights

# ask NAME TITLE FILES QUESTION: one question to models/NAME about files in assets/NAME.
ask() {
  name=$1 title=$2 files=$3 question=$4
  [ "$question" != "(spoken)" ] || question=
  set -- run "models/$name" --greedy -n 64 -p "$question"
  shown=
  for file in $files; do
    shown="$shown assets/$name/$file"
    case $file in
      *.mp4) set -- "$@" --video "assets/$name/$file" --fps 2 ;;
      *.wav) set -- "$@" --audio "assets/$name/$file" ;;
      *) set -- "$@" --image "assets/$name/$file" ;;
    esac
  done
  begin=$(date +%s%N)
  answer=$("$minicpm" "$@" < /dev/null)
  end=$(date +%s%N)
  printf '\n%s:%s\n  question  %s\n  answer    %s\n  time      %s\n' "$title" "$shown" "${question:-(spoken)}" "$answer" \
    "$(awk -v ns=$((end - begin)) 'BEGIN { printf "%.2f s, loading included", ns / 1e9 }')"
}

# demo NAME ARCHITECTURE: all questions of assets/NAME/demo.tsv.
tab=$(printf '\t')
demo() {
  [ -f "models/$1/model.safetensors" ] || return 0
  echo "$1 has $(wc -c < "models/$1/model.safetensors" | awk '{ printf "%.1f", $1 / 2e6 }') million weights and the architecture of $2."
  grep -v '^#' "assets/$1/demo.tsv" | while IFS="$tab" read -r title files question _; do
    ask "$1" "$title" "$files" "$question"
  done
  echo
}

demo pico "MiniCPM-V 4.5"
demo pico-o "MiniCPM-o 2.6"
printf 'Try your own: %s run models/pico --image FILE -p "What do you see?" --greedy\n' "$minicpm"
