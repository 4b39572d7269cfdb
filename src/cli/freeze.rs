//! `metagraph freeze`: one graph that needs no checkpoint.

use super::model::{Model, SourceArgs, VariableNode, variables};
use super::specialize::{Functions, Values, axis_of, constant};
use super::view::View;
use super::{Done, Outcome, print, print_json, style};
use crate::error::{Error, Result, bail};
use crate::graph::attr::IntoAttr;
use crate::proto::{AttrValue, DataType, GraphDef, NodeDef, attr_value, text};
use crate::tensor::Tensor;
use prost::Message;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  metagraph freeze --meta model.meta --checkpoint model --fetch probabilities --out frozen.pb
  metagraph freeze --saved-model export/1 --fetch scores:0 --out frozen.pb";

/// A message can't be longer.
const LONGEST: u64 = i32::MAX as u64;

/// Turn variables into constants and keep what the fetches need.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// A tensor or an operation that the graph is kept for
    #[arg(long, value_name = "NAME", num_args = 1.., required = true)]
    fetch: Vec<String>,
    /// The file to write; in text form if its name ends in .pbtxt
    #[arg(long, value_name = "FROZEN.pb")]
    out: PathBuf,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let model = Model::load(&args.source)?;
    let names: Vec<String> = args.fetch.iter().map(|f| resolve(&model, f)).collect::<Result<_>>()?;
    let frozen = freeze(&model, &names)?;
    let bytes = match args.out.extension().is_some_and(|e| e == "pbtxt") {
        true => text::print(&frozen.graph).into_bytes(),
        false => frozen.graph.encode_to_vec(),
    };
    write(&args.out, &bytes)?;
    if args.json {
        print_json(&json!({
            "out": args.out, "nodes": frozen.graph.node.len(), "variables": frozen.variables, "bytes": bytes.len(),
            "notes": frozen.notes,
        }))?;
        return Ok(Done::Ok);
    }
    let mut out = format!(
        "{}: {}, {} turned into constants, {}\n",
        args.out.display(),
        style::count(frozen.graph.node.len(), "node"),
        style::count(frozen.variables, "variable"),
        style::bytes(bytes.len() as u64)
    );
    for note in &frozen.notes {
        out += &format!("note: {note}\n");
    }
    print(&out)?;
    Ok(Done::Ok)
}

/// Writes a file that appears whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let partial = path.with_file_name(format!(".{name}.partial"));
    std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path)).map_err(|e| crate::bundle::io_error(path, &e))
}

/// The node of a fetch; a key of a signature's outputs means the tensor it stands for.
fn resolve(model: &Model, fetch: &str) -> Result<String> {
    let in_signatures = model.signatures.values().find_map(|s| s.outputs.get(fetch));
    if let Some(crate::proto::TensorInfo { encoding: Some(crate::proto::tensor_info::Encoding::Name(name)), .. }) = in_signatures
        && model.graph.get_operation_by_name(fetch).is_err()
    {
        return resolve(model, name);
    }
    if fetch.contains(':') {
        let output = model.graph.get_tensor_by_name(fetch)?;
        return Ok(model.graph.op_name(output.op));
    }
    model.graph.get_operation_by_name(fetch).map(|op| model.graph.op_name(op))
}

struct Frozen {
    graph: GraphDef,
    variables: usize,
    notes: Vec<String>,
}

fn freeze(model: &Model, fetches: &[String]) -> Result<Frozen> {
    let graph = &model.graph;
    let view = View::new(graph);
    let starts = fetches.iter().filter_map(|f| view.by_name.get(f.as_str()).copied());
    let needed = view.needed_by(starts, true);
    let held: HashMap<usize, VariableNode> =
        variables(graph).into_iter().filter(|v| needed[v.op.id()]).map(|v| (v.op.id(), v)).collect();
    let assigned = view.nodes.iter().enumerate().find(|(i, n)| needed[*i] && writes(&n.op) && !n.inputs.is_empty());
    if let Some((_, node)) = assigned {
        bail!(
            InvalidArgument,
            "the fetches need {} ({}), which changes a variable, and a constant can't be changed: fetch what doesn't train",
            node.name,
            node.op
        );
    }
    let values = values(model, &held)?;
    let def = graph.as_graph_def();
    let nodes: u64 = def.node.iter().zip(&needed).filter(|(_, n)| **n).map(|(n, _)| n.encoded_len() as u64 + 64).sum();
    check_size(nodes + values.values().map(|v| v.byte_size() as u64 + 64).sum::<u64>())?;
    let mut functions = Functions::new(def.library.as_ref());
    let handles = handles(&view, &held, &needed, &functions)?;
    let mut nodes = Vec::new();
    for (index, node) in def.node.into_iter().enumerate().filter(|(i, _)| needed[*i]) {
        rewrite(node, index, &view, &handles, &values, &held, &mut functions, &mut nodes)?;
    }
    drop_colocations(&mut nodes);
    let mut notes = Vec::new();
    let tables: Vec<&str> =
        view.nodes.iter().enumerate().filter(|(i, n)| needed[*i] && n.op.contains("HashTable")).map(|(_, n)| &*n.name).collect();
    if !tables.is_empty() {
        notes.push(format!("the tables {} stay, and whoever loads the graph has to initialize them", tables.join(", ")));
    }
    let library = def.library.map(|mut library| {
        library.function.extend(functions.into_added());
        reachable(library, &nodes)
    });
    let graph = GraphDef { node: nodes, library, versions: def.versions, ..Default::default() };
    Ok(Frozen { graph, variables: held.len(), notes })
}

