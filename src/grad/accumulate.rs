//! What is added to a loop for its gradient, and to the loop of the gradient: counters, and sums over all iterations.

use super::loop_state::{self, LoopState};
use crate::control_flow::{self, primitive};
use crate::error::{Result, bail};
use crate::graph::{ContextId, Graph, IndexedSlices, Operation, Output, attr};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape, Tensor};
use primitive::EnterOptions;

/// The name and the number of parallel iterations of a loop.
fn frame(g: &Graph, context: ContextId) -> (String, i64) {
    let name = control_flow::with(g, context, |c| c.name.clone());
    (name, control_flow::with_while(g, context, |w| w.parallel_iterations).unwrap_or(1))
}

/// Brings a first value into a loop that is being added to.
fn enter(g: &Graph, context: ContextId, value: Output, name: &str, use_input_shape: bool) -> Result<Output> {
    let (frame_name, parallel_iterations) = frame(g, context);
    let options =
        EnterOptions { frame_name: &frame_name, is_constant: false, parallel_iterations, use_input_shape, name: Some(name) };
    primitive::enter(g, value, &options)
}

fn know(g: &Graph, context: ContextId, value: Output) {
    control_flow::with(g, context, |c| c.values.insert(value));
}

fn note_enter(g: &Graph, context: ContextId, enter: Output) {
    control_flow::with_while(g, context, |w| w.loop_enters.push(enter));
}

fn note_exit(g: &Graph, context: ContextId, exit: Output) {
    control_flow::with_while(g, context, |w| w.loop_exits.push(exit));
    control_flow::exit_result(g, context, &[exit]);
}

fn pivot(g: &Graph, context: ContextId) -> Result<Output> {
    match control_flow::with_while(g, context, |w| w.pivot).flatten() {
        Some(pivot) => Ok(pivot),
        None => bail!(Internal, "a loop has no condition yet"),
    }
}

/// Counts the iterations of a loop. Returns the count behind the loop, and the counter's next value within.
pub(super) fn add_forward_counter(g: &Graph, context: ContextId, outer: Option<&LoopState>) -> Result<(Output, Output)> {
    let start = g.named("f_count").constant(0i32)?;
    if let Some(outer) = outer {
        // What the i-th run of an inner loop pushes comes before what the next run pushes.
        g.add_control_inputs(start.op, &[outer.forward_add(g)?])?;
    }
    control_flow::enter(g, context);
    know(g, context, start);
    let entered = enter(g, context, start, "f_count", true)?;
    note_enter(g, context, entered);
    let merge = primitive::merge(g, &[entered, entered], None)?[0];
    let switch = primitive::switch(g, merge, pivot(g, context)?)?;
    let index = g.operator("Add", "AddV2", switch[1], 1i32)?;
    let next = primitive::next_iteration(g, index)?;
    g.update_input(merge.op, 1, next)?;
    let count = primitive::exit(g, switch[0], Some("f_count"))?;
    note_exit(g, context, count);
    control_flow::exit(g, context);
    Ok((count, next))
}

/// Makes the loop of a gradient run as often as the loop did. Returns the counter's next value.
pub(super) fn add_backprop_counter(g: &Graph, context: ContextId, count: Output, outer: Option<&LoopState>) -> Result<Output> {
    let one = g.named("b_count").constant(1i32)?;
    control_flow::enter(g, context);
    know(g, context, count);
    let entered = enter(g, context, count, "b_count", true)?;
    note_enter(g, context, entered);
    let merge = primitive::merge(g, &[entered, entered], None)?[0];
    control_flow::with_while(g, context, |w| w.pivot_for_pred = Some(merge));
    let goes_on = g.op("GreaterEqual").input(merge).input(one).output()?;
    let pivot = g.op("LoopCond").name("b_count").input(goes_on).output()?;
    control_flow::with_while(g, context, |w| w.pivot = Some(pivot));
    let switch = primitive::switch(g, merge, pivot)?;
    let index = g.op("Sub").input(switch[1]).input(one).output()?;
    control_flow::with_while(g, context, |w| w.pivot_for_body = Some(index));
    let next = primitive::next_iteration(g, index)?;
    g.update_input(merge.op, 1, next)?;
    let zero = primitive::exit(g, switch[0], Some("b_count"))?;
    control_flow::with_while(g, context, |w| w.loop_exits.push(zero));
    if let Some(outer) = outer {
        // What the i-th run of an inner loop pops comes before what the next run pops.
        g.add_control_inputs(outer.grad_sync(g)?, &[zero.op])?;
    }
    control_flow::exit_result(g, context, &[zero]);
    control_flow::exit(g, context);
    Ok(next)
}

