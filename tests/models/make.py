"""Writes the models that tests/models.rs runs, with the values that TensorFlow 2.15.1 gives: python make.py [NAME...]."""
import gzip
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
HERE = os.path.dirname(os.path.abspath(__file__))
CELL = tf.nn.rnn_cell
MODELS = {}


def model(function):
    """Registers a function that builds a model and returns its runs: (targets, feeds, fetches) each."""
    MODELS[function.__name__] = function
    return function


def dense(x, units, name, activation=None):
    with tf.variable_scope(name):
        kernel = tf.get_variable("kernel", [x.shape[-1].value, units])
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        y = tf.nn.bias_add(tf.tensordot(x, kernel, [[x.shape.ndims - 1], [0]]), bias)
        return activation(y) if activation else y


def batch_norm(x, training, name):
    """Batch normalisation with moving averages that a training step moves through UPDATE_OPS."""
    with tf.variable_scope(name):
        depth = x.shape[-1].value
        gamma = tf.get_variable("gamma", [depth], initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", [depth], initializer=tf.zeros_initializer())
        mean = tf.get_variable("moving_mean", [depth], initializer=tf.zeros_initializer(), trainable=False)
        variance = tf.get_variable("moving_variance", [depth], initializer=tf.ones_initializer(), trainable=False)
        y, batch_mean, batch_variance = tf.cond(
            training,
            lambda: tf.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-3),
            lambda: tf.nn.fused_batch_norm(x, gamma, beta, mean, variance, epsilon=1e-3, is_training=False))
        decay = tf.cond(training, lambda: 0.9, lambda: 1.0)
        for average, value in ((mean, batch_mean), (variance, batch_variance)):
            moved = average.assign_sub((average - value) * (1.0 - decay))
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, moved)
        return y


