//! Builder methods of the ops with seeds as attributes.

use crate::error::{Result, bail};
use crate::graph::{Graph, OpBuilder, Output};
use crate::ops::convert::{Arg, Call, cast_value};
use crate::random::get_seed;
use crate::tensor::{DType, Tensor};

/// Optional arguments of random functions.
#[derive(Clone, Copy, Debug)]
pub struct RandomOptions {
    /// The type of the values; float32 if it isn't given.
    pub dtype: DType,
    /// The op's seed, see [`Graph::get_seed`].
    pub seed: Option<i64>,
}

impl Default for RandomOptions {
    fn default() -> RandomOptions {
        RandomOptions { dtype: DType::Float, seed: None }
    }
}

impl RandomOptions {
    /// Float32 values from a seed.
    pub fn seed(seed: i64) -> RandomOptions {
        RandomOptions { seed: Some(seed), ..RandomOptions::default() }
    }
}

/// Optional arguments of [`Graph::fixed_unigram_candidate_sampler`].
#[derive(Clone, Debug)]
pub struct FixedUnigram {
    /// A file of comma-separated values whose last field is the weight of the line's class.
    pub vocab_file: String,
    /// The weights, where there is no such file.
    pub unigrams: Vec<f32>,
    /// The power to which weights are raised.
    pub distortion: f32,
    /// Classes of weight 0 before those that have a weight.
    pub num_reserved_ids: i64,
    /// The number of parts into which the classes are divided.
    pub num_shards: i64,
    /// The part of this sampler.
    pub shard: i64,
}

impl Default for FixedUnigram {
    fn default() -> FixedUnigram {
        let (vocab_file, unigrams) = (String::new(), Vec::new());
        FixedUnigram { vocab_file, unigrams, distortion: 1.0, num_reserved_ids: 0, num_shards: 1, shard: 0 }
    }
}

/// What a candidate sampler gives.
#[derive(Clone, Copy, Debug)]
pub struct Candidates {
    /// The sampled classes, int64 `[num_sampled]`.
    pub sampled_candidates: Output,
    /// How often each true class is expected in such a sample, float32 `[batch, num_true]`.
    pub true_expected_count: Output,
    /// How often each sampled class is expected, float32 `[num_sampled]`.
    pub sampled_expected_count: Output,
}

/// How many ops of a graph took their seed from the graph's.
#[derive(Default)]
struct OpSeeds(i64);

/// What a node in the making is given its seeds by.
trait Seeded {
    fn seeds(self, seeds: (i64, i64)) -> Self;
}

impl Seeded for OpBuilder {
    fn seeds(self, (seed, seed2): (i64, i64)) -> OpBuilder {
        self.attr("seed", seed).attr("seed2", seed2)
    }
}

impl Seeded for Call {
    fn seeds(self, (seed, seed2): (i64, i64)) -> Call {
        self.attr("seed", seed).attr("seed2", seed2)
    }
}

impl Graph {
    /// The seeds of a new random op (`tf.get_seed`): those of [`get_seed`], where an op without a seed of its own in a
    /// graph with a seed is numbered by the ops that were seeded in this way before.
    pub fn get_seed(&self, op_seed: Option<i64>) -> (i64, i64) {
        let next = || {
            self.with_extension(|OpSeeds(used)| {
                *used += 1;
                *used - 1
            })
        };
        get_seed(self.random_seed(), op_seed, next)
    }

    /// A shape as a tensor; one without dimensions is an int32 vector.
    pub(super) fn random_shape(&self, shape: Arg) -> Result<Output> {
        let is_empty = matches!(&shape, Arg::List(items) if items.is_empty());
        self.convert(&shape, is_empty.then_some(DType::Int32), "shape")
    }

