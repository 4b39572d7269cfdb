//! What a graph is for: its inputs, outputs, recurrent state, variables and training operations, found from its nodes.

use super::model::{VariableNode, variables};
use super::saving::checkpoint_keys;
use super::view::View;
use crate::bundle::{CheckpointReader, TensorSlice};
use crate::error::Result;
use crate::graph::{Graph, Operation, Output, attr};
use crate::tensor::{DType, Shape, Tensor};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A tensor with what is known of it.
#[derive(Clone, Debug)]
pub(super) struct TensorFact {
    pub output: Output,
    pub name: String,
    pub op: String,
    pub dtype: Option<DType>,
    pub shape: Shape,
}

impl TensorFact {
    fn new(graph: &Graph, output: Output) -> TensorFact {
        TensorFact {
            output,
            name: graph.tensor_name(output),
            op: graph.op_type(output.op),
            dtype: graph.dtype(output).ok(),
            shape: graph.shape(output).ok().filter(|s| s.rank().is_some()).unwrap_or_else(|| exported_shape(graph, output)),
        }
    }

    /// `float32[?,10]`
    pub fn kind(&self) -> String {
        match self.dtype {
            Some(dtype) => format!("{dtype}{}", self.shape),
            None => "?".to_string(),
        }
    }
}

/// The shape that was known when the graph was exported; after loops an import can't infer it.
fn exported_shape(graph: &Graph, output: Output) -> Shape {
    let shapes = graph.get_attr(output.op, "_output_shapes").and_then(|v| attr::shapes(&v)).unwrap_or_default();
    shapes.get(output.index as usize).cloned().unwrap_or_default()
}

/// A tensor with what is known of it.
pub(super) fn fact(graph: &Graph, output: Output) -> TensorFact {
    TensorFact::new(graph, output)
}

/// A loop's final value that is the next step's initial value.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The Exit's output.
    pub last: TensorFact,
    /// What is fed to go on from it.
    pub first: TensorFact,
    /// The tensors between what is fed and the loop, if it isn't fed as it is.
    pub by_way_of: Vec<String>,
    /// False where the fed tensor is no placeholder, but a tensor of zeros.
    pub placeholder: bool,
}

/// A loop.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub frame_name: String,
    pub nodes: usize,
    pub variables: usize,
}

/// A variable and where its value is.
#[derive(Clone, Debug)]
pub(super) struct VariableFact {
    pub node: VariableNode,
    /// The key under which checkpoints have it.
    pub key: String,
    /// Which slice of the checkpoint's tensor it is; empty for the whole.
    pub slice: String,
    pub trainable: bool,
    /// True for one that no checkpoint has.
    pub local: bool,
}

impl VariableFact {
    /// Whether what a checkpoint has under the key fits.
    pub fn fits(&self, dtype: DType, shape: &Shape) -> bool {
        let shapes = if self.slice.is_empty() {
            self.node.shape.is_compatible_with(shape)
        } else {
            let whole = shape.to_dims();
            let part = TensorSlice::parse(&self.slice).and_then(|s| s.slice_dims(&whole.unwrap_or_default()));
            part.is_ok_and(|dims| self.node.shape.accepts(&dims))
        };
        dtype == self.node.dtype && shapes
    }

    /// The value in a checkpoint.
    ///
    /// # Errors
    /// As [`CheckpointReader::read`].
    pub fn read(&self, reader: &CheckpointReader) -> Result<Tensor> {
        match self.slice.is_empty() {
            true => reader.read(&self.key),
            false => reader.read_slice(&self.key, &TensorSlice::parse(&self.slice)?),
        }
    }
}

/// What a graph is for.
pub(super) struct Description {
    pub inputs: Vec<TensorFact>,
    pub outputs: Vec<TensorFact>,
    pub states: Vec<State>,
    pub loops: Vec<Loop>,
    pub variables: Vec<VariableFact>,
    /// Operations that make a training step, with the number of variables that each updates.
    pub training: Vec<(String, usize)>,
    pub op_counts: BTreeMap<String, usize>,
    /// Ops that can't be run: name, number of nodes, why.
    pub unsupported: Vec<(String, usize, String)>,
}

