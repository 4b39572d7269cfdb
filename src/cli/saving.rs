//! What a graph says of its checkpoints: which nodes write and read them, and under which keys they have the variables.

use super::view::View;
use crate::graph::{Graph, Inner, Node, attr};
use crate::proto::{FunctionDef, NodeDef, attr_value};
use std::collections::HashMap;

/// True for the ops that write or read checkpoints.
pub(super) fn is_saving(op: &str) -> bool {
    matches!(
        op,
        "SaveV2" | "Save" | "SaveSlices" | "RestoreV2" | "Restore" | "RestoreSlice" | "ShardedFilename" | "MergeV2Checkpoints"
    )
}

/// The function that a node calls.
pub(super) fn called<'a>(inner: &'a Inner, node: &Node) -> Option<&'a FunctionDef> {
    if !matches!(&*node.op_type, "PartitionedCall" | "StatefulPartitionedCall") {
        return None;
    }
    match &inner.attr(node, "f")?.value {
        Some(attr_value::Value::Func(f)) => inner.functions.get(f.name.as_str()).map(|f| &f.def),
        _ => None,
    }
}

/// True for a function that writes or reads checkpoints.
pub(super) fn saves(function: &FunctionDef) -> bool {
    function.node_def.iter().any(|n| is_saving(&n.op))
}

/// The keys by which checkpoints know variables, each with the slice: what assignments from restored values say, in the
/// graph or in the function that restores a SavedModel. A variable without an entry is known by its name.
pub(super) fn checkpoint_keys(graph: &Graph, view: &View) -> HashMap<usize, (String, String)> {
    let mut keys = keys_in_functions(graph, view);
    for node in &view.nodes {
        if node.op != "Assign".into() && node.op != "AssignVariableOp".into() {
            continue;
        }
        let (Some(&(variable, _)), Some(&(mut source, mut output))) = (node.inputs.first(), node.inputs.get(1)) else { continue };
        for _ in 0..4 {
            let from = &view.nodes[source];
            if matches!(&*from.op, "Identity" | "Reshape") && !from.inputs.is_empty() {
                (source, output) = from.inputs[0];
            }
        }
        let restore = &view.nodes[source];
        if !restore.op.starts_with("Restore") {
            continue;
        }
        let strings = |input: usize| -> Option<String> {
            let &(names, _) = restore.inputs.get(input)?;
            let inner = graph.read();
            let value =
                inner.nodes.get_index(names).and_then(|(_, n)| inner.attr(n, "value")).and_then(|v| attr::tensor(v).ok())?;
            value.strings().ok()?.get(output as usize).map(|s| String::from_utf8_lossy(s).into_owned())
        };
        if let Some(key) = strings(1) {
            let spec = strings(2).unwrap_or_default();
            let slice = spec.rsplit(' ').next().unwrap_or_default().to_string();
            keys.entry(variable).or_insert((key, slice));
        }
    }
    keys
}

/// The keys of variables whose handles are handed to a function that assigns what it restores.
fn keys_in_functions(graph: &Graph, view: &View) -> HashMap<usize, (String, String)> {
    let mut keys = HashMap::new();
    let inner = graph.read();
    for (node, seen) in inner.nodes.values().zip(&view.nodes).filter(|(_, seen)| seen.saving) {
        let Some(function) = called(&inner, node) else { continue };
        let Some(signature) = &function.signature else { continue };
        for (argument, key) in restored(function) {
            let at = signature.input_arg.iter().position(|a| a.name == argument);
            if let Some(&(variable, _)) = at.and_then(|at| seen.inputs.get(at)) {
                keys.entry(variable).or_insert((key, String::new()));
            }
        }
    }
    keys
}

/// The arguments that a function assigns restored values to, with the keys.
fn restored(function: &FunctionDef) -> Vec<(String, String)> {
    let by_name: HashMap<&str, &NodeDef> = function.node_def.iter().map(|n| (n.name.as_str(), n)).collect();
    let source = |input: &str| by_name.get(input.split(':').next().unwrap_or(input)).copied();
    let key = |assignment: &NodeDef| -> Option<(String, String)> {
        let (argument, mut input) = (assignment.input.first()?, assignment.input.get(1)?);
        let mut from = source(input)?;
        for _ in 0..4 {
            if from.op == "Identity" {
                input = from.input.first()?;
                from = source(input)?;
            }
        }
        let index: usize = input.rsplit(':').next()?.parse().ok()?;
        let names = source(from.input.get(1)?).filter(|_| from.op == "RestoreV2")?;
        let names = attr::tensor(names.attr.get("value")?).ok()?;
        let name = names.strings().ok()?.get(index).map(|s| String::from_utf8_lossy(s).into_owned())?;
        Some((argument.clone(), name))
    };
    function.node_def.iter().filter(|n| n.op == "AssignVariableOp").filter_map(key).collect()
}
