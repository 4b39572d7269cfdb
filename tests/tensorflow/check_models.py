"""Models that TensorFlow builds, trains and runs now, replayed here: the same values from the same seeds."""
import base64
import gzip
import json
import os
import sys
import tempfile

import common
from common import TEXT, np, one_hot, ours, tf

BINARIES = sys.argv[1]


def proto(value):
    return base64.b64encode(tf.make_tensor_proto(value).SerializeToString()).decode()


class Recorder:
    """A session that notes what it ran and what it gave."""

    def __init__(self, name):
        self.name, self.runs = name, []
        self.graph = tf.Graph()

    def __enter__(self):
        self.scope = self.graph.as_default()
        self.scope.__enter__()
        return self

    def __exit__(self, *error):
        self.scope.__exit__(*error)

    def start(self):
        self.session = tf.Session(graph=self.graph)
        return self

    def run(self, fetches, feeds=None, targets=()):
        feeds = feeds or {}
        values = self.session.run([list(fetches), list(targets)], feeds)[0]
        self.runs.append({"feeds": {k: proto(v) for k, v in feeds.items()},
                          "fetches": [[n, proto(v)] for n, v in zip(fetches, values)], "targets": list(targets), "error": None})
        return values

    def case(self):
        definition = self.graph.as_graph_def()
        return {"name": self.name, "graph": base64.b64encode(definition.SerializeToString()).decode(),
                "ops": sorted({n.op for n in definition.node}), "runs": self.runs}


def character_lstm():
    chars, hidden = sorted(set(TEXT)), 20
    with Recorder("character LSTM with Adam") as r:
        common.build(len(chars), hidden)
        init = tf.get_default_graph().get_operation_by_name("init").name
        r.start().run([], targets=[init])
        state = np.zeros((2, 1, hidden), np.float32)
        for step in range(5):
            piece = TEXT[step * 15:step * 15 + 16]
            feeds = {"x:0": one_hot(piece[:-1], chars), "y:0": one_hot(piece[1:], chars), "init_state:0": state}
            _, c, h = r.run(["loss:0", "rnn/while/Exit_3:0", "rnn/while/Exit_4:0"], feeds, ["training"])
            state = np.array([c, h])
        r.run(["probabilities:0"], {"x:0": one_hot(TEXT[:7], chars), "init_state:0": state})
        return r.case()


def tagger():
    with Recorder("two-layer bidirectional tagger with lengths and embeddings") as r:
        tf.set_random_seed(3)
        words = tf.placeholder(tf.int32, [None, None], name="words")
        lengths = tf.placeholder(tf.int32, [None], name="lengths")
        tags = tf.placeholder(tf.int32, [None, None], name="tags")
        layer = tf.nn.embedding_lookup(tf.get_variable("embedding", [30, 8]), words)
        for number in range(2):
            with tf.variable_scope("layer%d" % number):
                cells = [tf.nn.rnn_cell.GRUCell(6) if number else tf.nn.rnn_cell.LSTMCell(6, use_peepholes=True) for _ in range(2)]
                outputs, _ = tf.nn.bidirectional_dynamic_rnn(*cells, layer, sequence_length=lengths, dtype=tf.float32)
                layer = tf.concat(outputs, -1)
        logits = tf.tensordot(layer, tf.get_variable("out", [12, 5]), 1, name="logits")
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tags, logits=logits)
        mask = tf.sequence_mask(lengths, tf.shape(words)[1], dtype=tf.float32)
        loss = tf.identity(tf.reduce_sum(losses * mask) / tf.reduce_sum(mask), name="loss")
        optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
        grads, variables = zip(*optimizer.compute_gradients(loss))
        grads, _ = tf.clip_by_global_norm(grads, 1.0)
        optimizer.apply_gradients(zip(grads, variables), name="train")
        init = tf.global_variables_initializer()
        random = np.random.RandomState(5)
        r.start().run([], targets=[init.name])
        feeds = {"words:0": random.randint(0, 30, (4, 7)).astype(np.int32), "lengths:0": np.array([7, 3, 5, 1], np.int32),
                 "tags:0": random.randint(0, 5, (4, 7)).astype(np.int32)}
        for _ in range(4):
            r.run(["loss:0"], feeds, ["train"])
        r.run([logits.name], {k: v for k, v in feeds.items() if k != "tags:0"})
        return r.case()


def classifier():
    with Recorder("convolutional classifier with batch normalization") as r:
        tf.set_random_seed(4)
        images = tf.placeholder(tf.float32, [None, 12, 12, 3], name="images")
        labels = tf.placeholder(tf.int32, [None], name="labels")
        layer = images
        for number in range(2):
            weights = tf.get_variable("conv%d" % number, [3, 3, layer.shape[-1], 8])
            layer = tf.nn.conv2d(layer, weights, [1, 1, 1, 1], "SAME")
            scale, offset = tf.get_variable("scale%d" % number, [8], initializer=tf.ones_initializer()), tf.get_variable("offset%d" % number, [8])
            layer, _, _ = tf.nn.fused_batch_norm(layer, scale, offset)
            layer = tf.nn.max_pool(tf.nn.relu(layer), [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
        flat = tf.reshape(layer, [-1, 3 * 3 * 8])
        logits = tf.nn.xw_plus_b(flat, tf.get_variable("out_w", [72, 4]), tf.get_variable("out_b", [4]), name="logits")
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), name="loss")
        tf.train.RMSPropOptimizer(0.01, momentum=0.5).minimize(loss, name="train")
        init = tf.global_variables_initializer()
        random = np.random.RandomState(6)
        r.start().run([], targets=[init.name])
        feeds = {"images:0": random.rand(5, 12, 12, 3).astype(np.float32), "labels:0": np.array([0, 1, 2, 3, 0], np.int32)}
        for _ in range(3):
            r.run(["loss:0"], feeds, ["train"])
        return r.case()


def decoder():
    with Recorder("attention and a decoding loop with a condition within") as r:
        tf.set_random_seed(5)
        memory = tf.placeholder(tf.float32, [None, 6, 8], name="memory")
        start = tf.zeros([tf.shape(memory)[0], 8])
        weights = tf.get_variable("weights", [16, 8])

        def body(step, state, history):
            scores = tf.nn.softmax(tf.einsum("bth,bh->bt", memory, state))
            context = tf.reduce_sum(memory * scores[:, :, tf.newaxis], 1)
            new = tf.tanh(tf.matmul(tf.concat([state, context], 1), weights))
            new = tf.cond(tf.equal(step % 2, 0), lambda: new + state, lambda: new * 0.5)
            return step + 1, new, history.write(step, new)

        history = tf.TensorArray(tf.float32, 5)
        _, state, history = tf.while_loop(lambda s, *_: s < 5, body, (0, start, history))
        tf.transpose(history.stack(), [1, 0, 2], name="history")
        loss = tf.reduce_sum(tf.square(state), name="loss")
        gradients = tf.gradients(loss, [weights, memory])
        init = tf.global_variables_initializer()
        r.start().run([], targets=[init.name])
        feeds = {"memory:0": np.random.RandomState(7).rand(3, 6, 8).astype(np.float32)}
        r.run(["history:0", "loss:0"] + [g.name for g in gradients], feeds)
        return r.case()


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "models.jsonl.gz")
    with gzip.open(path, "wt") as file:
        for build in (character_lstm, tagger, classifier, decoder):
            file.write(json.dumps(build()) + "\n")
    print(ours(BINARIES, "examples/replay", path), end="")
