//! Functions of a graph's library: bodies become graphs of their own, with plans that are made once.

use super::run::{Plan, StepOptions};
use super::{Request, Rewrites};
use crate::error::{Result, bail};
use crate::graph::attr::Attrs;
use crate::graph::op::{Caller, Differentiate, Lookup, SessionState, Signature, StepState};
use crate::graph::{FunctionRecord, Graph, ImportOptions, Inner};
use crate::proto::{AttrValue, GradientDef, GraphDef, NameAttrList, NodeDef, attr_value::Value};
use crate::tensor::Tensor;
use foldhash::{HashMap, HashMapExt};
use indexmap::IndexMap;
use std::cell::Cell;
use std::sync::{Arc, Mutex};

/// The functions that a step may call.
pub(crate) struct FunctionLibrary {
    functions: IndexMap<String, Arc<FunctionRecord>>,
    gradients: Vec<GradientDef>,
    lookup: Lookup,
    differentiate: Differentiate,
    session: Arc<SessionState>,
    rewrites: Rewrites,
    /// By function with its attributes, and whether it is the gradient.
    plans: Mutex<HashMap<(Vec<u8>, bool), Arc<Body>>>,
}

struct Body {
    plan: Plan,
}

impl FunctionLibrary {
    /// The functions of a graph as it stands.
    pub fn new(graph: &Graph, session: &Arc<SessionState>, rewrites: Rewrites) -> FunctionLibrary {
        let inner = graph.read();
        FunctionLibrary {
            functions: inner.functions.clone(),
            gradients: inner.gradients.clone(),
            lookup: inner.lookup,
            differentiate: inner.differentiate,
            session: session.clone(),
            rewrites,
            plans: Mutex::default(),
        }
    }

    fn body(&self, function: &NameAttrList, gradient: bool) -> Result<Arc<Body>> {
        use prost::Message;
        let key = (function.encode_to_vec(), gradient);
        if let Some(body) = self.plans.lock().unwrap_or_else(|e| e.into_inner()).get(&key) {
            return Ok(body.clone());
        }
        let Some(record) = self.functions.get(&function.name) else {
            bail!(NotFound, "Function {} is not defined.", function.name);
        };
        let body = self.instantiate(record, &Attrs::from(&function.attr), gradient);
        let body = Arc::new(body.map_err(|e| e.within(format!("function {}", function.name)))?);
        self.plans.lock().unwrap_or_else(|e| e.into_inner()).insert(key, body.clone());
        Ok(body)
    }

    fn instantiate(&self, record: &FunctionRecord, attrs: &Attrs, gradient: bool) -> Result<Body> {
        let graph = Graph::with_ops(self.lookup, self.differentiate);
        {
            let mut inner = graph.write();
            inner.functions = self.functions.clone();
            inner.gradients = self.gradients.clone();
        }
        let (def, results, controls) = body_graph(record, attrs, &graph.read())?;
        graph.import_graph_def(def, &ImportOptions::default())?;
        let mut arguments: Vec<_> = record
            .signature
            .inputs
            .iter()
            .enumerate()
            .flat_map(|(i, arg)| argument_names(&record.signature, i, arg.name.as_str(), attrs))
            .map(|name| graph.get_tensor_by_name(&format!("{name}:0")))
            .collect::<Result<_>>()?;
        let mut fetches: Vec<_> = results.iter().map(|name| graph.get_tensor_by_name(name)).collect::<Result<_>>()?;
        let targets: Vec<_> = controls.iter().map(|name| graph.get_operation_by_name(name)).collect::<Result<_>>()?;
        if gradient {
            let mut given = Vec::with_capacity(fetches.len());
            for &result in &fetches {
                given.push(graph.op("Placeholder").attr("dtype", graph.dtype(result)?).output()?);
            }
            fetches = (self.differentiate)(&graph, &fetches, &arguments, &given)?;
            arguments.extend(given);
        }
        let request = Request { feeds: &arguments, fetches: &fetches, targets: &targets, rewrites: &self.rewrites };
        Ok(Body { plan: super::plan(&graph, &request, &self.session)? })
    }

    fn run(&self, function: &NameAttrList, gradient: bool, arguments: Vec<Tensor>, step: &StepState) -> Result<Vec<Tensor>> {
        let _deeper = Depth::enter()?;
        let body = self.body(function, gradient)?;
        let options = StepOptions { session: step.session, caller: self, cancelled: None, tracer: None };
        body.plan.run(arguments, &options).map_err(|e| e.within(format!("function {}", function.name)))
    }
}

/// How deep functions may call each other: each call takes room on the thread's stack.
const DEEPEST: u32 = 100;

