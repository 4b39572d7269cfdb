"""Measures TensorFlow, PyTorch or ONNX Runtime for `run`: `python peer.py tensorflow|pytorch|onnxruntime`.

Takes commands as lines of JSON and answers each with a line of JSON, as driver.rs does. A row that the peer has no
counterpart for gives `null`.
"""
import json
import os
import resource
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np


def times(seconds, body):
    body()
    start, found = time.perf_counter(), []
    while len(found) < 3 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        body()
        found.append(time.perf_counter() - begin)
    return found


class TensorFlow:
    """Runs the very graph that metagraph imports."""

    def __init__(self):
        import tensorflow.compat.v1 as tf
        tf.disable_v2_behavior()
        self.tf, self.rows, self.version = tf, {}, tf.__version__

    def load(self, directory):
        tf = self.tf
        spec = json.load(open(os.path.join(directory, "row.json")))
        graph = tf.Graph()
        with graph.as_default():
            saver = tf.train.import_meta_graph(os.path.join(directory, "graph.meta"))
            session = tf.Session(graph=graph)
            if spec["variables"]:
                saver.restore(session, os.path.join(directory, "graph"))
        feeds = {name: np.load(os.path.join(directory, file)) for name, file in spec["feeds"].items()}
        fetches = spec["fetches"] + spec["targets"]

        def step():
            values = session.run(fetches, feeds)
            for name, parts in spec["carry"].items():
                feeds[name] = np.array([values[i] for i in parts])

        return step, saver, session

    def row(self, directory):
        if directory not in self.rows:
            self.rows[directory] = self.load(directory)
        return self.rows[directory]

    def step(self, command):
        return times(command["seconds"], self.row(command["dir"])[0])

    def first(self, command):
        begin = time.perf_counter()
        step = self.load(command["dir"])[0]
        loaded = time.perf_counter()
        step()
        return {"import": [loaded - begin], "run": [time.perf_counter() - loaded]}

    def save(self, command):
        _, saver, session = self.row(command["dir"])
        return times(command["seconds"], lambda: saver.save(session, command["out"], write_meta_graph=False))

    def restore(self, command):
        _, saver, session = self.row(command["dir"])
        return times(command["seconds"], lambda: saver.restore(session, os.path.join(command["dir"], "graph")))


