//! Drives shape inference over the graph, and evaluates what depends on constants alone.

use super::node::{Node, Operation, Output};
use super::op::{
    Caller, HandleData, InferCtx, InferSource, Kernel, KernelCtx, NodeInfo, PrepareCtx, SessionState, StepState, Value,
};
use super::{Graph, Inner, constant};
use crate::error::{Result, bail};
use crate::graph::attr::{self, Attrs};
use crate::proto::NameAttrList;
use crate::tensor::{DType, Shape, Tensor};
use foldhash::{HashMap, HashMapExt};
use smallvec::SmallVec;
use std::sync::{Arc, Mutex};

/// At most this many nodes are evaluated to find one constant.
const FOLD_NODES: usize = 256;
/// Larger values are not computed ahead.
const FOLD_BYTES: usize = 1 << 20;

struct Source<'a> {
    inner: &'a Inner,
    inputs: &'a [Output],
}

impl InferSource for Source<'_> {
    fn constant(&self, input: usize) -> Option<Tensor> {
        self.inner.evaluate(constant::before_enters(self.inner, *self.inputs.get(input)?))
    }

    fn constant_shape(&self, input: usize) -> Shape {
        self.inputs.get(input).map_or(Shape::unknown(), |&output| constant::as_shape(self.inner, output))
    }

    fn handle(&self, input: usize) -> Option<HandleData> {
        let output = self.inputs.get(input)?;
        self.inner.node(output.op).ok()?.handles.get(output.index as usize)?.clone()
    }
}

impl Inner {
    /// Infers the shapes of a node whose inputs' shapes may still have to be inferred.
    pub(super) fn infer(&mut self, node: &mut Node) -> Result<()> {
        let inputs = node.inputs.clone();
        for input in &inputs {
            if self.node(input.op)?.shapes.is_none() {
                self.infer_to(input.op)?;
            }
        }
        let (shapes, handles) = self.infer_one(node)?;
        node.shapes = Some(shapes);
        node.handles = handles;
        Ok(())
    }

    fn infer_one(&self, node: &Node) -> Result<(Vec<Shape>, Vec<Option<HandleData>>)> {
        let count = node.types.len();
        let Some(record) = node.record else { return Ok((vec![Shape::unknown(); count], vec![None; count])) };
        let shape_of = |o: &Output| {
            let shapes = self.node(o.op).ok().and_then(|n| n.shapes.as_ref());
            shapes.and_then(|s| s.get(o.index as usize)).cloned().unwrap_or_default()
        };
        let type_of = |o: &Output| self.output_type(*o).map_or(DType::Variant, |t| t.dtype);
        let input_types: Vec<DType> = node.inputs.iter().map(type_of).collect();
        let output_types: Vec<DType> = node.types.iter().map(|t| t.dtype).collect();
        let mut ctx = InferCtx {
            op: record,
            producer: self.versions.producer,
            attrs: &node.attrs,
            inputs: node.inputs.iter().map(shape_of).collect(),
            input_types: &input_types,
            output_types: &output_types,
            outputs: vec![Shape::unknown(); count],
            handles: vec![None; count],
            source: &Source { inner: self, inputs: &node.inputs },
        };
        (record.shape)(&mut ctx)?;
        Ok((ctx.outputs, ctx.handles))
    }

    /// Infers the shapes of a node and of all before it, where that hasn't been done. At a loop's back edge the shape
    /// counts as unknown.
    pub(super) fn infer_to(&mut self, op: Operation) -> Result<()> {
        let mut stack = vec![(op.index as usize, 0usize)];
        let mut open = HashMap::new();
        while let Some((index, next)) = stack.pop() {
            let node = &self.nodes[index];
            if node.shapes.is_some() {
                continue;
            }
            open.insert(index, ());
            let merges = matches!(&*node.op_type, "Merge" | "RefMerge");
            let pending = node.inputs[next..].iter().position(|i| {
                let at = i.op.index as usize;
                let is_back_edge = merges && matches!(&*self.nodes[at].op_type, "NextIteration" | "RefNextIteration");
                self.nodes[at].shapes.is_none() && !is_back_edge && !open.contains_key(&at)
            });
            if let Some(offset) = pending {
                let input = node.inputs[next + offset].op.index as usize;
                stack.push((index, next + offset));
                stack.push((input, 0));
                continue;
            }
            let (shapes, handles) =
                self.infer_one(node).map_err(|e| e.within(format!("node {{{{node {}}}}} = {}", node.name, node.op_type)))?;
            let node = &mut self.nodes[index];
            node.shapes = Some(shapes);
            node.handles = handles;
        }
        Ok(())
    }

    /// The value of an output, if it follows from constants by pure ops and is small.
    pub(super) fn evaluate(&self, output: Output) -> Option<Tensor> {
        let mut values = HashMap::new();
        let mut budget = FOLD_NODES;
        self.evaluate_into(output, &mut values, &mut budget)
    }

