//! Products that read their operands where they lie: those with few rows or few columns, which are bound by reading the large
//! operand once, and those of moderate depth.
//!
//! Where B lies row after row, C is computed by panels of columns whose sums stay in registers, so that threads write to C
//! once; while a panel stays in the second-level cache, all rows of A go by. Where B lies column after column, a few columns at
//! a time are multiplied with the rows of A. A product with few columns is the transposed one with few rows.

use super::blocked::VECTORS as PANEL_VECTORS;
use super::{Matrix, PARALLEL_FROM, Target};
use crate::compute::lanes::{Kernel, Lanes, Real, dispatch};
use crate::compute::pool::{current_threads, parallel_for};
use crate::compute::scratch;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most rows that are few.
const MOST_ROWS: usize = 8;
/// The most rows that are moderately few.
const MOST_ROWS_OF_PANELS: usize = 128;
/// The most elements of a C that is written in pieces of `UNIT` columns.
const MOST_ELEMENTS: usize = 1 << 22;
/// Rows that pieces of products with many rows are made of.
const BLOCK_ROWS: usize = 32;
/// From this many rows on, a panel is gathered first: rows of B that lie far from one another share few places in the caches.
const GATHERED_FROM: usize = 24;
/// Bytes of a panel that stays in the second-level cache while the rows of A go by.
const PANEL: usize = 512_000;
/// Columns that pieces of the loop are made of: whole cache lines of C.
const UNIT: usize = 64;
/// How many rows of B ahead a panel fetches.
const AHEAD: usize = 4;

/// Computes the product if it has few rows or columns, or moderate depth; tells whether it did.
pub(super) fn product<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, target: Target<T>) -> bool {
    if b.columns <= MOST_ROWS && a.rows > b.columns {
        return few_rows(b.transposed(), a.transposed(), target.transposed());
    }
    few_rows(a, b, target) || many_rows(a, b, target)
}

fn many_rows<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, target: Target<T>) -> bool {
    // Of a transposed A, each step in depth is another line.
    let depth = PANEL / (UNIT * size_of::<T>() * if a.column_stride == 1 { 1 } else { 2 });
    let by_rows = b.column_stride == 1 && target.column_stride == 1;
    let fits = by_rows && a.columns <= depth && a.rows * b.columns <= MOST_ELEMENTS;
    if fits {
        by_blocks(a, b, target);
    }
    fits
}

fn few_rows<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, target: Target<T>) -> bool {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    if m > MOST_ROWS {
        return false;
    }
    if b.row_stride == 1 || k == 1 && b.column_stride != 1 {
        if a.column_stride == 1 {
            by_columns(a, b, target);
        } else {
            let mut rows = scratch::take::<T>(m * k);
            for (i, row) in rows.chunks_exact_mut(k).enumerate() {
                row.iter_mut().enumerate().for_each(|(p, x)| *x = a.data[i * a.row_stride + p * a.column_stride]);
            }
            by_columns(Matrix::new(&rows, m, k), b, target);
        }
        return true;
    }
    if b.column_stride != 1 {
        return false;
    }
    if target.column_stride == 1 {
        by_rows(a, b, target);
        return true;
    }
    let mut sums = scratch::take::<T>(m * n);
    by_rows(a, b, Target::new(sums.as_mut_ptr(), n));
    for (i, row) in sums.chunks_exact(n).enumerate() {
        // SAFETY: the elements lie in C.
        row.iter().enumerate().for_each(|(j, sum)| unsafe { target.set(i, j, *sum) });
    }
    true
}

/// Cuts B's columns into pieces for the threads, four for each, so that a late thread leaves some to the others.
///
/// The pieces of a thread come in one order, and in the other one with the next product with the same matrix: what was read
/// last is still in the thread's cache.
fn for_columns<T>([m, k, n]: [usize; 3], b: &[T], unit: usize, body: impl Fn(Range<usize>) + Sync) {
    if m * k * n < PARALLEL_FROM {
        return body(0..n);
    }
    let threads = current_threads();
    let units = n.div_ceil(unit);
    let pieces = (4 * threads).min(4 * m * k * n / PARALLEL_FROM).clamp(1, units);
    let back = TURNS[b.as_ptr() as usize / 4096 % TURNS.len()].fetch_xor(true, Ordering::Relaxed);
    parallel_for(pieces, 1, |range| {
        for turn in range {
            let piece = if back { turned(turn, pieces, threads) } else { turn };
            let first = |piece: usize| (piece * units / pieces * unit).min(n);
            body(first(piece)..first(piece + 1));
        }
    });
}

