//! Systems with a triangular matrix.

use super::{Mat, Scalar, add_scaled, dot};

/// Replaces `b` by the solution X of `A X = B`, or of `A^H X = B` if `adjoint`. Of A only the lower triangle is read if
/// `lower`, else only the upper one; its diagonal counts as ones if `unit`.
pub fn solve_triangular<T: Scalar>(a: &Mat<T>, b: &mut Mat<T>, lower: bool, adjoint: bool, unit: bool) {
    let n = a.rows();
    for j in 0..b.columns() {
        let x = b.column_mut(j);
        let forward = lower != adjoint;
        for step in 0..n {
            let k = if forward { step } else { n - 1 - step };
            let diagonal = if unit { T::ONE } else { a[(k, k)] };
            if adjoint {
                let known = if forward { 0..k } else { k + 1..n };
                let sum = dot(&a.column(k)[known.clone()], &x[known]);
                x[k] = (x[k] - sum) / diagonal.conj();
            } else {
                let value = x[k] / diagonal;
                x[k] = value;
                let open = if forward { k + 1..n } else { 0..k };
                add_scaled(&mut x[open.clone()], -value, &a.column(k)[open]);
            }
        }
    }
}
