//! Activation functions and the ops of their gradients.

use super::wide::{Wide, lit};
use crate::compute::level::vectorize;
use crate::compute::pool::parallel_pieces;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::nn::gradients::activation as gradients;
use crate::ops::shape;
use crate::tensor::{DType, Element, Tensor, dispatch};
use num_traits::{Float, Num, NumCast, Zero};

/// Elements that one thread handles at least.
const GRAIN: usize = 8 << 10;

const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_SCALE_ALPHA: f64 = 1.758_099_340_847_376_8;

const REAL: &[&str] = &["T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}"];
const FLOATS: &[&str] = &["T: {half, bfloat16, float, double}"];
const LEAKY: &[&str] = &["alpha: float = 0.20000000298023224", "T: {half, bfloat16, float, double} = DT_FLOAT"];

macro_rules! activation {
    ($name:literal, $attrs:expr, $kernel:expr, $grad:expr, $rows:expr) => {
        Op {
            name: $name,
            ins: &["features: T"],
            outs: &["activations: T"],
            attrs: $attrs,
            shape: shape::unchanged,
            kernel: Kernel::Pure($kernel),
            grad: $grad,
            rows: $rows,
        }
    };
}

macro_rules! backprop {
    ($name:literal, $second:literal, $attrs:expr, $kernel:expr, $grad:expr, $rows:expr) => {
        Op {
            name: $name,
            ins: &["gradients: T", $second],
            outs: &["backprops: T"],
            attrs: $attrs,
            shape: merged,
            kernel: Kernel::Pure($kernel),
            grad: $grad,
            rows: $rows,
        }
    };
}

pub(in crate::ops) static OPS: &[Op] = &[
    activation!(
        "Relu",
        REAL_AND_QINT8,
        relu,
        Grad::Fn(gradients::relu),
        &["f32[-1 0 2 NaN] => f32[0 0 2 NaN]", "i32[-1 0 2] => i32[0 0 2]"]
    ),
    backprop!(
        "ReluGrad",
        "features: T",
        REAL,
        relu_grad,
        Grad::Fn(gradients::relu_grad),
        &["f32[3 4 5], f32[-1 0 2] => f32[0 0 5]"]
    ),
    activation!("Relu6", REAL, relu6, Grad::Fn(gradients::relu6), &["f32[-1 2 7 NaN] => f32[0 2 6 NaN]", "u8[3 9] => u8[3 6]"]),
    backprop!(
        "Relu6Grad",
        "features: T",
        REAL,
        relu6_grad,
        Grad::Fn(gradients::relu6_grad),
        &["f32[3 4 5 6], f32[0 2 6 7] => f32[0 4 0 0]"]
    ),
    activation!("LeakyRelu", LEAKY, leaky_relu, Grad::Fn(gradients::leaky_relu), &["alpha=0.5; f32[-2 0 3] => f32[-1 0 3]"]),
    backprop!(
        "LeakyReluGrad",
        "features: T",
        LEAKY,
        leaky_relu_grad,
        Grad::Fn(gradients::leaky_relu_grad),
        &["alpha=0.5; f32[4 4 4], f32[-1 0 1] => f32[2 2 4]"]
    ),
    activation!("Elu", FLOATS, elu, Grad::Fn(gradients::elu), &["f64[-1 0 3] => f64[-0.6321205588285577 0 3]"]),
    backprop!("EluGrad", "outputs: T", FLOATS, elu_grad, Grad::Fn(gradients::elu_grad), &["f32[2 2], f32[-0.5 1] => f32[1 2]"]),
    activation!("Selu", FLOATS, selu, Grad::Fn(gradients::selu), &["f64[0 1] => f64[0 1.0507009873554805]"]),
    backprop!(
        "SeluGrad",
        "outputs: T",
        FLOATS,
        selu_grad,
        Grad::Fn(gradients::selu_grad),
        &["f64[1 1], f64[-1 1] => f64[0.7580993408473768 1.0507009873554805]"]
    ),
    activation!(
        "Softplus",
        FLOATS,
        softplus,
        Grad::Fn(gradients::softplus),
        &["f64[-1000 0 1000] => f64[0 0.6931471805599453 1000]"]
    ),
    backprop!(
        "SoftplusGrad",
        "features: T",
        FLOATS,
        softplus_grad,
        Grad::Fn(gradients::softplus_grad),
        &["f32[2 2], f32[0 -1000] => f32[1 0]"]
    ),
    activation!("Softsign", FLOATS, softsign, Grad::Fn(gradients::softsign), &["f32[-1 0 3] => f32[-0.5 0 0.75]"]),
    backprop!("SoftsignGrad", "features: T", FLOATS, softsign_grad, Grad::Missing, &["f32[4 4], f32[-1 0] => f32[1 4]"]),
];