    fn evaluate_into(&self, output: Output, values: &mut HashMap<Output, Tensor>, budget: &mut usize) -> Option<Tensor> {
        if let Some(value) = values.get(&output) {
            return Some(value.clone());
        }
        *budget = budget.checked_sub(1)?;
        let node = self.node(output.op).ok()?;
        if &*node.op_type == "Const" {
            return attr::tensor(node.attrs.get("value")?).ok();
        }
        if let Some(known) = constant::from_static_shape(self, node) {
            return Some(known);
        }
        // It may be fed.
        if &*node.op_type == "PlaceholderWithDefault" {
            return None;
        }
        let record = node.record?;
        if !matches!(record.kernel, Kernel::Pure(_) | Kernel::PurePrepared(_)) {
            return None;
        }
        let small = node.shapes.as_ref()?.iter().all(|s| s.num_elements().is_none_or(|n| n.saturating_mul(16) < FOLD_BYTES));
        if !small {
            return None;
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &input in &node.inputs {
            inputs.push(Value::Tensor(self.evaluate_into(input, values, budget)?));
        }
        let outputs = run_pure(&self.node_info(node).ok()?, record.kernel, inputs).ok()?;
        for (index, value) in outputs.into_iter().enumerate() {
            if let Value::Tensor(tensor) = value {
                values.insert(output.op.output(index), tensor);
            }
        }
        values.get(&output).cloned()
    }

    /// What a kernel sees of a node: attributes with defaults, types.
    pub(crate) fn node_info(&self, node: &Node) -> Result<Arc<NodeInfo>> {
        self.node_info_of(node, &mut KnownInterfaces::default())
    }

    /// The same, where nodes with the same attributes share what they need beside them.
    pub(crate) fn node_info_of(&self, node: &Node, known: &mut KnownInterfaces) -> Result<Arc<NodeInfo>> {
        let Some(record) = node.record else { bail!(Unimplemented, "Op type not registered '{}'", node.op_type) };
        let key = node.attrs.shared_key().map(|attrs| (std::ptr::from_ref(record) as usize, attrs));
        let (attrs, input_types) = match key.and_then(|key| known.0.get(&key)) {
            Some((attrs, input_types)) => (attrs.clone(), input_types.clone()),
            None => {
                let signature = record.signature();
                let mut attrs = node.attrs.clone();
                for spec in &signature.attrs {
                    if let (Some(default), false) = (&spec.default, attrs.contains_key(&spec.name)) {
                        attrs.insert(spec.name.clone(), default.clone());
                    }
                }
                let input_types: SmallVec<[DType; 4]> = signature.input_types(&attrs)?.iter().map(|t| t.0).collect();
                if let Some(key) = key {
                    known.0.insert(key, (attrs.clone(), input_types.clone()));
                }
                (attrs, input_types)
            }
        };
        let output_types = node.types.iter().map(|t| t.dtype).collect();
        Ok(Arc::new(NodeInfo { name: node.name.clone(), op: record.name, attrs, input_types, output_types }))
    }
}

/// Attributes with their defaults, and the types of inputs, by op and by the shared attributes of nodes. It holds for a
/// graph that doesn't change meanwhile.
#[derive(Default)]
pub(crate) struct KnownInterfaces(HashMap<(usize, usize), (Attrs, SmallVec<[DType; 4]>)>);

struct NoFunctions;

impl Caller for NoFunctions {
    fn call(&self, function: &NameAttrList, _: Vec<Tensor>, _: &StepState) -> Result<Vec<Tensor>> {
        bail!(NotFound, "function {} can't be called while a graph is built", function.name)
    }

    fn call_gradient(&self, function: &NameAttrList, arguments: Vec<Tensor>, step: &StepState) -> Result<Vec<Tensor>> {
        self.call(function, arguments, step)
    }
}

/// Runs a pure kernel outside of any session.
pub(crate) fn run_pure(node: &Arc<NodeInfo>, kernel: Kernel, mut inputs: Vec<Value>) -> Result<Vec<Value>> {
    let session = Arc::new(SessionState::default());
    match kernel {
        Kernel::Pure(run) => run_alone(node, &session, &mut inputs, run),
        Kernel::PurePrepared(prepare) => {
            run_alone(node, &session, &mut inputs, prepare(&PrepareCtx { node, session: &session })?)
        }
        _ => bail!(Internal, "{} isn't pure", node.op),
    }
}

/// Runs a kernel that needs no step around it.
pub(crate) fn run_alone(
    node: &Arc<NodeInfo>,
    session: &Arc<SessionState>,
    inputs: &mut Vec<Value>,
    kernel: impl Fn(&mut KernelCtx) -> Result<()>,
) -> Result<Vec<Value>> {
    let step = StepState { session, caller: &NoFunctions, objects: Mutex::default(), id: 0 };
    let mut outputs = vec![Value::Dead; node.output_types.len()];
    kernel(&mut KernelCtx { node, inputs, outputs: &mut outputs, step: &step })?;
    Ok(outputs)
}

impl Graph {
    /// What a node with a pure kernel gives for these inputs; none where it has no such kernel or fails.
    pub(crate) fn evaluate_node(&self, op: Operation, inputs: Vec<Tensor>) -> Option<Vec<Tensor>> {
        let inner = self.read();
        let node = inner.node(op).ok()?;
        let kernel = node.record?.kernel;
        let info = inner.node_info(node).ok()?;
        drop(inner);
        let outputs = run_pure(&info, kernel, inputs.into_iter().map(Value::Tensor).collect()).ok()?;
        outputs.into_iter().map(|v| if let Value::Tensor(tensor) = v { Some(tensor) } else { None }).collect()
    }

    /// The value of a tensor, if it follows from the graph's constants by pure ops and is small.
    pub fn evaluate_constant(&self, output: Output) -> Option<Tensor> {
        self.shape(output).ok()?;
        self.read().evaluate(output)
    }
}
