//! Memory of plain elements: a `Vec<T>` whose `T` is forgotten.

use super::Element;
use crate::error::{Result, bail};
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// Data of at least this many bytes starts at a multiple of [`ALIGNMENT`].
const ALIGN_FROM: usize = 1024;

/// A cache line, and the widest vector register.
const ALIGNMENT: usize = 64;

/// A block of memory that came from, and can turn back into, a `Vec` of elements of `align` bytes alignment.
pub(super) struct Buffer {
    pointer: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a Buffer owns its bytes, and the elements (plain numbers and bools) are Send and Sync.
unsafe impl Send for Buffer {}
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A block for `bytes` bytes of elements of alignment `align`, and the offset at which the data starts.
    pub fn allocate(bytes: usize, align: usize, zeroed: bool) -> Result<(Buffer, usize)> {
        let padded = if bytes >= ALIGN_FROM { bytes.checked_add(ALIGNMENT) } else { Some(bytes.max(1)) };
        let layout = padded.map(|p| p.next_multiple_of(align)).and_then(|p| Layout::from_size_align(p, align).ok());
        let Some(layout) = layout else { bail!(ResourceExhausted, "can't allocate {bytes} bytes for a tensor") };
        // SAFETY: the layout has a size of at least one byte.
        let pointer = NonNull::new(unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } });
        let Some(pointer) = pointer else { bail!(ResourceExhausted, "out of memory: can't allocate {bytes} bytes for a tensor") };
        let offset = if bytes >= ALIGN_FROM {
            let address = pointer.as_ptr() as usize;
            address.next_multiple_of(ALIGNMENT) - address
        } else {
            0
        };
        Ok((Buffer { pointer, layout }, offset))
    }

    /// Takes over a vector's memory.
    pub fn from_vec<T: Element>(vec: Vec<T>) -> Buffer {
        let mut vec = ManuallyDrop::new(vec);
        let layout = Layout::array::<T>(vec.capacity()).expect("a vector's layout is valid");
        Buffer { pointer: NonNull::new(vec.as_mut_ptr().cast()).expect("a vector's pointer isn't null"), layout }
    }

    /// Turns back into a vector that holds all of the memory, if it was allocated for such elements.
    pub fn into_vec<T: Element>(self) -> Result<Vec<T>, Buffer> {
        if self.layout.align() != align_of::<T>() || !self.layout.size().is_multiple_of(size_of::<T>()) {
            return Err(self);
        }
        let buffer = ManuallyDrop::new(self);
        let capacity = buffer.layout.size() / size_of::<T>();
        // SAFETY: the memory was allocated with this alignment and size, and plain elements need no drop.
        // Padding before and after a tensor's data may hold any bytes; the caller slices the data out of it.
        Ok(unsafe { Vec::from_raw_parts(buffer.pointer.as_ptr().cast(), capacity, capacity) })
    }

    pub fn pointer(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated with this layout by the global allocator.
            unsafe { dealloc(self.pointer.as_ptr(), self.layout) }
        }
    }
}
