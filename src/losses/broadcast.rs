//! Weights that are broadcast to values.

use crate::error::{Result, bail};
use crate::graph::{Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::train::Hyperparameter;

const REFUSED: &str = "weights can not be broadcast to values.";

/// An operation that fails where weights can't be broadcast to values: they must be scalar, or of the values' rank and in
/// each dimension of size one or the values' (`weights_broadcast_ops.assert_broadcastable`). What the static shapes tell is
/// checked at once.
///
/// # Errors
/// `InvalidArgument` where static shapes don't fit.
pub fn assert_broadcastable(g: &Graph, weights: &Hyperparameter, values: Output) -> Result<Operation> {
    let (g, scope) = g.enter("assert_broadcastable")?;
    let (weights, weights_shape, weights_rank) = {
        let scope = g.name_scope("weights")?;
        let weights = weights.to_tensor(&g, scope.name())?;
        (weights, g.named("shape").shape_tensor(weights)?, g.named("rank").rank(weights)?)
    };
    let (values_shape, values_rank) = {
        let _scope = g.name_scope("values")?;
        (g.named("shape").shape_tensor(values)?, g.named("rank").rank(values)?)
    };
    let (own, other) = (g.shape(weights)?, g.shape(values)?);
    if let (Some(own_rank), Some(rank)) = (own.rank(), other.rank()) {
        if own_rank == 0 {
            return g.named("static_scalar_check_success").no_op();
        }
        if own_rank != rank {
            bail!(
                InvalidArgument,
                "{REFUSED} values.rank={rank}. weights.rank={own_rank}. values.shape={other}. weights.shape={own}."
            );
        }
        if let (Some(dims), Some(sizes)) = (own.to_dims(), other.to_dims()) {
            if let Some(i) = (0..rank).find(|&i| dims[i] != 1 && dims[i] != sizes[i]) {
                bail!(InvalidArgument, "{REFUSED} Mismatch at dim {i}. values.shape={other}, weights.shape={own}.");
            }
            return g.named("static_dims_check_success").no_op();
        }
    }
    let is_scalar = g.named("is_scalar").equal(0i32, weights_rank)?;
    let text = |t: &str| Arg::from(t);
    let data = [
        text(REFUSED),
        text("weights.shape="),
        text(&g.tensor_name(weights)),
        weights_shape.into(),
        text("values.shape="),
        text(&g.tensor_name(values)),
        values_shape.into(),
        text("is_scalar="),
        is_scalar.into(),
    ];
    let is_valid = g.named("is_valid_shape").cond(
        is_scalar,
        |_| Ok(is_scalar),
        |g| has_valid_nonscalar_shape(g, weights_rank, weights_shape, values_rank, values_shape),
    )?;
    g.named(scope.name()).assert(is_valid, &data, None)
}

fn has_valid_nonscalar_shape(
    g: &Graph,
    weights_rank: Output,
    weights_shape: Output,
    values_rank: Output,
    values_shape: Output,
) -> Result<Output> {
    let scope = g.name_scope("has_valid_nonscalar_shape")?;
    let same = g.named("is_same_rank").equal(values_rank, weights_rank)?;
    g.named(scope.name()).cond(same, |g| has_valid_dims(g, weights_shape, values_shape), |_| Ok(same))
}

fn has_valid_dims(g: &Graph, weights_shape: Output, values_shape: Output) -> Result<Output> {
    let scope = g.name_scope("has_invalid_dims")?;
    let values = g.expand_dims(values_shape, -1i32)?;
    let ones = g.ones_like(values)?;
    let valid = g.concat(&[values.into(), ones.into()], 1i32)?;
    let weights = g.expand_dims(weights_shape, -1i32)?;
    let invalid = g.set_difference(weights, valid)?;
    let count = g.named("num_invalid_dims").size(invalid.values)?;
    g.named(scope.name()).equal(0i32, count)
}

/// Weights as a tensor of the values' shape; of weights that have it already nothing is made
/// (`weights_broadcast_ops.broadcast_weights`).
///
/// # Errors
/// As [`assert_broadcastable`].
pub fn broadcast_weights(g: &Graph, weights: Output, values: Output) -> Result<Output> {
    let (g, scope) = g.enter("broadcast_weights")?;
    let (own, other) = (g.shape(weights)?, g.shape(values)?);
    if own.is_fully_known() && other.is_fully_known() && own.is_compatible_with(&other) {
        return Ok(weights);
    }
    let check = assert_broadcastable(&g, &weights.into(), values)?;
    let _after = g.control_dependencies(&[check])?;
    let ones = g.ones_like(values)?;
    g.named(scope.name()).multiply(weights, ones)
}
