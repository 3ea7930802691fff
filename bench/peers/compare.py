#!/usr/bin/env python3
"""Compares `minicpm bench` with other programs on the same model files, in turns.

    bench/peers/compare.py BUILD MODEL.gguf... [--llama-bench "NAME=PROGRAM ARGUMENTS"]... [--node]
                           [--ours "OPTIONS"] [-p 512] [-n 64] [-t 2] [--rounds 5] [--json FILE]

Each round runs every program once on the file, so that a machine that slows down slows all of them; the ratio is the
median over the rounds of ours divided by theirs, with its smallest and largest. `--llama-bench` names a program with the
options and the JSON answer of llama.cpp's llama-bench, `--node` takes llama.cpp's prebuilt libraries of npm
(node_llama_cpp.mjs, NODE_PEER). The memory's speed is measured in each round, beside the figures that depend on it.
"""
import argparse
import json
import pathlib
import shlex
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def output(command):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{shlex.join(map(str, command))} ended with {result.returncode}:\n{result.stderr[-2000:]}")
    return result.stdout


def measure_ours(program, model, options):
    tests = ["-p", options.p, "-n", options.n, "-t", options.t, "-r", 1, "--limits", "--json"]
    figures = {}
    for row in json.loads(output([program, "bench", model, *tests, *shlex.split(options.ours)])):
        if row["test"] == "limits":
            figures["memory"] = row["read_bytes_per_second"] / 1e9
        elif row["test"].startswith("pp"):
            figures["read"] = row["tokens_per_second"]
        elif row["test"].startswith("tg"):
            figures["written"] = row["tokens_per_second"]
    return figures


def measure_llama_bench(command, model, options):
    rows = json.loads(output([*command, "-m", model, "-p", options.p, "-n", options.n, "-t", options.t, "-r", 1, "-o", "json"]))
    return {"read" if row["n_gen"] == 0 else "written": row["avg_ts"] for row in rows}


def measure_node(model, options):
    row = json.loads(output(["node", HERE / "node_llama_cpp.mjs", pathlib.Path(model).resolve(), options.p, options.n,
                             options.t, 1]))
    return {"read": row["prefill_tokens_per_second"], "written": row["decode_tokens_per_second"]}


def contenders(options):
    result = {"minicpm": lambda model: measure_ours(pathlib.Path(options.build) / "bin/minicpm", model, options)}
    for text in options.llama_bench:
        name, _, command = text.partition("=")
        result[name] = lambda model, words=shlex.split(command): measure_llama_bench(words, model, options)
    if options.node:
        result["node-llama-cpp"] = lambda model: measure_node(model, options)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--llama-bench", action="append", default=[])
    parser.add_argument("--node", action="store_true")
    parser.add_argument("--ours", default="", help="further options of `minicpm bench`")
    parser.add_argument("-p", default=512)
    parser.add_argument("-n", default=64)
    parser.add_argument("-t", default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="also write all figures to this file")
    options = parser.parse_args()

    programs = contenders(options)
    all_figures = {}
    for model in options.models:
        rounds = [{name: measure(model) for name, measure in programs.items()} for _ in range(options.rounds)]
        all_figures[pathlib.Path(model).name] = rounds
        memory = statistics.median(figures["minicpm"]["memory"] for figures in rounds)
        print(f"{pathlib.Path(model).name}  (memory read {memory:.1f} GB/s)")
        for name in programs:
            for work in ("read", "written"):
                speeds = [figures[name][work] for figures in rounds]
                line = f"  {name:16} {work:8} {statistics.median(speeds):8.1f} tokens/s"
                if name != "minicpm":
                    ratios = [figures["minicpm"][work] / figures[name][work] for figures in rounds]
                    line += f"   ours / theirs {statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
                print(line, flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(all_figures, indent=1))


if __name__ == "__main__":
    main()
