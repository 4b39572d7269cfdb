//! Vectors of floats, one type a level of instructions, and the choice between them.
//!
//! A kernel is written once, over [`Lanes`], and compiled for each level. A value of a lane type proves that the machine has
//! the instructions: only [`dispatch`] makes one, after asking [`Level::current`].

#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::level::Level;
use super::scratch::Plain;

/// A float type that kernels take as vectors: f32 or f64.
pub trait Real: num_traits::Float + Plain + std::ops::AddAssign + Send + Sync + Default + std::fmt::Debug + 'static {
    /// The integer of the same size.
    type Int: Copy;
    /// One.
    const INT_ONE: Self::Int;
    /// The sign bit.
    const SIGN: Self::Int;
    /// All bits but the sign bit.
    const MAGNITUDE: Self::Int;
    /// 1.5 times the power of two from which on floats are whole: added and taken away, it rounds, and in between the sum's
    /// low bits are the rounded number.
    const ROUNDER: Self;
    /// The bits of `ROUNDER`.
    const ROUNDER_BITS: Self::Int;
    /// The exponent of 1.0 in its bits.
    const BIAS: Self::Int;

    /// Runs a kernel at the best level.
    fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output;
}

/// A computation over lanes of `T`, and what it needs.
pub trait Kernel<T> {
    /// What it returns.
    type Output;
    /// Does it. Must be `#[inline(always)]`, like all that it calls with lanes.
    fn run<L: Lanes<Elem = T>>(self, lanes: L) -> Self::Output;
}

/// Runs a kernel at the best level.
#[inline]
pub fn dispatch<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    T::dispatch(kernel)
}

/// Vectors of `N` floats, with integers of the same size, and masks.
///
/// Where an operation's rounding or NaN rule could differ between machines, it is told here.
pub trait Lanes: Copy + Send + Sync {
    /// The float in a lane.
    type Elem: Real;
    /// A vector of floats.
    type V: Copy;
    /// A vector of integers.
    type I: Copy;
    /// One truth value a lane.
    type M: Copy;
    /// The number of lanes, at most 16.
    const N: usize;
    /// The number of vector registers.
    const REGISTERS: usize;

    /// The same float in all lanes.
    fn splat(self, x: Self::Elem) -> Self::V;
    /// Reads `N` floats.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn load(self, from: *const Self::Elem) -> Self::V;
    /// Writes `N` floats.
    ///
    /// # Safety
    /// They can be written.
    unsafe fn store(self, to: *mut Self::Elem, v: Self::V);
    /// Reads `count < N` floats; the other lanes are zero.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn load_first(self, from: *const Self::Elem, count: usize) -> Self::V;
    /// Writes the first `count < N` lanes.
    ///
    /// # Safety
    /// They can be written.
    unsafe fn store_first(self, to: *mut Self::Elem, v: Self::V, count: usize);

    /// Reads the first `count` lanes, or all where these are more.
    ///
    /// # Safety
    /// They can be read.
    #[inline(always)]
    unsafe fn load_part(self, from: *const Self::Elem, count: usize) -> Self::V {
        // SAFETY: as the caller promises.
        unsafe { if count >= Self::N { self.load(from) } else { self.load_first(from, count) } }
    }

    /// Writes the first `count` lanes, or all where these are more.
    ///
    /// # Safety
    /// They can be written.
    #[inline(always)]
    unsafe fn store_part(self, to: *mut Self::Elem, v: Self::V, count: usize) {
        // SAFETY: as the caller promises.
        unsafe { if count >= Self::N { self.store(to, v) } else { self.store_first(to, v, count) } }
    }

    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the machine can, else twice.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`, rounded like `mul_add`.
    fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The square root, correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `if a > b { a } else { b }`: `b` where one is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a < b { a } else { b }`: `b` where one is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;

