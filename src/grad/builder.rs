//! The order in which nodes are run back through.

use super::connect::{self, Between};
use super::default::{self, is_trainable};
use super::{GradientOptions, UnconnectedGradients, aggregate, function, loops, primitive};
use crate::control_flow;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, GradFn};
use crate::graph::{Gradient, Grads, Graph, IndexedSlices, Operation, Output, attr};
use crate::ops::array::densify;
use crate::tensor::DType;
use std::collections::{HashMap, HashSet, VecDeque};

/// The gradients that an output has received, and their sum once it was needed.
#[derive(Clone)]
enum Received {
    Terms(Vec<Option<Gradient>>),
    Sum(Option<Gradient>),
}

struct Builder<'a> {
    g: &'a Graph,
    options: &'a GradientOptions,
    received: HashMap<Operation, Vec<Received>>,
    between: Between,
    queue: VecDeque<Operation>,
}

pub(super) fn build(g: &Graph, ys: &[Output], xs: &[Output], options: &GradientOptions) -> Result<Vec<Option<Gradient>>> {
    let (g, scope) = g.enter("gradients")?;
    let g = &g;
    g.unique_name("uid");
    let starts = start_gradients(g, ys, options)?;
    let to: Vec<Operation> = ys.iter().map(|y| y.op).collect();
    let from: Vec<Operation> = xs.iter().map(|x| x.op).collect();
    let between = connect::connect(g, &to, &from, options.colocate_gradients_with_ops)?;
    let mut builder = Builder { g, options, received: HashMap::new(), between, queue: VecDeque::new() };
    for (&y, start) in ys.iter().zip(starts) {
        builder.receive(y, start);
    }
    builder.run(&to, &from)?;
    drop(scope);
    if let Some(loops) = &builder.between.loops {
        loops.finish(g)?;
    }
    xs.iter().map(|&x| builder.result(x)).collect()
}

/// The gradients of `ys`.
fn start_gradients(g: &Graph, ys: &[Output], options: &GradientOptions) -> Result<Vec<Gradient>> {
    let mut starts = Vec::with_capacity(ys.len());
    for (index, &y) in ys.iter().enumerate() {
        let _beside = options.colocate_gradients_with_ops.then(|| g.colocate_with(y.op)).transpose()?;
        let given = options.grad_ys.get(index).copied().flatten();
        let name = |part: &str| g.named(&format!("grad_ys_{index}{part}"));
        let dtype = g.dtype(y)?;
        starts.push(match given {
            None if dtype.is_complex() => {
                bail!(InvalidArgument, "Gradients of complex tensors ({}) must set grad_ys (y.dtype = {dtype})", g.tensor_name(y))
            }
            None => {
                let shape = g.shape_tensor(y)?;
                name("").ones(shape, dtype)?.into()
            }
            Some(given) => {
                check_start(g, y, dtype, given)?;
                match given {
                    Gradient::Dense(output) => name("").identity(output)?.into(),
                    Gradient::Sparse(slices) => {
                        let indices = name("_indices").identity(slices.indices)?;
                        let values = name("_values").identity(slices.values)?;
                        let dense_shape = slices.dense_shape.map(|s| name("_shape").identity(s)).transpose()?;
                        Gradient::Sparse(IndexedSlices { values, indices, dense_shape })
                    }
                }
            }
        });
    }
    Ok(starts)
}

fn check_start(g: &Graph, y: Output, dtype: DType, given: Gradient) -> Result<()> {
    let got = match given {
        Gradient::Dense(output) => g.dtype(output)?,
        Gradient::Sparse(slices) => g.dtype(slices.values)?,
    };
    let real = |d: DType| d.is_floating() || d.is_integer();
    let fits = match dtype {
        d if real(d) => real(got),
        d if d.is_complex() => got.is_complex(),
        DType::Variant => got == DType::Variant,
        DType::Resource => got != DType::Resource,
        _ => {
            let name = g.tensor_name(y);
            bail!(InvalidArgument, "Tensor {name} with type {dtype} must be numeric to obtain a default gradient")
        }
    };
    if !fits {
        bail!(
            InvalidArgument,
            "Gradient type {got} generated for tensor {} with type {dtype} must be of the same class",
            g.tensor_name(y)
        );
    }
    Ok(())
}

