//! Matrices laid out for the inner loop.
//!
//! A panel of B is `[k][width]`: `width` columns beside one another, row after row, the last panel filled up with zeros.
//! A panel of A is `[k][height]` in the same way, of rows.

use super::{GemmElement, Matrix, MatrixMut, Onto, PARALLEL_FROM, Target, blocked, direct, without_depth};
use crate::compute::lanes::{Kernel, Lanes, Real, dispatch};
use crate::compute::pages::vec_with_capacity;
use crate::compute::pool::{SharedMut, parallel_for};
use std::mem::MaybeUninit;
use std::ops::Range;

/// A matrix B laid out once for many products, as weights that stay the same over the iterations of a loop.
///
/// Memory of its own: about that of the matrix.
pub struct PackedB<T> {
    data: Vec<MaybeUninit<T>>,
    /// Where the first panel starts, so that vectors don't straddle cache lines.
    start: usize,
    rows: usize,
    columns: usize,
    width: usize,
}

impl<T: Real> PackedB<T> {
    /// Lays out a matrix `[k, n]`, split over the current pool.
    pub fn new(b: Matrix<'_, T>) -> PackedB<T> {
        PackedB::in_memory_of(None, b)
    }

    /// The same, in the memory of a layout that is no longer needed if it is large enough.
    pub fn in_memory_of(old: Option<PackedB<T>>, b: Matrix<'_, T>) -> PackedB<T> {
        let (width, _) = blocked::tile_size::<T>();
        let panels = b.columns.div_ceil(width);
        let line = 64 / size_of::<T>();
        let length = panels * width * b.rows + line;
        let again = old.map(|old| old.data).filter(|data| data.capacity() >= length && data.capacity() / 2 <= length);
        let mut data = again.unwrap_or_else(|| vec_with_capacity(length));
        // SAFETY: there is room, and elements that may be uninitialized need no value.
        unsafe { data.set_len(length) };
        let start = data.as_ptr().align_offset(64).min(line);
        let pointer = SharedMut(data[start..].as_mut_ptr().cast::<T>());
        parallel_for(panels, PARALLEL_FROM.div_ceil(width * b.rows.max(1)), |range| {
            // SAFETY: each panel is written by one piece of the loop, and there is room for all.
            unsafe {
                dispatch(PackColumns {
                    b,
                    columns: range.start * width..(range.end * width).min(b.columns),
                    to: pointer.get().add(range.start * width * b.rows),
                })
            }
        });
        PackedB { data, start, rows: b.rows, columns: b.columns, width }
    }

    /// The panels, one after another.
    fn panels(&self) -> &[T] {
        let length = self.columns.div_ceil(self.width) * self.width * self.rows;
        // SAFETY: all panels were written, the last one filled up, from `start` on.
        unsafe { std::slice::from_raw_parts(self.data[self.start..][..length].as_ptr().cast(), length) }
    }

    /// The number of rows, k.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns, n.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

impl<T: Real + GemmElement> PackedB<T> {
    /// The product of a matrix and this one, as of [`gemm`](super::gemm).
    pub fn multiply(&self, a: Matrix<'_, T>, c: MatrixMut<'_, T>, onto: Onto<'_, T>) {
        if let Some(mut c) = without_depth(&a, (self.rows, self.columns), c, onto) {
            assert_eq!(self.width, blocked::tile_size::<T>().0, "the matrix was laid out for another level of instructions");
            let target = Target::of(&mut c, onto);
            if !direct::product_with_panels(a, self.panels(), (self.columns, self.width), target) {
                blocked::product_with_panels(a, self.panels(), self.columns, target);
            }
        }
    }
}

struct PackColumns<'a, T> {
    b: Matrix<'a, T>,
    columns: Range<usize>,
    to: *mut T,
}

impl<T: Real> Kernel<T> for PackColumns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        // SAFETY: whoever makes the value gives room for the panels.
        unsafe { pack_columns(l, self.b, 0..self.b.rows, self.columns, self.to) }
    }
}