/// Runs within the context around the loop, if there is one.
fn around<R>(g: &Graph, context: ContextId, run: impl FnOnce() -> Result<R>) -> Result<R> {
    control_flow::within(g, control_flow::outer(g, context), run)
}

/// A constant of zeros where the shape is known.
fn constant_zeros(g: &Graph, dtype: DType, shape: &Shape, name: &str) -> Result<Option<Output>> {
    match shape.to_dims() {
        Some(dims) => g.named(name).constant_of_shape(Tensor::zeros(dtype, &[])?, &dims).map(Some),
        None => Ok(None),
    }
}

/// The sum over all iterations of the gradient of a loop invariant, which `op` brings into the loop. The loop of the
/// gradient is the current context.
pub(super) fn add_sum(g: &Graph, context: ContextId, op: Operation, gradient: Output) -> Result<Output> {
    let start = control_flow::outside(g, context, || start_of_sum(g, context, op, gradient))?;
    know(g, context, start);
    let entered = enter(g, context, start, "b_acc", true)?;
    note_enter(g, context, entered);
    let merge = primitive::merge(g, &[entered, entered], Some("b_acc"))?[0];
    let switch = primitive::switch(g, merge, pivot(g, context)?)?;
    let sum = match g.dtype(gradient)? {
        DType::Variant => g.op("AddN").input_list(&[switch[1], gradient]).output()?,
        _ => g.op("AddV2").name("Add").input(switch[1]).input(gradient).output()?,
    };
    let next = primitive::next_iteration(g, sum)?;
    g.update_input(merge.op, 1, next)?;
    let result = primitive::exit(g, switch[0], Some("b_acc"))?;
    note_exit(g, context, result);
    Ok(result)
}

fn start_of_sum(g: &Graph, context: ContextId, op: Operation, gradient: Output) -> Result<Output> {
    let (shape, dtype) = (g.shape(gradient)?, g.dtype(gradient)?);
    if dtype == DType::Variant {
        let value = g.input(op, 0)?;
        return around(g, context, || g.zeros_like_with(value, None, false));
    }
    if shape.is_fully_known() {
        let start = around(g, context, || constant_zeros(g, dtype, &shape, "b_acc"))?;
        return start.ok_or_else(|| crate::error::Error::internal("a known shape has no dimensions"));
    }
    let value = g.input(op, 0)?;
    let outer = control_flow::outer(g, context);
    if let Some(outer_grad) = outer
        && let Some(outer_state) = loop_state::of_context(g, outer_grad)
        && let Some(state) = loop_state::of_context(g, context)
    {
        // A loop within another: the shape is kept for each iteration of that.
        let shape = around(g, state.forward, || g.shape_internal(value, None, false))?;
        let history = outer_state.add_forward_accumulator(g, shape, false)?;
        return around(g, context, || {
            let real = outer_state.add_accumulated_value(g, history, shape, false)?;
            g.zeros(real, dtype)
        });
    }
    around(g, context, || {
        let shape = g.shape_internal(value, None, false)?;
        g.zeros(shape, dtype)
    })
}

