"""Writes graphs in binary and text form for tests/imports: python make.py (TensorFlow 2.15.1)."""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow as tf2
import tensorflow.compat.v1 as tf
from google.protobuf import text_format

tf.disable_v2_behavior()
HERE = os.path.dirname(os.path.abspath(__file__))


def write(name, message):
    with open(os.path.join(HERE, name + ".pb"), "wb") as file:
        file.write(message.SerializeToString(deterministic=True))
    with open(os.path.join(HERE, name + ".pbtxt"), "w") as file:
        file.write(text_format.MessageToString(message))


with tf.Graph().as_default() as graph:
    with tf.device("/job:ps/task:3/device:GPU:7"):
        x = tf.placeholder(tf.float32, [None, 2], name="x")
    odd = tf.constant([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4028235e38], name="odd")
    tf.constant([b"a\"b'\\\n\t\x00\xff", "größe".encode()], name="strings")
    tf.constant(np.array([1.5, -2.0], np.float16), name="half")
    tf.constant(np.array([1 + 2j, -3j], np.complex64), name="complex")
    tf.constant(np.array([2**63, 1], np.uint64), name="large")

    @tf2.function
    def twice(a):
        return tf.concat([a, a * 2.0], 0)

    y = twice(x)
    w = tf.get_variable("w", initializer=[[1.0, 2.0], [3.0, 4.0]])
    z = tf.matmul(y, w, name="z")
    _, total = tf.while_loop(lambda i, s: i < 3, lambda i, s: (i + 1, s + tf.reduce_sum(z)), (0, 0.0))
    tf.identity(total, name="total")
    tf.train.Saver()
    tf.add_to_collection("numbers", 7)
    tf.add_to_collection("losses", total)
    definition = graph.as_graph_def(add_shapes=True)
    # Shapes that were true before someone changed the graph.
    next(n for n in definition.node if n.name == "z").attr["_output_shapes"].list.shape[0].dim[1].size = 9
    write("graph", definition)
    meta = tf.train.export_meta_graph()
    meta.meta_info_def.ClearField("stripped_op_list")
    write("meta", meta)