const REAL_AND_QINT8: &[&str] =
    &["T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64, qint8}"];

fn merged(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).merge(&ctx.input(1))?;
    ctx.set(0, shape)
}

/// Applies a function to each element of the only input, in place where nothing else holds it.
fn map<T: Element>(ctx: &mut KernelCtx, function: impl Fn(T) -> T + Sync) -> Result<()> {
    let mut values = ctx.take(0)?;
    if values.is_unique() {
        parallel_pieces(values.as_mut_slice::<T>()?, 1, GRAIN, |_, piece| {
            vectorize(
                #[inline(always)]
                || piece.iter_mut().for_each(|x| *x = function(*x)),
            );
        });
        return ctx.set(0, values);
    }
    let mut output = Tensor::uninit(values.dtype(), values.dims())?;
    let input = values.as_slice::<T>()?;
    parallel_pieces(output.as_mut_slice::<T>()?, 1, GRAIN, |start, piece| {
        let input = &input[start..start + piece.len()];
        vectorize(
            #[inline(always)]
            || piece.iter_mut().zip(input).for_each(|(y, &x)| *y = function(x)),
        );
    });
    ctx.set(0, output)
}

/// Applies a function to the elements of gradients and features (or outputs), which must be as many; in the place of the
/// gradients where nothing else holds them.
fn map2<T: Element>(ctx: &mut KernelCtx, function: impl Fn(T, T) -> T + Sync) -> Result<()> {
    let (mut gradients, features) = (ctx.take(0)?, ctx.take(1)?);
    if gradients.dims() != features.dims() {
        bail!(
            InvalidArgument,
            "{}: the gradients and features must have the same shape, got {:?} and {:?}",
            ctx.node().op,
            gradients.dims(),
            features.dims()
        );
    }
    if gradients.is_unique() {
        let x = features.as_slice::<T>()?;
        parallel_pieces(gradients.as_mut_slice::<T>()?, 1, GRAIN, |start, piece| {
            let x = &x[start..start + piece.len()];
            vectorize(
                #[inline(always)]
                || piece.iter_mut().zip(x).for_each(|(g, &x)| *g = function(*g, x)),
            );
        });
        return ctx.set(0, gradients);
    }
    let mut output = Tensor::uninit(gradients.dtype(), gradients.dims())?;
    let (g, x) = (gradients.as_slice::<T>()?, features.as_slice::<T>()?);
    parallel_pieces(output.as_mut_slice::<T>()?, 1, GRAIN, |start, piece| {
        let (g, x) = (&g[start..start + piece.len()], &x[start..start + piece.len()]);
        vectorize(
            #[inline(always)]
            || piece.iter_mut().zip(g.iter().zip(x)).for_each(|(y, (&g, &x))| *y = function(g, x)),
        );
    });
    ctx.set(0, output)
}

/// The same for floats, computed in the wider type.
fn wide_map<T: Wide>(ctx: &mut KernelCtx, function: impl Fn(T::Wide) -> T::Wide + Sync) -> Result<()> {
    map(
        ctx,
        #[inline(always)]
        |x: T| T::narrow(function(x.widen())),
    )
}

fn wide_map2<T: Wide>(ctx: &mut KernelCtx, function: impl Fn(T::Wide, T::Wide) -> T::Wide + Sync) -> Result<()> {
    map2(
        ctx,
        #[inline(always)]
        |g: T, x: T| T::narrow(function(g.widen(), x.widen())),
    )
}

