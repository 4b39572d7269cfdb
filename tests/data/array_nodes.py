"""Writes array_nodes.txt: the nodes that TensorFlow 2.15's array functions emit, a section a call."""
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import tensor_util

tf.disable_v2_behavior()
f32, i32, i64 = tf.float32, tf.int32, tf.int64


def p(dtype, shape, name):
    return tf.placeholder(dtype, shape, name=name)


def text(value):
    array = tensor_util.MakeNdarray(value)
    items = [("true" if v else "false") if array.dtype == bool else "%g" % v for v in array.flatten().tolist()]
    return "%s%s %s" % (array.dtype.name, list(array.shape), " ".join(items))


def section(name, build, grads=None):
    with tf.Graph().as_default() as graph:
        built = build()
        if grads:
            tf.gradients(built, [graph.get_tensor_by_name(g + ":0") for g in grads])
        print("## " + name)
        for node in graph.as_graph_def().node:
            detail = text(node.attr["value"].tensor) if node.op == "Const" else ", ".join(node.input)
            attrs = [k for k in sorted(node.attr) if k not in ("value", "dtype", "T", "shape", "Tshape", "Index") and not k.startswith("_")]
            shown = []
            for key in attrs:
                a = node.attr[key]
                kind = a.WhichOneof("value")
                if kind == "i":
                    shown.append("%s=%d" % (key, a.i))
                elif kind == "b":
                    shown.append("%s=%s" % (key, "true" if a.b else "false"))
                elif kind == "s":
                    shown.append("%s=%s" % (key, a.s.decode()))
                elif kind == "type":
                    shown.append("%s=%s" % (key, tf.as_dtype(a.type).name))
                elif kind == "list" and a.list.i:
                    shown.append("%s=%s" % (key, list(a.list.i)))
            print(("%s = %s(%s) %s" % (node.name, node.op, detail, " ".join(shown))).rstrip())


x23 = lambda: p(f32, [2, 3], "x")
xn3 = lambda: p(f32, [None, 3], "x")
xu = lambda: p(f32, None, "x")
idx = lambda: p(i32, [], "i")
idl = lambda: p(i64, [], "i")

section("shape static", lambda: (tf.shape(x23()), tf.shape(p(f32, [2], "y"), out_type=i64)))
section("shape dynamic", lambda: (tf.shape(xn3()), tf.shape(xu(), out_type=i64, name="s")))
section("size rank", lambda: (tf.size(x23()), tf.rank(x23()), tf.size(xn3()), tf.rank(xu())))
section("reshape", lambda: (tf.reshape(x23(), [3, -1]), tf.reshape(p(f32, [1, 1], "y"), [], name="r"), tf.reshape(xn3(), tf.shape(xn3()))))


def reshape_mixed():
    x = xn3()
    n = tf.shape(x)[0]
    tf.reshape(x, [n, -1, 1])
    tf.reshape(x, [2, [n][0]], name="r")


section("reshape mixed", reshape_mixed)
section("expand squeeze", lambda: (tf.expand_dims(x23(), -1), tf.squeeze(p(f32, [1, 2], "y")), tf.squeeze(p(f32, [1, 2], "z"), [0])))
section("zeros", lambda: (tf.zeros([2, 3]), tf.zeros([]), tf.zeros([40, 50]), tf.ones([2], i32), tf.ones([1000], tf.bool)))


def zeros_dynamic():
    x = xn3()
    n = tf.shape(x)[0]
    tf.zeros([n, 2])
    tf.zeros(tf.shape(x))
    tf.zeros(n)
    tf.ones([n], i64, name="o")


