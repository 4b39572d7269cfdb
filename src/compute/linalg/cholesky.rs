//! Cholesky's decomposition.

use super::{Mat, Scalar, add_scaled};
use num_traits::Float;

/// The lower triangle L with `A = L L^H`, zeros above it. Only the lower triangle of A is read. `None` where A isn't positive
/// definite.
pub fn cholesky<T: Scalar>(a: &Mat<T>) -> Option<Mat<T>> {
    let n = a.rows();
    let mut l = Mat::from_fn(n, n, |i, j| if i >= j { a[(i, j)] } else { T::ZERO });
    for k in 0..n {
        // Columns to the left take what they hold from this one.
        for done in 0..k {
            let factor = l[(k, done)].conj();
            let (from, to) = l.two_columns(done, k);
            add_scaled(&mut to[k..], -factor, &from[k..]);
        }
        let pivot = l[(k, k)].real();
        if pivot <= T::Real::ZERO {
            return None;
        }
        let root = pivot.sqrt();
        let column = l.column_mut(k);
        column[k] = T::from_real(root);
        for value in &mut column[k + 1..] {
            *value = divided(*value, root);
        }
    }
    Some(l)
}

fn divided<T: Scalar>(value: T, by: T::Real) -> T {
    T::from_parts(value.real() / by, value.imag() / by)
}
