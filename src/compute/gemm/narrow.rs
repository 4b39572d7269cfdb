//! Products with few rows or few columns, which are bound by reading the large operand once.
//!
//! Where B lies row after row, a single row of C is computed by panels of columns whose sums stay in registers, so that threads
//! write to C once; of more rows, a piece of columns is read in steps of a few rows, added into C, which stays in the first
//! cache. Where B lies column after column, a few columns at a time are multiplied with the rows of A. A product with few
//! columns is the transposed one with few rows.

use super::blocked::{VECTORS, width};
use super::{Matrix, PARALLEL_FROM, Target};
use crate::compute::lanes::{Kernel, Lanes, Real, dispatch};
use crate::compute::pool::{current_threads, parallel_for};
use crate::compute::scratch;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most rows that are few.
const MOST_ROWS: usize = 8;
/// The most rows that a matrix in panels is multiplied with here.
pub(super) const MOST_ROWS_OF_PANELS: usize = 3;
/// Columns that pieces of the loop are made of: whole cache lines of C.
const UNIT: usize = 64;
/// How many rows of B ahead a panel fetches.
const AHEAD: usize = 4;

/// Computes the product if it has few rows or columns; tells whether it did.
pub(super) fn product<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, target: Target<T>) -> bool {
    if a.rows <= b.columns || b.columns > MOST_ROWS {
        few_rows(a, b, target)
    } else {
        few_rows(b.transposed(), a.transposed(), target.transposed())
    }
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
    for_columns([a.rows, b.rows, b.columns], b.data, UNIT, |columns| dispatch(ByRows { a, b, columns, target }));
}

fn by_columns<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, target: Target<T>) {
    for_columns([a.rows, b.rows, b.columns], b.data, UNIT, |columns| dispatch(ByColumns { a, b, columns, target }));
}

/// The product of at most [`MOST_ROWS_OF_PANELS`] rows and a matrix B of `columns` columns that is laid out in panels of
/// `width`. Sums are those of `ByRows`, bit by bit.
pub(super) fn product_with_panels<T: Real>(a: Matrix<'_, T>, panels: &[T], (columns, width): (usize, usize), target: Target<T>) {
    for_columns([a.rows, a.columns, columns], panels, width, |columns| dispatch(ByPanels { a, panels, columns, target }));
}

/// Some columns of C, as multiples of rows of B.
struct ByRows<'a, T> {
    a: Matrix<'a, T>,
    b: Matrix<'a, T>,
    columns: Range<usize>,
    target: Target<T>,
}

impl<T: Real> Kernel<T> for ByRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let k = self.a.columns;
        if self.a.rows == 1 {
            // SAFETY: the columns lie in the matrices.
            return unsafe { self.single_row(l) };
        }
        let step = 4;
        for p in (0..k).step_by(step) {
            let count = step.min(k - p);
            let target = if p > 0 { self.target.onto_itself() } else { self.target };
            let mut i = 0;
            while i < self.a.rows {
                let rows = self.a.rows - i;
                // SAFETY: the rows and columns lie in the matrices.
                i += unsafe {
                    match (rows, count) {
                        (4.., 4) if L::REGISTERS >= 32 => self.add::<L, 4, 4>(l, i, p, target),
                        (2.., 4) => self.add::<L, 2, 4>(l, i, p, target),
                        (1, 4) => self.add::<L, 1, 4>(l, i, p, target),
                        _ => {
                            for q in 0..count {
                                self.add::<L, 1, 1>(l, i, p + q, if q > 0 { target.onto_itself() } else { target });
                            }
                            1
                        }
                    }
                };
            }
        }
    }
}

