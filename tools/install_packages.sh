#!/bin/sh
# Installs the Debian packages named in the first column of lists ('#' starts a comment) that are not installed yet.
set -eu
missing=
for package in $(sed 's/#.*//' "$@"); do
  state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing$missing" >&2
run=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo > /dev/null || { echo "these Debian packages are missing and sudo is not there:$missing" >&2; exit 1; }
  run=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$run apt-get update -qq
# shellcheck disable=SC2086  # one word per package
$run apt-get install -y -qq --no-install-recommends $missing > /dev/null
