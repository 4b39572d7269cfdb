//! Saving in one session, restoring in another: within the program, in one that builds the graph again, and in one that
//! knows nothing but names.

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use metagraph::train::{self, GetVariable, Initializer, SaveOptions, Saver, SaverOptions};
use metagraph::{Code, DType, Graph, Session, Tensor};
use std::path::PathBuf;

impl Folder {
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// `y = x * w + b`, with a placeholder of any name.
fn model(placeholder: &str) -> (Graph, metagraph::Output, metagraph::Output) {
    let g = Graph::new();
    let x = g.named(placeholder).placeholder(DType::Float, [None, Some(2)]).unwrap();
    let w = g.get_variable("w", [2, 3]).unwrap();
    let b = g
        .get_variable_with(
            "b",
            GetVariable { shape: Some([3].into()), initializer: Some(Initializer::ones()), ..Default::default() },
        )
        .unwrap();
    let product = g.op("MatMul").input(x).input(w.value().unwrap()).output().unwrap();
    let y = g.op("AddV2").input(product).input(b.value().unwrap()).name("y").output().unwrap();
    (g, x, y)
}

#[test]
fn three_ways_to_restore() {
    let folder = Folder::new("three-ways");
    let prefix = folder.file("model");
    let seed: Tensor = "f32[[1 2] [3 4]]".parse().unwrap();
    let (g, x, y) = model("x");
    let init = g.global_variables_initializer().unwrap();
    let saver = Saver::new(&g).unwrap();
    let session = Session::new(&g);
    session.run_targets(&[init], &[]).unwrap();
    let expected = session.run(&[y], &[(x, &seed)]).unwrap();
    saver.save(&session, &prefix).unwrap();
    assert_eq!(metagraph::bundle::state::latest_checkpoint(&folder.0, None).unwrap().as_deref(), prefix.to_str());

    // In a new session of the same program.
    let second = Session::new(&g);
    saver.restore(&second, &prefix).unwrap();
    assert_eq!(second.run(&[y], &[(x, &seed)]).unwrap(), expected);

    // In a program that builds the same graph again, under another name for the placeholder.
    let (again, input, output) = model("other");
    let third = Session::new(&again);
    Saver::new(&again).unwrap().restore(&third, &prefix).unwrap();
    assert_eq!(third.run(&[output], &[(input, &seed)]).unwrap(), expected);

    // In a program that knows names only.
    let named = Graph::new();
    let saver = train::import_meta_graph(&named, folder.file("model.meta")).unwrap();
    let fourth = Session::new(&named);
    saver.restore(&fourth, &prefix).unwrap();
    assert_eq!(fourth.run_named(&["y:0"], &[("x:0", &seed)]).unwrap(), expected);
    assert_eq!(named.global_variables().len(), 2);
    assert_eq!(named.as_graph_def().node.len(), g.as_graph_def().node.len());
}

#[test]
fn old_checkpoints_are_removed() {
    let folder = Folder::new("max-to-keep");
    let (g, ..) = model("x");
    let init = g.global_variables_initializer().unwrap();
    let saver = Saver::with_options(&g, &SaverOptions { max_to_keep: 2, ..Default::default() }).unwrap();
    let session = Session::new(&g);
    session.run_targets(&[init], &[]).unwrap();
    for step in 1..=4 {
        saver.save_with(&session, folder.file("m"), &SaveOptions { global_step: Some(step), ..Default::default() }).unwrap();
    }
    let mut left: Vec<String> = std::fs::read_dir(&folder.0)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".index"))
        .collect();
    left.sort();
    assert_eq!(left, ["m-3.index", "m-4.index"]);
}

#[test]
fn a_restore_says_all_that_is_wrong() {
    let folder = Folder::new("report");
    let prefix = folder.file("model");
    let (g, ..) = model("x");
    let init = g.global_variables_initializer().unwrap();
    let session = Session::new(&g);
    session.run_targets(&[init], &[]).unwrap();
    Saver::new(&g).unwrap().save(&session, &prefix).unwrap();

    let other = Graph::new();
    other.get_variable("w", [2, 4]).unwrap();
    other.get_variable("c", [3]).unwrap();
    let saver = Saver::new(&other).unwrap();
    let session = Session::new(&other);
    let error = saver.restore(&session, &prefix).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("Key c not found") && text.contains("w is float32[2,3]") && text.contains("b"), "{text}");
    let report =
        saver.restore_partial(&session, prefix.to_str().unwrap(), |k| if k == "c" { "b".into() } else { k.into() }).unwrap();
    assert_eq!(report.restored, ["c"]);
    assert_eq!(report.mismatched.len(), 1);
    assert_eq!(session.run_named(&["c:0"], &[]).unwrap()[0].to_string(), "f32[1 1 1]");
    assert_eq!(saver.restore(&session, folder.file("nothing")).unwrap_err().code(), Code::NotFound);
}