/// True for ops that change their first input, a variable.
pub(super) fn writes(op: &str) -> bool {
    let changes = ["Assign", "Scatter", "ResourceScatter", "CountUpTo", "ResourceCountUpTo"].iter().any(|p| op.starts_with(p));
    (changes && op != "ScatterNd" && op != "ScatterNdNonAliasingAdd") || super::describe::is_update(op)
}

/// The value of each variable, by its node.
fn values(model: &Model, held: &HashMap<usize, VariableNode>) -> Result<HashMap<usize, Tensor>> {
    let mut values = HashMap::new();
    let mut missing: Vec<&str> = Vec::new();
    for (&index, variable) in held {
        match model.value(variable) {
            Some(value) => drop(values.insert(index, value)),
            None => missing.push(&variable.name),
        }
    }
    if missing.is_empty() {
        return Ok(values);
    }
    missing.sort_unstable();
    let more = if missing.len() > 5 { format!(" and {} more", missing.len() - 5) } else { String::new() };
    let hint = if model.restored { "the checkpoint doesn't have them" } else { "give their values with --checkpoint" };
    bail!(FailedPrecondition, "variables without values: {}{more}: {hint}", missing[..missing.len().min(5)].join(", "))
}

/// Refuses a graph that would be too long for a message, before it is made.
fn check_size(bytes: u64) -> Result<()> {
    if bytes > LONGEST {
        bail!(
            InvalidArgument,
            "the frozen graph would have {}, and no message (GraphDef) can have more than 2 GB: keep the variables in a \
             checkpoint beside the graph (.meta or SavedModel), or freeze a part with other fetches",
            style::bytes(bytes)
        );
    }
    Ok(())
}

/// Which tensors are handles of variables, each with the variable's node.
fn handles(
    view: &View,
    held: &HashMap<usize, VariableNode>,
    needed: &[bool],
    functions: &Functions,
) -> Result<HashMap<(usize, u32), usize>> {
    let mut handles: HashMap<(usize, u32), usize> =
        held.iter().filter(|(_, v)| v.is_resource).map(|(&i, _)| ((i, 0), i)).collect();
    for at in view.order().0.into_iter().filter(|&i| needed[i]) {
        let node = &view.nodes[at];
        let Some(variable) = node.inputs.iter().find_map(|i| handles.get(i).copied()) else { continue };
        match &*node.op {
            "Identity" | "Enter" | "Exit" | "NextIteration" | "Merge" => drop(handles.insert((at, 0), variable)),
            "Switch" => {
                handles.insert((at, 0), variable);
                handles.insert((at, 1), variable);
            }
            "ReadVariableOp" | "ResourceGather" | "ResourceGatherNd" | "VariableShape" | "VarIsInitializedOp" => {}
            "While" | "StatelessWhile" => {
                for (input, from) in node.inputs.iter().enumerate() {
                    if let Some(&variable) = handles.get(from) {
                        handles.insert((at, input as u32), variable);
                    }
                }
            }
            op if functions.is_call(op) => {}
            op => bail!(
                Unimplemented,
                "{} ({op}) takes the variable {} by its handle, which can't be frozen",
                node.name,
                view.nodes[variable].name
            ),
        }
    }
    Ok(handles)
}

