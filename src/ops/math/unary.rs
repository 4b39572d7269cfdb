//! Functions of one element, and the ops that multiply a gradient by their derivative.

use super::elementwise::{each, each_wide, pairs_wide, unary};
use super::grad;
use super::number::{Float, Inexact, Integer, Number, Real};
use super::special;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, KernelFn, Op};
use crate::ops::shape;
use crate::tensor::{DType, dispatch};
use num_complex::Complex;

const FLOATS: &[&str] = &["T: {bfloat16, half, float, double}"];
const INEXACT: &[&str] = &["T: {bfloat16, half, float, double, complex64, complex128}"];
const SIGNED: &[&str] = &["T: {bfloat16, half, float, double, int8, int16, int32, int64, complex64, complex128}"];

const fn op(
    name: &'static str,
    attrs: &'static [&'static str],
    kernel: KernelFn,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op { name, ins: &["x: T"], outs: &["y: T"], attrs, shape: shape::unchanged, kernel: Kernel::Pure(kernel), grad, rows }
}

const fn test(name: &'static str, kernel: KernelFn, rows: &'static [&'static str]) -> Op {
    Op { outs: &["y: bool"], ..op(name, FLOATS, kernel, Grad::None("a bool"), rows) }
}

const fn gradient(name: &'static str, kernel: KernelFn, grad: Grad, rows: &'static [&'static str]) -> Op {
    Op {
        name,
        ins: &["y: T", "dy: T"],
        outs: &["z: T"],
        attrs: INEXACT,
        shape: shape::unchanged,
        kernel: Kernel::Pure(kernel),
        grad,
        rows,
    }
}

const fn part(name: &'static str, kernel: KernelFn, grad: Grad, rows: &'static [&'static str]) -> Op {
    Op {
        ins: &["input: T"],
        outs: &["output: Tout"],
        ..op(name, &["T: {complex64, complex128} = DT_COMPLEX64", "Tout: {float, double} = DT_FLOAT"], kernel, grad, rows)
    }
}

pub(in crate::ops) static OPS: &[Op] = &[
    op(
        "Abs",
        &["T: {bfloat16, half, float, double, int8, int16, int32, int64}"],
        abs,
        Grad::Fn(grad::abs),
        &["i32[-2147483648 -1 2] => i32[-2147483648 1 2]", "f32[-1.5 NaN] => f32[1.5 NaN]"],
    ),
    op("Acos", INEXACT, acos, Grad::Fn(grad::acos), &["f32[1 0] => f32[0 1.5707964]"]),
    op(
        "Acosh",
        INEXACT,
        acosh,
        Grad::Fn(grad::acosh),
        &["f32[1 2] => f32[0 1.316958]", "c128[-2:0] => c128[1.3169578969:3.1415926536]"],
    ),
    op(
        "Asin",
        INEXACT,
        asin,
        Grad::Fn(grad::asin),
        &["f32[1 0] => f32[1.5707964 0]", "c64[2:0 0.5:0.5] => c64[1.5707964:1.3169578 0.4522785:0.5306375]"],
    ),
    op("Asinh", INEXACT, asinh, Grad::Fn(grad::asinh), &["f32[1 0] => f32[0.8813736 0]"]),
    op("Atan", INEXACT, atan, Grad::Fn(grad::atan), &["f32[1 inf] => f32[0.7853982 1.5707964]"]),
    op(
        "Atanh",
        INEXACT,
        atanh,
        Grad::Fn(grad::atanh),
        &["f32[0.5 1] => f32[0.54930615 inf]", "c64[-2:0] => c64[-0.5493061:1.5707964]"],
    ),
    op("BesselI0", FLOATS, bessel_i0, Grad::Fn(grad::bessel_i0), &["f32[1] => f32[1.2660659]"]),
    op("BesselI0e", FLOATS, bessel_i0e, Grad::Fn(grad::bessel_i0e), &["f32[-1] => f32[0.46575963]"]),
    op("BesselI1", FLOATS, bessel_i1, Grad::Fn(grad::bessel_i1), &["f32[-1] => f32[-0.5651591]"]),
    op("BesselI1e", FLOATS, bessel_i1e, Grad::Fn(grad::bessel_i1e), &["f32[1] => f32[0.20791042]"]),
    op("BesselJ0", FLOATS, bessel_j0, Grad::Fn(grad::bessel_j0), &["f32[1] => f32[0.7651977]"]),
    op("BesselJ1", FLOATS, bessel_j1, Grad::Fn(grad::bessel_j1), &["f32[-1] => f32[-0.44005057]"]),
    op("BesselK0", FLOATS, bessel_k0, Grad::Fn(grad::bessel_k0), &["f32[1 0] => f32[0.42102444 inf]"]),
    op("BesselK0e", FLOATS, bessel_k0e, Grad::Fn(grad::bessel_k0e), &["f32[1] => f32[1.1444631]"]),
    op("BesselK1", FLOATS, bessel_k1, Grad::Fn(grad::bessel_k1), &["f32[1] => f32[0.6019072]"]),
    op("BesselK1e", FLOATS, bessel_k1e, Grad::Fn(grad::bessel_k1e), &["f32[1] => f32[1.6361535]"]),
    op("BesselY0", FLOATS, bessel_y0, Grad::Fn(grad::bessel_y0), &["f32[1] => f32[0.08825696]"]),
    op("BesselY1", FLOATS, bessel_y1, Grad::Fn(grad::bessel_y1), &["f32[1] => f32[-0.7812128]"]),
    op("Ceil", FLOATS, ceil, grad::NONE, &["f32[-0.5 0.5] => f32[-0 1]"]),
    op("Cos", INEXACT, cos, Grad::Fn(grad::cos), &["f32[0 1] => f32[1 0.5403023]"]),
    op("Cosh", INEXACT, cosh, Grad::Fn(grad::cosh), &["f32[0 1] => f32[1 1.5430806]"]),
    op("Dawsn", FLOATS, dawsn, Grad::Fn(grad::dawsn), &["f32[-1] => f32[-0.5380795]"]),
    op("Digamma", FLOATS, digamma, Grad::Fn(grad::digamma), &["f32[1 0] => f32[-0.5772157 NaN]"]),
    op("Erf", FLOATS, erf, Grad::Fn(grad::erf), &["f32[0.5 -inf] => f32[0.5204999 -1]"]),
    op("Erfc", FLOATS, erfc, Grad::Fn(grad::erfc), &["f32[0.5] => f32[0.4795001]"]),
    op("Erfinv", FLOATS, erfinv, Grad::Fn(grad::erfinv), &["f32[0.5 1] => f32[0.47693628 inf]"]),
    op("Exp", INEXACT, exp, Grad::Fn(grad::exp), &["f32[0 1 -inf] => f32[1 2.7182817 0]", "c64[0:3.1415927] => c64[-1:0]"]),
    op("Expint", FLOATS, expint, Grad::Fn(grad::expint), &["f32[1] => f32[1.8951178]"]),
    op(
        "Expm1",
        INEXACT,
        exp_m1,
        Grad::Fn(grad::expm1),
        &["f32[1e-10] => f32[1e-10]", "c128[1e-5:1e-6] => c128[1.00000495e-05:1.00001e-06]"],
    ),
    op("Floor", FLOATS, floor, grad::NONE, &["f16[-0.5 0.5] => f16[-1 0]"]),
    op("FresnelCos", FLOATS, fresnel_cos, Grad::Fn(grad::fresnel_cos), &["f32[1] => f32[0.7798934]"]),
    op("FresnelSin", FLOATS, fresnel_sin, Grad::Fn(grad::fresnel_sin), &["f32[1] => f32[0.43825915]"]),
    op("Inv", SIGNED, reciprocal, Grad::Fn(grad::reciprocal), &["f32[2 0] => f32[0.5 inf]"]),
    test("IsFinite", is_finite, &["f32[1 inf NaN] => bool[true false false]"]),
    test("IsInf", is_inf, &["f16[1 inf -inf NaN] => bool[false true true false]"]),
    test("IsNan", is_nan, &["f64[1 inf NaN] => bool[false false true]"]),
    op("Lgamma", FLOATS, lgamma, Grad::Fn(grad::lgamma), &["f32[0.5 0] => f32[0.5723649 inf]"]),
    op("Log", INEXACT, ln, Grad::Fn(grad::log), &["f32[1 0 -1] => f32[0 -inf NaN]", "c64[-1:0] => c64[0:3.1415927]"]),
    op(
        "Log1p",
        INEXACT,
        ln_1p,
        Grad::Fn(grad::log1p),
        &["f32[1e-10 -1] => f32[1e-10 -inf]", "c128[1e-5:1e-6] => c128[9.9999505e-06:9.9999e-07]"],
    ),
    op("Ndtri", FLOATS, ndtri, Grad::Fn(grad::ndtri), &["f32[0.5 0.1] => f32[0 -1.2815516]"]),
    op("Neg", SIGNED, neg, Grad::Fn(grad::neg), &["i8[-128 5] => i8[-128 -5]", "f32[0 1] => f32[-0 -1]"]),
    op("Reciprocal", SIGNED, reciprocal, Grad::Fn(grad::reciprocal), &["c64[0:2] => c64[0:-0.5]"]),
    op("Rint", FLOATS, round, grad::NONE, &["f32[0.5 1.5 -2.5] => f32[0 2 -2]"]),
    op("Round", SIGNED, round, grad::NONE, &["f32[0.5 1.5 -2.5 NaN] => f32[0 2 -2 NaN]", "i32[5] => i32[5]"]),
    op("Rsqrt", INEXACT, rsqrt, Grad::Fn(grad::rsqrt), &["f32[4 0 -1] => f32[0.5 inf NaN]"]),
    op(
        "Sigmoid",
        INEXACT,
        sigmoid,
        Grad::Fn(grad::sigmoid),
        &["f32[0 -100 100] => f32[0.5 0 1]", "c128[-100:1] => c128[2.00996563e-44:3.130336e-44]"],
    ),
    op("Sign", SIGNED, sign, Grad::Fn(grad::sign), &["f32[-2 0 3 NaN] => f32[-1 0 1 NaN]", "c64[3:4 0:0] => c64[0.6:0.8 0:0]"]),
    op("Sin", INEXACT, sin, Grad::Fn(grad::sin), &["f32[0 1] => f32[0 0.84147096]"]),
    op("Sinh", INEXACT, sinh, Grad::Fn(grad::sinh), &["f32[0 1] => f32[0 1.1752012]"]),
    op("Spence", FLOATS, spence, Grad::Fn(grad::spence), &["f32[0 1] => f32[1.644934 0]"]),
    op("Sqrt", INEXACT, sqrt, Grad::Fn(grad::sqrt), &["f32[4 -1] => f32[2 NaN]", "c64[-4:0] => c64[0:2]", "bf16[4] => bf16[2]"]),
    op(
        "Square",
        &["T: {bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128}"],
        square,
        Grad::Fn(grad::square),
        &["i32[-3 65536] => i32[9 0]", "c64[0:1] => c64[-1:0]"],
    ),
    op("Tan", INEXACT, tan, Grad::Fn(grad::tan), &["f32[0 1] => f32[0 1.5574077]"]),
    op("Tanh", INEXACT, tanh, Grad::Fn(grad::tanh), &["f32[0 1 100] => f32[0 0.7615942 1]", "c128[100:1] => c128[1:0]"]),
    gradient("InvGrad", reciprocal_grad, Grad::Fn(grad::reciprocal_grad), &["f32[0.5], f32[2] => f32[-0.5]"]),
    gradient("ReciprocalGrad", reciprocal_grad, Grad::Fn(grad::reciprocal_grad), &["c64[0:1], c64[1] => c64[1:0]"]),
    gradient("RsqrtGrad", rsqrt_grad, Grad::Fn(grad::rsqrt_grad), &["f32[0.5], f32[2] => f32[-0.125]"]),
    gradient("SigmoidGrad", sigmoid_grad, Grad::Fn(grad::sigmoid_grad), &["f32[0.5], f32[2] => f32[0.5]"]),
    gradient("SqrtGrad", sqrt_grad, Grad::Fn(grad::sqrt_grad), &["f32[2], f32[4] => f32[1]"]),
    gradient("TanhGrad", tanh_grad, Grad::Fn(grad::tanh_grad), &["f32[0.5], f32[2] => f32[1.5]", "c64[0:1], c64[1] => c64[2]"]),
    Op {
        ins: &["input: T"],
        outs: &["output: T"],
        ..op(
            "Conj",
            &["T: {complex64, complex128, variant} = DT_COMPLEX64"],
            conj,
            Grad::Fn(grad::conj),
            &["c64[1:2] => c64[1:-2]"],
        )
    },
    part("Real", real, Grad::Fn(grad::real), &["c64[1:2] => f32[1]"]),
    part("Imag", imag, Grad::Fn(grad::imag), &["Tout=f64; c128[1:2] => f64[2]"]),
    part("Angle", angle, Grad::Fn(grad::angle), &["c64[0:2 -1:0] => f32[1.5707964 3.1415927]"]),
    Op {
        ins: &["x: T"],
        outs: &["y: Tout"],
        ..part("ComplexAbs", complex_abs, Grad::Fn(grad::complex_abs), &["c64[3:4] => f32[5]"])
    },
];

macro_rules! kernels {
    ($($name:ident: $class:ident, $loop:ident, $cost:literal, $f:expr;)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            dispatch!(ctx.input(0)?.dtype(), $class, T => unary::<T, T>(ctx, $cost, |x, out| $loop(x, out, $f)))
        })*
    };
}

kernels! {
    abs: real, each_wide, 1, Real::abs;
    acos: inexact, each, 20, Inexact::acos;
    acosh: inexact, each, 20, Inexact::acosh;
    asin: inexact, each, 20, Inexact::asin;
    asinh: inexact, each, 20, Inexact::asinh;
    atan: inexact, each, 20, Inexact::atan;
    atanh: inexact, each, 20, Inexact::atanh;
    ceil: floats, each_wide, 1, Float::ceil;
    cos: inexact, each, 10, Inexact::cos;
    cosh: inexact, each, 20, Inexact::cosh;
    exp: inexact, each, 5, Inexact::exp;
    exp_m1: inexact, each, 10, Inexact::exp_m1;
    floor: floats, each_wide, 1, Float::floor;
    ln: inexact, each, 5, Inexact::ln;
    ln_1p: inexact, each, 10, Inexact::ln_1p;
    neg: numbers, each_wide, 1, Number::neg;
    round_floats: floats, each_wide, 1, Float::round_even;
    rsqrt: inexact, each_wide, 3, Inexact::rsqrt;
    sigmoid: inexact, each, 10, Inexact::sigmoid;
    sign_real: real, each_wide, 1, Real::signum;
    sign_inexact: inexact, each, 5, Inexact::sign;
    sin: inexact, each, 10, Inexact::sin;
    sinh: inexact, each, 20, Inexact::sinh;
    sqrt: inexact, each_wide, 3, Inexact::sqrt;
    square: numbers, each_wide, 1, |x| Number::mul(x, x);
    tan: inexact, each, 20, Inexact::tan;
    tanh: inexact, each, 10, Inexact::tanh;
    reciprocal_inexact: inexact, each_wide, 1, |x| Inexact::div(Number::ONE, x);
    reciprocal_integers: integers, each, 3, |x| Integer::div(Number::ONE, x);
}

macro_rules! special_kernels {
    ($($name:ident)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            dispatch!(ctx.input(0)?.dtype(), floats, T => {
                unary::<T, T>(ctx, 100, |x, out| each(x, out, |x| Number::from_f64(special::$name(Real::to_f64(x)))))
            })
        })*
    };
}

