//! The allocator: a fixed arena from which memory is only taken, and the system's for what does not fit.
//!
//! A run allocates a few kilobytes (with thousands of rules, megabytes), for a few hundred microseconds, and is
//! replaced by COMMAND. An allocator that maps and unmaps memory for that costs more than all the work in between.
//! What is never touched of the arena costs nothing.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

const SIZE: usize = 4 << 20;

const ALIGN: usize = 16;

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; SIZE]>);

// SAFETY: every byte is handed out once at most, by an atomic counter.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; SIZE]));

/// How much is handed out. Not zero at first, so that it lies among initialised data, on a page that the kernel
/// has written to before this program runs.
static USED: AtomicUsize = AtomicUsize::new(ALIGN);

struct Once;

fn start() -> usize {
    ARENA.0.get() as usize
}

fn is_ours(pointer: *mut u8) -> bool {
    (start()..start() + SIZE).contains(&(pointer as usize))
}

// SAFETY: `alloc` gives out disjoint, aligned parts of the arena, which lives for ever, or the system's
// memory; `dealloc` and `realloc` hand back to the system only what came from there.
unsafe impl GlobalAlloc for Once {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // An alignment is a power of two. `used` is at most SIZE, so that nothing overflows here.
        let aligned = |used: usize| (used + layout.align() - 1) & !(layout.align() - 1);
        let fits = USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            if layout.align() > ALIGN {
                return None;
            }
            aligned(used).checked_add(layout.size()).filter(|end| *end <= SIZE)
        });
        match fits {
            // SAFETY: that `size` fits behind it was checked.
            Ok(used) => unsafe { ARENA.0.get().cast::<u8>().add(aligned(used)) },
            // SAFETY: the caller's promises about the layout hold for the system too.
            Err(_) => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if !is_ours(pointer) {
            // SAFETY: it came from the system with this layout.
            unsafe { System.dealloc(pointer, layout) }
            return;
        }
        // The last one is taken back, so that short-lived buffers do not use the arena up.
        let at = pointer as usize - start();
        let _ = USED.compare_exchange(at + layout.size(), at, Ordering::Relaxed, Ordering::Relaxed);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_ours(pointer) {
            // SAFETY: it came from the system with this layout; the caller vouches for the size.
            return unsafe { System.realloc(pointer, layout, size) };
        }
        let at = pointer as usize - start();
        let grows = at.checked_add(size).is_some_and(|end| end <= SIZE);
        if grows
            && USED
                .compare_exchange(at + layout.size(), at + size, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            return pointer;
        }
        // SAFETY: the caller vouches that the new size makes a valid layout.
        let layout_new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as in `alloc`; both blocks are valid for the smaller size and do not overlap.
        unsafe {
            let new = self.alloc(layout_new);
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(pointer, new, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            new
        }
    }
}

#[global_allocator]
static ALLOCATOR: Once = Once;

#[cfg(test)]
mod tests {
    #[test]
    fn survives_growth_past_the_arena() {
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for round in 0..2000_usize {
            let mut one = vec![(round % 251) as u8; 100 + round % 7];
            one.extend(std::iter::repeat_n((round % 251) as u8, 50));
            kept.push(one);
            if round % 3 == 0 {
                kept.swap_remove(round % kept.len());
            }
        }
        assert!(kept.iter().all(|one| one.iter().all(|byte| *byte == one[0])));
        let big = vec![7_u8; 1 << 20];
        assert!(big.iter().all(|byte| *byte == 7));
    }
}
