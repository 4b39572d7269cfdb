//! Functions whose variables became constants: copies that take values where the original takes handles.

use crate::error::{Result, bail};
use crate::graph::attr::IntoAttr;
use crate::proto::{AttrValue, FunctionDef, FunctionDefLibrary, NodeDef, attr_value};
use crate::tensor::{DType, Tensor};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Functions call functions as deep as this.
const DEEPEST: usize = 100;

/// Which inputs or outputs are values instead of handles, with their dtypes.
pub(super) type Values = BTreeMap<usize, DType>;

/// The functions of a graph, and the copies that were made of them.
pub(super) struct Functions {
    by_name: HashMap<String, FunctionDef>,
    made: HashMap<(String, Values), (String, Values)>,
    added: Vec<FunctionDef>,
    depth: usize,
}

/// How an op calls functions: from which input on its arguments are, and by which attributes types and functions are given.
struct Call {
    first: usize,
    inputs: Option<&'static str>,
    outputs: Option<&'static str>,
    /// True where the arguments are the results of the iteration before.
    loops: bool,
}

/// True for ops that call functions, by attribute or by their own name.
fn call(op: &str, is_function: bool) -> Option<Call> {
    let call = |first, inputs, outputs, loops| Some(Call { first, inputs, outputs, loops });
    match op {
        "PartitionedCall" | "StatefulPartitionedCall" => call(0, Some("Tin"), Some("Tout"), false),
        "If" | "StatelessIf" | "Case" | "StatelessCase" => call(1, Some("Tin"), Some("Tout"), false),
        "While" | "StatelessWhile" => call(0, Some("T"), Some("T"), true),
        _ if is_function => call(0, None, None, false),
        _ => None,
    }
}

impl Functions {
    pub fn new(library: Option<&FunctionDefLibrary>) -> Functions {
        let functions = library.into_iter().flat_map(|l| &l.function);
        let by_name = functions.filter_map(|f| Some((f.signature.as_ref()?.name.clone(), f.clone()))).collect();
        Functions { by_name, made: HashMap::new(), added: Vec::new(), depth: 0 }
    }

    /// True for an op that calls functions.
    pub fn is_call(&self, op: &str) -> bool {
        call(op, self.by_name.contains_key(op)).is_some()
    }

    /// The copies that were made.
    pub fn into_added(self) -> Vec<FunctionDef> {
        self.added
    }

