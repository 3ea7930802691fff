#!/usr/bin/env python3
"""The benchmark suite: kernels, then whole models with random weights of real shapes.

    tools/bench.py BUILD [--quick] [--peer]

Writes JSON files to BUILD/bench and prints a table. Each model figure stands beside its share of the limit that the
machine sets in the same run: writing must read all weights once a token, so its bound is the memory's speed; that of
reading is the processor's arithmetic. With --peer and the environment variable NODE_PEER (a folder with the npm packages
node-llama-cpp and @node-llama-cpp/linux-x64), llama.cpp's prebuilt libraries run on the same files, alternating with ours.
"""
import json
import os
import pathlib
import subprocess
import sys

MODELS = [  # (size, version, type, tests of `minicpm bench`)
    ("qwen3-0.6b", "qwen3", "Q8_0", ["-p", "512", "-n", "64"]),
    ("qwen3-0.6b", "qwen3", "Q4_K_M", ["-p", "512", "-n", "64"]),
    ("qwen3-0.6b", "qwen3", "BF16", ["-p", "512", "-n", "64"]),
    ("tower", "v45", "F16", ["--image", "448x448", "--image", "1344x896"]),
]


def run(command, **kwargs):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **kwargs).stdout


def make_model(build, folder, size, version, kind):
    path = folder / f"{version}-{size}-{kind}.gguf"
    if not path.exists():
        print(f"making {path.name}", file=sys.stderr)
        run([build / "bin/make_checkpoint", "--version", version, "--size", size, "--format", "gguf", "--type", kind,
             "--out", path])
    return path


def main():
    build = pathlib.Path(sys.argv[1])
    quick, peer = "--quick" in sys.argv, "--peer" in sys.argv
    folder = build / "bench"
    folder.mkdir(parents=True, exist_ok=True)

    kernels_file = folder / "kernels.json"
    command = [build / "bin/kernels_bench", "--json", kernels_file]
    print(run(command + (["--seconds", "0.1"] if quick else [])))

    rows = []
    for size, version, kind, tests in MODELS:
        path = make_model(build, folder, size, version, kind)
        for turn in range(1 if quick else 2):
            command = [build / "bin/minicpm", "bench", path, "--json", "--limits", "-r", "2" if quick else "3"]
            results = json.loads(run(command + tests))
            (folder / f"{path.stem}.{turn}.json").write_text(json.dumps(results, indent=1))
            for result in results:
                if result["test"] == "limits":
                    rows.append((path.stem, "memory read", f"{result['read_bytes_per_second'] / 1e9:.1f} GB/s", "", ""))
                    continue
                figure = (f"{result['tokens_per_second']:.1f} tokens/s" if "tokens_per_second" in result
                          else f"{result['ms']:.0f} ms")
                share = f"{100 * result['limit_share']:.0f} % of {result['limit']}" if "limit" in result else ""
                rows.append((path.stem, result["test"], figure, share, f"{result['peak_rss_bytes'] / 1e6:.0f} MB"))
            if peer and version == "qwen3":
                other = json.loads(run(["node", "bench/peers/node_llama_cpp.mjs", path.resolve()]))
                rows.append((path.stem, "llama.cpp pp512", f"{other['prefill_tokens_per_second']:.1f} tokens/s", "", ""))
                rows.append((path.stem, "llama.cpp tg64", f"{other['decode_tokens_per_second']:.1f} tokens/s", "", ""))
    widths = [max(len(str(row[i])) for row in rows) for i in range(5)]
    for row in rows:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)))


if __name__ == "__main__":
    main()
