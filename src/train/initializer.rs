//! Initializers of variables (`tf.initializers`).

use super::partition::PartitionInfo;
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::MatrixDiag;
use crate::ops::convert::{Arg, cast_value};
use crate::ops::random::RandomOptions;
use crate::tensor::{DType, Shape, Tensor};
use std::sync::Arc;

/// What variance scaling divides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FanMode {
    /// The inputs of a unit.
    #[default]
    FanIn,
    /// The outputs of a unit.
    FanOut,
    /// The mean of both.
    FanAvg,
}

/// The distribution of variance scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Distribution {
    /// Normal, cut at two standard deviations.
    #[default]
    TruncatedNormal,
    /// Normal.
    UntruncatedNormal,
    /// Uniform.
    Uniform,
}

type EmitFn = dyn Fn(&Graph, &[usize], DType, Option<&PartitionInfo>) -> Result<Output> + Send + Sync;

#[derive(Clone)]
enum Kind {
    Value(Arg),
    Function(Arc<EmitFn>),
    Zeros,
    Ones,
    Constant { value: Tensor, verify_shape: bool },
    RandomUniform { minval: Arg, maxval: Arg },
    RandomNormal { mean: Arg, stddev: Arg },
    TruncatedNormal { mean: Arg, stddev: Arg },
    UniformUnitScaling { factor: f64 },
    Orthogonal { gain: f64 },
    Identity { gain: f64 },
    VarianceScaling { scale: f64, mode: FanMode, distribution: Distribution },
}

/// Makes the initial value of a variable.
///
/// ```
/// use metagraph::train::{GetVariable, Initializer};
/// # use metagraph::Graph;
/// let g = Graph::new();
/// let w = g.get_variable_with(
///     "w",
///     GetVariable { shape: Some([2, 3].into()), initializer: Some(Initializer::glorot_normal().seed(5)), ..Default::default() },
/// )?;
/// assert_eq!(w.shape().to_string(), "[2,3]");
/// # Ok::<(), metagraph::Error>(())
/// ```
#[derive(Clone)]
pub struct Initializer {
    kind: Kind,
    seed: Option<i64>,
    dtype: DType,
}

impl std::fmt::Debug for Initializer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.kind {
            Kind::Value(_) => "<value>",
            Kind::Function(_) => "<function>",
            Kind::Zeros => "zeros",
            Kind::Ones => "ones",
            Kind::Constant { .. } => "constant",
            Kind::RandomUniform { .. } => "random_uniform",
            Kind::RandomNormal { .. } => "random_normal",
            Kind::TruncatedNormal { .. } => "truncated_normal",
            Kind::UniformUnitScaling { .. } => "uniform_unit_scaling",
            Kind::Orthogonal { .. } => "orthogonal",
            Kind::Identity { .. } => "identity",
            Kind::VarianceScaling { .. } => "variance_scaling",
        })
    }
}

impl Initializer {
    fn of(kind: Kind) -> Initializer {
        Initializer { kind, seed: None, dtype: DType::Float }
    }

    /// A tensor of the graph, or a value that becomes a constant; the variable takes its shape.
    pub fn from_value(value: impl Into<Arg>) -> Initializer {
        Initializer::of(Kind::Value(value.into()))
    }

    /// A function that emits the initial value from shape and dtype.
    pub fn from_fn(function: impl Fn(&Graph, &[usize], DType) -> Result<Output> + Send + Sync + 'static) -> Initializer {
        Initializer::of(Kind::Function(Arc::new(move |g, dims, dtype, _| function(g, dims, dtype))))
    }

    /// A function that also is told which part of a partitioned variable it initializes.
    pub fn from_part_fn(
        function: impl Fn(&Graph, &[usize], DType, Option<&PartitionInfo>) -> Result<Output> + Send + Sync + 'static,
    ) -> Initializer {
        Initializer::of(Kind::Function(Arc::new(function)))
    }

    /// Zeros, `false` or empty strings.
    pub fn zeros() -> Initializer {
        Initializer::of(Kind::Zeros)
    }

