"""Writes what TensorFlow 2.15.1 builds for each case, a text file a case, next to this script.

    python make.py [CASE...]

tests/graphs.rs builds the same cases with metagraph and compares line by line. A line is a node: its name, op, inputs,
device and attributes; then come the control-flow contexts in the collections.
"""
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import dtypes, tensor_shape, tensor_util
from tensorflow.python.ops import control_flow_ops

tf.disable_v2_behavior()
CASES = {}


def case(build):
    CASES[build.__name__] = build


def dtype(number):
    return dtypes.as_dtype(number).name


def shape(message):
    return "<unknown>" if message.unknown_rank else "[%s]" % ",".join("?" if d.size < 0 else str(d.size) for d in message.dim)


def value(v):
    kind = v.WhichOneof("value")
    if kind == "b":
        return "true" if v.b else "false"
    if kind == "i":
        return str(v.i)
    if kind == "f":
        return "f" + np.float32(v.f).tobytes().hex()
    if kind == "s":
        return '"%s"' % v.s.decode()
    if kind == "type":
        return dtype(v.type)
    if kind == "shape":
        return shape(v.shape)
    if kind == "tensor":
        a = tensor_util.MakeNdarray(v.tensor)
        data = b"".join(len(x).to_bytes(4, "little") + x for x in a.ravel()) if a.dtype == object else a.tobytes()
        return "%s[%s]:%s" % (dtype(v.tensor.dtype), ",".join(map(str, a.shape)), data.hex())
    if kind == "func":
        return "@" + v.func.name
    items = []
    for field in ("s", "i", "f", "b", "type", "shape"):
        for item in getattr(v.list, field):
            items.append({"s": lambda x: '"%s"' % x.decode(), "i": str, "b": lambda x: "true" if x else "false", "type": dtype,
                          "f": lambda x: "f" + np.float32(x).tobytes().hex(), "shape": shape}[field](item))
    return "[%s]" % ", ".join(items)


def node(n):
    attrs = ", ".join("%s=%s" % (k, value(n.attr[k])) for k in sorted(n.attr))
    device = " @%s" % n.device if n.device else ""
    return "%s = %s(%s)%s {%s}" % (n.name, n.op, ", ".join(n.input), device, attrs)


def values(def_):
    external = ", ".join("%s: %s" % (k, def_.external_values[k]) for k in sorted(def_.external_values))
    return "values=[%s] external={%s}" % (", ".join(def_.values), external)


def context(c, indent=""):
    if hasattr(c, "pred_name"):
        yield "%scond %s pred=%s pivot=%s branch=%d %s" % (
            indent, c.context_name, c.pred_name, c.pivot_name, c.branch, values(c.values_def))
    else:
        yield "%swhile %s parallel=%d back_prop=%s swap=%s maximum=%s pivots=[%s, %s, %s] exits=[%s] enters=[%s] %s" % (
            indent, c.context_name, c.parallel_iterations, str(c.back_prop).lower(), str(c.swap_memory).lower(),
            c.maximum_iterations_name, c.pivot_name, c.pivot_for_pred_name, c.pivot_for_body_name,
            ", ".join(c.loop_exit_names), ", ".join(c.loop_enter_names), values(c.values_def))
    for nested in c.nested_contexts:
        yield from context(getattr(nested, nested.WhichOneof("ctxt")), indent + "  ")


def dump(graph):
    for n in graph.as_graph_def().node:
        yield node(n)
    for name in ("while_context", "cond_context"):
        for c in graph.get_collection(name):
            yield from context(c.to_proto())


def x_and_w():
    return tf.placeholder(tf.float32, [2], name="x"), tf.constant([1.0, 2.0], name="w")


@case
def while_basic():
    x, w = x_and_w()
    tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * w), [tf.constant(0), x])


@case
def while_named_maximum():
    x, w = x_and_w()
    tf.while_loop(lambda y: y < 3, lambda y: y + w[0], [tf.constant(0.0)], maximum_iterations=7, name="limited",
                  parallel_iterations=1, back_prop=False, swap_memory=True)


@case
def while_nested():
    x, w = x_and_w()

    def body(i, y):
        n = i + 1
        _, z = tf.while_loop(lambda j, z: j < i, lambda j, z: (j + 1, z * w + y), [tf.constant(0), y])
        return n, z
    tf.while_loop(lambda i, y: i < 3, body, [tf.constant(0), x])


