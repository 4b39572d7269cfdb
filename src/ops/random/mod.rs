//! Random ops. Their values are TensorFlow's, by [`crate::random`].

mod build;
mod build_stateless;
mod candidate;
mod grad;
mod independent;
mod index_shuffle;
mod multinomial;
mod parameters;
mod shuffle;
mod stateful;
mod stateless;
mod stateless_parameters;

pub use build::{Candidates, FixedUnigram, RandomOptions};

use crate::compute::pool::Pool;
use crate::error::{Result, bail};
use crate::graph::op::{InferCtx, KernelCtx, Op, PrepareCtx};
use crate::ops::math::broadcast::Broadcast;
use crate::ops::math::number::Real;
use crate::random::{
    Distribution, GuardedPhiloxRandom, Normal, PhiloxRandom, TruncatedNormal, Uniform, UniformFullInt, UniformInt, fill,
};
use crate::tensor::{DType, Dims, Element, Shape, Tensor, dispatch};
use std::sync::Arc;

/// The family's lists of records.
pub(super) static INDEPENDENT: &[Op] = independent::OPS;
pub(super) static PARAMETERS: &[Op] = parameters::OPS;
pub(super) static CATEGORIES: &[Op] = multinomial::OPS;
pub(super) static SHUFFLES: &[Op] = shuffle::OPS;
pub(super) static INDEX_SHUFFLES: &[Op] = index_shuffle::OPS;
pub(super) static STATELESS: &[Op] = stateless::OPS;
pub(super) static STATELESS_PARAMETERS: &[Op] = stateless_parameters::OPS;
pub(super) static STATEFUL: &[Op] = stateful::OPS;
pub(super) static CANDIDATES: &[Op] = candidate::OPS;

/// TensorFlow's number of the Philox algorithm.
const PHILOX: i64 = 1;
/// The algorithm is left to TensorFlow; it is Philox on a CPU.
const AUTO_SELECT: i64 = 3;

/// A distribution of floats without parameters.
#[derive(Clone, Copy)]
enum Standard {
    Uniform,
    Normal,
    TruncatedNormal,
}

/// A tensor of values of a float type.
fn draw(standard: Standard, dtype: DType, dims: &[usize], rng: PhiloxRandom) -> Result<Tensor> {
    dispatch!(dtype, floats, T => match standard {
        Standard::Uniform => filled(Uniform::<T>::default(), dims, rng),
        Standard::Normal => filled(Normal::<T>::default(), dims, rng),
        Standard::TruncatedNormal => filled(TruncatedNormal::<T>::default(), dims, rng),
    })
}

/// A tensor of integers in `[minval, maxval)`, which are scalars. The stream is reserved once they are known to be right.
fn draw_int(minval: &Tensor, maxval: &Tensor, dims: &[usize], reserve: impl FnOnce() -> PhiloxRandom) -> Result<Tensor> {
    for (name, bound) in [("minval", minval), ("maxval", maxval)] {
        if !bound.is_scalar() {
            bail!(InvalidArgument, "{name} must be 0-D, got shape {:?}", bound.dims());
        }
    }
    dispatch!(minval.dtype(), index, T => {
        let distribution = UniformInt::<T>::new(minval.item()?, maxval.item()?)?;
        filled(distribution, dims, reserve())
    })
}

/// A tensor of integers over the whole range of their type.
fn draw_full_int(dtype: DType, dims: &[usize], rng: PhiloxRandom) -> Result<Tensor> {
    match dtype {
        DType::Int32 => filled(UniformFullInt::<i32>::default(), dims, rng),
        DType::Uint32 => filled(UniformFullInt::<u32>::default(), dims, rng),
        DType::Int64 => filled(UniformFullInt::<i64>::default(), dims, rng),
        DType::Uint64 => filled(UniformFullInt::<u64>::default(), dims, rng),
        other => bail!(Unimplemented, "no random integers of dtype {other}"),
    }
}

fn filled<D: Distribution<Output: Element>>(distribution: D, dims: &[usize], rng: PhiloxRandom) -> Result<Tensor> {
    let mut values = Tensor::uninit(D::Output::DTYPE, dims)?;
    fill(distribution, rng, values.as_mut_slice()?);
    Ok(values)
}

/// The generator of a node with seeds. It lives in the session, so that each run goes on where the last one ended.
pub(super) fn generator(ctx: &PrepareCtx) -> Result<Arc<GuardedPhiloxRandom>> {
    let (seed, seed2) = (ctx.node.int("seed")?, ctx.node.int("seed2")?);
    Ok(ctx.session.node_state(&ctx.node.name, || GuardedPhiloxRandom::new(seed, seed2)))
}

/// The dimensions that an input gives as a vector.
fn shape_input(ctx: &KernelCtx, index: usize) -> Result<Dims> {
    let shape = ctx.input(index)?;
    if shape.rank() != 1 {
        bail!(InvalidArgument, "shape must be a vector of {{int32,int64}}, got shape {:?}", shape.dims());
    }
    shape.to_dims()
}

