//! Values of distributions with parameters: truncated normal, gamma and Poisson ones.

use super::{dispatch_counts, dispatch_floats, doubles, generator, grad, inferred_shape, shape_input, threads};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::ops::math::elementwise::{binary, pairs};
use crate::ops::math::number::{Number, Real};
use crate::ops::math::special::gamma_sample_derivative;
use crate::ops::shape;
use crate::random::{GuardedPhiloxRandom, TruncatedNormalBounds, gamma, parameterized_truncated_normal, poisson};
use crate::tensor::{Tensor, element_count};

/// The samples of a batch where all batches have the same parameters.
const DESIRED_BATCH_SIZE: usize = 100;

pub(super) static OPS: &[Op] = &[
    Op {
        name: "ParameterizedTruncatedNormal",
        ins: &["shape: T", "means: dtype", "stdevs: dtype", "minvals: dtype", "maxvals: dtype"],
        outs: &["output: dtype"],
        attrs: &["seed: int = 0", "seed2: int = 0", "dtype: {half, bfloat16, float, double}", "T: {int32, int64}"],
        shape: truncated_shape,
        kernel: Kernel::StatefulPrepared(prepare_truncated),
        grad: Grad::None("random"),
        rows: &[],
    },
    Op {
        name: "RandomGamma",
        ins: &["shape: S", "alpha: T"],
        outs: &["output: T"],
        attrs: &["seed: int = 0", "seed2: int = 0", "S: {int32, int64}", "T: {half, float, double}"],
        shape: samples_shape,
        kernel: Kernel::StatefulPrepared(prepare_gamma),
        grad: Grad::Fn(grad::random_gamma),
        rows: &[],
    },
    Op {
        name: "RandomGammaGrad",
        ins: &["alpha: T", "sample: T"],
        outs: &["output: T"],
        attrs: &["T: {float, double}"],
        shape: shape::broadcast,
        kernel: Kernel::Pure(gamma_grad),
        grad: Grad::Missing,
        rows: &["f32[[1] [3]], f32[2 8] => f32[[1.6316917 2.768937] [0.8565715 1.6573509]]"],
    },
    Op {
        name: "RandomPoisson",
        ins: &["shape: S", "rate: dtype"],
        outs: &["output: dtype"],
        attrs: &["seed: int = 0", "seed2: int = 0", "S: {int32, int64}", "dtype: {half, float, double}"],
        shape: samples_shape,
        kernel: Kernel::StatefulPrepared(prepare_poisson),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "RandomPoissonV2",
        ins: &["shape: S", "rate: R"],
        outs: &["output: dtype"],
        attrs: &[
            "seed: int = 0",
            "seed2: int = 0",
            "S: {int32, int64}",
            "R: {half, float, double, int32, int64} = DT_DOUBLE",
            "dtype: {half, float, double, int32, int64} = DT_INT64",
        ],
        shape: samples_shape,
        kernel: Kernel::StatefulPrepared(prepare_poisson),
        grad: Grad::Missing,
        rows: &[],
    },
];

fn truncated_shape(ctx: &mut InferCtx) -> Result<()> {
    for parameter in 1..5 {
        ctx.input(parameter).with_rank_at_most(1)?;
    }
    let shape = inferred_shape(ctx, 0)?;
    ctx.set(0, shape)
}

/// The shape that the first input gives, with that of the parameters behind it.
fn samples_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = inferred_shape(ctx, 0)?.concatenate(&ctx.input(1));
    ctx.set(0, shape)
}

fn prepare_truncated(ctx: &PrepareCtx) -> Result<Prepared> {
    let generator = generator(ctx)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| truncated(ctx, &generator)))
}

