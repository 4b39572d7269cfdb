"""Writes the graphs of the rows with TensorFlow: a `.meta` file, variables, feeds as `.npy`, and `row.json` with what to run.

    python graphs.py DIR ROW KEY=VALUE...

`row.json` holds `feeds` (tensor name to file), `fetches`, `targets` and `carry`: the fed tensor that receives the stacked
values of some fetches before the next step.
"""
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
rng = np.random.RandomState(7)


def one_hot(steps, batch, vocabulary):
    matrix = np.zeros((steps, batch, vocabulary), np.float32)
    picks = rng.randint(0, vocabulary, (steps, batch))
    matrix[np.arange(steps)[:, None], np.arange(batch)[None, :], picks] = 1
    return matrix


def rnn(size, train, steps):
    """A network over one-hot characters: `cell` lstm or gru, `layers`, `hidden`, `vocabulary`, `batch`."""
    hidden, vocabulary, batch = size["hidden"], size["vocabulary"], size["batch"]
    gru = size["cell"] == "gru"
    x = tf.placeholder(tf.float32, [None, batch, vocabulary], name="x")
    y = tf.placeholder(tf.float32, [None, batch, vocabulary], name="y")
    parts = size["layers"] * (1 if gru else 2)
    init_state = tf.placeholder(tf.float32, [parts, batch, hidden], name="init_state")
    make = tf.nn.rnn_cell.GRUCell if gru else tf.nn.rnn_cell.LSTMCell
    cells = [make(hidden) for _ in range(size["layers"])]
    pieces = [init_state[i] for i in range(parts)]
    starts = pieces if gru else [tf.nn.rnn_cell.LSTMStateTuple(*pieces[i:i + 2]) for i in range(0, parts, 2)]
    cell, start = cells[0], starts[0]
    if size["layers"] > 1:
        cell, start = tf.nn.rnn_cell.MultiRNNCell(cells), tuple(starts)
    h, state = tf.nn.dynamic_rnn(cell, x, initial_state=start, time_major=True, dtype=tf.float32)
    w = tf.get_variable("out_w", shape=[hidden, vocabulary])
    b = tf.get_variable("out_b", shape=[vocabulary])
    logits = tf.matmul(tf.reshape(h, [-1, hidden]), w) + b
    probabilities = tf.nn.softmax(logits, name="probabilities")
    loss = tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits_v2(labels=tf.reshape(y, [-1, vocabulary]), logits=logits), name="loss")
    step = tf.train.AdamOptimizer(1e-3).minimize(loss, name="training")
    state = [t.name for t in tf.nest.flatten(state)] if hasattr(tf, "nest") else None
    feeds = {"x:0": one_hot(steps, batch, vocabulary), "init_state:0": np.zeros((parts, batch, hidden), np.float32)}
    carry = {"init_state:0": list(range(1, 1 + parts))}
    if train:
        feeds["y:0"] = one_hot(steps, batch, vocabulary)
        return feeds, [loss.name] + state, [step.name], carry
    return feeds, [probabilities.name] + state, [], carry


def sample(size):
    return rnn(size, False, 1)


def forward(size):
    return rnn(size, False, size["steps"])


def train(size):
    return rnn(size, True, size["steps"])


