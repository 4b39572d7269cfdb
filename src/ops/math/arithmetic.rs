//! Arithmetic of two operands with broadcasting.

use super::broadcast::Broadcast;
use super::elementwise::{binary, pairs, pairs_wide};
use super::grad;
use super::number::{Float, Inexact, Integer, Number, Real};
use super::special;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, KernelFn, Op};
use crate::ops::shape;
use crate::tensor::{DType, Element, Tensor, dispatch};
use bytes::Bytes;

const NUMBERS: &[&str] =
    &["T: {bfloat16, half, float, double, uint8, int8, uint16, int16, int32, uint32, uint64, int64, complex64, complex128}"];
const FLOATS: &[&str] = &["T: {bfloat16, half, float, double}"];
const INEXACT: &[&str] = &["T: {half, float, bfloat16, double, complex64, complex128}"];
const SINGLE_DOUBLE: &[&str] = &["T: {float, double}"];

/// An op `z = f(x, y)` over one type with broadcasting.
pub(super) const fn op(
    name: &'static str,
    attrs: &'static [&'static str],
    kernel: KernelFn,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op { name, ins: &["x: T", "y: T"], outs: &["z: T"], attrs, shape: shape::broadcast, kernel: Kernel::Pure(kernel), grad, rows }
}

pub(in crate::ops) static OPS: &[Op] = &[
    op(
        "Add",
        &[
            "T: {bfloat16, half, float, double, uint8, uint16, uint32, uint64, int8, int16, int32, int64, complex64, complex128, string}",
        ],
        add,
        Grad::Fn(grad::add),
        &["i8[127 -128], i8 1 => i8[-128 -127]", "str[\"a\" \"b\"], str \"c\" => str[\"ac\" \"bc\"]"],
    ),
    op(
        "AddV2",
        NUMBERS,
        add,
        Grad::Fn(grad::add),
        &[
            "f32[[1 2] [3 4]], f32[10 20] => f32[[11 22] [13 24]]",
            "f16[1 2], f16 0.5 => f16[1.5 2.5]",
            "f32{0,2}[], f32[1 2] => f32{0,2}[]",
            "f32[[1] [2]], f32[10 20 30] => f32[[11 21 31] [12 22 32]]",
        ],
    ),
    op("Sub", NUMBERS, sub, Grad::Fn(grad::sub), &["u8 1, u8[1 2] => u8[0 255]", "c64[1:2], c64[0:1] => c64[1:1]"]),
    op("Mul", NUMBERS, mul, Grad::Fn(grad::mul), &["i32[2147483647], i32 2 => i32[-2]", "c64[1:2], c64[0:1] => c64[-2:1]"]),
    op("MulNoNan", INEXACT, mul_no_nan, Grad::Fn(grad::mul_no_nan), &["f32[NaN inf 2], f32[0 0 3] => f32[0 0 6]"]),
    op("Div", NUMBERS, div, Grad::Fn(grad::div), &["i32[-5 5], i32[3 -3] => i32[-1 -1]", "f32[1 0], f32[0 0] => f32[inf NaN]"]),
    op("RealDiv", NUMBERS, div, Grad::Fn(grad::real_div), &["f64[1 3], f64 2 => f64[0.5 1.5]"]),
    op("TruncateDiv", NUMBERS, truncate_div, grad::NONE, &["i64[-7 7], i64 2 => i64[-3 3]", "f32[-7 7], f32 2 => f32[-3 3]"]),
    op(
        "DivNoNan",
        INEXACT,
        div_no_nan,
        Grad::Fn(grad::div_no_nan),
        &["f32[NaN inf 1], f32[0 0 2] => f32[0 0 0.5]", "c64[1:2], c64[0:0] => c64[0:0]"],
    ),
    op(
        "FloorDiv",
        NUMBERS,
        floor_div,
        grad::NONE,
        &["i32[-5 5 -2147483648], i32[3 -3 -1] => i32[-2 -2 -2147483648]", "f32[-5 1], f32[3 0] => f32[-2 inf]"],
    ),
    op(
        "FloorMod",
        &["T: {int8, int16, int32, int64, uint8, uint16, uint32, uint64, bfloat16, half, float, double}"],
        floor_mod,
        Grad::Fn(grad::floor_mod),
        &["f32[-5 5 3], f32[3 -3 inf] => f32[1 -1 3]", "i32[-5 5], i32[3 -3] => i32[1 -1]"],
    ),
    op(
        "Mod",
        &["T: {int32, int64, half, bfloat16, float, double}"],
        truncate_mod,
        Grad::Missing,
        &["i32[-5 5], i32[3 -3] => i32[-2 2]", "f32[-5 5], f32[3 -3] => f32[-2 2]"],
    ),
    op(
        "TruncateMod",
        &["T: {int32, int64, bfloat16, half, float, double}"],
        truncate_mod,
        Grad::Missing,
        &["i64[-5 5], i64[3 -3] => i64[-2 2]"],
    ),
    op(
        "Maximum",
        &["T: {bfloat16, half, float, double, int8, uint8, int16, uint16, int32, uint32, int64, uint64}"],
        maximum,
        Grad::Fn(grad::maximum),
        &["f32[NaN 1 2], f32[1 NaN 1] => f32[NaN NaN 2]"],
    ),
    op(
        "Minimum",
        &["T: {bfloat16, half, float, double, int8, uint8, int16, uint16, int32, uint32, int64, uint64}"],
        minimum,
        Grad::Fn(grad::minimum),
        &["f32[NaN 1 2], f32[1 NaN 1] => f32[NaN NaN 1]", "u8[1 200], u8 100 => u8[1 100]"],
    ),
    op(
        "Pow",
        &["T: {bfloat16, float, half, double, int8, int16, int32, int64, complex64, complex128}"],
        pow,
        Grad::Fn(grad::pow),
        &["i32[2 3 0], i32[3 0 0] => i32[8 1 1]", "f32[2 4], f32[-1 0.5] => f32[0.5 2]", "c128[1:1], c128[2] => c128[0:2]"],
    ),
    op(
        "SquaredDifference",
        &["T: {bfloat16, half, float, double, int32, int64, complex64, complex128}"],
        squared_difference,
        Grad::Fn(grad::squared_difference),
        &["c64[1:2], c64[0:3] => c64[2:0]", "i32[1 5], i32 3 => i32[4 4]"],
    ),
    Op {
        ins: &["y: T", "x: T"],
        ..op("Atan2", FLOATS, atan2, Grad::Fn(grad::atan2), &["f32[0 1], f32[-1 1] => f32[3.1415927 0.7853982]"])
    },
    op("Xlogy", INEXACT, xlogy, Grad::Fn(grad::xlogy), &["f32[0 2 0], f32[0 1 NaN] => f32[0 0 0]"]),
    op("Xlog1py", INEXACT, xlog1py, Grad::Fn(grad::xlog1py), &["f32[0 2], f32[-1 0] => f32[0 0]"]),
    op("Xdivy", INEXACT, xdivy, Grad::Fn(grad::xdivy), &["f32[0 2], f32[0 4] => f32[0 0.5]"]),
    Op {
        ins: &["x1: T", "x2: T"],
        outs: &["output: T"],
        ..op(
            "NextAfter",
            &["T: {double, float} = DT_FLOAT"],
            next_after,
            Grad::Fn(grad::next_after),
            &["f32[1 0], f32[2 -1] => f32[1.0000001 -1e-45]"],
        )
    },
    Op {
        name: "Complex",
        ins: &["real: T", "imag: T"],
        outs: &["out: Tout"],
        attrs: &["T: {float, double} = DT_FLOAT", "Tout: {complex64, complex128} = DT_COMPLEX64"],
        shape: shape::broadcast,
        kernel: Kernel::Pure(complex),
        grad: Grad::Fn(grad::complex),
        rows: &["f32[1 2], f32 3 => c64[1:3 2:3]", "Tout=c128; f64[1 2], f64[3 4] => c128[1:3 2:4]"],
    },
    Op {
        ins: &["a: T", "x: T"],
        ..op("Igamma", FLOATS, igamma, Grad::Fn(grad::igamma), &["f64[2 1], f64[3 0] => f64[0.8008517265285442 0]"])
    },
    Op {
        ins: &["a: T", "x: T"],
        ..op("Igammac", FLOATS, igammac, Grad::Fn(grad::igammac), &["f64[2 1], f64[3 0] => f64[0.1991482734714558 1]"])
    },
    Op {
        ins: &["a: T", "x: T"],
        ..op(
            "IgammaGradA",
            SINGLE_DOUBLE,
            igamma_grad_a,
            Grad::Missing,
            &["f64[2 5 0.1], f64[3 2 0.1] => f64[-0.19742541957920223 -0.05691325064457104 -1.6219824706549486]"],
        )
    },
    Op {
        ins: &["a: T", "x: T"],
        ..op(
            "Polygamma",
            SINGLE_DOUBLE,
            polygamma,
            Grad::Fn(grad::polygamma),
            &["f64[0 1 3], f64[1 2 -1.5] => f64[-0.5772156649015329 0.6449340668482264 194.59427621918758]"],
        )
    },
    Op {
        ins: &["x: T", "q: T"],
        ..op(
            "Zeta",
            SINGLE_DOUBLE,
            zeta,
            Grad::Fn(grad::zeta),
            &["f64[2 3 1], f64[2 -1.5 2] => f64[0.6449340668482264 0.11810202582086413 inf]"],
        )
    },
];