    /// Lets a node take values where it takes handles, and returns which of its outputs became values.
    ///
    /// # Errors
    /// `Unimplemented` for an op that does something else with a variable than read it.
    pub fn rewrite(&mut self, node: &mut NodeDef, values: &Values) -> Result<Values> {
        let Some(call) = call(&node.op, self.by_name.contains_key(&node.op)) else {
            return rewrite_read(node, values);
        };
        let arguments: Values = values.iter().filter(|v| *v.0 >= call.first).map(|(i, d)| (i - call.first, *d)).collect();
        let mut results: Option<Values> = None;
        if call.inputs.is_none() {
            let (name, outputs) = self.specialized(&node.op, &arguments)?;
            node.op = name;
            results = Some(outputs);
        }
        let mut functions: Vec<(&String, &mut AttrValue)> = node.attr.iter_mut().filter(|a| !a.0.starts_with('_')).collect();
        for (attr, value) in &mut functions {
            let called = match &mut value.value {
                Some(attr_value::Value::Func(f)) => vec![&mut f.name],
                Some(attr_value::Value::List(l)) => l.func.iter_mut().map(|f| &mut f.name).collect(),
                _ => continue,
            };
            for name in called {
                let (copy, outputs) = self.specialized(name, &arguments)?;
                *name = copy;
                let is_condition = call.loops && *attr == "cond";
                match &results {
                    _ if is_condition => {}
                    Some(known) if *known != outputs => {
                        bail!(Unimplemented, "the branches of {} return variables in different places", node.name)
                    }
                    _ => results = Some(outputs),
                }
            }
        }
        let results = results.unwrap_or_default();
        if call.loops && results != arguments {
            bail!(Unimplemented, "the loop {} changes which variables it hands on", node.name);
        }
        for (attr, changed) in [(call.inputs, &arguments), (call.outputs, &results)] {
            if let Some(AttrValue { value: Some(attr_value::Value::List(list)) }) = attr.and_then(|a| node.attr.get_mut(a)) {
                for (&at, dtype) in changed {
                    if let Some(number) = list.r#type.get_mut(at) {
                        *number = dtype.number();
                    }
                }
            }
        }
        for stale in ["output_shapes", "_output_shapes", "_read_only_resource_inputs"] {
            node.attr.remove(stale);
        }
        Ok(results)
    }

    /// The name of the copy that takes these arguments as values, and which of its results are values then.
    fn specialized(&mut self, name: &str, arguments: &Values) -> Result<(String, Values)> {
        if arguments.is_empty() {
            return Ok((name.to_string(), Values::new()));
        }
        let key = (name.to_string(), arguments.clone());
        if let Some(known) = self.made.get(&key) {
            return Ok(known.clone());
        }
        let Some(mut function) = self.by_name.get(name).cloned() else {
            bail!(NotFound, "the graph calls the function {name}, which it doesn't have")
        };
        if self.depth >= DEEPEST {
            bail!(Unimplemented, "the function {name} calls itself");
        }
        self.depth += 1;
        let outputs = self.rewrite_body(&mut function, arguments).map_err(|e| e.within(format!("function {name}")));
        self.depth -= 1;
        let outputs = outputs?;
        let taken = |n: &str| self.by_name.contains_key(n) || self.added.iter().any(|f| signature_name(f) == n);
        let mut copy = format!("{name}_frozen");
        for number in 1.. {
            if !taken(&copy) {
                break;
            }
            copy = format!("{name}_frozen_{number}");
        }
        if let Some(signature) = &mut function.signature {
            signature.name.clone_from(&copy);
        }
        self.added.push(function);
        self.made.insert(key, (copy.clone(), outputs.clone()));
        Ok((copy, outputs))
    }

    fn rewrite_body(&mut self, function: &mut FunctionDef, arguments: &Values) -> Result<Values> {
        let Some(signature) = &mut function.signature else { return Ok(Values::new()) };
        let mut handles: HashMap<String, DType> = HashMap::new();
        for (&at, &dtype) in arguments {
            let Some(argument) = signature.input_arg.get_mut(at) else {
                bail!(InvalidArgument, "{} arguments, got number {at}", signature.input_arg.len())
            };
            argument.r#type = dtype.number();
            argument.handle_data.clear();
            handles.insert(argument.name.clone(), dtype);
            function.resource_arg_unique_id.remove(&(at as u32));
            if let Some(attrs) = function.arg_attr.get_mut(&(at as u32)) {
                attrs.attr.retain(|name, _| name == "_user_specified_name");
            }
        }
        let mut renamed: HashMap<String, String> = HashMap::new();
        let mut done: HashSet<usize> = HashSet::new();
        let mut extra = Vec::new();
        // The nodes of a function stand in any order.
        loop {
            let before = done.len();
            for (index, node) in function.node_def.iter_mut().enumerate() {
                let data = node.input.iter().take_while(|i| !i.starts_with('^'));
                let values: Values = data.enumerate().filter_map(|(at, i)| Some((at, *handles.get(i)?))).collect();
                if values.is_empty() || !done.insert(index) {
                    continue;
                }
                let old = match node.op.as_str() {
                    "ReadVariableOp" => "value",
                    "VarIsInitializedOp" => "is_initialized",
                    _ => "output",
                };
                let outputs = self.rewrite(node, &values)?;
                renamed.insert(format!("{}:{old}:0", node.name), format!("{}:output:0", node.name));
                handles.extend(outputs.into_iter().map(|(at, dtype)| (format!("{}:output:{at}", node.name), dtype)));
                if let Some(axis) = axis_of(node) {
                    node.input[2] = format!("{}:output:0", axis.name);
                    extra.push(axis);
                }
            }
            if done.len() == before {
                break;
            }
        }
        function.node_def.extend(extra);
        let mut outputs = Values::new();
        for (at, result) in signature.output_arg.iter_mut().enumerate() {
            if let Some(&dtype) = function.ret.get(&result.name).and_then(|r| handles.get(r)) {
                result.r#type = dtype.number();
                outputs.insert(at, dtype);
            }
        }
        let inputs = function.node_def.iter_mut().flat_map(|n| &mut n.input);
        for reference in inputs.chain(function.ret.values_mut()) {
            if let Some(new) = renamed.get(reference) {
                reference.clone_from(new);
            }
        }
        Ok(outputs)
    }
}

