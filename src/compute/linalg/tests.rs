use super::*;
use num_complex::Complex;

/// Numbers that look random, between -1 and 1.
struct Numbers(u64);

impl Numbers {
    fn real(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn matrix<T: Scalar<Real = f64>>(&mut self, rows: usize, columns: usize) -> Mat<T> {
        Mat::from_fn(rows, columns, |_, _| T::from_parts(self.real(), self.real()))
    }
}

#[track_caller]
fn near<T: Scalar<Real = f64>>(a: &Mat<T>, b: &Mat<T>) {
    assert_eq!((a.rows(), a.columns()), (b.rows(), b.columns()));
    for i in 0..a.rows() {
        for j in 0..a.columns() {
            assert!((a[(i, j)] - b[(i, j)]).modulus() < 1e-9, "({i}, {j}): {:?} and {:?}", a[(i, j)], b[(i, j)]);
        }
    }
}

const SHAPES: [(usize, usize); 9] = [(1, 1), (1, 5), (5, 1), (4, 4), (7, 3), (3, 7), (20, 20), (12, 33), (90, 17)];

fn decompositions<T: Scalar<Real = f64>>() {
    let mut numbers = Numbers(7);
    for (rows, columns) in SHAPES {
        let size = rows.min(columns);
        let a: Mat<T> = numbers.matrix(rows, columns);
        let qr = Qr::new(a.clone());
        near(&qr.q.matrix(rows, rows).times(&qr.r), &a);
        near(&qr.q.matrix(rows, size).times(&qr.r.resized(size, columns)), &a);
        for full in [false, true] {
            let Svd { values, u, v } = svd(&a, Some(full)).unwrap();
            near(&u.adjoint().times(&u), &Mat::identity(u.columns(), u.columns()));
            near(&v.adjoint().times(&v), &Mat::identity(v.columns(), v.columns()));
            let s = Mat::from_fn(u.columns(), v.columns(), |i, j| if i == j { T::from_real(values[i]) } else { T::ZERO });
            near(&u.times(&s).times(&v.adjoint()), &a);
            assert!(values.windows(2).all(|w| w[0] >= w[1] && w[1] >= 0.0));
        }
        let x = PivotedQr::new(a.clone()).solve(&a);
        near(&a.times(&x), &a);
        if rows == columns {
            let lu = Lu::new(a.clone());
            near(&a.times(&lu.solve(&a, false)), &a);
            near(&a.adjoint().times(&lu.solve(&a, true)), &a);
            let gram = a.times(&a.adjoint());
            let l = cholesky(&gram).unwrap();
            near(&l.times(&l.adjoint()), &gram);
            let (values, vectors) = self_adjoint_eigen(&gram, true).unwrap();
            let v = vectors.unwrap();
            let d = Mat::from_fn(rows, rows, |i, j| if i == j { T::from_real(values[i]) } else { T::ZERO });
            near(&v.times(&d).times(&v.adjoint()), &gram);
        }
    }
}

#[test]
fn real_decompositions_multiply_back() {
    decompositions::<f64>();
}

#[test]
fn complex_decompositions_multiply_back() {
    decompositions::<Complex<f64>>();
}

#[test]
fn singular_matrices_have_vectors_too() {
    for n in [3, 20] {
        for zero in [0, n / 2, n - 1] {
            let mut numbers = Numbers(3);
            let mut a: Mat<f64> = numbers.matrix(n, n);
            a.column_mut(zero).fill(0.0);
            let Svd { values, u, v } = svd(&a, Some(false)).unwrap();
            let s = Mat::from_fn(n, n, |i, j| if i == j { values[i] } else { 0.0 });
            near(&u.times(&s).times(&v.adjoint()), &a);
            assert!(values[n - 1] < 1e-12);
            assert_eq!(PivotedQr::new(a).rank(), n - 1);
        }
        let zeros = svd(&Mat::<f64>::zeros(n, n), Some(false)).unwrap();
        near(&zeros.u.adjoint().times(&zeros.u), &Mat::identity(n, n));
    }
}

#[test]
fn eigenvectors_are_mapped_to_multiples() {
    let mut numbers = Numbers(11);
    for n in [1, 2, 5, 24] {
        let a: Mat<Complex<f64>> = numbers.matrix::<f64>(n, n).map(Scalar::complex);
        let (values, vectors) = eigen(a.clone(), true).unwrap();
        let v = vectors.unwrap();
        let d = Mat::from_fn(n, n, |i, j| if i == j { values[i] } else { Complex::ZERO });
        near(&a.times(&v), &v.times(&d));
    }
}

#[test]
fn functions_of_matrices() {
    let mut numbers = Numbers(5);
    for n in [1, 2, 5, 12] {
        let a: Mat<Complex<f64>> = numbers.matrix(n, n);
        let root = square_root(a.clone()).unwrap();
        near(&root.times(&root), &a);
        // The exponential of the logarithm, by its series after scaling.
        let log = logarithm(a.clone()).unwrap().map(|v| v / 1024.0);
        let mut term = Mat::identity(n, n);
        let mut sum = term.clone();
        for k in 1..12 {
            term = term.times(&log).map(|v| v / k as f64);
            sum = Mat::from_fn(n, n, |i, j| sum[(i, j)] + term[(i, j)]);
        }
        for _ in 0..10 {
            sum = sum.times(&sum);
        }
        near(&sum, &a);
    }
}

#[test]
fn eigenvectors_of_real_matrices() {
    let mut numbers = Numbers(13);
    for n in [1, 2, 3, 5, 24] {
        let a: Mat<f64> = numbers.matrix(n, n);
        let (values, vectors) = real_eigen(&a, true).unwrap();
        let v = vectors.unwrap();
        let d = Mat::from_fn(n, n, |i, j| if i == j { values[i] } else { Complex::ZERO });
        near(&a.map(Scalar::complex).times(&v), &v.times(&d));
    }
}
