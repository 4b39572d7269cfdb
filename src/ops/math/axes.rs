//! Axes of reductions and scans.

use crate::error::{Result, bail};
use crate::graph::op::InferCtx;
use crate::tensor::{Shape, Tensor};
use smallvec::SmallVec;

/// An axis that may count from the end, as an index below `rank`.
pub(crate) fn canonical_axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = rank as i64;
    if (-rank..rank).contains(&axis) { Some(axis.rem_euclid(rank) as usize) } else { None }
}

/// Which dimensions of a tensor are reduced, from the axes in a tensor.
///
/// # Errors
/// `InvalidArgument` for an axis out of range or given twice.
pub(crate) fn reduced_dimensions(rank: usize, axes: &Tensor) -> Result<SmallVec<[bool; 8]>> {
    let mut reduced: SmallVec<[bool; 8]> = smallvec::smallvec![false; rank];
    for &axis in &axes.to_i64s()? {
        let Some(index) = canonical_axis(axis, rank) else {
            bail!(InvalidArgument, "Invalid reduction dimension ({axis} for input with {rank} dimension(s)");
        };
        if std::mem::replace(&mut reduced[index], true) {
            bail!(InvalidArgument, "Invalid reduction arguments: Axes contains duplicate dimension: {index}");
        }
    }
    Ok(reduced)
}

/// The shape of a reduction of input 0 over the axes in input 1.
pub(crate) fn reduction_shape(ctx: &mut InferCtx) -> Result<()> {
    let keep = ctx.boolean("keep_dims")?;
    let input = ctx.input(0);
    let out = match (input.signed(), ctx.constant(1)) {
        (Some(dims), Some(axes)) => {
            let mut reduced = vec![false; dims.len()];
            for &axis in &axes.to_i64s()? {
                let Some(index) = canonical_axis(axis, dims.len()) else {
                    bail!(InvalidArgument, "Invalid reduction dimension {axis} for input with {} dimensions", dims.len());
                };
                reduced[index] = true;
            }
            let kept = |(&dim, &reduced): (&i64, &bool)| if reduced { keep.then_some(1) } else { Some(dim) };
            Shape::from_signed(dims.iter().zip(&reduced).filter_map(kept))
        }
        (Some(dims), None) if keep => Shape::of_rank(dims.len()),
        _ => Shape::unknown(),
    };
    ctx.set(0, out)
}
