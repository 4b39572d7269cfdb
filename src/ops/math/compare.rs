//! Comparisons, logic and bits.

use super::arithmetic::op;
use super::broadcast::{Broadcast, broadcast_dims};
use super::elementwise::{binary, each, pairs, pairs_wide, unary};
use super::number::{Integer, Number, Real};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, KernelFn, Op};
use crate::ops::shape;
use crate::tensor::{DType, Tensor, dispatch};

const ORDERED: &[&str] = &["T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}"];
const INTEGERS: &[&str] = &["T: {int8, int16, int32, int64, uint8, uint16, uint32, uint64}"];

const fn comparison(name: &'static str, kernel: KernelFn, rows: &'static [&'static str]) -> Op {
    Op { outs: &["z: bool"], ..op(name, ORDERED, kernel, Grad::None("a bool"), rows) }
}

const fn equality(name: &'static str, kernel: KernelFn, rows: &'static [&'static str]) -> Op {
    Op {
        outs: &["z: bool"],
        shape: equality_shape,
        ..op(name, &["T: type", "incompatible_shape_error: bool = true"], kernel, Grad::None("a bool"), rows)
    }
}

const fn logical(name: &'static str, kernel: KernelFn, rows: &'static [&'static str]) -> Op {
    Op { ins: &["x: bool", "y: bool"], outs: &["z: bool"], ..op(name, &[], kernel, Grad::None("a bool"), rows) }
}

const fn bitwise(name: &'static str, kernel: KernelFn, rows: &'static [&'static str]) -> Op {
    op(name, INTEGERS, kernel, Grad::None("bits"), rows)
}

pub(in crate::ops) static OPS: &[Op] = &[
    comparison("Less", less, &["f32[1 NaN 2], f32[2 1 2] => bool[true false false]"]),
    comparison("LessEqual", less_equal, &["i64[[1] [2]], i64[1 2] => bool[[true true] [false true]]"]),
    comparison("Greater", greater, &["u8[1 200], u8 100 => bool[false true]"]),
    comparison("GreaterEqual", greater_equal, &["f16[1 2], f16[2 2] => bool[false true]"]),
    equality(
        "Equal",
        equal,
        &[
            "f32[1 NaN], f32[1 NaN] => bool[true false]",
            "str[\"a\" \"b\"], str \"a\" => bool[true false]",
            "c64[1:2], c64[1:2 2:1] => bool[true false]",
            "incompatible_shape_error=false; i32[1 2], i32[1 2 3] => bool false",
        ],
    ),
    equality(
        "NotEqual",
        not_equal,
        &["bool[true false], bool true => bool[false true]", "incompatible_shape_error=false; i32[1 2], i32[1 2 3] => bool true"],
    ),
    Op {
        name: "ApproximateEqual",
        ins: &["x: T", "y: T"],
        outs: &["z: bool"],
        attrs: &[
            "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, uint16, complex128, half, uint32, uint64}",
            "tolerance: float = 9.999999747378752e-06",
        ],
        shape: approximate_equal_shape,
        kernel: Kernel::Pure(approximate_equal),
        grad: Grad::None("a bool"),
        rows: &[
            "f32[1 1 NaN], f32[1.000001 1.1 NaN] => bool[true false false]",
            "tolerance=2.5; i32[1 5], i32[3 1] => bool[true false]",
        ],
    },
    logical("LogicalAnd", and, &["bool[true false], bool[[true] [false]] => bool[[true false] [false false]]"]),
    logical("LogicalOr", or, &["bool[true false], bool false => bool[true false]"]),
    Op {
        name: "LogicalNot",
        ins: &["x: bool"],
        outs: &["y: bool"],
        attrs: &[],
        shape: shape::unchanged,
        kernel: Kernel::Pure(|ctx| unary::<bool, bool>(ctx, 1, |x, out| each(x, out, |v| !v))),
        grad: Grad::None("a bool"),
        rows: &["bool[true false] => bool[false true]"],
    },
    bitwise("BitwiseAnd", bit_and, &["i8[-1 6], i8 3 => i8[3 2]"]),
    bitwise("BitwiseOr", bit_or, &["u16[1 6], u16 3 => u16[3 7]"]),
    bitwise("BitwiseXor", bit_xor, &["i64[-1 6], i64 3 => i64[-4 5]"]),
    bitwise("LeftShift", left_shift, &["i8[1 1 -5], i8[9 -1 2] => i8[-128 1 -20]"]),
    bitwise("RightShift", right_shift, &["i8[-128 1 -5], i8[9 -1 1] => i8[-1 1 -3]", "u8 128, u8 7 => u8 1"]),
    Op {
        name: "Invert",
        ins: &["x: T"],
        outs: &["y: T"],
        attrs: INTEGERS,
        shape: shape::unchanged,
        kernel: Kernel::Pure(invert),
        grad: Grad::None("bits"),
        rows: &["i8[0 5] => i8[-1 -6]", "u8 0 => u8 255"],
    },
    Op {
        name: "PopulationCount",
        ins: &["x: T"],
        outs: &["y: uint8"],
        attrs: INTEGERS,
        shape: shape::unchanged,
        kernel: Kernel::Pure(population_count),
        grad: Grad::None("bits"),
        rows: &["i8[-1 1 -5] => u8[8 1 7]", "i64 -1 => u8 64"],
    },
];

macro_rules! kernels {
    ($($name:ident: $class:ident, $loop:ident, $f:expr;)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            dispatch!(ctx.input(0)?.dtype(), $class, T => binary::<T, _>(ctx, 1, |x, y, out| $loop(x, y, out, $f)))
        })*
    };
}

kernels! {
    less: real, pairs_wide, |x, y| x < y;
    less_equal: real, pairs_wide, |x, y| x <= y;
    greater: real, pairs_wide, |x, y| x > y;
    greater_equal: real, pairs_wide, |x, y| x >= y;
    equal_plain: plain, pairs_wide, |x, y| x == y;
    not_equal_plain: plain, pairs_wide, |x, y| x != y;
}

macro_rules! integer_kernels {
    ($($name:ident: $f:expr;)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            dispatch!(ctx.input(0)?.dtype(), integers, T => binary::<T, T>(ctx, 1, |x, y, out| pairs(x, y, out, $f)))
        })*
    };
}