macro_rules! kernels {
    ($($name:ident: $class:ident, $loop:ident, $cost:literal, $f:expr;)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            dispatch!(ctx.input(0)?.dtype(), $class, T => binary::<T, T>(ctx, $cost, |x, y, out| $loop(x, y, out, $f)))
        })*
    };
}

kernels! {
    add_numbers: numbers, pairs_wide, 1, Number::add;
    sub: numbers, pairs_wide, 1, Number::sub;
    mul: numbers, pairs_wide, 1, Number::mul;
    mul_no_nan: inexact, pairs, 1, |x, y| if Number::is_zero(y) { y } else { Number::mul(x, y) };
    div_inexact: inexact, pairs_wide, 1, Inexact::div;
    div_integers: integers, pairs, 3, Integer::div;
    div_no_nan: inexact, pairs, 1, |x, y| if Number::is_zero(y) { y } else { Inexact::div(x, y) };
    floor_div_floats: floats, pairs_wide, 1, |x, y| Float::floor(Inexact::div(x, y));
    floor_div_integers: integers, pairs, 4, Integer::floor_div;
    floor_mod_floats: floats, pairs, 10, floor_mod_of;
    floor_mod_integers: integers, pairs, 4, Integer::floor_rem;
    truncate_div_floats: floats, pairs, 1, |x, y| {
        let quotient = Inexact::div(x, y);
        if quotient < Number::ZERO { Number::neg(Float::floor(Number::neg(quotient))) } else { Float::floor(quotient) }
    };
    truncate_mod_floats: floats, pairs, 10, Float::fmod;
    truncate_mod_integers: integers, pairs, 3, Integer::rem;
    maximum: real, pairs_wide, 1, Real::maximum;
    minimum: real, pairs_wide, 1, Real::minimum;
    pow_inexact: inexact, pairs, 20, Inexact::power;
    pow_integers: integers, pairs, 10, Integer::power;
    squared_difference: numbers, pairs_wide, 1, difference_squared;
    atan2: floats, pairs, 20, Float::atan2;
    xlogy: inexact, pairs, 10, |x, y| if Number::is_zero(x) { x } else { Number::mul(x, Inexact::ln(y)) };
    xlog1py: inexact, pairs, 10, |x, y| if Number::is_zero(x) { x } else { Number::mul(x, Inexact::ln_1p(y)) };
    xdivy: inexact, pairs, 1, |x, y| if Number::is_zero(x) { x } else { Inexact::div(x, y) };
    igamma: floats, pairs, 200, |a, x| Number::from_f64(special::igamma(Real::to_f64(a), Real::to_f64(x)));
    igammac: floats, pairs, 200, |a, x| Number::from_f64(special::igammac(Real::to_f64(a), Real::to_f64(x)));
    igamma_grad_a: floats, pairs, 400, |a, x| Number::from_f64(special::igamma_grad_a(Real::to_f64(a), Real::to_f64(x)));
    polygamma: floats, pairs, 200, |n, x| Number::from_f64(special::polygamma(Real::to_f64(n), Real::to_f64(x)));
    zeta: floats, pairs, 200, |x, q| Number::from_f64(special::zeta(Real::to_f64(x), Real::to_f64(q)));
}

