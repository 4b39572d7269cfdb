//! `metagraph inspect`: what a newcomer to a model asks.

use super::describe::{Description, TensorFact, describe};
use super::source::{Kind, Source};
use super::style::{self, CYAN, DIM, GREEN, RED, YELLOW, count, head, paint_out, table};
use super::view::View;
use super::{Done, Outcome, model, print, print_json, stats};
use crate::bundle::{CheckpointReader, Variables};
use crate::error::{Error, Result, bail};
use crate::graph::{Graph, attr};
use crate::proto::{MetaGraphDef, SignatureDef, collection_def::Kind as Items, tensor_info};
use crate::tensor::{DType, Shape, Tensor};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

const EXAMPLES: &str = "Examples:
  metagraph inspect model/                             what is in this directory?
  metagraph inspect model.meta --ops rnn/while         the nodes with rnn/while in their name
  metagraph inspect model.meta --tensor rnn/kernel     a variable's or constant's values and statistics
  metagraph inspect saved_model/ --json                all of it for a program";

/// Say what a model is: inputs, outputs, state, variables, ops.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A .meta, .pb or .pbtxt file, a checkpoint's prefix or one of its files, or a directory
    path: String,
    /// List the nodes, those whose name or op contains the text
    #[arg(long, value_name = "SUBSTRING", num_args = 0..=1, default_missing_value = "")]
    ops: Option<String>,
    /// Print a variable's or a constant's values and statistics
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The key under which checkpoints of TensorFlow 2 have what hangs on what.
const OBJECT_GRAPH: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";

/// A limit on the rows of a list for people; `--json` has all.
const ROWS: usize = 40;

pub(super) fn run(args: &Args) -> Outcome {
    let source = Source::find(&args.path)?;
    if let Some(name) = &args.tensor {
        return tensor(&source, name, args.json);
    }
    if args.ops.is_none() && source.meta.is_none() {
        return values_only(&source, args.json);
    }
    let Some(meta) = source.meta.clone() else {
        return Err(Error::not_found(format!("{} has no graph, so no ops: {}", args.path, source.notes.join("; "))).into());
    };
    let graph = import(&meta)?;
    let view = View::new(&graph);
    if let Some(filter) = &args.ops {
        return ops(&graph, filter, args.json);
    }
    let description = describe(&graph, &view);
    let stored = stored(&source)?;
    if args.json {
        print_json(&report_json(&source, &meta, &graph, &description, stored.as_ref()))?;
    } else {
        print(&report(&source, &meta, &graph, &description, stored.as_ref()))?;
    }
    Ok(Done::Ok)
}

/// The graph of a message, with its collections.
///
/// # Errors
/// As importing, with a hint at what finds out more.
pub(super) fn import(meta: &MetaGraphDef) -> Result<Graph> {
    let place = |e: Error| e.within("importing the graph (metagraph doctor lists all that is wrong)");
    Ok(model::Model::from_meta(meta.clone()).map_err(place)?.graph)
}

/// What the checkpoint has.
fn stored(source: &Source) -> Result<Option<Variables>> {
    source.reader()?.map(|r| r.variables()).transpose()
}