special_kernels! {
    bessel_i0 bessel_i0e bessel_i1 bessel_i1e bessel_j0 bessel_j1 bessel_k0 bessel_k0e bessel_k1 bessel_k1e bessel_y0
    bessel_y1 dawsn digamma erf erfc erfinv expint fresnel_cos fresnel_sin lgamma ndtri spence
}

macro_rules! tests {
    ($($name:ident: $f:expr;)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            dispatch!(ctx.input(0)?.dtype(), floats, T => unary::<T, bool>(ctx, 1, |x, out| each_wide(x, out, $f)))
        })*
    };
}

tests! {
    is_finite: |x| !Float::is_nan(x) && !Float::is_infinite(x);
    is_inf: Float::is_infinite;
    is_nan: Float::is_nan;
}

fn reciprocal(ctx: &mut KernelCtx) -> Result<()> {
    if ctx.input(0)?.dtype().is_integer() { reciprocal_integers(ctx) } else { reciprocal_inexact(ctx) }
}

fn round(ctx: &mut KernelCtx) -> Result<()> {
    if ctx.input(0)?.dtype().is_integer() { ctx.forward(0, 0) } else { round_floats(ctx) }
}

fn sign(ctx: &mut KernelCtx) -> Result<()> {
    if ctx.input(0)?.dtype().is_complex() { sign_inexact(ctx) } else { sign_real(ctx) }
}