impl Builder<'_> {
    fn receive(&mut self, output: Output, gradient: Gradient) {
        let count = self.g.num_outputs(output.op);
        let slots = self.received.entry(output.op).or_insert_with(|| vec![Received::Terms(Vec::new()); count]);
        match &mut slots[output.index as usize] {
            Received::Terms(terms) => terms.push(Some(gradient)),
            sum => *sum = Received::Sum(Some(gradient)),
        }
    }

    fn pending(&self, op: Operation) -> i64 {
        self.between.pending.get(&op).copied().unwrap_or(0)
    }

    fn run(&mut self, to: &[Operation], from: &[Operation]) -> Result<()> {
        let g = self.g;
        let mut started = HashSet::new();
        for &op in to {
            if self.pending(op) == 0 && self.between.reachable.contains(&op) && started.insert(op) {
                self.queue.push_back(op);
            }
        }
        if let Some(loops) = &self.between.loops {
            let exits = loops.unused_exits(g, &mut self.between.pending, &started);
            for exit in exits {
                if is_trainable(g, exit) {
                    let zeros = self.zeros_for_exit(exit)?;
                    self.receive(exit, zeros.into());
                    self.queue.push_back(exit.op);
                }
            }
        }
        let stops = self.stops(from);
        while let Some(op) = self.queue.pop_front() {
            let beside = self.options.colocate_gradients_with_ops.then(|| g.colocate_with(op)).transpose()?;
            self.step(op, stops.contains(&op), from)?;
            drop(beside);
            self.hand_on(op)?;
        }
        Ok(())
    }

    fn zeros_for_exit(&self, exit: Output) -> Result<Output> {
        match &self.between.loops {
            Some(loops) => loops.zeros_for_exit(self.g, exit),
            None => bail!(Internal, "there are no loops"),
        }
    }

    /// The nodes that are not differentiated: those of `xs` that no other of `xs` comes before, and those that the caller
    /// names.
    fn stops(&self, from: &[Operation]) -> HashSet<Operation> {
        let first = |op: &&Operation| self.g.inputs(**op).iter().all(|input| self.pending(input.op) <= 0);
        let mut stops: HashSet<Operation> = from.iter().filter(first).copied().collect();
        stops.extend(self.options.stop_gradients.iter().map(|t| t.op));
        stops
    }

    /// Adds up what a node received, makes its gradient, and hands it to the node's inputs.
    fn step(&mut self, op: Operation, stop: bool, from: &[Operation]) -> Result<()> {
        let g = self.g;
        self.enter_loop(op, true);
        let mut out_grads = self.sums(op)?;
        self.exit_loop(op, true);
        let has_gradient = out_grads.iter().any(Option::is_some);
        let function = if has_gradient && !stop { gradient_function(g, op)? } else { None };
        self.enter_loop(op, false);
        if loops::is_switch_of(g, op, g.current_context()) {
            return Err(self.initial_value_error(op, from));
        }
        if let (Some(function), true) = (function, has_gradient) {
            self.fill_zeros(op, &mut out_grads)?;
            let inputs = g.inputs(op);
            let in_grads = {
                let _scope = g.name_scope(&format!("{}_grad", g.op_name(op)))?;
                let grads = Grads::new(&out_grads, densify);
                let mut in_grads = function(g, op, &grads).map_err(|e| e.within(format!("gradient of {}", g.op_name(op))))?;
                if in_grads.len() != inputs.len() {
                    bail!(
                        Internal,
                        "Num gradients {} generated for op {} do not match num inputs {}",
                        in_grads.len(),
                        g.op_name(op),
                        inputs.len()
                    );
                }
                if self.options.gate_gradients && in_grads.iter().flatten().count() > 1 {
                    let _beside = g.colocate_only_with(None)?;
                    in_grads = g.tuple_gradients(&in_grads, &[])?;
                }
                in_grads
            };
            for (index, (&input, gradient)) in inputs.iter().zip(in_grads).enumerate() {
                let Some(gradient) = gradient else { continue };
                if let Gradient::Dense(output) = gradient
                    && g.dtype(input)? != DType::Resource
                {
                    let shape = g.shape(input)?;
                    g.set_shape(output, shape.clone()).map_err(|_| incompatible(g, op, index, &shape, output))?;
                }
                self.receive(input, gradient);
            }
        }
        self.exit_loop(op, false);
        Ok(())
    }

    fn enter_loop(&self, op: Operation, before: bool) {
        if let Some(loops) = &self.between.loops {
            loops.enter_grad_context(self.g, op, before);
        }
    }

    fn exit_loop(&self, op: Operation, before: bool) {
        if let Some(loops) = &self.between.loops {
            loops.exit_grad_context(self.g, op, before);
        }
    }

    /// The gradients of a node's outputs, each added up.
    fn sums(&mut self, op: Operation) -> Result<Vec<Option<Gradient>>> {
        let Some(slots) = self.received.get(&op) else { return Ok(vec![None; self.g.num_outputs(op)]) };
        let mut sums = Vec::with_capacity(slots.len());
        for slot in slots.clone() {
            sums.push(match slot {
                Received::Sum(sum) => sum,
                Received::Terms(terms) => aggregate::aggregate(self.g, op, &terms, self.options.aggregation_method)?,
            });
        }
        self.received.insert(op, sums.iter().map(|&s| Received::Sum(s)).collect());
        Ok(sums)
    }

    /// Zeros for the outputs that received nothing.
    fn fill_zeros(&mut self, op: Operation, out_grads: &mut [Option<Gradient>]) -> Result<()> {
        let is_call = function::is_call(self.g, op);
        for (index, gradient) in out_grads.iter_mut().enumerate() {
            if gradient.is_none() && (is_call || is_trainable(self.g, op.output(index))) {
                let zeros = default::zeros_in_loops(self.g, self.between.loops.as_ref(), op, index)?;
                *gradient = zeros.map(Gradient::Dense);
                if let Some(slots) = self.received.get_mut(&op) {
                    slots[index] = Received::Sum(*gradient);
                }
            }
        }
        Ok(())
    }

    fn has_gradients(&self, op: Operation) -> bool {
        let some = |slot: &Received| match slot {
            Received::Terms(terms) => terms.iter().any(Option::is_some),
            Received::Sum(sum) => sum.is_some(),
        };
        self.received.get(&op).is_some_and(|slots| slots.iter().any(some))
    }

    /// Counts a node as done for its inputs, and queues those that wait for nothing else.
    fn hand_on(&mut self, op: Operation) -> Result<()> {
        let g = self.g;
        for input in g.inputs(op) {
            let pending = self.between.pending.entry(input.op).or_default();
            *pending -= 1;
            let pending = *pending;
            let has_loops = self.between.loops.is_some();
            let ready = pending == 0 || has_loops && pending > 0 && control_flow::is_loop_switch(g, input.op);
            if !ready {
                continue;
            }
            let loops = self.between.loops.as_ref().filter(|_| control_flow::is_exit(g, input.op));
            let Some(loops) = loops else {
                self.queue.push_back(input.op);
                continue;
            };
            let Some(exits) = loops.defer_exit(g, input, |op| self.has_gradients(op)) else { continue };
            self.queue.extend(exits.with_gradient.iter().map(|e| e.op));
            for exit in exits.unused {
                if !exits.with_gradient.is_empty() && is_trainable(g, exit) {
                    let zeros = self.zeros_for_exit(exit)?;
                    self.receive(exit, zeros.into());
                }
                self.queue.push_back(exit.op);
            }
        }
        Ok(())
    }

    fn result(&self, x: Output) -> Result<Option<Gradient>> {
        let gradient = match self.received.get(&x.op).map(|slots| &slots[x.index as usize]) {
            Some(Received::Sum(sum)) => *sum,
            Some(Received::Terms(terms)) if terms.is_empty() => None,
            Some(Received::Terms(_)) => bail!(Internal, "the gradients of {} were not added up", self.g.tensor_name(x)),
            None => None,
        };
        match (gradient, self.options.unconnected_gradients) {
            (None, UnconnectedGradients::Zero) => Ok(Some(default::zeros_like(self.g, x)?.into())),
            (gradient, _) => Ok(gradient),
        }
    }

    /// The error where the first value of a loop variable is an `x` of gradients that are taken within the loop.
    fn initial_value_error(&self, op: Operation, from: &[Operation]) -> Error {
        let mut queue = VecDeque::from([op]);
        let mut seen = HashSet::new();
        let mut target = op;
        while let Some(op) = queue.pop_front() {
            if seen.insert(op) {
                if from.contains(&op) {
                    target = op;
                    break;
                }
                queue.extend(self.g.inputs(op).iter().map(|i| i.op));
            }
        }
        Error::invalid_argument(format!(
            "Cannot compute gradient inside while loop with respect to op '{}'. We do not support taking the gradient wrt or \
             through the initial value of a loop variable. Gradients can be computed through loop invariants or wrt the input \
             parameters to the loop body.",
            self.g.op_name(target)
        ))
    }
}

