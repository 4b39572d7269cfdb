//! Loops of any function over slices, compiled for the best instruction set and split over the current pool.
//!
//! The function should be a small closure without branches, so that it becomes vector instructions. Slices of one call have
//! the same length, else it panics.

use super::level::vectorize;
use super::pool::{SharedMut, parallel_for, parallel_pieces};

/// Elements that one piece of a parallel loop has at least: some microseconds of simple work.
const GRAIN: usize = 1 << 15;

/// Calls `body` on pieces of `0..length` within the best instruction set.
#[inline(always)]
fn pieces(length: usize, body: impl Fn(usize, usize) + Sync) {
    parallel_for(length, GRAIN, |range| {
        vectorize(
            #[inline(always)]
            || body(range.start, range.len()),
        );
    });
}

fn check(lengths: &[usize]) {
    assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "slices of different lengths: {lengths:?}");
}

/// `out[i] = f(x[i])`
pub fn map<X: Copy + Sync, Y: Copy + Send>(x: &[X], out: &mut [Y], f: impl Fn(X) -> Y + Sync) {
    check(&[x.len(), out.len()]);
    let to = SharedMut(out.as_mut_ptr());
    pieces(
        x.len(),
        #[inline(always)]
        |start, length| {
            // SAFETY: the pieces don't overlap and lie in the slice.
            let out = unsafe { std::slice::from_raw_parts_mut(to.get().add(start), length) };
            for (y, x) in out.iter_mut().zip(&x[start..start + length]) {
                *y = f(*x);
            }
        },
    );
}

/// `out[i] = f(x[i], y[i])`
pub fn zip<X: Copy + Sync, Y: Copy + Sync, Z: Copy + Send>(x: &[X], y: &[Y], out: &mut [Z], f: impl Fn(X, Y) -> Z + Sync) {
    check(&[x.len(), y.len(), out.len()]);
    let to = SharedMut(out.as_mut_ptr());
    pieces(
        x.len(),
        #[inline(always)]
        |start, length| {
            // SAFETY: the pieces don't overlap and lie in the slice.
            let out = unsafe { std::slice::from_raw_parts_mut(to.get().add(start), length) };
            for ((z, x), y) in out.iter_mut().zip(&x[start..start + length]).zip(&y[start..start + length]) {
                *z = f(*x, *y);
            }
        },
    );
}

/// `f(&mut x[i])`
pub fn update<X: Send>(x: &mut [X], f: impl Fn(&mut X) + Sync) {
    let to = SharedMut(x.as_mut_ptr());
    pieces(
        x.len(),
        #[inline(always)]
        |start, length| {
            // SAFETY: the pieces don't overlap and lie in the slice.
            unsafe { std::slice::from_raw_parts_mut(to.get().add(start), length) }.iter_mut().for_each(&f);
        },
    );
}

/// `f(&mut x[i], y[i])`
pub fn update_with<X: Send, Y: Copy + Sync>(x: &mut [X], y: &[Y], f: impl Fn(&mut X, Y) + Sync) {
    check(&[x.len(), y.len()]);
    let to = SharedMut(x.as_mut_ptr());
    pieces(
        x.len(),
        #[inline(always)]
        |start, length| {
            // SAFETY: the pieces don't overlap and lie in the slice.
            let x = unsafe { std::slice::from_raw_parts_mut(to.get().add(start), length) };
            for (x, y) in x.iter_mut().zip(&y[start..start + length]) {
                f(x, *y);
            }
        },
    );
}

/// `f(&mut x[i], &mut y[i], z[i])`
pub fn update2_with<X: Send, Y: Send, Z: Copy + Sync>(x: &mut [X], y: &mut [Y], z: &[Z], f: impl Fn(&mut X, &mut Y, Z) + Sync) {
    check(&[x.len(), y.len(), z.len()]);
    let (to_x, to_y) = (SharedMut(x.as_mut_ptr()), SharedMut(y.as_mut_ptr()));
    pieces(
        z.len(),
        #[inline(always)]
        |start, length| {
            // SAFETY: the pieces don't overlap and lie in the slices.
            let (x, y) = unsafe {
                (
                    std::slice::from_raw_parts_mut(to_x.get().add(start), length),
                    std::slice::from_raw_parts_mut(to_y.get().add(start), length),
                )
            };
            for ((x, y), z) in x.iter_mut().zip(y).zip(&z[start..start + length]) {
                f(x, y, *z);
            }
        },
    );
}