integer_kernels! {
    bit_and: Integer::and;
    bit_or: Integer::or;
    bit_xor: Integer::xor;
    left_shift: Integer::shift_left;
    right_shift: Integer::shift_right;
}

fn and(ctx: &mut KernelCtx) -> Result<()> {
    binary::<bool, bool>(ctx, 1, |x, y, out| pairs(x, y, out, |x, y| x & y))
}

fn or(ctx: &mut KernelCtx) -> Result<()> {
    binary::<bool, bool>(ctx, 1, |x, y, out| pairs(x, y, out, |x, y| x | y))
}

fn invert(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype(), integers, T => unary::<T, T>(ctx, 1, |x, out| each(x, out, Integer::not)))
}

fn population_count(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype(), integers, T => unary::<T, u8>(ctx, 1, |x, out| each(x, out, Integer::ones)))
}

fn equality_shape(ctx: &mut InferCtx) -> Result<()> {
    match shape::broadcast_shapes(&ctx.input(0), &ctx.input(1)) {
        Err(error) if ctx.boolean("incompatible_shape_error")? => Err(error),
        Err(_) => ctx.set(0, crate::tensor::Shape::unknown()),
        // Sizes that aren't known may turn out not to fit, and the output is a scalar then.
        Ok(out) if out.is_fully_known() || ctx.boolean("incompatible_shape_error")? => ctx.set(0, out),
        Ok(_) => ctx.set(0, crate::tensor::Shape::unknown()),
    }
}

/// Where shapes needn't broadcast and don't, gives the answer for the whole.
fn incompatible(ctx: &mut KernelCtx, answer: bool) -> Result<bool> {
    if ctx.node().boolean("incompatible_shape_error")? || broadcast_dims(ctx.input(0)?.dims(), ctx.input(1)?.dims()).is_some() {
        return Ok(false);
    }
    ctx.set(0, Tensor::scalar(answer))?;
    Ok(true)
}

fn equal(ctx: &mut KernelCtx) -> Result<()> {
    if incompatible(ctx, false)? {
        return Ok(());
    }
    if ctx.input(0)?.dtype() == DType::String {
        return compare_strings(ctx, true);
    }
    equal_plain(ctx)
}

fn not_equal(ctx: &mut KernelCtx) -> Result<()> {
    if incompatible(ctx, true)? {
        return Ok(());
    }
    if ctx.input(0)?.dtype() == DType::String {
        return compare_strings(ctx, false);
    }
    not_equal_plain(ctx)
}

fn compare_strings(ctx: &mut KernelCtx, equal: bool) -> Result<()> {
    let (x, y) = (ctx.input(0)?, ctx.input(1)?);
    let broadcast = Broadcast::new([x.dims(), y.dims()])?;
    let (a, b) = (x.strings()?, y.strings()?);
    let mut out = Tensor::uninit(DType::Bool, &broadcast.dims)?;
    broadcast.fill(out.as_mut_slice::<bool>()?, 5, |run, part| {
        for (i, o) in part.iter_mut().enumerate() {
            let element = |n: usize| run.at[n] + if run.moves[n] { i } else { 0 };
            *o = (a[element(0)] == b[element(1)]) == equal;
        }
    });
    ctx.set(0, out)
}

fn approximate_equal_shape(ctx: &mut InferCtx) -> Result<()> {
    let merged = ctx.input(0).merge(&ctx.input(1))?;
    ctx.set(0, merged)
}

fn approximate_equal(ctx: &mut KernelCtx) -> Result<()> {
    let (x, y) = (ctx.input(0)?, ctx.input(1)?);
    if x.dims() != y.dims() {
        bail!(InvalidArgument, "x and y must be of the same shape. x shape: {:?}. y shape: {:?}", x.dims(), y.dims());
    }
    let tolerance = ctx.node().float("tolerance")?;
    let mut out = Tensor::uninit(DType::Bool, x.dims())?;
    let near = out.as_mut_slice::<bool>()?;
    if x.dtype().is_complex() {
        dispatch!(x.dtype(), complex, P => {
            let (a, b) = (x.as_slice::<num_complex::Complex<P>>()?, y.as_slice::<num_complex::Complex<P>>()?);
            let is_near = |(a, b): (&num_complex::Complex<P>, &num_complex::Complex<P>)| (a - b).norm() < P::from(tolerance);
            near.iter_mut().zip(a.iter().zip(b).map(is_near)).for_each(|(o, n)| *o = n);
        });
    } else {
        dispatch!(x.dtype().storage(), real, T => {
            let (a, b) = (x.as_slice::<T>()?, y.as_slice::<T>()?);
            let limit = f64::from(tolerance);
            let is_near = |(&a, &b): (&T, &T)| {
                let distance = if a > b { Number::sub(a, b) } else { Number::sub(b, a) };
                Real::to_f64(distance) < limit
            };
            near.iter_mut().zip(a.iter().zip(b).map(is_near)).for_each(|(o, n)| *o = n);
        });
    }
    ctx.set(0, out)
}
