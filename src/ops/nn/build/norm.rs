//! Means and variances, and values brought to a common scale.

use crate::error::Result;
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::math::functions::Axes;
use crate::ops::nn::python::{add, cast, mul, node, sub};
use crate::tensor::DType;

/// How [`Graph::fused_batch_norm`] works.
#[derive(Clone, Copy, Debug)]
pub struct FusedBatchNorm<'a> {
    /// Added to the variance.
    pub epsilon: f32,
    /// `"NHWC"` or `"NCHW"`.
    pub data_format: &'a str,
    /// The batch's own mean and variance are taken rather than the given ones.
    pub is_training: bool,
    /// How much the batch counts in the returned mean and variance.
    pub exponential_avg_factor: f32,
}

impl Default for FusedBatchNorm<'_> {
    fn default() -> Self {
        FusedBatchNorm { epsilon: 0.001, data_format: "NHWC", is_training: true, exponential_avg_factor: 1.0 }
    }
}

/// The outputs of [`Graph::fused_batch_norm`].
#[derive(Clone, Copy, Debug)]
pub struct Normalized {
    /// The values.
    pub y: Output,
    /// The running mean.
    pub mean: Output,
    /// The running variance.
    pub variance: Output,
}

impl Graph {
    /// The mean and variance over some axes (`tf.nn.moments`).
    ///
    /// # Errors
    /// `InvalidArgument` for axes out of range.
    pub fn moments(&self, x: Output, axes: &[i32], keep_dims: bool) -> Result<(Output, Output)> {
        let (g, _scope) = self.enter("moments")?;
        let dtype = g.dtype(x)?;
        let y = if dtype == DType::Half { cast(&g, x, DType::Float)? } else { x };
        let mut mean = g.named("mean").reduce_mean(y, Axes::from(axes), true)?;
        let stopped = g.stop_gradient(mean)?;
        let squares = node(&g, "SquaredDifference", &[y, stopped])?;
        let mut variance = g.named("variance").reduce_mean(squares, Axes::from(axes), true)?;
        if !keep_dims {
            let axes: Vec<i64> = axes.iter().map(|&a| a.into()).collect();
            mean = g.squeeze(mean, &axes)?;
            variance = g.squeeze(variance, &axes)?;
        }
        if dtype == DType::Half {
            return Ok((cast(&g, mean, dtype)?, cast(&g, variance, dtype)?));
        }
        Ok((mean, variance))
    }

    /// The mean and variance over some axes of values that count by their weights (`tf.nn.weighted_moments`).
    ///
    /// # Errors
    /// `InvalidArgument` for axes out of range, or weights that don't broadcast.
    pub fn weighted_moments(
        &self,
        x: Output,
        axes: &[i32],
        frequency_weights: impl Into<Arg>,
        keep_dims: bool,
    ) -> Result<(Output, Output)> {
        let (g, _scope) = self.enter("weighted_moments")?;
        let mut weights = g.convert_to_tensor(frequency_weights, None, "frequency_weights")?;
        let narrow = g.dtype(x)? == DType::Half;
        let x = if narrow { cast(&g, x, DType::Float)? } else { x };
        weights = cast(&g, weights, g.dtype(x)?)?;
        let weighted = mul(&g, weights, x)?;
        let weighted_sum = g.named("weighted_input_sum").reduce_sum(weighted, Axes::from(axes), true)?;
        let zeros = g.zeros_like(x)?;
        let broadcast = add(&g, weights, zeros)?;
        let sum_of_weights = g.named("sum_of_weights").reduce_sum(broadcast, Axes::from(axes), true)?;
        let mut mean = g.div_no_nan(weighted_sum, sum_of_weights)?;
        let squares = node(&g, "SquaredDifference", &[x, mean])?;
        let weighted = mul(&g, weights, squares)?;
        let distance = g.named("weighted_distsq").reduce_sum(weighted, Axes::from(axes), true)?;
        let mut variance = g.div_no_nan(distance, sum_of_weights)?;
        if !keep_dims {
            let axes: Vec<i64> = axes.iter().map(|&a| a.into()).collect();
            mean = g.squeeze(mean, &axes)?;
            variance = g.squeeze(variance, &axes)?;
        }
        if narrow {
            return Ok((cast(&g, mean, DType::Half)?, cast(&g, variance, DType::Half)?));
        }
        Ok((mean, variance))
    }