#[inline(always)]
fn difference_squared<T: Number>(x: T, y: T) -> T {
    let difference = x.sub(y);
    difference.mul(difference.conj())
}

/// The remainder with the sign of the divisor.
#[inline(always)]
fn floor_mod_of<T: Float>(x: T, y: T) -> T {
    let rest = x.fmod(y);
    if rest != T::ZERO && (y < T::ZERO) != (rest < T::ZERO) { rest.add(y) } else { rest }
}

fn add(ctx: &mut KernelCtx) -> Result<()> {
    if ctx.input(0)?.dtype() != DType::String {
        return add_numbers(ctx);
    }
    let (x, y) = (ctx.input(0)?, ctx.input(1)?);
    let broadcast = Broadcast::new([x.dims(), y.dims()])?;
    let (a, b) = (x.strings()?, y.strings()?);
    let mut out = vec![Bytes::new(); broadcast.dims.iter().product()];
    broadcast.fill(&mut out, 50, |run, part| {
        for (i, o) in part.iter_mut().enumerate() {
            let element = |n: usize| run.at[n] + if run.moves[n] { i } else { 0 };
            *o = [&a[element(0)][..], &b[element(1)][..]].concat().into();
        }
    });
    let out = Tensor::from_strings(&broadcast.dims, out)?;
    ctx.set(0, out)
}

