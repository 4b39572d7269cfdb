//! 128-bit vectors as arrays, for machines without a level of their own.

use super::Lanes;
use std::array::from_fn;
use std::marker::PhantomData;

/// Lanes that every machine has.
#[derive(Clone, Copy)]
pub struct Plain<T>(PhantomData<T>);

impl<T> Plain<T> {
    pub fn new() -> Plain<T> {
        Plain(PhantomData)
    }
}

macro_rules! plain {
    ($float:ty, $int:ty, $n:literal, $mantissa:literal) => {
        impl Lanes for Plain<$float> {
            type Elem = $float;
            type V = [$float; $n];
            type I = [$int; $n];
            type M = [bool; $n];
            const N: usize = $n;
            const REGISTERS: usize = 16;

            #[inline(always)]
            fn splat(self, x: $float) -> Self::V {
                [x; $n]
            }
            #[inline(always)]
            unsafe fn load(self, from: *const $float) -> Self::V {
                // SAFETY: the caller's promise; an array is aligned like its elements.
                unsafe { from.cast::<Self::V>().read() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $float, v: Self::V) {
                // SAFETY: as in `load`.
                unsafe { to.cast::<Self::V>().write(v) }
            }
            #[inline(always)]
            unsafe fn load_first(self, from: *const $float, count: usize) -> Self::V {
                // SAFETY: the caller's promise for `count` elements.
                from_fn(|i| if i < count { unsafe { *from.add(i) } } else { 0.0 })
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $float, v: Self::V, count: usize) {
                for (i, x) in v.into_iter().enumerate().take(count) {
                    // SAFETY: the caller's promise for `count` elements.
                    unsafe { *to.add(i) = x }
                }
            }
            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| a[i] + b[i])
            }
            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| a[i] - b[i])
            }
            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| a[i] * b[i])
            }
            #[inline(always)]
            fn div(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| a[i] / b[i])
            }
            #[inline(always)]
            fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                from_fn(|i| a[i] * b[i] + c[i])
            }
            #[inline(always)]
            fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                from_fn(|i| c[i] - a[i] * b[i])
            }
            #[inline(always)]
            fn sqrt(self, a: Self::V) -> Self::V {
                a.map(<$float>::sqrt)
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            fn lt(self, a: Self::V, b: Self::V) -> Self::M {
                from_fn(|i| a[i] < b[i])
            }
            #[inline(always)]
            fn le(self, a: Self::V, b: Self::V) -> Self::M {
                from_fn(|i| a[i] <= b[i])
            }
            #[inline(always)]
            fn eq(self, a: Self::V, b: Self::V) -> Self::M {
                from_fn(|i| a[i] == b[i])
            }
            #[inline(always)]
            fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| if m[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            fn all(self, m: Self::M) -> bool {
                m.iter().all(|x| *x)
            }
            #[inline(always)]
            fn bits(self, v: Self::V) -> Self::I {
                v.map(|x| x.to_bits() as $int)
            }
            #[inline(always)]
            fn to_float(self, i: Self::I) -> Self::V {
                i.map(|x| <$float>::from_bits(x as _))
            }
            #[inline(always)]
            fn splat_int(self, x: $int) -> Self::I {
                [x; $n]
            }
            #[inline(always)]
            fn int_add(self, a: Self::I, b: Self::I) -> Self::I {
                from_fn(|i| a[i].wrapping_add(b[i]))
            }
            #[inline(always)]
            fn int_sub(self, a: Self::I, b: Self::I) -> Self::I {
                from_fn(|i| a[i].wrapping_sub(b[i]))
            }
            #[inline(always)]
            fn int_and(self, a: Self::I, b: Self::I) -> Self::I {
                from_fn(|i| a[i] & b[i])
            }
            #[inline(always)]
            fn int_or(self, a: Self::I, b: Self::I) -> Self::I {
                from_fn(|i| a[i] | b[i])
            }
            #[inline(always)]
            fn int_xor(self, a: Self::I, b: Self::I) -> Self::I {
                from_fn(|i| a[i] ^ b[i])
            }
            #[inline(always)]
            fn to_exponent(self, a: Self::I) -> Self::I {
                a.map(|x| x << $mantissa)
            }
            #[inline(always)]
            fn exponent(self, a: Self::I) -> Self::I {
                a.map(|x| (x as <$int as Unsigned>::U >> $mantissa) as $int)
            }
            #[inline(always)]
            fn to_sign(self, a: Self::I) -> Self::I {
                a.map(|x| x << (<$int>::BITS - 1))
            }
        }
    };
}

trait Unsigned {
    type U;
}

impl Unsigned for i32 {
    type U = u32;
}

impl Unsigned for i64 {
    type U = u64;
}

plain!(f32, i32, 4, 23);
plain!(f64, i64, 2, 52);
