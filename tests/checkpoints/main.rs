//! Checkpoints of all forms, and restoring that explains itself. `make.py` wrote graphs and checkpoints with TensorFlow.

#[path = "../common/folder.rs"]
mod folder;

use flate2::read::GzDecoder;
use folder::Folder;
use metagraph::bundle::CheckpointReader;
use metagraph::proto::MetaGraphDef;
use metagraph::train::{
    GetVariable, Initializer, Partitioner, Saver, SaverOptions, import_meta_graph_def, uninitialized_variables,
};
use metagraph::{Code, DType, Graph, Result, Session, Shape};
use prost::Message;
use std::io::Read;

const FORMS: &[&str] = &["v2", "v2_sharded", "v1", "v1_sharded"];
/// The values of the graphs' variables.
const VALUES: &[(&str, &str)] = &[
    ("net/table/part_0:0", "f32[[1 2] [3 4] [5 6]]"),
    ("net/table/part_1:0", "f32[[7 8] [9 10]]"),
    ("kernel:0", "f32[[0.5 -1.5 2.5]]"),
    ("step:0", "i64 7"),
    ("bias:0", "f32[0.25 0.75]"),
    ("handle/Read/ReadVariableOp:0", "f64[3 4]"),
];

fn path(name: &str) -> String {
    format!("{}/tests/checkpoints/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The prefix or pattern by which a checkpoint is opened.
fn prefix(form: &str) -> String {
    path(if form == "v1_sharded" { "v1_sharded-?????-of-00003" } else { form })
}

fn import(form: &str) -> Result<(Graph, Saver)> {
    let mut bytes = Vec::new();
    GzDecoder::new(std::fs::File::open(path(&format!("{form}.meta.gz"))).unwrap()).read_to_end(&mut bytes).unwrap();
    let g = Graph::new();
    let saver = import_meta_graph_def(&g, MetaGraphDef::decode(bytes.as_slice()).unwrap(), &Default::default())?;
    Ok((g, saver))
}

fn check_values(g: &Graph, session: &Session, what: &str) -> Result<()> {
    for (name, expected) in VALUES {
        let got = session.run(&[g.get_tensor_by_name(name)?], &[])?;
        assert_eq!(got[0].to_string(), *expected, "{what}: {name}");
    }
    Ok(())
}

fn variable(g: &Graph, name: &str, dims: &[usize], dtype: DType) -> Result<metagraph::train::Variable> {
    let options = GetVariable {
        shape: Some(Shape::known(dims)),
        dtype: Some(dtype),
        initializer: Some(Initializer::zeros()),
        ..GetVariable::default()
    };
    g.get_variable_with(name, options)
}

#[test]
fn every_form_is_restored_by_its_own_saver() -> Result<()> {
    for form in FORMS {
        let (g, saver) = import(form)?;
        let session = Session::new(&g);
        let variables = VALUES.len();
        assert_eq!(uninitialized_variables(&session)?.len(), variables, "{form}");
        saver.restore(&session, prefix(form))?;
        check_values(&g, &session, form)?;
        assert!(uninitialized_variables(&session)?.is_empty());
        assert!(saver.check(&prefix(form))?.is_complete());
    }
    Ok(())
}

#[test]
fn savers_of_v2_restore_every_form() -> Result<()> {
    for (graph, form) in [("v2", "v1"), ("v2", "v1_sharded"), ("v2", "v2_sharded"), ("v2_sharded", "v2"), ("v2_sharded", "v1")] {
        let (g, saver) = import(graph)?;
        let session = Session::new(&g);
        saver.restore(&session, prefix(form)).map_err(|e| e.within(format!("{graph} from {form}")))?;
        check_values(&g, &session, form)?;
    }
    Ok(())
}

#[test]
fn what_is_saved_is_restored() -> Result<()> {
    let folder = Folder::new("saved");
    for form in FORMS {
        let (g, saver) = import(form)?;
        let session = Session::new(&g);
        saver.restore(&session, prefix(form))?;
        let saved = saver.save(&session, folder.0.join(form))?;
        let pattern = match *form {
            "v1_sharded" => format!("{saved}-?????-of-00003"),
            _ => saved,
        };
        let table = CheckpointReader::open(&pattern)?.read("net/table")?;
        assert_eq!(table.to_string(), "f32[[1 2] [3 4] [5 6] [7 8] [9 10]]", "{form}");
        let fresh = Session::new(&g);
        saver.restore(&fresh, &pattern)?;
        check_values(&g, &fresh, form)?;
    }
    Ok(())
}

#[test]
fn partitioned_variables_are_restored_both_ways() -> Result<()> {
    let g = Graph::new();
    let whole = variable(&g, "net/table", &[5, 2], DType::Float)?;
    let saver = Saver::new(&g)?;
    let session = Session::new(&g);
    saver.restore(&session, prefix("v2"))?;
    assert_eq!(whole.eval(&session)?.to_string(), "f32[[1 2] [3 4] [5 6] [7 8] [9 10]]");
    let folder = Folder::new("whole");
    let saved = saver.save(&session, folder.0.join("whole"))?;

    for partial in [false, true] {
        let g = Graph::new();
        let options = GetVariable {
            shape: Some(Shape::known(&[5, 2])),
            partitioner: Some(Partitioner::fixed_size(3, 0)),
            ..GetVariable::default()
        };
        g.get_variable_with("net/table", options)?;
        let saver = Saver::new(&g)?;
        let session = Session::new(&g);
        match partial {
            false => saver.restore(&session, &saved)?,
            true => assert_eq!(saver.restore_partial(&session, &saved, str::to_string)?.restored, ["net/table"]),
        }
        let parts: Vec<String> = g.global_variables().iter().map(|v| Ok(v.eval(&session)?.to_string())).collect::<Result<_>>()?;
        assert_eq!(parts, ["f32[[1 2] [3 4]]", "f32[[5 6] [7 8]]", "f32[[9 10]]"]);
    }
    Ok(())
}

#[test]
fn all_that_does_not_fit_is_said_at_once() -> Result<()> {
    let g = Graph::new();
    variable(&g, "kernle", &[1, 3], DType::Float)?;
    variable(&g, "bias", &[3], DType::Float)?;
    variable(&g, "step", &[], DType::Float)?;
    variable(&g, "net/table", &[5, 2], DType::Float)?;
    let saver = Saver::new(&g)?;
    let session = Session::new(&g);
    let error = saver.restore(&session, prefix("v2")).unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    let text = error.to_string();
    for part in [
        "Key kernle not found in checkpoint (it has kernel)",
        "bias is float32[2] in the checkpoint, float32[3] in the graph",
        "step is int64[] in the checkpoint, float32[] in the graph",
        "keys of the checkpoint are not in the graph: handle, kernel",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(uninitialized_variables(&session)?, ["kernle", "bias", "step", "net/table"]);

    let report = saver.restore_partial(&session, &prefix("v2"), str::to_string)?;
    assert_eq!(report.restored, ["net/table"]);
    assert!(!report.is_complete() && report.mismatched.len() == 2 && report.missing[0].0 == "kernle");
    assert_eq!(uninitialized_variables(&session)?, ["kernle", "bias", "step"]);

    let report = saver.restore_partial(&session, &prefix("v2"), |key| key.replace("kernle", "kernel"))?;
    assert_eq!(report.restored, ["kernle", "net/table"]);
    assert_eq!(report.extra, ["handle"]);
    assert_eq!(uninitialized_variables(&session)?, ["bias", "step"]);
    Ok(())
}

#[test]
fn keys_need_not_be_names() -> Result<()> {
    let g = Graph::new();
    let mine = variable(&g, "mine", &[1, 3], DType::Float)?;
    let other = g.get_variable_with(
        "other",
        GetVariable {
            shape: Some(Shape::known(&[2])),
            dtype: Some(DType::Double),
            initializer: Some(Initializer::zeros()),
            use_resource: Some(true),
            ..GetVariable::default()
        },
    )?;
    let list = vec![("kernel".to_string(), mine.clone()), ("handle".to_string(), other.clone())];
    let saver = Saver::with_options(&g, &SaverOptions { var_list: Some(list), ..SaverOptions::default() })?;
    for partial in [false, true] {
        let session = Session::new(&g);
        match partial {
            false => saver.restore(&session, prefix("v1"))?,
            true => assert!(saver.restore_partial(&session, &prefix("v1"), str::to_string)?.is_complete()),
        }
        assert_eq!(mine.eval(&session)?.to_string(), "f32[[0.5 -1.5 2.5]]");
        assert_eq!(other.eval(&session)?.to_string(), "f64[3 4]");
    }
    Ok(())
}

#[test]
fn old_names_of_cells_are_hinted_at() -> Result<()> {
    let folder = Folder::new("old");
    let g = Graph::new();
    let old = variable(&g, "rnn/basic_lstm_cell/weights", &[2, 4], DType::Float)?;
    let session = Session::new(&g);
    session.run_targets(&[old.initializer()?], &[])?;
    let saved = Saver::new(&g)?.save(&session, folder.0.join("old"))?;

    let g = Graph::new();
    variable(&g, "rnn/basic_lstm_cell/kernel", &[2, 4], DType::Float)?;
    let saver = Saver::new(&g)?;
    let session = Session::new(&g);
    let error = saver.restore(&session, &saved).unwrap_err().to_string();
    assert!(error.contains("rename from kernel to weights"), "{error}");
    let report = saver.restore_partial(&session, &saved, |key| key.replace("kernel", "weights"))?;
    assert!(report.is_complete() && report.extra.is_empty());
    Ok(())
}

#[test]
fn a_checkpoint_that_is_not_there() {
    let g = Graph::new();
    variable(&g, "kernel", &[1, 3], DType::Float).unwrap();
    let saver = Saver::new(&g).unwrap();
    let error = saver.restore(&Session::new(&g), path("nothing")).unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    assert!(error.to_string().contains("nothing"), "{error}");
}
