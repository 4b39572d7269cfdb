//! Products of f32 and f64 matrices by blocks that stay in the caches and tiles that stay in registers.
//!
//! The scheme is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), with a tile of
//! 8 rows and 3 vectors of columns where there are 32 registers, 4 rows where there are 16. Threads share nothing but the
//! operands: each piece of C is computed by one, which lays out what it needs.

use super::packed::{pack_columns, pack_rows};
use super::{Matrix, PARALLEL_FROM, Target};
use crate::compute::lanes::{Kernel, Lanes, Real, dispatch};
use crate::compute::pool::{current_threads, parallel_for, parallel_pieces};
use crate::compute::scratch;
use std::ops::Range;

/// Vectors of columns in a tile.
pub(super) const VECTORS: usize = 3;
/// The depth of a block. Not a power of two, so that panels don't start at the same place in a cache set.
const DEPTH: usize = 252;
/// Rows in a block of A: with `DEPTH` it takes a fifth of a second-level cache.
const HEIGHT: usize = 192;
/// Panels in a block of B.
const PANELS: usize = 20;
/// From this depth on, a product with few elements is cut along its depth.
const SPLIT_DEPTH_FROM: usize = 2048;
/// The most elements that a product cut along its depth has.
const SPLIT_DEPTH_ELEMENTS: usize = 1 << 16;

/// Columns in a panel of B.
#[inline(always)]
pub const fn width<L: Lanes>() -> usize {
    VECTORS * L::N
}

/// Rows in a panel of A.
#[inline(always)]
const fn height<L: Lanes>() -> usize {
    if L::REGISTERS >= 32 { 8 } else { 4 }
}

/// The product of two matrices.
pub(super) fn product<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, target: Target<T>) {
    run(a, Right::Plain(b), b.columns, target);
}

/// The same for a matrix B of `columns` columns that is laid out in panels.
pub(super) fn product_with_panels<T: Real>(a: Matrix<'_, T>, panels: &[T], columns: usize, target: Target<T>) {
    run(a, Right::Panels(panels), columns, target);
}

/// B: in its own memory, or laid out in panels over the whole depth.
#[derive(Clone, Copy)]
enum Right<'a, T> {
    Plain(Matrix<'a, T>),
    Panels(&'a [T]),
}

fn run<T: Real>(a: Matrix<'_, T>, b: Right<'_, T>, n: usize, target: Target<T>) {
    let (m, k) = (a.rows, a.columns);
    let block = |rows: Range<usize>, columns: Range<usize>| {
        dispatch(Block { a, b, rows, columns, depth: 0..k, target });
    };
    let threads = if m * n * k < PARALLEL_FROM { 1 } else { current_threads() };
    if threads == 1 {
        return block(0..m, 0..n);
    }
    let (width, height) = tile_size::<T>();
    let (row_units, column_units) = (m.div_ceil(height), n.div_ceil(width));
    if k >= SPLIT_DEPTH_FROM && m * n <= SPLIT_DEPTH_ELEMENTS && row_units.max(column_units) < 4 * threads {
        return split_depth(a, b, n, threads, target);
    }
    // Each piece of rows lays out B again, each piece of columns A; units that don't divide evenly leave threads idle.
    let work = |units: usize, unit: usize, other: usize| units.div_ceil(threads) * unit * other * k * VECTORS / width;
    let cost_of_columns = work(column_units, width, m) + m * k;
    let cost_of_rows = work(row_units, height, n) + if matches!(b, Right::Plain(_)) { n * k } else { 0 };
    let grain = |units: usize| units.div_ceil(if units >= 16 * threads { 2 * threads } else { threads });
    if cost_of_columns <= cost_of_rows {
        parallel_for(column_units, grain(column_units), |units| block(0..m, units.start * width..(units.end * width).min(n)));
    } else {
        parallel_for(row_units, grain(row_units), |units| block(units.start * height..(units.end * height).min(m), 0..n));
    }
}

/// A product of few elements and much depth: each part of the depth by itself, then the sum of the parts in order.
fn split_depth<T: Real>(a: Matrix<'_, T>, b: Right<'_, T>, n: usize, parts: usize, target: Target<T>) {
    let (m, k) = (a.rows, a.columns);
    let depth = k.div_ceil(parts);
    let mut sums = scratch::take::<T>(parts * m * n);
    parallel_pieces(&mut sums, m * n, 1, |first, sums| {
        for (part, sum) in (first..).zip(sums.chunks_exact_mut(m * n)) {
            let depth = (part * depth).min(k)..((part + 1) * depth).min(k);
            if depth.is_empty() {
                sum.fill(T::zero());
            }
            let target = Target::new(sum.as_mut_ptr(), n);
            dispatch(Block { a, b, rows: 0..m, columns: 0..n, depth, target });
        }
    });
    for (part, sum) in sums.chunks_exact(m * n).enumerate() {
        for (i, row) in sum.chunks_exact(n).enumerate() {
            // SAFETY: the row lies in C, and the threads are done.
            let target = if part == 0 { target } else { target.onto_itself() };
            row.iter().enumerate().for_each(|(j, x)| unsafe { target.set(i, j, *x) });
        }
    }
}

/// Columns in a panel of B and rows in a panel of A at the current level.
pub fn tile_size<T: Real>() -> (usize, usize) {
    dispatch::<T, TileSize>(TileSize)
}

struct TileSize;

impl<T: Real> Kernel<T> for TileSize {
    type Output = (usize, usize);

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L) -> (usize, usize) {
        (width::<L>(), height::<L>())
    }
}

/// A block of C, computed by one thread.
struct Block<'a, T> {
    a: Matrix<'a, T>,
    b: Right<'a, T>,
    rows: Range<usize>,
    columns: Range<usize>,
    depth: Range<usize>,
    target: Target<T>,
}

