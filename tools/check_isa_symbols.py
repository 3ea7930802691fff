#!/usr/bin/env python3
"""Checks that the kernel objects of a library define no shared weak functions.

When a file compiled for one instruction set emits a shared inline function or template (a weak symbol), the linker may
choose this copy for the whole program, which then fails on processors without those instructions. Functions whose name
contains the namespace of the object's own instruction set are not shared. Weak data is harmless: all copies are equal.

usage: check_isa_symbols.py [--nm NM] LIBRARY
"""
import argparse
import re
import subprocess
import sys

OBJECT = re.compile(r"^isa_(?:linear_)?(\w+)\.cc\.o(?:bj)?:$")
WEAK = re.compile(r"^[0-9a-f]+ W (\S.*)$")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", default="nm")
    parser.add_argument("library")
    args = parser.parse_args()
    listing = subprocess.run([args.nm, "--defined-only", "--demangle", args.library], check=True, capture_output=True,
                             text=True).stdout
    objects, weak, isa = 0, 0, None
    for line in listing.splitlines():
        if line.endswith(":"):
            match = OBJECT.match(line)
            isa = match.group(1) if match else None
            objects += isa is not None
        elif isa and (match := WEAK.match(line)) and f"minicpm::cpu::{isa}::" not in match.group(1):
            print(f"weak function in the {isa} kernels: {match.group(1)}")
            weak += 1
    if objects == 0:
        print("no kernel object in", args.library)
        return 1
    print(f"{objects} kernel objects, {weak} shared weak functions")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
