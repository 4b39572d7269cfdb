"""Writes which ops TensorFlow 2.15.1 differentiates, and which it says have no gradient: python gradients.py."""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow.compat.v1  # noqa: F401, it registers the gradients
from tensorflow.python.framework import ops

registered = ops.gradient_registry._registry
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "gradients.txt"), "w") as file:
    for name in sorted(registered):
        file.write(f"{name} {'none' if registered[name]['type'] is None else 'function'}\n")
