//! Shape functions that many ops share.

use crate::error::Result;
use crate::graph::op::InferCtx;
use crate::tensor::Shape;

/// Every output has the shape of the first input.
pub(crate) fn unchanged(ctx: &mut InferCtx) -> Result<()> {
    for output in 0..ctx.num_outputs() {
        ctx.set(output, ctx.input(0))?;
    }
    Ok(())
}

/// Nothing is known.
pub(crate) fn unknown(ctx: &mut InferCtx) -> Result<()> {
    for output in 0..ctx.num_outputs() {
        ctx.set(output, Shape::unknown())?;
    }
    Ok(())
}

/// There are no outputs.
pub(crate) fn none(_: &mut InferCtx) -> Result<()> {
    Ok(())
}

/// Every output is a scalar.
pub(crate) fn scalar(ctx: &mut InferCtx) -> Result<()> {
    for output in 0..ctx.num_outputs() {
        ctx.set(output, Shape::scalar())?;
    }
    Ok(())
}

/// The output has the broadcast shape of the two inputs.
pub(crate) fn broadcast(ctx: &mut InferCtx) -> Result<()> {
    let shape = broadcast_shapes(&ctx.input(0), &ctx.input(1))?;
    ctx.set(0, shape)
}

/// The shape to which two shapes broadcast: from the right, sizes are equal or one of them is 1.
///
/// # Errors
/// `InvalidArgument` where known sizes don't fit.
pub(crate) fn broadcast_shapes(a: &Shape, b: &Shape) -> Result<Shape> {
    let (Some(x), Some(y)) = (a.signed(), b.signed()) else { return Ok(Shape::unknown()) };
    let rank = x.len().max(y.len());
    let size = |dims: &[i64], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let mut dims = Vec::with_capacity(rank);
    for i in 0..rank {
        dims.push(match (size(x, i), size(y, i)) {
            (p, q) if p == q && p >= 0 => p,
            (1, q) => q,
            (p, 1) => p,
            // An unknown size beside one above 1 is that one or 1.
            (-1, q) if q != -1 => q,
            (p, -1) if p != -1 => p,
            (-1, -1) => -1,
            (p, q) => crate::error::bail!(
                InvalidArgument,
                "Dimensions must be equal, but are {p} and {q}: shapes {a} and {b} don't broadcast"
            ),
        });
    }
    Ok(Shape::from_signed(dims))
}