    /// Ones.
    pub fn ones() -> Initializer {
        Initializer::of(Kind::Ones)
    }

    /// One value for all elements, or as many as there are; where there are fewer, the last one is repeated.
    pub fn constant(value: impl Into<Tensor>) -> Initializer {
        Initializer::of(Kind::Constant { value: value.into(), verify_shape: false })
    }

    /// The same value, which must have the variable's shape.
    pub fn constant_of_shape(value: impl Into<Tensor>) -> Initializer {
        Initializer::of(Kind::Constant { value: value.into(), verify_shape: true })
    }

    /// Uniform in `[minval, maxval)`.
    pub fn random_uniform(minval: impl Into<Arg>, maxval: impl Into<Arg>) -> Initializer {
        Initializer::of(Kind::RandomUniform { minval: minval.into(), maxval: maxval.into() })
    }

    /// Normal with this mean and standard deviation.
    pub fn random_normal(mean: impl Into<Arg>, stddev: impl Into<Arg>) -> Initializer {
        Initializer::of(Kind::RandomNormal { mean: mean.into(), stddev: stddev.into() })
    }

    /// Normal with this mean and standard deviation, cut at two standard deviations.
    pub fn truncated_normal(mean: impl Into<Arg>, stddev: impl Into<Arg>) -> Initializer {
        Initializer::of(Kind::TruncatedNormal { mean: mean.into(), stddev: stddev.into() })
    }

    /// Uniform, scaled so that the output of a layer has the variance of its input.
    pub fn uniform_unit_scaling(factor: f64) -> Initializer {
        Initializer::of(Kind::UniformUnitScaling { factor })
    }

    /// A random matrix with orthonormal rows or columns, whichever are shorter, times `gain` (`tf.orthogonal_initializer`;
    /// Saxe et al., 2014). All dimensions but the last count as one.
    pub fn orthogonal(gain: f64) -> Initializer {
        Initializer::of(Kind::Orthogonal { gain })
    }

    /// The identity matrix times `gain`, for variables of two dimensions (`tf.initializers.identity`).
    pub fn identity(gain: f64) -> Initializer {
        Initializer::of(Kind::Identity { gain })
    }

    /// A distribution whose variance is `scale` divided by the number of inputs or outputs of a unit.
    pub fn variance_scaling(scale: f64, mode: FanMode, distribution: Distribution) -> Initializer {
        Initializer::of(Kind::VarianceScaling { scale, mode, distribution })
    }

    /// Uniform within `sqrt(6 / (inputs + outputs))`: the default of `get_variable`.
    pub fn glorot_uniform() -> Initializer {
        Initializer::variance_scaling(1.0, FanMode::FanAvg, Distribution::Uniform)
    }

    /// Normal with variance `2 / (inputs + outputs)`, cut.
    pub fn glorot_normal() -> Initializer {
        Initializer::variance_scaling(1.0, FanMode::FanAvg, Distribution::TruncatedNormal)
    }

    /// Uniform with variance `1 / inputs`.
    pub fn lecun_uniform() -> Initializer {
        Initializer::variance_scaling(1.0, FanMode::FanIn, Distribution::Uniform)
    }

    /// Normal with variance `1 / inputs`, cut.
    pub fn lecun_normal() -> Initializer {
        Initializer::variance_scaling(1.0, FanMode::FanIn, Distribution::TruncatedNormal)
    }

    /// Uniform with variance `2 / inputs`.
    pub fn he_uniform() -> Initializer {
        Initializer::variance_scaling(2.0, FanMode::FanIn, Distribution::Uniform)
    }

    /// Normal with variance `2 / inputs`, cut.
    pub fn he_normal() -> Initializer {
        Initializer::variance_scaling(2.0, FanMode::FanIn, Distribution::TruncatedNormal)
    }

    /// The same initializer with a seed for its random numbers.
    #[must_use]
    pub fn seed(mut self, seed: i64) -> Initializer {
        self.seed = Some(seed);
        self
    }