/// Which way each matrix is read next, by its address.
static TURNS: [AtomicBool; 64] = [const { AtomicBool::new(false) }; 64];

/// The piece that comes in a thread's turn when it takes its share of the pieces from the other end.
fn turned(turn: usize, pieces: usize, threads: usize) -> usize {
    let share = pieces.div_ceil(threads);
    let first = turn / share * share;
    first + (first + share).min(pieces) - 1 - turn
}

fn by_rows<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, target: Target<T>) {
    let lines = Lines::of(b);
    for_columns([a.rows, b.rows, b.columns], b.data, UNIT, |columns| {
        dispatch(ByRows { a, b: lines, rows: 0..a.rows, columns, target });
    });
}

/// The same for any number of rows: in blocks of rows, one after the other for the same columns.
fn by_blocks<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, target: Target<T>) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let (row_blocks, column_blocks) = (m.div_ceil(BLOCK_ROWS), n.div_ceil(UNIT));
    parallel_for(row_blocks * column_blocks, (PARALLEL_FROM / 2).div_ceil(BLOCK_ROWS * UNIT.min(n) * k), |blocks| {
        let mut at = blocks.start;
        while at < blocks.end {
            let (column, row) = (at / row_blocks, at % row_blocks);
            let count = (blocks.end - at).min(row_blocks - row);
            let rows = row * BLOCK_ROWS..((row + count) * BLOCK_ROWS).min(m);
            let columns = column * UNIT..((column + 1) * UNIT).min(n);
            if rows.len() < GATHERED_FROM {
                dispatch(ByRows { a, b: Lines::of(b), rows, columns, target });
            } else {
                let width = columns.len();
                let mut panel = scratch::take::<T>(k * width);
                for (p, row) in panel.chunks_exact_mut(width).enumerate() {
                    row.copy_from_slice(&b.data[p * b.row_stride + columns.start..][..width]);
                }
                let (b, target) = (Lines::of(Matrix::new(&panel, k, width)), target.from(0, columns.start));
                dispatch(ByRows { a, b, rows, columns: 0..width, target });
            }
            at += count;
        }
    });
}

fn by_columns<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, target: Target<T>) {
    for_columns([a.rows, b.rows, b.columns], b.data, UNIT, |columns| dispatch(ByColumns { a, b, columns, target }));
}

/// Computes the product with a matrix B of `columns` columns that is laid out in panels of `width` if it has few rows, or
/// moderately few and moderate depth; tells whether it did. Sums are those of the matrix as it lies, bit by bit.
pub(super) fn product_with_panels<T: Real>(
    a: Matrix<'_, T>,
    panels: &[T],
    (columns, width): (usize, usize),
    target: Target<T>,
) -> bool {
    let is_moderate = a.rows <= MOST_ROWS_OF_PANELS && a.columns * width * size_of::<T>() <= PANEL;
    let fits = a.rows <= MOST_ROWS || is_moderate;
    if fits {
        let lines = Lines { data: panels, row_stride: width, panel: Some(a.columns * width) };
        for_columns([a.rows, a.columns, columns], panels, width, |columns| {
            dispatch(ByRows { a, b: lines, rows: 0..a.rows, columns, target });
        });
    }
    fits
}

/// A matrix B whose rows lie one after another, whole or by panels of [`PANEL_VECTORS`] vectors.
#[derive(Clone, Copy)]
struct Lines<'a, T> {
    data: &'a [T],
    row_stride: usize,
    /// The elements of a panel, if there are panels.
    panel: Option<usize>,
}

impl<'a, T> Lines<'a, T> {
    fn of(b: Matrix<'a, T>) -> Lines<'a, T> {
        Lines { data: b.data, row_stride: b.row_stride, panel: None }
    }
}

/// Some columns of C, as multiples of rows of B. Where B lies in panels, the first column is a panel's first.
struct ByRows<'a, T> {
    a: Matrix<'a, T>,
    b: Lines<'a, T>,
    rows: Range<usize>,
    columns: Range<usize>,
    target: Target<T>,
}