/// The names, dtypes and shapes of a checkpoint or a file of arrays alone.
fn values_only(source: &Source, as_json: bool) -> Outcome {
    let variables = match &source.arrays {
        Some(_) => super::checkpoint::Values::open(source)?.variables()?,
        None => stored(source)?.unwrap_or_default(),
    };
    let bytes = |(dtype, shape): &(DType, Shape)| shape.num_elements().unwrap_or(0) as u64 * dtype.size() as u64;
    let total: u64 = variables.values().map(bytes).sum();
    if as_json {
        let list: Vec<Value> = variables
            .iter()
            .map(|(n, v)| json!({ "name": n, "dtype": v.0.name(), "shape": shape_json(&v.1), "bytes": bytes(v) }))
            .collect();
        print_json(&json!({
            "found": source.notes, "kind": kind_name(source.kind), "checkpoint": source.checkpoint,
            "tensors": list, "bytes": total,
        }))?;
        return Ok(Done::Ok);
    }
    let mut out = found(source);
    if source.kind == Kind::Checkpoint {
        out += "  there is no .meta beside it, so nothing is known of the graph\n";
    }
    out += &format!("\n{} ({}, {})\n", head("Tensors"), variables.len(), style::bytes(total));
    let rows: Vec<Vec<String>> = variables
        .iter()
        .map(|(n, v)| vec![n.clone(), paint_out(&format!("{}{}", v.0, v.1), CYAN), style::bytes(bytes(v))])
        .collect();
    out += &table(&rows);
    print(&out)?;
    Ok(Done::Ok)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::MetaGraph => "MetaGraph",
        Kind::GraphDef => "GraphDef",
        Kind::Checkpoint => "checkpoint",
        Kind::SavedModel => "SavedModel",
        Kind::Arrays => "arrays",
    }
}

fn found(source: &Source) -> String {
    source.notes.iter().map(|n| format!("{n}\n")).collect()
}

/// A heading and rows, of which a person sees so many.
fn section(out: &mut String, title: &str, rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let total = rows.len();
    *out += &format!("\n{}{}\n", head(title), if total > 3 { format!(" ({total})") } else { String::new() });
    *out += &table(&rows[..total.min(ROWS)]);
    if total > ROWS {
        *out += &paint_out(&format!("  and {} more: --json lists all\n", total - ROWS), DIM);
    }
}

fn report(source: &Source, meta: &MetaGraphDef, graph: &Graph, d: &Description, stored: Option<&Variables>) -> String {
    let mut out = found(source);
    out += &versions_line(meta);
    let functions = graph.function_names().len();
    out += &format!("{} of {}", count(graph.len(), "node"), count(d.op_counts.len(), "op type"));
    if functions > 0 {
        out += &format!(", {}", count(functions, "function"));
    }
    out += "\n";
    if d.unsupported.is_empty() {
        out += &format!("{}\n", paint_out("all ops can be run", GREEN));
    } else {
        let place = |why: &str| if why.contains("in the function") { ", in functions" } else { "" };
        let names: Vec<String> = d.unsupported.iter().map(|(op, n, why)| format!("{op} ({n}{})", place(why))).collect();
        out += &format!("{} {}\n", paint_out("ops that can't be run:", RED), names.join(", "));
    }
    let fact = |t: &TensorFact| vec![t.name.clone(), paint_out(&t.kind(), CYAN), t.op.clone()];
    section(&mut out, "Inputs", d.inputs.iter().map(fact).collect());
    section(&mut out, "Likely outputs", d.outputs.iter().map(fact).collect());
    let state = |s: &super::describe::State| {
        let way = match s.by_way_of.len() {
            0 => String::new(),
            _ => format!("by way of {}", s.by_way_of.iter().rev().cloned().collect::<Vec<_>>().join(", ")),
        };
        let first = if s.placeholder { s.first.name.clone() } else { format!("{} (zeros, can be fed)", s.first.name) };
        vec![s.last.name.clone(), "continues".into(), first, paint_out(&s.last.kind(), CYAN), paint_out(&way, DIM)]
    };
    section(&mut out, "Recurrent state", d.states.iter().map(state).collect());
    let looped = |l: &super::describe::Loop| vec![l.frame_name.clone(), count(l.nodes, "node"), count(l.variables, "variable")];
    section(&mut out, "Loops", d.loops.iter().map(looped).collect());
    for (key, signature) in &meta.signature_def {
        section(&mut out, &format!("Signature {key}"), signature_rows(signature));
    }
    out += &variables_section(d, stored);
    let trained = |(name, n): &(String, usize)| vec![name.clone(), format!("updates {}", count(*n, "variable"))];
    section(&mut out, "Training", d.training.iter().map(trained).collect());
    section(&mut out, "Collections", meta.collection_def.iter().map(|(n, c)| vec![n.clone(), collection_line(c)]).collect());
    if let Some(saver) = meta.saver_def.as_ref().filter(|s| !s.restore_op_name.is_empty()) {
        out += &format!(
            "\n{} feed {}, run {} to restore, fetch {} to save\n",
            head("Saver"),
            saver.filename_tensor_name,
            saver.restore_op_name,
            saver.save_tensor_name
        );
    }
    out
}

