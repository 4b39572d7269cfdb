//! Sums over the axes along which operands were broadcast.

use crate::error::Result;
use crate::graph::{Gradient, Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::Shape;

/// The axes over which the gradients of two operands are summed, where the static shapes tell them.
fn infer_axes(x: &Shape, y: &Shape) -> Option<(Vec<i32>, Vec<i32>)> {
    let (x, y) = (x.signed()?, y.signed()?);
    let rank = x.len().max(y.len());
    let size = |dims: &[i64], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let (mut x_axes, mut y_axes) = (Vec::new(), Vec::new());
    for axis in 0..rank {
        match (size(x, axis), size(y, axis)) {
            (1, 1) => {}
            (1, _) => x_axes.push(axis as i32),
            (_, 1) => y_axes.push(axis as i32),
            (-1, _) | (_, -1) => return None,
            _ => {}
        }
    }
    Some((x_axes, y_axes))
}

/// Brings the gradients of two operands, which have the broadcast shape, to the operands' shapes.
pub(crate) fn reduce_gradient_args(
    g: &Graph,
    x: Output,
    y: Output,
    gx: Option<Output>,
    gy: Option<Output>,
) -> Result<Vec<Option<Gradient>>> {
    if gx.is_none() && gy.is_none() {
        return Ok(vec![None, None]);
    }
    let (x_sizes, y_sizes) = (g.shape_tensor(x)?, g.shape_tensor(y)?);
    let (x_shape, y_shape) = (g.shape(x)?, g.shape(y)?);
    let (x_axes, y_axes) = match infer_axes(&x_shape, &y_shape) {
        Some((x_axes, y_axes)) => {
            let arg = |axes: Vec<i32>, own: &Shape, other: &Shape| {
                (!axes.is_empty() || own.rank() < other.rank()).then(|| Arg::from(axes))
            };
            (arg(x_axes, &x_shape, &y_shape), arg(y_axes, &y_shape, &x_shape))
        }
        None => {
            let axes = g.op("BroadcastGradientArgs").input(x_sizes).input(y_sizes).outputs()?;
            (Some(axes[0].into()), Some(axes[1].into()))
        }
    };
    let reduce = |grad: Option<Output>, axes: Option<Arg>, sizes: Output| -> Result<Option<Gradient>> {
        match (grad, axes) {
            (Some(grad), Some(axes)) => {
                let sum = g.reduce_sum(grad, axes, true)?;
                Ok(Some(g.reshape(sum, sizes)?.into()))
            }
            (grad, _) => Ok(grad.map(Gradient::from)),
        }
    };
    Ok(vec![reduce(gx, x_axes, x_sizes)?, reduce(gy, y_axes, y_sizes)?])
}

/// True where two operands and the gradient have the same static shape, fully known.
pub(super) fn shapes_are_equal(g: &Graph, x: Output, y: Output, grad: Output) -> Result<bool> {
    let shape = g.shape(x)?;
    Ok(shape.is_fully_known() && shape == g.shape(y)? && shape == g.shape(grad)?)
}

/// The gradients of a function of two operands with broadcasting, by the axes that are found when the graph runs.
/// `partials` makes the partial derivatives; one that isn't made has no gradient.
pub(super) fn broadcast_partials(
    g: &Graph,
    inputs: (Output, Output),
    grad: Output,
    partials: impl FnOnce(Output, Output) -> Result<(Option<Output>, Option<Output>)>,
) -> Result<Vec<Option<Gradient>>> {
    let (x, y) = inputs;
    let (sx, sy) = (g.shape_tensor(x)?, g.shape_tensor(y)?);
    let axes = g.op("BroadcastGradientArgs").input(sx).input(sy).outputs()?;
    let _after = g.control_dependencies(&[grad.op])?;
    let (px, py) = partials(sx, sy)?;
    let reduce = |partial: Option<Output>, axes: Output, shape: Output| -> Result<Option<Gradient>> {
        let Some(partial) = partial else { return Ok(None) };
        let product = g.mul(partial, grad)?;
        let sum = g.reduce_sum(product, axes, false)?;
        Ok(Some(g.reshape(sum, shape)?.into()))
    };
    Ok(vec![reduce(px, axes[0], sx)?, reduce(py, axes[1], sy)?])
}
