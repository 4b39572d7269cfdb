//! The operations of programs, for each type of elements.

use crate::compute::level::vectorize;
use crate::compute::math::{self, Exp, Log, Sigmoid, Tanh};

/// A type of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Number {
    F32,
    F64,
    I32,
    I64,
    Bool,
}

impl Number {
    /// The size of an element in bytes.
    pub fn size(self) -> usize {
        match self {
            Number::F32 | Number::I32 => 4,
            Number::F64 | Number::I64 => 8,
            Number::Bool => 1,
        }
    }
}

/// An element-wise operation; each means what TensorFlow's op of that name computes. Integers wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Copy,
    Add,
    Sub,
    Mul,
    /// Of floats.
    Div,
    Maximum,
    Minimum,
    Neg,
    Square,
    SquaredDifference,
    Abs,
    Sqrt,
    Rsqrt,
    Exp,
    Log,
    Sigmoid,
    Tanh,
    Relu,
    /// Of `y` and its gradient.
    SigmoidGrad,
    TanhGrad,
    /// Of the gradient and the features.
    ReluGrad,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
    And,
    Or,
    Not,
    /// Of a bool and two elements.
    Select,
}

/// Computes `n` elements from operands that start at `args`, to `out`.
///
/// # Safety
/// The operands of the operation can be read and the result be written; it overlaps no operand.
pub type Body = unsafe fn(args: [*const u8; 3], out: *mut u8, n: usize);

/// From this many elements on, wide vectors are worth it.
const WIDE_FROM: usize = 8;

#[inline(always)]
unsafe fn one<A: Copy, R>(args: [*const u8; 3], out: *mut u8, n: usize, f: impl Fn(A) -> R) {
    // SAFETY: as the caller promises.
    let (x, y) =
        unsafe { (std::slice::from_raw_parts(args[0].cast::<A>(), n), std::slice::from_raw_parts_mut(out.cast::<R>(), n)) };
    if n < WIDE_FROM {
        return y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x));
    }
    wide_one(x, y, f);
}

/// By wide vectors; not inlined, so that short operands pay nothing for them.
#[inline(never)]
fn wide_one<A: Copy, R>(x: &[A], y: &mut [R], f: impl Fn(A) -> R) {
    vectorize(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x)),
    );
}

#[inline(always)]
unsafe fn two<A: Copy, R>(args: [*const u8; 3], out: *mut u8, n: usize, f: impl Fn(A, A) -> R) {
    // SAFETY: as the caller promises.
    let (a, b, y) = unsafe {
        (
            std::slice::from_raw_parts(args[0].cast::<A>(), n),
            std::slice::from_raw_parts(args[1].cast::<A>(), n),
            std::slice::from_raw_parts_mut(out.cast::<R>(), n),
        )
    };
    if n < WIDE_FROM {
        return y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = f(*a, *b));
    }
    wide_two(a, b, y, f);
}

/// The same of two operands.
#[inline(never)]
fn wide_two<A: Copy, R>(a: &[A], b: &[A], y: &mut [R], f: impl Fn(A, A) -> R) {
    vectorize(
        #[inline(always)]
        || y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = f(*a, *b)),
    );
}

/// Choices by the bits of the operands: compilers turn a choice of two loads into one of two addresses, which makes no
/// vector loop.
macro_rules! select {
    ($bits:ty) => {{
        unsafe fn body(args: [*const u8; 3], out: *mut u8, n: usize) {
            // SAFETY: as the caller of the body promises.
            let (condition, a, b, y) = unsafe {
                (
                    std::slice::from_raw_parts(args[0], n),
                    std::slice::from_raw_parts(args[1].cast::<$bits>(), n),
                    std::slice::from_raw_parts(args[2].cast::<$bits>(), n),
                    std::slice::from_raw_parts_mut(out.cast::<$bits>(), n),
                )
            };
            vectorize(
                #[inline(always)]
                || {
                    for (((y, c), a), b) in y.iter_mut().zip(condition).zip(a).zip(b) {
                        let takes_a = <$bits>::from(*c).wrapping_neg();
                        *y = (a & takes_a) | (b & !takes_a);
                    }
                },
            );
        }
        body as Body
    }};
}

macro_rules! function {
    ($f:expr, $type:ty) => {{
        unsafe fn body(args: [*const u8; 3], out: *mut u8, n: usize) {
            // SAFETY: as the caller of the body promises.
            let (x, y) = unsafe {
                (std::slice::from_raw_parts(args[0].cast::<$type>(), n), std::slice::from_raw_parts_mut(out.cast::<$type>(), n))
            };
            math::map($f, x, y);
        }
        body as Body
    }};
}