fn versions_line(meta: &MetaGraphDef) -> String {
    let versions = meta.graph_def.as_ref().and_then(|g| g.versions.clone()).unwrap_or_default();
    let mut line = format!("producer {}", versions.producer);
    if versions.min_consumer > 0 {
        line += &format!(", min consumer {}", versions.min_consumer);
    }
    if let Some(info) = meta.meta_info_def.as_ref().filter(|i| !i.tensorflow_version.is_empty()) {
        line += &format!(", written by TensorFlow {}", info.tensorflow_version);
    }
    line + "\n"
}

fn signature_rows(signature: &SignatureDef) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (direction, entries) in [("in", &signature.inputs), ("out", &signature.outputs)] {
        for (key, info) in entries {
            let (tensor, kind) = tensor_info(info);
            rows.push(vec![direction.to_string(), key.clone(), tensor, paint_out(&kind, CYAN)]);
        }
    }
    if !signature.method_name.is_empty() {
        rows.push(vec!["method".into(), signature.method_name.clone()]);
    }
    rows
}

/// The tensor's name and its dtype and shape.
fn tensor_info(info: &crate::proto::TensorInfo) -> (String, String) {
    let name = match &info.encoding {
        Some(tensor_info::Encoding::Name(name)) => name.clone(),
        Some(tensor_info::Encoding::CooSparse(s)) => format!("sparse {}", s.values_tensor_name),
        Some(tensor_info::Encoding::CompositeTensor(_)) => "a composite tensor".to_string(),
        None => String::new(),
    };
    // An operation stands in for a tensor where something is only run.
    let Some(dtype) = DType::from_number(info.dtype) else { return (name, "operation".to_string()) };
    let shape = info.tensor_shape.as_ref().map(Shape::from_message).unwrap_or_default();
    (name, format!("{dtype}{shape}"))
}

fn variables_section(d: &Description, stored: Option<&Variables>) -> String {
    if d.variables.is_empty() {
        return String::new();
    }
    let total: u64 = d.variables.iter().map(variable_bytes).sum();
    let mut out = format!("\n{} ({}, {})\n", head("Variables"), d.variables.len(), style::bytes(total));
    let mut rows = Vec::new();
    for v in &d.variables {
        let where_is = match stored {
            None => paint_out("no checkpoint", DIM),
            Some(_) => match in_checkpoint(v, stored) {
                "yes" => paint_out("in the checkpoint", GREEN),
                "other" => paint_out("another dtype or shape in the checkpoint", RED),
                _ => paint_out("not in the checkpoint", YELLOW),
            },
        };
        let key = if v.key == v.node.name { String::new() } else { format!("as {}", v.key) };
        let trainable = match (v.trainable, v.local) {
            (true, _) => "trainable",
            (_, true) => "local",
            _ => "",
        };
        rows.push(vec![
            v.node.name.clone(),
            paint_out(&format!("{}{}", v.node.dtype, v.node.shape), CYAN),
            style::bytes(variable_bytes(v)),
            trainable.into(),
            where_is,
            key,
        ]);
    }
    let shown = rows.len().min(ROWS);
    out += &table(&rows[..shown]);
    if rows.len() > shown {
        out += &paint_out(&format!("  and {} more: --json lists all\n", rows.len() - shown), DIM);
    }
    if let Some(stored) = stored {
        let taken: HashSet<&String> = d.variables.iter().map(|v| &v.key).collect();
        let extra = stored.keys().filter(|k| !taken.contains(k) && *k != OBJECT_GRAPH).count();
        if extra > 0 {
            out += &format!("  the checkpoint has {} that no variable takes\n", count(extra, "more tensor"));
        }
    }
    out
}