fn truncated(ctx: &mut KernelCtx, generator: &GuardedPhiloxRandom) -> Result<()> {
    let dims = shape_input(ctx, 0)?;
    let Some(&batches) = dims.first() else { bail!(InvalidArgument, "Shape tensor must not be empty") };
    let parameters = [ctx.input(1)?, ctx.input(2)?, ctx.input(3)?, ctx.input(4)?];
    let names = ["means", "stddevs", "minvals", "maxvals"];
    for (name, parameter) in names.iter().zip(parameters) {
        if parameter.rank() > 1 {
            bail!(InvalidArgument, "Input {name} should be a scalar or vector, got shape: {:?}", parameter.dims());
        }
    }
    let alike = parameters[..2].iter().all(|p| p.len() == 1) && parameters[2..].iter().all(|p| p.is_scalar());
    if !alike {
        for (name, parameter) in names.iter().zip(parameters) {
            if parameter.len() != 1 && parameter.len() != batches {
                bail!(InvalidArgument, "Input {name} should have length 1 or shape[0], got shape: {:?}", parameter.dims());
            }
        }
    }
    let size = element_count(&dims)?;
    let (batches, samples) =
        if alike { (size.div_ceil(DESIRED_BATCH_SIZE), DESIRED_BATCH_SIZE) } else { (batches, dims[1..].iter().product()) };
    let dtype = parameters[0].dtype();
    let out = dispatch_floats!(dtype, T => {
        let mut out = Tensor::uninit(dtype, &dims)?;
        let values: Vec<&[T]> = parameters.iter().map(|p| p.as_slice()).collect::<Result<_>>()?;
        let value = |parameter: usize, batch: usize| values[parameter][if values[parameter].len() == 1 { 0 } else { batch }];
        let bounds = |batch| TruncatedNormalBounds {
            mean: value(0, batch),
            stddev: value(1, batch),
            minval: value(2, batch),
            maxval: value(3, batch),
        };
        let reserved = (batches as u64).wrapping_mul(2000).wrapping_mul(samples as u64 + 3) / 4;
        let rng = generator.reserve_samples128(reserved);
        parameterized_truncated_normal(rng, bounds, samples, threads(), out.as_mut_slice::<T>()?)?;
        out
    });
    ctx.set(0, out)
}

fn prepare_gamma(ctx: &PrepareCtx) -> Result<Prepared> {
    let generator = generator(ctx)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let mut dims = shape_input(ctx, 0)?;
        let alpha = ctx.input(1)?;
        dims.extend_from_slice(alpha.dims());
        let dtype = alpha.dtype();
        let mut out = Tensor::uninit(dtype, &dims)?;
        let alphas = doubles(alpha)?;
        if !out.is_empty() {
            let rng = generator.reserve_random_outputs(out.len() as u64, 256);
            dispatch_floats!(dtype, T => gamma(rng, &alphas, out.as_mut_slice::<T>()?));
        }
        ctx.set(0, out)
    }))
}

fn gamma_grad(ctx: &mut KernelCtx) -> Result<()> {
    let dtype = ctx.input(0)?.dtype();
    dispatch_floats!(dtype, T => binary::<T, T>(ctx, 400, |alpha, sample, out| {
        pairs(alpha, sample, out, |alpha, sample| {
            Number::from_f64(gamma_sample_derivative(Real::to_f64(alpha), Real::to_f64(sample)))
        });
    }))
}

fn prepare_poisson(ctx: &PrepareCtx) -> Result<Prepared> {
    let generator = generator(ctx)?;
    let dtype = ctx.node.dtype("dtype")?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let mut dims = shape_input(ctx, 0)?;
        let rate = ctx.input(1)?;
        dims.extend_from_slice(rate.dims());
        let mut out = Tensor::uninit(dtype, &dims)?;
        let rates = doubles(rate)?;
        if !out.is_empty() {
            let rng = generator.reserve_random_outputs(out.len() as u64, 256);
            dispatch_counts!(dtype, T => poisson(rng, &rates, out.as_mut_slice::<T>()?));
        }
        ctx.set(0, out)
    }))
}
