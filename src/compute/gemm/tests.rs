use super::*;
use crate::compute::level::tests::at_every_level;
use num_traits::NumCast;

const SIZES: [usize; 8] = [0, 1, 2, 3, 8, 9, 17, 49];

/// Small whole numbers, so that sums are exact in any order.
fn data<T: NumCast>(length: usize, seed: usize) -> Vec<T> {
    (0..length).map(|i| T::from((i * 7 + seed * 13 + i / 5) % 9).unwrap()).collect()
}

fn naive(a: Matrix<'_, f64>, b: Matrix<'_, f64>, c: &mut [f64], stride: usize, accumulate: bool) {
    for i in 0..a.rows {
        for j in 0..b.columns {
            let term = |p: usize| a.data[i * a.row_stride + p * a.column_stride] * b.data[p * b.row_stride + j * b.column_stride];
            let sum: f64 = (0..a.columns).map(term).sum();
            c[i * stride + j] = if accumulate { c[i * stride + j] + sum } else { sum };
        }
    }
}

/// A matrix of the given shape, or stored transposed, with a gap between its lines.
fn stored<T>(data: &[T], rows: usize, columns: usize, transposed: bool) -> Matrix<'_, T> {
    let (lines, length) = if transposed { (columns, rows) } else { (rows, columns) };
    Matrix::strided(data, lines, length, length + 3, 1).transposed_if(transposed)
}

fn check<T: GemmElement + NumCast + PartialEq + std::fmt::Debug>(m: usize, k: usize, n: usize) {
    let (a, b, c) = (data::<T>((m + 3) * (k + 3), 1), data::<T>((k + 3) * (n + 3), 2), data::<T>(m * (n + 2), 3));
    let wide = |x: &[T]| x.iter().map(|x| x.to_f64().unwrap()).collect::<Vec<f64>>();
    let (wide_a, wide_b) = (wide(&a), wide(&b));
    for flags in 0..8 {
        let [transpose_a, transpose_b, accumulate] = [1, 2, 4].map(|bit| flags & bit != 0);
        let mut expected = wide(&c);
        naive(stored(&wide_a, m, k, transpose_a), stored(&wide_b, k, n, transpose_b), &mut expected, n + 2, accumulate);
        let mut got = c.clone();
        let target = MatrixMut::strided(&mut got, m, n, n + 2);
        let (left, right) = (stored(&a, m, k, transpose_a), stored(&b, k, n, transpose_b));
        gemm(left, right, target, if accumulate { Onto::Itself } else { Onto::Nothing });
        let expected: Vec<T> = expected.into_iter().map(|x| T::from(x).unwrap()).collect();
        assert_eq!(got, expected, "[{m} {k}] [{k} {n}], transposed {transpose_a} {transpose_b}, accumulate {accumulate}");
        if accumulate {
            // The same from other memory, with the gaps between rows left alone.
            let mut got = got.clone();
            got.iter_mut().for_each(|x| *x = T::zero());
            gemm(left, right, MatrixMut::strided(&mut got, m, n, n + 2), Onto::Rows(Matrix::strided(&c, m, n, n + 2, 1)));
            let is_gap = |at: usize| at % (n + 2) >= n;
            let wanted = |at: usize| if is_gap(at) { T::zero() } else { expected[at] };
            assert!((0..got.len()).all(|at| got[at] == wanted(at)), "[{m} {k}] [{k} {n}], {transpose_a} {transpose_b}");
        }
    }
}

#[test]
fn all_shapes_of_floats() {
    at_every_level(|| {
        for m in SIZES {
            for k in [0, 1, 4, 17] {
                for n in SIZES {
                    check::<f32>(m, k, n);
                    check::<f64>(m, k, n);
                }
            }
        }
    });
}

/// `a[i, p] = i % 3` and `b[p, j] = j % 5`, one more in the last row, so that the product is known.
fn check_large<T: GemmElement + NumCast + PartialEq + std::fmt::Debug>(m: usize, k: usize, n: usize) {
    let number = |x: usize| T::from(x).unwrap();
    for flags in 0..4 {
        let [transpose_a, transpose_b] = [1, 2].map(|bit| flags & bit != 0);
        let a: Vec<T> = (0..m * k).map(|at| number(if transpose_a { at % m } else { at / k } % 3)).collect();
        let place = |at: usize| if transpose_b { (at % k, at / k) } else { (at / n, at % n) };
        let b: Vec<T> = (0..k * n).map(place).map(|(p, j)| number(j % 5 + (p + 1) / k)).collect();
        let stored = |data, rows, columns, transposed| match transposed {
            true => Matrix::new(data, columns, rows).transposed(),
            false => Matrix::new(data, rows, columns),
        };
        let mut got = vec![T::zero(); m * n];
        let (a, b) = (stored(&a, m, k, transpose_a), stored(&b, k, n, transpose_b));
        gemm(a, b, MatrixMut::new(&mut got, m, n), if flags == 0 { Onto::Itself } else { Onto::Nothing });
        let wrong = (0..m * n).find(|at| got[*at] != number((at / n % 3) * (at % n % 5 * k + 1)));
        assert_eq!(wrong, None, "[{m} {k}] [{k} {n}], transposed {transpose_a} {transpose_b}");
    }
}

