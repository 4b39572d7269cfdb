"""Writes golden.txt: values of TensorFlow 2.15's random ops, one execution a row. `python golden.py > golden.txt`

A row is `op dtype key=value ... : value ...`. Values are the bits in hexadecimal, of integers the numbers. `n` is the
number of values drawn, `at` says which of them the row holds (all, if it isn't there), `run` is the number of
executions before this one in the session, and `threads` that of TensorFlow's threads.
"""
import os
import subprocess
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
raw = tf.raw_ops
FLOATS = {"f16": tf.float16, "bf16": tf.bfloat16, "f32": tf.float32, "f64": tf.float64}
INTS = {"i32": tf.int32, "i64": tf.int64, "u32": tf.uint32, "u64": tf.uint64}
TYPES = {**FLOATS, **INTS}
THREADS = 1


def run(make, runs=1):
    """The values of an op's last execution in a session of its own."""
    with tf.Graph().as_default():
        out = make()
        with tf.Session() as session:
            for _ in range(runs):
                values = session.run(out)
    return values


def text(values):
    flat = np.asarray(values).ravel()
    if flat.dtype.kind in "iu":
        return [str(v) for v in flat]
    unsigned = {2: np.uint16, 4: np.uint32, 8: np.uint64}[flat.dtype.itemsize]
    return ["%x" % v for v in flat.view(unsigned)]


def row(op, dtype, values, at=None, **fields):
    flat = np.asarray(values).ravel()
    fields["n"] = flat.size
    if at is not None:
        fields["at"] = ",".join(map(str, at))
        flat = flat[at]
    if THREADS != 1:
        fields["threads"] = THREADS
    def show(v):
        return ",".join(repr(x) for x in v) if isinstance(v, (list, tuple)) else str(v)
    print(op, dtype, *("%s=%s" % (k, show(v)) for k, v in fields.items()), ":", *text(flat))