fn variable_bytes(v: &super::describe::VariableFact) -> u64 {
    v.node.shape.num_elements().unwrap_or(0) as u64 * v.node.dtype.size() as u64
}

/// Whether the checkpoint has a variable: "yes", "other" where dtype or shape differ, "no".
fn in_checkpoint(v: &super::describe::VariableFact, stored: Option<&Variables>) -> &'static str {
    match stored.and_then(|s| s.get(&v.key)) {
        Some((dtype, shape)) if v.fits(*dtype, shape) => "yes",
        Some(_) => "other",
        None => "no",
    }
}

fn collection_line(collection: &crate::proto::CollectionDef) -> String {
    let names = |list: &[String]| {
        let shown = list.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        if list.len() > 4 { format!("{shown}, ...") } else { shown }
    };
    match &collection.kind {
        Some(Items::NodeList(l)) => format!("{}: {}", count(l.value.len(), "node"), names(&l.value)),
        Some(Items::BytesList(l)) => count(l.value.len(), "message"),
        Some(Items::Int64List(l)) => format!("{:?}", l.value),
        Some(Items::FloatList(l)) => format!("{:?}", l.value),
        Some(Items::AnyList(l)) => count(l.value.len(), "message"),
        None => "empty".to_string(),
    }
}

fn shape_json(shape: &Shape) -> Value {
    match shape.signed() {
        Some(dims) => json!(dims),
        None => Value::Null,
    }
}

fn fact_json(t: &TensorFact) -> Value {
    json!({ "name": t.name, "op": t.op, "dtype": t.dtype.map(DType::name), "shape": shape_json(&t.shape) })
}

