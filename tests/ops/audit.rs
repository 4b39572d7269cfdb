//! What each node of a run gave against what was inferred of it, over whole graphs: programs, those of the samples and of
//! the models in `tests/models` and `tests/fixtures/optimizers`. Ops that no such graph runs, and that have no example, are
//! listed.

use crate::program::{Program, programs};
use crate::samples::SAMPLES;
use crate::stateful::{ROWS, UNSEEN};
use crate::{Feed, run_row};
use flate2::read::GzDecoder;
use metagraph::graph::op::Kernel;
use metagraph::proto::MetaGraphDef;
use metagraph::train::{Saver, import_meta_graph_def};
use metagraph::{
    Graph, Operation, Output, Rewrites, RunMetadata, RunOptions, Session, SessionOptions, Shape, Tensor, numpy, ops,
};
use prost::Message;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Read;

/// What was seen of the ops.
#[derive(Default)]
struct Audit {
    /// How many runs of each op.
    seen: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Audit {
    /// Runs what can be run, in ever smaller lots where one can't.
    fn run(&mut self, session: &Session, targets: &[Operation], feeds: &[(Output, &Tensor)]) {
        match session.run_with_options(&[], targets, feeds, &RunOptions::described()) {
            Ok((_, told)) => self.compare(session.graph(), &told),
            Err(_) if targets.len() > 1 => {
                let (a, b) = targets.split_at(targets.len() / 2);
                self.run(session, a, feeds);
                self.run(session, b, feeds);
            }
            Err(_) => {}
        }
    }

    fn compare(&mut self, g: &Graph, told: &RunMetadata) {
        for event in &told.events {
            let node = &told.nodes[event.node];
            let op = g.get_operation_by_name(&node.name).unwrap();
            let live = event.outputs.is_empty() || event.outputs.iter().any(Option::is_some);
            *self.seen.entry(node.op.to_string()).or_default() += usize::from(live);
            assert_eq!(event.outputs.len(), g.num_outputs(op), "{}", node.name);
        }
        for (output, given) in told.unlike_inferred(g) {
            let (dtype, shape) = (g.dtype(output).unwrap(), g.shape(output).unwrap());
            let name = g.tensor_name(output);
            self.wrong.push(format!("{} {name}: inferred {dtype}{shape}, is {given}", g.op_type(output.op)));
        }
    }

    /// Runs all nodes but those within loops, which run with the others.
    fn whole(&mut self, session: &Session, feeds: &[(Output, &Tensor)]) {
        let g = session.graph();
        let operations = g.get_operations();
        let fed: Vec<Operation> = feeds.iter().map(|f| f.0.op).collect();
        let inside = within_loops(g, &operations);
        let targets: Vec<Operation> = operations.into_iter().filter(|op| !fed.contains(op) && !inside.contains(op)).collect();
        self.run(session, &targets, feeds);
    }

    /// Runs a program as it stands.
    fn program(&mut self, title: &str, text: &str) {
        let g = Graph::new();
        let done = Program::build(&g, text).and_then(|()| {
            let told = plain(&g).run_with_options(&[], &g.get_operations(), &[], &RunOptions::described());
            told.map_err(|e| e.to_string())
        });
        match done {
            Ok((_, told)) => self.compare(&g, &told),
            Err(why) => self.wrong.push(format!("{title}: {why}")),
        }
    }

    /// A MetaGraph whose variables are set to their first values.
    fn training_graph(&mut self, bytes: &[u8]) {
        let g = Graph::new();
        let saver = import_meta_graph_def(&g, MetaGraphDef::decode(bytes).unwrap(), &Default::default()).unwrap();
        let session = plain(&g);
        if let Ok(initialize) = g.global_variables_initializer() {
            session.run_targets(&[initialize], &[]).unwrap();
        }
        let elsewhere = elsewhere(&g, &saver);
        let feeds: Vec<_> = elsewhere.iter().map(|(filename, place)| (*filename, place)).collect();
        self.whole(&session, &feeds);
    }

    fn model(&mut self, name: &str) {
        let folder = format!("{}/tests/models/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut bytes = Vec::new();
        GzDecoder::new(fs::File::open(format!("{folder}/model.meta.gz")).unwrap()).read_to_end(&mut bytes).unwrap();
        let g = Graph::new();
        let saver = import_meta_graph_def(&g, MetaGraphDef::decode(bytes.as_slice()).unwrap(), &Default::default()).unwrap();
        let session = plain(&g);
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
        let elsewhere = elsewhere(&g, &saver);
        let feeds: Vec<_> = feeds.into_iter().chain(elsewhere.iter().map(|(filename, place)| (*filename, place))).collect();
        self.whole(&session, &feeds);
    }
}

/// The tensor that says where a graph saves, if it does, and a place outside of the project.
fn elsewhere(g: &Graph, saver: &Saver) -> Option<(Output, Tensor)> {
    let name = saver.as_saver_def().filename_tensor_name.clone();
    let place = std::env::temp_dir().join(format!("metagraph-audit-{}/model", std::process::id()));
    (!name.is_empty()).then(|| (g.get_tensor_by_name(&name).unwrap(), Tensor::from(place.to_str().unwrap())))
}

/// A session that runs the graph's nodes as they are.
fn plain(g: &Graph) -> Session {
    let mut options = SessionOptions::default();
    options.rewrites = Rewrites::NONE;
    Session::with_options(g, options)
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
            audit.whole(&plain(&g), &feeds);
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
    let dir = std::env::temp_dir().join(format!("metagraph-audit-{}", std::process::id()));
    for (title, text) in programs(include_str!("programs.txt")) {
        audit.program(title, &text.replace("{dir}", dir.to_str().unwrap()));
    }
    let folder = format!("{}/tests/fixtures/optimizers", env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "pb")) {
        audit.training_graph(&fs::read(entry).unwrap());
    }
    for model in ["conv_classifier", "tagger", "attention", "sampler", "encoder"] {
        audit.model(model);
    }
    fs::remove_dir_all(&dir).unwrap();
    assert!(audit.wrong.is_empty(), "{} values are not as inferred:\n{}", audit.wrong.len(), audit.wrong.join("\n"));

    let runs = |op: &&metagraph::graph::op::Op| !matches!(op.kernel, Kernel::Missing(_)) && op.rows.is_empty();
    let bare: Vec<&str> =
        ops::all().filter(runs).map(|op| op.name).filter(|n| audit.seen.get(*n).is_none_or(|&n| n == 0)).collect();
    let listed = |name: &str| UNSEEN.iter().any(|u| u.0 == name);
    let unseen: Vec<&str> = bare.iter().copied().filter(|n| !listed(n)).collect();
    let stale: Vec<&str> = UNSEEN.iter().map(|u| u.0).filter(|n| !bare.contains(n)).collect();
    assert!(unseen.is_empty(), "{} ops have neither an example nor a graph here: {unseen:?}", unseen.len());
    assert!(stale.is_empty(), "these are seen and need not be listed: {stale:?}");
}
