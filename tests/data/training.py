"""Writes training.txt with TensorFlow 2.15: what each training op does to a variable and its slots.

A line is `op attributes | variable and slots | other inputs | variable and slots after`.
"""
import os
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import op_def_registry

tf.disable_v2_behavior()
SCALARS = dict(lr=0.1, alpha=0.2, rho=0.9, epsilon=0.05, l1=0.02, l2=0.03, l2_shrinkage=0.01, lr_power=-0.5, momentum=0.8,
               beta1_power=0.81, beta2_power=0.998, beta1=0.9, beta2=0.999, logbase=1.5, sign_decay=0.7, beta=0.6, global_step=3)
NAMES = ["AdaMax", "Adadelta", "Adagrad", "AdagradDA", "AdagradV2", "Adam", "AdamWithAmsgrad", "AddSign", "CenteredRMSProp",
         "Ftrl", "FtrlV2", "GradientDescent", "KerasMomentum", "Momentum", "PowerSign", "ProximalAdagrad",
         "ProximalGradientDescent", "RMSProp"]


def text(a):
    a = np.asarray(a)
    short = dict(float32="f32", float64="f64", int64="i64", int32="i32")[a.dtype.name]
    def body(x):
        return "[" + " ".join(body(y) for y in x) + "]" if np.ndim(x) else repr(float(x)) if a.dtype.kind == "f" else str(x)
    return short + ("" if a.ndim else " ") + body(a)


def run(name, attrs, sparse, rng, changed={}):
    op = op_def_registry.get(("ResourceSparseApply" if sparse else "ResourceApply") + name)
    if op is None:
        return None
    slots, others = [], {}
    for arg in op.input_arg:
        if arg.type == tf.resource.as_datatype_enum:
            value = rng.normal(size=(3, 2))
            slots.append(np.float64(value if not slots else abs(value) / 3 + (arg.name == "ms")))
        elif arg.name in ("grad", "delta"):
            others[arg.name] = rng.normal(size=(3, 2))
        elif arg.name == "indices":
            others[arg.name] = np.array([2, 0, 2], np.int64)
        elif arg.name == "global_step":
            others[arg.name] = np.int64(3)
        else:
            others[arg.name] = np.float64((SCALARS | changed)[arg.name])
    with tf.Graph().as_default(), tf.Session() as s:
        handles = [tf.raw_ops.VarHandleOp(dtype=tf.float64, shape=[3, 2], shared_name="v%d" % i) for i in range(len(slots))]
        s.run([tf.raw_ops.AssignVariableOp(resource=h, value=v) for h, v in zip(handles, slots)])
        inputs = dict(zip([a.name for a in op.input_arg if a.type == tf.resource.as_datatype_enum], handles)) | others
        s.run(getattr(tf.raw_ops, op.name)(**inputs, **attrs))
        after = s.run([tf.raw_ops.ReadVariableOp(resource=h, dtype=tf.float64) for h in handles])
    flags = "".join(" %s=%s" % (k, str(v).lower()) for k, v in attrs.items())
    return " | ".join([op.name + flags] + ["; ".join(text(t) for t in ts) for ts in (slots, others.values(), after)])


rng = np.random.default_rng(7)
lines = []
for name in NAMES:
    for sparse in False, True:
        lines.append(run(name, {}, sparse, rng))
        if name in ("Adam", "Momentum", "KerasMomentum") and not (sparse and name == "Adam"):
            lines.append(run(name, dict(use_nesterov=True), sparse, rng))
        if name in ("Adagrad", "AdagradV2"):
            lines.append(run(name, dict(update_slots=False), sparse, rng))
        if name in ("Ftrl", "FtrlV2"):
            lines.append(run(name, dict(multiply_linear_by_lr=True), sparse, rng))
            lines.append(run(name, {}, sparse, rng, dict(lr_power=-0.3)))
            lines.append(run(name, dict(multiply_linear_by_lr=True), sparse, rng, dict(lr_power=-0.3, lr=0.4)))
        if name.startswith("Proximal") or name == "AdagradDA":
            lines.append(run(name, {}, sparse, rng, dict(l1=0.0)))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "training.txt"), "w") as f:
    f.writelines(line + "\n" for line in lines if line)
print(len(lines), "lines")
