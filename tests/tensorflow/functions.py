"""Saves a model of TensorFlow 2 whose variables are handed to functions by their handles: functions.py DIR."""
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf


class Model(tf.Module):
    def __init__(self):
        self.table = tf.Variable(tf.reshape(tf.range(12.0), [4, 3]))
        self.scale = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def embed(self, ids):
        return tf.gather(self.table, ids) * self.scale

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def __call__(self, ids):
        total = tf.zeros([3])
        for _ in tf.range(3):
            total += tf.reduce_sum(self.embed(ids), 0)
        if tf.reduce_sum(total) > 10.0:
            total -= self.scale
        return {"total": total}


model = Model()
tf.saved_model.save(model, sys.argv[1], signatures=model.__call__)