impl<T: Real> Kernel<T> for ByRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let Range { start: mut j, end } = self.columns;
        // There must be a register for each vector of each row that is computed at once.
        let (widest, wide) = if L::REGISTERS >= 32 { (3, usize::MAX) } else { (1, 3) };
        let (rows, in_panels) = (self.rows.len(), self.b.panel.is_some());
        while j < end {
            // SAFETY: the columns lie in the matrices.
            j += unsafe {
                match (end - j).div_ceil(L::N) {
                    // Two panels for a single row: a product is added to a sum only after the one before.
                    6.. if in_panels && rows == 1 => self.columns::<L, { 2 * PANEL_VECTORS }>(l, j),
                    3.. if in_panels => self.columns::<L, PANEL_VECTORS>(l, j),
                    8.. if rows <= widest => self.columns::<L, 8>(l, j),
                    4.. if rows <= wide => self.columns::<L, 4>(l, j),
                    2.. => self.columns::<L, 2>(l, j),
                    _ => self.columns::<L, 1>(l, j),
                }
            };
        }
    }
}

impl<T: Real> ByRows<'_, T> {
    /// `VECTORS` vectors of columns from `j` on, of which the last one may go past the columns' end; returns how many columns
    /// that is.
    ///
    /// # Safety
    /// There are such columns.
    #[inline(always)]
    unsafe fn columns<L: Lanes<Elem = T>, const VECTORS: usize>(&self, l: L, j: usize) -> usize {
        let count = (self.columns.end - j).min(VECTORS * L::N);
        let most = if L::REGISTERS < 32 && VECTORS > 3 { 2 } else { 4 };
        let mut i = self.rows.start;
        while i < self.rows.end {
            // SAFETY: as the caller promises.
            i += unsafe {
                match (self.rows.end - i).min(most) {
                    4 => self.tile::<L, 4, VECTORS>(l, i, j, count),
                    3 => self.tile::<L, 3, VECTORS>(l, i, j, count),
                    2 => self.tile::<L, 2, VECTORS>(l, i, j, count),
                    _ => self.tile::<L, 1, VECTORS>(l, i, j, count),
                }
            };
        }
        count
    }

    /// `count` columns from `j` on of `ROWS` rows from `i` on; returns `ROWS`.
    ///
    /// # Safety
    /// There are such rows and columns.
    #[inline(always)]
    unsafe fn tile<L: Lanes<Elem = T>, const ROWS: usize, const VECTORS: usize>(
        &self,
        l: L,
        i: usize,
        j: usize,
        count: usize,
    ) -> usize {
        // SAFETY: as the caller promises; all columns but the last vector's are there.
        unsafe {
            if count == VECTORS * L::N {
                self.sums::<L, ROWS, VECTORS>(l, i, j, |row, _| l.load(row), |to, sum, _| l.store(to, sum));
            } else {
                let last = count - (VECTORS - 1) * L::N;
                let load = |row, v| if v + 1 < VECTORS { l.load(row) } else { l.load_first(row, last) };
                let store = |to, sum, v| if v + 1 < VECTORS { l.store(to, sum) } else { l.store_first(to, sum, last) };
                self.sums::<L, ROWS, VECTORS>(l, i, j, load, store);
            }
        }
        ROWS
    }

    /// The sums of a tile, with ways to read and to write its vector of a number.
    ///
    /// # Safety
    /// What is read and written is there.
    #[inline(always)]
    unsafe fn sums<L: Lanes<Elem = T>, const ROWS: usize, const VECTORS: usize>(
        &self,
        l: L,
        i: usize,
        j: usize,
        load: impl Fn(*const T, usize) -> L::V,
        store: impl Fn(*mut T, L::V, usize),
    ) {
        let (a, b, target) = (self.a, self.b, self.target.from(i, j));
        let (start, gap) = b.panel.map_or((j, 0), |panel| (j * a.columns, panel - b.row_stride));
        let place = |v: usize| v * L::N + v / PANEL_VECTORS * gap;
        // SAFETY: as the caller promises; what is fetched ahead need not exist.
        unsafe {
            let mut sums = [[l.splat(T::zero()); VECTORS]; ROWS];
            if target.adds {
                for row in 0..ROWS {
                    (0..VECTORS).for_each(|v| sums[row][v] = load(target.from(row, v * L::N).addend, v));
                }
            }
            let (mut x, mut from) = (a.data.as_ptr().add(i * a.row_stride), b.data.as_ptr().add(start));
            for _ in 0..a.columns {
                let factors: [L::V; ROWS] = std::array::from_fn(|row| l.splat(*x.add(row * a.row_stride)));
                let ahead = from.wrapping_add(AHEAD * b.row_stride);
                for v in 0..VECTORS {
                    // Whole panels have no gaps, so that the processor fetches them itself.
                    if !VECTORS.is_multiple_of(PANEL_VECTORS) {
                        l.prefetch(ahead.wrapping_add(place(v)));
                    }
                    let values = load(from.add(place(v)), v);
                    for row in 0..ROWS {
                        sums[row][v] = l.mul_add(factors[row], values, sums[row][v]);
                    }
                }
                x = x.wrapping_add(a.column_stride);
                from = from.wrapping_add(b.row_stride);
            }
            // A copy, so that indexing it doesn't force the sums themselves out of the registers.
            let results = sums;
            for (row, sums) in results.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    store(target.from(row, v * L::N).data, sum, v);
                }
            }
        }
    }
}