@case
def while_nested_invariant():
    x, w = x_and_w()

    def body(i, y):
        n = i + 1
        _, z = tf.while_loop(lambda j, z: j < 2, lambda j, z: (j + 1, z * y), [tf.constant(0), w])
        return n, y + z
    tf.while_loop(lambda i, y: i < 3, body, [tf.constant(0), x])


@case
def while_shape_invariant():
    x = tf.placeholder(tf.float32, [2, 3], name="x")
    tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.concat([y, y], 0)), [tf.constant(0), x],
                  shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 3])])


@case
def while_control_inputs():
    x, w = x_and_w()
    before = tf.multiply(w, 2.0, name="before")
    with tf.control_dependencies([before]):
        def body(i, y):
            n = i + 1
            inner = tf.multiply(y, 3.0, name="inner")
            with tf.control_dependencies([inner]):
                c = tf.constant(1.0)
                return n, y * c + w
        tf.while_loop(lambda i, y: i < 3, body, [tf.constant(0), x])


@case
def while_waits_outside():
    x, w = x_and_w()
    before = tf.multiply(w, 2.0, name="before")

    def body(i, y):
        with tf.control_dependencies([before]):
            return i + 1, y * w
    tf.while_loop(lambda i, y: i < 3, body, [tf.constant(0), x])


@case
def cond_basic():
    x, w = x_and_w()
    p = tf.placeholder(tf.bool, [], name="p")
    tf.cond(p, lambda: x * w, lambda: x + 1.0)


@case
def cond_lists():
    x, w = x_and_w()
    p = tf.placeholder(tf.bool, [], name="p")
    tf.cond(p, lambda: [x, w, tf.constant(1)], lambda: [w, w, tf.constant(2)], name="choice")


@case
def cond_nested():
    x, w = x_and_w()
    p = tf.placeholder(tf.bool, [], name="p")
    q = tf.placeholder(tf.bool, [], name="q")
    tf.cond(p, lambda: tf.cond(q, lambda: x * w, lambda: x - w), lambda: tf.cond(q, lambda: x, lambda: w))


@case
def cond_operations():
    x, w = x_and_w()
    p = tf.placeholder(tf.bool, [], name="p")
    tf.cond(p, lambda: tf.group(x * w), lambda: tf.no_op())


@case
def cond_in_while():
    x, w = x_and_w()

    def body(i, y):
        return i + 1, tf.cond(i < 2, lambda: y * w, lambda: y + x)
    tf.while_loop(lambda i, y: i < 3, body, [tf.constant(0), x])


@case
def while_in_cond():
    x, w = x_and_w()
    p = tf.placeholder(tf.bool, [], name="p")

    def loop():
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * w), [tf.constant(0), x])[1]
    tf.cond(p, loop, lambda: x)


@case
def group_and_tuple():
    x, w = x_and_w()
    a, b = tf.multiply(x, w, name="a"), tf.add(x, w, name="b")
    with tf.device("/device:CPU:0"):
        c = tf.multiply(x, x, name="c")
    tf.group(a, b)
    tf.group(a, b, c, name="all")
    tf.tuple([a, b], control_inputs=[c.op])
    control_flow_ops.with_dependencies([a.op], b, name="later")


@case
def tensor_array_loop():
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    n = tf.shape(x)[0]
    source = tf.TensorArray(tf.float32, size=n, tensor_array_name="in").unstack(x)
    sink = tf.TensorArray(tf.float32, size=n)
    _, sink = tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t.write(i, source.read(i) * 2.0)), [tf.constant(0), sink])
    sink.stack()


@case
def tensor_array_ops():
    x = tf.placeholder(tf.float32, [6, 3], name="x")
    a = tf.TensorArray(tf.float32, size=3, dynamic_size=True, clear_after_read=False, element_shape=[None, 3], infer_shape=False)
    a = a.write(0, x[:2]).split(x, [1, 2, 3])
    a.concat()
    a.gather([0, 2])
    a.size()
    a.identity().read(1, name="one")
    a.close()
    b = tf.TensorArray(tf.float32, size=3, name="fixed").scatter([2, 1, 0], x[:3])
    b.size()
    b.stack(name="stacked")
    b.grad("gradients").read(0)


def three(start, body):
    """A loop that counts to three beside another variable."""
    def step(i, v):
        n = i + 1
        return n, body(i, v)
    return tf.while_loop(lambda i, v: i < 3, step, [tf.constant(0), start])[1]


@case
def grad_basic():
    x, w = x_and_w()
    y = x * w
    z = tf.add(y * y, x, name="z")
    tf.gradients([z, y], [x, w, z])


