//! Models that TensorFlow built and saved: they are restored, run and trained here, and give TensorFlow's values.
//! `make.py` wrote them.

use flate2::read::GzDecoder;
use metagraph::proto::MetaGraphDef;
use metagraph::train::import_meta_graph_def;
use metagraph::{DType, Graph, Output, Rewrites, Session, SessionOptions, Tensor, numpy};
use prost::Message;
use serde_json::Value;
use std::fs;
use std::io::Read;

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.dtype() {
        DType::Float => tensor.as_slice::<f32>().unwrap().iter().map(|&v| v.into()).collect(),
        _ => tensor.to_i64s().unwrap().into_iter().map(|v| v as f64).collect(),
    }
}

fn strings<'a>(run: &'a Value, key: &str) -> Vec<&'a str> {
    run[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

/// Runs the model in `tests/models/<name>` with all rewrites and with none.
fn check(name: &str) {
    let folder = format!("{}/tests/models/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(format!("{folder}/model.meta.gz")).unwrap()).read_to_end(&mut bytes).unwrap();
    let values = numpy::read_npz(format!("{folder}/values.npz")).unwrap();
    let value = |run: usize, kind: &str, name: &str| -> Tensor {
        let key = format!("{run}|{kind}|{}", name.replace('/', "|"));
        values.get(&key).cloned().unwrap_or_else(|| panic!("there is no {key}"))
    };
    let plan: Value = serde_json::from_slice(&fs::read(format!("{folder}/runs.json")).unwrap()).unwrap();
    for rewrites in [Rewrites::ALL, Rewrites::NONE] {
        let graph = Graph::new();
        let saver = import_meta_graph_def(&graph, MetaGraphDef::decode(bytes.as_slice()).unwrap(), &Default::default()).unwrap();
        let mut options = SessionOptions::default();
        options.rewrites = rewrites;
        let session = Session::with_options(&graph, options);
        saver.restore(&session, format!("{folder}/model")).unwrap();
        for (index, run) in plan.as_array().unwrap().iter().enumerate() {
            let tensor = |name: &&str| graph.get_tensor_by_name(name).unwrap();
            let fetches: Vec<Output> = strings(run, "fetches").iter().map(tensor).collect();
            let targets: Vec<_> = strings(run, "targets").iter().map(|t| graph.get_operation_by_name(t).unwrap()).collect();
            let given: Vec<Tensor> = strings(run, "feeds").iter().map(|f| value(index, "feed", f)).collect();
            let feeds: Vec<(Output, &Tensor)> = strings(run, "feeds").iter().map(tensor).zip(&given).collect();
            let found =
                session.run_with_targets(&fetches, &targets, &feeds).unwrap_or_else(|e| panic!("{name}, run {index}: {e}"));
            for (fetch, got) in strings(run, "fetches").iter().zip(found) {
                let expected = value(index, "fetch", fetch);
                assert_eq!((got.dtype(), got.dims()), (expected.dtype(), expected.dims()), "{name}, run {index}: {fetch}");
                for (a, b) in numbers(&got).into_iter().zip(numbers(&expected)) {
                    let tolerance = if got.dtype() == DType::Float { 2e-4 * b.abs().max(0.1) } else { 0.0 };
                    assert!((a - b).abs() <= tolerance, "{name}, run {index}: {fetch} is {got}, TensorFlow has {expected}");
                }
            }
        }
    }
}

#[test]
fn convolutional_classifier_with_batch_normalization() {
    check("conv_classifier");
}

#[test]
fn bidirectional_tagger() {
    check("tagger");
}

#[test]
fn attention_encoder_decoder() {
    check("attention");
}

#[test]
fn sampling_loop() {
    check("sampler");
}

#[test]
fn encoder_with_adam() {
    check("encoder");
}