    /// The same initializer with the dtype of what [`Initializer::call`] makes; `get_variable` gives its own.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Initializer {
        self.dtype = dtype;
        self
    }

    /// The value, if the initializer is one.
    pub(super) fn value(&self) -> Option<&Arg> {
        if let Kind::Value(value) = &self.kind { Some(value) } else { None }
    }

    /// Emits the initial value of this shape.
    ///
    /// # Errors
    /// `InvalidArgument` for a shape or dtype that the initializer can't make.
    pub fn call(&self, g: &Graph, dims: &[usize]) -> Result<Output> {
        self.emit(g, dims, None, None)
    }

    /// Emits the initial value of this shape, and dtype if one is given, for a part of a partitioned variable if one is.
    ///
    /// # Errors
    /// As [`Initializer::call`].
    pub fn emit(&self, g: &Graph, dims: &[usize], dtype: Option<DType>, part: Option<&PartitionInfo>) -> Result<Output> {
        let dtype = dtype.unwrap_or(self.dtype);
        let random = RandomOptions { dtype, seed: self.seed };
        let whole = part.map_or(dims, |p| &p.full_shape);
        match &self.kind {
            Kind::Value(value) => g.convert(value, Some(dtype), "Const"),
            Kind::Function(function) => function(g, dims, dtype, part),
            Kind::Zeros => g.zeros(dims, dtype),
            Kind::Ones => g.ones(dims, dtype),
            Kind::Constant { value, verify_shape } => g.constant(filled(&cast_value(value, dtype)?, dims, *verify_shape)?),
            Kind::RandomUniform { minval, maxval } => g.random_uniform(dims, minval.clone(), maxval.clone(), random),
            Kind::RandomNormal { mean, stddev } => g.random_normal(dims, mean.clone(), stddev.clone(), random),
            Kind::TruncatedNormal { mean, stddev } => g.truncated_normal(dims, mean.clone(), stddev.clone(), random),
            Kind::UniformUnitScaling { factor } => {
                let inputs: f64 = whole.iter().rev().skip(1).rev().map(|&d| d as f64).product();
                let max = (3.0 / inputs.max(1.0)).sqrt() * factor;
                g.random_uniform(dims, -max, max, random)
            }
            Kind::Orthogonal { gain } => orthogonal(g, dims, *gain, random),
            Kind::Identity { gain } => identity(g, dims, part, *gain, dtype),
            Kind::VarianceScaling { scale, mode, distribution } => {
                if !(*scale > 0.0) {
                    bail!(InvalidArgument, "Argument `scale` must be a positive float. Received: {scale}");
                }
                let (fan_in, fan_out) = fans(whole);
                let fan = match mode {
                    FanMode::FanIn => fan_in,
                    FanMode::FanOut => fan_out,
                    FanMode::FanAvg => (fan_in + fan_out) / 2.0,
                };
                let scale = scale / fan.max(1.0);
                match distribution {
                    // The standard deviation of a normal distribution that is cut at two of its own.
                    Distribution::TruncatedNormal => {
                        g.truncated_normal(dims, 0f64, scale.sqrt() / 0.879_625_661_034_239_8, random)
                    }
                    Distribution::UntruncatedNormal => g.random_normal(dims, 0f64, scale.sqrt(), random),
                    Distribution::Uniform => {
                        let limit = (3.0 * scale).sqrt();
                        g.random_uniform(dims, -limit, limit, random)
                    }
                }
            }
        }
    }
}

fn orthogonal(g: &Graph, dims: &[usize], gain: f64, random: RandomOptions) -> Result<Output> {
    let [outer @ .., columns] = dims else {
        bail!(InvalidArgument, "The tensor to initialize must be at least two-dimensional, got shape {dims:?}")
    };
    if outer.is_empty() {
        bail!(InvalidArgument, "The tensor to initialize must be at least two-dimensional, got shape {dims:?}");
    }
    let rows: usize = outer.iter().product();
    let flat = [rows.max(*columns), rows.min(*columns)];
    let matrix = g.random_normal(flat, 0f32, 1f32, random)?;
    let factors = g.op("Qr").input(matrix).attr("full_matrices", false).outputs()?;
    let diagonal = g.op("DiagPart").input(factors[1]).output()?;
    let mut q = g.mul(factors[0], g.sign(diagonal)?)?;
    if rows < *columns {
        q = g.matrix_transpose(q, false)?;
    }
    g.mul(gain, g.reshape(q, dims)?)
}