fn report_json(source: &Source, meta: &MetaGraphDef, graph: &Graph, d: &Description, stored: Option<&Variables>) -> Value {
    let versions = meta.graph_def.as_ref().and_then(|g| g.versions.clone()).unwrap_or_default();
    let signature = |s: &SignatureDef| {
        let entries = |m: &BTreeMap<String, crate::proto::TensorInfo>| -> serde_json::Map<String, Value> {
            let entry = |(k, i): (&String, &crate::proto::TensorInfo)| {
                let shape = i.tensor_shape.as_ref().map(Shape::from_message).unwrap_or_default();
                let dtype = DType::from_number(i.dtype).map(DType::name);
                (k.clone(), json!({ "name": tensor_info(i).0, "dtype": dtype, "shape": shape_json(&shape) }))
            };
            m.iter().map(entry).collect()
        };
        json!({ "inputs": entries(&s.inputs), "outputs": entries(&s.outputs), "method": s.method_name })
    };
    let variable = |v: &super::describe::VariableFact| {
        json!({
            "name": v.node.name, "key": v.key, "dtype": v.node.dtype.name(), "shape": shape_json(&v.node.shape),
            "bytes": variable_bytes(v), "trainable": v.trainable, "local": v.local, "slice": v.slice, "resource": v.node.is_resource,
            "in_checkpoint": stored.map(|_| in_checkpoint(v, stored) == "yes"),
        })
    };
    let collection = |c: &crate::proto::CollectionDef| match &c.kind {
        Some(Items::NodeList(l)) => json!(l.value),
        Some(Items::Int64List(l)) => json!(l.value),
        Some(Items::FloatList(l)) => json!(l.value),
        Some(Items::BytesList(l)) => json!({ "messages": l.value.len() }),
        Some(Items::AnyList(l)) => json!({ "messages": l.value.len() }),
        None => json!([]),
    };
    let state = |s: &super::describe::State| {
        json!({
            "exit": s.last.name, "continues": s.first.name, "by_way_of": s.by_way_of, "placeholder": s.placeholder,
            "dtype": s.last.dtype.map(DType::name), "shape": shape_json(&s.last.shape),
        })
    };
    json!({
        "found": source.notes,
        "kind": kind_name(source.kind),
        "graph": source.graph_path,
        "checkpoint": source.checkpoint,
        "producer": versions.producer,
        "min_consumer": versions.min_consumer,
        "tensorflow_version": meta.meta_info_def.as_ref().map(|i| i.tensorflow_version.clone()),
        "tags": meta.meta_info_def.as_ref().map(|i| i.tags.clone()).unwrap_or_default(),
        "nodes": graph.len(),
        "op_types": d.op_counts.len(),
        "ops": d.op_counts,
        "functions": graph.function_names(),
        "unsupported_ops": d.unsupported.iter().map(|(op, n, why)| json!({ "op": op, "nodes": n, "why": why })).collect::<Vec<_>>(),
        "inputs": d.inputs.iter().map(fact_json).collect::<Vec<_>>(),
        "outputs": d.outputs.iter().map(fact_json).collect::<Vec<_>>(),
        "states": d.states.iter().map(state).collect::<Vec<_>>(),
        "loops": d.loops.iter().map(|l| json!({ "frame_name": l.frame_name, "nodes": l.nodes, "variables": l.variables })).collect::<Vec<_>>(),
        "variables": d.variables.iter().map(variable).collect::<Vec<_>>(),
        "training": d.training.iter().map(|(n, u)| json!({ "op": n, "updates": u })).collect::<Vec<_>>(),
        "collections": meta.collection_def.iter().map(|(n, c)| (n.clone(), collection(c))).collect::<serde_json::Map<_, _>>(),
        "signatures": meta.signature_def.iter().map(|(n, s)| (n.clone(), signature(s))).collect::<serde_json::Map<_, _>>(),
        "saver": meta.saver_def.as_ref().map(|s| json!({
            "filename": s.filename_tensor_name, "save": s.save_tensor_name, "restore": s.restore_op_name,
        })),
    })
}

/// Lists the nodes whose name or op contains the text.
fn ops(graph: &Graph, filter: &str, as_json: bool) -> Outcome {
    let lower = filter.to_lowercase();
    let mut list = Vec::new();
    for op in graph.get_operations() {
        let (name, op_type) = (graph.op_name(op), graph.op_type(op));
        if name.to_lowercase().contains(&lower) || op_type.to_lowercase().contains(&lower) {
            list.push((op, name, op_type));
        }
    }
    let outputs = |op| -> Vec<TensorFact> { graph.outputs(op).into_iter().map(|o| super::describe::fact(graph, o)).collect() };
    let inputs = |op| -> Vec<String> {
        let data = graph.inputs(op).into_iter().map(|i| graph.tensor_name(i));
        data.chain(graph.control_inputs(op).into_iter().map(|c| format!("^{}", graph.op_name(c)))).collect()
    };
    if as_json {
        let entry = |(op, name, op_type): &(crate::Operation, String, String)| {
            let outs: Vec<Value> = outputs(*op).iter().map(fact_json).collect();
            json!({ "name": name, "op": op_type, "inputs": inputs(*op), "outputs": outs, "device": graph.op_device(*op) })
        };
        print_json(&Value::Array(list.iter().map(entry).collect()))?;
        return Ok(Done::Ok);
    }
    let row = |(op, name, op_type): &(crate::Operation, String, String)| {
        let kinds: Vec<String> = outputs(*op).iter().map(TensorFact::kind).collect();
        let from = inputs(*op);
        let from = if from.len() > 6 { format!("{}, ... ({})", from[..6].join(", "), from.len()) } else { from.join(", ") };
        vec![name.clone(), op_type.clone(), paint_out(&kinds.join(" "), CYAN), paint_out(&from, DIM)]
    };
    let mut out = table(&list.iter().map(row).collect::<Vec<_>>());
    if list.is_empty() {
        out = format!("no node of {} has {filter:?} in its name or op\n", graph.len());
    }
    print(&out)?;
    Ok(Done::Ok)
}

