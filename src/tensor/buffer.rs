//! Memory of plain elements: a `Vec<T>` whose `T` is forgotten.

use super::Element;
use crate::compute::pages;
use crate::error::{Result, bail};
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Data of at least this many bytes starts at a multiple of [`ALIGNMENT`].
const ALIGN_FROM: usize = 1024;

/// A cache line, and the widest vector register.
const ALIGNMENT: usize = 64;

/// Blocks of these sizes are kept when they are freed: the system gives memory page by page, at about the cost of writing it
/// twice, and a step asks for the same sizes as the one before.
const KEPT_SIZES: std::ops::RangeInclusive<usize> = 64 << 10..=32 << 20;

/// Blocks of so many bytes together are kept at most.
const MOST_KEPT: usize = 256 << 20;

/// Blocks that are free, the ones freed last at the end.
struct Kept {
    blocks: Vec<(Layout, NonNull<u8>)>,
    bytes: usize,
}

// SAFETY: free blocks belong to nobody.
unsafe impl Send for Kept {}

static KEPT: Mutex<Kept> = Mutex::new(Kept { blocks: Vec::new(), bytes: 0 });

impl Kept {
    fn take(layout: Layout) -> Option<NonNull<u8>> {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.blocks.iter().rposition(|(l, _)| *l == layout)?;
        kept.bytes -= layout.size();
        Some(kept.blocks.remove(at).1)
    }

    /// Keeps a block if there is room, else hands it back.
    fn put(layout: Layout, block: NonNull<u8>) -> Option<NonNull<u8>> {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + layout.size() > MOST_KEPT {
            return Some(block);
        }
        kept.bytes += layout.size();
        kept.blocks.push((layout, block));
        None
    }
}

/// Gives the memory of free tensors back to the system.
pub(crate) fn release_kept() {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.bytes = 0;
    for (layout, block) in std::mem::take(&mut kept.blocks) {
        // SAFETY: allocated with this layout by the global allocator, and owned by nobody.
        unsafe { dealloc(block.as_ptr(), layout) }
    }
}

/// A block of memory that came from, and can turn back into, a `Vec` of elements of `align` bytes alignment.
pub(super) struct Buffer {
    pointer: NonNull<u8>,
    layout: Layout,
    /// The stamp of what it holds, 0 before somebody asks for it.
    stamp: AtomicU64,
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
        let again = if KEPT_SIZES.contains(&layout.size()) { Kept::take(layout) } else { None };
        if let (Some(block), true) = (again, zeroed) {
            // SAFETY: the block has this size.
            unsafe { block.as_ptr().write_bytes(0, layout.size()) };
        }
        let new = || {
            // SAFETY: the layout has a size of at least one byte.
            let block = NonNull::new(unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } })?;
            pages::advise(block.as_ptr(), layout.size());
            Some(block)
        };
        let pointer = again.or_else(new);
        let Some(pointer) = pointer else { bail!(ResourceExhausted, "out of memory: can't allocate {bytes} bytes for a tensor") };
        let offset = if bytes >= ALIGN_FROM {
            let address = pointer.as_ptr() as usize;
            address.next_multiple_of(ALIGNMENT) - address
        } else {
            0
        };
        Ok((Buffer { pointer, layout, stamp: AtomicU64::new(0) }, offset))
    }

    /// Takes over a vector's memory.
    pub fn from_vec<T: Element>(vec: Vec<T>) -> Buffer {
        let mut vec = ManuallyDrop::new(vec);
        let layout = Layout::array::<T>(vec.capacity()).expect("a vector's layout is valid");
        let pointer = NonNull::new(vec.as_mut_ptr().cast()).expect("a vector's pointer isn't null");
        Buffer { pointer, layout, stamp: AtomicU64::new(0) }
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

    /// A number that no other buffer has or had, and that this one has until it is changed.
    pub fn stamp(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        match self.stamp.load(Ordering::Relaxed) {
            0 => {
                let new = NEXT.fetch_add(1, Ordering::Relaxed);
                self.stamp.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed).map_or_else(|other| other, |_| new)
            }
            stamp => stamp,
        }
    }

    /// Says that the bytes are about to change.
    #[inline]
    pub fn change(&mut self) {
        *self.stamp.get_mut() = 0;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let free = match KEPT_SIZES.contains(&self.layout.size()) {
            true => Kept::put(self.layout, self.pointer),
            false => (self.layout.size() > 0).then_some(self.pointer),
        };
        if let Some(block) = free {
            // SAFETY: allocated with this layout by the global allocator.
            unsafe { dealloc(block.as_ptr(), self.layout) }
        }
    }
}
