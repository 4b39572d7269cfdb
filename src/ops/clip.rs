//! Clipping tensors and gradients.

use crate::error::{Result, bail};
use crate::graph::{Gradient, Graph, IndexedSlices, Output};
use crate::ops::convert::Arg;
use crate::ops::math::functions::Axes;
use crate::tensor::DType;

/// What can be clipped: a tensor, or a gradient of some rows, of which the rows are clipped.
pub trait Clip: Copy {
    /// The values to clip.
    fn values(self) -> Output;

    /// The same with other values.
    #[must_use]
    fn with_values(self, values: Output) -> Self;
}

impl Clip for Output {
    fn values(self) -> Output {
        self
    }

    fn with_values(self, values: Output) -> Output {
        values
    }
}

impl Clip for IndexedSlices {
    fn values(self) -> Output {
        self.values
    }

    fn with_values(self, values: Output) -> IndexedSlices {
        IndexedSlices { values, ..self }
    }
}

impl Clip for Gradient {
    fn values(self) -> Output {
        match self {
            Gradient::Dense(output) => output,
            Gradient::Sparse(slices) => slices.values,
        }
    }

    fn with_values(self, values: Output) -> Gradient {
        match self {
            Gradient::Dense(_) => Gradient::Dense(values),
            Gradient::Sparse(slices) => Gradient::Sparse(slices.with_values(values)),
        }
    }
}

fn check_shape(g: &Graph, from: Output, to: Output) -> Result<()> {
    let (from, to) = (g.shape(from)?, g.shape(to)?);
    if !from.is_compatible_with(&to) {
        bail!(InvalidArgument, "Shapes {from} and {to} are incompatible");
    }
    Ok(())
}

impl Graph {
    /// The values, those below the least or above the largest replaced by these (`tf.clip_by_value`). Both are numbers, or
    /// tensors that broadcast to the shape of the values.
    ///
    /// # Errors
    /// `InvalidArgument` where the shapes don't fit.
    pub fn clip_by_value<T: Clip>(&self, t: T, clip_value_min: impl Into<Arg>, clip_value_max: impl Into<Arg>) -> Result<T> {
        let (g, scope) = self.enter("clip_by_value")?;
        let values = t.values();
        let below = g.minimum(values, clip_value_max)?;
        check_shape(&g, values, below)?;
        let clipped = g.named(scope.name()).maximum(below, clip_value_min)?;
        check_shape(&g, values, clipped)?;
        Ok(t.with_values(clipped))
    }

    /// The values, scaled down so that their L2 norm is at most `clip_norm`: the norm over all, or over some axes
    /// (`tf.clip_by_norm`).
    ///
    /// # Errors
    /// `InvalidArgument` where the shapes don't fit, or an axis is out of range.
    pub fn clip_by_norm<T: Clip>(&self, t: T, clip_norm: impl Into<Arg>, axes: impl Into<Axes>) -> Result<T> {
        let clip_norm = clip_norm.into();
        let (g, scope) = self.enter("clip_by_norm")?;
        let values = t.values();
        let l2sum = g.reduce_sum(g.mul(values, values)?, axes, true)?;
        let positive = g.greater(l2sum, 0i32)?;
        let ones = g.ones_like(l2sum)?;
        let safe = g.where_v1(positive, l2sum, ones)?;
        let root = g.sqrt(safe)?;
        let l2norm = g.where_v1(positive, root, l2sum)?;
        let intermediate = g.mul(values, clip_norm.clone())?;
        check_shape(&g, values, intermediate)?;
        let divisor = g.maximum(l2norm, clip_norm)?;
        let clipped = g.truediv(intermediate, divisor)?;
        Ok(t.with_values(g.named(scope.name()).identity(clipped)?))
    }

    /// The L2 norm of all tensors together (`tf.global_norm`); of missing ones nothing is added.
    ///
    /// # Errors
    /// `InvalidArgument` where there is none, or they aren't of one float dtype.
    pub fn global_norm(&self, t_list: &[Option<Gradient>]) -> Result<Output> {
        let (g, _scope) = self.enter("global_norm")?;
        let mut halves = Vec::with_capacity(t_list.len());
        for values in t_list.iter().flatten().map(|t| t.values()) {
            let _beside = g.colocate_with(values.op)?;
            halves.push(g.op("L2Loss").input(values).output()?);
        }
        if halves.is_empty() {
            bail!(InvalidArgument, "the norm of no tensors");
        }
        let half = g.reduce_sum(g.stack(&halves, 0)?, Axes::All, false)?;
        let two = constant_of(&g, 2.0, g.dtype(half)?)?;
        g.named("global_norm").sqrt(g.mul(half, two)?)
    }

    /// The tensors, scaled down together so that their common L2 norm is at most `clip_norm`, and that norm, which may be
    /// given (`tf.clip_by_global_norm`). Where the norm isn't finite, all become NaN.
    ///
    /// # Errors
    /// As [`Graph::global_norm`].
    pub fn clip_by_global_norm(
        &self,
        t_list: &[Option<Gradient>],
        clip_norm: impl Into<Arg>,
        use_norm: Option<Output>,
    ) -> Result<(Vec<Option<Gradient>>, Output)> {
        let clip_norm = clip_norm.into();
        let norm = match use_norm {
            Some(norm) => norm,
            None => self.global_norm(t_list)?,
        };
        let (g, scope) = self.enter("clip_by_global_norm")?;
        let inverse = g.truediv(1f32, norm)?;
        let one = constant_of(&g, 1.0, g.dtype(norm)?)?;
        let least = g.truediv(one, clip_norm.clone())?;
        let finite = g.mul(clip_norm, g.minimum(inverse, least)?)?;
        let nothing = g.sub(norm, norm)?;
        let scale = g.add(finite, nothing)?;
        let mut clipped = Vec::with_capacity(t_list.len());
        for (i, t) in t_list.iter().enumerate() {
            let Some(t) = t else {
                clipped.push(None);
                continue;
            };
            let values = t.values();
            let _beside = g.colocate_with(values.op)?;
            let scale = g.cast(scale, g.dtype(values)?)?;
            let scaled = g.mul(values, scale)?;
            clipped.push(Some(t.with_values(g.named(&format!("{}_{i}", scope.name())).identity(scaled)?)));
        }
        Ok((clipped, norm))
    }

    /// The values, scaled down so that their L2 norm divided by their number is at most `clip_norm`
    /// (`tf.clip_by_average_norm`).
    ///
    /// # Errors
    /// `InvalidArgument` for values that aren't float32.
    pub fn clip_by_average_norm(&self, t: Output, clip_norm: impl Into<Arg>) -> Result<Output> {
        let clip_norm = clip_norm.into();
        let (g, scope) = self.enter("clip_by_average_norm")?;
        let count = g.cast(g.size(t)?, DType::Float)?;
        let squares = g.mul(t, t)?;
        let rank = g.rank(t)?;
        let axes = g.range(0i32, rank, 1i32)?;
        let inverse = g.rsqrt(g.reduce_sum(squares, axes, false)?)?;
        let scaled = g.mul(t, clip_norm.clone())?;
        let own = g.mul(inverse, count)?;
        let one = g.constant(1f32)?;
        let least = g.minimum(own, g.truediv(one, clip_norm)?)?;
        let clipped = g.mul(scaled, least)?;
        g.named(scope.name()).identity(clipped)
    }
}

/// A constant number of a float dtype.
fn constant_of(g: &Graph, value: f64, dtype: DType) -> Result<Output> {
    g.convert_to_tensor(value, Some(dtype), "Const")
}