fn signature_name(function: &FunctionDef) -> &str {
    function.signature.as_ref().map_or("", |s| &s.name)
}

/// The constant axis of a GatherV2 that was a ResourceGather; its third input already has the constant's name.
pub(super) fn axis_of(node: &NodeDef) -> Option<NodeDef> {
    let name = format!("{}/axis", node.name);
    if node.op != "GatherV2" || node.input.get(2) != Some(&name) {
        return None;
    }
    constant(&name, &Tensor::scalar(0i32), &[]).ok()
}

/// A Const node.
pub(super) fn constant(name: &str, value: &Tensor, controls: &[String]) -> Result<NodeDef> {
    let mut node = NodeDef { name: name.to_string(), op: "Const".into(), input: controls.to_vec(), ..Default::default() };
    node.attr.insert("dtype".into(), value.dtype().into_attr());
    let message = value.to_message().map_err(|e| e.within(format!("variable {name}")))?;
    node.attr.insert("value".into(), AttrValue { value: Some(attr_value::Value::Tensor(message)) });
    Ok(node)
}

/// Turns what reads a variable by its handle into what takes the value.
fn rewrite_read(node: &mut NodeDef, values: &Values) -> Result<Values> {
    let Some(&dtype) = values.get(&0) else { bail!(Unimplemented, "{} ({}) takes a variable by its handle", node.name, node.op) };
    let mut outputs = Values::new();
    match node.op.as_str() {
        "Identity" => {
            node.attr.insert("T".into(), dtype.into_attr());
            outputs.insert(0, dtype);
        }
        "ReadVariableOp" => {
            node.op = "Identity".into();
            node.attr.remove("dtype");
            node.attr.insert("T".into(), dtype.into_attr());
        }
        "VariableShape" => {
            node.op = "Shape".into();
            node.attr.insert("T".into(), dtype.into_attr());
        }
        "ResourceGather" => {
            let batch_dims = node.attr.get("batch_dims").map(crate::graph::attr::int).transpose()?.unwrap_or(0);
            if batch_dims != 0 {
                bail!(Unimplemented, "{} gathers with batch_dims {batch_dims}, which can't be frozen", node.name);
            }
            node.op = "GatherV2".into();
            node.input.insert(2, format!("{}/axis", node.name));
            node.attr.remove("dtype");
            node.attr.remove("validate_indices");
            node.attr.insert("Tparams".into(), dtype.into_attr());
            node.attr.insert("Taxis".into(), DType::Int32.into_attr());
        }
        "ResourceGatherNd" => {
            node.op = "GatherNd".into();
            node.attr.remove("dtype");
            node.attr.insert("Tparams".into(), dtype.into_attr());
        }
        "VarIsInitializedOp" => {
            let controls: Vec<String> = node.input.iter().filter(|i| i.starts_with('^')).cloned().collect();
            *node = constant(&node.name, &Tensor::scalar(true), &controls)?;
        }
        op if super::freeze::writes(op) => {
            bail!(
                InvalidArgument,
                "{} ({op}) changes a variable, and a constant can't be changed: fetch what doesn't train",
                node.name
            )
        }
        op => bail!(Unimplemented, "{} ({op}) takes a variable by its handle, which can't be frozen", node.name),
    }
    Ok(outputs)
}