macro_rules! bodies {
    ($operation:expr, $type:ty; one { $($one:ident: |$x:ident| $unary:expr;)* } two { $($two:ident: |$a:ident, $b:ident| $binary:expr;)* }) => {
        match $operation {
            $(Operation::$one => {
                unsafe fn body(args: [*const u8; 3], out: *mut u8, n: usize) {
                    // SAFETY: as the caller of the body promises.
                    unsafe { one::<$type, _>(args, out, n, #[inline(always)] |$x| $unary) }
                }
                Some(body as Body)
            })*
            $(Operation::$two => {
                unsafe fn body(args: [*const u8; 3], out: *mut u8, n: usize) {
                    // SAFETY: as the caller of the body promises.
                    unsafe { two::<$type, _>(args, out, n, #[inline(always)] |$a, $b| $binary) }
                }
                Some(body as Body)
            })*
            _ => None,
        }
    };
}

macro_rules! float {
    ($operation:expr, $type:ty) => {
        match $operation {
            Operation::Exp => Some(function!(Exp, $type)),
            Operation::Log => Some(function!(Log, $type)),
            Operation::Sigmoid => Some(function!(Sigmoid, $type)),
            Operation::Tanh => Some(function!(Tanh, $type)),
            other => bodies! { other, $type;
                one {
                Copy: |x| x;
                Neg: |x| -x;
                Square: |x| x * x;
                Abs: |x| x.abs();
                Sqrt: |x| x.sqrt();
                Rsqrt: |x| 1.0 / x.sqrt();
                Relu: |x| if x <= 0.0 { 0.0 } else { x };
                }
                two {
                Add: |a, b| a + b;
                Sub: |a, b| a - b;
                Mul: |a, b| a * b;
                Div: |a, b| a / b;
                Maximum: |a, b| if a >= b || a.is_nan() { a } else { b };
                Minimum: |a, b| if a <= b || a.is_nan() { a } else { b };
                SquaredDifference: |a, b| (a - b) * (a - b);
                SigmoidGrad: |y, dy| dy * y * (1.0 - y);
                TanhGrad: |y, dy| dy * (1.0 - y * y);
                ReluGrad: |dy, x| if x > 0.0 { dy } else { 0.0 };
                Less: |a, b| a < b;
                LessEqual: |a, b| a <= b;
                Greater: |a, b| a > b;
                GreaterEqual: |a, b| a >= b;
                Equal: |a, b| a == b;
                NotEqual: |a, b| a != b;
                }
            },
        }
    };
}

macro_rules! integer {
    ($operation:expr, $type:ty) => {
        bodies! { $operation, $type;
            one {
            Copy: |x| x;
            Neg: |x| x.wrapping_neg();
            Square: |x| x.wrapping_mul(x);
            }
            two {
            Add: |a, b| a.wrapping_add(b);
            Sub: |a, b| a.wrapping_sub(b);
            Mul: |a, b| a.wrapping_mul(b);
            Maximum: |a, b| a.max(b);
            Minimum: |a, b| a.min(b);
            Less: |a, b| a < b;
            LessEqual: |a, b| a <= b;
            Greater: |a, b| a > b;
            GreaterEqual: |a, b| a >= b;
            Equal: |a, b| a == b;
            NotEqual: |a, b| a != b;
            }
        }
    };
}

/// What computes an operation on operands of this type (of `Select`, the second and third); none where there is no such.
pub fn body(operation: Operation, number: Number) -> Option<Body> {
    match (operation, number.size()) {
        (Operation::Select, 1) => Some(select!(u8)),
        (Operation::Select, 4) => Some(select!(u32)),
        (Operation::Select, _) => Some(select!(u64)),
        _ => arithmetic(operation, number),
    }
}

fn arithmetic(operation: Operation, number: Number) -> Option<Body> {
    match number {
        Number::F32 => float!(operation, f32),
        Number::F64 => float!(operation, f64),
        Number::I32 => integer!(operation, i32),
        Number::I64 => integer!(operation, i64),
        Number::Bool => bodies! { operation, bool;
            one {
            Copy: |x| x;
            Not: |x| !x;
            }
            two {
            And: |a, b| a & b;
            Or: |a, b| a | b;
            Equal: |a, b| a == b;
            NotEqual: |a, b| a != b;
            }
        },
    }
}