/// Runs a function of an op's output and the gradient there; both have one shape.
macro_rules! gradients {
    ($($name:ident: $f:expr;)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            check_same_shape(ctx)?;
            dispatch!(ctx.input(0)?.dtype(), inexact, T => {
                super::elementwise::binary::<T, T>(ctx, 1, |y, dy, out| pairs_wide(y, dy, out, $f))
            })
        })*
    };
}

gradients! {
    reciprocal_grad: |y, dy| {
        let y = Number::conj(y);
        unless_zero(dy, Number::neg(Number::mul(Number::mul(y, dy), y)))
    };
    rsqrt_grad: |y, dy| {
        let y = Number::conj(y);
        unless_zero(dy, Number::mul(Number::mul(Number::mul(Number::from_f64(-0.5), dy), y), Number::mul(y, y)))
    };
    sigmoid_grad: |y, dy| Number::mul(Number::mul(dy, y), Number::sub(Number::ONE, y));
    sqrt_grad: |y, dy| unless_zero(dy, Inexact::div(Number::mul(Number::from_f64(0.5), dy), Number::conj(y)));
    tanh_grad: |y, dy| Number::mul(dy, Number::sub(Number::ONE, Number::mul(y, y)));
}

/// Zero where the gradient that arrives is zero, also at a singularity.
#[inline(always)]
fn unless_zero<T: Number>(dy: T, value: T) -> T {
    if dy.is_zero() { T::ZERO } else { value }
}