    /// Values uniform in `[minval, maxval)`: floats, int32 or int64 (`tf.random_uniform`). With the integers 0 and 1 as
    /// bounds, floats are in `[0, 1)` without further nodes.
    ///
    /// ```
    /// use metagraph::{Graph, Session};
    /// use metagraph::ops::random::RandomOptions;
    /// let g = Graph::new();
    /// let x = g.random_uniform([3usize], 0, 1, RandomOptions::seed(1))?;
    /// assert_eq!(g.tensor_name(x), "random_uniform/RandomUniform:0");
    /// assert_eq!(Session::new(&g).run(&[x], &[])?[0].to_string(), "f32[0.2390374 0.92039955 0.050512433]");
    /// # Ok::<(), metagraph::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` for another dtype, or bounds that aren't of the dtype.
    pub fn random_uniform(
        &self,
        shape: impl Into<Arg>,
        minval: impl Into<Arg>,
        maxval: impl Into<Arg>,
        options: RandomOptions,
    ) -> Result<Output> {
        let RandomOptions { dtype, seed } = options;
        let is_integer = matches!(dtype, DType::Int32 | DType::Int64);
        if !is_integer && !is_random_float(dtype) {
            bail!(InvalidArgument, "random_uniform gives half, bfloat16, float32, float64, int32 or int64, not {dtype}");
        }
        let (minval, maxval) = (minval.into(), maxval.into());
        let (g, scope) = self.enter("random_uniform")?;
        let shape = g.random_shape(shape.into())?;
        let (from_zero, to_one) = (is_integer_value(&minval, 0), is_integer_value(&maxval, 1));
        let bounds = if is_integer || !from_zero || !to_one {
            Some((g.convert(&minval, Some(dtype), "min")?, g.convert(&maxval, Some(dtype), "max")?))
        } else {
            None
        };
        let seeds = g.get_seed(seed);
        match bounds {
            Some((min, max)) if is_integer => {
                let node = g.op("RandomUniformInt").name(scope.name()).input(shape).input(min).input(max);
                node.attr("Tout", dtype).seeds(seeds).output()
            }
            _ => {
                let uniform = g.op("RandomUniform").input(shape).attr("dtype", dtype).seeds(seeds).output()?;
                match bounds {
                    None => Ok(uniform),
                    Some((_, max)) if from_zero => g.op("Mul").input(uniform).input(max).output(),
                    Some((min, max)) => {
                        let range = g.operator("sub", "Sub", max, min)?;
                        let scaled = g.operator("mul", "Mul", uniform, range)?;
                        g.op("AddV2").name(scope.name()).input(scaled).input(min).output()
                    }
                }
            }
        }
    }

    /// Values of the normal distribution with this mean and standard deviation (`tf.random_normal`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that isn't a float, or parameters that aren't of it.
    pub fn random_normal(
        &self,
        shape: impl Into<Arg>,
        mean: impl Into<Arg>,
        stddev: impl Into<Arg>,
        options: RandomOptions,
    ) -> Result<Output> {
        self.scaled_normal("random_normal", "RandomStandardNormal", shape.into(), [mean.into(), stddev.into()], options)
    }

    /// Values of the normal distribution with this mean and standard deviation, none of them more than two standard
    /// deviations from the mean (`tf.truncated_normal`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that isn't a float, or parameters that aren't of it.
    pub fn truncated_normal(
        &self,
        shape: impl Into<Arg>,
        mean: impl Into<Arg>,
        stddev: impl Into<Arg>,
        options: RandomOptions,
    ) -> Result<Output> {
        self.scaled_normal("truncated_normal", "TruncatedNormal", shape.into(), [mean.into(), stddev.into()], options)
    }

    fn scaled_normal(&self, name: &str, op: &str, shape: Arg, parameters: [Arg; 2], options: RandomOptions) -> Result<Output> {
        let (g, scope) = self.enter(name)?;
        let shape = g.random_shape(shape)?;
        let mean = g.convert(&parameters[0], Some(options.dtype), "mean")?;
        let stddev = g.convert(&parameters[1], Some(options.dtype), "stddev")?;
        let seeds = g.get_seed(options.seed);
        let normal = g.op(op).input(shape).attr("dtype", options.dtype).seeds(seeds).output()?;
        let scaled = g.operator("mul", "Mul", normal, stddev)?;
        g.op("AddV2").name(scope.name()).input(scaled).input(mean).output()
    }