impl<T: Real> ByRows<'_, T> {
    /// The columns of C's only row.
    ///
    /// # Safety
    /// There are such columns, and A has one row.
    #[inline(always)]
    unsafe fn single_row<L: Lanes<Elem = T>>(&self, l: L) {
        let Range { start: mut j, end } = self.columns;
        // SAFETY: as the caller promises; each panel ends where the columns do or before.
        unsafe {
            while j < end {
                j += match (end - j).div_ceil(L::N) {
                    8.. => self.panel::<L, 8>(l, j),
                    7 => self.panel::<L, 7>(l, j),
                    6 => self.panel::<L, 6>(l, j),
                    5 => self.panel::<L, 5>(l, j),
                    4 => self.panel::<L, 4>(l, j),
                    3 => self.panel::<L, 3>(l, j),
                    2 => self.panel::<L, 2>(l, j),
                    _ => self.panel::<L, 1>(l, j),
                };
            }
        }
    }

    /// `VECTORS` vectors of columns from `j` on, of which the last one may go past the columns' end; returns how many columns
    /// that is.
    ///
    /// # Safety
    /// There are such columns, and A has one row.
    #[inline(always)]
    unsafe fn panel<L: Lanes<Elem = T>, const VECTORS: usize>(&self, l: L, j: usize) -> usize {
        let count = (self.columns.end - j).min(VECTORS * L::N);
        // SAFETY: as the caller promises; all columns but the last vector's are there.
        unsafe {
            if count == VECTORS * L::N {
                self.sums::<L, VECTORS>(l, j, |row, _| l.load(row), |to, sum, _| l.store(to, sum));
            } else {
                let last = count - (VECTORS - 1) * L::N;
                let load = |row, v| if v + 1 < VECTORS { l.load(row) } else { l.load_first(row, last) };
                let store = |to, sum, v| if v + 1 < VECTORS { l.store(to, sum) } else { l.store_first(to, sum, last) };
                self.sums::<L, VECTORS>(l, j, load, store);
            }
        }
        count
    }

    /// The sums of a panel, with ways to read and to write its vector of a number.
    ///
    /// # Safety
    /// What is read and written is there, and A has one row.
    #[inline(always)]
    unsafe fn sums<L: Lanes<Elem = T>, const VECTORS: usize>(
        &self,
        l: L,
        j: usize,
        load: impl Fn(*const T, usize) -> L::V,
        store: impl Fn(*mut T, L::V, usize),
    ) {
        let (a, b, target) = (self.a, self.b, self.target);
        // SAFETY: as the caller promises; what is fetched ahead need not exist.
        unsafe {
            let Target { data: to, addend, adds, .. } = target.from(0, j);
            let (mut x, mut row) = (a.data.as_ptr(), b.data.as_ptr().add(j));
            let mut sums = [l.splat(T::zero()); VECTORS];
            if adds {
                (0..VECTORS).for_each(|v| sums[v] = load(addend.add(v * L::N), v));
            }
            for _ in 0..a.columns {
                let factor = l.splat(*x);
                let ahead = row.wrapping_add(AHEAD * b.row_stride);
                for v in 0..VECTORS {
                    l.prefetch(ahead.wrapping_add(v * L::N));
                    sums[v] = l.mul_add(factor, load(row.add(v * L::N), v), sums[v]);
                }
                x = x.wrapping_add(a.column_stride);
                row = row.wrapping_add(b.row_stride);
            }
            // A copy, so that indexing it doesn't force the sums themselves out of the registers.
            let results = sums;
            for (v, sum) in results.into_iter().enumerate() {
                store(to.add(v * L::N), sum, v);
            }
        }
    }

    /// Adds the multiples of rows `p..p + STEP` of B to rows `i..i + ROWS` of C, and returns `ROWS`.
    ///
    /// # Safety
    /// There are such rows.
    #[inline(always)]
    unsafe fn add<L: Lanes<Elem = T>, const ROWS: usize, const STEP: usize>(
        &self,
        l: L,
        i: usize,
        p: usize,
        target: Target<T>,
    ) -> usize {
        let (a, b) = (self.a, self.b);
        // SAFETY: the rows exist, as the caller promises, and the columns lie in B and C.
        unsafe {
            let x = |row: usize, q: usize| *a.data.as_ptr().add((i + row) * a.row_stride + (p + q) * a.column_stride);
            let factors: [[L::V; STEP]; ROWS] = std::array::from_fn(|row| std::array::from_fn(|q| l.splat(x(row, q))));
            let from: [*const T; STEP] = std::array::from_fn(|q| b.data.as_ptr().add((p + q) * b.row_stride));
            let to: [Target<T>; ROWS] = std::array::from_fn(|row| target.from(i + row, 0));
            let mut j = self.columns.start;
            while j + L::N <= self.columns.end {
                let values: [L::V; STEP] = std::array::from_fn(|q| l.load(from[q].add(j)));
                for row in 0..ROWS {
                    let mut sum = if target.adds { l.load(to[row].addend.add(j)) } else { l.splat(T::zero()) };
                    for q in 0..STEP {
                        sum = l.mul_add(factors[row][q], values[q], sum);
                    }
                    l.store(to[row].data.add(j), sum);
                }
                j += L::N;
            }
            if j < self.columns.end {
                let count = self.columns.end - j;
                for row in 0..ROWS {
                    let mut sum = if target.adds { l.load_first(to[row].addend.add(j), count) } else { l.splat(T::zero()) };
                    for q in 0..STEP {
                        sum = l.mul_add(factors[row][q], l.load_first(from[q].add(j), count), sum);
                    }
                    l.store_first(to[row].data.add(j), sum, count);
                }
            }
        }
        ROWS
    }
}

