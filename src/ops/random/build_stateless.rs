//! Builder methods of the ops with a seed as an input.

use super::AUTO_SELECT;
use super::build::is_random_float;
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::{Arg, Call};
use crate::tensor::DType;

/// The key and the counter made of a seed.
type KeyCounter = [Output; 2];

impl Graph {
    fn key_counter(&self, seed: &Arg) -> Result<KeyCounter> {
        let op = self.call("StatelessRandomGetKeyCounter").arg(seed.clone()).finish()?;
        Ok([op.output(0), op.output(1)])
    }

    /// Starts a node that takes a shape, a key, a counter and an algorithm.
    fn keyed(&self, op: &str, first: Output, [key, counter]: KeyCounter) -> Call {
        self.call(op).arg(first).arg(key).arg(counter).arg(AUTO_SELECT as i32)
    }

    /// Values uniform in `[minval, maxval)` that depend on a seed of two integers: floats, int32 or int64
    /// (`tf.random.stateless_uniform`).
    ///
    /// # Errors
    /// `InvalidArgument` for another dtype, or bounds that aren't of the dtype.
    pub fn stateless_random_uniform(
        &self,
        shape: impl Into<Arg>,
        seed: impl Into<Arg>,
        minval: impl Into<Arg>,
        maxval: impl Into<Arg>,
        dtype: DType,
    ) -> Result<Output> {
        let is_integer = matches!(dtype, DType::Int32 | DType::Int64);
        if !is_integer && !is_random_float(dtype) {
            bail!(InvalidArgument, "stateless_random_uniform gives floats, int32 or int64, not {dtype}");
        }
        let (g, scope) = self.enter("stateless_random_uniform")?;
        let shape = g.random_shape(shape.into())?;
        let min = g.convert(&minval.into(), Some(dtype), "min")?;
        let max = g.convert(&maxval.into(), Some(dtype), "max")?;
        let key = g.key_counter(&seed.into())?;
        if is_integer {
            let node = g.named(scope.name()).keyed("StatelessRandomUniformIntV2", shape, key);
            return node.arg(min).arg(max).attr("dtype", dtype).output();
        }
        let uniform = g.keyed("StatelessRandomUniformV2", shape, key).attr("dtype", dtype).output()?;
        let range = g.operator("sub", "Sub", max, min)?;
        let scaled = g.operator("mul", "Mul", uniform, range)?;
        g.op("AddV2").name(scope.name()).input(scaled).input(min).output()
    }

    /// Values over the whole range of int32, uint32, int64 or uint64 that depend on a seed of two integers
    /// (`tf.random.stateless_uniform` with neither bound).
    ///
    /// # Errors
    /// `InvalidArgument` for another dtype.
    pub fn stateless_random_full_int(&self, shape: impl Into<Arg>, seed: impl Into<Arg>, dtype: DType) -> Result<Output> {
        let (g, scope) = self.enter("stateless_random_uniform")?;
        let shape = g.random_shape(shape.into())?;
        let key = g.key_counter(&seed.into())?;
        g.named(scope.name()).keyed("StatelessRandomUniformFullIntV2", shape, key).attr("dtype", dtype).output()
    }

    /// Values of the normal distribution with this mean and standard deviation that depend on a seed of two integers
    /// (`tf.random.stateless_normal`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that isn't a float, or parameters that aren't of it.
    pub fn stateless_random_normal(
        &self,
        shape: impl Into<Arg>,
        seed: impl Into<Arg>,
        mean: impl Into<Arg>,
        stddev: impl Into<Arg>,
        dtype: DType,
    ) -> Result<Output> {
        let arguments = [shape.into(), seed.into(), mean.into(), stddev.into()];
        self.stateless_scaled("stateless_random_normal", "StatelessRandomNormalV2", arguments, dtype)
    }

    /// Values of the normal distribution with this mean and standard deviation, none of them more than two standard
    /// deviations from the mean, that depend on a seed of two integers (`tf.random.stateless_truncated_normal`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that isn't a float, or parameters that aren't of it.
    pub fn stateless_truncated_normal(
        &self,
        shape: impl Into<Arg>,
        seed: impl Into<Arg>,
        mean: impl Into<Arg>,
        stddev: impl Into<Arg>,
        dtype: DType,
    ) -> Result<Output> {
        let arguments = [shape.into(), seed.into(), mean.into(), stddev.into()];
        self.stateless_scaled("stateless_truncated_normal", "StatelessTruncatedNormalV2", arguments, dtype)
    }

    fn stateless_scaled(&self, name: &str, op: &str, [shape, seed, mean, stddev]: [Arg; 4], dtype: DType) -> Result<Output> {
        let (g, scope) = self.enter(name)?;
        let shape = g.random_shape(shape)?;
        let mean = g.convert(&mean, Some(dtype), "mean")?;
        let stddev = g.convert(&stddev, Some(dtype), "stddev")?;
        let key = g.key_counter(&seed)?;
        let normal = g.keyed(op, shape, key).attr("dtype", dtype).output()?;
        let scaled = g.operator("mul", "Mul", normal, stddev)?;
        g.op("AddV2").name(scope.name()).input(scaled).input(mean).output()
    }

