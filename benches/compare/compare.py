"""Runs the rows of the comparison, interleaved, and writes benches/RESULTS.md; `run` starts it.

    compare.py --driver BINARY --python PYTHON [--rows NAMES] [--rounds 5] [--seconds 1] [ROW.KEY=VALUE...]

A size is changed by `forward.hidden=300`, or `hidden=300` for all rows that have it.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# The usual network; of its sizes the table tells those of TOLD, and those that are others.
TOLD = ("cell", "hidden", "steps")
CHARACTERS = {"cell": "lstm", "hidden": 500, "vocabulary": 103, "batch": 1, "layers": 1, "steps": 100}

# Name, what it is, kind of graph, sizes, what is done with it, and what is to be reached: times faster than each peer.
ROWS = [
    ("sample", "one sample step", "sample", {**CHARACTERS, "steps": 1}, "step", {"tensorflow": 7, "onnxruntime": 1}),
    ("forward", "forward", "forward", CHARACTERS, "step", {"tensorflow": 8, "onnxruntime": 1}),
    ("train", "training step with Adam", "train", CHARACTERS, "step", {"tensorflow": 5, "pytorch": 1.3}),
    ("gru", "training step, GRU", "train", {**CHARACTERS, "cell": "gru"}, "step", {"tensorflow": 4, "pytorch": 1}),
    ("two", "training step, two layers", "train", {**CHARACTERS, "layers": 2}, "step", {"tensorflow": 4, "pytorch": 1}),
    ("big", "training step, large batch", "train", {**CHARACTERS, "hidden": 1024, "batch": 64, "steps": 50}, "step",
     {"tensorflow": 1, "pytorch": 1}),
    ("bidirectional", "bidirectional forward", "bidirectional", {"hidden": 128, "vocabulary": 50, "batch": 16, "steps": 50},
     "step", {"tensorflow": 2}),
    ("bidirectional_train", "bidirectional training step", "bidirectional_train",
     {"hidden": 128, "vocabulary": 50, "batch": 16, "steps": 50}, "step", {"tensorflow": 2}),
    ("conv", "convolutional classifier, training step", "conv", {"side": 32, "filters": 32, "batch": 32}, "step",
     {"tensorflow": 0.8}),
    ("chain", "chain of scalar ops", "chain", {"nodes": 10000}, "step", {"tensorflow": 3}),
    ("loop", "while_loop with small body", "loop", {"iterations": 100000}, "step", {"tensorflow": 20}),
    ("wide", "small ops between two heavy ones", "wide", {"nodes": 10000, "side": 500}, "step", {"tensorflow": 1}),
    ("nodes", "large graph", "nodes", {"nodes": 100000}, "first", {"tensorflow": 50}),
    ("start", "process start to first sample", "sample", {**CHARACTERS, "steps": 1}, "start", {"tensorflow": 50}),
    ("save", "save", "train", CHARACTERS, "save", {"tensorflow": 2}),
    ("restore", "restore", "train", CHARACTERS, "restore", {"tensorflow": 2}),
    ("save_large", "save, large", "variables", {"bytes": 2 << 30, "variables": 8}, "save", {"tensorflow": 2}),
    ("restore_large", "restore, large", "variables", {"bytes": 2 << 30, "variables": 8}, "restore", {"tensorflow": 2}),
    ("memory", "peak memory of training", "train", CHARACTERS, "memory", {"tensorflow": 4}),
]
PEERS = ["metagraph", "tensorflow", "pytorch", "onnxruntime"]


class Worker:
    """A process that measures, which answers each line of JSON with one."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def ask(self, command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": "the process ended"}
        if isinstance(reply, dict) and "error" in reply:
            print("  error:", reply["error"], file=sys.stderr)
            return None
        return reply

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def limit_of(name, size, worker, seconds):
    """What the machine needs for a row, where that is known: its description and times."""
    if name == "sample" and size["cell"] == "lstm":
        inputs, hidden = size["vocabulary"] + size["hidden"], size["hidden"]
        weights = 4 * (inputs * 4 * hidden + hidden * size["vocabulary"])
        return "the weights streamed once", worker.ask({"do": "stream", "bytes": weights, "seconds": seconds})
    if name == "restore_large":
        return "a copy in memory", worker.ask({"do": "copy", "bytes": size["bytes"], "seconds": seconds})
    return None