/// Writes a node, or what stands for it where there are no variables.
fn rewrite(
    mut node: NodeDef,
    index: usize,
    view: &View,
    handles: &HashMap<(usize, u32), usize>,
    values: &HashMap<usize, Tensor>,
    held: &HashMap<usize, VariableNode>,
    functions: &mut Functions,
    nodes: &mut Vec<NodeDef>,
) -> Result<()> {
    let controls: Vec<String> = node.input.iter().filter(|i| i.starts_with('^')).cloned().collect();
    if let Some(value) = values.get(&index) {
        let mut made = constant(&node.name, value, &controls)?;
        made.device = node.device;
        nodes.push(made);
        return Ok(());
    }
    if matches!(node.op.as_str(), "IsVariableInitialized" | "VarIsInitializedOp") {
        nodes.push(constant(&node.name, &Tensor::scalar(true), &controls)?);
        return Ok(());
    }
    let dtype = |source: &(usize, u32)| handles.get(source).and_then(|v| held.get(v)).map(|v| v.dtype);
    let inputs = view.nodes[index].inputs.iter().enumerate();
    let by_handle: Values = inputs.filter_map(|(at, source)| Some((at, dtype(source)?))).collect();
    if let Some((_, dtype)) = by_handle.first_key_value() {
        match node.op.as_str() {
            "Enter" | "Exit" | "NextIteration" | "Merge" | "Switch" => drop(node.attr.insert("T".into(), dtype.into_attr())),
            _ => {
                let outputs = functions.rewrite(&mut node, &by_handle)?;
                let passed = |at: &usize| handles.contains_key(&(index, *at as u32));
                if let Some(at) = outputs.keys().find(|at| !passed(at)) {
                    bail!(Unimplemented, "output {at} of {} is a variable's handle, which can't be frozen", node.name);
                }
            }
        }
        nodes.extend(axis_of(&node));
    }
    if is_reference_op(&node.op) {
        node.op = node.op["Ref".len()..].to_string();
    }
    // Shapes of handles are not those of values.
    if !by_handle.is_empty() {
        node.attr.remove("_output_shapes");
    }
    if let Some(AttrValue { value: Some(attr_value::Value::Type(t)) }) = node.attr.get_mut("T") {
        // References are values now.
        if *t > 100 {
            *t = DataType::try_from(*t - 100).map_err(|_| Error::invalid_argument(format!("dtype {t} of {}", node.name)))? as i32;
        }
    }
    nodes.push(node);
    Ok(())
}

/// True for the ops of control flow that pass references on.
fn is_reference_op(op: &str) -> bool {
    matches!(op, "RefIdentity" | "RefSwitch" | "RefMerge" | "RefEnter" | "RefExit" | "RefNextIteration")
}

/// Leaves out wishes to stand beside nodes that aren't there any more.
fn drop_colocations(nodes: &mut [NodeDef]) {
    let names: BTreeSet<String> = nodes.iter().map(|n| n.name.clone()).collect();
    for node in nodes {
        let Some(AttrValue { value: Some(attr_value::Value::List(list)) }) = node.attr.get_mut("_class") else { continue };
        list.s.retain(|c| c.strip_prefix(b"loc:@").is_none_or(|n| names.contains(&*String::from_utf8_lossy(n))));
        if list.s.is_empty() {
            node.attr.remove("_class");
        }
    }
}

/// The functions that the nodes call, directly or not.
fn reachable(mut library: crate::proto::FunctionDefLibrary, nodes: &[NodeDef]) -> crate::proto::FunctionDefLibrary {
    fn called(node: &NodeDef, out: &mut Vec<String>) {
        out.push(node.op.clone());
        for value in node.attr.values() {
            match &value.value {
                Some(attr_value::Value::Func(f)) => out.push(f.name.clone()),
                Some(attr_value::Value::List(l)) => out.extend(l.func.iter().map(|f| f.name.clone())),
                _ => {}
            }
        }
    }
    let name = |f: &crate::proto::FunctionDef| f.signature.as_ref().map(|s| s.name.clone()).unwrap_or_default();
    let by_name: HashMap<String, usize> = library.function.iter().enumerate().map(|(i, f)| (name(f), i)).collect();
    let mut stack = Vec::new();
    nodes.iter().for_each(|n| called(n, &mut stack));
    let mut keep = BTreeSet::new();
    while let Some(at) = stack.pop() {
        if let Some(&index) = by_name.get(&at)
            && keep.insert(index)
        {
            library.function[index].node_def.iter().for_each(|n| called(n, &mut stack));
            let gradients = library.gradient.iter().filter(|g| g.function_name == at);
            stack.extend(gradients.map(|g| g.gradient_func.clone()));
        }
    }
    let mut index = 0;
    library.function.retain(|_| {
        index += 1;
        keep.contains(&(index - 1))
    });
    let kept: BTreeSet<String> = library.function.iter().map(name).collect();
    library.gradient.retain(|g| kept.contains(&g.function_name));
    library
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_message_can_hold_is_refused() {
        assert!(check_size(LONGEST).is_ok());
        let error = check_size(3_000_000_000).unwrap_err();
        assert!(error.message().contains("3.00 GB") && error.message().contains("checkpoint"), "{error}");
    }
}