/// Some columns of C, by panels of B, whose first column is a panel's first.
struct ByPanels<'a, T> {
    a: Matrix<'a, T>,
    panels: &'a [T],
    columns: Range<usize>,
    target: Target<T>,
}

impl<T: Real> Kernel<T> for ByPanels<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let width = width::<L>();
        let mut column = self.columns.start;
        while column < self.columns.end {
            let panels = (self.columns.end - column).div_ceil(width);
            // SAFETY: the panels and their columns of C exist.
            column += unsafe {
                match (self.a.rows, panels) {
                    (1, 2..) => self.panels::<L, 1, 2>(l, column),
                    (1, _) => self.panels::<L, 1, 1>(l, column),
                    (2, _) => self.panels::<L, 2, 1>(l, column),
                    _ => self.panels::<L, MOST_ROWS_OF_PANELS, 1>(l, column),
                }
            };
        }
    }
}

impl<T: Real> ByPanels<'_, T> {
    /// `ROWS` rows of C, and the columns of some panels; returns how many columns those are.
    ///
    /// # Safety
    /// A has so many rows, and there are such panels.
    #[inline(always)]
    unsafe fn panels<L: Lanes<Elem = T>, const ROWS: usize, const PANELS: usize>(&self, l: L, column: usize) -> usize {
        let (a, target, width) = (self.a, self.target.from(0, column), width::<L>());
        let filled = |panel: usize, v: usize| (self.columns.end - column).saturating_sub(panel * width + v * L::N);
        let mut sums = [[[l.splat(T::zero()); VECTORS]; PANELS]; ROWS];
        // SAFETY: as the caller promises; of C, only columns that exist are touched.
        unsafe {
            if target.adds {
                for (i, panel, v) in places::<ROWS, PANELS>() {
                    let from = target.from(i, panel * width + v * L::N).addend;
                    match filled(panel, v) {
                        0 => {}
                        some if some < L::N => sums[i][panel][v] = l.load_first(from, some),
                        _ => sums[i][panel][v] = l.load(from),
                    }
                }
            }
            let mut from: [*const T; PANELS] =
                std::array::from_fn(|panel| self.panels.as_ptr().add((column + panel * width) * a.columns));
            for p in 0..a.columns {
                for i in 0..ROWS {
                    let x = l.splat(*a.data.as_ptr().add(i * a.row_stride + p * a.column_stride));
                    for panel in 0..PANELS {
                        for v in 0..VECTORS {
                            sums[i][panel][v] = l.mul_add(x, l.load(from[panel].add(v * L::N)), sums[i][panel][v]);
                        }
                    }
                }
                from = from.map(|from| from.add(width));
            }
            // A copy, so that indexing it doesn't force the sums themselves out of the registers.
            let results = sums;
            for (i, panel, v) in places::<ROWS, PANELS>() {
                let to = target.from(i, panel * width + v * L::N).data;
                match filled(panel, v) {
                    0 => {}
                    some if some < L::N => l.store_first(to, results[i][panel][v], some),
                    _ => l.store(to, results[i][panel][v]),
                }
            }
        }
        PANELS * width
    }
}

/// Rows, panels and vectors of a tile of panels.
fn places<const ROWS: usize, const PANELS: usize>() -> impl Iterator<Item = (usize, usize, usize)> {
    (0..ROWS).flat_map(|i| (0..PANELS).flat_map(move |panel| (0..VECTORS).map(move |v| (i, panel, v))))
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