/// Ops whose unused outputs are no results of a model.
const NO_RESULT: &[&str] = &[
    "Const",
    "Switch",
    "RefSwitch",
    "Enter",
    "RefEnter",
    "NextIteration",
    "LoopCond",
    "NoOp",
    "Assert",
    "Print",
    "Shape",
    "ShapeN",
    "VarHandleOp",
    "Variable",
    "VariableV2",
    "IsVariableInitialized",
    "VarIsInitializedOp",
    "TensorArrayV3",
    "TensorArrayV2",
    "TensorArray",
    "TensorArrayCloseV3",
    "Stack",
    "StackV2",
    "ControlTrigger",
    "ReadVariableOp",
    "HashTable",
    "HashTableV2",
    "MutableHashTableV2",
    "BroadcastGradientArgs",
    "TensorArraySizeV3",
    "TensorArrayGradV3",
    "TensorArrayWriteV3",
];

/// Ops that pass (a part of) their first input on.
const PASSING: &[&str] = &[
    "Identity",
    "RefIdentity",
    "Unpack",
    "StridedSlice",
    "Slice",
    "SplitV",
    "Squeeze",
    "ExpandDims",
    "Reshape",
    "Cast",
    "Transpose",
    "StopGradient",
    "CheckNumerics",
    "PreventGradient",
    "Enter",
    "RefEnter",
    "Switch",
    "GatherV2",
    "Gather",
];

fn is_placeholder(op: &str) -> bool {
    matches!(op, "Placeholder" | "PlaceholderV2" | "PlaceholderWithDefault")
}

/// True for ops that change a variable as an optimizer does.
pub(super) fn is_update(op: &str) -> bool {
    ["Apply", "ResourceApply", "SparseApply", "ResourceSparseApply"].iter().any(|p| op.starts_with(p))
}

fn is_summary(op: &str) -> bool {
    op.ends_with("Summary") || op.ends_with("SummaryV2") || op == "MergeSummary"
}

/// The nodes that serve saving, initializing, gradients and summaries, not the model itself.
pub(super) fn service_nodes(view: &View) -> Vec<bool> {
    let mut service: Vec<bool> = view
        .nodes
        .iter()
        .map(|n| {
            let gradient = n.name.split('/').any(|part| {
                part.strip_prefix("gradients")
                    .is_some_and(|r| r.is_empty() || r.strip_prefix('_').is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit())))
            });
            gradient
                || is_update(&n.op)
                || n.saving
                || is_summary(&n.op)
                || n.op.starts_with("Assign")
                || n.op.starts_with("Scatter")
        })
        .collect();
    // What only feeds the saver (its file name), and what only follows it.
    for index in (0..view.nodes.len()).rev() {
        let node = &view.nodes[index];
        if !service[index] && !node.consumers.is_empty() && node.consumers.iter().all(|c| view.nodes[c.0].saving) {
            service[index] = true;
        }
    }
    // An optimizer's own arithmetic stands in its scope, beside the scopes `update_VARIABLE`.
    let updates = view.nodes.iter().any(|n| is_update(&n.op));
    let optimizer = |name: &str| name.find("/update_").filter(|_| updates).map(|at| name[..=at].to_string());
    let optimizers: HashSet<String> = view.nodes.iter().filter_map(|n| optimizer(&n.name)).collect();
    for (index, node) in view.nodes.iter().enumerate() {
        service[index] = service[index] || optimizers.iter().any(|scope| node.name.starts_with(scope.as_str()));
    }
    let saver_scopes: HashSet<String> = view
        .nodes
        .iter()
        .filter(|n| n.saving)
        .filter_map(|n| n.name.split_once('/').map(|(scope, _)| format!("{scope}/")))
        .collect();
    for (index, node) in view.nodes.iter().enumerate() {
        if let Some((scope, _)) = node.name.split_once('/') {
            let in_saver = saver_scopes.contains(&format!("{scope}/")) && (scope == "save" || scope.starts_with("save_"));
            service[index] = service[index] || in_saver;
        }
    }
    // What groups such nodes, and variables that they alone use.
    for (index, node) in view.nodes.iter().enumerate() {
        let groups = node.op == "NoOp".into() && node.inputs.is_empty() && !node.controls.is_empty();
        service[index] = service[index] || (groups && node.controls.iter().all(|&c| service[c]));
    }
    for index in (0..view.nodes.len()).rev() {
        let node = &view.nodes[index];
        let variable = |i: usize| super::source::is_variable(&view.nodes[i].op);
        let read = matches!(&*node.op, "Identity" | "ReadVariableOp") && node.inputs.first().is_some_and(|i| variable(i.0));
        let held = variable(index) || read;
        service[index] = service[index] || (held && !node.consumers.is_empty() && node.consumers.iter().all(|c| service[c.0]));
    }
    service
}