    /// Values of normal distributions truncated to bounds, whose parameters are scalars or one for each row
    /// (`parameterized_truncated_normal`): means, standard deviations, lower and upper bounds.
    ///
    /// # Errors
    /// `InvalidArgument` for parameters that aren't of the dtype or have more than one dimension.
    pub fn parameterized_truncated_normal(
        &self,
        shape: impl Into<Arg>,
        parameters: [Arg; 4],
        options: RandomOptions,
    ) -> Result<Output> {
        let (g, _scope) = self.enter("parameterized_truncated_normal")?;
        let shape = g.random_shape(shape.into())?;
        let mut inputs = Vec::with_capacity(parameters.len());
        for (parameter, name) in parameters.iter().zip(["means", "stddevs", "minvals", "maxvals"]) {
            inputs.push(g.convert(parameter, Some(options.dtype), name)?);
        }
        let seeds = g.get_seed(options.seed);
        let node = g.op("ParameterizedTruncatedNormal").input(shape);
        inputs.into_iter().fold(node, OpBuilder::input).seeds(seeds).output()
    }

    /// The rows of a tensor in random order (`tf.random_shuffle`).
    ///
    /// # Errors
    /// `InvalidArgument` for a value that can't be converted.
    pub fn random_shuffle(&self, value: impl Into<Arg>, seed: Option<i64>) -> Result<Output> {
        let seeds = self.get_seed(seed);
        self.call("RandomShuffle").arg(value).seeds(seeds).output()
    }

    /// `num_samples` draws for each row of a matrix of unnormalized log-probabilities, as int64
    /// (`tf.multinomial`).
    ///
    /// # Errors
    /// `InvalidArgument` for logits that aren't a matrix.
    pub fn multinomial(&self, logits: impl Into<Arg>, num_samples: impl Into<Arg>, seed: Option<i64>) -> Result<Output> {
        self.draw_categories("multinomial", logits.into(), num_samples.into(), DType::Int64, seed)
    }

    /// `num_samples` draws for each row of a matrix of unnormalized log-probabilities, as int32 or int64
    /// (`tf.random.categorical`).
    ///
    /// # Errors
    /// `InvalidArgument` for logits that aren't a matrix, or another dtype.
    pub fn categorical(
        &self,
        logits: impl Into<Arg>,
        num_samples: impl Into<Arg>,
        dtype: DType,
        seed: Option<i64>,
    ) -> Result<Output> {
        self.draw_categories("categorical", logits.into(), num_samples.into(), dtype, seed)
    }

    fn draw_categories(&self, name: &str, logits: Arg, num_samples: Arg, dtype: DType, seed: Option<i64>) -> Result<Output> {
        let (g, _scope) = self.enter(name)?;
        let logits = g.convert(&logits, None, "logits")?;
        let seeds = g.get_seed(seed);
        g.call("Multinomial").arg(logits).arg(num_samples).seeds(seeds).attr("output_dtype", dtype).output()
    }

    /// Samples of Poisson distributions with rates `lam`, of shape `shape + lam.shape` (`tf.random_poisson`).
    ///
    /// # Errors
    /// `InvalidArgument` for a shape that isn't int32.
    pub fn random_poisson(&self, lam: impl Into<Arg>, shape: impl Into<Arg>, options: RandomOptions) -> Result<Output> {
        let (g, _scope) = self.enter("random_poisson")?;
        let shape = g.convert(&shape.into(), Some(DType::Int32), "shape")?;
        let seeds = g.get_seed(options.seed);
        g.call("RandomPoissonV2").arg(shape).arg(lam).attr("dtype", options.dtype).seeds(seeds).output()
    }

