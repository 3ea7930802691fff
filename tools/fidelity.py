#!/usr/bin/env python3
"""Writes docs/fidelity.md from `minicpm verify --json` on the reference cases.

    tools/fidelity.py build/bin/minicpm FOLDER [--data DIR] > docs/fidelity.md

FOLDER holds the case folders. Cases that this build does not support are named at the end.
"""
import json
import pathlib
import subprocess
import sys

HEAD = """# Fidelity

How far the program's numbers lie from those of the official code, for every item of the reference cases. Errors are
relative L2 (|a - b| / |b|) in f32 arithmetic; "exact" items (ids, sizes, bytes, texts) count differences. For the
`gguf` models, `fast` is the root mean square of the logits' error with 8-bit activations and a half-precision cache,
and its limit is 1.5 times the error that llama.cpp shows on the same file. This page is written by `tools/fidelity.py`.
"""


def run(program, folder, data):
    command = [program, "verify", "--json"] + (["--data", data] if data else []) + [str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode not in (0, 9):
        return None, result.stderr.strip()
    return json.loads(result.stdout), ""


def main():
    program, root = sys.argv[1], pathlib.Path(sys.argv[2])
    data = sys.argv[4] if len(sys.argv) > 4 and sys.argv[3] == "--data" else ""
    print(HEAD)
    left_out, sections, summary = [], [], []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        document, error = run(program, folder, data)
        if document is None:
            left_out.append(folder.name)
            continue
        items = document["items"]
        floats = [i for i in items if i["limit"] > 0 and not i["name"].endswith("/fast")]
        worst = max((i["error"] for i in floats), default=None)
        failed = sum(not i["ok"] for i in items)
        summary.append((folder.name, len(items), failed, worst))
        sections.append((folder.name, items))
    print("| case | items | failed | largest relative L2 |\n|---|---:|---:|---:|")
    for name, count, failed, worst in summary:
        print(f"| {name} | {count} | {failed} | {'exact items only' if worst is None else f'{worst:.2g}'} |")
    for name, items in sections:
        print(f"\n## {name}\n\n| item | error | limit |\n|---|---:|---:|")
        for item in items:
            limit = "exact" if item["limit"] == 0 else f"{item['limit']:.2g}"
            short = item["name"].split("/", 1)[-1]
            print(f"| `{short}` | {item['error']:.2g} | {limit} |")
    if left_out:
        print(f"\nNot supported yet: {', '.join(left_out)}.")


if __name__ == "__main__":
    main()
