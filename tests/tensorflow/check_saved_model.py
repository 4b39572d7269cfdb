"""SavedModels and event files that a program of ours writes, read by TensorFlow's tools and by TensorBoard's package."""
import glob
import os
import subprocess
import sys
import tempfile

from common import np, ours, tf

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

BINARIES = sys.argv[1]
CLI = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")


def cli(*arguments):
    done = subprocess.run([CLI, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit("saved_model_cli %s\n%s%s" % (" ".join(arguments), done.stdout, done.stderr))
    return done.stdout


def expect(what, got, wanted):
    if got != wanted:
        sys.exit("%s: %r, expected %r" % (what, got, wanted))


with tempfile.TemporaryDirectory() as folder:
    ours(BINARIES, "examples/export", folder)
    model, logs = os.path.join(folder, "model"), os.path.join(folder, "logs")

    shown = cli("show", "--dir", model, "--all")
    for part in ("signature_def['serving_default']", "inputs['x']", "shape: (-1)", "name: y:0", "tensorflow/serving/predict"):
        if part not in shown:
            sys.exit("saved_model_cli show: %r is not in\n%s" % (part, shown))
    cli("run", "--dir", model, "--tag_set", "serve", "--signature_def", "serving_default",
        "--input_exprs", "x=[1.0, 2.0, 3.0]", "--outdir", folder)
    expect("saved_model_cli run", np.load(os.path.join(folder, "y.npy")).tolist(), [3.0, 6.0, 9.0])
    with tf.Graph().as_default(), tf.Session() as session:
        tf.saved_model.load(session, ["serve"], model)
        expect("loaded", session.run(["y:0", "words:0"], {"x:0": [2.0]})[1], b"hello")

    events = EventAccumulator(logs, size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}).Reload()
    expect("scalars", [(e.step, e.value) for e in events.Scalars("loss")], [(0, 1.0), (1, 0.5), (2, 0.25)])
    histogram = events.Histograms("weights")[-1].histogram_value
    expect("histogram", (histogram.min, histogram.max, histogram.num, histogram.sum), (-1.0, 3.0, 4.0, 4.0))
    image = events.Images("picture/image/0")[0]
    expect("image", (image.width, image.height), (2, 1))
    expect("pixels", tf.Session().run(tf.image.decode_png(image.encoded_image_string)).tolist(), [[[0], [255]]])
    expect("text", events.Tensors("note")[0].tensor_proto.string_val[0], b"**hi**")
    expect("graph", "loss" in [n.name for n in events.Graph().node], True)
    expect("files", len(glob.glob(os.path.join(logs, "events.out.tfevents.*"))), 1)
print("saved_model_cli and TensorBoard read what was written")
