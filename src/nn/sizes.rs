//! Shapes from the sizes of batch, state and output.

use super::nested::Nested;
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::tensor::{DType, Shape, Tensor};

/// The size of a batch: a number where it is static, and otherwise a scalar tensor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Batch {
    Static(usize),
    Dynamic(Output),
}

/// Sizes as an int32 constant, if all are known.
fn known(g: &Graph, shape: &Shape) -> Result<Option<Output>> {
    let Some(dims) = shape.to_dims() else { return Ok(None) };
    let dims: Option<Vec<i32>> = dims.iter().map(|&d| i32::try_from(d).ok()).collect();
    let Some(dims) = dims else { bail!(InvalidArgument, "the sizes {shape} don't fit in int32") };
    g.constant(Tensor::from(dims)).map(Some)
}

/// The nodes that TensorFlow makes of the parts whether or not their values are used, and the static shape of the prefix.
fn parts(g: &Graph, prefix: Batch, suffix: &Shape) -> Result<(Output, Output, Shape)> {
    let (first, static_prefix) = match prefix {
        Batch::Static(size) => {
            let shape = Shape::from([size]);
            (known(g, &shape)?, shape)
        }
        Batch::Dynamic(size) => {
            let value = g.constant_value(size).and_then(|v| v.item_i64().ok());
            let shape = value.map_or_else(Shape::unknown, |v| Shape::from_signed([v]));
            let scalar = g.shape(size)?.rank() == Some(0);
            (Some(if scalar { g.expand_dims(size, 0i32)? } else { size }), shape)
        }
    };
    match (first, known(g, suffix)?) {
        (Some(first), Some(second)) => Ok((first, second, static_prefix)),
        _ => bail!(InvalidArgument, "Prefix or suffix can't be None: the size {suffix} must be known"),
    }
}

/// The shape `[batch, size...]` as a tensor.
pub(super) fn concat(g: &Graph, batch: Batch, size: &Shape) -> Result<Output> {
    let (first, second, _) = parts(g, batch, size)?;
    g.concat(&[first.into(), second.into()], 0i32)
}

/// The static shape `[batch, size...]`. The constants of its parts are made as well, as TensorFlow makes them.
pub(super) fn concat_static(g: &Graph, batch: Batch, size: &Shape) -> Result<Shape> {
    let (_, _, prefix) = parts(g, batch, size)?;
    Ok(prefix.concatenate(size))
}

/// The same behind a static shape that may be partly unknown.
pub(super) fn concat_shapes(g: &Graph, prefix: &Shape, size: &Shape) -> Result<Shape> {
    known(g, prefix)?;
    known(g, size)?;
    Ok(prefix.concatenate(size))
}

/// Zeros of `[batch, size...]` for each of the sizes.
pub(super) fn zero_state(g: &Graph, sizes: &Nested<Shape>, batch: Batch, dtype: DType) -> Result<Nested<Output>> {
    sizes.try_map(&mut |size| {
        let shape = concat(g, batch, size)?;
        let zeros = g.zeros(shape, dtype)?;
        g.set_shape(zeros, concat_static(g, batch, size)?)?;
        Ok(zeros)
    })
}

/// The second size of the first input that has a static one, or that of the first when the graph runs.
pub(super) fn batch_size(g: &Graph, input: Output) -> Result<Batch> {
    let shape = g.shape(input)?;
    if let Some(rank) = shape.rank()
        && rank < 2
    {
        bail!(InvalidArgument, "Input tensor should have rank >= 2. Received rank {rank}");
    }
    match shape.dim(1) {
        Some(size) => Ok(Batch::Static(size)),
        None => {
            let shape = g.shape_tensor(input)?;
            Ok(Batch::Dynamic(g.index(shape, &[1.into()])?))
        }
    }
}
