//! Weighting losses and putting them together.

use super::broadcast::{assert_broadcastable, broadcast_weights};
use crate::error::Result;
use crate::graph::{CollectionItem, Graph, Output, keys};
use crate::tensor::DType;
use crate::train::Hyperparameter;

/// How the losses of elements become one (`tf.losses.Reduction`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// They stay apart.
    None,
    /// Their weighted sum.
    Sum,
    /// The weighted sum divided by the number of elements.
    SumOverBatchSize,
    /// The weighted sum divided by the sum of weights.
    Mean,
    /// The weighted sum divided by the number of elements whose weight isn't zero.
    #[default]
    SumByNonzeroWeights,
}

/// What every loss can be told.
#[derive(Clone)]
pub struct LossOptions {
    /// The weights of elements: a number, or a tensor of the losses' rank, each of whose dimensions is one or the losses'.
    pub weights: Hyperparameter,
    /// The collection that the loss is added to, if any.
    pub loss_collection: Option<String>,
    /// How the losses of elements become one.
    pub reduction: Reduction,
}

impl Default for LossOptions {
    fn default() -> LossOptions {
        LossOptions { weights: 1.0.into(), loss_collection: Some(keys::LOSSES.to_string()), reduction: Reduction::default() }
    }
}

pub(super) fn add_loss(g: &Graph, loss: Output, options: &LossOptions) {
    if let Some(collection) = &options.loss_collection {
        g.add_to_collection(collection, CollectionItem::Tensor(loss));
    }
}

/// The sum of losses divided by a number, zero where that is zero.
fn safe_mean(g: &Graph, losses: Output, count: Output) -> Result<Output> {
    let total = g.reduce_sum(losses, None, false)?;
    g.named("value").div_no_nan(total, count)
}

fn num_elements(g: &Graph, losses: Output) -> Result<Output> {
    let (g, scope) = g.enter("num_elements")?;
    let size = g.named(scope.name()).size(losses)?;
    g.cast(size, g.dtype(losses)?)
}

/// The number of elements whose weight isn't zero, of all or of each sample.
pub(super) fn num_present(g: &Graph, losses: Output, weights: Output, per_batch: bool) -> Result<Output> {
    let (g, scope) = g.enter("num_present")?;
    let weights = g.cast(weights, DType::Float)?;
    let absent = g.equal(weights, 0f32)?;
    let (zeros, ones) = (g.zeros_like(weights)?, g.ones_like(weights)?);
    let present = g.where_v1(absent, zeros, ones)?;
    let present = broadcast_weights(&g, present, losses)?;
    if !per_batch {
        return g.named(scope.name()).reduce_sum(present, None, false);
    }
    let axes = g.range(1i32, g.rank(present)?, 1i32)?;
    g.named(scope.name()).reduce_sum(present, axes, true)
}

/// Losses of elements times their weights, put together (`tf.losses.compute_weighted_loss`).
///
/// # Errors
/// `InvalidArgument` where the weights can't be broadcast to the losses.
pub fn compute_weighted_loss(g: &Graph, losses: Output, options: &LossOptions) -> Result<Output> {
    let (g, _scope) = g.enter("weighted_loss")?;
    let check = assert_broadcastable(&g, &options.weights, losses)?;
    let _after = g.control_dependencies(&[check])?;
    let input_dtype = g.dtype(losses)?;
    let losses = g.cast(losses, DType::Float)?;
    let weights = options.weights.cast(&g, DType::Float)?;
    let weighted = g.multiply(losses, weights)?;
    let loss = if options.reduction == Reduction::None {
        weighted
    } else {
        let sum = g.reduce_sum(weighted, None, false)?;
        match options.reduction {
            Reduction::Mean => {
                let all = g.mul(g.ones_like(losses)?, weights)?;
                let count = g.reduce_sum(all, None, false)?;
                safe_mean(&g, sum, count)?
            }
            Reduction::SumByNonzeroWeights => {
                let count = num_present(&g, losses, weights, false)?;
                safe_mean(&g, sum, count)?
            }
            Reduction::SumOverBatchSize => {
                let count = num_elements(&g, losses)?;
                safe_mean(&g, sum, count)?
            }
            Reduction::Sum | Reduction::None => sum,
        }
    };
    let loss = g.cast(loss, input_dtype)?;
    add_loss(&g, loss, options);
    Ok(loss)
}