/// The variables of a graph.
pub(super) fn variable_facts(graph: &Graph, view: &View) -> Vec<VariableFact> {
    let keys = checkpoint_keys(graph, view);
    let trainable: HashSet<String> = graph.trainable_variables().iter().map(|v| v.op_name().to_string()).collect();
    let local: HashSet<String> = graph.local_variables().iter().map(|v| v.op_name().to_string()).collect();
    let fact = |node: VariableNode| {
        let (key, slice) = keys.get(&node.op.id()).cloned().unwrap_or_else(|| (node.name.clone(), String::new()));
        VariableFact { key, slice, trainable: trainable.contains(&node.name), local: local.contains(&node.name), node }
    };
    variables(graph).into_iter().map(fact).collect()
}

/// Finds out what a graph is for.
pub(super) fn describe(graph: &Graph, view: &View) -> Description {
    let operations = graph.get_operations();
    let service = service_nodes(view);
    let placeholders: Vec<usize> = (0..view.nodes.len()).filter(|&i| is_placeholder(&view.nodes[i].op) && !service[i]).collect();
    let inputs = placeholders.iter().map(|&i| TensorFact::new(graph, operations[i].output(0))).collect();
    let states = states(graph, view, &operations, &service);
    let outputs = outputs(graph, view, &operations, &service, &placeholders, &states);
    let mut op_counts = BTreeMap::new();
    let mut unsupported: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for node in &view.nodes {
        *op_counts.entry(node.op.to_string()).or_insert(0) += 1;
        if let Some(why) = node.unsupported {
            unsupported.entry(node.op.to_string()).or_insert((0, why.to_string())).0 += 1;
        }
    }
    for (function, op) in function_ops(graph) {
        if crate::ops::lookup(&op).is_none() && graph.function_def(&op).is_none() {
            let why = format!("the op isn't known (in the function {function})");
            unsupported.entry(op).or_insert((0, why)).0 += 1;
        }
    }
    Description {
        inputs,
        outputs,
        states,
        loops: loops(view),
        variables: variable_facts(graph, view),
        training: training(view),
        op_counts,
        unsupported: unsupported.into_iter().map(|(op, (n, why))| (op, n, why)).collect(),
    }
}

/// The ops of the library's functions, each with the function's name.
fn function_ops(graph: &Graph) -> Vec<(String, String)> {
    let defs = graph.function_names().into_iter().filter_map(|n| graph.function_def(&n).map(|d| (n, d)));
    defs.flat_map(|(name, def)| def.node_def.into_iter().map(move |n| (name.clone(), n.op))).collect()
}

