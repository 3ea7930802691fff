#!/usr/bin/env python3
"""Checks that the kernel objects of a library define no weak symbols.

A file compiled for one instruction set that emits a shared inline function or template (a weak symbol) may have its
copy chosen by the linker for the whole program, which then fails on processors without those instructions.

usage: check_isa_symbols.py [--nm NM] LIBRARY
"""
import argparse
import re
import subprocess
import sys

OBJECT = re.compile(r"^(isa_\w+)\.cc\.o(bj)?:$")
# "0000000000000000 W name": weak code. Weak data (V, u) is harmless: every copy of a constant is the same.
WEAK = re.compile(r"^[0-9a-f]+ W (\S.*)$")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", default="nm")
    parser.add_argument("library")
    args = parser.parse_args()
    listing = subprocess.run([args.nm, "--defined-only", "--demangle", args.library], check=True, capture_output=True,
                             text=True).stdout
    objects, weak, current = [], [], None
    for line in listing.splitlines():
        if line.endswith(":"):
            match = OBJECT.match(line)
            current = match.group(1) if match else None
            if current:
                objects.append(current)
        elif current and (match := WEAK.match(line)):
            weak.append(f"{current}: {match.group(1)}")
    for line in weak:
        print("weak symbol in", line)
    if not objects:
        print("no kernel object in", args.library)
        return 1
    print(f"{len(objects)} kernel objects, {len(weak)} weak symbols")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
