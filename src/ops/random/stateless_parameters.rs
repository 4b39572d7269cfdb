//! Values of distributions with parameters that depend on a seed given as an input.

use super::{
    broadcast_dims, broadcast_values, check_key_counter_shapes, check_seed_shape, dispatch_counts, dispatch_floats, doubles,
    grad, inferred_shape, key_counter_input, seed_input, shape_input, shape_of_first, threads,
};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::shape::broadcast_shapes;
use crate::random::{PhiloxRandom, TruncatedNormalBounds, binomial, gamma, poisson, stateless_parameterized_truncated_normal};
use crate::tensor::{Dims, Tensor};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "StatelessRandomGammaV2",
        ins: &["shape: T", "seed: Tseed", "alpha: dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: {half, float, double}", "T: {int32, int64}", "Tseed: {int32, int64} = DT_INT64"],
        shape: seeded_shape,
        kernel: Kernel::Pure(|ctx| stateless_gamma(ctx, seed_input, 2)),
        grad: Grad::Fn(grad::stateless_random_gamma_v2),
        rows: &["i32[2 2], i32[1 2], f32[0.5 3] => f32[[0.066953614 4.674579] [0.62823546 3.3503754]]"],
    },
    Op {
        name: "StatelessRandomGammaV3",
        ins: &["shape: shape_dtype", "key: uint64", "counter: uint64", "alg: int32", "alpha: dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: {half, float, double}", "shape_dtype: {int32, int64} = DT_INT32"],
        shape: keyed_shape,
        kernel: Kernel::Pure(|ctx| stateless_gamma(ctx, key_counter_input, 4)),
        grad: Grad::Fn(grad::stateless_random_gamma_v3),
        rows: &["i32[2 2], u64[5], u64[1 2], i32 3, f32[0.5 3] => f32[[0.36003602 1.6811211] [0.7785494 3.0007164]]"],
    },
    Op {
        name: "StatelessRandomPoisson",
        ins: &["shape: T", "seed: Tseed", "lam: Rtype"],
        outs: &["output: dtype"],
        attrs: &[
            "Rtype: {half, float, double, int32, int64}",
            "dtype: {half, float, double, int32, int64}",
            "T: {int32, int64}",
            "Tseed: {int32, int64} = DT_INT64",
        ],
        shape: seeded_shape,
        kernel: Kernel::Pure(stateless_poisson),
        grad: Grad::None("random"),
        rows: &["dtype=int32; i32[2 2], i32[1 2], f32[0.5 30] => i32[[3 38] [2 45]]"],
    },
    Op {
        name: "StatelessRandomBinomial",
        ins: &["shape: S", "seed: Tseed", "counts: T", "probs: T"],
        outs: &["output: dtype"],
        attrs: &[
            "S: {int32, int64}",
            "Tseed: {int32, int64} = DT_INT64",
            "T: {half, float, double, int32, int64} = DT_DOUBLE",
            "dtype: {half, float, double, int32, int64} = DT_INT64",
        ],
        shape: seeded_shape,
        kernel: Kernel::Pure(stateless_binomial),
        grad: Grad::None("random"),
        rows: &["dtype=int32; i32[2 3], i32[1 2], f32[[10] [20]], f32[0.1 0.5 0.9] => i32[[3 6 8] [2 8 18]]"],
    },
    Op {
        name: "StatelessParameterizedTruncatedNormal",
        ins: &["shape: S", "seed: Tseed", "means: dtype", "stddevs: dtype", "minvals: dtype", "maxvals: dtype"],
        outs: &["output: dtype"],
        attrs: &["S: {int32, int64}", "Tseed: {int32, int64} = DT_INT64", "dtype: {half, float, double}"],
        shape: truncated_shape,
        kernel: Kernel::Pure(stateless_truncated),
        grad: Grad::Fn(grad::stateless_parameterized_truncated_normal),
        rows: &[
            "i32[2 2], i32[1 2], f32[0 10], f32 1, f32[-1 5], f32[1 8] => f32[[0.68812084 7.6593275] [-0.61590934 7.335349]]",
        ],
    },
];

fn seeded_shape(ctx: &mut InferCtx) -> Result<()> {
    check_seed_shape(ctx, 1)?;
    shape_of_first(ctx)
}

fn keyed_shape(ctx: &mut InferCtx) -> Result<()> {
    check_key_counter_shapes(ctx, 1)?;
    shape_of_first(ctx)
}