/// The tensors that come from the inputs and that nothing of the model takes.
fn outputs(
    graph: &Graph,
    view: &View,
    operations: &[Operation],
    service: &[bool],
    placeholders: &[usize],
    states: &[State],
) -> Vec<TensorFact> {
    // A graph without placeholders computes from its constants and variables.
    let from_inputs = match placeholders.is_empty() {
        true => vec![true; view.nodes.len()],
        false => view.valued_from(placeholders.iter().copied()),
    };
    // What doesn't depend on a weight is no result of a model that has weights.
    let is_weight = |i: usize| {
        let node = &view.nodes[i];
        let constant = || {
            let value = graph.get_attr(operations[i], "value").and_then(|v| attr::tensor(&v));
            value.is_ok_and(|t| t.dtype().is_floating() && t.len() > 1)
        };
        super::source::is_variable(&node.op) || (&*node.op == "Const" && constant())
    };
    let weighted = view.valued_from((0..view.nodes.len()).filter(|&i| is_weight(i)));
    let frames = view.frames();
    let state_exits: HashSet<usize> = states.iter().map(|s| s.last.output.op.id()).collect();
    let asserted = |name: &str| name.split('/').any(|part| part.starts_with("assert"));
    let branch = |name: &str| ["switch_t", "switch_f", "pred_id"].iter().any(|s| name.rsplit('/').next() == Some(s));
    let mut found: Vec<(bool, bool, TensorFact)> = Vec::new();
    for (index, node) in view.nodes.iter().enumerate() {
        let end = from_inputs[index]
            && !service[index]
            && node.outputs > 0
            && !NO_RESULT.contains(&&*node.op)
            && !is_placeholder(&node.op)
            && !state_exits.contains(&index)
            && !branch(&node.name)
            && !asserted(&node.name)
            && (frames.of[index].is_none() || node.op.ends_with("Exit"))
            && node
                .consumers
                .iter()
                .all(|c| service[c.0] || NO_RESULT.contains(&&*view.nodes[c.0].op) && view.nodes[c.0].consumers.is_empty());
        if !end {
            continue;
        }
        for output in 0..node.outputs {
            let fact = TensorFact::new(graph, operations[index].output(output));
            let counter = node.op.ends_with("Exit") && (fact.shape.rank() == Some(0) || fact.shape.rank().is_none());
            let handle = matches!(fact.dtype, Some(DType::Resource | DType::Variant));
            if counter || handle || (node.op.ends_with("Merge") && output == 1) {
                continue;
            }
            // A name that somebody chose isn't the op's own.
            let last = node.name.rsplit('/').next().unwrap_or(&node.name);
            let stem = last.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
            let chosen = !stem.eq_ignore_ascii_case(&node.op) && !node.op.ends_with("Exit");
            found.push((!weighted[index], !chosen, fact));
        }
    }
    if found.iter().any(|f| !f.0) {
        found.retain(|f| !f.0 || (!f.1 && !f.2.name.contains('/')));
    }
    found.sort_by_key(|f| f.1);
    found.into_iter().map(|f| f.2).collect()
}

/// The loops with what each continues: for every Exit the Enter of its loop variable, traced back to what is fed.
fn states(graph: &Graph, view: &View, operations: &[Operation], service: &[bool]) -> Vec<State> {
    let mut states = Vec::new();
    for (index, node) in view.nodes.iter().enumerate() {
        if !node.op.ends_with("Exit") || service[index] {
            continue;
        }
        let Some(start) = initial_value(view, index) else { continue };
        let mut last = TensorFact::new(graph, operations[index].output(0));
        if last.shape.rank().is_none() {
            last.shape = TensorFact::new(graph, operations[start.0].output(start.1 as usize)).shape;
        }
        if !last.dtype.is_some_and(|d| d.is_plain()) {
            continue;
        }
        if let Some((first, by_way_of, placeholder)) = trace(graph, view, operations, start) {
            let scalar = last.shape.rank() == Some(0);
            if scalar && !placeholder {
                continue;
            }
            // A loop may carry a value that is the input itself; only what has the shape of a state counts.
            if last.dtype == first.dtype && is_carried(view, index) {
                states.push(State { last, first, by_way_of, placeholder });
            }
        }
    }
    states
}

/// The source of the Enter of the loop variable that an Exit leaves with.
fn initial_value(view: &View, exit: usize) -> Option<(usize, u32)> {
    let switch = view.nodes[exit].inputs.first()?.0;
    let merge = view.nodes[switch].inputs.first()?.0;
    if !view.nodes[switch].op.ends_with("Switch") || !view.nodes[merge].op.ends_with("Merge") {
        return None;
    }
    let enter = view.nodes[merge].inputs.iter().map(|i| i.0).find(|&i| view.nodes[i].op.ends_with("Enter"))?;
    view.nodes[enter].inputs.first().copied()
}