    /// `num_samples` draws for each row of a matrix of unnormalized log-probabilities that depend on a seed of two
    /// integers, as int32 or int64 (`tf.random.stateless_categorical`).
    ///
    /// # Errors
    /// `InvalidArgument` for logits that aren't a matrix, or another dtype.
    pub fn stateless_categorical(
        &self,
        logits: impl Into<Arg>,
        num_samples: impl Into<Arg>,
        seed: impl Into<Arg>,
        dtype: DType,
    ) -> Result<Output> {
        let (g, _scope) = self.enter("stateless_categorical")?;
        let logits = g.convert(&logits.into(), None, "logits")?;
        g.call("StatelessMultinomial").arg(logits).arg(num_samples).arg(seed).attr("output_dtype", dtype).output()
    }

    /// Samples of gamma distributions with shape parameters `alpha` and inverse scales `beta` (1 if there are none) that
    /// depend on a seed of two integers. `shape` ends with the shape to which the parameters broadcast
    /// (`tf.random.stateless_gamma`). No sample is below the least positive normal number.
    ///
    /// # Errors
    /// `InvalidArgument` for parameters that aren't of the dtype.
    pub fn stateless_random_gamma(
        &self,
        shape: impl Into<Arg>,
        seed: impl Into<Arg>,
        alpha: impl Into<Arg>,
        beta: Option<Arg>,
        dtype: DType,
    ) -> Result<Output> {
        let (g, _scope) = self.enter("stateless_random_gamma")?;
        let shape = g.random_shape(shape.into())?;
        let (alpha, beta) = g.gamma_parameters(&alpha.into(), beta, dtype)?;
        let key = g.key_counter(&seed.into())?;
        let samples = g.keyed("StatelessRandomGammaV3", shape, key).arg(alpha).output()?;
        g.scaled_gamma(samples, beta)
    }

    /// Samples of Poisson distributions with rates `lam` that depend on a seed of two integers. `shape` ends with the
    /// shape of `lam` (`tf.random.stateless_poisson`).
    ///
    /// # Errors
    /// `InvalidArgument` for another dtype than half, float, double, int32 or int64.
    pub fn stateless_random_poisson(
        &self,
        shape: impl Into<Arg>,
        seed: impl Into<Arg>,
        lam: impl Into<Arg>,
        dtype: DType,
    ) -> Result<Output> {
        let (g, _scope) = self.enter("stateless_random_poisson")?;
        let shape = g.random_shape(shape.into())?;
        g.call("StatelessRandomPoisson").arg(shape).arg(seed).arg(lam).attr("dtype", dtype).output()
    }

    /// Samples of binomial distributions that depend on a seed of two integers. `shape` ends with the shape to which
    /// `counts` and `probs` broadcast (`tf.random.stateless_binomial`).
    ///
    /// # Errors
    /// `InvalidArgument` for counts and probabilities of different types.
    pub fn stateless_random_binomial(
        &self,
        shape: impl Into<Arg>,
        seed: impl Into<Arg>,
        counts: impl Into<Arg>,
        probs: impl Into<Arg>,
        output_dtype: DType,
    ) -> Result<Output> {
        let (g, _scope) = self.enter("stateless_random_binomial")?;
        let shape = g.random_shape(shape.into())?;
        let probs = g.convert(&probs.into(), None, "probs")?;
        let counts = match counts.into() {
            Arg::Output(counts) => counts,
            value => g.convert(&value, Some(g.dtype(probs)?), "counts")?,
        };
        let node = g.call("StatelessRandomBinomial").arg(shape).arg(seed).arg(counts).arg(probs);
        node.attr("dtype", output_dtype).output()
    }

    /// Values of normal distributions truncated to bounds that depend on a seed of two integers. The parameters (means,
    /// standard deviations, lower and upper bounds) broadcast to a shape with which `shape` ends
    /// (`tf.random.stateless_parameterized_truncated_normal`).
    ///
    /// # Errors
    /// `InvalidArgument` for parameters of different types.
    pub fn stateless_parameterized_truncated_normal(
        &self,
        shape: impl Into<Arg>,
        seed: impl Into<Arg>,
        parameters: [Arg; 4],
    ) -> Result<Output> {
        let (g, _scope) = self.enter("stateless_parameterized_truncated_normal")?;
        let shape = g.random_shape(shape.into())?;
        let mut inputs = Vec::with_capacity(parameters.len());
        for (parameter, name) in parameters.iter().zip(["means", "stddevs", "minvals", "maxvals"]) {
            inputs.push(g.convert(parameter, None, name)?);
        }
        let node = g.call("StatelessParameterizedTruncatedNormal").arg(shape).arg(seed);
        inputs.into_iter().fold(node, Call::arg).output()
    }

    /// The rows of a tensor in an order that depends on a seed of two integers
    /// (`tf.random.experimental.stateless_shuffle`).
    ///
    /// # Errors
    /// `InvalidArgument` for a value that can't be converted.
    pub fn stateless_shuffle(&self, value: impl Into<Arg>, seed: impl Into<Arg>) -> Result<Output> {
        let (g, _scope) = self.enter("stateless_shuffle")?;
        let [key, counter] = g.key_counter(&seed.into())?;
        g.call("StatelessShuffle").arg(value).arg(key).arg(counter).arg(AUTO_SELECT as i32).output()
    }
}
