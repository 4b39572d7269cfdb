"""Writes imported.json: graphs without contexts, and the gradients that TensorFlow 2.15.1 gives where it built them itself."""
import base64, json, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf2
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import function, graph_util

tf.disable_eager_execution()
CASES = {}
X = np.array([[0.5, -1.25], [2.0, 0.75]], np.float32)
W = np.array([[0.3, -0.2], [0.1, 0.4]], np.float32)


def case(v2=False):
    return lambda f: CASES.setdefault(f.__name__, (f, v2)) and f


def xw():
    return tf.constant(X, name="x"), tf.constant(W, name="w")


@case()
def while_power():
    x, w = xw()
    _, y = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, tf.tanh(tf.matmul(v, w))), (0, x))
    return y, [x, w]


@case()
def while_nested():
    x, w = xw()
    inner = lambda i, v: tf.while_loop(lambda j, u: j <= i, lambda j, u: (j + 1, tf.sin(tf.matmul(u, w)) + x), (0, v))[1]
    _, y = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, inner(i, v)), (0, x))
    return y, [x, w]


@case()
def cond_in_while():
    x, w = xw()
    step = lambda i, v: tf.cond(tf.equal(i % 2, 0), lambda: tf.matmul(v, w), lambda: v * v + x)
    _, y = tf.while_loop(lambda i, v: i < 5, lambda i, v: (i + 1, step(i, v)), (0, x))
    return y, [x, w]


@case()
def conds_nested_in_while():
    x, w = xw()
    inner = lambda i, v: tf.cond(i > 2, lambda: tf.exp(-v), lambda: v * w)
    step = lambda i, v: tf.cond(tf.equal(i % 2, 0), lambda: inner(i, v) + 1.0, lambda: v * x)
    _, y = tf.while_loop(lambda i, v: i < 5, lambda i, v: (i + 1, step(i, v)), (0, x))
    return y, [x, w]


@case()
def while_in_cond():
    x, w = xw()
    loop = lambda: tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, tf.matmul(v, w)), (0, x))[1]
    a = tf.cond(tf.reduce_sum(x) > 0, loop, lambda: x)
    b = tf.cond(tf.reduce_sum(x) > 100, loop, lambda: x * 3.0)
    return a * b, [x, w]


@case()
def while_in_cond_in_while():
    x, w = xw()
    loop = lambda v: tf.while_loop(lambda i, u: i < 2, lambda i, u: (i + 1, tf.sin(tf.matmul(u, w))), (0, v))[1]
    step = lambda i, v: tf.cond(tf.equal(i % 2, 0), lambda: loop(v), lambda: v + x)
    _, y = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, step(i, v)), (0, x))
    return y, [x, w]


@case()
def conds():
    x, w = xw()
    a = tf.cond(x[0, 0] > 0, lambda: tf.matmul(x, w), lambda: x)
    b = tf.cond(x[0, 1] > 0, lambda: a * 2.0, lambda: tf.cond(x[1, 1] > 0, lambda: tf.exp(a), lambda: w))
    return b, [x, w]


@case()
def array_in_while():
    x, w = xw()
    y = tf.map_fn(lambda row: tf.tanh(row * w), x)
    return tf.scan(lambda a, r: a * 0.5 + r, y), [x, w]


@case()
def gathered_in_while():
    x, w = xw()
    step = lambda i, v: (i + 1, v + tf.gather(w, i % 2) * tf.nn.embedding_lookup(x, [1])[0])
    _, y = tf.while_loop(lambda i, v: i < 3, step, (0, tf.zeros([2])))
    return y, [x, w]


@case()
def two_loops():
    x, w = xw()
    _, a = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, tf.sin(v * w)), (0, x))
    _, _, b = tf.while_loop(lambda i, s, v: i < 2, lambda i, s, v: (i + 1, s * 2.0, v * a + s), (0, w, x))
    return b, [x, w]


@case()
def shapes_unknown():
    x, w = xw()
    v = tf.placeholder_with_default(x, [None, 2])
    step = lambda i, u: (i + 1, tf.concat([u, tf.matmul(u[:1], w)], 0))
    _, y = tf.while_loop(lambda i, u: i < 3, step, (0, v), shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, 2])))
    return y * tf.reduce_mean(y), [x, w]