/// Some columns of C, each an inner product of a row of A and a column of B, both without gaps.
struct ByColumns<'a, T> {
    a: Matrix<'a, T>,
    b: Matrix<'a, T>,
    columns: Range<usize>,
    target: Target<T>,
}

impl<T: Real> Kernel<T> for ByColumns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let mut j = self.columns.start;
        while j < self.columns.end {
            let columns = self.columns.end - j;
            let mut i = 0;
            let step = match columns {
                8.. if self.a.rows == 1 => 8,
                4.. => 4,
                _ => 1,
            };
            while i < self.a.rows {
                let rows = self.a.rows - i;
                // SAFETY: the rows and columns lie in the matrices.
                i += unsafe {
                    match (rows, step) {
                        (_, 8) => self.dot::<L, 1, 8>(l, i, j),
                        (4.., 4) if L::REGISTERS >= 32 => self.dot::<L, 4, 4>(l, i, j),
                        (2.., 4) => self.dot::<L, 2, 4>(l, i, j),
                        (_, 4) => self.dot::<L, 1, 4>(l, i, j),
                        _ => self.dot::<L, 1, 1>(l, i, j),
                    }
                };
            }
            j += step;
        }
    }
}

impl<T: Real> ByColumns<'_, T> {
    /// The products of rows `i..i + ROWS` and columns `j..j + COLUMNS`; returns `ROWS`.
    ///
    /// # Safety
    /// There are such rows and columns.
    #[inline(always)]
    unsafe fn dot<L: Lanes<Elem = T>, const ROWS: usize, const COLUMNS: usize>(&self, l: L, i: usize, j: usize) -> usize {
        let (a, b, target) = (self.a, self.b, self.target);
        let k = a.columns;
        // SAFETY: the rows and columns exist, as the caller promises.
        unsafe {
            let x: [*const T; ROWS] = std::array::from_fn(|row| a.data.as_ptr().add((i + row) * a.row_stride));
            let y: [*const T; COLUMNS] = std::array::from_fn(|column| b.data.as_ptr().add((j + column) * b.column_stride));
            let mut sums = [[l.splat(T::zero()); COLUMNS]; ROWS];
            let mut p = 0;
            while p + L::N <= k {
                let rows: [L::V; ROWS] = std::array::from_fn(|row| l.load(x[row].add(p)));
                for column in 0..COLUMNS {
                    let values = l.load(y[column].add(p));
                    for row in 0..ROWS {
                        sums[row][column] = l.mul_add(rows[row], values, sums[row][column]);
                    }
                }
                p += L::N;
            }
            if p < k {
                for column in 0..COLUMNS {
                    let values = l.load_first(y[column].add(p), k - p);
                    for row in 0..ROWS {
                        sums[row][column] = l.mul_add(l.load_first(x[row].add(p), k - p), values, sums[row][column]);
                    }
                }
            }
            for row in 0..ROWS {
                for column in 0..COLUMNS {
                    let sum = l.sum(sums[row][column]);
                    target.set(i + row, j + column, sum);
                }
            }
        }
        ROWS
    }
}
