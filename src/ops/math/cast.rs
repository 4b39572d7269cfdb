//! Casts between element types, by the rules of C on x86: what doesn't fit an integer becomes its least value.

use super::elementwise::{each, unary};
use super::grad;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, Value};
use crate::tensor::{DType, Element, Tensor, dispatch};
use half::{bf16, f16};
use num_complex::Complex;

pub(in crate::ops) static OPS: &[Op] = &[Op {
    name: "Cast",
    ins: &["x: SrcT"],
    outs: &["y: DstT"],
    attrs: &["SrcT: type", "DstT: type", "Truncate: bool = false"],
    shape: cast_shape,
    kernel: Kernel::Pure(cast),
    grad: Grad::Fn(grad::cast),
    rows: &[
        "DstT=i32; f32[NaN inf 1e20 -1.7 300] => i32[-2147483648 -2147483648 -2147483648 -1 300]",
        "DstT=u8; f32[inf -1.7 300] => u8[0 255 44]",
        "DstT=i8; i32[300 -129] => i8[44 127]",
        "DstT=u64; f64[1e19 -1] => u64[10000000000000000000 18446744073709551615]",
        "DstT=bool; f32[NaN 0 -0 0.5] => bool[true false false true]",
        "DstT=f32; c64[1:2] => f32[1]",
        "DstT=c128; bool[true false] => c128[1:0 0:0]",
        "DstT=bf16, Truncate=true; f32[1.99999 0.1] => bf16[1.9921875 0.099609375]",
        "DstT=f32; f32[1] => f32[1]",
    ],
}];

fn cast_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, ctx.input(0))
}

/// What an element is in the types from which all others follow.
trait Source: Element {
    fn to_f32(self) -> f32;
    fn to_f64(self) -> f64;
    fn to_i32(self) -> i32;
    fn to_i64(self) -> i64;
    fn to_u64(self) -> u64;
    fn to_bool(self) -> bool;
    fn imaginary(self) -> f64 {
        0.0
    }
}

/// An element made of another.
trait Target: Element {
    fn of<S: Source>(source: S) -> Self;
}

macro_rules! integer_sources {
    ($($type:ty)*) => {
        $(impl Source for $type {
            #[inline(always)]
            fn to_f32(self) -> f32 { self as f32 }
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn to_i32(self) -> i32 { self as i32 }
            #[inline(always)]
            fn to_i64(self) -> i64 { self as i64 }
            #[inline(always)]
            fn to_u64(self) -> u64 { self as u64 }
            #[inline(always)]
            fn to_bool(self) -> bool { self != 0 }
        })*
    };
}

integer_sources! { i8 i16 i32 i64 u8 u16 u32 u64 }

impl Source for bool {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(u8::from(self))
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        i32::from(self)
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        i64::from(self)
    }
    #[inline(always)]
    fn to_u64(self) -> u64 {
        u64::from(self)
    }
    #[inline(always)]
    fn to_bool(self) -> bool {
        self
    }
}

const TWO_63: f64 = 9_223_372_036_854_775_808.0;

#[inline(always)]
fn truncate_to_i32(value: f64) -> i32 {
    // A saturated value is told from a true one by its neighbour.
    if value > -2_147_483_649.0 && value < 2_147_483_648.0 { value as i32 } else { i32::MIN }
}

#[inline(always)]
fn truncate_to_i64(value: f64) -> i64 {
    if (-TWO_63..TWO_63).contains(&value) { value as i64 } else { i64::MIN }
}

#[inline(always)]
fn truncate_to_u64(value: f64) -> u64 {
    let low = truncate_to_i64(value);
    let high = truncate_to_i64(value - TWO_63);
    (low | (high & (low >> 63))) as u64
}

macro_rules! float_sources {
    ($($type:ty, $x:ident: $single:expr, $double:expr;)*) => {
        $(impl Source for $type {
            #[inline(always)]
            fn to_f32(self) -> f32 { let $x = self; $single }
            #[inline(always)]
            fn to_f64(self) -> f64 { let $x = self; $double }
            #[inline(always)]
            fn to_i32(self) -> i32 { truncate_to_i32(Source::to_f64(self)) }
            #[inline(always)]
            fn to_i64(self) -> i64 { truncate_to_i64(Source::to_f64(self)) }
            #[inline(always)]
            fn to_u64(self) -> u64 { truncate_to_u64(Source::to_f64(self)) }
            #[inline(always)]
            fn to_bool(self) -> bool { Source::to_f64(self) != 0.0 }
        })*
    };
}

