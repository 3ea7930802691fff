#!/bin/sh
# run.sh PROGRAM FOLDER SOURCE O26: the official clients against `PROGRAM serve pico`, and those of the Realtime API
# against `PROGRAM serve O26`. FOLDER has the packages of package.json. Exit code 77 means that node or the packages are not there.
set -eu
program=$1 folder=$2 source=$3 o26=$4
if ! command -v node > /dev/null; then
  echo "skipped: node is not installed"
  exit 77
fi
for package in openai ollama @anthropic-ai/sdk ws; do
  if [ ! -d "$folder/node_modules/$package" ]; then
    echo "skipped: the npm package $package is not in $folder; build the target server_clients"
    exit 77
  fi
done
cp "$source"/tests/server/clients/*.mjs "$folder"
export MINICPM_PROGRAM="$program" MINICPM_ASSETS="$source/assets/pico" MINICPM_MODELS="$source/models" MINICPM_O26="$o26"
exec node --test "$folder"/clients.test.mjs "$folder"/realtime.test.mjs