/// Lays out a block of B as panels.
///
/// # Safety
/// The block lies in `b`, and at `to` is room for its panels.
#[inline(always)]
pub unsafe fn pack_columns<L: Lanes>(l: L, b: Matrix<'_, L::Elem>, rows: Range<usize>, columns: Range<usize>, to: *mut L::Elem) {
    let width = blocked::width::<L>();
    // SAFETY: as the caller promises.
    unsafe { pack(l, b.transposed(), columns, rows, width, to) }
}

/// Lays out a block of A as panels of `height` rows.
///
/// # Safety
/// The block lies in `a`, and at `to` is room for its panels.
#[inline(always)]
pub unsafe fn pack_rows<L: Lanes>(
    l: L,
    a: Matrix<'_, L::Elem>,
    rows: Range<usize>,
    columns: Range<usize>,
    height: usize,
    to: *mut L::Elem,
) {
    // SAFETY: as the caller promises.
    unsafe { pack(l, a, rows, columns, height, to) }
}

/// Lays out rows `outer`, columns `inner` of a matrix as panels `[inner][height]` of `height` rows.
#[inline(always)]
unsafe fn pack<L: Lanes>(
    l: L,
    matrix: Matrix<'_, L::Elem>,
    outer: Range<usize>,
    inner: Range<usize>,
    height: usize,
    to: *mut L::Elem,
) {
    let depth = inner.len();
    let from = matrix.data.as_ptr();
    let (outer_stride, inner_stride) = (matrix.row_stride, matrix.column_stride);
    for (panel, first) in outer.clone().step_by(height).enumerate() {
        let count = height.min(outer.end - first);
        // SAFETY: the panel lies in the matrix and in the room, as the caller promises.
        unsafe {
            let to = to.add(panel * height * depth);
            let from = from.add(first * outer_stride + inner.start * inner_stride);
            if outer_stride == 1 {
                copy_lines(l, from, inner_stride, count, depth, height, to);
            } else {
                transpose_lines(l, from, outer_stride, inner_stride, count, depth, height, to);
            }
        }
    }
}

/// Copies `depth` runs of `count` elements, filled up with zeros to `height`.
#[inline(always)]
unsafe fn copy_lines<L: Lanes>(
    l: L,
    from: *const L::Elem,
    stride: usize,
    count: usize,
    depth: usize,
    height: usize,
    to: *mut L::Elem,
) {
    if count == height && height.is_multiple_of(L::N) {
        for p in 0..depth {
            for v in (0..height).step_by(L::N) {
                // SAFETY: within the block, as the caller promises.
                unsafe { l.store(to.add(p * height + v), l.load(from.add(p * stride + v))) };
            }
        }
        return;
    }
    for p in 0..depth {
        for i in 0..height {
            // SAFETY: as above.
            unsafe { *to.add(p * height + i) = if i < count { *from.add(p * stride + i) } else { L::Elem::default() } };
        }
    }
}

/// Turns `count` runs of `depth` elements, filled up with zeros to `height`, into `depth` runs of `height`.
#[inline(always)]
unsafe fn transpose_lines<L: Lanes>(
    l: L,
    from: *const L::Elem,
    outer_stride: usize,
    inner_stride: usize,
    count: usize,
    depth: usize,
    height: usize,
    to: *mut L::Elem,
) {
    let mut i = 0;
    if inner_stride == 1 {
        while i + 4 <= count {
            for p in (0..depth - depth % 4).step_by(4) {
                // SAFETY: four runs of four elements within the block, as the caller promises.
                unsafe { l.transpose_4x4(from.add(i * outer_stride + p), outer_stride, to.add(p * height + i), height) };
            }
            for p in depth - depth % 4..depth {
                for i in i..i + 4 {
                    // SAFETY: within the block, as the caller promises.
                    unsafe { *to.add(p * height + i) = *from.add(i * outer_stride + p) };
                }
            }
            i += 4;
        }
    }
    while i < height {
        for p in 0..depth {
            let inside = i < count;
            // SAFETY: as above.
            unsafe {
                *to.add(p * height + i) =
                    if inside { *from.add(i * outer_stride + p * inner_stride) } else { L::Elem::default() };
            }
        }
        i += 1;
    }
}