fn truncated_shape(ctx: &mut InferCtx) -> Result<()> {
    check_seed_shape(ctx, 1)?;
    let mut parameters = ctx.input(2);
    for parameter in 3..6 {
        parameters = broadcast_shapes(&parameters, &ctx.input(parameter))?;
    }
    let shape = inferred_shape(ctx, 0)?;
    ctx.set(0, shape)
}

/// The dimensions that an input gives, which must end with those of the parameters.
fn dims_ending_with(ctx: &KernelCtx, shape: usize, parameters: &[usize]) -> Result<Dims> {
    let dims = shape_input(ctx, shape)?;
    if !dims.ends_with(parameters) {
        bail!(InvalidArgument, "Shape passed in must end with broadcasted shape: {dims:?} does not end with {parameters:?}.");
    }
    Ok(dims)
}

fn stateless_gamma(ctx: &mut KernelCtx, stream: fn(&KernelCtx, usize) -> Result<PhiloxRandom>, alpha: usize) -> Result<()> {
    let rng = stream(ctx, 1)?;
    let alpha = ctx.input(alpha)?;
    let dims = dims_ending_with(ctx, 0, alpha.dims())?;
    let dtype = alpha.dtype();
    let mut out = Tensor::uninit(dtype, &dims)?;
    let alphas = doubles(alpha)?;
    dispatch_floats!(dtype, T => gamma(rng, &alphas, out.as_mut_slice::<T>()?));
    ctx.set(0, out)
}

fn stateless_poisson(ctx: &mut KernelCtx) -> Result<()> {
    let rng = seed_input(ctx, 1)?;
    let rate = ctx.input(2)?;
    let dims = dims_ending_with(ctx, 0, rate.dims())?;
    let dtype = ctx.node().dtype("dtype")?;
    let mut out = Tensor::uninit(dtype, &dims)?;
    let rates = doubles(rate)?;
    dispatch_counts!(dtype, T => poisson(rng, &rates, out.as_mut_slice::<T>()?));
    ctx.set(0, out)
}

fn stateless_binomial(ctx: &mut KernelCtx) -> Result<()> {
    let rng = seed_input(ctx, 1)?;
    let out = draw_binomial(ctx, 0, 2, |_, _| Ok(rng))?;
    ctx.set(0, out)
}

/// Binomial samples whose shape is the input at `shape` and whose parameters are those from `counts` on. The stream is
/// made for the numbers of batches and of samples for each.
pub(super) fn draw_binomial(
    ctx: &KernelCtx,
    shape: usize,
    counts: usize,
    stream: impl FnOnce(usize, usize) -> Result<PhiloxRandom>,
) -> Result<Tensor> {
    let (counts, probs) = (ctx.input(counts)?, ctx.input(counts + 1)?);
    let batch = broadcast_dims([counts, probs])?;
    let dims = dims_ending_with(ctx, shape, &batch)?;
    let dtype = ctx.node().dtype("dtype")?;
    let mut out = Tensor::uninit(dtype, &dims)?;
    let batches = batch.iter().product();
    let rng = stream(batches, out.len().checked_div(batches).unwrap_or(0))?;
    dispatch_floats!(counts.dtype(), P => {
        let (counts, probs) = (broadcast_values::<P>(counts, &batch)?, broadcast_values::<P>(probs, &batch)?);
        let (counts, probs) = (counts.as_slice::<P>()?, probs.as_slice::<P>()?);
        dispatch_counts!(dtype, T => binomial(rng, counts, probs, out.as_mut_slice::<T>()?));
    });
    Ok(out)
}

fn stateless_truncated(ctx: &mut KernelCtx) -> Result<()> {
    let rng = seed_input(ctx, 1)?;
    let parameters = [ctx.input(2)?, ctx.input(3)?, ctx.input(4)?, ctx.input(5)?];
    let batch = broadcast_dims(parameters)?;
    let dims = dims_ending_with(ctx, 0, &batch)?;
    let dtype = parameters[0].dtype();
    let out = dispatch_floats!(dtype, T => {
        let mut out = Tensor::uninit(dtype, &dims)?;
        let values: Vec<Tensor> = parameters.iter().map(|p| broadcast_values::<T>(p, &batch)).collect::<Result<_>>()?;
        let values: Vec<&[T]> = values.iter().map(|v| v.as_slice()).collect::<Result<_>>()?;
        let bounds = |batch: usize| TruncatedNormalBounds {
            mean: values[0][batch],
            stddev: values[1][batch],
            minval: values[2][batch],
            maxval: values[3][batch],
        };
        stateless_parameterized_truncated_normal(rng, bounds, values[0].len(), threads(), out.as_mut_slice::<T>()?)?;
        out
    });
    ctx.set(0, out)
}
