//! Gradients of ragged tensors: of their values alone, never of their splits.

use crate::error::{Result, bail};
use crate::graph::{Gradient, Grads, Graph, IndexedSlices, Operation, Output, attr};
use crate::ops::convert::Arg;
use crate::tensor::DType;

type Gradients = Result<Vec<Option<Gradient>>>;

/// Each row that was gathered adds to the values that it covers.
pub(super) fn gather(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let [splits @ .., values, indices] = &inputs[..] else { bail!(InvalidArgument, "RaggedGather has no values") };
    let Some((&first, inner)) = splits.split_first() else { bail!(InvalidArgument, "RaggedGather has no splits") };
    let combined = inner.iter().try_fold(first, |combined, &splits| g.gather(splits, combined))?;
    let flat = g.reshape(*indices, [-1i32])?;
    let starts = g.gather(combined, flat)?;
    let limits = g.gather(g.index(combined, &[(1i32..).into()])?, flat)?;
    let one = g.cast(g.constant(1i32)?, g.dtype(starts)?)?;
    let rows = g.op("RaggedRange").input(starts).input(limits).input(one).outputs()?[1];
    let shape = g.shape_tensor(*values)?;
    let slices = IndexedSlices { values: grads.dense(g, grads.len() - 1)?, indices: rows, dense_shape: Some(shape) };
    let mut gradients = vec![None; inputs.len()];
    gradients[splits.len()] = Some(Gradient::Sparse(slices));
    Ok(gradients)
}

/// Where each element came from is found by the same op, run on the positions of the values.
pub(super) fn to_tensor(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let (values, default) = (inputs[1], inputs[2]);
    let grad = grads.dense(g, 0)?;
    let types = g.get_attr(op, "row_partition_types")?;
    let ragged = attr::list(&types)?.s.iter().filter(|kind| &kind[..] != b"FIRST_DIM_SIZE").count() as i32;
    let flat_shape = g.shape_tensor(values)?;
    let shape = g.index(g.shape_tensor(grad)?, &[(..1 + ragged).into()])?;
    let positions = g.range(0i32, g.index(flat_shape, &[0.into()])?, 1i32)?;
    let places = g.op("RaggedTensorToTensor").input(shape).input(positions).input(g.constant(-1i32)?);
    let places = places.input_list(&inputs[3..]).attr("row_partition_types", types).output()?;
    let from_values = g.op("NotEqual").input(places).input(g.constant(-1i32)?).output()?;
    let slices = IndexedSlices {
        values: g.boolean_mask(grad, from_values, 0)?,
        indices: g.boolean_mask(places, from_values, 0)?,
        dense_shape: Some(flat_shape),
    };
    let rest = g.boolean_mask(grad, g.op("LogicalNot").input(from_values).output()?, 0)?;
    let over = g.range(0i32, g.sub(g.rank(rest)?, own_rank(g, default)?)?, 1i32)?;
    let sum = g.op("Sum").input(rest).input(over).output()?;
    let default_grad = g.reshape(sum, g.shape_tensor(default)?)?;
    let mut gradients = vec![None; inputs.len()];
    gradients[1] = Some(Gradient::Sparse(slices));
    gradients[2] = Some(default_grad.into());
    Ok(gradients)
}

/// The rank without leading dimensions of size one.
fn own_rank(g: &Graph, value: Output) -> Result<Arg> {
    let shape = g.shape(value)?;
    if let Some(rank) = shape.rank() {
        let ones = (0..rank as isize).take_while(|&i| shape.dim(i) == Some(1)).count();
        if ones == rank || shape.dim(ones as isize).is_some() {
            return Ok(((rank - ones) as i32).into());
        }
    }
    let dims = g.shape_tensor(value)?;
    let is_one = g.cast(g.op("Equal").input(dims).input(g.constant(1i32)?).output()?, DType::Int32)?;
    let leading = g.op("Cumprod").input(is_one).input(g.constant(0i32)?).output()?;
    let ones = g.op("Sum").input(leading).input(g.constant([0i32])?).output()?;
    Ok(g.sub(g.rank(value)?, ones)?.into())
}