float_sources! {
    f32, x: x, f64::from(x);
    f64, x: x as f32, x;
    f16, x: x.to_f32(), x.to_f64();
    bf16, x: x.to_f32(), x.to_f64();
}

macro_rules! complex_sources {
    ($($type:ty)*) => {
        $(impl Source for Complex<$type> {
            #[inline(always)]
            fn to_f32(self) -> f32 { self.re as f32 }
            #[inline(always)]
            fn to_f64(self) -> f64 { self.re as f64 }
            #[inline(always)]
            fn to_i32(self) -> i32 { self.re.to_i32() }
            #[inline(always)]
            fn to_i64(self) -> i64 { self.re.to_i64() }
            #[inline(always)]
            fn to_u64(self) -> u64 { self.re.to_u64() }
            #[inline(always)]
            fn to_bool(self) -> bool { self.re.to_bool() }
            #[inline(always)]
            fn imaginary(self) -> f64 { self.im as f64 }
        })*
    };
}

complex_sources! { f32 f64 }

macro_rules! targets {
    ($($type:ty, $source:ident: $value:expr;)*) => {
        $(impl Target for $type {
            #[inline(always)]
            fn of<S: Source>($source: S) -> $type { $value }
        })*
    };
}

targets! {
    bool, s: s.to_bool();
    i8, s: s.to_i32() as i8;
    i16, s: s.to_i32() as i16;
    i32, s: s.to_i32();
    i64, s: s.to_i64();
    u8, s: s.to_i32() as u8;
    u16, s: s.to_i32() as u16;
    u32, s: s.to_i64() as u32;
    u64, s: s.to_u64();
    f32, s: s.to_f32();
    f64, s: s.to_f64();
    f16, s: f16::from_f32(s.to_f32());
    bf16, s: bf16::from_f32(s.to_f32());
    Complex<f32>, s: Complex::new(s.to_f32(), s.imaginary() as f32);
    Complex<f64>, s: Complex::new(s.to_f64(), s.imaginary());
}

/// A tensor of numbers cast to another type of numbers, as the op does it.
///
/// # Errors
/// `Unimplemented` for strings and handles.
pub(crate) fn cast_tensor(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    let mut out = Tensor::uninit(dtype, x.dims())?;
    dispatch!(x.dtype(), plain, S => {
        let source = x.as_slice::<S>()?;
        dispatch!(dtype, plain, D => each(source, out.as_mut_slice::<D>()?, <D as Target>::of));
    });
    Ok(out)
}

fn cast(ctx: &mut KernelCtx) -> Result<()> {
    let (from, to) = (ctx.input(0)?.dtype(), ctx.node().output_types[0]);
    if from == to {
        return ctx.forward(0, 0);
    }
    let is_known = |t: DType| t.is_plain() && !matches!(t, DType::Float8E5m2 | DType::Float8E4m3fn);
    if !is_known(from) || !is_known(to) {
        bail!(Unimplemented, "Cast {from} to {to} is not supported");
    }
    if ctx.node().boolean("Truncate")? {
        clear_low_bits(ctx, to)?;
    }
    dispatch!(from, plain, S => dispatch!(to, plain, D => {
        unary::<S, D>(ctx, 1, |x, out| each(x, out, <D as Target>::of))
    }))
}

/// Sets to zero the bits of the significand for which the target type has no place, so that nothing is rounded.
fn clear_low_bits(ctx: &mut KernelCtx, to: DType) -> Result<()> {
    let kept = match to {
        DType::Half => 10,
        DType::Bfloat16 => 7,
        DType::Float => 23,
        _ => return Ok(()),
    };
    let from = ctx.input(0)?.dtype();
    if !matches!(from, DType::Float | DType::Double) {
        return Ok(());
    }
    let mut x = ctx.take(0)?;
    match from {
        DType::Float if kept < 23 => {
            let mask = u32::MAX << (23 - kept);
            x.as_mut_slice::<f32>()?.iter_mut().for_each(|v| *v = f32::from_bits(v.to_bits() & mask));
        }
        DType::Double => {
            let mask = u64::MAX << (52 - kept);
            x.as_mut_slice::<f64>()?.iter_mut().for_each(|v| *v = f64::from_bits(v.to_bits() & mask));
        }
        _ => {}
    }
    ctx.inputs[0] = Value::Tensor(x);
    Ok(())
}