section("zeros dynamic", zeros_dynamic)
section("zeros like", lambda: (tf.zeros_like(x23()), tf.zeros_like(xn3()), tf.zeros_like(xn3(), dtype=i32), tf.zeros_like(p(f32, [100, 20], "y"))))
section("ones like", lambda: (tf.ones_like(x23()), tf.ones_like(xn3()), tf.ones_like(xn3(), dtype=i32), tf.ones_like(p(f32, [100, 20], "y"))))
section("zeros like unoptimized", lambda: (tf.zeros_like(x23(), optimize=False), tf.ones_like(x23(), optimize=False)))
section("fill", lambda: (tf.fill([2, 3], np.float32(7)), tf.fill(tf.shape(xn3()), True)))
section("concat", lambda: (tf.concat([x23(), x23()], 1), tf.concat([x23()], 0), tf.concat([x23(), [[np.float32(1)] * 3]], 0, name="c")))
section("split", lambda: (tf.split(x23(), 3, 1), tf.split(x23(), [1, 2], -1), tf.split(x23(), [1, -1], tf.constant(1), name="s")))
section("stack", lambda: (tf.stack([x23(), x23()]), tf.stack([x23(), x23()], axis=-1), tf.stack([idx(), 3, 5]), tf.stack([1, 2], name="k")))
section("unstack", lambda: (tf.unstack(x23()), tf.unstack(xn3(), axis=1), tf.unstack(xn3(), num=2, name="u")))
section("index", lambda: (x23()[0], x23()[:, 1], x23()[..., 1:3], x23()[None, ::2, ::-1]))


def index_tensor():
    x, i, j = xn3(), idx(), p(i64, [], "j")
    x[i]
    x[1:i]
    x[i:, 0]
    x[j]
    x[j:2]


section("index tensor", index_tensor)
section("slice", lambda: (tf.slice(x23(), [0, 1], [-1, 2]), tf.slice(xn3(), tf.shape(xn3()), [1, 1]), tf.strided_slice(x23(), [0], [1])))
section("transpose", lambda: (tf.transpose(x23()), tf.transpose(x23(), [0, 1]), tf.transpose(xu()), tf.matrix_transpose(x23()), tf.matrix_transpose(xu())))
section("tile broadcast", lambda: (tf.tile(x23(), [1, 2]), tf.broadcast_to(x23(), [4, 2, 3])))
section("pad", lambda: (tf.pad(x23(), [[1, 1], [0, 2]]), tf.pad(x23(), [[1, 1], [0, 2]], constant_values=5), tf.pad(x23(), [[1, 1], [0, 2]], mode="REFLECT")))
section("gather", lambda: (tf.gather(x23(), [1, 0]), tf.gather(x23(), idx(), axis=1), tf.gather_nd(x23(), [[0, 1]]), tf.scatter_nd([[1]], [2.5], [4])))
section("where unique", lambda: (tf.where(p(tf.bool, [None], "b")), tf.unique(p(i32, [None], "u")), tf.boolean_mask(xn3(), p(tf.bool, [None], "m"))))
section("boolean mask matrix", lambda: tf.boolean_mask(p(f32, [4, None, 5], "x"), p(tf.bool, [4, None], "m")))
section("one hot", lambda: (tf.one_hot(p(i32, [None], "y"), 3), tf.one_hot(p(i32, [None], "z"), 3, on_value=2.0, off_value=1.0, axis=0), tf.one_hot([1], 3, dtype=i32)))
section("sequence mask", lambda: (tf.sequence_mask(p(i32, [None], "n"), 5), tf.sequence_mask(p(i64, [2], "m"), dtype=f32)))
section("reverse", lambda: (tf.reverse(x23(), [0]), tf.reverse_sequence(x23(), [1, 2], seq_axis=1, batch_axis=0), tf.roll(x23(), 1, 0)))
section("diag", lambda: (tf.matrix_diag(x23()), tf.matrix_diag_part(x23(), k=1), tf.matrix_set_diag(x23(), [1.0, 2.0]), tf.diag([1.0, 2.0]), tf.matrix_band_part(x23(), 1, -1)))
section("meshgrid", lambda: tf.meshgrid(p(f32, [2], "a"), p(f32, [3], "b")))
section("space", lambda: (tf.space_to_batch_nd(p(f32, [1, 4, 1], "a"), [2], [[0, 0]]), tf.batch_to_space_nd(p(f32, [2, 2, 1], "b"), [2], [[0, 0]]), tf.space_to_depth(p(f32, [1, 2, 2, 1], "c"), 2)))
section("top k", lambda: (tf.nn.top_k(x23(), 2), tf.nn.top_k(x23(), k=idx(), sorted=False), tf.searchsorted(x23(), p(f32, [2, 1], "v"))))
section("sort", lambda: (tf.sort(x23()), tf.argsort(x23(), direction="DESCENDING"), tf.sort(x23(), axis=0, direction="DESCENDING")))
section("repeat", lambda: (tf.repeat(x23(), 2, axis=1), tf.repeat(p(f32, [2], "y"), [1, 2], axis=0)))
section("batch gather", lambda: tf.batch_gather(p(f32, [2, 3], "p"), p(i32, [2, 1], "q")))
section("gather nd batch", lambda: tf.gather_nd(p(f32, [2, 3, 4], "p"), p(i32, [2, 5, 1], "q"), batch_dims=1))
section("required paddings", lambda: tf.required_space_to_batch_paddings([5, 7], [2, 3]))
section("placeholder", lambda: (p(f32, [None, 2], "a"), tf.placeholder_with_default(tf.constant(1.0), [], name="d")))

