//! Sums, products of vectors, extrema.
//!
//! Sums are added in blocks and the blocks in pairs, so that the error grows with the logarithm of the length; the order depends on
//! the length alone, never on the number of threads.

use super::lanes::{Kernel, Lanes, Real, dispatch};
use super::pool::{SharedMut, parallel_for, parallel_pieces};
use super::scratch;

/// Elements that are added in one go.
const BLOCK: usize = 1 << 10;
/// Blocks that one piece of a parallel loop has at least.
const GRAIN: usize = 32;
/// Rows whose column sums are added in one go.
const ROWS: usize = 64;
/// Columns that one thread sums at least.
const COLUMNS: usize = 64;

/// The sum of all elements; zero for none.
pub fn sum<T: Real>(x: &[T]) -> T {
    by_blocks(x.len(), |start, length| dispatch(BlockDot { x: &x[start..start + length], y: None }))
}

/// The sum of `x[i] * y[i]`; the slices have the same length.
pub fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    assert_eq!(x.len(), y.len(), "an inner product of vectors of different lengths");
    by_blocks(x.len(), |start, length| {
        let block = start..start + length;
        dispatch(BlockDot { x: &x[block.clone()], y: Some(&y[block]) })
    })
}

/// The largest element, NaN if there is one; negative infinity for none.
pub fn max<T: Real>(x: &[T]) -> T {
    extremum(x, true)
}

/// The smallest element, NaN if there is one; infinity for none.
pub fn min<T: Real>(x: &[T]) -> T {
    extremum(x, false)
}

/// Adds the blocks' results in pairs.
fn by_blocks<T: Real>(length: usize, block: impl Fn(usize, usize) -> T + Sync) -> T {
    if length <= BLOCK {
        return block(0, length);
    }
    let count = length.div_ceil(BLOCK);
    let mut sums = scratch::take::<T>(count);
    parallel_pieces(&mut sums, 1, GRAIN, |first, sums| {
        for (index, sum) in (first..).zip(sums) {
            *sum = block(index * BLOCK, BLOCK.min(length - index * BLOCK));
        }
    });
    in_pairs(&sums)
}

fn in_pairs<T: Real>(x: &[T]) -> T {
    match x {
        [] => T::zero(),
        [one] => *one,
        _ => {
            let (left, right) = x.split_at(x.len().div_ceil(2));
            in_pairs(left) + in_pairs(right)
        }
    }
}

/// The sum of a block, or of its products with another.
struct BlockDot<'a, T> {
    x: &'a [T],
    y: Option<&'a [T]>,
}

impl<T: Real> Kernel<T> for BlockDot<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) -> T {
        let length = self.x.len();
        let mut sums = [l.splat(T::zero()); 4];
        let x = self.x.as_ptr();
        let mut i = 0;
        // SAFETY: both slices have `length` elements, and loads stop there.
        unsafe {
            if let Some(y) = self.y {
                let y = y[..length].as_ptr();
                while i + 4 * L::N <= length {
                    for v in 0..4 {
                        let at = i + v * L::N;
                        sums[v] = l.mul_add(l.load(x.add(at)), l.load(y.add(at)), sums[v]);
                    }
                    i += 4 * L::N;
                }
                while i < length {
                    let count = length - i;
                    let (x, y) = (x.add(i), y.add(i));
                    let (x, y) =
                        if count >= L::N { (l.load(x), l.load(y)) } else { (l.load_first(x, count), l.load_first(y, count)) };
                    sums[0] = l.mul_add(x, y, sums[0]);
                    i += L::N;
                }
            } else {
                while i + 4 * L::N <= length {
                    for v in 0..4 {
                        sums[v] = l.add(sums[v], l.load(x.add(i + v * L::N)));
                    }
                    i += 4 * L::N;
                }
                while i < length {
                    let x = x.add(i);
                    let x = if length - i >= L::N { l.load(x) } else { l.load_first(x, length - i) };
                    sums[0] = l.add(sums[0], x);
                    i += L::N;
                }
            }
        }
        l.sum(l.add(l.add(sums[0], sums[1]), l.add(sums[2], sums[3])))
    }
}