@case()
def rnn_with_lengths():
    x = tf.constant(np.linspace(-1, 1, 24).reshape(2, 4, 3).astype(np.float32), name="x")
    cell = tf.nn.rnn_cell.BasicLSTMCell(2)
    y, state = tf.nn.dynamic_rnn(cell, x, sequence_length=[4, 2], dtype=tf.float32)
    return tf.concat([tf.reshape(y, [-1]), tf.reshape(state.c, [-1])], 0), [x]


@case()
def pruned_exits():
    x, w = xw()
    _, s, y = tf.while_loop(lambda i, s, v: i < 3, lambda i, s, v: (i + 1, s * v, tf.sin(v * w) + s), (0, w, x))
    return y, [x, w]


@case(v2=True)
def if_op():
    x, w = xw()
    a = tf.cond(x[0, 0] > 0, lambda: tf.matmul(x, w), lambda: x)
    return a + tf.cond(x[0, 1] > 0, lambda: a * 2.0, lambda: tf.sin(w)), [x, w]


@case(v2=True)
def while_op():
    x, w = xw()
    _, y = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, tf.tanh(tf.matmul(v, w))), (0, x))
    return y, [x, w]


@case(v2=True)
def while_op_nested():
    x, w = xw()
    inner = lambda i, v: tf.while_loop(lambda j, u: j <= i, lambda j, u: (j + 1, tf.sin(tf.matmul(u, w)) + x), (0, v))[1]
    step = lambda i, v: tf.cond(tf.equal(i % 2, 0), lambda: inner(i, v), lambda: v * w)
    _, y = tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, step(i, v)), (0, x))
    return y, [x, w]


@case(v2=True)
def case_op():
    x, w = xw()
    return tf.switch_case(tf.cast(x[1, 0], tf.int32), [lambda: x, lambda: w, lambda: tf.matmul(x, w)]), [x, w]


@case(v2=True)
def list_map():
    x, w = xw()
    y = tf.map_fn(lambda row: tf.tanh(row * w), x)
    return tf.scan(lambda a, r: a * 0.5 + r, y), [x, w]


@case(v2=True)
def list_ops():
    x, w = xw()
    array = tf2.TensorArray(tf.float32, size=2, element_shape=[2]).unstack(x).write(1, w[0] * 2.0)
    a, b = array.stack(), array.gather([1, 1, 0])
    parts = tf2.TensorArray(tf.float32, size=2, element_shape=[None, 2], infer_shape=False).split(x @ w, [1, 1])
    return tf.concat([a, b, parts.concat()], 0), [x, w]


@case(v2=True)
def partitioned_call():
    x, w = xw()
    inner = tf2.function(lambda a, b: tf.sin(a) * b)
    outer = tf2.function(lambda a, b: inner(tf.matmul(a, b), b) + a)
    return outer(x, w), [x, w]


@case()
def defun():
    @function.Defun(tf.float32, tf.float32)
    def inner(a, b):
        return tf.sin(a) * b, a + b

    @function.Defun(tf.float32, tf.float32)
    def outer(a, b):
        p, q = inner(tf.matmul(a, b), b)
        return p * q + a

    x, w = xw()
    _, y = tf.while_loop(lambda i, v: i < 2, lambda i, v: (i + 1, tf.reshape(outer(v, w), [2, 2])), (0, x))
    return y + outer(w, x), [x, w]


def main():
    out = []
    for name, (build, v2) in CASES.items():
        (tf.enable_control_flow_v2 if v2 else tf.disable_control_flow_v2)()
        with tf.Graph().as_default() as g:
            tf.set_random_seed(1)
            y, xs = build()
            y = tf.identity(y, name="y")
            variables = tf.trainable_variables()
            xs = xs + [v.value() if not v.name.startswith("x") else v for v in variables]
            def_ = g.as_graph_def()
            if name == "pruned_exits":
                def_ = graph_util.extract_sub_graph(def_, ["y"] + [x.op.name for x in xs])
            init = tf.global_variables_initializer()
            grads = [tf.convert_to_tensor(d) for d in tf.gradients(tf.sin(y), xs)]
            with tf.Session() as s:
                s.run(init)
                values = s.run(variables)
                expected = s.run(grads)
        out.append(dict(
            name=name,
            graph=base64.b64encode(def_.SerializeToString()).decode(),
            variables={v.op.name: np.ravel(a).tolist() for v, a in zip(variables, values)},
            xs=[x.name for x in xs],
            gradients=[np.ravel(d).tolist() for d in expected],
        ))
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "imported.json"), "w") as f:
        json.dump(out, f, indent=0)


main()
