#!/bin/sh
# Builds the compute folders and their tests for 64-bit ARM and runs the tests in an emulator, so that the NEON kernels
# are checked on a machine without them. Installs the Debian packages of packages-cross.txt that are missing.
#
# usage: tools/cross_check_aarch64.sh [BUILD_FOLDER]    (default: build/aarch64)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/aarch64}

"$root/tools/install_packages.sh" "$root/packages-cross.txt"

cmake -S "$root/tools/cross_check" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu"
cmake --build "$build"
ctest --test-dir "$build" --output-on-failure
python3 "$root/tools/check_isa_symbols.py" --nm aarch64-linux-gnu-nm "$build/libminicpm_backend.a"