    /// Values less their mean over the root of their variance, then scaled and moved (`tf.nn.batch_normalization`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes that don't broadcast.
    pub fn batch_normalization(
        &self,
        x: Output,
        mean: Output,
        variance: Output,
        offset: Option<Output>,
        scale: Option<Output>,
        variance_epsilon: f32,
    ) -> Result<Output> {
        let (g, _scope) = self.enter("batchnorm")?;
        let dtype = g.dtype(x)?;
        let sum = add(&g, variance, variance_epsilon)?;
        let mut inverse = node(&g, "Rsqrt", &[sum])?;
        if let Some(scale) = scale {
            inverse = mul(&g, inverse, scale)?;
        }
        let scaled = mul(&g, x, cast(&g, inverse, dtype)?)?;
        let moved = match offset {
            Some(offset) => {
                let product = mul(&g, mean, inverse)?;
                sub(&g, offset, product)?
            }
            None => {
                let negative = node(&g, "Neg", &[mean])?;
                mul(&g, negative, inverse)?
            }
        };
        let moved = cast(&g, moved, dtype)?;
        g.operator("add_1", "AddV2", scaled, moved)
    }

    /// The batch normalization of images in one node (`tf.nn.fused_batch_norm`). Without a mean and variance, those of the
    /// batch are taken.
    ///
    /// # Errors
    /// `InvalidArgument` for images of another rank, or a scale or offset that isn't one number for each channel.
    pub fn fused_batch_norm(
        &self,
        x: Output,
        scale: Output,
        offset: Output,
        moments: Option<(Output, Output)>,
        options: FusedBatchNorm,
    ) -> Result<Normalized> {
        let g = self.plain();
        let empty = || g.constant(Vec::<f32>::new());
        let (mean, variance) = match moments {
            Some(moments) => moments,
            None => (empty()?, empty()?),
        };
        let node = self.op("FusedBatchNormV3").input(x).input(scale).input(offset).input(mean).input(variance);
        let node = node.attr("epsilon", options.epsilon).attr("data_format", options.data_format);
        let node = node.attr("exponential_avg_factor", options.exponential_avg_factor);
        let op = node.attr("is_training", options.is_training).finish()?;
        Ok(Normalized { y: op.output(0), mean: op.output(1), variance: op.output(2) })
    }

    /// Values over the root of the sum of their squares along some axes (`tf.nn.l2_normalize`, whose `epsilon` is 1e-12 if not
    /// given).
    ///
    /// # Errors
    /// `InvalidArgument` for axes out of range.
    pub fn l2_normalize(&self, x: Output, axis: impl Into<Axes>, epsilon: f32) -> Result<Output> {
        let (g, scope) = self.enter("l2_normalize")?;
        let axis = axis.into();
        let inverse_of = |sum: Output| -> Result<Output> {
            let most = g.call("Maximum").arg(sum).arg(epsilon).output()?;
            node(&g, "Rsqrt", &[most])
        };
        if g.dtype(x)?.is_complex() {
            let square_real = node(&g, "Square", &[g.real(x)?])?;
            let square_imag = node(&g, "Square", &[g.imag(x)?])?;
            let squares = add(&g, square_real, square_imag)?;
            let sum = g.real(g.reduce_sum(squares, axis, true)?)?;
            let inverse = inverse_of(sum)?;
            let real = node(&g, "Mul", &[g.real(x)?, inverse])?;
            let imag = node(&g, "Mul", &[g.imag(x)?, inverse])?;
            return g.named(scope.name()).complex(real, imag);
        }
        let squares = node(&g, "Square", &[x])?;
        let sum = g.reduce_sum(squares, axis, true)?;
        let inverse = inverse_of(sum)?;
        g.op("Mul").name(scope.name()).input(x).input(inverse).output()
    }

    /// Half the sum of squares (`tf.nn.l2_loss`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that isn't of floats.
    pub fn l2_loss(&self, t: Output) -> Result<Output> {
        self.op("L2Loss").input(t).output()
    }

    /// Values over a power of the sum of squares of the channels around them (`tf.nn.local_response_normalization`; TensorFlow's
    /// defaults are a radius of 5, bias 1, alpha 1 and beta 0.5).
    ///
    /// # Errors
    /// `InvalidArgument` for images of another rank.
    pub fn local_response_normalization(
        &self,
        input: Output,
        depth_radius: i64,
        bias: f32,
        alpha: f32,
        beta: f32,
    ) -> Result<Output> {
        let node = self.op("LRN").input(input).attr("depth_radius", depth_radius).attr("bias", bias);
        node.attr("alpha", alpha).attr("beta", beta).output()
    }
}
