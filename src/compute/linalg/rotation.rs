//! Plane rotations `[c conj(s); -s conj(c)]`.

use super::{Mat, RealScalar, Scalar};
use num_traits::Float;

/// A rotation in a plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation<T> {
    pub c: T,
    pub s: T,
}

impl<T: Scalar> Rotation<T> {
    pub fn adjoint(self) -> Rotation<T> {
        Rotation { c: self.c.conj(), s: -self.s }
    }

    pub fn transpose(self) -> Rotation<T> {
        Rotation { c: self.c, s: -self.s.conj() }
    }

    /// The product of two rotations.
    pub fn times(self, other: Rotation<T>) -> Rotation<T> {
        Rotation {
            c: self.c * other.c - self.s.conj() * other.s,
            s: (self.c * other.s.conj() + self.s.conj() * other.c.conj()).conj(),
        }
    }

    fn turn(self, x: T, y: T) -> (T, T) {
        (self.c * x + self.s.conj() * y, self.c.conj() * y - self.s * x)
    }

    /// `J M` on rows p and q, in the given columns.
    pub fn apply_left(self, m: &mut Mat<T>, p: usize, q: usize, columns: std::ops::Range<usize>) {
        for j in columns {
            let (x, y) = self.turn(m[(p, j)], m[(q, j)]);
            m[(p, j)] = x;
            m[(q, j)] = y;
        }
    }

    /// `M J` on columns p and q, in the first rows.
    pub fn apply_right(self, m: &mut Mat<T>, p: usize, q: usize, rows: usize) {
        let turned = self.transpose();
        let (a, b) = m.two_columns(p, q);
        for (x, y) in a[..rows].iter_mut().zip(&mut b[..rows]) {
            (*x, *y) = turned.turn(*x, *y);
        }
    }
}

/// The rotation J with `J^H [p q]^T = [r 0]^T`, for complex numbers, and r.
pub(super) fn complex_givens<T: Scalar>(p: T, q: T) -> (Rotation<T>, T) {
    if q == T::ZERO {
        let c = T::from_real(if p.real() < T::Real::ZERO { -T::Real::ONE } else { T::Real::ONE });
        return (Rotation { c, s: T::ZERO }, c * p);
    }
    if p == T::ZERO {
        let size = q.modulus();
        return (Rotation { c: T::ZERO, s: -q.scale(T::Real::ONE / size) }, T::from_real(size));
    }
    let sign = |u: T::Real| if p.real() < T::Real::ZERO { -u } else { u };
    let (p1, q1) = (p.norm1(), q.norm1());
    if p1 >= q1 {
        let ps = p.scale(T::Real::ONE / p1);
        let qs = q.scale(T::Real::ONE / p1);
        let u = sign((T::Real::ONE + qs.norm_sqr() / ps.norm_sqr()).sqrt());
        let c = T::Real::ONE / u;
        let s = -(qs * ps.conj()).scale(c / ps.norm_sqr());
        (Rotation { c: T::from_real(c), s }, p.scale(u))
    } else {
        let ps = p.scale(T::Real::ONE / q1);
        let qs = q.scale(T::Real::ONE / q1);
        let u = sign(q1 * (ps.norm_sqr() + qs.norm_sqr()).sqrt());
        let size = p.modulus();
        let unit = p.scale(T::Real::ONE / size);
        (Rotation { c: T::from_real(size / u), s: -(unit.conj() * q.scale(T::Real::ONE / u)) }, unit.scale(u))
    }
}

/// The rotation J with `J^T [p q]^T = [r 0]^T`, for real numbers.
pub(super) fn real_givens<R: RealScalar>(p: R, q: R) -> Rotation<R> {
    if q == R::ZERO {
        Rotation { c: if p < R::ZERO { -R::ONE } else { R::ONE }, s: R::ZERO }
    } else if p == R::ZERO {
        Rotation { c: R::ZERO, s: if q < R::ZERO { R::ONE } else { -R::ONE } }
    } else if Float::abs(p) > Float::abs(q) {
        let t = q / p;
        let u = (R::ONE + t * t).sqrt();
        let c = R::ONE / if p < R::ZERO { -u } else { u };
        Rotation { c, s: -t * c }
    } else {
        let t = p / q;
        let u = (R::ONE + t * t).sqrt();
        let s = -R::ONE / if q < R::ZERO { -u } else { u };
        Rotation { c: -t * s, s }
    }
}
