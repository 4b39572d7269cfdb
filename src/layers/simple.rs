//! Layers without variables.

use super::normalization::Training;
use super::{LayerOptions, layer};
use crate::error::Result;
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;

/// Sets elements to zero with probability `rate` in training, and divides the others by `1 - rate` (`tf.layers.dropout`).
///
/// # Errors
/// `InvalidArgument` for a rate that isn't within 0 and 1.
pub fn dropout(g: &Graph, inputs: Output, rate: f64, training: impl Into<Training>, seed: Option<i64>) -> Result<Output> {
    let training = training.into();
    let layer = layer(g, "dropout", &LayerOptions::default())?;
    layer.call(
        g,
        inputs,
        |_, _| Ok(()),
        |g| {
            if rate == 0.0 {
                return g.identity(inputs);
            }
            training.choose(g, |g| g.dropout(inputs, rate, seed), |g| g.identity(inputs))
        },
    )
}

/// All dimensions but the first as one (`tf.layers.flatten`).
///
/// # Errors
/// `InvalidArgument` for a scalar.
pub fn flatten(g: &Graph, inputs: Output) -> Result<Output> {
    let layer = layer(g, "flatten", &LayerOptions::default())?;
    layer.call(
        g,
        inputs,
        |_, _| Ok(()),
        |g| {
            let shape = g.shape(inputs)?.with_rank_at_least(1)?;
            let sizes = shape.sizes().unwrap_or_default();
            if sizes.len() == 1 {
                return g.expand_dims(inputs, 1i32);
            }
            let inner: Option<usize> = sizes.iter().skip(1).copied().product::<Option<usize>>().filter(|_| !sizes.is_empty());
            let flat: Arg = match (inner, sizes.first().copied().flatten()) {
                (Some(inner), _) => g.constant([-1i32, inner as i32])?.into(),
                (None, Some(batch)) => g.constant([batch as i32, -1])?.into(),
                (None, None) => {
                    let batch = g.index(g.shape_tensor(inputs)?, &[0.into()])?;
                    [Arg::from(batch), Arg::from(-1i32)].into()
                }
            };
            g.reshape(inputs, flat)
        },
    )
}
