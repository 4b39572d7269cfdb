//! The control-flow primitives as nodes: Switch, Merge, Enter, Exit, NextIteration, for tensors and references.

use crate::error::{Result, bail};
use crate::graph::{Graph, Operation, Output};
use crate::tensor::Shape;

/// How an Enter brings a value into a loop.
#[derive(Clone, Copy)]
pub(crate) struct EnterOptions<'a> {
    /// The loop's name.
    pub frame_name: &'a str,
    /// The value is the same in each iteration.
    pub is_constant: bool,
    /// How many iterations may run at once.
    pub parallel_iterations: i64,
    /// The static shape of the value holds in the loop.
    pub use_input_shape: bool,
    /// The node's name, if it isn't the op's.
    pub name: Option<&'a str>,
}

/// Passes `data` to the first output where `pred` is false, to the second where it is true.
pub(crate) fn switch(g: &Graph, data: Output, pred: Output) -> Result<[Output; 2]> {
    let op = g.op("Switch").input(data).input(pred).finish()?;
    Ok([op.output(0), op.output(1)])
}

/// A Switch beside its data, which may be a reference.
pub(crate) fn switch_ref_or_tensor(g: &Graph, data: Output, pred: Output, name: &str) -> Result<[Output; 2]> {
    let _beside = g.colocate_only_with(Some(data.op))?;
    let op_type = if g.is_ref(data) { "RefSwitch" } else { "Switch" };
    let op = g.op(op_type).input(data).input(pred).name(name).finish()?;
    Ok([op.output(0), op.output(1)])
}

/// The value of the one live input, and its number.
pub(crate) fn merge(g: &Graph, inputs: &[Output], name: Option<&str>) -> Result<[Output; 2]> {
    let op_type = if inputs.iter().all(|&i| g.is_ref(i)) { "RefMerge" } else { "Merge" };
    let op = g.op(op_type).input_list(inputs).name(name.unwrap_or("Merge")).finish()?;
    Ok([op.output(0), op.output(1)])
}

/// Makes a tensor available in a loop.
pub(crate) fn enter(g: &Graph, data: Output, options: &EnterOptions) -> Result<Output> {
    let op_type = if g.is_ref(data) { "RefEnter" } else { "Enter" };
    let entered = g
        .op(op_type)
        .input(data)
        .attr("frame_name", options.frame_name)
        .attr("is_constant", options.is_constant)
        .attr("parallel_iterations", options.parallel_iterations)
        .name(options.name.unwrap_or(op_type))
        .output()?;
    if options.use_input_shape {
        g.set_shape(entered, g.shape(data)?)?;
    }
    Ok(entered)
}

/// Makes a tensor of a loop available around it.
pub(crate) fn exit(g: &Graph, data: Output, name: Option<&str>) -> Result<Output> {
    let op_type = if g.is_ref(data) { "RefExit" } else { "Exit" };
    g.op(op_type).input(data).name(name.unwrap_or(op_type)).output()
}

/// Hands a tensor to the next iteration.
pub(crate) fn next_iteration(g: &Graph, data: Output) -> Result<Output> {
    g.op(if g.is_ref(data) { "RefNextIteration" } else { "NextIteration" }).input(data).output()
}

/// The same tensor.
pub(crate) fn identity(g: &Graph, input: Output) -> Result<Output> {
    g.op("Identity").input(input).output()
}

/// The same tensor or reference.
pub(crate) fn identity_ref(g: &Graph, input: Output) -> Result<Output> {
    g.op(if g.is_ref(input) { "RefIdentity" } else { "Identity" }).input(input).output()
}

/// Adds the back edge of a loop: `next` takes the place of the second input of `merge`.
///
/// # Errors
/// `InvalidArgument` if the shape after an iteration isn't as exact as the one that entered the loop.
pub(crate) fn add_back_edge(g: &Graph, merge: Output, next: Output, enforce_shape: bool) -> Result<Output> {
    let next = next_iteration(g, next)?;
    if enforce_shape {
        let (before, after) = (g.shape(merge)?, g.shape(next)?);
        if !less_than_or_equal(&after, &before) {
            let source = source_of_merge(g, merge.op)?;
            bail!(
                InvalidArgument,
                "Input tensor '{}' enters the loop with shape {}, but has shape {after} after one iteration. To allow the \
                 shape to vary across iterations, use the `shape_invariants` argument of tf.while_loop to specify a \
                 less-specific shape.",
                g.tensor_name(source),
                g.shape(source)?
            );
        }
    }
    g.update_input(merge.op, 1, next)?;
    Ok(next)
}

fn source_of_merge(g: &Graph, merge: Operation) -> Result<Output> {
    g.input(g.input(merge, 0)?.op, 0)
}

/// True where every value of the first shape has the second.
pub(super) fn less_than_or_equal(a: &Shape, b: &Shape) -> bool {
    let Some(b) = b.signed() else { return true };
    a.signed().is_some_and(|a| a.len() == b.len() && a.iter().zip(b).all(|(x, y)| *y < 0 || x == y))
}