fn extremum<T: Real>(x: &[T], largest: bool) -> T {
    let none = if largest { T::neg_infinity() } else { T::infinity() };
    let count = x.len().div_ceil(BLOCK);
    if count <= 1 {
        return dispatch(BlockExtremum { x, largest, none });
    }
    let mut blocks = scratch::take::<T>(count);
    parallel_pieces(&mut blocks, 1, GRAIN, |first, blocks| {
        for (index, block) in (first..).zip(blocks) {
            let start = index * BLOCK;
            *block = dispatch(BlockExtremum { x: &x[start..x.len().min(start + BLOCK)], largest, none });
        }
    });
    extremum(&blocks, largest)
}

struct BlockExtremum<'a, T> {
    x: &'a [T],
    largest: bool,
    none: T,
}

impl<T: Real> Kernel<T> for BlockExtremum<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) -> T {
        let chunks = self.x.chunks_exact(L::N);
        let rest = chunks.remainder();
        let mut extremum = l.splat(self.none);
        // Stays zero until a NaN comes by: x - x isn't used, since it is NaN for infinity too.
        let mut bad = l.splat(T::zero());
        let nan = l.splat(T::nan());
        for chunk in chunks {
            // SAFETY: a chunk has N elements.
            let x = unsafe { l.load(chunk.as_ptr()) };
            extremum = if self.largest { l.max(x, extremum) } else { l.min(x, extremum) };
            bad = l.select(l.eq(x, x), bad, nan);
        }
        let lanes = l.array(extremum);
        let mut result = self.none;
        for x in lanes[..L::N].iter().chain(rest) {
            let better = if self.largest { *x > result } else { *x < result };
            if better || x.is_nan() {
                result = *x;
            }
            if result.is_nan() {
                return result;
            }
        }
        if l.sum(bad).is_nan() { T::nan() } else { result }
    }
}

/// `sums[j] = x[0, j] + x[1, j] + ...` for rows of `sums.len()` elements, as of a bias's gradient.
pub fn sum_rows<T: Real>(x: &[T], sums: &mut [T]) {
    let columns = sums.len();
    if columns == 0 {
        return;
    }
    assert!(x.len().is_multiple_of(columns), "{} elements aren't rows of {columns}", x.len());
    let (blocks, units) = (x.len().div_ceil(ROWS * columns), columns.div_ceil(COLUMNS));
    let mut all = scratch::take::<T>(blocks * columns);
    let to = SharedMut(all.as_mut_ptr());
    parallel_for(blocks * units, (1usize << 15).div_ceil(ROWS * COLUMNS.min(columns)), |pieces| {
        for piece in pieces {
            let (block, first) = (piece / units, piece % units * COLUMNS);
            let rows = &x[block * ROWS * columns..((block + 1) * ROWS * columns).min(x.len())];
            let count = COLUMNS.min(columns - first);
            // SAFETY: the pieces take different blocks or columns.
            let to = unsafe { std::slice::from_raw_parts_mut(to.get().add(block * columns + first), count) };
            dispatch(SumRows { rows, columns, first, to });
        }
    });
    sums.fill(T::zero());
    all.chunks_exact(columns).for_each(|block| dispatch(Add { to: sums, x: block }));
}

/// Sums of the columns from `first` on, over some rows.
struct SumRows<'a, T> {
    rows: &'a [T],
    columns: usize,
    first: usize,
    to: &'a mut [T],
}