fn relu(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype(), real, T => map(ctx, #[inline(always)] |x: T| if x <= T::zero() { T::zero() } else { x }))
}

/// `x`, or zero where the condition fails; NaN and infinity times zero stay NaN.
#[inline(always)]
fn masked<T: Num>(x: T, keep: bool) -> T {
    x * if keep { T::one() } else { T::zero() }
}

fn relu_grad(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype(), real, T => map2(ctx, #[inline(always)] |g: T, x: T| masked(g, x > T::zero())))
}

fn six<T: Num + NumCast>() -> T {
    T::from(6).unwrap_or_else(T::zero)
}

fn relu6(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype(), real, T => {
        let six = six::<T>();
        map(ctx, #[inline(always)] |x: T| if x <= T::zero() { T::zero() } else if x >= six { six } else { x })
    })
}

fn relu6_grad(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype(), real, T => {
        let six = six::<T>();
        map2(ctx, #[inline(always)] |g: T, x: T| masked(g, x > T::zero() && x < six))
    })
}

fn leaky_relu(ctx: &mut KernelCtx) -> Result<()> {
    let alpha = ctx.node().float("alpha")?;
    dispatch!(ctx.input(0)?.dtype(), floats, T => {
        let alpha = lit::<<T as Wide>::Wide>(alpha.into());
        wide_map::<T>(ctx, #[inline(always)] |x| if x > lit(0.0) { x } else { x * alpha })
    })
}

fn leaky_relu_grad(ctx: &mut KernelCtx) -> Result<()> {
    let alpha = ctx.node().float("alpha")?;
    dispatch!(ctx.input(0)?.dtype(), floats, T => {
        let alpha = lit::<<T as Wide>::Wide>(alpha.into());
        wide_map2::<T>(ctx, #[inline(always)] |g, x| if x > lit(0.0) { g } else { g * alpha })
    })
}

/// A kernel from a function of floats.
macro_rules! float_kernel {
    ($name:ident, $map:ident, $function:expr) => {
        fn $name(ctx: &mut KernelCtx) -> Result<()> {
            dispatch!(ctx.input(0)?.dtype(), floats, T => $map::<T>(ctx, $function))
        }
    };
}

float_kernel!(elu, wide_map, elu_of);
float_kernel!(elu_grad, wide_map2, elu_grad_of);
float_kernel!(selu, wide_map, selu_of);
float_kernel!(selu_grad, wide_map2, selu_grad_of);
float_kernel!(softplus_grad, wide_map2, softplus_grad_of);
float_kernel!(softsign, wide_map, softsign_of);
float_kernel!(softsign_grad, wide_map2, softsign_grad_of);

#[inline(always)]
fn elu_of<F: Float>(x: F) -> F {
    if x < F::zero() { x.exp_m1() } else { x }
}

#[inline(always)]
fn elu_grad_of<F: Float>(g: F, y: F) -> F {
    if y < F::zero() { (y + F::one()) * g } else { g }
}

#[inline(always)]
fn selu_of<F: Float>(x: F) -> F {
    if x < F::zero() { lit::<F>(SELU_SCALE_ALPHA) * x.exp_m1() } else { lit::<F>(SELU_SCALE) * x }
}

#[inline(always)]
fn selu_grad_of<F: Float>(g: F, y: F) -> F {
    if y < F::zero() { g * (y + lit(SELU_SCALE_ALPHA)) } else { g * lit(SELU_SCALE) }
}

#[inline(always)]
fn softplus_grad_of<F: Float>(g: F, x: F) -> F {
    g / ((-x).exp() + F::one())
}

#[inline(always)]
fn softsign_of<F: Float>(x: F) -> F {
    x / (x.abs() + F::one())
}

#[inline(always)]
fn softsign_grad_of<F: Float>(g: F, x: F) -> F {
    let scale = x.abs() + F::one();
    g / (scale * scale)
}

/// Past this, `exp(x)` and `x` are as good as `softplus(x)`: the logarithm of the element type's precision, plus two.
fn softplus_threshold(dtype: DType) -> f64 {
    let epsilon = match dtype {
        DType::Double => f64::EPSILON,
        DType::Half => half::f16::EPSILON.to_f64(),
        DType::Bfloat16 => half::bf16::EPSILON.to_f64(),
        _ => f32::EPSILON.into(),
    };
    -(epsilon.ln() + 2.0)
}

fn softplus(ctx: &mut KernelCtx) -> Result<()> {
    let dtype = ctx.input(0)?.dtype();
    dispatch!(dtype, floats, T => {
        let threshold = lit::<<T as Wide>::Wide>(softplus_threshold(dtype));
        wide_map::<T>(ctx, #[inline(always)] |x| softplus_of(x, threshold))
    })
}

#[inline(always)]
fn softplus_of<F: Float>(x: F, threshold: F) -> F {
    if x > threshold {
        x
    } else if x < -threshold {
        x.exp()
    } else {
        x.exp().ln_1p()
    }
}
