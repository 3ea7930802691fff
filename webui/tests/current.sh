#!/bin/sh
# current.sh SOURCE FOLDER: builds the page into FOLDER and compares it with the one in the source tree. Exit code 77
# means that node or the npm packages are not there.
set -eu
source=$1 folder=$2
skip() {
  echo "skipped: $1"
  exit 77
}
command -v node > /dev/null || skip "node is not installed"
[ -d "$source/webui/node_modules/vite" ] || skip "the npm packages are not in webui; run make webui-packages"
cd "$source/webui"
node_modules/.bin/tsc
node_modules/.bin/vite build --logLevel warn --emptyOutDir --outDir "$folder"
gzip -dc "$folder/index.html.gz" > "$folder/built.html"
gzip -dc dist/index.html.gz > "$folder/committed.html"
cmp "$folder/built.html" "$folder/committed.html" || {
  echo "webui/dist/index.html.gz is older than its sources; run make webui"
  exit 1
}
