"""The main job, both ways: what TensorFlow writes is sampled and trained on here, and what is written here there."""
import csv
import json
import os
import sys
import tempfile

import common
from common import TEXT, Trainer, np, ours, probe, tf

BINARIES = sys.argv[1]
HIDDEN, SEQUENCE, STEPS = 24, 20, 15
CHARS = sorted(set(TEXT))


def text_file(folder):
    path = os.path.join(folder, "corpus.txt")
    with open(path, "w") as file:
        file.write(TEXT)
    return path


def losses_of(folder):
    with open(os.path.join(folder, "losses.csv")) as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def close(name, got, expected, tolerance):
    worst = float(np.max(np.abs(np.asarray(got) - np.asarray(expected))))
    print("%-60s %.2e (at most %.0e)" % (name, worst, tolerance))
    if not worst <= tolerance:
        sys.exit("%s differs: %s for %s" % (name, got, expected))


with tempfile.TemporaryDirectory() as folder:
    text = text_file(folder)

    # TensorFlow's graph, node for node.
    theirs, mine = os.path.join(folder, "theirs"), os.path.join(folder, "mine")
    with tf.Graph().as_default(), tf.Session() as session:
        init, saver = common.build(len(CHARS), HIDDEN)
        session.run(init)
        os.makedirs(theirs)
        saver.save(session, os.path.join(theirs, "model"))
        initial = {v.op.name: session.run(v) for v in tf.global_variables()}
    flags = ["--text", text, "--hidden", HIDDEN, "--seq", SEQUENCE, "--sample-every", 1000]
    ours(BINARIES, "examples/train", *flags, "--dir", mine, "--steps", 0)
    found = common.differences(os.path.join(mine, "model.meta"), os.path.join(theirs, "model.meta"))
    print("graph: %d differences" % len(found))
    if found:
        sys.exit("\n".join(found[:40]))
    reader = tf.train.load_checkpoint(os.path.join(mine, "model"))
    for name, value in initial.items():
        if not np.array_equal(reader.get_tensor(name), value):
            sys.exit("the initial value of %s differs" % name)
    print("initial values: the same, bit for bit, in %d variables" % len(initial))

    # Training here goes as training there, from the same start.
    with tf.Graph().as_default(), tf.Session() as session:
        init, saver = common.build(len(CHARS), HIDDEN)
        session.run(init)
        trainer = Trainer(session, TEXT, CHARS, HIDDEN, SEQUENCE)
        expected = trainer.run(STEPS)
        saver.save(session, os.path.join(theirs, "model"))
        reference = probe(session, TEXT, CHARS, HIDDEN)
    ours(BINARIES, "examples/train", *flags, "--dir", mine, "--steps", STEPS)
    close("losses of %d steps" % STEPS, losses_of(mine), expected, 1e-4)

    # What TensorFlow saved is restored and trained on here.
    with open(os.path.join(theirs, "reference.json"), "w") as file:
        json.dump({"chars": "".join(CHARS)}, file)
    ours(BINARIES, "examples/sample", "--dir", theirs, "--length", 30, "--seed", 1)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(os.path.join(theirs, "model.meta")).restore(session, os.path.join(theirs, "model"))
        expected = Trainer(session, TEXT, CHARS, HIDDEN, SEQUENCE).run(20)
    ours(BINARIES, "examples/train", *flags, "--dir", theirs, "--steps", 20, "--resume")
    close("losses of 20 steps after TensorFlow's checkpoint", losses_of(theirs)[-20:], expected, 1e-4)

    # What was saved here is restored and trained on there.
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(os.path.join(mine, "model.meta")).restore(session, os.path.join(mine, "model"))
        for name, got, want in zip(("probabilities", "Exit_3", "Exit_4"), probe(session, TEXT, CHARS, HIDDEN), reference):
            close(name + " after training here and there", got, want, 1e-3)
        goes_on = Trainer(session, TEXT, CHARS, HIDDEN, SEQUENCE).run(5)
    if not all(np.isfinite(goes_on)) or goes_on[0] > expected[0] + 1:
        sys.exit("TensorFlow can't go on training: %s" % goes_on)
    print("TensorFlow goes on training: %s" % ", ".join("%.4f" % l for l in goes_on))
