"""What the checks share: the reference program in TensorFlow, a corpus, running our programs, comparing graphs."""
import os
import subprocess
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework import tensor_util

tf.logging.set_verbosity(tf.logging.ERROR)
warnings.simplefilter("ignore")
tf.disable_v2_behavior()

TEXT = "".join("%d green bottles hanging on the wall, and if %d should fall there'd be %d.\n" % (i, i % 7, i - 1) for i in range(200, 0, -1))


def ours(binaries, program, *arguments):
    """Runs one of our programs and returns what it prints."""
    done = subprocess.run([os.path.join(binaries, program), *map(str, arguments)], capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit("%s %s: exit %d\n%s%s" % (program, " ".join(map(str, arguments)), done.returncode, done.stdout, done.stderr))
    return done.stdout


def one_hot(text, chars):
    matrix = np.zeros((len(text), 1, len(chars)), np.float32)
    matrix[np.arange(len(text)), 0, [chars.index(c) for c in text]] = 1
    return matrix


def build(vocabulary, hidden, seed=42, learning_rate=1e-2):
    """The character LSTM, as a TensorFlow 1 tutorial builds it."""
    tf.set_random_seed(seed)
    x = tf.placeholder("float", [None, 1, vocabulary], name="x")
    y = tf.placeholder("float", [None, 1, vocabulary], name="y")
    init_state = tf.placeholder(tf.float32, [2, 1, hidden], name="init_state")
    cell = tf.nn.rnn_cell.LSTMCell(hidden, state_is_tuple=True, name="celula")
    start = tf.nn.rnn_cell.LSTMStateTuple(init_state[0], init_state[1])
    w = tf.get_variable("out_w", shape=[hidden, vocabulary])
    b = tf.get_variable("out_b", shape=[vocabulary])
    h, _ = tf.nn.dynamic_rnn(cell, x, initial_state=start, time_major=True, dtype=tf.float32)
    logits = tf.matmul(h[:, 0, :], w) + b
    tf.nn.softmax(logits, name="probabilities")
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits), name="loss")
    tf.train.AdamOptimizer(learning_rate=learning_rate).minimize(loss, name="training")
    return tf.global_variables_initializer(), tf.train.Saver()


class Trainer:
    """Trains by names, with the state carried from one stretch of text to the next."""

    def __init__(self, session, text, chars, hidden, sequence):
        self.session, self.text, self.chars, self.sequence = session, text, chars, sequence
        self.state, self.step = np.zeros((2, 1, hidden), np.float32), 0

    def run(self, steps):
        losses = []
        for _ in range(steps):
            p = (self.step * self.sequence) % (len(self.text) - self.sequence - 1)
            piece = self.text[p:p + self.sequence + 1]
            feed = {"x:0": one_hot(piece[:-1], self.chars), "y:0": one_hot(piece[1:], self.chars), "init_state:0": self.state}
            loss, c, h, _ = self.session.run(["loss:0", "rnn/while/Exit_3:0", "rnn/while/Exit_4:0", "training"], feed)
            self.state, self.step = np.array([c, h]), self.step + 1
            losses.append(float(loss))
        return losses


def probe(session, text, chars, hidden):
    feed = {"x:0": one_hot(text[:7], chars), "init_state:0": np.zeros((2, 1, hidden), np.float32)}
    return session.run(["probabilities:0", "rnn/while/Exit_3:0", "rnn/while/Exit_4:0"], feed)


def differences(ours_path, theirs_path):
    """What differs between two MetaGraphDefs: nodes, order, inputs, attributes, collections, SaverDef."""
    def read(path):
        message = meta_graph_pb2.MetaGraphDef()
        with open(path, "rb") as file:
            message.ParseFromString(file.read())
        return message

    def attribute(value):
        if value.WhichOneof("value") == "tensor":
            array = tensor_util.MakeNdarray(value.tensor)
            return value.tensor.dtype, array.shape, array.tobytes() if array.dtype != object else tuple(array.ravel())
        return value.SerializeToString(deterministic=True)

    def node(n):
        return dict(op=n.op, inputs=[i for i in n.input if i[0] != "^"], control=sorted(i for i in n.input if i[0] == "^"),
                    device=n.device, attrs={k: attribute(v) for k, v in n.attr.items() if k[0] != "_" or k == "_class"})

    a, b = read(ours_path), read(theirs_path)
    ours_nodes, theirs_nodes = ({n.name: node(n) for n in m.graph_def.node} for m in (a, b))
    found = ["only ours: " + k for k in ours_nodes if k not in theirs_nodes]
    found += ["only theirs: " + k for k in theirs_nodes if k not in ours_nodes]
    for name in ours_nodes.keys() & theirs_nodes.keys():
        for field in ours_nodes[name]:
            if ours_nodes[name][field] != theirs_nodes[name][field]:
                found.append("%s: %s: %s | %s" % (name, field, ours_nodes[name][field], theirs_nodes[name][field]))
    for key in sorted(set(a.collection_def) | set(b.collection_def)):
        if a.collection_def[key] != b.collection_def[key]:
            found.append("collection " + key)
    if a.saver_def != b.saver_def:
        found.append("saver_def")
    if [n.name for n in a.graph_def.node] != [n.name for n in b.graph_def.node]:
        found.append("the order of the nodes")
    return found