fn check_same_shape(ctx: &KernelCtx) -> Result<()> {
    let (y, dy) = (ctx.input(0)?.dims(), ctx.input(1)?.dims());
    if y != dy {
        bail!(InvalidArgument, "Inputs to {} must have the same shape, got {y:?} and {dy:?}", ctx.node().op);
    }
    Ok(())
}

fn conj(ctx: &mut KernelCtx) -> Result<()> {
    match ctx.input(0)?.dtype() {
        DType::Complex64 => unary::<Complex<f32>, Complex<f32>>(ctx, 1, |x, out| each(x, out, Number::conj)),
        DType::Complex128 => unary::<Complex<f64>, Complex<f64>>(ctx, 1, |x, out| each(x, out, Number::conj)),
        _ => ctx.forward(0, 0),
    }
}

macro_rules! parts {
    ($($name:ident: $f:expr;)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            check_part(ctx)?;
            dispatch!(ctx.input(0)?.dtype(), complex, P => unary::<Complex<P>, P>(ctx, 3, |x, out| each(x, out, $f)))
        })*
    };
}

parts! {
    real: |x| x.re;
    imag: |x| x.im;
    angle: |x| x.arg();
    complex_abs: |x| x.norm();
}

fn check_part(ctx: &KernelCtx) -> Result<()> {
    let (given, wanted) = (ctx.input(0)?.dtype(), ctx.node().output_types[0]);
    if given.real() != wanted {
        bail!(InvalidArgument, "the parts of {given} are {}, not {wanted}", given.real());
    }
    Ok(())
}