    /// Samples of gamma distributions with shape parameters `alpha` and inverse scales `beta` (1 if there are none), of
    /// shape `shape` + the shape to which the parameters broadcast (`tf.random_gamma`). No sample is below the least
    /// positive normal number. The samples can be differentiated by both parameters.
    ///
    /// # Errors
    /// `InvalidArgument` for a shape that isn't int32, or parameters that aren't of the dtype.
    pub fn random_gamma(
        &self,
        shape: impl Into<Arg>,
        alpha: impl Into<Arg>,
        beta: Option<Arg>,
        options: RandomOptions,
    ) -> Result<Output> {
        let (g, _scope) = self.enter("random_gamma")?;
        let shape = g.convert(&shape.into(), Some(DType::Int32), "shape")?;
        let (alpha, beta) = g.gamma_parameters(&alpha.into(), beta, options.dtype)?;
        let node = g.op("RandomGamma").input(shape).input(alpha);
        let samples = node.seeds(g.get_seed(options.seed)).output()?;
        g.scaled_gamma(samples, beta)
    }

    /// `alpha`, stretched to the shape to which it broadcasts with `beta`, and `beta`.
    pub(super) fn gamma_parameters(&self, alpha: &Arg, beta: Option<Arg>, dtype: DType) -> Result<(Output, Output)> {
        let alpha = self.convert(alpha, Some(dtype), "alpha")?;
        let beta = self.convert(&beta.unwrap_or_else(|| 1i32.into()), Some(dtype), "beta")?;
        let (alpha_shape, beta_shape) = (self.shape_tensor(alpha)?, self.shape_tensor(beta)?);
        let shape = self.op("BroadcastArgs").input(alpha_shape).input(beta_shape).output()?;
        Ok((self.broadcast_to(alpha, shape)?, beta))
    }

    /// Samples of scale 1 brought to inverse scales `beta`, and off zero.
    pub(super) fn scaled_gamma(&self, samples: Output, beta: Output) -> Result<Output> {
        let scaled = self.operator("truediv", "RealDiv", samples, beta)?;
        let least = match self.dtype(samples)? {
            DType::Half => half::f16::MIN_POSITIVE.to_f64(),
            DType::Float => f32::MIN_POSITIVE.into(),
            _ => f64::MIN_POSITIVE,
        };
        let least = cast_value(&Tensor::scalar(least), self.dtype(samples)?)?;
        self.call("Maximum").arg(least).arg(scaled).output()
    }

    /// Candidates that are uniformly distributed (`tf.nn.uniform_candidate_sampler`).
    ///
    /// # Errors
    /// `InvalidArgument` for true classes that aren't an int64 matrix.
    pub fn uniform_candidate_sampler(
        &self,
        true_classes: impl Into<Arg>,
        num_true: i64,
        num_sampled: i64,
        unique: bool,
        range_max: i64,
        seed: Option<i64>,
    ) -> Result<Candidates> {
        let node = self.sampler("UniformCandidateSampler", true_classes.into(), num_true, num_sampled, unique, seed);
        candidates(node.attr("range_max", range_max))
    }

    /// Candidates of a log-uniform distribution, which fits classes sorted by falling frequency
    /// (`tf.nn.log_uniform_candidate_sampler`).
    ///
    /// # Errors
    /// `InvalidArgument` for true classes that aren't an int64 matrix.
    pub fn log_uniform_candidate_sampler(
        &self,
        true_classes: impl Into<Arg>,
        num_true: i64,
        num_sampled: i64,
        unique: bool,
        range_max: i64,
        seed: Option<i64>,
    ) -> Result<Candidates> {
        let node = self.sampler("LogUniformCandidateSampler", true_classes.into(), num_true, num_sampled, unique, seed);
        candidates(node.attr("range_max", range_max))
    }

