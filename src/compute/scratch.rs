//! Working memory of kernels, kept by each thread from call to call.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Memory beyond this many bytes is given back after the call.
const KEPT: usize = 16 << 20;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    static FREE: Cell<Vec<Vec<Line>>> = const { Cell::new(Vec::new()) };
}

/// A plain number: any bytes are a value.
///
/// # Safety
/// Implemented only for types without padding or invalid bytes.
pub unsafe trait Plain: Copy {}

// SAFETY: any bytes are a value of these.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for f64 {}

/// Numbers of unspecified value at first, in memory that goes back to its thread in the end.
pub struct Scratch<T> {
    lines: Vec<Line>,
    length: usize,
    element: PhantomData<T>,
}

/// Working memory for `length` numbers, aligned to a cache line.
pub fn take<T: Plain>(length: usize) -> Scratch<T> {
    let mut free = FREE.take();
    let mut lines = free.pop().unwrap_or_default();
    FREE.set(free);
    let needed = (length * size_of::<T>()).div_ceil(size_of::<Line>());
    if lines.len() < needed {
        lines.resize(needed, Line([0; 64]));
    }
    Scratch { lines, length, element: PhantomData }
}

impl<T: Plain> Deref for Scratch<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `length` numbers, any bytes are numbers, and a line is aligned enough.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<T: Plain> DerefMut for Scratch<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        if self.lines.capacity() * size_of::<Line>() <= KEPT {
            let lines = std::mem::take(&mut self.lines);
            // A thread that ends has no place left for its memory, which then goes with `lines`.
            let _ = FREE.try_with(|free| {
                let mut kept = free.take();
                kept.push(lines);
                free.set(kept);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::take;

    #[test]
    fn takes_nest() {
        let mut outer = take::<f32>(100);
        outer.fill(1.0);
        {
            let mut inner = take::<f64>(50);
            inner.fill(2.0);
            assert_eq!(inner.as_ptr() as usize % 64, 0);
        }
        assert!(outer.iter().all(|x| *x == 1.0));
        assert!(take::<f32>(0).is_empty());
    }
}