section("grad reshape", lambda: tf.expand_dims(tf.reshape(xn3(), [-1]), 0), ["x"])
section("grad squeeze identity", lambda: tf.identity(tf.squeeze(p(f32, [2, 1], "x"))), ["x"])
section("grad concat static", lambda: tf.concat([p(f32, [2, 1], "x"), p(f32, [2, 2], "y")], 1), ["x", "y"])
section("grad concat dynamic", lambda: tf.concat([p(f32, [None, 1], "x"), p(f32, [None, 2], "y")], -1), ["x", "y"])
section("grad split", lambda: tf.split(xn3(), 3, 1), ["x"])
section("grad split v", lambda: tf.split(xn3(), [1, 2], 1), ["x"])
section("grad stack", lambda: tf.stack([p(f32, [2], "x"), p(f32, [2], "y")], axis=1), ["x", "y"])
section("grad unstack", lambda: tf.unstack(x23()), ["x"])
section("grad slice", lambda: tf.slice(xn3(), [0, 1], [1, -1]), ["x"])
section("grad index static", lambda: x23()[0], ["x"])
section("grad index dynamic", lambda: xn3()[1:, 0], ["x"])
section("grad transpose", lambda: tf.transpose(x23()), ["x"])
section("grad tile", lambda: tf.tile(xn3(), [2, 1]), ["x"])
section("grad broadcast", lambda: tf.broadcast_to(p(f32, [1, 3], "x"), [2, 3]), ["x"])
section("grad pad", lambda: tf.pad(xn3(), [[1, 1], [0, 2]]), ["x"])
section("grad mirror pad", lambda: tf.pad(xn3(), [[1, 1], [0, 2]], mode="SYMMETRIC"), ["x"])
section("grad gather", lambda: tf.gather(xn3(), [1, 0]), ["x"])
section("grad gather axis", lambda: tf.gather(xn3(), [1, 0], axis=1), ["x"])
section("grad gather batch", lambda: tf.gather(xn3(), p(i32, [None, 2], "i"), axis=1, batch_dims=1), ["x"])
section("grad gather twice", lambda: tf.gather(tf.gather(xn3(), [1, 0]), [0]), ["x"])
section("grad gather nd", lambda: (tf.gather_nd(xn3(), [[0, 1]])), ["x"])
section("grad scatter nd", lambda: tf.scatter_nd([[1], [0]], p(f32, [2], "x"), [4]), ["x"])
section("grad fill", lambda: tf.fill([2], p(f32, [], "x")), ["x"])
section("grad diag", lambda: tf.matrix_set_diag(tf.matrix_diag(p(f32, [3], "x")), tf.matrix_diag_part(p(f32, [3, 3], "y"))), ["x", "y"])
section("grad reverse", lambda: tf.reverse_sequence(tf.reverse(x23(), [1]), [1, 2], 1, 0), ["x"])
section("grad partition", lambda: tf.dynamic_partition(p(f32, [None], "x"), p(i32, [None], "n"), 2), ["x"])
section("grad stitch", lambda: tf.dynamic_stitch([[0], [1]], [p(f32, [1], "x"), p(f32, [1], "y")]), ["x", "y"])
section("grad top k", lambda: tf.nn.top_k(xn3(), 2)[0], ["x"])
section("grad space", lambda: tf.space_to_batch_nd(p(f32, [1, 4, 1], "x"), [2], [[0, 0]]), ["x"])
section("grad patches", lambda: tf.extract_image_patches(p(f32, [1, 3, 3, 1], "x"), [1, 2, 2, 1], [1, 1, 1, 1], [1, 1, 1, 1], "VALID"), ["x"])