def pick(n, k=9):
    """Some places of a large array: the ends and some between."""
    return sorted({0, 1, 2, 3, n - 1, n - 2} | {(n * i * 37 // (37 * k + 5)) for i in range(k)})


def independent(scale):
    shapes = [1, 3, 6, 17] if scale == 1 else [5000]
    for name, op in [("uniform", raw.RandomUniform), ("normal", raw.RandomStandardNormal), ("truncated", raw.TruncatedNormal)]:
        for t, dtype in FLOATS.items():
            for n in shapes:
                values = run(lambda: op(shape=[n], dtype=dtype, seed=n, seed2=-n))
                row(name, t, values, seed=n, seed2=-n)
            values = run(lambda: op(shape=[7], dtype=dtype, seed=1, seed2=2), 3)
            row(name, t, values, seed=1, seed2=2, run=2)
            n = 200003
            values = run(lambda: op(shape=[n], dtype=dtype, seed=8, seed2=1 << 40))
            row(name, t, values, pick(n), seed=8, seed2=1 << 40)
    for t, lo, hi in [("i32", 0, 10), ("i32", -2**31, 2**31 - 1), ("i32", -5, -4), ("i64", -3, 1000003), ("i64", -2**63, 2**63 - 1)]:
        make = lambda: raw.RandomUniformInt(shape=[11], minval=tf.constant(lo, TYPES[t]), maxval=tf.constant(hi, TYPES[t]), seed=4, seed2=5)
        row("uniform_int", t, run(make), seed=4, seed2=5, minval=lo, maxval=hi)
        row("uniform_int", t, run(make, 2), seed=4, seed2=5, minval=lo, maxval=hi, run=1)
    for t in INTS:
        values = run(lambda: raw.StatelessRandomUniformFullInt(shape=[7], seed=[3, -4], dtype=TYPES[t]))
        row("uniform_full_int", t, values, stateless=[3, -4])
    for n in [2, 9] + ([300] if scale > 1 else []):
        row("shuffle", "i64", run(lambda: raw.RandomShuffle(value=tf.range(n), seed=6, seed2=7), 2), seed=6, seed2=7, run=1)


def with_parameters(scale):
    samples = 3 * scale
    alphas = [0.01, 0.3, 1.0, 1.5, 20.25, 1e4]
    for t, dtype in [(t, d) for t, d in FLOATS.items() if t != "bf16"]:
        make = lambda: raw.RandomGamma(shape=[samples], alpha=tf.constant(alphas, dtype), seed=1, seed2=3)
        exact = [float(x) for x in run(lambda: tf.cast(tf.constant(alphas, dtype), tf.float64))]
        row("gamma", t, run(make), seed=1, seed2=3, alpha=exact)
        row("gamma", t, run(make, 2), seed=1, seed2=3, alpha=exact, run=1)
        make = lambda: raw.StatelessRandomGammaV2(shape=[samples, 6], seed=[1, 3], alpha=tf.constant(alphas, dtype))
        row("gamma", t, run(make), stateless=[1, 3], alpha=exact)
    rates = [-1.0, 0.0, 0.5, 9.75, 10.0, 25.5, 1e4]
    for r in ["f16", "f32", "f64", "i32"]:
        for t in ["f16", "f32", "f64", "i32", "i64"]:
            given = np.array(rates).astype(np.int32 if r == "i32" else float)
            exact = [float(x) for x in given]
            make = lambda: raw.RandomPoissonV2(shape=[samples], rate=tf.constant(given, TYPES[r]), dtype=TYPES[t], seed=2, seed2=9)
            row("poisson", t, run(make, 2), seed=2, seed2=9, rate=exact, run=1)
    make = lambda: raw.StatelessRandomPoisson(shape=[samples, 7], seed=[1, 3], lam=rates, dtype=tf.float32)
    row("poisson", "f32", run(make), stateless=[1, 3], rate=rates)
    big = [float("inf"), 1e12]
    row("poisson", "f32", run(lambda: raw.RandomPoissonV2(shape=[1], rate=np.array(big), dtype=tf.float32, seed=2, seed2=9)), seed=2, seed2=9, rate=big)
    row("poisson", "i64", run(lambda: raw.RandomPoissonV2(shape=[1], rate=np.array(big), dtype=tf.int64, seed=2, seed2=9)), seed=2, seed2=9, rate=big)
    counts = [-1.0, 3.0, 20.5, 50.0, 1000.0, 30.0, 5.0, 60000.0]
    probs = [0.5, 0.25, 0.5, 0.75, 0.3, 1.0, 0.0, 0.999]
    for p in ["f16", "f32", "f64"]:
        exact = [[float(x) for x in run(lambda: tf.cast(tf.constant(v, TYPES[p]), tf.float64))] for v in (counts, probs)]
        for t in ["f16", "f32", "f64", "i32", "i64"]:
            make = lambda: raw.StatelessRandomBinomial(shape=[samples, 8], seed=[5, 6], counts=tf.constant(counts, TYPES[p]), probs=tf.constant(probs, TYPES[p]), dtype=TYPES[t])
            row("binomial", t, run(make), stateless=[5, 6], counts=exact[0], probs=exact[1], param=p)
    degenerate = [2.0, 2.0], [0.5, float("nan")]
    for t in ["f32", "f64"]:
        make = lambda: raw.StatelessRandomBinomial(shape=[2], seed=[5, 6], counts=degenerate[0], probs=degenerate[1], dtype=TYPES[t])
        row("binomial", t, run(make), stateless=[5, 6], counts=degenerate[0], probs=degenerate[1], param="f32")
    indices = list(range(5)) + [77, 1000]
    for largest in [1000, 65535, 1 << 20, (1 << 40) + 12345]:
        for rounds in [4, 8]:
            make = lambda: raw.RandomIndexShuffle(index=np.array(indices, np.int64), seed=np.array([1, 2, 3], np.int64), max_index=np.int64(largest), rounds=rounds)
            row("index_shuffle", "i64", run(make), index=indices, key=[1, 2, 3], max_index=largest, rounds=rounds)


def sharded(scale):
    rng = np.random.RandomState(1)
    for t, dtype in FLOATS.items():
        shapes = [(1, 1, 1), (1, 3, 5), (3, 4, 7), (2, 5, 6)]
        if THREADS > 1 or scale > 1:
            shapes = [(40, 20, 300), (9, 700, 1001)] if t in ("f32", "f64") else []
        for rows, classes, samples in shapes:
            # Logits that are multiples of 1/8 are exact in every type.
            logits = np.round(rng.normal(size=(rows, classes)) * 16) / 8
            if classes == 5:
                logits[0] = [np.nan, 1, np.inf, -np.inf, 0.5]
                logits[1] = np.nan
            make = lambda: raw.Multinomial(logits=tf.constant(logits, dtype), num_samples=samples, seed=7, seed2=8)
            values = run(make, 2)
            at = None if values.size < 40 else pick(values.size, 60)
            inline = [float(x) for x in logits.ravel()] if rows < 9 else []
            if not inline:
                # The logits of large cases follow from their place.
                logits = np.array([[((r * 31 + c * 17) % 23 - 11) / 8 for c in range(classes)] for r in range(rows)])
                values = run(make, 2)
            row("multinomial", t, values, at, seed=7, seed2=8, run=1, rows=rows, classes=classes, logits=inline)
        bounds = [(0.0, 1.0, -2.0, 2.0), (0.0, 1.0, 2.0, 2.5), (1.0, 2.0, -0.5, 0.25), (-1.0, 0.5, 3.0, np.inf), (0.0, 1.0, -np.inf, -4.0), (0.5, 1.0, -10.0, 0.0)]
        for mean, stddev, low, high in bounds if t != "bf16" else []:
            parameters = dict(zip(("means", "stdevs", "minvals", "maxvals"), (np.array(x, dtype.as_numpy_dtype) for x in (mean, stddev, low, high))))
            n = 250 if THREADS == 1 else 20001
            make = lambda: raw.ParameterizedTruncatedNormal(shape=[n], **parameters, seed=3, seed2=4)
            row("parameterized", t, run(make, 2), pick(n, 9), seed=3, seed2=4, run=1, bounds=[float(x) for x in (mean, stddev, low, high)], samples=100)
        if t != "bf16":
            means = [0.0, 1.0, 2.0]
            n = 7 if THREADS == 1 else 1500
            make = lambda: raw.ParameterizedTruncatedNormal(shape=[3, n], means=tf.constant(means, dtype), stdevs=tf.constant(1.0, dtype), minvals=tf.constant(-1.0, dtype), maxvals=tf.constant(1.5, dtype), seed=3, seed2=4)
            row("parameterized", t, run(make), pick(3 * n, 9), seed=3, seed2=4, bounds=[0.0, 1.0, -1.0, 1.5], means=means, samples=n)
            make = lambda: raw.StatelessParameterizedTruncatedNormal(shape=[n, 3], seed=[3, 4], means=tf.constant(means, dtype), stddevs=tf.constant(1.0, dtype), minvals=tf.constant(-1.0, dtype), maxvals=tf.constant(1.5, dtype))
            row("stateless_parameterized", t, run(make), pick(3 * n, 9), stateless=[3, 4], bounds=[0.0, 1.0, -1.0, 1.5], means=means)


def candidates(scale):
    true = np.array([[0, 4], [2, 2], [9, 1]])
    count = 6
    unigrams = [1.0, 5.0, 0.0, 2.5, 100.0, 7.0, 1e-3, 3.0, 4.0, 0.5, 2.0, 9.0]
    samplers = {
        "uniform": (raw.UniformCandidateSampler, dict(range_max=12)),
        "log_uniform": (raw.LogUniformCandidateSampler, dict(range_max=12)),
        "learned": (raw.LearnedUnigramCandidateSampler, dict(range_max=12)),
        "fixed": (raw.FixedUnigramCandidateSampler, dict(range_max=12, unigrams=unigrams)),
        "distorted": (raw.FixedUnigramCandidateSampler, dict(range_max=12, unigrams=unigrams[:10], num_reserved_ids=2, distortion=0.75)),
        "sharded": (raw.FixedUnigramCandidateSampler, dict(range_max=10, unigrams=unigrams * 2, num_reserved_ids=6, num_shards=3, shard=1)),
    }
    for name, (op, attributes) in samplers.items():
        for unique in [False, True]:
            make = lambda: op(true_classes=true, num_true=2, num_sampled=count, unique=unique, seed=1, seed2=2, **attributes)
            for runs in [1, 3]:
                sampled, true_expected, sampled_expected = run(make, runs)
                row("candidates", name, sampled, seed=1, seed2=2, run=runs - 1, unique=int(unique))
                row("expected", name, np.concatenate([true_expected.ravel(), sampled_expected]), seed=1, seed2=2, run=runs - 1, unique=int(unique))


if __name__ == "__main__":
    scale = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=THREADS))
    if THREADS == 1:
        independent(scale)
        with_parameters(scale)
        candidates(scale)
    sharded(scale)
    if len(sys.argv) == 1:
        sys.stdout.flush()
        subprocess.run([sys.executable, sys.argv[0], "1", "2"], check=True)
