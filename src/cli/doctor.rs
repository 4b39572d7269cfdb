//! `metagraph doctor`: what is wrong with a model, and what to do about each thing.

use super::describe::{describe, variable_facts};
use super::model::Model;
use super::source::{Kind, Source};
use super::style::{self, BOLD, GREEN, RED, YELLOW, paint_out};
use super::view::View;
use super::{Done, Outcome, print, print_json, stats};
use crate::bundle::CheckpointReader;
use crate::bundle::state;
use crate::error::{Code, Error};
use crate::graph::Graph;
use crate::proto::{GraphDef, MetaGraphDef, collection_def::Kind as Items, tensor_info};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

const EXAMPLES: &str = "Examples:
  metagraph doctor model/
  metagraph doctor model.ckpt --json

Exits with 0 where nothing is wrong, warnings aside, and with 1 where something is.";

/// Look for what is wrong with a model and say what to do; exits with 1 where something is.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A model, graph, checkpoint or directory
    path: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Of each kind so many are listed.
const LISTED: usize = 10;

struct Finding {
    error: bool,
    /// What kind of thing it is, for programs.
    kind: &'static str,
    what: String,
    advice: String,
}

#[derive(Default)]
struct Report {
    notes: Vec<String>,
    checked: Vec<String>,
    findings: Vec<Finding>,
    counts: HashMap<&'static str, usize>,
}

impl Report {
    fn add(&mut self, error: bool, kind: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        let count = self.counts.entry(kind).or_insert(0);
        *count += 1;
        if *count <= LISTED {
            self.findings.push(Finding { error, kind, what: what.into(), advice: advice.into() });
        }
    }

    fn error(&mut self, kind: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(true, kind, what, advice);
    }