/// The same for rows: those of all iterations one behind the other.
pub(super) fn add_slices_sum(g: &Graph, context: ContextId, op: Operation, gradient: &IndexedSlices) -> Result<IndexedSlices> {
    let start = || around(g, context, || start_of_slices(g, context, op, gradient));
    let (values, indices, shape) = control_flow::outside(g, context, start)?;
    for value in [Some(values), Some(indices), shape].into_iter().flatten() {
        know(g, context, value);
    }
    let starts: Vec<Output> = [Some(indices), Some(values), shape].into_iter().flatten().collect();
    let mut enters = Vec::with_capacity(starts.len());
    for &start in &starts {
        enters.push(enter(g, context, start, "b_acc", false)?);
    }
    g.set_shape(enters[0], Shape::vector(None))?;
    let rows = g.shape(values)?;
    if rows.rank().is_some() {
        g.set_shape(enters[1], Shape::vector(None).concatenate(&rows.slice_from(1)))?;
    }
    for &enter in &enters {
        note_enter(g, context, enter);
    }
    let (mut merges, mut switches) = (Vec::new(), Vec::new());
    for &enter in &enters {
        merges.push(primitive::merge(g, &[enter, enter], Some("b_acc"))?[0]);
    }
    let pivot = pivot(g, context)?;
    for &merge in &merges {
        switches.push(primitive::switch(g, merge, pivot)?);
    }
    let mut sums = Vec::with_capacity(starts.len());
    for (switch, part) in switches.iter().zip([gradient.indices, gradient.values]) {
        sums.push(g.concat(&[switch[1].into(), part.into()], 0i32)?);
    }
    if let (Some(switch), Some(shape)) = (switches.get(2), gradient.dense_shape) {
        sums.push(g.op("Maximum").input(shape).input(switch[1]).output()?);
    }
    let mut nexts = Vec::with_capacity(sums.len());
    for &sum in &sums {
        nexts.push(primitive::next_iteration(g, sum)?);
    }
    for (merge, &next) in merges.iter().zip(&nexts) {
        g.update_input(merge.op, 1, next)?;
    }
    let mut exits = Vec::with_capacity(switches.len());
    for switch in &switches {
        exits.push(primitive::exit(g, switch[0], Some("b_acc"))?);
    }
    for &exit in &exits {
        note_exit(g, context, exit);
    }
    Ok(IndexedSlices { indices: exits[0], values: exits[1], dense_shape: exits.get(2).copied() })
}

/// What the rows begin with: one row of zeros for the first row.
fn start_of_slices(
    g: &Graph,
    context: ContextId,
    op: Operation,
    gradient: &IndexedSlices,
) -> Result<(Output, Output, Option<Output>)> {
    let (shape, dtype) = (g.shape(gradient.values)?, g.dtype(gradient.values)?);
    let values = match shape.is_fully_known() {
        true => {
            let row = shape.with_dim(0, Some(1));
            around(g, context, || constant_zeros(g, dtype, &row, "b_acc"))?
        }
        false => None,
    };
    let values = match values {
        Some(values) => values,
        None => {
            let row = row_shape(g, g.input(op, 0)?)?;
            let shape = g.concat(&[vec![1i32].into(), row], 0i32)?;
            g.zeros(shape, dtype)?
        }
    };
    let zero = Tensor::zeros(g.dtype(gradient.indices)?, &[1])?;
    let indices = g.constant(zero)?;
    let shape = match gradient.dense_shape {
        None => None,
        Some(dense) => {
            let dtype = g.dtype(dense)?;
            match around(g, context, || constant_zeros(g, dtype, &g.shape(dense)?, "Const"))? {
                Some(zeros) => Some(zeros),
                None => {
                    let shape = g.shape_internal(g.input(op, 0)?, Some(dtype), false)?;
                    Some(g.zeros_like_with(shape, None, false)?)
                }
            }
        }
    };
    Ok((values, indices, shape))
}

/// The shape of the rows of a tensor, or of the variable that a handle refers to.
fn row_shape(g: &Graph, tensor: Output) -> Result<Arg> {
    if g.dtype(tensor)? != DType::Resource {
        let shape = g.shape_internal(tensor, None, false)?;
        return Ok(g.index(shape, &[(1i32..).into()])?.into());
    }
    let mut handle = tensor;
    while let Some(&input) = g.inputs(handle.op).first() {
        handle = input;
    }
    let shape = attr::shape(&g.get_attr(handle.op, "shape")?)?;
    match shape.slice_from(1).to_dims() {
        Some(dims) => Ok(dims.iter().map(|&d| d as i32).collect::<Vec<_>>().into()),
        None => bail!(InvalidArgument, "the shape of {} isn't known", g.tensor_name(handle)),
    }
}
