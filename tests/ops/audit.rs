//! What a session gives against what was inferred, node by node, over whole graphs: those of the samples and of the models
//! in `tests/models` and `tests/fixtures/optimizers`. Ops that no such graph has, and that have no example, are listed.

use crate::samples::SAMPLES;
use crate::stateful::{PROGRAMS, ROWS, UNSEEN};
use crate::{Feed, run_row};
use flate2::read::GzDecoder;
use metagraph::graph::op::Kernel;
use metagraph::proto::MetaGraphDef;
use metagraph::train::import_meta_graph_def;
use metagraph::{DType, Graph, Operation, Output, Session, Shape, Tensor, numpy, ops};
use prost::Message;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Read;

/// More values of one op are not looked at.
const ENOUGH: usize = 40;

/// What was seen of the ops.
#[derive(Default)]
struct Audit {
    /// How many values of each op.
    seen: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Audit {
    /// Fetches what can be fetched, in ever smaller lots where one can't.
    fn fetch(&mut self, g: &Graph, session: &Session, outputs: &[Output], feeds: &[(Output, &Tensor)]) {
        if outputs.is_empty() {
            return;
        }
        match session.run(outputs, feeds) {
            Ok(values) => {
                for (&output, value) in outputs.iter().zip(&values) {
                    self.compare(g, output, value);
                }
            }
            Err(_) if outputs.len() > 1 => {
                let (a, b) = outputs.split_at(outputs.len() / 2);
                self.fetch(g, session, a, feeds);
                self.fetch(g, session, b, feeds);
            }
            Err(_) => {}
        }
    }

    fn compare(&mut self, g: &Graph, output: Output, value: &Tensor) {
        let op = g.op_type(output.op);
        let name = g.tensor_name(output);
        match (g.shape(output), g.dtype(output)) {
            // TensorFlow says of handles to arrays and stacks that they have two elements.
            (Ok(_), Ok(dtype)) if dtype == DType::Resource && value.dtype() == dtype => {}
            (Ok(shape), Ok(dtype)) if shape.accepts(value.dims()) && dtype == value.dtype() => {}
            (shape, dtype) => {
                self.wrong.push(format!("{op} {name}: inferred {dtype:?} {shape:?}, is {} {:?}", value.dtype(), value.dims()));
            }
        }
        *self.seen.entry(op).or_default() += 1;
    }

    fn whole(&mut self, g: &Graph, session: &Session, feeds: &[(Output, &Tensor)]) {
        let operations = g.get_operations();
        let fed: Vec<Operation> = feeds.iter().map(|f| f.0.op).collect();
        let inside = within_loops(g, &operations);
        let often = |op: Operation| self.seen.get(&g.op_type(op)).is_some_and(|&n| n >= ENOUGH);
        let outside = operations.iter().filter(|&&op| !fed.contains(&op) && !inside.contains(&op) && !often(op));
        let outputs: Vec<Output> = outside.flat_map(|&op| g.outputs(op)).collect();
        outputs.chunks(64).for_each(|lot| self.fetch(g, session, lot, feeds));
        // What has no outputs was run on the way, or is run here.
        for &op in operations.iter().filter(|&&op| g.num_outputs(op) == 0) {
            if !self.seen.contains_key(&g.op_type(op)) && session.run_targets(&[op], feeds).is_ok() {
                self.seen.insert(g.op_type(op), 1);
            }
        }
    }

    /// A MetaGraph whose variables are set to their first values.
    fn training_graph(&mut self, bytes: &[u8]) {
        let g = Graph::new();
        import_meta_graph_def(&g, MetaGraphDef::decode(bytes).unwrap(), &Default::default()).unwrap();
        let session = Session::new(&g);
        if let Ok(initialize) = g.global_variables_initializer() {
            session.run_targets(&[initialize], &[]).unwrap();
        }
        self.whole(&g, &session, &[]);
    }

    fn model(&mut self, name: &str) {
        let folder = format!("{}/tests/models/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut bytes = Vec::new();
        GzDecoder::new(fs::File::open(format!("{folder}/model.meta.gz")).unwrap()).read_to_end(&mut bytes).unwrap();
        let g = Graph::new();
        let saver = import_meta_graph_def(&g, MetaGraphDef::decode(bytes.as_slice()).unwrap(), &Default::default()).unwrap();
        let session = Session::new(&g);
        saver.restore(&session, format!("{folder}/model")).unwrap();
        let plan: Value = serde_json::from_slice(&fs::read(format!("{folder}/runs.json")).unwrap()).unwrap();
        let values = numpy::read_npz(format!("{folder}/values.npz")).unwrap();
        let feeds: Vec<(Output, &Tensor)> = plan[0]["feeds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .map(|name| (g.get_tensor_by_name(name).unwrap(), &values[&format!("0|feed|{}", name.replace('/', "|"))]))
            .collect();
        let filename = g.get_tensor_by_name(&saver.as_saver_def().filename_tensor_name).unwrap();
        let nowhere = Tensor::from(std::env::temp_dir().join("metagraph-nowhere/model").to_str().unwrap());
        let feeds: Vec<_> = feeds.into_iter().chain([(filename, &nowhere)]).collect();
        self.whole(&g, &session, &feeds);
    }
}

/// The nodes of loops, whose values can't be fetched.
fn within_loops(g: &Graph, operations: &[Operation]) -> HashSet<Operation> {
    let is = |op: Operation, name: &str| g.op_type(op).trim_start_matches("Ref") == name;
    let mut inside = HashSet::new();
    let mut stack: Vec<Operation> = operations.iter().copied().filter(|&op| is(op, "Enter")).collect();
    while let Some(op) = stack.pop() {
        if inside.insert(op) {
            let users = g.outputs(op).into_iter().flat_map(|output| g.consumers(output));
            stack.extend(users.filter(|&user| !is(user, "Exit")));
        }
    }
    inside
}

#[test]
fn values_are_as_inferred() {
    let mut audit = Audit::default();
    for sample in SAMPLES {
        let g = Graph::new();
        let values: Vec<Tensor> = sample.inputs.iter().map(|text| text.parse().unwrap()).collect();
        let xs: Vec<Output> =
            values.iter().map(|v| g.placeholder(v.dtype(), Shape::from(vec![None; v.rank()])).unwrap()).collect();
        // Some builders want static shapes.
        if (sample.build)(&g, &xs).is_ok() {
            let feeds: Vec<(Output, &Tensor)> = xs.iter().copied().zip(&values).collect();
            audit.whole(&g, &Session::new(&g), &feeds);
        }
    }
    for (name, row) in ROWS {
        let op = ops::lookup(name).unwrap_or_else(|| panic!("{name} isn't an op"));
        for feed in [Feed::Constants, Feed::Unknown] {
            if let Err(why) = run_row(op, row, feed) {
                audit.wrong.push(format!("{name}: {row} ({feed:?}): {why}"));
            }
        }
        audit.seen.insert(name.to_string(), 1);
    }
    for (name, program) in PROGRAMS {
        let g = Graph::new();
        let outputs = program(&g).unwrap_or_else(|e| panic!("{name}: {e}"));
        let session = Session::new(&g);
        if let Err(error) = session.run(&outputs, &[]) {
            audit.wrong.push(format!("{name}: {error}"));
        }
        audit.whole(&g, &session, &[]);
    }
    let folder = format!("{}/tests/fixtures/optimizers", env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "pb")) {
        audit.training_graph(&fs::read(entry).unwrap());
    }
    for model in ["conv_classifier", "tagger", "attention", "sampler", "encoder"] {
        audit.model(model);
    }
    assert!(audit.wrong.is_empty(), "{} values are not as inferred:\n{}", audit.wrong.len(), audit.wrong.join("\n"));

    let runs = |op: &&metagraph::graph::op::Op| !matches!(op.kernel, Kernel::Missing(_)) && op.rows.is_empty();
    let bare: Vec<&str> = ops::all().filter(runs).map(|op| op.name).filter(|n| !audit.seen.contains_key(*n)).collect();
    let unseen: Vec<&str> = bare.iter().copied().filter(|n| !UNSEEN.contains(n)).collect();
    let stale: Vec<&str> = UNSEEN.iter().copied().filter(|n| !bare.contains(n)).collect();
    assert!(unseen.is_empty(), "{} ops have neither an example nor a graph here: {unseen:?}", unseen.len());
    assert!(stale.is_empty(), "these are seen and need not be listed: {stale:?}");
}