/// The shape that an input gives as a vector, as far as it is known.
fn inferred_shape(ctx: &InferCtx, index: usize) -> Result<Shape> {
    ctx.input(index).with_rank(1)?;
    Ok(ctx.constant_shape(index))
}

/// The output has the shape that the first input gives.
fn shape_of_first(ctx: &mut InferCtx) -> Result<()> {
    let shape = inferred_shape(ctx, 0)?;
    ctx.set(0, shape)
}

/// The stream of a stateless op's seed, an input of two integers.
pub(super) fn seed_input(ctx: &KernelCtx, index: usize) -> Result<PhiloxRandom> {
    let seed = ctx.input(index)?;
    if seed.dims() != [2] {
        bail!(InvalidArgument, "seed must have shape [2], not {:?}", seed.dims());
    }
    if !matches!(seed.dtype(), DType::Int32 | DType::Int64) {
        bail!(InvalidArgument, "Invalid seed type: {}", seed.dtype());
    }
    let seed = seed.to_i64s()?;
    Ok(PhiloxRandom::from_stateless_seed([seed[0] as u64, seed[1] as u64]))
}

/// Checks the static shape of a seed.
fn check_seed_shape(ctx: &InferCtx, index: usize) -> Result<()> {
    ctx.input(index).merge(&Shape::known(&[2])).map(drop)
}

/// The stream of the inputs `key`, `counter` and `alg`, of which `key` is the one at `index`.
fn key_counter_input(ctx: &KernelCtx, index: usize) -> Result<PhiloxRandom> {
    let (key, counter, alg) = (ctx.input(index)?, ctx.input(index + 1)?, ctx.input(index + 2)?);
    if !alg.is_scalar() {
        bail!(InvalidArgument, "algorithm must be of shape [], not {:?}", alg.dims());
    }
    let alg = alg.item_i64()?;
    if alg != PHILOX && alg != AUTO_SELECT {
        bail!(InvalidArgument, "Unsupported algorithm id: {alg}");
    }
    if key.dims() != [1] {
        bail!(InvalidArgument, "key must have shape [1], not {:?}", key.dims());
    }
    match (counter.rank(), counter.as_slice::<u64>()?) {
        (1, [low, high, ..]) => Ok(PhiloxRandom::from_counter_key([*low, *high], key.item()?)),
        _ => bail!(InvalidArgument, "counter must be a vector with length at least 2; got shape: {:?}", counter.dims()),
    }
}

/// Checks the static shapes of the inputs `key`, `counter` and `alg`.
fn check_key_counter_shapes(ctx: &InferCtx, index: usize) -> Result<()> {
    ctx.input(index).merge(&Shape::known(&[1]))?;
    ctx.input(index + 1).with_rank(1)?;
    ctx.input(index + 2).with_rank(0).map(drop)
}

/// The threads by which TensorFlow would divide the work of this process.
fn threads() -> usize {
    Pool::global().threads()
}

/// The dimensions to which tensors broadcast.
fn broadcast_dims<const N: usize>(tensors: [&Tensor; N]) -> Result<Dims> {
    Ok(Broadcast::new(tensors.map(|tensor| tensor.dims()))?.dims)
}

/// A tensor's values repeated to dimensions to which it broadcasts.
fn broadcast_values<T: Element>(tensor: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let values = tensor.as_slice::<T>()?;
    let mut out = Tensor::uninit(tensor.dtype(), dims)?;
    Broadcast::new([tensor.dims(), dims])?.fill(out.as_mut_slice::<T>()?, 1, |run, out| match run.part(0, values) {
        [value] => out.fill(*value),
        part => out.copy_from_slice(part),
    });
    Ok(out)
}

/// The values of a tensor of numbers as doubles.
fn doubles(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(match tensor.dtype() {
        DType::Int32 => tensor.as_slice::<i32>()?.iter().map(|&v| f64::from(v)).collect(),
        DType::Int64 => tensor.as_slice::<i64>()?.iter().map(|&v| v as f64).collect(),
        dtype => dispatch!(dtype, floats, T => tensor.as_slice::<T>()?.iter().map(|&v| Real::to_f64(v)).collect()),
    })
}

/// Runs a block with `$T` bound to the type of counts: half, float, double, int32 or int64.
macro_rules! dispatch_counts {
    ($dtype:expr, $T:ident => $body:expr) => {
        crate::tensor::dispatch!(@arms $dtype, $T => $body, Half half::f16, Float f32, Double f64, Int32 i32, Int64 i64)
    };
}

/// Runs a block with `$T` bound to half, float or double.
macro_rules! dispatch_floats {
    ($dtype:expr, $T:ident => $body:expr) => {
        crate::tensor::dispatch!(@arms $dtype, $T => $body, Half half::f16, Float f32, Double f64)
    };
}
use {dispatch_counts, dispatch_floats};