@case
def grad_options():
    x, w = x_and_w()
    y = x * w
    z = tf.add(y * y, x, name="z")
    u = tf.placeholder(tf.float32, [3], name="u")
    tf.gradients(z, [x, w, u], grad_ys=[w], name="gradients_of_z", colocate_gradients_with_ops=True, gate_gradients=True,
                 aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE, unconnected_gradients="zero")
    tf.gradients(z, [x, y], stop_gradients=[y])


@case
def grad_second():
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    y = x * x * x
    dx, = tf.gradients(y, x)
    tf.gradients(dx, x)


@case
def grad_while():
    x, w = x_and_w()
    tf.gradients(three(x, lambda i, y: y * w), [x, w])


@case
def grad_while_unknown_shape():
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    w = tf.placeholder(tf.float32, [None, 3], name="w")
    tf.gradients(three(x, lambda i, y: y * w), [x, w])


@case
def grad_while_nested():
    x, w = x_and_w()
    y = three(x, lambda i, y: three(y, lambda j, z: z * w + y) * w)
    tf.gradients(y, [x, w])


@case
def grad_while_nested_unknown_shape():
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    w = tf.placeholder(tf.float32, [None, 3], name="w")
    y = three(x, lambda i, y: three(y, lambda j, z: z * w + y) * w)
    tf.gradients(y, [x, w])


@case
def grad_while_unused_exits():
    x, w = x_and_w()
    _, y, z = tf.while_loop(lambda i, y, z: i < 3, lambda i, y, z: (i + 1, y * z, z * w), [tf.constant(0), x, w])
    tf.gradients(y, [x, w])


@case
def grad_while_independent():
    x = tf.placeholder(tf.float32, [2], name="x")
    w = tf.placeholder(tf.float32, [None], name="w")
    _, y, z, v = tf.while_loop(lambda i, y, z, v: i < 3, lambda i, y, z, v: (i + 1, y * x, x * x, w * w),
                               [tf.constant(0), x, x, w])
    tf.gradients([y, z, v], [x, w])


@case
def grad_while_cond():
    x, w = x_and_w()
    tf.gradients(three(x, lambda i, y: tf.cond(i < 2, lambda: y * w, lambda: y * y)), [x, w])


@case
def grad_while_cond_unknown_shape():
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    w = tf.placeholder(tf.float32, [None, 3], name="w")
    tf.gradients(three(x, lambda i, y: tf.cond(i < 2, lambda: y * w, lambda: y * y)), [x, w])


@case
def grad_cond():
    x, w = x_and_w()
    p = tf.placeholder(tf.bool, [], name="p")
    tf.gradients(tf.cond(p, lambda: x * w, lambda: x + 1.0), [x, w])


@case
def grad_cond_nested():
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    w = tf.placeholder(tf.float32, [None, 3], name="w")
    p = tf.placeholder(tf.bool, [], name="p")
    q = tf.placeholder(tf.bool, [], name="q")
    y = tf.cond(p, lambda: tf.cond(q, lambda: x * w, lambda: x - w), lambda: x * x)
    tf.gradients(y, [x, w])


@case
def grad_while_in_cond():
    x, w = x_and_w()
    p = tf.placeholder(tf.bool, [], name="p")
    tf.gradients(tf.cond(p, lambda: three(x, lambda i, y: y * w), lambda: x * w), [x, w])


@case
def grad_within_while():
    x, w = x_and_w()
    three(x, lambda i, y: tf.gradients(y * y * w, [y, w])[0])


@case
def grad_tensor_array():
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    n = tf.shape(x)[0]
    source = tf.TensorArray(tf.float32, size=n).unstack(x)
    sink = tf.TensorArray(tf.float32, size=n)
    _, s, sink = tf.while_loop(lambda i, s, t: i < n,
                               lambda i, s, t: (i + 1, s + source.read(i), t.write(i, source.read(i) * s)),
                               [tf.constant(0), tf.constant([1.0, 2.0, 3.0]), sink])
    tf.gradients([sink.stack(), s], x)


@case
def grad_tensor_array_split():
    x = tf.placeholder(tf.float32, [6, 3], name="x")
    a = tf.TensorArray(tf.float32, size=3, infer_shape=False).split(x, [1, 2, 3])
    tf.gradients(a.concat(), x)


@case
def grad_while_gather():
    x = tf.placeholder(tf.float32, [5, 3], name="x")
    tf.gradients(three(tf.constant([0.0, 0.0, 0.0]), lambda i, s: s + tf.gather(x, i)), x)


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        with tf.Graph().as_default() as graph:
            CASES[name]()
            with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".txt"), "w") as file:
                file.writelines(line + "\n" for line in dump(graph))