def text(seconds):
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            break
    return "%.3g %s" % (seconds * scale, unit)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver", required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--torch-python")
    parser.add_argument("--rows", default=",".join(row[0] for row in ROWS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--work", default="target/compare")
    parser.add_argument("--out", default=os.path.join(HERE, "..", "RESULTS.md"))
    parser.add_argument("sizes", nargs="*")
    arguments = parser.parse_args()
    torch = arguments.torch_python or arguments.python
    commands = {
        "metagraph": [arguments.driver],
        "tensorflow": [arguments.python, os.path.join(HERE, "peer.py"), "tensorflow"],
        "pytorch": [torch, os.path.join(HERE, "peer.py"), "pytorch"],
        "onnxruntime": [torch, os.path.join(HERE, "peer.py"), "onnxruntime"],
    }
    commands = {peer: commands[peer] for peer in arguments.peers.split(",")}
    workers = {peer: Worker(command) for peer, command in commands.items()}
    versions = {peer: worker.ask({"do": "version"}) for peer, worker in workers.items() if peer != "metagraph"}
    wanted = arguments.rows.split(",")
    lines, made = [], {}
    for name, title, kind, size, action, goals in ROWS:
        if name not in wanted:
            continue
        size = dict(size)
        for change in arguments.sizes:
            key, value = change.split("=")
            row, _, key = key.rpartition(".")
            if row in ("", name) and key in size:
                size[key] = int(value) if value.isdigit() else value
        key = (kind, tuple(sorted(size.items())))
        if key not in made:
            made[key] = os.path.join(arguments.work, "%s-%s" % (kind, "-".join(str(v) for v in size.values())))
            if not os.path.exists(os.path.join(made[key], "row.json")):
                pairs = ["%s=%s" % pair for pair in size.items()]
                subprocess.run([arguments.python, os.path.join(HERE, "graphs.py"), made[key], kind, *pairs], check=True,
                               stderr=subprocess.DEVNULL)
        base = {"row": kind, "size": size, "dir": made[key], "seconds": arguments.seconds}
        found = {peer: [] for peer in commands}
        limits = []
        for _ in range(arguments.rounds if action in ("step", "save", "restore") else min(arguments.rounds, 3)):
            for peer, worker in workers.items():
                if peer not in found:
                    continue
                if action in ("start", "memory", "first"):
                    if peer in ("pytorch", "onnxruntime"):
                        found.pop(peer)
                        continue
                    begin = time.perf_counter()
                    fresh = Worker(commands[peer])
                    reply = fresh.ask({**base, "do": "step" if action == "memory" else "first"})
                    taken = time.perf_counter() - begin
                    if action == "memory":
                        reply = [fresh.ask({"do": "peak"})]
                    elif action == "start":
                        reply = reply and [taken]
                    fresh.end()
                else:
                    reply = worker.ask({**base, "do": action, "out": os.path.join(made[key], "saved-" + peer)})
                if reply is None:
                    found.pop(peer)
                    continue
                found[peer].append(reply)
            limit = limit_of(name, size, workers["metagraph"], arguments.seconds)
            if limit and limit[1]:
                limits.append((limit[0], statistics.median(limit[1])))
        if action not in ("start", "memory", "first"):
            for peer, worker in workers.items():
                worker.ask({**base, "do": "forget"})
        parts = ("import", "run") if action == "first" else (None,)
        for part in parts:
            medians = {}
            for peer, rounds in found.items():
                rounds = [r[part] if part else r for r in rounds]
                if rounds:
                    medians[peer] = statistics.median(statistics.median(r) for r in rounds)
            if "metagraph" not in medians:
                continue
            own = medians["metagraph"]
            show = (lambda v: "%.0f MB" % (v / 1e6)) if action == "memory" else text
            told = ", ".join("%s %s" % (key, value) for key, value in size.items() if CHARACTERS.get(key) != value or key in TOLD)
            cells = [title + (", " + part if part else "") + (" (%s)" % told), show(own)]
            for peer in PEERS[1:]:
                cells.append("%s, %.2fx" % (show(medians[peer]), medians[peer] / own) if peer in medians else "")
            if limits:
                limit = statistics.median(l[1] for l in limits)
                cells.append("%s: %s, %.2fx" % (limits[0][0], text(limit), own / limit))
            else:
                cells.append("")
            cells.append(", ".join("%gx %s" % (goal, peer) for peer, goal in goals.items()))
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    heading = ["# Results", "",
               "Written by `benches/compare/run`: medians over interleaved rounds, and how many times as long each peer takes.", "",
               "%s, %d cores; %s." % (cpu, os.cpu_count(), ", ".join("%s %s" % pair for pair in versions.items() if pair[1])), "",
               "| row | metagraph | TensorFlow | PyTorch | ONNX Runtime | limit | to reach |", "|---|---|---|---|---|---|---|"]
    with open(arguments.out, "w") as file:
        file.write("\n".join(heading + lines) + "\n")
    for worker in workers.values():
        worker.end()


main()