/// Counts the calls that are open on this thread.
struct Depth;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl Depth {
    fn enter() -> Result<Depth> {
        let depth = DEPTH.get() + 1;
        if depth > DEEPEST {
            bail!(ResourceExhausted, "functions call each other more than {DEEPEST} deep");
        }
        DEPTH.set(depth);
        Ok(Depth)
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// The names of the placeholders that stand for one argument.
fn argument_names(signature: &Signature, index: usize, name: &str, attrs: &Attrs) -> Vec<String> {
    let arg = &signature.inputs[index];
    let count = signature.arg_types(arg, attrs).map_or(1, |t| t.len());
    let is_list = arg.number.is_some() || matches!(arg.dtype, crate::graph::op::ArgType::List(_));
    if is_list { (0..count).map(|i| format!("{name}_{i}")).collect() } else { vec![name.to_string()] }
}

/// The body of a function as a GraphDef whose arguments are placeholders, the names of its results, and of the nodes
/// that run for their effects.
pub(crate) fn body_graph(record: &FunctionRecord, attrs: &Attrs, inner: &Inner) -> Result<(GraphDef, Vec<String>, Vec<String>)> {
    let mut nodes = Vec::new();
    // The tensors that each name in the body stands for: `argument`, `node:output:index`.
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    for (index, arg) in record.signature.inputs.iter().enumerate() {
        let types = record.signature.arg_types(arg, attrs)?;
        let own = argument_names(&record.signature, index, &arg.name, attrs);
        for (name, dtype) in own.iter().zip(&types) {
            let dtype = AttrValue { value: Some(Value::Type(dtype.number())) };
            let shape = AttrValue { value: Some(Value::Shape(crate::tensor::Shape::unknown().to_message())) };
            let attr = [("dtype".to_string(), dtype), ("shape".to_string(), shape)].into();
            nodes.push(NodeDef { name: name.clone(), op: "Placeholder".into(), attr, ..NodeDef::default() });
        }
        names.insert(arg.name.clone(), own.iter().map(|n| format!("{n}:0")).collect());
    }
    for def in &record.def.node_def {
        let mut def = def.clone();
        for value in def.attr.values_mut() {
            substitute(value, attrs)?;
        }
        let signature = match (inner.lookup)(&def.op) {
            Some(op) => op.signature(),
            None => match inner.functions.get(&def.op) {
                Some(function) => &function.signature,
                None => {
                    nodes.push(def);
                    continue;
                }
            },
        };
        let mut at = 0;
        for output in &signature.outputs {
            let count = signature.arg_types(output, &def.attr).map_or(1, |t| t.len());
            let tensors: Vec<String> = (0..count).map(|i| format!("{}:{}", def.name, at + i)).collect();
            at += count;
            names.insert(format!("{}:{}", def.name, output.name), tensors);
        }
        nodes.push(def);
    }
    for node in &mut nodes {
        let mut inputs = Vec::with_capacity(node.input.len());
        for input in &node.input {
            if input.starts_with('^') {
                inputs.push(input.clone());
            } else {
                inputs.extend(resolve(input, &names)?);
            }
        }
        node.input = inputs;
    }
    let mut results = Vec::new();
    for output in &record.signature.outputs {
        let Some(from) = record.def.ret.get(&output.name) else {
            bail!(InvalidArgument, "output '{}' of the function isn't returned", output.name);
        };
        results.extend(resolve(from, &names)?);
    }
    let controls = record.def.control_ret.values().cloned().collect();
    Ok((GraphDef { node: nodes, ..GraphDef::default() }, results, controls))
}

/// The tensors that a name in a function's body stands for.
fn resolve(input: &str, names: &HashMap<String, Vec<String>>) -> Result<Vec<String>> {
    if let Some(tensors) = names.get(input) {
        return Ok(tensors.clone());
    }
    if let Some((base, index)) = input.rsplit_once(':')
        && let (Some(tensors), Ok(index)) = (names.get(base), index.parse::<usize>())
        && let Some(tensor) = tensors.get(index)
    {
        return Ok(vec![tensor.clone()]);
    }
    bail!(InvalidArgument, "input '{input}' isn't known in the function's body")
}

/// Replaces placeholders (`$T`) in an attribute by the values that the function is instantiated with.
fn substitute(value: &mut AttrValue, attrs: &Attrs) -> Result<()> {
    match &mut value.value {
        Some(Value::Placeholder(name)) => match attrs.get(name.as_str()) {
            Some(given) => *value = given.clone(),
            None => bail!(InvalidArgument, "attribute '{name}' of the function isn't given"),
        },
        Some(Value::Func(function)) => {
            for inner in function.attr.values_mut() {
                substitute(inner, attrs)?;
            }
        }
        Some(Value::List(list)) => {
            for inner in list.func.iter_mut().flat_map(|f| f.attr.values_mut()) {
                substitute(inner, attrs)?;
            }
        }
        _ => {}
    }
    Ok(())
}

impl Caller for FunctionLibrary {
    fn call(&self, function: &NameAttrList, arguments: Vec<Tensor>, step: &StepState) -> Result<Vec<Tensor>> {
        self.run(function, false, arguments, step)
    }

    fn call_gradient(&self, function: &NameAttrList, arguments: Vec<Tensor>, step: &StepState) -> Result<Vec<Tensor>> {
        if let Some(stated) = self.gradients.iter().find(|g| g.function_name == function.name) {
            let function = NameAttrList { name: stated.gradient_func.clone(), attr: function.attr.clone() };
            return self.run(&function, false, arguments, step);
        }
        self.run(function, true, arguments, step)
    }
}
