//! Element-wise functions of floats, in vectors.
//!
//! f32 functions are within three units in the last place of the exact value wherever that is a normal number, and follow
//! IEEE 754 for NaN, infinities and signed zeros; so do `Exp`, `Expm1`, `Log`, `Log1p`, `Tanh` and `Sigmoid` of f64.

mod constants;
mod erf;
mod exp;
mod log;
#[cfg(test)]
mod tests;
mod trigonometry;

pub use constants::MathReal;
pub use erf::Erf;
pub use exp::{Elu, Exp, Expm1, Selu, Sigmoid, Tanh};
pub use log::{Log, Log1p, Softplus};
pub use trigonometry::{Cos, Sin};

use super::lanes::{Kernel, Lanes, Real, dispatch};
use super::pool::{SharedMut, parallel_for};
use super::scratch::Plain;

/// Elements that one piece of a parallel loop has at least: some microseconds of work.
const GRAIN: usize = 1 << 13;

/// A function of one float.
pub trait Unary<T: Real>: Copy + Sync {
    /// Its values in all lanes. Must be `#[inline(always)]`.
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V;
}

/// `y[i] = f(x[i])`, split over the current pool. The slices have the same length.
pub fn map<T: Real, F: Unary<T>>(f: F, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "a function of {} elements can't go into {}", x.len(), y.len());
    let to = SharedMut(y.as_mut_ptr());
    parallel_for(x.len(), GRAIN, |range| {
        // SAFETY: the pieces don't overlap and lie in both slices.
        unsafe { dispatch(Map { f, from: x.as_ptr().add(range.start), to: to.get().add(range.start), length: range.len() }) }
    });
}

/// The function of one value, computed as in a vector.
pub fn scalar<T: Real + Plain, F: Unary<T>>(f: F, x: T) -> T {
    let mut y = x;
    dispatch(Map { f, from: &x, to: &mut y, length: 1 });
    y
}

/// A loop of a function, from memory to the same or other memory.
struct Map<F, T> {
    f: F,
    from: *const T,
    to: *mut T,
    length: usize,
}

impl<T: Real, F: Unary<T>> Kernel<T> for Map<F, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let mut i = 0;
        // SAFETY: whoever makes the value gives pointers to `length` elements.
        unsafe {
            while i + 2 * L::N <= self.length {
                let (first, second) = (l.load(self.from.add(i)), l.load(self.from.add(i + L::N)));
                let (first, second) = (self.f.eval(l, first), self.f.eval(l, second));
                l.store(self.to.add(i), first);
                l.store(self.to.add(i + L::N), second);
                i += 2 * L::N;
            }
            while i < self.length {
                let count = self.length - i;
                l.store_part(self.to.add(i), self.f.eval(l, l.load_part(self.from.add(i), count)), count);
                i += L::N;
            }
        }
    }
}

/// The value of a polynomial whose coefficients start with the constant one.
#[inline(always)]
fn polynomial<L: Lanes>(l: L, x: L::V, coefficients: &[L::Elem]) -> L::V {
    let (last, rest) = coefficients.split_last().expect("a polynomial has coefficients");
    let mut sum = l.splat(*last);
    for coefficient in rest.iter().rev() {
        sum = l.mul_add(sum, x, l.splat(*coefficient));
    }
    sum
}
