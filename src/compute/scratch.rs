//! Working memory of kernels, kept by each thread from call to call.

use std::cell::Cell;

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

/// Calls `body` with `length` numbers of unspecified value, aligned to a cache line. Calls may nest.
pub fn with<T: Plain, R>(length: usize, body: impl FnOnce(&mut [T]) -> R) -> R {
    let mut free = FREE.take();
    let mut lines = free.pop().unwrap_or_default();
    FREE.set(free);
    let needed = (length * size_of::<T>()).div_ceil(size_of::<Line>());
    if lines.len() < needed {
        lines.resize(needed, Line([0; 64]));
    }
    // SAFETY: the lines hold at least `length` numbers, any bytes are numbers, and a line is aligned enough.
    let result = body(unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), length) });
    if lines.capacity() * size_of::<Line>() <= KEPT {
        let mut free = FREE.take();
        free.push(lines);
        FREE.set(free);
    }
    result
}

#[cfg(test)]
mod tests {
    #[test]
    fn calls_nest() {
        super::with(100, |outer: &mut [f32]| {
            outer.fill(1.0);
            super::with(50, |inner: &mut [f64]| {
                inner.fill(2.0);
                assert_eq!(inner.as_ptr() as usize % 64, 0);
            });
            assert!(outer.iter().all(|x| *x == 1.0));
        });
        super::with(0, |none: &mut [f32]| assert!(none.is_empty()));
    }
}