    /// Candidates in proportion to how often they were among the true classes
    /// (`tf.nn.learned_unigram_candidate_sampler`).
    ///
    /// # Errors
    /// `InvalidArgument` for true classes that aren't an int64 matrix.
    pub fn learned_unigram_candidate_sampler(
        &self,
        true_classes: impl Into<Arg>,
        num_true: i64,
        num_sampled: i64,
        unique: bool,
        range_max: i64,
        seed: Option<i64>,
    ) -> Result<Candidates> {
        let node = self.sampler("LearnedUnigramCandidateSampler", true_classes.into(), num_true, num_sampled, unique, seed);
        candidates(node.attr("range_max", range_max))
    }

    /// Candidates in proportion to given weights (`tf.nn.fixed_unigram_candidate_sampler`).
    ///
    /// # Errors
    /// `InvalidArgument` for true classes that aren't an int64 matrix.
    #[expect(clippy::too_many_arguments, reason = "TensorFlow's function has them")]
    pub fn fixed_unigram_candidate_sampler(
        &self,
        true_classes: impl Into<Arg>,
        num_true: i64,
        num_sampled: i64,
        unique: bool,
        range_max: i64,
        weights: FixedUnigram,
        seed: Option<i64>,
    ) -> Result<Candidates> {
        let node = self.sampler("FixedUnigramCandidateSampler", true_classes.into(), num_true, num_sampled, unique, seed);
        let node = node.attr("range_max", range_max).attr("vocab_file", &*weights.vocab_file);
        let node = node.attr("unigrams", &*weights.unigrams).attr("distortion", weights.distortion);
        let node = node.attr("num_reserved_ids", weights.num_reserved_ids);
        candidates(node.attr("num_shards", weights.num_shards).attr("shard", weights.shard))
    }

    /// All classes as candidates, in order (`tf.nn.all_candidate_sampler`).
    ///
    /// # Errors
    /// `InvalidArgument` for true classes that aren't an int64 matrix.
    pub fn all_candidate_sampler(
        &self,
        true_classes: impl Into<Arg>,
        num_true: i64,
        num_sampled: i64,
        unique: bool,
        seed: Option<i64>,
    ) -> Result<Candidates> {
        candidates(self.sampler("AllCandidateSampler", true_classes.into(), num_true, num_sampled, unique, seed))
    }

    fn sampler(&self, op: &str, true_classes: Arg, num_true: i64, num_sampled: i64, unique: bool, seed: Option<i64>) -> Call {
        let node = self.call(op).arg(true_classes).seeds(self.get_seed(seed));
        node.attr("num_true", num_true).attr("num_sampled", num_sampled).attr("unique", unique)
    }

    /// The places where sampled candidates are true classes (`tf.nn.compute_accidental_hits`): rows int32, positions in
    /// the sample int64, and weights float32 of the least finite number, which takes them out of a softmax.
    ///
    /// # Errors
    /// `InvalidArgument` for true classes that aren't a `[batch, num_true]` matrix.
    pub fn compute_accidental_hits(
        &self,
        true_classes: impl Into<Arg>,
        sampled_candidates: impl Into<Arg>,
        num_true: i64,
        seed: Option<i64>,
    ) -> Result<[Output; 3]> {
        let node = self.call("ComputeAccidentalHits").arg(true_classes).arg(sampled_candidates);
        let op = node.attr("num_true", num_true).seeds(self.get_seed(seed)).finish()?;
        Ok([op.output(0), op.output(1), op.output(2)])
    }
}

fn candidates(node: Call) -> Result<Candidates> {
    let op = node.finish()?;
    Ok(Candidates { sampled_candidates: op.output(0), true_expected_count: op.output(1), sampled_expected_count: op.output(2) })
}

pub(super) fn is_random_float(dtype: DType) -> bool {
    matches!(dtype, DType::Half | DType::Bfloat16 | DType::Float | DType::Double)
}

/// True for a number that Python would call an integer, with this value.
fn is_integer_value(arg: &Arg, value: i64) -> bool {
    matches!(arg, Arg::Value(tensor) if tensor.is_scalar() && tensor.dtype().is_integer()
        && tensor.item_i64().is_ok_and(|item| item == value))
}
