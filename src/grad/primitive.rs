//! Gradients of the control-flow primitives.

use super::accumulate;
use super::aggregate;
use super::function;
use super::loop_state;
use crate::control_flow::{self, Kind, primitive};
use crate::error::{Result, bail};
use crate::graph::{Gradient, Grads, Graph, IndexedSlices, Operation, Output};
use primitive::EnterOptions;

type Gradients = Result<Vec<Option<Gradient>>>;

/// What a node's context is.
enum Place {
    Nowhere,
    Branch(Output, usize),
    Loop,
}

fn place(g: &Graph, context: Option<crate::graph::ContextId>) -> Place {
    match context {
        None => Place::Nowhere,
        Some(context) => control_flow::with(g, context, |c| match c.kind {
            Kind::Cond { pred, branch, .. } => Place::Branch(pred, branch),
            Kind::While(_) => Place::Loop,
        }),
    }
}

/// The gradients of a control-flow primitive's inputs.
///
/// # Errors
/// `Unimplemented` for second derivatives of loops; as the nodes that are made.
pub(super) fn gradients(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    match g.op_type(op).as_str() {
        "Switch" | "RefSwitch" => switch(g, op, grads),
        "Merge" | "RefMerge" => merge(g, op, grads),
        "Exit" | "RefExit" => exit(g, op, grads),
        "Enter" | "RefEnter" => enter(g, op, grads),
        "NextIteration" | "RefNextIteration" => Ok(vec![grads.get(0)]),
        "LoopCond" => Ok(vec![None]),
        other if function::is_functional(other) => function::functional(g, op, grads),
        other => bail!(Internal, "{other} is no control-flow primitive"),
    }
}

fn merge_gradients(g: &Graph, gradients: &[Gradient], name: &str) -> Result<Gradient> {
    let dense: Option<Vec<Output>> = gradients.iter().map(|x| x.dense()).collect();
    if let Some(dense) = dense {
        return Ok(primitive::merge(g, &dense, Some(name))?[0].into());
    }
    let _scope = g.name_scope(name)?;
    let slices = aggregate::as_slices_list(g, gradients, false)?;
    let merge = |parts: Vec<Output>| Ok(primitive::merge(g, &parts, None)?[0]);
    let values: Result<Output> = merge(slices.iter().map(|s| s.values).collect());
    let values = values?;
    let indices: Result<Output> = merge(slices.iter().map(|s| s.indices).collect());
    let indices = indices?;
    let shapes: Option<Vec<Output>> = slices.iter().map(|s| s.dense_shape).collect();
    let dense_shape: Option<Result<Output>> = shapes.map(merge);
    Ok(Gradient::Sparse(IndexedSlices { values, indices, dense_shape: dense_shape.transpose()? }))
}

/// A gradient switched; rows part by part.
fn switch_gradient(g: &Graph, gradient: Gradient, pred: Output, name: &str) -> Result<[Gradient; 2]> {
    match gradient {
        Gradient::Dense(output) => {
            let [f, t] = primitive::switch_ref_or_tensor(g, output, pred, name)?;
            Ok([f.into(), t.into()])
        }
        Gradient::Sparse(slices) => {
            let _beside = g.colocate_only_with(Some(slices.values.op))?;
            let _scope = g.name_scope(name)?;
            let [values_false, values_true] = primitive::switch(g, slices.values, pred)?;
            let [indices_false, indices_true] = primitive::switch(g, slices.indices, pred)?;
            let shape = slices.dense_shape.map(|s| primitive::switch(g, s, pred)).transpose()?;
            let side = |values, indices, dense_shape| Gradient::Sparse(IndexedSlices { values, indices, dense_shape });
            Ok([side(values_false, indices_false, shape.map(|s| s[0])), side(values_true, indices_true, shape.map(|s| s[1]))])
        }
    }
}