def bidirectional(size, learn):
    hidden, vocabulary, batch, steps = size["hidden"], size["vocabulary"], size["batch"], size["steps"]
    x = tf.placeholder(tf.float32, [batch, None, vocabulary], name="x")
    y = tf.placeholder(tf.float32, [batch, vocabulary], name="y")
    lengths = tf.placeholder(tf.int32, [batch], name="lengths")
    cells = [tf.nn.rnn_cell.LSTMCell(hidden) for _ in range(2)]
    outputs, _ = tf.nn.bidirectional_dynamic_rnn(*cells, x, sequence_length=lengths, dtype=tf.float32)
    logits = tf.layers.dense(tf.reduce_mean(tf.concat(outputs, 2), 1), vocabulary)
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
    step = tf.train.AdamOptimizer(1e-3).minimize(loss, name="training")
    feeds = {
        "x:0": np.ascontiguousarray(one_hot(steps, batch, vocabulary).transpose(1, 0, 2)),
        "lengths:0": rng.randint(steps // 2, steps + 1, batch).astype(np.int32),
    }
    if learn:
        feeds["y:0"] = one_hot(1, batch, vocabulary)[0]
        return feeds, [loss.name], [step.name], {}
    return feeds, [logits.name], [], {}


def conv(size):
    x = tf.placeholder(tf.float32, [None, size["side"], size["side"], 3], name="x")
    y = tf.placeholder(tf.int64, [None], name="y")
    h, filters = x, size["filters"]
    for layer in range(5):
        h = tf.layers.conv2d(h, filters << (layer // 2), 3, padding="same", activation=tf.nn.relu)
        if layer % 2:
            h = tf.layers.max_pooling2d(h, 2, 2)
    logits = tf.layers.dense(tf.reduce_mean(h, [1, 2]), 10)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    step = tf.train.AdamOptimizer(1e-3).minimize(loss, name="training")
    feeds = {
        "x:0": rng.rand(size["batch"], size["side"], size["side"], 3).astype(np.float32),
        "y:0": rng.randint(0, 10, size["batch"]).astype(np.int64),
    }
    return feeds, [loss.name], [step.name], {}


def chain(size):
    x = tf.placeholder(tf.float32, [], name="x")
    h = x
    for at in range(size["nodes"]):
        h = h + x if at % 2 else h * x
    return {"x:0": np.float32(0.5)}, [h.name], [], {}


def loop(size):
    _, out = tf.while_loop(
        lambda i, x: i < size["iterations"], lambda i, x: (i + 1, x * 0.5 + 1.0), [0, 1.0], parallel_iterations=1)
    return {}, [out.name], [], {}


def wide(size):
    """Small independent ops between two heavy ones."""
    side = size["side"]
    x = tf.placeholder(tf.float32, [side, side], name="x")
    heavy = tf.matmul(x, x)
    small = [heavy[0, 0] * float(i) for i in range(size["nodes"] // 2)]
    return {"x:0": rng.rand(side, side).astype(np.float32) / side}, [tf.reduce_sum(tf.matmul(heavy + tf.add_n(small), x)).name], [], {}


def nodes(size):
    """A graph of many nodes that all run: layers of sums with names in scopes."""
    x = tf.placeholder(tf.float32, [], name="x")
    previous = [x, x]
    with tf.get_default_graph().as_default():
        for at in range(size["nodes"]):
            previous = [previous[1], tf.raw_ops.AddV2(x=previous[0], y=previous[1], name="layer_%d/add" % at)]
    return {"x:0": np.float32(0.5)}, [previous[1].name], [], {}


def variables(size):
    """Variables of so many bytes, for save and restore."""
    count = size["variables"]
    each = size["bytes"] // 4 // count
    values = [tf.get_variable("v%d" % i, [each], initializer=tf.random_uniform_initializer()) for i in range(count)]
    return {}, [], [], {}


ROWS = {
    "sample": sample, "forward": forward, "train": train, "conv": conv, "chain": chain, "loop": loop, "wide": wide,
    "nodes": nodes, "variables": variables,
    "bidirectional": lambda size: bidirectional(size, False),
    "bidirectional_train": lambda size: bidirectional(size, True),
}


def main():
    directory, row = sys.argv[1:3]
    size = {key: int(value) if value.isdigit() else value for key, value in (a.split("=") for a in sys.argv[3:])}
    os.makedirs(directory, exist_ok=True)
    tf.set_random_seed(1)
    feeds, fetches, targets, carry = ROWS[row](size)
    for number, (name, value) in enumerate(feeds.items()):
        np.save(os.path.join(directory, "feed%d.npy" % number), value)
        feeds[name] = "feed%d.npy" % number
    has_variables = bool(tf.global_variables())
    if has_variables:
        saver = tf.train.Saver()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            saver.save(session, os.path.join(directory, "graph"), write_meta_graph=False)
        saver.export_meta_graph(os.path.join(directory, "graph.meta"))
    else:
        tf.train.export_meta_graph(os.path.join(directory, "graph.meta"))
    with open(os.path.join(directory, "row.json"), "w") as file:
        json.dump({"feeds": feeds, "fetches": fetches, "targets": targets, "carry": carry, "variables": has_variables}, file)


main()