    /// `a < b`, false with a NaN.
    fn lt(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a <= b`, false with a NaN.
    fn le(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a == b`, false with a NaN.
    fn eq(self, a: Self::V, b: Self::V) -> Self::M;
    /// `if m { a } else { b }`
    fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V;
    /// Whether all lanes hold.
    fn all(self, m: Self::M) -> bool;

    /// The bits of the floats.
    fn bits(self, v: Self::V) -> Self::I;
    /// The floats with these bits.
    fn to_float(self, i: Self::I) -> Self::V;
    /// The same integer in all lanes.
    fn splat_int(self, x: <Self::Elem as Real>::Int) -> Self::I;
    /// `a + b`, wrapping.
    fn int_add(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a - b`, wrapping.
    fn int_sub(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a & b`
    fn int_and(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a | b`
    fn int_or(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a ^ b`
    fn int_xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shifts integers up to where the exponent stands (by 23 or 52).
    fn to_exponent(self, a: Self::I) -> Self::I;
    /// Shifts the exponent (and sign) down to an integer (by 23 or 52, filling with zeros).
    fn exponent(self, a: Self::I) -> Self::I;
    /// Shifts the lowest bit up to the sign.
    fn to_sign(self, a: Self::I) -> Self::I;

    /// `|v|`
    #[inline(always)]
    fn abs(self, v: Self::V) -> Self::V {
        self.to_float(self.int_and(self.bits(v), self.splat_int(Self::Elem::MAGNITUDE)))
    }
    /// The magnitude of `v` with the sign of `sign`.
    #[inline(always)]
    fn copy_sign(self, v: Self::V, sign: Self::V) -> Self::V {
        let sign = self.int_and(self.bits(sign), self.splat_int(Self::Elem::SIGN));
        self.to_float(self.int_or(self.bits(self.abs(v)), sign))
    }
    /// Two to the power of `k`, an exponent of normal numbers.
    #[inline(always)]
    fn power_of_two(self, k: Self::I) -> Self::V {
        self.to_float(self.to_exponent(self.int_add(k, self.splat_int(Self::Elem::BIAS))))
    }
    /// `v` times two to the power of `k`, a whole number not larger than that of twice a normal number's exponent.
    #[inline(always)]
    fn scale(self, v: Self::V, k: Self::V) -> Self::V {
        let rounder_bits = self.splat_int(Self::Elem::ROUNDER_BITS);
        let one: Self::Elem = num_traits::one();
        let whole = |factor: Self::Elem| {
            let rounded = self.mul_add(k, self.splat(factor), self.splat(Self::Elem::ROUNDER));
            self.int_sub(self.bits(rounded), rounder_bits)
        };
        // The exponent may be out of range at both ends, so the power is applied in halves.
        let half = whole(one / (one + one));
        self.mul(self.mul(v, self.power_of_two(half)), self.power_of_two(self.int_sub(whole(one), half)))
    }
    /// Asks for a cache line ahead of its use, by any address.
    #[inline(always)]
    fn prefetch(self, _address: *const Self::Elem) {}
    /// Writes four runs of four floats as columns: element (i, j), from `from + i * from_stride + j`, goes to
    /// `to + j * to_stride + i`.
    ///
    /// # Safety
    /// They can be read and written.
    #[inline(always)]
    unsafe fn transpose_4x4(self, from: *const Self::Elem, from_stride: usize, to: *mut Self::Elem, to_stride: usize) {
        for i in 0..4 {
            for j in 0..4 {
                // SAFETY: the caller's promise.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
            }
        }
    }
    /// The lanes as an array, of which the first `N` count.
    #[inline(always)]
    fn array(self, v: Self::V) -> [Self::Elem; 16] {
        let mut array = [Self::Elem::default(); 16];
        // SAFETY: there are at most 16 lanes.
        unsafe { self.store(array.as_mut_ptr(), v) };
        array
    }
    /// The sum of the lanes, added in pairs.
    #[inline(always)]
    fn sum(self, v: Self::V) -> Self::Elem {
        let mut array = self.array(v);
        let mut count = Self::N;
        while count > 1 {
            count /= 2;
            for i in 0..count {
                array[i] += array[i + count];
            }
        }
        array[0]
    }
}

macro_rules! real {
    ($float:ty, $int:ty, $rounder:expr, $bias:expr) => {
        impl Real for $float {
            type Int = $int;
            const INT_ONE: $int = 1;
            const SIGN: $int = <$int>::MIN;
            const MAGNITUDE: $int = <$int>::MAX;
            const ROUNDER: $float = $rounder;
            const ROUNDER_BITS: $int = <$float>::to_bits($rounder) as $int;
            const BIAS: $int = $bias;

            #[inline]
            fn dispatch<K: Kernel<$float>>(kernel: K) -> K::Output {
                match Level::current() {
                    Level::Plain => kernel.run(plain::Plain::<$float>::new()),
                    // SAFETY: the level is only given where the machine has its features.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => unsafe { x86::run_avx2(kernel, x86::Avx2::<$float>::new()) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => unsafe { x86::run_avx512(kernel, x86::Avx512::<$float>::new()) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "aarch64")]
                    Level::Neon => kernel.run(unsafe { neon::Neon::<$float>::new() }),
                }
            }
        }
    };
}

real!(f32, i32, 12_582_912.0, 127);
real!(f64, i64, 6_755_399_441_055_744.0, 1023);