/// The Switch of a loop is met twice: from the Exit, when its Merge is made, and from the body, when the back edge is
/// added.
fn switch(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let mut pred = g.input(op, 1)?.op;
    while g.op_type(pred) == "Identity" {
        pred = g.input(pred, 0)?.op;
    }
    match place(g, g.op_context(op)) {
        Place::Loop if g.op_type(pred) == "LoopCond" => {
            let current = control_flow::containing_while(g, g.current_context());
            let Some(state) = current.and_then(|c| loop_state::of_context(g, c)) else {
                bail!(Internal, "the Switch '{}' of a loop is met outside of a gradient's loop", g.op_name(op))
            };
            if let Some(merge) = state.merge_of(op) {
                if let Some(gradient) = grads.get(1) {
                    add_back_edge(g, merge, gradient)?;
                }
                return Ok(vec![None, None]);
            }
            let Some(gradient) = grads.get(0) else { return Ok(vec![None, None]) };
            let merged = merge_gradients(g, &[gradient, gradient], "b_switch")?;
            match merged {
                Gradient::Dense(merge) => state.set_merge_of(op, merge),
                Gradient::Sparse(slices) => state.set_merge_of(op, slices.values),
            }
            Ok(vec![Some(merged), None])
        }
        Place::Branch(_, branch) => {
            if grads.get(1 - branch).is_none() {
                let is_resource = g.dtype(g.input(op, 0)?)? == crate::tensor::DType::Resource;
                return match grads.get(branch) {
                    Some(gradient) if is_resource => {
                        Ok(vec![Some(merge_gradients(g, &[gradient, gradient], "cond_resource_grad")?), None])
                    }
                    _ => Ok(vec![None, None]),
                };
            }
            let both: Vec<Gradient> = (0..grads.len()).filter_map(|i| grads.get(i)).collect();
            Ok(vec![Some(merge_gradients(g, &both, "cond_grad")?), None])
        }
        Place::Nowhere | Place::Loop => {
            let (Some(when_false), Some(when_true)) = (grads.get(0), grads.get(1)) else { return Ok(vec![None, None]) };
            let pred = g.input(op, 1)?;
            let when_false = switch_plain(g, when_false, pred)?[0];
            let when_true = switch_plain(g, when_true, pred)?[1];
            Ok(vec![Some(merge_gradients(g, &[when_false, when_true], "Merge")?), None])
        }
    }
}

fn switch_plain(g: &Graph, gradient: Gradient, pred: Output) -> Result<[Gradient; 2]> {
    match gradient {
        Gradient::Dense(output) => {
            let [f, t] = primitive::switch(g, output, pred)?;
            Ok([f.into(), t.into()])
        }
        sparse => switch_gradient(g, sparse, pred, "Switch"),
    }
}

fn add_back_edge(g: &Graph, merge: Output, gradient: Gradient) -> Result<()> {
    match gradient {
        Gradient::Dense(output) => primitive::add_back_edge(g, merge, output, false).map(drop),
        Gradient::Sparse(_) => {
            bail!(
                Unimplemented,
                "the gradient of the loop variable behind '{}' is rows of a gathered tensor",
                g.tensor_name(merge)
            )
        }
    }
}

fn merge(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let Some(gradient) = grads.get(0) else { return Ok(vec![None; g.inputs(op).len()]) };
    let first = g.input(op, 0)?;
    let is_of_loop = g.inputs(op).iter().any(|i| g.op_type(i.op).ends_with("NextIteration"));
    match place(g, control_flow::output_context(g, first.op)) {
        Place::Loop if is_of_loop => {
            let pivot = g.current_context().and_then(|c| control_flow::with_while(g, c, |w| w.pivot)).flatten();
            let Some(pivot) = pivot else {
                bail!(Internal, "the Merge '{}' of a loop is met outside of a gradient's loop", g.op_name(op))
            };
            Ok(switch_gradient(g, gradient, pivot, "Switch")?.into_iter().map(Some).collect())
        }
        Place::Branch(mut pred, _) => {
            // Within a loop, each iteration has its own predicate.
            if let Some(state) = control_flow::containing_while(g, g.current_context()).and_then(|c| loop_state::of_context(g, c))
            {
                pred = match state.history_of(pred) {
                    Some(real) => real,
                    None => {
                        let keep = || state.add_forward_accumulator(g, pred, false);
                        let history = control_flow::outside(g, state.grad_context(), keep)?;
                        let real = state.add_accumulated_value(g, history, pred, false)?;
                        state.set_history_of(pred, real);
                        real
                    }
                };
            }
            Ok(switch_gradient(g, gradient, pred, "cond_grad")?.into_iter().map(Some).collect())
        }
        Place::Nowhere | Place::Loop => {
            let count = g.inputs(op).len();
            let mut taken = Vec::with_capacity(count);
            for index in 0..count {
                taken.push(g.call("Equal").arg(op.output(1)).arg(index as i32).output()?);
            }
            let mut gradients = Vec::with_capacity(count);
            for taken in taken {
                gradients.push(Some(switch_gradient(g, gradient, taken, "Switch")?[1]));
            }
            Ok(gradients)
        }
    }
}

