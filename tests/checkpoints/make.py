"""Writes the graphs and checkpoints that tests/checkpoints reads: python make.py (TensorFlow 2.15.1)."""
import gzip
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
HERE = os.path.dirname(os.path.abspath(__file__))
CPUS = tf.ConfigProto(device_count={"CPU": 2})


def variables(scope=""):
    """A partitioned variable, plain ones on two devices, one by handle."""
    with tf.variable_scope("net", partitioner=tf.fixed_size_partitioner(2)):
        tf.get_variable("table", initializer=tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 10.0]]))
    with tf.device("/cpu:0"):
        tf.get_variable("kernel", initializer=tf.constant([[0.5, -1.5, 2.5]]))
        tf.get_variable("step", initializer=tf.constant(7, tf.int64), trainable=False)
    with tf.device("/cpu:1"):
        tf.get_variable("bias", initializer=tf.constant([0.25, 0.75]))
    tf.get_variable("handle", initializer=tf.constant([3.0, 4.0], tf.float64), use_resource=True)


def write(name, **options):
    with tf.Graph().as_default(), tf.Session(config=CPUS) as session:
        variables()
        saver = tf.train.Saver(**options)
        session.run(tf.global_variables_initializer())
        prefix = os.path.join(HERE, name)
        saver.save(session, prefix, write_meta_graph=False, write_state=False)
        meta = saver.export_meta_graph()
        meta.meta_info_def.Clear()
        for node in meta.graph_def.node:
            node.attr.pop("_output_shapes", None)
        with open(prefix + ".meta.gz", "wb") as file:
            file.write(gzip.compress(meta.SerializeToString(deterministic=True), mtime=0))


if __name__ == "__main__":
    write("v2")
    write("v2_sharded", sharded=True)
    write("v1", write_version=tf.train.SaverDef.V1)
    write("v1_sharded", write_version=tf.train.SaverDef.V1, sharded=True)