impl<T: Real> Kernel<T> for SumRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let SumRows { rows, columns, first, to } = self;
        let mut at = 0;
        while at < to.len() {
            let left = to.len() - at;
            // SAFETY: the columns lie in the rows and in `to`.
            unsafe {
                let from = |row: &[T], v: usize| row.as_ptr().add(first + at + v * L::N);
                if left >= 4 * L::N {
                    // Sums of their own for four vectors: an addition waits for the one before.
                    let mut sums = [l.splat(T::zero()); 4];
                    for row in rows.chunks_exact(columns) {
                        (0..4).for_each(|v| sums[v] = l.add(sums[v], l.load(from(row, v))));
                    }
                    (0..4).for_each(|v| l.store(to.as_mut_ptr().add(at + v * L::N), sums[v]));
                    at += 4 * L::N;
                } else {
                    let mut sum = l.splat(T::zero());
                    for row in rows.chunks_exact(columns) {
                        sum = l.add(sum, l.load_part(from(row, 0), left));
                    }
                    l.store_part(to.as_mut_ptr().add(at), sum, left);
                    at += L::N;
                }
            }
        }
    }
}

/// `to[i] += x[i]`
struct Add<'a, T> {
    to: &'a mut [T],
    x: &'a [T],
}

impl<T: Real> Kernel<T> for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L) {
        for (to, x) in self.to.iter_mut().zip(self.x) {
            *to += *x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::level::tests::at_every_level;

    const LENGTHS: [usize; 14] = [0, 1, 2, 3, 7, 8, 15, 16, 17, 33, 100, 1023, 1025, 5000];

    fn check_sums<T: Real>() {
        for length in LENGTHS {
            let x: Vec<T> = (0..length).map(|i| T::from(i % 11).unwrap()).collect();
            let y: Vec<T> = (0..length).map(|i| T::from(i % 3).unwrap()).collect();
            let expected = (0..length).map(|i| i % 11).sum::<usize>();
            assert_eq!(sum(&x), T::from(expected).unwrap(), "{length}");
            let expected = (0..length).map(|i| i % 11 * (i % 3)).sum::<usize>();
            assert_eq!(dot(&x, &y), T::from(expected).unwrap(), "{length}");
        }
    }

    #[test]
    fn sums() {
        at_every_level(|| {
            check_sums::<f32>();
            check_sums::<f64>();
        });
    }

    #[test]
    fn long_sums_are_accurate_and_the_same_for_any_number_of_threads() {
        let x: Vec<f32> = (0..200_000).map(|i| 0.1 + (i % 17) as f32).collect();
        let exact: f64 = x.iter().map(|x| f64::from(*x)).sum();
        let alone = {
            let pool = crate::compute::pool::Pool::new(1);
            let _entered = crate::compute::pool::enter(&pool);
            sum(&x)
        };
        assert_eq!(sum(&x), alone);
        assert!((f64::from(alone) - exact).abs() <= exact * 2e-7, "{alone} for {exact}");
    }

    #[test]
    fn extrema() {
        at_every_level(|| {
            for length in LENGTHS {
                let x: Vec<f32> = (0..length).map(|i| ((i * 37) % 1009) as f32).collect();
                let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let smallest = x.iter().copied().fold(f32::INFINITY, f32::min);
                assert_eq!((max(&x), min(&x)), (largest, smallest), "{length}");
                for at in [0, length / 2, length.saturating_sub(1)] {
                    if let Some(mut x) = (length > 0).then(|| x.clone()) {
                        x[at] = f32::NAN;
                        assert!(max(&x).is_nan() && min(&x).is_nan(), "{length}, NaN at {at}");
                    }
                }
            }
            assert_eq!(max(&[f64::INFINITY, 1.0]), f64::INFINITY);
        });
    }

    #[test]
    fn rows() {
        at_every_level(|| {
            for (rows, columns) in [(0, 3), (1, 1), (3, 5), (70, 17), (200, 64), (5, 1000), (3000, 24)] {
                let x: Vec<f32> = (0..rows * columns).map(|i| (i % 13) as f32).collect();
                let mut sums = vec![1.0; columns];
                sum_rows(&x, &mut sums);
                let expected = |j: usize| (0..rows).map(|i| x[i * columns + j]).sum::<f32>();
                assert!((0..columns).all(|j| sums[j] == expected(j)), "[{rows}, {columns}]");
            }
            sum_rows::<f32>(&[], &mut []);
        });
    }
}