fn identity(g: &Graph, dims: &[usize], part: Option<&PartitionInfo>, gain: f64, dtype: DType) -> Result<Output> {
    let &[rows, columns] = part.map_or(dims, |p| &p.full_shape) else {
        bail!(InvalidArgument, "Identity matrix initializer can only be used for 2D matrices, got shape {dims:?}")
    };
    let mut value = {
        let _scope = g.name_scope("eye")?;
        let ones = g.ones([rows.min(columns)], dtype)?;
        if rows == columns {
            g.matrix_diag(ones, MatrixDiag::default())?
        } else {
            let zeros = g.zeros([rows, columns], dtype)?;
            g.matrix_set_diag(zeros, ones, MatrixDiag::default())?
        }
    };
    if let Some(part) = part {
        value = g.slice(value, part.var_offset.clone(), dims)?;
    }
    g.mul(gain, value)
}

/// The initializer of a variable for which nothing gives one.
pub(super) fn default_for(name: &str, dtype: DType) -> Result<Initializer> {
    if dtype.is_floating() {
        return Ok(Initializer::glorot_uniform());
    }
    if dtype.is_integer() || matches!(dtype, DType::Bool | DType::String) {
        return Ok(Initializer::zeros());
    }
    bail!(InvalidArgument, "An initializer for variable {name} of {dtype} is required")
}

/// The numbers of inputs and outputs of a unit whose weights have this shape: the last two dimensions, times the size of
/// the receptive field of a convolution.
fn fans(dims: &[usize]) -> (f64, f64) {
    match dims {
        [] => (1.0, 1.0),
        [one] => (*one as f64, *one as f64),
        [field @ .., fan_in, fan_out] => {
            let field: f64 = field.iter().map(|&d| d as f64).product();
            (*fan_in as f64 * field, *fan_out as f64 * field)
        }
    }
}

/// The dtype of a value or tensor that initializes a variable.
pub(super) fn value_dtype(g: &Graph, value: &Arg) -> Result<DType> {
    match value.output() {
        Some(output) => g.dtype(output),
        None => Ok(value.value()?.map_or(DType::Float, |v| v.dtype())),
    }
}

/// Its shape.
pub(super) fn value_shape(g: &Graph, value: &Arg) -> Result<Shape> {
    match value.output() {
        Some(output) => g.shape(output),
        None => Ok(value.value()?.map_or_else(Shape::unknown, |v| v.shape())),
    }
}

/// A value in other dimensions, its last element repeated as often as there is room.
fn filled(value: &Tensor, dims: &[usize], verify_shape: bool) -> Result<Tensor> {
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    if verify_shape && value.dims() != dims {
        bail!(InvalidArgument, "Expected Tensor's shape: {dims:?}, got {:?}.", value.dims());
    }
    if count > 0 && (value.len() > count || value.is_empty()) {
        bail!(
            InvalidArgument,
            "Too many or no elements provided. Takes {}, but got {} in shape {:?}.",
            if value.is_empty() { "at least 1".to_string() } else { format!("at most {count}") },
            value.len(),
            value.dims()
        );
    }
    if value.len() == count {
        return value.clone().reshaped(dims);
    }
    if value.dtype() == DType::String {
        let mut strings = value.strings()?.to_vec();
        let last = strings.last().cloned().unwrap_or_default();
        strings.resize(count, last);
        return Tensor::from_strings(dims, strings);
    }
    let mut whole = Tensor::zeros(value.dtype(), dims)?;
    let (given, size) = (value.bytes()?, value.dtype().size());
    let target = whole.bytes_mut()?;
    let head = given.len().min(target.len());
    target[..head].copy_from_slice(&given[..head]);
    if let Some(start) = given.len().checked_sub(size) {
        target[head..].chunks_exact_mut(size).for_each(|element| element.copy_from_slice(&given[start..]));
    }
    Ok(whole)
}