/// `f(&mut w[i], &mut x[i], &mut y[i], z[i])`
pub fn update3_with<T: Send, Z: Copy + Sync>(
    w: &mut [T],
    x: &mut [T],
    y: &mut [T],
    z: &[Z],
    f: impl Fn(&mut T, &mut T, &mut T, Z) + Sync,
) {
    check(&[w.len(), x.len(), y.len(), z.len()]);
    let to = [w, x, y].map(|slice| SharedMut(slice.as_mut_ptr()));
    pieces(
        z.len(),
        #[inline(always)]
        |start, length| {
            // SAFETY: the pieces don't overlap and lie in the slices.
            let [w, x, y] = [0, 1, 2].map(|i| unsafe { std::slice::from_raw_parts_mut(to[i].get().add(start), length) });
            for (((w, x), y), z) in w.iter_mut().zip(x).zip(y).zip(&z[start..start + length]) {
                f(w, x, y, *z);
            }
        },
    );
}

/// `f(&mut v[i], &mut w[i], &mut x[i], &mut y[i], z[i])`
pub fn update4_with<T: Send, Z: Copy + Sync>(
    v: &mut [T],
    w: &mut [T],
    x: &mut [T],
    y: &mut [T],
    z: &[Z],
    f: impl Fn(&mut T, &mut T, &mut T, &mut T, Z) + Sync,
) {
    check(&[v.len(), w.len(), x.len(), y.len(), z.len()]);
    let to = [v, w, x, y].map(|slice| SharedMut(slice.as_mut_ptr()));
    pieces(
        z.len(),
        #[inline(always)]
        |start, length| {
            // SAFETY: the pieces don't overlap and lie in the slices.
            let [v, w, x, y] = [0, 1, 2, 3].map(|i| unsafe { std::slice::from_raw_parts_mut(to[i].get().add(start), length) });
            for ((((v, w), x), y), z) in v.iter_mut().zip(w).zip(x).zip(y).zip(&z[start..start + length]) {
                f(v, w, x, y, *z);
            }
        },
    );
}

/// Copies slices one behind the other, split over the current pool.
pub fn concatenate<T: Copy + Send + Sync>(parts: &[&[T]], out: &mut [T]) {
    let mut pieces = Vec::with_capacity(parts.len());
    let mut rest = out;
    for part in parts {
        let (to, after) = rest.split_at_mut(part.len());
        pieces.push((*part, to));
        rest = after;
    }
    assert!(rest.is_empty(), "{} elements are left over", rest.len());
    let bytes: usize = parts.iter().map(|p| size_of_val(*p)).sum();
    parallel_pieces(&mut pieces, 1, (COPIED * parts.len()).div_ceil(bytes.max(1)), |_, pieces| {
        pieces.iter_mut().for_each(|(from, to)| to.copy_from_slice(from));
    });
}

/// Bytes that a thread copies at least.
const COPIED: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::level::tests::at_every_level;

    #[test]
    fn loops_visit_every_element() {
        at_every_level(|| {
            for length in [0, 1, 2, 3, 15, 16, 17, 100, 70_000] {
                let x: Vec<i32> = (0..length as i32).collect();
                let y: Vec<i32> = x.iter().map(|x| x % 7).collect();
                let mut out = vec![0; length];
                map(&x, &mut out, |x| x + 1);
                assert!(out.iter().zip(&x).all(|(out, x)| *out == x + 1));
                zip(&x, &y, &mut out, |x, y| x * 2 - y);
                update_with(&mut out, &y, |out, y| *out += y);
                assert!(out.iter().zip(&x).all(|(out, x)| *out == x * 2));
                let halves = out.split_at(length / 3);
                let mut whole = vec![0; length];
                concatenate(&[halves.0, &[], halves.1], &mut whole);
                assert_eq!(whole, out);
                update_with(&mut out, &x, |out, x| *out += x);
                update(&mut out, |out| *out -= 5);
                let (mut a, mut b) = (x.clone(), y.clone());
                update2_with(&mut out, &mut a, &y, |out, a, y| (*out, *a) = (*a, y));
                assert_eq!((&out, &a), (&x, &y));
                update3_with(&mut out, &mut a, &mut b, &x, |out, a, b, x| (*out, *a, *b) = (*a, *b + x, x));
                let expected: Vec<i32> = x.iter().map(|x| x + x % 7).collect();
                assert_eq!((&out, &a, &b), (&y, &expected, &x));
                let mut c = vec![0; length];
                update4_with(&mut out, &mut a, &mut b, &mut c, &x, |out, a, b, c, x| (*out, *a, *b, *c) = (*b, x, *a, *out));
                assert_eq!((out, a, b, c), (x.clone(), x, expected, y));
            }
        });
    }
}
