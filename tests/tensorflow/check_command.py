"""The command on files that TensorFlow writes, and TensorFlow on files that the command writes."""
import glob
import json
import os
import subprocess
import sys
import tempfile

import common
from common import TEXT, np, one_hot, ours, tf

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

BINARIES = sys.argv[1]
NAMES = ["probabilities:0", "rnn/while/Exit_3:0", "rnn/while/Exit_4:0"]
HIDDEN = 16


def command(*arguments):
    return ours(BINARIES, "metagraph", *arguments)


def expect(what, condition):
    if not condition:
        sys.exit("%s: not as expected" % what)


def close(what, got, wanted):
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6, err_msg=what)


def frozen(path, fetches, feeds):
    with tf.Graph().as_default(), tf.Session() as session:
        definition = tf.GraphDef()
        with open(path, "rb") as file:
            definition.ParseFromString(file.read())
        tf.import_graph_def(definition, name="")
        return session.run(fetches, feeds)


def checkpoint(prefix):
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def same(what, a, b):
    expect(what, sorted(a) == sorted(b) and all(np.array_equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a))


def functions(folder):
    """A model of TensorFlow 2, which can't be made where its behaviour is switched off."""
    subprocess.run([sys.executable, os.path.join(os.path.dirname(__file__), "functions.py"), folder], check=True)


def main(folder):
    model = os.path.join(folder, "model")
    chars = sorted(set(TEXT))
    x, y, state = one_hot(TEXT[:9], chars), one_hot(TEXT[1:10], chars), np.zeros((2, 1, HIDDEN), np.float32)
    state[0, 0, 3] = 0.5
    feeds = {"x:0": x, "init_state:0": state}
    with tf.Graph().as_default(), tf.Session() as session:
        init, saver = common.build(len(chars), HIDDEN)
        session.run(init)
        saver.save(session, model)
        wanted = session.run(NAMES, feeds)
        for _ in range(4):
            session.run("training", dict(feeds, **{"y:0": y}))
        loss = session.run("loss:0", dict(feeds, **{"y:0": y}))
        tf.saved_model.simple_save(session, os.path.join(folder, "saved"), {"x": tf.get_default_graph().get_tensor_by_name("x:0")},
                                   {"p": tf.get_default_graph().get_tensor_by_name(NAMES[0])})
    source = ["--meta", model + ".meta", "--checkpoint", model]
    np.savez(os.path.join(folder, "in.npz"), **feeds, **{"y:0": y})

    out = os.path.join(folder, "out.npz")
    command("run", *source, "--feeds", os.path.join(folder, "in.npz"), "--fetch", *NAMES, "--out", out)
    close("run", [np.load(out)[n] for n in NAMES], wanted)

    trained = os.path.join(folder, "trained")
    command("run", *source, "--feeds", os.path.join(folder, "in.npz"), "--target", "training", "--repeat", 4, "--save", trained)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(trained + ".meta").restore(session, trained)
        close("training from a shell", [session.run("loss:0", dict(feeds, **{"y:0": y}))], [loss])

    path = os.path.join(folder, "frozen.pb")
    command("freeze", *source, "--fetch", *NAMES, "--out", path)
    close("frozen", frozen(path, NAMES, feeds), wanted)

    functions(os.path.join(folder, "functions"))
    report = json.loads(command("inspect", os.path.join(folder, "functions"), "--json"))
    expect("keys of a SavedModel", all(v["in_checkpoint"] for v in report["variables"]))
    expect("a healthy SavedModel", not json.loads(command("doctor", os.path.join(folder, "functions"), "--json"))["findings"])
    info = next(iter(report["signatures"]["serving_default"]["outputs"].values()))
    command("freeze", "--saved-model", os.path.join(folder, "functions"), "--fetch", "total", "--out", path)
    total = frozen(path, [info["name"]], {"serving_default_ids:0": [0, 3]})
    close("frozen functions", total, [np.array([9, 11, 13], np.float32) * 6 - 2])

    for extension in ("npz", "safetensors"):
        there, back = os.path.join(folder, "weights." + extension), os.path.join(folder, "back_" + extension)
        command("convert", model, there)
        command("convert", there, back)
        same("converted " + extension, checkpoint(model), checkpoint(back))

    for name in ("model", "saved", "functions"):
        for form in ("svg", "html", "dot"):
            command("graph", os.path.join(folder, name), "--out", os.path.join(folder, "graph." + form))

    logs, text = os.path.join(folder, "logs"), os.path.join(folder, "text.txt")
    with open(text, "w") as file:
        file.write(TEXT)
    ours(BINARIES, "examples/train", "--text", text, "--dir", os.path.join(folder, "trained_here"), "--hidden", HIDDEN,
         "--seq", 10, "--steps", 21, "--length", 5, "--logdir", logs)
    expect("one event file", len(glob.glob(os.path.join(logs, "events.out.tfevents.*"))) == 1)
    events = EventAccumulator(logs, size_guidance={"scalars": 0, "histograms": 0}).Reload()
    with open(os.path.join(folder, "trained_here", "losses.csv")) as file:
        losses = [float(line.split(",")[1]) for line in file.readlines()[1:]]
    scalars = events.Scalars("summaries/loss")
    expect("steps of the loss", [e.step for e in scalars] == [0, 10, 20])
    close("losses", [e.value for e in scalars], losses[::10])
    histogram = events.Histograms("summaries/out_w")[-1].histogram_value
    expect("histogram", histogram.num == HIDDEN * len(chars) and histogram.min < 0 < histogram.max)
    expect("graph", "rnn/while/Exit_3" in [n.name for n in events.Graph().node])


with tempfile.TemporaryDirectory() as temporary:
    main(temporary)
print("the command and TensorFlow read each other's files")