@model
def conv_classifier():
    """A convolutional classifier with batch normalisation in training."""
    rng = np.random.RandomState(1)
    x = tf.placeholder(tf.float32, [None, 8, 8, 3], name="x")
    labels = tf.placeholder(tf.int32, [None], name="labels")
    training = tf.placeholder_with_default(False, [], name="training")
    y = x
    for layer, depth in enumerate((6, 8)):
        with tf.variable_scope("layer%d" % layer):
            filters = tf.get_variable("filters", [3, 3, y.shape[-1].value, depth])
            y = tf.nn.conv2d(y, filters, [1, 1, 1, 1], "SAME")
            y = tf.nn.relu(batch_norm(y, training, "norm"))
            y = tf.nn.max_pool(y, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    with tf.variable_scope("separable"):
        depthwise = tf.get_variable("depthwise", [3, 3, 8, 1])
        pointwise = tf.get_variable("pointwise", [1, 1, 8, 10])
        y = tf.nn.separable_conv2d(y, depthwise, pointwise, [1, 1, 1, 1], "SAME")
    y = tf.nn.dropout(tf.reduce_mean(tf.nn.elu(y), [1, 2]), rate=tf.where(training, 0.25, 0.0), seed=5)
    logits = dense(y, 4, "logits")
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    decay = 1e-3 * tf.add_n([tf.nn.l2_loss(v) for v in tf.trainable_variables() if v.shape.ndims > 1])
    total = tf.add(loss, decay, name="total")
    step = tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(0.05, step, 2, 0.5, staircase=True)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.MomentumOptimizer(rate, 0.9, use_nesterov=True).minimize(total, global_step=step, name="train")
    tf.nn.softmax(logits, name="probabilities")
    tf.reduce_mean(tf.cast(tf.nn.in_top_k(logits, labels, 1), tf.float32), name="accuracy")
    feeds = {"x:0": rng.randn(5, 8, 8, 3).astype(np.float32), "labels:0": rng.randint(0, 4, 5).astype(np.int32)}
    steps = [(["train"], dict(feeds, **{"training:0": np.array(True)}), ["total:0"]) for _ in range(3)]
    held = [v.name for v in tf.global_variables()]
    return steps + [([], feeds, ["probabilities:0", "accuracy:0"] + held)]


@model
def tagger():
    """A two-layer bidirectional LSTM tagger with sequence lengths and embeddings."""
    rng = np.random.RandomState(2)
    words = tf.placeholder(tf.int32, [None, None], name="words")
    lengths = tf.placeholder(tf.int32, [None], name="lengths")
    tags = tf.placeholder(tf.int32, [None, None], name="tags")
    keep = tf.placeholder_with_default(1.0, [], name="keep")
    y = tf.nn.embedding_lookup(tf.get_variable("embeddings", [17, 5]), words)
    for layer in range(2):
        cells = [CELL.DropoutWrapper(CELL.LSTMCell(6, use_peepholes=layer == 1), output_keep_prob=keep, seed=3 + d) for d in (0, 1)]
        outputs, _ = tf.nn.bidirectional_dynamic_rnn(
            cells[0], cells[1], y, sequence_length=lengths, dtype=tf.float32, scope="layer%d" % layer)
        y = tf.concat(outputs, 2)
    logits = dense(y, 4, "logits")
    mask = tf.sequence_mask(lengths, tf.shape(words)[1], dtype=tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tags, logits=logits)
    loss = tf.divide(tf.reduce_sum(losses * mask), tf.reduce_sum(mask), name="loss")
    held = tf.trainable_variables()
    gradients, norm = tf.clip_by_global_norm(tf.gradients(loss, held), 0.5)
    tf.identity(norm, name="norm")
    tf.train.AdagradOptimizer(0.1).apply_gradients(zip(gradients, held), name="train")
    tf.argmax(logits, 2, name="found", output_type=tf.int32)
    feeds = {
        "words:0": rng.randint(0, 17, (3, 5)).astype(np.int32),
        "lengths:0": np.array([5, 2, 4], np.int32),
        "tags:0": rng.randint(0, 4, (3, 5)).astype(np.int32),
    }
    steps = [(["train"], dict(feeds, **{"keep:0": np.float32(0.75)}), ["loss:0", "norm:0"]) for _ in range(2)]
    return steps + [([], feeds, ["loss:0", "found:0", "logits/BiasAdd:0", "embeddings:0"])]


@model
def attention():
    """An attention encoder-decoder: teacher forcing in training, a decoding loop that ends when all have ended."""
    rng = np.random.RandomState(3)
    vocabulary, size, end = 11, 6, 1
    source = tf.placeholder(tf.int32, [None, None], name="source")
    lengths = tf.placeholder(tf.int32, [None], name="lengths")
    target = tf.placeholder(tf.int32, [None, None], name="target")
    embeddings = tf.get_variable("embeddings", [vocabulary, size])
    memory, state = tf.nn.dynamic_rnn(
        CELL.GRUCell(size), tf.nn.embedding_lookup(embeddings, source), sequence_length=lengths, dtype=tf.float32)
    keys = dense(memory, size, "keys")
    mask = tf.sequence_mask(lengths, tf.shape(source)[1])
    cell = CELL.GRUCell(size, name="decoder")
    query = tf.get_variable("query", [size, size])
    score = tf.get_variable("score", [size])
    output = tf.get_variable("output", [2 * size, vocabulary])

    def decode(ids, state, context):
        inputs = tf.concat([tf.gather(embeddings, ids), context], 1)
        h, state = cell(inputs, state)
        energies = tf.reduce_sum(score * tf.tanh(keys + tf.expand_dims(tf.matmul(h, query), 1)), 2)
        energies = tf.where(mask, energies, tf.fill(tf.shape(energies), np.float32(-1e9)))
        weights = tf.nn.softmax(energies)
        context = tf.reduce_sum(tf.expand_dims(weights, 2) * memory, 1)
        return tf.matmul(tf.concat([h, context], 1), output), state, context, weights

    batch = tf.shape(source)[0]
    start = tf.zeros([batch], tf.int32)
    context = tf.zeros_like(state)
    steps = tf.shape(target)[1]
    given = tf.TensorArray(tf.int32, steps, name="given").unstack(tf.transpose(tf.concat([start[:, None], target[:, :-1]], 1)))

    def forced(t, state, context, logits):
        y, state, context, _ = decode(given.read(t), state, context)
        return t + 1, state, context, logits.write(t, y)

    loop = (0, state, context, tf.TensorArray(tf.float32, steps, name="logits"))
    _, _, _, logits = tf.while_loop(lambda t, *_: t < steps, forced, loop, name="forced")
    logits = tf.transpose(logits.stack(), [1, 0, 2])
    losses = tf.nn.softmax_cross_entropy_with_logits_v2(labels=tf.one_hot(target, vocabulary), logits=logits)
    loss = tf.reduce_mean(losses, name="loss")
    optimizer = tf.train.RMSPropOptimizer(0.01, momentum=0.5, centered=True)
    optimizer.minimize(loss, name="train")

    def free(t, ids, state, context, ended, found, attended):
        y, state, context, weights = decode(ids, state, context)
        ids = tf.where(ended, tf.fill([batch], end), tf.argmax(y, 1, output_type=tf.int32))
        return t + 1, ids, state, context, tf.logical_or(ended, tf.equal(ids, end)), found.write(t, ids), attended.write(t, weights)

    arrays = [tf.TensorArray(dtype, 0, dynamic_size=True, clear_after_read=False) for dtype in (tf.int32, tf.float32)]
    loop = (0, start, state, context, tf.zeros([batch], tf.bool), *arrays)
    results = tf.while_loop(
        lambda t, ids, state, context, ended, *_: tf.logical_and(t < 9, tf.logical_not(tf.reduce_all(ended))), free, loop,
        name="free")
    tf.identity(tf.transpose(results[5].stack()), name="found")
    tf.identity(results[6].stack(), name="attended")
    feeds = {
        "source:0": rng.randint(2, vocabulary, (3, 6)).astype(np.int32),
        "lengths:0": np.array([6, 3, 4], np.int32),
        "target:0": rng.randint(1, vocabulary, (3, 4)).astype(np.int32),
    }
    steps = [(["train"], feeds, ["loss:0"]) for _ in range(3)]
    return steps + [([], feeds, ["loss:0", "found:0", "attended:0", "score:0", "embeddings:0"])]


def layer_norm(x, name):
    with tf.variable_scope(name):
        gamma = tf.get_variable("gamma", [x.shape[-1].value], initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", [x.shape[-1].value], initializer=tf.zeros_initializer())
        mean, variance = tf.nn.moments(x, [-1], keep_dims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-5)


def gelu_tanh(x):
    return 0.5 * x * (1 + tf.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * tf.pow(x, 3))))


