//! Which tensors have gradients, and the zeros that stand for missing ones.

use super::loops::ControlFlowState;
use crate::control_flow::{self, Kind, primitive};
use crate::error::{Result, bail};
use crate::graph::{Graph, Operation, Output};
use crate::tensor::DType;

/// True for tensors that small changes make sense for.
pub(super) fn is_trainable(g: &Graph, output: Output) -> bool {
    match g.dtype(output) {
        Ok(DType::Resource | DType::Variant) => true,
        Ok(dtype) => dtype.is_floating() || dtype.is_complex(),
        Err(_) => false,
    }
}

/// Whether zeros of the tensor can be made: not for handles of which nothing is known.
pub(super) fn has_zeros(g: &Graph, output: Output) -> Result<bool> {
    Ok(g.dtype(output)? != DType::Resource || g.handle_data(output)?.is_some())
}

/// The dtype of the gradient: for a handle, that of the value behind it.
pub(super) fn zeros_dtype(g: &Graph, output: Output) -> Result<DType> {
    let dtype = g.dtype(output)?;
    if dtype != DType::Resource {
        return Ok(dtype);
    }
    match g.handle_data(output)? {
        Some(data) => Ok(data.dtype),
        None => {
            bail!(Internal, "Tried to take gradients (or similar) of a variable without handle data: {}", g.tensor_name(output))
        }
    }
}

/// Zeros for an `x` that nothing depends on.
pub(super) fn zeros_like(g: &Graph, output: Output) -> Result<Output> {
    let dtype = zeros_dtype(g, output)?;
    if g.dtype(output)? == DType::Resource {
        let shape = g.variable_shape(output)?;
        return g.zeros(shape, dtype);
    }
    g.zeros_like_with(output, Some(dtype), true)
}

/// Zeros for an output of a node without a gradient, where the node is in no loop that is run back through.
pub(super) fn zeros_of_output(g: &Graph, op: Operation, index: usize) -> Result<Output> {
    let output = op.output(index);
    let dtype = zeros_dtype(g, output)?;
    let is_resource = g.dtype(output)? == DType::Resource;
    if !control_flow::is_switch(g, op) {
        if is_resource {
            let shape = g.variable_shape(output)?;
            return g.zeros(shape, dtype);
        }
        return g.zeros_like_with(output, None, false);
    }
    let Some((pred, branch)) = branch_of(g, op) else { return g.zeros_like_with(output, None, false) };
    // The zeros are made on the branch that is taken.
    let switched = primitive::switch(g, g.input(op, 0)?, pred)?[1 - branch];
    let pivot = g.identity(switched)?;
    let shape = match is_resource {
        true => None,
        false => Some(g.shape_internal(switched, None, false)?),
    };
    let _after = g.control_dependencies(&[pivot.op])?;
    let shape = match shape {
        Some(shape) => shape,
        None => g.variable_shape(switched)?,
    };
    g.zeros(shape, dtype)
}

/// The predicate and number of the branch that a node is on.
pub(super) fn branch_of(g: &Graph, op: Operation) -> Option<(Output, usize)> {
    let context = g.op_context(op)?;
    control_flow::with(g, context, |c| match c.kind {
        Kind::Cond { pred, branch, .. } => Some((pred, branch)),
        Kind::While(_) => None,
    })
}

/// Zeros for an output of a node without a gradient; none for the Switch of a loop.
pub(super) fn zeros_in_loops(g: &Graph, loops: Option<&ControlFlowState>, op: Operation, index: usize) -> Result<Option<Output>> {
    match loops {
        Some(loops) => loops.zeros_like_output(g, op, index),
        None if has_zeros(g, op.output(index))? => zeros_of_output(g, op, index).map(Some),
        None => Ok(None),
    }
}
