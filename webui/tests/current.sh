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
for package in vite pdfjs-dist; do
  [ -d "$source/webui/node_modules/$package" ] || skip "the npm package $package is not in webui; run make webui-packages"
done
cd "$source/webui"
node_modules/.bin/tsc
node_modules/.bin/vite build --logLevel warn --emptyOutDir --outDir "$folder"
list() { (cd "$1" && ls ./*.gz); }
[ "$(list "$folder")" = "$(list dist)" ] || {
  echo "webui/dist holds other files than its sources make; run make webui"
  exit 1
}
for file in dist/*.gz; do
  name=$(basename "$file" .gz)
  gzip -dc "$folder/$name.gz" > "$folder/built.$name"
  gzip -dc "$file" > "$folder/committed.$name"
  cmp "$folder/built.$name" "$folder/committed.$name" || {
    echo "webui/$file is older than its sources; run make webui"
    exit 1
  }
done
