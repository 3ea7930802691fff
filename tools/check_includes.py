#!/usr/bin/env python3
"""Checks the dependency rule: a file includes only its own folder, folders of a strictly lower rank, and libraries.

Prints each offending line and exits with 1 if there is one. The ranks are those of docs/architecture.md.
"""
import pathlib
import re
import sys

RANKS = {
    "base": 0,
    "quant": 1, "text": 1, "media": 1, "dist": 1,
    "io": 2, "backend": 2,
    "ops": 3, "hub": 3,
    "models": 4,
    "engine": 5,
    "eval": 6, "train": 6,
    "server": 7,
    "cli": 8,
}
# Block formats are read by kernels, and a GGUF file holds a vocabulary: folders of one rank that may be seen anyway
# would be listed here as (from, to). There are none.
SAME_RANK = set()
# Outside backend/ only its contract is visible.
PRIVATE = re.compile(r"backend/(cpu|cuda)/")
# Third-party headers and the folders that may include them.
OWNERS = {
    "nlohmann/": {"base"},
    "CLI/": {"cli"},
    "pcre2": {"text"}, "utf8proc": {"text"},
    "jpeglib": {"media"}, "png.h": {"media"}, "webp/": {"media"}, "gif_lib": {"media"}, "libexif/": {"media"},
    "kissfft/": {"media"}, "kiss_fft": {"media"}, "libav": {"media"}, "libsw": {"media"},
    "seccomp.h": {"media"}, "webrtc/": {"media"}, "alsa/": {"media"},
    "histedit": {"cli"}, "editline/": {"cli"},
    "torch/": {"train"}, "mpi.h": {"dist"},
    "boost/": {"server"}, "openssl/": {"server", "hub"},
    "curl/": {"hub"}, "sqlite3": {"server"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def problems(source: pathlib.Path):
    for path in sorted(source.rglob("*")):
        if path.suffix not in {".h", ".cc", ".inl", ".cu"}:
            continue
        folder = path.relative_to(source).parts[0]
        if folder not in RANKS:
            yield path, 0, f"folder {folder} has no rank"
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            name = match.group(2)
            top = name.split("/")[0]
            if match.group(1) == '"' and top in RANKS:
                allowed = top == folder or RANKS[top] < RANKS[folder] or (folder, top) in SAME_RANK
                if not allowed:
                    yield path, number, f"{folder} (rank {RANKS[folder]}) includes {name} (rank {RANKS[top]})"
                if PRIVATE.match(name) and folder != "backend":
                    yield path, number, f"{name} is private to backend/"
            for prefix, owners in OWNERS.items():
                if name.startswith(prefix) and folder not in owners:
                    yield path, number, f"{name} may be included by {', '.join(sorted(owners))} only"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found = list(problems(root / "src"))
    for path, number, text in found:
        print(f"{path.relative_to(root)}:{number}: {text}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