/// The value of a variable, a constant or a checkpoint's tensor.
fn find_tensor(source: &Source, name: &str) -> Result<(String, Tensor)> {
    if source.arrays.is_some() {
        return Ok(("array".into(), super::checkpoint::Values::open(source)?.read(name)?));
    }
    let reader = source.reader()?;
    let plain = name.strip_suffix(":0").unwrap_or(name);
    if let Some(reader) = &reader {
        for key in [name, plain] {
            if reader.has(key) {
                return Ok(("checkpoint".into(), reader.read(key)?));
            }
        }
    }
    let Some(meta) = &source.meta else { return Err(no_tensor(name, reader.as_ref())) };
    let graph = import(meta)?;
    let Ok(op) = graph.get_operation_by_name(plain) else { return Err(no_tensor(name, reader.as_ref())) };
    let op_type = graph.op_type(op);
    if op_type == "Const" {
        return Ok(("constant".into(), attr::tensor(&graph.get_attr(op, "value")?)?));
    }
    if super::source::is_variable(&op_type) {
        let view = View::new(&graph);
        let fact = super::describe::variable_facts(&graph, &view).into_iter().find(|v| v.node.name == plain);
        return match (fact, &reader) {
            (Some(v), Some(reader)) if reader.has(&v.key) => Ok(("checkpoint".into(), v.read(reader)?)),
            (_, Some(_)) => bail!(NotFound, "the checkpoint doesn't have the variable {plain}"),
            (_, None) => bail!(NotFound, "{plain} is a variable, and there is no checkpoint to read its value from"),
        };
    }
    // What follows from constants alone, such as a reshaped constant or the value that a variable's read gives.
    let inputs = graph.inputs(op);
    if matches!(&*op_type, "Identity" | "ReadVariableOp") && inputs.len() == 1 {
        return find_tensor(source, &graph.tensor_name(inputs[0]));
    }
    bail!(
        InvalidArgument,
        "{plain} is a node of op {op_type}: its value is known in a run only, see metagraph run --fetch {plain}:0"
    )
}

fn no_tensor(name: &str, reader: Option<&CheckpointReader>) -> Error {
    let last = |n: &str| n.rsplit('/').next().unwrap_or(n).to_lowercase();
    let wanted = last(name);
    let names = reader.and_then(|r| r.variables().ok()).unwrap_or_default();
    let near: Vec<String> =
        names.keys().filter(|n| last(n).contains(&wanted) || n.contains(name)).take(3).map(ToString::to_string).collect();
    let hint = if near.is_empty() { String::new() } else { format!("; the checkpoint has {}", near.join(", ")) };
    Error::not_found(format!("there is no variable or constant {name}{hint}"))
}

fn tensor(source: &Source, name: &str, as_json: bool) -> Outcome {
    let (from, value) = find_tensor(source, name)?;
    let statistics = stats::stats(&value);
    if as_json {
        print_json(&json!({
            "name": name, "from": from, "dtype": value.dtype().name(), "shape": value.dims(), "bytes": value.byte_size(),
            "statistics": statistics.map(|s| s.json()), "values": stats::to_json(&value)?,
        }))?;
        return Ok(Done::Ok);
    }
    let mut out = format!(
        "{}  {}  {}  {}\n",
        head(name),
        paint_out(&stats::kind(&value), CYAN),
        style::bytes(value.byte_size() as u64),
        paint_out(&from, DIM)
    );
    if let Some(statistics) = statistics {
        out += &format!("{}\n", statistics.line());
    }
    print(&(out + &stats::look(&value, 4) + "\n"))?;
    Ok(Done::Ok)
}