class PyTorch:
    """The same networks with torch.nn, Adam and the usual loop."""

    def __init__(self):
        import torch
        self.torch, self.rows, self.version = torch, {}, torch.__version__

    def load(self, command):
        torch, size = self.torch, command["size"]
        kind = command["row"]
        nn = torch.nn
        if kind in ("sample", "forward", "train"):
            vocabulary, hidden, batch, layers = size["vocabulary"], size["hidden"], size["batch"], size["layers"]
            make = nn.GRU if size["cell"] == "gru" else nn.LSTM
            net, out = make(vocabulary, hidden, layers), nn.Linear(hidden, vocabulary)
            steps = size.get("steps", 1)
            picks = torch.randint(0, vocabulary, (steps, batch))
            x = nn.functional.one_hot(picks, vocabulary).float()
            zeros = torch.zeros(layers, batch, hidden)
            carried = [zeros if size["cell"] == "gru" else (zeros, zeros)]

            def forward():
                with torch.no_grad():
                    h, carried[0] = net(x, carried[0])
                    return torch.softmax(out(h), -1)

            optimizer = torch.optim.Adam([*net.parameters(), *out.parameters()], lr=1e-3)
            targets = picks.reshape(-1)

            def train():
                optimizer.zero_grad()
                h, state = net(x, carried[0])
                loss = nn.functional.cross_entropy(out(h).reshape(-1, vocabulary), targets)
                loss.backward()
                optimizer.step()
                carried[0] = state.detach() if size["cell"] == "gru" else tuple(s.detach() for s in state)
                return loss.item()

            return train if kind == "train" else forward
        if kind.startswith("bidirectional"):
            vocabulary, hidden, batch, steps = size["vocabulary"], size["hidden"], size["batch"], size["steps"]
            net, out = nn.LSTM(vocabulary, hidden, batch_first=True, bidirectional=True), nn.Linear(2 * hidden, vocabulary)
            x = nn.functional.one_hot(torch.randint(0, vocabulary, (batch, steps)), vocabulary).float()
            lengths = torch.randint(steps // 2, steps + 1, (batch,))
            targets = torch.randint(0, vocabulary, (batch,))
            optimizer = torch.optim.Adam([*net.parameters(), *out.parameters()], lr=1e-3)

            def forward():
                packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
                h, _ = nn.utils.rnn.pad_packed_sequence(net(packed)[0], batch_first=True, total_length=steps)
                return out(h.mean(1))

            def train():
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(forward(), targets)
                loss.backward()
                optimizer.step()
                return loss.item()

            def infer():
                with torch.no_grad():
                    return forward()

            return train if kind.endswith("train") else infer
        if kind == "conv":
            layers, channels = [], 3
            for layer in range(5):
                filters = size["filters"] << (layer // 2)
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
                channels = filters
                if layer % 2:
                    layers.append(nn.MaxPool2d(2))
            net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
            x = torch.rand(size["batch"], 3, size["side"], size["side"])
            targets = torch.randint(0, 10, (size["batch"],))
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

            def train():
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(x), targets)
                loss.backward()
                optimizer.step()
                return loss.item()

            return train
        return None

    def step(self, command):
        key = command["dir"]
        if key not in self.rows:
            self.rows[key] = self.load(command)
        return self.rows[key] and times(command["seconds"], self.rows[key])


class OnnxRuntime:
    """The forward passes, with ONNX's LSTM and GRU, or what stands for a cell's single step."""

    def __init__(self):
        import onnx
        import onnxruntime
        self.onnx, self.runtime, self.rows, self.version = onnx, onnxruntime, {}, onnxruntime.__version__

    def load(self, command):
        if command["row"] not in ("sample", "forward") or command["size"]["layers"] != 1:
            return None
        onnx, size = self.onnx, command["size"]
        helper, numpy_helper, float32 = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
        vocabulary, hidden, batch, steps = size["vocabulary"], size["hidden"], size["batch"], size.get("steps", 1)
        gru, gates = size["cell"] == "gru", 3 if size["cell"] == "gru" else 4
        random = np.random.RandomState(3)
        weight = lambda name, *dims: numpy_helper.from_array(random.uniform(-0.05, 0.05, dims).astype(np.float32), name)
        weights = [weight("W", 1, gates * hidden, vocabulary), weight("R", 1, gates * hidden, hidden),
                   weight("B", 1, 2 * gates * hidden), weight("out_w", hidden, vocabulary), weight("out_b", vocabulary)]
        weights.append(numpy_helper.from_array(np.array([-1, hidden], np.int64), "rows"))
        states = ["h"] if gru else ["h", "c"]
        nodes = [
            helper.make_node("GRU" if gru else "LSTM", ["x", "W", "R", "B", "", *states],
                             ["all", *(s + "_next" for s in states)], hidden_size=hidden),
            helper.make_node("Reshape", ["all", "rows"], ["flat"]),
            helper.make_node("MatMul", ["flat", "out_w"], ["product"]),
            helper.make_node("Add", ["product", "out_b"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        ]
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes, "net", [info("x", float32, [None, batch, vocabulary]), *(info(s, float32, [1, batch, hidden]) for s in states)],
            [info("probabilities", float32, None), *(info(s + "_next", float32, None) for s in states)], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        session = self.runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        x = np.zeros((steps, batch, vocabulary), np.float32)
        x[np.arange(steps), :, random.randint(0, vocabulary, steps)] = 1
        feeds = {"x": x, **{s: np.zeros((1, batch, hidden), np.float32) for s in states}}

        def step():
            _, *after = session.run(None, feeds)
            feeds.update(zip(states, after))

        return step

    step = PyTorch.step


def main():
    peer = {"tensorflow": TensorFlow, "pytorch": PyTorch, "onnxruntime": OnnxRuntime}[sys.argv[1]]()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["do"] == "peak":
                reply = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
            elif command["do"] == "version":
                reply = peer.version
            elif command["do"] == "forget":
                peer.rows.pop(command["dir"], None)
                reply = []
            else:
                reply = getattr(peer, command["do"], lambda command: None)(command)
        except Exception as error:
            reply = {"error": repr(error)[:500]}
        print(json.dumps(reply), flush=True)


main()