#[test]
fn more_than_one_block() {
    at_every_level(|| {
        check_large::<f32>(9, 260, 30);
        check_large::<f32>(70, 30, 150);
        check_large::<f32>(40, 2001, 20);
        check_large::<f64>(33, 1001, 70);
        check_large::<f32>(200, 3, 10);
        check_large::<f32>(9, 2100, 9);
        check_large::<f32>(9, 2, 1000);
        check_large::<f32>(1, 300, 300);
        check_large::<f64>(9, 2, 500);
    });
}

#[test]
fn other_numbers() {
    for (m, k, n) in [(0, 2, 2), (2, 0, 3), (1, 1, 1), (3, 4, 5), (17, 9, 33), (2, 30, 300), (70, 20, 3)] {
        check::<half::bf16>(m, k.min(3), n);
        check::<half::f16>(m, k.min(20), n);
        check::<i32>(m, k, n);
        check::<i64>(m, k, n);
        check::<u64>(m, k, n);
    }
    check::<i8>(2, 1, 3);
    check::<u16>(5, 20, 3);
}

#[test]
fn integers_wrap_and_complex_numbers_multiply() {
    let mut c = [0i8];
    gemm(Matrix::new(&[100i8, 100], 1, 2), Matrix::new(&[100i8, 3], 2, 1), MatrixMut::new(&mut c, 1, 1), Onto::Nothing);
    assert_eq!(c[0], (10300i32 as i8));
    let i = Complex::new(0.0f32, 1.0);
    let mut c = [Complex::new(1.0, 0.0); 1];
    gemm(Matrix::new(&[i, i + 1.0], 1, 2), Matrix::new(&[i, i * 2.0], 2, 1), MatrixMut::new(&mut c, 1, 1), Onto::Itself);
    assert_eq!(c[0], Complex::new(-2.0, 2.0));
}

#[test]
fn packed_matrices_give_the_same() {
    at_every_level(|| {
        for (m, k, n) in [
            (0, 3, 4),
            (3, 0, 4),
            (3, 4, 0),
            (1, 300, 200),
            (2, 300, 49),
            (3, 20, 97),
            (1, 300, 600),
            (8, 17, 48),
            (12, 260, 100),
            (9, 2100, 7),
        ] {
            for flags in 0..6 {
                let transpose = flags % 2 == 1;
                let rows = data::<f32>(n, 4);
                // The same row for all.
                let rows = Matrix::strided(&rows, m, n, 0, 1);
                let onto = [Onto::Nothing, Onto::Itself, Onto::Rows(rows)][flags / 2];
                let (a, b) = (data::<f32>((m + 3) * (k + 3), 1), data::<f32>((k + 3) * (n + 3), 2));
                let (a, b) = (stored(&a, m, k, transpose), stored(&b, k, n, transpose));
                let packed = PackedB::new(b);
                assert_eq!((packed.rows(), packed.columns()), (k, n));
                let mut got = data::<f32>(m * n, 5);
                let mut expected = got.clone();
                gemm(a, b, MatrixMut::new(&mut expected, m, n), onto);
                packed.multiply(a, MatrixMut::new(&mut got, m, n), onto);
                assert_eq!(got, expected, "[{m} {k}] [{k} {n}], transposed {transpose}, onto {}", flags / 2);
            }
        }
    });
}

#[test]
fn zeros_times_nan_and_infinity_are_nan() {
    at_every_level(|| {
        for (m, n) in [(1, 40), (40, 1), (20, 70)] {
            for bad in [f32::NAN, f32::INFINITY] {
                let (mut a, b) = (vec![0.0f32; m * 5], vec![0.0f32; 5 * n]);
                a[3] = bad;
                let mut c = vec![1.0; m * n];
                gemm(Matrix::new(&a, m, 5), Matrix::new(&b, 5, n), MatrixMut::new(&mut c, m, n), Onto::Nothing);
                assert!(c[..n].iter().all(|x| x.is_nan()));
                assert!(c[n..].iter().all(|x| *x == 0.0));
            }
        }
    });
}