impl<T: Real> Kernel<T> for Block<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let Block { a, b, rows, columns, depth, target } = self;
        let (width, height) = (width::<L>(), height::<L>());
        let block_depth = DEPTH.min(depth.len());
        let a_length = HEIGHT.min(rows.len().next_multiple_of(height)) * block_depth;
        let b_length = match b {
            Right::Plain(_) => (PANELS * width).min(columns.len().next_multiple_of(width)) * block_depth,
            Right::Panels(_) => 0,
        };
        let mut space = scratch::take::<T>(a_length + b_length);
        let (b_space, a_space) = space.split_at_mut(b_length);
        for column in columns.clone().step_by(PANELS * width) {
            let columns = column..(column + PANELS * width).min(columns.end);
            for first in depth.clone().step_by(DEPTH) {
                let inner = first..(first + DEPTH).min(depth.end);
                let target = if first > depth.start { target.onto_itself() } else { target };
                // SAFETY: the blocks lie in the matrices, and the space has room for both.
                let (panels, panel_stride) = unsafe {
                    match b {
                        Right::Plain(b) => {
                            pack_columns(l, b, inner.clone(), columns.clone(), b_space.as_mut_ptr());
                            (b_space.as_ptr(), inner.len() * width)
                        }
                        Right::Panels(panels) => {
                            (panels.as_ptr().add(columns.start * a.columns + inner.start * width), a.columns * width)
                        }
                    }
                };
                for row in rows.clone().step_by(HEIGHT) {
                    let rows = row..(row + HEIGHT).min(rows.end);
                    // SAFETY: as above; the tiles lie in C.
                    unsafe {
                        pack_rows(l, a, rows.clone(), inner.clone(), height, a_space.as_mut_ptr());
                        let to = target.from(rows.start, columns.start);
                        tiles(l, a_space.as_ptr(), rows.len(), panels, panel_stride, columns.len(), inner.len(), to);
                    }
                }
            }
        }
    }
}

/// The product of a block of A and a block of B, both laid out in panels.
///
/// # Safety
/// The panels are complete, and the block of C at the target can be written.
#[inline(always)]
unsafe fn tiles<L: Lanes>(
    l: L,
    a: *const L::Elem,
    rows: usize,
    panels: *const L::Elem,
    panel_stride: usize,
    columns: usize,
    depth: usize,
    target: Target<L::Elem>,
) {
    let (width, height) = (width::<L>(), height::<L>());
    for (panel, column) in (0..columns).step_by(width).enumerate() {
        let columns = width.min(columns - column);
        for row in (0..rows).step_by(height) {
            let rows = height.min(rows - row);
            // SAFETY: as the caller promises.
            unsafe {
                let (a, b) = (a.add(row * depth), panels.add(panel * panel_stride));
                let target = target.from(row, column);
                match (rows, columns.div_ceil(L::N)) {
                    (5.., 3) if L::REGISTERS >= 32 => tile::<L, 8, 3>(l, a, height, b, depth, rows, columns, target),
                    (5.., 2) if L::REGISTERS >= 32 => tile::<L, 8, 2>(l, a, height, b, depth, rows, columns, target),
                    (5.., _) if L::REGISTERS >= 32 => tile::<L, 8, 1>(l, a, height, b, depth, rows, columns, target),
                    (3.., _) => tile::<L, 4, 3>(l, a, height, b, depth, rows, columns, target),
                    (2, _) => tile::<L, 2, 3>(l, a, height, b, depth, rows, columns, target),
                    _ => tile::<L, 1, 3>(l, a, height, b, depth, rows, columns, target),
                }
            }
        }
    }
}

/// A tile of `rows <= ROWS` rows and `columns` columns, from one panel of each; the columns fill `USED` vectors or fewer.
#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize, const USED: usize>(
    l: L,
    a: *const L::Elem,
    a_step: usize,
    b: *const L::Elem,
    depth: usize,
    rows: usize,
    columns: usize,
    target: Target<L::Elem>,
) {
    let zero = l.splat(L::Elem::default());
    let mut sums = [[zero; USED]; ROWS];
    let (mut a, mut b) = (a, b);
    // SAFETY: the panels are complete, as the caller promises; so is the target's part that is touched.
    unsafe {
        if rows > 4 && columns == width::<L>() {
            (0..rows).for_each(|i| l.prefetch(target.data.add(i * target.row_stride)));
            if target.adds {
                (0..rows).for_each(|i| l.prefetch(target.addend.add(i * target.addend_row_stride)));
            }
        }
        for _ in 0..depth {
            let row: [L::V; USED] = std::array::from_fn(|v| l.load(b.add(v * L::N)));
            for i in 0..ROWS {
                let x = l.splat(*a.add(i));
                for v in 0..USED {
                    sums[i][v] = l.mul_add(x, row[v], sums[i][v]);
                }
            }
            a = a.add(a_step);
            b = b.add(width::<L>());
        }
        // A copy, so that indexing it doesn't force the sums themselves out of the registers.
        let results = sums;
        for (i, sums) in results.iter().enumerate().take(rows) {
            for (v, sum) in sums.iter().enumerate() {
                let Target { data: to, addend, adds, .. } = target.from(i, v * L::N);
                if columns >= (v + 1) * L::N {
                    let sum = if adds { l.add(l.load(addend), *sum) } else { *sum };
                    l.store(to, sum);
                } else if columns > v * L::N {
                    let count = columns - v * L::N;
                    let sum = if adds { l.add(l.load_first(addend, count), *sum) } else { *sum };
                    l.store_first(to, sum, count);
                }
            }
        }
    }
}