fn incompatible(g: &Graph, op: Operation, index: usize, shape: &crate::tensor::Shape, gradient: Output) -> Error {
    Error::invalid_argument(format!(
        "Incompatible shapes between op input and calculated input gradient. Forward operation: {}. Input index: {index}. \
         Original input shape: {shape}. Calculated input gradient shape: {}",
        g.op_name(op),
        g.shape(gradient).unwrap_or_default()
    ))
}

/// The function that makes a node's gradient; none where gradients stop.
fn gradient_function(g: &Graph, op: Operation) -> Result<Option<GradFn>> {
    if g.inputs(op).is_empty() {
        return Ok(None);
    }
    let op_type = match g.get_attr(op, "_gradient_op_type") {
        Ok(value) => attr::string(&value)?.to_string(),
        Err(_) => g.op_type(op),
    };
    if function::is_call(g, op) && op_type == g.op_type(op) {
        return Ok(Some(function::call));
    }
    match crate::ops::lookup(&op_type).map(|record| record.grad) {
        Some(Grad::Fn(function)) => Ok(Some(function)),
        Some(Grad::Control) => Ok(Some(primitive::gradients)),
        Some(Grad::None(_)) => Ok(None),
        Some(Grad::Missing) | None => bail!(
            NotFound,
            "No gradient defined for operation '{}' (op type: {op_type}). If you want to pretend this operation is a constant \
             in your program, you may insert `stop_gradient`.",
            g.op_name(op)
        ),
    }
}