/// Refuses divisors of zero, where there is anything to divide. TensorFlow's truncating ops didn't foresee them.
fn check_divisor(ctx: &KernelCtx) -> Result<()> {
    let y = ctx.input(1)?;
    let has_zero = dispatch!(y.dtype(), integers, T => y.as_slice::<T>()?.contains(&0));
    if has_zero && !ctx.input(0)?.is_empty() {
        Broadcast::new([ctx.input(0)?.dims(), y.dims()])?;
        if ctx.node().op.starts_with("Truncate") {
            bail!(Internal, "Unexpected error in binary operator (only integer div and mod should have errors)");
        }
        bail!(InvalidArgument, "Integer division by zero");
    }
    Ok(())
}

/// Runs one kernel for integers, after a look at the divisor, and another for the rest.
fn divide(ctx: &mut KernelCtx, integers: KernelFn, others: KernelFn) -> Result<()> {
    if !ctx.input(0)?.dtype().is_integer() {
        return others(ctx);
    }
    check_divisor(ctx)?;
    integers(ctx)
}

fn div(ctx: &mut KernelCtx) -> Result<()> {
    divide(ctx, div_integers, div_inexact)
}

fn floor_div(ctx: &mut KernelCtx) -> Result<()> {
    divide(ctx, floor_div_integers, floor_div_floats)
}

fn truncate_div(ctx: &mut KernelCtx) -> Result<()> {
    divide(ctx, div_integers, if ctx.input(0)?.dtype().is_complex() { div_inexact } else { truncate_div_floats })
}

fn floor_mod(ctx: &mut KernelCtx) -> Result<()> {
    divide(ctx, floor_mod_integers, floor_mod_floats)
}

fn truncate_mod(ctx: &mut KernelCtx) -> Result<()> {
    divide(ctx, truncate_mod_integers, truncate_mod_floats)
}

fn pow(ctx: &mut KernelCtx) -> Result<()> {
    let y = ctx.input(1)?;
    if !y.dtype().is_integer() {
        return pow_inexact(ctx);
    }
    let negative = dispatch!(y.dtype(), integers, T => y.as_slice::<T>()?.iter().any(|&v| v < T::ZERO));
    if negative && !ctx.input(0)?.is_empty() {
        bail!(InvalidArgument, "Integers to negative integer powers are not allowed");
    }
    pow_integers(ctx)
}

fn next_after(ctx: &mut KernelCtx) -> Result<()> {
    match ctx.input(0)?.dtype() {
        DType::Double => binary::<f64, f64>(ctx, 5, |x, y, out| pairs(x, y, out, libm::nextafter)),
        _ => binary::<f32, f32>(ctx, 5, |x, y, out| pairs(x, y, out, libm::nextafterf)),
    }
}

fn complex(ctx: &mut KernelCtx) -> Result<()> {
    fn run<P: Element, C: Element>(ctx: &mut KernelCtx, body: super::elementwise::BinaryLoop<P, C>) -> Result<()> {
        binary::<P, C>(ctx, 1, body)
    }
    match (ctx.input(0)?.dtype(), ctx.node().output_types[0]) {
        (DType::Float, DType::Complex64) => run::<f32, _>(ctx, |x, y, out| pairs(x, y, out, num_complex::Complex::new)),
        (DType::Double, DType::Complex128) => run::<f64, _>(ctx, |x, y, out| pairs(x, y, out, num_complex::Complex::new)),
        (t, out) => bail!(InvalidArgument, "Complex makes complex64 of float32 or complex128 of float64, not {out} of {t}"),
    }
}
