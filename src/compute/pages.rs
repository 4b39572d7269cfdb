//! Huge pages for large blocks: the system gives and clears them much faster than the same memory in small pages.

/// Smaller blocks are left as they are.
const FROM: usize = 4 << 20;

/// Tells the system that a new block is better given in huge pages, as far as they lie within it.
pub fn advise<T: ?Sized>(block: *const T, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= FROM {
        const HUGE: usize = 2 << 20;
        let block = block.cast::<u8>().cast_mut();
        let address = block as usize;
        let first = address.next_multiple_of(HUGE);
        let last = (address + bytes) / HUGE * HUGE;
        // SAFETY: the advice changes nothing that a program could see, whatever the range. It may be refused.
        unsafe { libc::madvise(block.wrapping_add(first - address).cast(), last - first, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (block, bytes);
}

/// An empty vector with room for so many elements.
pub fn vec_with_capacity<T>(capacity: usize) -> Vec<T> {
    let vec = Vec::with_capacity(capacity);
    advise(vec.as_ptr(), capacity * size_of::<T>());
    vec
}
