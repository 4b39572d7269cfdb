//! The model of the examples from within a program: what a restored session computes, and what users are told.

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use metagraph::nn::{LSTMCell, LSTMStateTuple, RnnOptions};
use metagraph::train::{self, AdamOptimizer, Optimizer, Saver};
use metagraph::{Code, DType, Graph, Result, Session, Tensor};

const VOCABULARY: usize = 5;
const HIDDEN: usize = 7;
const RESULTS: [&str; 3] = ["probabilities:0", "rnn/while/Exit_3:0", "rnn/while/Exit_4:0"];

fn model() -> Result<(Graph, Saver)> {
    let g = Graph::new();
    g.set_random_seed(42);
    let x = g.named("x").placeholder(DType::Float, [None, Some(1), Some(VOCABULARY)])?;
    let y = g.named("y").placeholder(DType::Float, [None, Some(1), Some(VOCABULARY)])?;
    let init_state = g.named("init_state").placeholder(DType::Float, [2, 1, HIDDEN])?;
    let start = LSTMStateTuple { c: g.index(init_state, &[0.into()])?, h: g.index(init_state, &[1.into()])? };
    let w = g.get_variable("out_w", [HIDDEN, VOCABULARY])?;
    let b = g.get_variable("out_b", [VOCABULARY])?;
    let options = RnnOptions { initial_state: Some(start.into()), time_major: true, ..Default::default() };
    let (h, _) = g.dynamic_rnn(&LSTMCell::new(HIDDEN).name("celula"), x, &options)?;
    let rows = g.index(h, &[(..).into(), 0.into(), (..).into()])?;
    let logits = g.add(g.matmul(rows, w.value()?)?, b.value()?)?;
    g.named("probabilities").softmax(logits)?;
    let loss = g.named("loss").reduce_mean(g.softmax_cross_entropy_with_logits_v2(y, logits)?, None, false)?;
    AdamOptimizer::new(0.01).minimize(&g.named("training"), loss)?;
    g.global_variables_initializer()?;
    let saver = Saver::new(&g)?;
    Ok((g, saver))
}

fn one_hot(columns: &[usize]) -> Tensor {
    let value = |at: usize| if columns[at / VOCABULARY] == at % VOCABULARY { 1f32 } else { 0.0 };
    Tensor::new(&[columns.len(), 1, VOCABULARY], (0..columns.len() * VOCABULARY).map(value).collect()).unwrap()
}

fn state() -> Tensor {
    Tensor::new(&[2, 1, HIDDEN], (0..2 * HIDDEN).map(|i| (i as f32 - 6.0) / 10.0).collect()).unwrap()
}

/// Name, op and inputs of each node.
fn nodes(g: &Graph) -> Vec<(String, String, Vec<String>)> {
    g.as_graph_def().node.into_iter().map(|n| (n.name, n.op, n.input)).collect()
}

#[test]
fn a_restored_session_computes_the_same_bits() {
    let folder = Folder::new("model");
    let prefix = folder.0.join("model");
    let (g, saver) = model().unwrap();
    let session = Session::new(&g);
    session.run_targets(&[g.get_operation_by_name("init").unwrap()], &[]).unwrap();
    let (x, y, state) = (one_hot(&[0, 1, 2, 3, 4, 2]), one_hot(&[1, 2, 3, 4, 2, 0]), state());
    let feeds = [("x:0", &x), ("y:0", &y), ("init_state:0", &state)];
    let training = g.get_operation_by_name("training").unwrap();
    let loss = || session.run_named(&["loss:0"], &feeds).unwrap()[0].item::<f32>().unwrap();
    let before = loss();
    for _ in 0..20 {
        let feeds: Vec<_> = feeds.iter().map(|(name, value)| (g.get_tensor_by_name(name).unwrap(), *value)).collect();
        session.run_targets(&[training], &feeds).unwrap();
    }
    assert!(loss() < before);
    saver.save(&session, &prefix).unwrap();

    let restored = Graph::new();
    let saver = train::import_meta_graph(&restored, folder.0.join("model.meta")).unwrap();
    let second = Session::new(&restored);
    saver.restore(&second, &prefix).unwrap();
    let bits = |tensors: Vec<Tensor>| -> Vec<u32> {
        tensors.iter().flat_map(|t| t.as_slice::<f32>().unwrap().iter().map(|v| v.to_bits())).collect()
    };
    let feeds = [("x:0", &x), ("init_state:0", &state)];
    assert_eq!(bits(second.run_named(&RESULTS, &feeds).unwrap()), bits(session.run_named(&RESULTS, &feeds).unwrap()));
    nodes(&restored).iter().zip(nodes(&g)).for_each(|(ours, theirs)| assert_eq!(*ours, theirs));
}

#[test]
fn users_are_told_what_is_wrong() {
    let (g, _) = model().unwrap();
    let session = Session::new(&g);
    let (x, state) = (one_hot(&[0, 1]), state());
    let error = session.run_named(&RESULTS, &[("x:0", &x), ("init_state:0", &state)]).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.to_string().contains("Attempting to use uninitialized value "), "{error}");

    let told = |fetch: &str, feeds: &[(&str, &Tensor)], parts: &[&str]| {
        let error = session.run_named(&[fetch], feeds).unwrap_err().to_string();
        parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} is not in {error:?}"));
    };
    let unnamed = g.get_tensor_by_name("probabilities").unwrap_err().to_string();
    assert!(unnamed.contains("probabilities:0"), "{unnamed}");
    told("probabilites:0", &[], &["probabilities"]);
    told("probabilities:1", &[], &["probabilities"]);
    let wrong = Tensor::new(&[2, 5], vec![0f32; 10]).unwrap();
    told("probabilities:0", &[("x:0", &wrong), ("init_state:0", &state)], &["x:0", "[2, 5]", "[?,1,5]"]);
    let wrong = Tensor::new(&[2, 1, 5], vec![0i32; 10]).unwrap();
    told("probabilities:0", &[("x:0", &wrong), ("init_state:0", &state)], &["x:0", "int32", "float"]);
    told("probabilities:0", &[("x:0", &x)], &["init_state"]);
}