/// A value that leaves a loop is a gradient that enters the gradient's loop.
fn exit(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let Some(gradient) = grads.get(0) else { return Ok(vec![None]) };
    let Some(grad) = g.current_context() else {
        bail!(Internal, "the Exit '{}' is met outside of a gradient's loop", g.op_name(op))
    };
    let back_prop = control_flow::with_while(g, grad, |w| w.back_prop).unwrap_or(true);
    if !back_prop {
        return Ok(vec![None]);
    }
    if g.op_context(op).is_some_and(|c| control_flow::backprop(g, c).is_some()) {
        bail!(Unimplemented, "Second-order gradient for while loops not supported.");
    }
    let parts: Vec<Output> = match gradient {
        Gradient::Dense(output) => vec![output],
        Gradient::Sparse(s) => [Some(s.values), Some(s.indices), s.dense_shape].into_iter().flatten().collect(),
    };
    control_flow::with(g, grad, |c| c.values.extend(&parts));
    let name = control_flow::with(g, grad, |c| c.name.clone());
    let parallel_iterations = control_flow::with_while(g, grad, |w| w.parallel_iterations).unwrap_or(1);
    let named = matches!(gradient, Gradient::Dense(_)).then_some("b_exit");
    let options = EnterOptions { frame_name: &name, is_constant: false, parallel_iterations, use_input_shape: true, name: named };
    let entered = control_flow::within(g, Some(grad), || {
        parts.iter().map(|&part| primitive::enter(g, part, &options)).collect::<Result<Vec<Output>>>()
    })?;
    control_flow::with_while(g, grad, |w| w.loop_enters.extend(&entered));
    Ok(vec![Some(match entered[..] {
        [values] => Gradient::Dense(values),
        [values, indices, ref shape @ ..] => {
            Gradient::Sparse(IndexedSlices { values, indices, dense_shape: shape.first().copied() })
        }
        [] => bail!(Internal, "a gradient has no parts"),
    })])
}

/// A value that enters a loop is a gradient that leaves the gradient's loop; that of an invariant is a sum.
fn enter(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let gradient = grads.get(0);
    let Some(grad) = g.current_context() else { return Ok(vec![gradient]) };
    let back_prop = control_flow::with_while(g, grad, |w| w.back_prop).unwrap_or(false);
    let in_gradient = control_flow::containing_while(g, Some(grad)).is_some_and(|c| control_flow::backprop(g, c).is_some());
    let (true, true, Some(gradient)) = (back_prop, in_gradient, gradient) else { return Ok(vec![gradient]) };
    let result = if control_flow::is_constant_enter(g, op) {
        match gradient {
            Gradient::Dense(output) => accumulate::add_sum(g, grad, op, output)?.into(),
            Gradient::Sparse(slices) => Gradient::Sparse(accumulate::add_slices_sum(g, grad, op, &slices)?),
        }
    } else {
        let leave = |value: Output| {
            let left = primitive::exit(g, value, None)?;
            control_flow::with_while(g, grad, |w| w.loop_exits.push(left));
            control_flow::exit_result(g, grad, &[left]);
            Ok(left)
        };
        match gradient {
            Gradient::Dense(output) => {
                let left: Result<Output> = leave(output);
                left?.into()
            }
            Gradient::Sparse(slices) => {
                let values: Result<Output> = leave(slices.values);
                let values = values?;
                let indices: Result<Output> = leave(slices.indices);
                let indices = indices?;
                let dense_shape: Option<Result<Output>> = slices.dense_shape.map(leave);
                Gradient::Sparse(IndexedSlices { values, indices, dense_shape: dense_shape.transpose()? })
            }
        }
    };
    Ok(vec![Some(result)])
}