/// True where the loop changes the variable, rather than hand the same value from iteration to iteration.
fn is_carried(view: &View, exit: usize) -> bool {
    let merge = view.nodes[exit].inputs.first().and_then(|s| view.nodes[s.0].inputs.first()).map(|m| m.0);
    let Some(merge) = merge else { return false };
    let next = view.nodes[merge].inputs.iter().map(|i| i.0).find(|&i| view.nodes[i].op.ends_with("NextIteration"));
    let Some(mut at) = next else { return false };
    for _ in 0..8 {
        let Some(&(source, _)) = view.nodes[at].inputs.first() else { return true };
        match &*view.nodes[source].op {
            "Identity" | "NextIteration" => at = source,
            op if op.ends_with("Switch") => return view.nodes[source].inputs.first().map(|m| m.0) != Some(merge),
            _ => return true,
        }
    }
    true
}

/// Follows a value back to a placeholder or to a tensor of zeros.
fn trace(graph: &Graph, view: &View, operations: &[Operation], start: (usize, u32)) -> Option<(TensorFact, Vec<String>, bool)> {
    let (mut at, mut output) = start;
    let mut way = Vec::new();
    for _ in 0..32 {
        let node = &view.nodes[at];
        if is_placeholder(&node.op) {
            return Some((TensorFact::new(graph, operations[at].output(0)), way, true));
        }
        if node.op == "Fill".into()
            || node.op == "ZerosLike".into()
            || (node.op == "Const".into() && node.name.contains("eroState"))
        {
            return Some((TensorFact::new(graph, operations[start.0].output(start.1 as usize)), Vec::new(), false))
                .filter(|f| f.0.dtype.is_some_and(|d| d.is_floating()) && f.0.shape.rank() != Some(0));
        }
        let next = match &*node.op {
            "Split" => node.inputs.get(1),
            op if PASSING.contains(&op) => node.inputs.first(),
            _ => None,
        };
        if !matches!(&*node.op, "Identity" | "Enter") {
            way.push(format!("{}:{output}", node.name));
        }
        (at, output) = *next?;
    }
    None
}

/// The loops by the names of their frames.
fn loops(view: &View) -> Vec<Loop> {
    let frames = view.frames();
    let mut loops: Vec<Loop> = frames.names.iter().map(|n| Loop { frame_name: n.clone(), nodes: 0, variables: 0 }).collect();
    for (index, frame) in frames.of.iter().enumerate() {
        if let Some(frame) = frame {
            loops[*frame].nodes += 1;
            loops[*frame].variables += usize::from(view.nodes[index].op.ends_with("NextIteration"));
        }
    }
    loops
}

/// Operations that need updates of variables and that nothing needs: training steps.
fn training(view: &View) -> Vec<(String, usize)> {
    let updates: Vec<usize> = (0..view.nodes.len()).filter(|&i| is_update(&view.nodes[i].op)).collect();
    if updates.is_empty() {
        return Vec::new();
    }
    // From updates along control edges to the operations that group them.
    let mut followers: HashMap<usize, Vec<usize>> = HashMap::new();
    for (index, node) in view.nodes.iter().enumerate() {
        for &control in &node.controls {
            followers.entry(control).or_default().push(index);
        }
    }
    let mut reached: BTreeMap<usize, HashSet<usize>> = BTreeMap::new();
    for &update in &updates {
        let mut stack = vec![update];
        let mut seen = HashSet::new();
        while let Some(at) = stack.pop() {
            if !seen.insert(at) || seen.len() > 1000 {
                continue;
            }
            let next: Vec<usize> = followers.get(&at).into_iter().flatten().copied().collect();
            let grouping =
                |&i: &usize| matches!(&*view.nodes[i].op, "NoOp" | "AssignAdd" | "AssignAddVariableOp" | "Identity" | "Const");
            let next: Vec<usize> = next.into_iter().filter(|i| grouping(i)).collect();
            if next.is_empty() && at != update {
                reached.entry(at).or_default().insert(update);
            }
            stack.extend(next);
        }
    }
    let mut found: Vec<(String, usize)> = reached.iter().map(|(&i, u)| (view.nodes[i].name.to_string(), u.len())).collect();
    if found.is_empty() {
        found = updates.iter().map(|&i| (view.nodes[i].name.to_string(), 1)).collect();
    }
    found.sort_by_key(|f| std::cmp::Reverse(f.1));
    found
}