    fn warn(&mut self, kind: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(false, kind, what, advice);
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut report = Report::default();
    match Source::find(&args.path) {
        Err(e) => unreadable(&mut report, &e),
        Ok(source) => {
            report.notes.clone_from(&source.notes);
            state_files(&mut report, &source, &args.path);
            if source.checkpoint.is_some() {
                checksums(&mut report, &source);
            }
            if let Some(meta) = &source.meta {
                graph(&mut report, &source, meta);
            } else if source.kind == Kind::Checkpoint {
                report.warn(
                    "no_graph",
                    "there is no .meta beside the checkpoint",
                    "copy it from where the checkpoint was written, or build the graph in your program and restore by names",
                );
            }
        }
    }
    let failed = report.findings.iter().any(|f| f.error);
    match args.json {
        true => print_json(&to_json(&report, failed))?,
        false => print(&to_text(&report))?,
    }
    Ok(if failed { Done::Found } else { Done::Ok })
}

fn unreadable(report: &mut Report, error: &Error) {
    let advice = match error.code() {
        Code::NotFound => "check the path; a checkpoint is named by its prefix, without .index or .data",
        Code::DataLoss | Code::OutOfRange => {
            "the file is damaged or cut off: copy it again, and compare its size with the original's"
        }
        Code::PermissionDenied => "you may not read it: change its permissions",
        _ => "see what kind of file it is: metagraph reads .meta, .pb, .pbtxt, checkpoints and SavedModels",
    };
    report.error("unreadable", super::one_line(error), advice);
}

/// The `checkpoint` file: what it names must be there.
fn state_files(report: &mut Report, source: &Source, path: &str) {
    let Some(prefix) = &source.checkpoint else { return };
    let at = Path::new(path);
    let beside = Path::new(prefix).parent().unwrap_or(Path::new("."));
    let dir = if at.is_dir() { at } else { beside };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let file = dir.join(state::CHECKPOINT);
    if !file.is_file() {
        return;
    }
    let named = match state::get_checkpoint_state(dir, None) {
        Ok(Some(state)) => state,
        Ok(None) => {
            report.error(
                "state_file",
                format!("{} can't be read", file.display()),
                "delete it, or save once more to write it anew",
            );
            return;
        }
        Err(e) => return report.error("state_file", super::one_line(&e), "delete it, or save once more to write it anew"),
    };
    let moved = |p: &str| {
        let name = Path::new(p).file_name().map(|n| dir.join(n).to_string_lossy().into_owned());
        name.filter(|n| state::checkpoint_exists(n))
    };
    let mut paths = vec![named.model_checkpoint_path.clone()];
    paths.extend(named.all_model_checkpoint_paths.iter().filter(|p| **p != named.model_checkpoint_path).cloned());
    for (index, p) in paths.iter().enumerate() {
        if state::checkpoint_exists(p) {
            continue;
        }
        match moved(p) {
            Some(found) => report.warn(
                "moved",
                format!("{} names {p}, which isn't there; {found} is", file.display()),
                "metagraph looks beside the file, but other programs may not: write file names without directories into it",
            ),
            None if index == 0 => report.error(
                "moved",
                format!("{} names {p} as the latest checkpoint, which is nowhere", file.display()),
                "copy that checkpoint here, or write the name of one that is here into the file",
            ),
            None => report.warn(
                "moved",
                format!("{} names the older checkpoint {p}, which is nowhere", file.display()),
                "nothing needs it; take its line out of the file",
            ),
        }
    }
    report.checked.push("the checkpoint file".into());
}

/// Reads every tensor of the checkpoint.
fn checksums(report: &mut Report, source: &Source) {
    let reader = match source.reader() {
        Ok(Some(reader)) => reader,
        Ok(None) => return,
        Err(e) => return unreadable(report, &e),
    };
    let variables = match reader.variables() {
        Ok(variables) => variables,
        Err(e) => return unreadable(report, &e),
    };
    let bar = style::bar(variables.len() as u64, "checking");
    let mut missing_files = HashSet::new();
    for name in variables.keys() {
        bar.inc(1);
        match reader.read(name) {
            Ok(value) => {
                let bad = stats::stats(&value).filter(|_| value.dtype().is_floating()).map_or((0, 0), |s| (s.nans, s.infinities));
                if bad.0 + bad.1 > 0 {
                    report.warn(
                        "not_finite",
                        format!("{name} has {} NaN and {} infinite elements of {}", bad.0, bad.1, value.len()),
                        "training has diverged: go back to an earlier checkpoint, and clip gradients or lower the learning rate",
                    );
                }
            }
            Err(e) if e.code() == Code::NotFound => {
                if missing_files.insert(e.message().to_string()) {
                    let advice = "a file of the checkpoint is missing: copy all files PREFIX.data-* together with PREFIX.index";
                    report.error("missing_file", super::one_line(&e), advice);
                }
            }
            Err(e) => report.error(
                "checksum",
                format!("{name}: {}", super::one_line(&e)),
                "the checkpoint is damaged, or its files are of two checkpoints: copy all its files again; the other tensors can \
                 still be read",
            ),
        }
    }
    bar.finish_and_clear();
    report.checked.push(format!("checksums of {}", style::count(variables.len(), "tensor")));
}

/// Everything about the graph.
fn graph(report: &mut Report, source: &Source, meta: &MetaGraphDef) {
    let Some(def) = &meta.graph_def else {
        return report.error("no_graph", "the MetaGraph has no graph", "export it again, from the program that built the graph");
    };
    let clean = structure(report, def);
    let graph = Graph::new();
    if let Err(e) = graph.import_graph_def(clean.clone(), &Default::default()) {
        return report.error("import", super::one_line(&e), "export the graph again, from the program that built it");
    }
    let view = View::new(&graph);
    cycles(report, &view);
    ops(report, &graph, &view);
    names(report, meta, &graph);
    let shapes = graph.get_operations().into_iter().flat_map(|op| graph.outputs(op)).find_map(|o| graph.shape(o).err());
    if let Some(e) = shapes {
        report.warn(
            "shapes",
            super::one_line(&e),
            "the shapes contradict each other there; a run that needs the node fails, other runs don't",
        );
    }
    let whole = MetaGraphDef { graph_def: Some(clean), ..meta.clone() };
    if let Ok(model) = Model::from_meta(whole) {
        values(report, source, &model.graph);
    }
    if let Some(dir) = &source.saved_model {
        assets(report, meta, dir);
    }
    report.checked.push(format!("{} and their inputs", style::count(def.node.len(), "node")));
}

/// Doubled names and dangling inputs; returns the graph without them.
fn structure(report: &mut Report, def: &GraphDef) -> GraphDef {
    let mut clean = def.clone();
    let mut seen = HashSet::new();
    clean.node.retain(|n| {
        let first = seen.insert(n.name.clone());
        if !first {
            report.error(
                "doubled",
                format!("two nodes have the name {}", n.name),
                "rename one of them, or export the graph again",
            );
        }
        let real = !n.name.is_empty() && !n.op.is_empty();
        if !real {
            let what = format!("a node has no name or no op: {:?} of op {:?}", n.name, n.op);
            report.error("nameless", what, "export the graph again");
        }
        first && real
    });
    for node in &mut clean.node {
        let name = node.name.clone();
        node.input.retain(|input| {
            let source = input.trim_start_matches('^');
            let source = source.rsplit_once(':').filter(|(_, i)| i.bytes().all(|b| b.is_ascii_digit())).map_or(source, |s| s.0);
            if seen.contains(source) {
                return true;
            }
            report.error(
                "dangling",
                format!("{name} takes {input}, and there is no node {source}"),
                "the graph was cut wrongly: export it again with that node, or feed and fetch only what doesn't need it",
            );
            false
        });
    }
    clean
}

/// Cycles that no loop makes, and nodes that stand in two loops at once.
fn cycles(report: &mut Report, view: &View) {
    let (_, stuck) = view.order();
    let is_stuck: HashSet<usize> = stuck.iter().copied().collect();
    if let Some(&start) = stuck.first() {
        // Going back along stuck nodes ends in a cycle.
        let (mut at, mut path, mut place) = (start, Vec::new(), HashMap::new());
        loop {
            if let Some(&from) = place.get(&at) {
                path.drain(..from);
                break;
            }
            place.insert(at, path.len());
            path.push(at);
            let node = &view.nodes[at];
            let mut sources = node.inputs.iter().map(|i| i.0).chain(node.controls.iter().copied());
            match sources.find(|&s| is_stuck.contains(&s) && !view.is_back_edge(s, at)) {
                Some(source) => at = source,
                None => break,
            }
        }
        let names: Vec<&str> = path.iter().rev().take(8).map(|&i| &*view.nodes[i].name).collect();
        report.error(
            "cycle",
            format!("the nodes {} form a cycle that is no loop", names.join(" -> ")),
            "only NextIteration -> Merge may lead back: build the loop with while_loop, or cut the cycle",
        );
    }
    let frames = view.frames();
    for (index, node) in view.nodes.iter().enumerate() {
        let mut found: Vec<usize> = Vec::new();
        for &(source, _) in &node.inputs {
            let frame = match frames.of[source] {
                Some(f) if view.nodes[source].op.ends_with("Exit") => frames.parents[f],
                of => of,
            };
            if let Some(frame) = frame.filter(|f| !found.contains(f) && !view.is_back_edge(source, index)) {
                found.push(frame);
            }
        }
        if found.len() > 1 && frames.names[found[0]] != frames.names[found[1]] {
            report.error(
                "frames",
                format!("{} takes values of the loops {} and {}", node.name, frames.names[found[0]], frames.names[found[1]]),
                "a value leaves a loop through an Exit and enters one through an Enter; export the graph again",
            );
        }
    }
}

fn ops(report: &mut Report, graph: &Graph, view: &View) {
    let description = describe(graph, view);
    for (op, nodes, why) in &description.unsupported {
        let example = view.nodes.iter().find(|n| *n.op == **op).map_or(String::new(), |n| format!(", such as {}", n.name));
        report.warn(
            "op",
            format!("{} of op {op}{example} can't be run: {why}", style::count(*nodes, "node")),
            "fetch what doesn't need them, or feed their outputs",
        );
    }
}

/// Names in the saver, signatures and collections that the graph doesn't have.
fn names(report: &mut Report, meta: &MetaGraphDef, graph: &Graph) {
    let there = |name: &str| {
        let op = name.trim_start_matches('^');
        let op = op.rsplit_once(':').map_or(op, |s| s.0);
        graph.get_operation_by_name(op).is_ok()
    };
    if let Some(saver) = &meta.saver_def {
        for name in [&saver.filename_tensor_name, &saver.save_tensor_name, &saver.restore_op_name] {
            if !name.is_empty() && !there(name) {
                report.error(
                    "saver",
                    format!("the saver names {name}, which isn't in the graph"),
                    "restore with another saver, or by the names of the variables: metagraph run --graph with --checkpoint",
                );
            }
        }
    }
    for (key, signature) in &meta.signature_def {
        for info in signature.inputs.values().chain(signature.outputs.values()) {
            if let Some(tensor_info::Encoding::Name(name)) = &info.encoding
                && !name.is_empty()
                && !there(name)
            {
                let what = format!("the signature {key} names {name}, which isn't in the graph");
                report.error("signature", what, "export the model again, or feed and fetch tensors by name");
            }
        }
    }
    for (key, collection) in &meta.collection_def {
        if let Some(Items::NodeList(list)) = &collection.kind {
            for name in list.value.iter().filter(|n| !there(n)) {
                let advice = "nothing breaks unless a program uses the collection; export the graph again to be rid of it";
                report.warn("collection", format!("the collection {key} names {name}, which isn't in the graph"), advice);
            }
        }
    }
}

/// Variables that no checkpoint has, and values that fit no variable.
fn values(report: &mut Report, source: &Source, graph: &Graph) {
    let view = View::new(graph);
    let variables = variable_facts(graph, &view);
    if variables.is_empty() {
        return;
    }
    let stored = source.checkpoint.as_ref().and_then(|p| CheckpointReader::open(p).and_then(|r| r.variables()).ok());
    let Some(stored) = stored else {
        if source.checkpoint.is_none() {
            report.warn(
                "no_values",
                format!("{} and no checkpoint beside the graph", style::count(variables.len(), "variable")),
                "name the checkpoint with --checkpoint, or initialize the variables: metagraph run --target init --save PREFIX",
            );
        }
        return;
    };
    for v in variables.iter().filter(|v| !v.local) {
        match stored.get(&v.key) {
            None => {
                let last = v.key.rsplit('/').next().unwrap_or(&v.key);
                let near =
                    stored.keys().find(|k| k.rsplit('/').next() == Some(last)).map_or(String::new(), |k| format!("; it has {k}"));
                report.warn(
                    "no_value",
                    format!("the checkpoint doesn't have the variable {}{near}", v.node.name),
                    "a run that reads it fails until it is initialized or fed",
                );
            }
            Some((dtype, shape)) if !v.fits(*dtype, shape) => report.error(
                "mismatch",
                format!("{} is {}{} in the graph, {dtype}{shape} in the checkpoint", v.node.name, v.node.dtype, v.node.shape),
                "graph and checkpoint are of two versions of the model: use the .meta that was saved with the checkpoint",
            ),
            Some(_) => {}
        }
    }
    report.checked.push(format!("values of {}", style::count(variables.len(), "variable")));
}

fn assets(report: &mut Report, meta: &MetaGraphDef, dir: &Path) {
    for asset in &meta.asset_file_def {
        let path = dir.join("assets").join(&asset.filename);
        if !path.is_file() {
            let what = format!("the asset {} is missing", path.display());
            report.error("asset", what, "copy the whole directory of the SavedModel, with assets/ and variables/");
        }
    }
    let variables = dir.join("variables");
    if !variables.join("variables.index").is_file() && variables.join("variables.data-00000-of-00001").is_file() {
        let what = format!("{} is missing", variables.join("variables.index").display());
        report.error("missing_file", what, "copy the whole directory of the SavedModel");
    }
}

fn to_text(report: &Report) -> String {
    let mut out: String = report.notes.iter().map(|n| format!("{n}\n")).collect();
    if !report.checked.is_empty() {
        out += &format!("checked: {}\n", report.checked.join(", "));
    }
    for finding in &report.findings {
        let sign = if finding.error { paint_out("error", RED) } else { paint_out("warning", YELLOW) };
        out += &format!("\n{sign}: {}\n  {} {}\n", finding.what, paint_out("do:", BOLD), finding.advice);
    }
    let more: BTreeMap<_, _> = report.counts.iter().filter(|(_, n)| **n > LISTED).collect();
    for (kind, n) in more {
        out += &format!("and {} more of the kind {kind}\n", n - LISTED);
    }
    let errors = report.findings.iter().filter(|f| f.error).count();
    let warnings = report.findings.len() - errors;
    out += &match (errors, warnings) {
        (0, 0) => format!("\n{}\n", paint_out("nothing is wrong", GREEN)),
        (0, w) => format!("\nno errors, {}\n", style::count(w, "warning")),
        (e, w) => format!("\n{}, {}\n", style::count(e, "error"), style::count(w, "warning")),
    };
    out
}

fn to_json(report: &Report, failed: bool) -> Value {
    let finding = |f: &Finding| json!({ "severity": if f.error { "error" } else { "warning" }, "kind": f.kind, "what": f.what, "do": f.advice });
    json!({
        "ok": !failed, "found": report.notes, "checked": report.checked,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}
