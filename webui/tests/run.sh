#!/bin/sh
# run.sh PROGRAM SOURCE HEARING_MODEL: the page in a browser against `PROGRAM serve`. Exit code 77 means that node, the
# npm packages or the browser are not there.
set -eu
program=$1 source=$2 hearing=$3
chromium=${MINICPM_CHROMIUM:-/usr/bin/chromium}
skip() {
  echo "skipped: $1"
  exit 77
}
command -v node > /dev/null || skip "node is not installed"
for package in playwright-core axe-core; do
  [ -d "$source/webui/node_modules/$package" ] || skip "the npm package $package is not in webui; run make webui-packages"
done
[ -x "$chromium" ] || skip "$chromium is not installed (Debian package chromium)"
export MINICPM_PROGRAM="$program" MINICPM_ASSETS="$source/assets/pico" MINICPM_MODELS="$source/models"
export MINICPM_HEARING_MODEL="$hearing" MINICPM_CHROMIUM="$chromium"
exec node --test --test-concurrency=1 "$source/webui/tests/browser.test.mjs" "$source/webui/tests/call.test.mjs"