@model
def sampler():
    """A sampling loop after GPT-2: keys and values of the past grow, the likeliest words are drawn from."""
    vocabulary, context, width, heads, layers = 23, 16, 8, 2, 2

    def split(x):
        shape = tf.shape(x)
        return tf.transpose(tf.reshape(x, [shape[0], shape[1], heads, width // heads]), [0, 2, 1, 3])

    def attend(x, past):
        q, k, v = map(split, tf.split(dense(x, 3 * width, "qkv"), 3, axis=2))
        present = tf.stack([k, v], axis=1)
        if past is not None:
            pk, pv = tf.unstack(past, axis=1)
            k, v = tf.concat([pk, k], -2), tf.concat([pv, v], -2)
        w = tf.matmul(q, k, transpose_b=True) * tf.rsqrt(float(width // heads))
        nd, ns = tf.shape(w)[-2], tf.shape(w)[-1]
        seen = tf.cast(tf.range(nd)[:, None] >= tf.range(ns) - ns + nd, w.dtype)
        w = tf.nn.softmax(w * seen - 1e10 * (1 - seen))
        a = tf.transpose(tf.matmul(w, v), [0, 2, 1, 3])
        shape = tf.shape(a)
        a = tf.reshape(a, [shape[0], shape[1], width])
        return dense(a, width, "projection"), present

    def network(ids, past):
        with tf.variable_scope("model", reuse=tf.AUTO_REUSE):
            positions = tf.get_variable("positions", [context, width])
            words = tf.get_variable("words", [vocabulary, width])
            length = 0 if past is None else tf.shape(past)[-2]
            h = tf.gather(words, ids) + tf.gather(positions, length + tf.tile(tf.range(tf.shape(ids)[1])[None], [tf.shape(ids)[0], 1]))
            presents = []
            pasts = [None] * layers if past is None else tf.unstack(past, axis=1)
            for layer in range(layers):
                with tf.variable_scope("h%d" % layer):
                    a, present = attend(layer_norm(h, "ln_1"), pasts[layer])
                    presents.append(present)
                    h += a
                    h += dense(dense(layer_norm(h, "ln_2"), 4 * width, "fc", gelu_tanh), width, "out")
            h = layer_norm(h, "ln_f")
            logits = tf.tensordot(h, words, [[2], [1]])
            return logits, tf.stack(presents, axis=1)

    start = tf.placeholder(tf.int32, [2, None], name="start")
    length = tf.placeholder_with_default(7, [], name="length")
    temperature = tf.placeholder_with_default(0.7, [], name="temperature")
    _, past = network(start[:, :-1], None)

    def body(past, previous, output):
        logits, presents = network(previous[:, None], past)
        logits = logits[:, -1, :] / temperature
        values, _ = tf.nn.top_k(logits, k=5)
        logits = tf.where(logits < values[:, -1, None], tf.ones_like(logits) * -1e10, logits)
        sample = tf.multinomial(logits, num_samples=1, output_dtype=tf.int32, seed=11)
        return [tf.concat([past, presents], axis=-2), tf.squeeze(sample, axis=[1]), tf.concat([output, sample], axis=1)]

    past, _, tokens = tf.while_loop(
        cond=lambda *args: True, body=body, maximum_iterations=length, loop_vars=[past, start[:, -1], start],
        shape_invariants=[tf.TensorShape([2, layers, 2, heads, None, width // heads]), tf.TensorShape([2]), tf.TensorShape([2, None])],
        back_prop=False)
    tf.identity(tokens, name="tokens")
    tf.identity(past, name="past")
    tf.identity(network(start, None)[0], name="logits")
    feeds = {"start:0": np.array([[3, 1, 4], [1, 5, 9]], np.int32)}
    short = dict(feeds, **{"length:0": np.int32(3), "temperature:0": np.float32(1.5)})
    return [([], feeds, ["tokens:0", "past:0"]), ([], short, ["tokens:0"]), ([], feeds, ["logits:0", "tokens:0"])]


@model
def encoder():
    """A BERT-like encoder with Adam: masked words and a class, warmup and decay of the rate."""
    rng = np.random.RandomState(5)
    vocabulary, length, width, heads = 19, 6, 8, 2
    words = tf.placeholder(tf.int32, [None, length], name="words")
    mask = tf.placeholder(tf.int32, [None, length], name="mask")
    segments = tf.placeholder(tf.int32, [None, length], name="segments")
    places = tf.placeholder(tf.int32, [None, 2], name="places")
    masked = tf.placeholder(tf.int32, [None, 2], name="masked")
    classes = tf.placeholder(tf.int32, [None], name="classes")
    keep = tf.placeholder_with_default(1.0, [], name="keep")
    init = tf.truncated_normal_initializer(stddev=0.2, seed=1)
    with tf.variable_scope("bert", initializer=init):
        table = tf.get_variable("words", [vocabulary, width])
        h = tf.gather(table, words)
        kinds = tf.get_variable("segments", [2, width])
        h += tf.reshape(tf.matmul(tf.one_hot(tf.reshape(segments, [-1]), 2), kinds), tf.shape(h))
        h += tf.slice(tf.get_variable("positions", [10, width]), [0, 0], [length, -1])
        h = tf.nn.dropout(layer_norm(h, "norm"), rate=1 - keep, seed=7)
        bias = (1.0 - tf.cast(mask[:, None, None, :], tf.float32)) * -10000.0
        for layer in range(2):
            with tf.variable_scope("layer%d" % layer):
                def split(name):
                    y = tf.reshape(dense(h, width, name), [-1, length, heads, width // heads])
                    return tf.transpose(y, [0, 2, 1, 3])
                q, k, v = split("query"), split("key"), split("value")
                scores = tf.multiply(tf.matmul(q, k, transpose_b=True), 1.0 / np.sqrt(width / heads)) + bias
                mixed = tf.matmul(tf.nn.dropout(tf.nn.softmax(scores), rate=1 - keep, seed=8), v)
                mixed = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, length, width])
                h = layer_norm(h + dense(mixed, width, "output"), "norm_1")
                gelu = lambda x: x * 0.5 * (1.0 + tf.erf(x / np.sqrt(2.0)))
                h = layer_norm(h + dense(dense(h, 2 * width, "wide", gelu), width, "narrow"), "norm_2")
        offsets = tf.reshape(tf.range(0, tf.shape(h)[0]) * length, [-1, 1])
        chosen = tf.gather(tf.reshape(h, [-1, width]), tf.reshape(places + offsets, [-1]))
        logits = tf.matmul(chosen, table, transpose_b=True)
        logs = tf.nn.log_softmax(logits)
        words_loss = -tf.reduce_mean(tf.reduce_sum(logs * tf.one_hot(tf.reshape(masked, [-1]), vocabulary), -1))
        pooled = dense(tf.squeeze(h[:, 0:1, :], axis=1), width, "pooler", tf.tanh)
        class_logits = dense(pooled, 3, "class")
        class_loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=class_logits))
    loss = tf.add(words_loss, class_loss, name="loss")
    step = tf.train.get_or_create_global_step()
    rate = tf.train.polynomial_decay(0.01, step, 10, end_learning_rate=0.0, power=1.0)
    done = tf.cast(step, tf.float32) / 2.0
    rate = tf.cond(step < 2, lambda: 0.01 * done, lambda: rate)
    optimizer = tf.train.AdamOptimizer(rate, beta2=0.99)
    pairs = optimizer.compute_gradients(loss)
    clipped, _ = tf.clip_by_global_norm([g for g, _ in pairs], 1.0)
    optimizer.apply_gradients(zip(clipped, [v for _, v in pairs]), global_step=step, name="train")
    tf.nn.softmax(class_logits, name="probabilities")
    feeds = {
        "words:0": rng.randint(0, vocabulary, (4, length)).astype(np.int32),
        "mask:0": (np.arange(length)[None] < np.array([6, 4, 5, 2])[:, None]).astype(np.int32),
        "segments:0": rng.randint(0, 2, (4, length)).astype(np.int32),
        "places:0": rng.randint(0, 2, (4, 2)).astype(np.int32),
        "masked:0": rng.randint(0, vocabulary, (4, 2)).astype(np.int32),
        "classes:0": rng.randint(0, 3, 4).astype(np.int32),
    }
    steps = [(["train"], dict(feeds, **{"keep:0": np.float32(0.9)}), ["loss:0"]) for _ in range(3)]
    return steps + [([], feeds, ["loss:0", "probabilities:0", "global_step:0", "bert/words/Adam_1:0", "bert/words:0"])]


def main(names):
    for name in names or MODELS:
        folder = os.path.join(HERE, name)
        os.makedirs(folder, exist_ok=True)
        with tf.Graph().as_default() as graph, tf.Session() as session:
            tf.set_random_seed(42)
            runs = MODELS[name]()
            saver = tf.train.Saver()
            session.run(tf.global_variables_initializer())
            prefix = os.path.join(folder, "model")
            saver.save(session, prefix, write_meta_graph=False, write_state=False)
            meta = saver.export_meta_graph(strip_default_attrs=True, clear_devices=True)
            meta.meta_info_def.ClearField("stripped_op_list")
            for node in meta.graph_def.node:
                node.attr.pop("_output_shapes", None)
            with open(prefix + ".meta.gz", "wb") as file:
                file.write(gzip.compress(meta.SerializeToString(deterministic=True), mtime=0))
            # A session of its own, so that random ops begin anew.
            with tf.Session(graph=graph) as fresh:
                saver.restore(fresh, prefix)
                values, plan = {}, []
                for index, (targets, feeds, fetches) in enumerate(runs):
                    operations = [graph.get_operation_by_name(t) for t in targets]
                    found, _ = fresh.run([fetches, operations], feeds)
                    plan.append({"targets": targets, "feeds": sorted(feeds), "fetches": fetches})
                    values.update({"%d/feed/%s" % (index, k): np.asarray(v) for k, v in feeds.items()})
                    values.update({"%d/fetch/%s" % (index, k): v for k, v in zip(fetches, found)})
            np.savez_compressed(os.path.join(folder, "values.npz"), **{k.replace("/", "|"): v for k, v in values.items()})
            with open(os.path.join(folder, "runs.json"), "w") as file:
                json.dump(plan, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
