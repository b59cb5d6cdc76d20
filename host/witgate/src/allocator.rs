//! The process's allocator: mimalloc, which is good at short-lived blocks of many sizes on a few threads.
//!
//! Its own crate asks for every block with its alignment. Above a kilobyte that takes mimalloc's slow path, which sets aside more than was
//! asked for and makes the frees of the whole page slower, though nearly every block needs no more alignment than all have.

#![allow(
    unsafe_code,
    reason = "a global allocator cannot be written without it"
)]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{mi_free, mi_malloc, mi_realloc, mi_zalloc};
use mimalloc::MiMalloc;

/// mimalloc, asked without an alignment where its blocks have it anyway.
pub struct Allocator;

/// What mimalloc aligns every block to that is at least as long (its `MI_MAX_ALIGN_SIZE`).
const BLOCK_ALIGN: usize = 16;

/// Whether every block of this size is aligned as it has to be.
const fn is_aligned_anyway(size: usize, align: usize) -> bool {
    align <= BLOCK_ALIGN && align <= size
}

// SAFETY: mimalloc keeps `GlobalAlloc`'s contract for blocks with an alignment. The others are its `malloc`'s, which aligns as C's does: a
// block of at least 16 bytes to 16, a smaller one to the largest power of two that fits it. Both are given back by `mi_free`.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match is_aligned_anyway(layout.size(), layout.align()) {
            // SAFETY: any size may be asked for.
            true => unsafe { mi_malloc(layout.size()).cast() },
            // SAFETY: the caller's layout, as it is.
            false => unsafe { MiMalloc.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_aligned_anyway(layout.size(), layout.align()) {
            // SAFETY: any size may be asked for.
            true => unsafe { mi_zalloc(layout.size()).cast() },
            // SAFETY: the caller's layout, as it is.
            false => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block is mimalloc's, however it was asked for.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match is_aligned_anyway(size, layout.align()) {
            // SAFETY: the block is mimalloc's, however it was asked for.
            true => unsafe { mi_realloc(block.cast(), size).cast() },
            // SAFETY: the caller's layout, as it is.
            false => unsafe { MiMalloc.realloc(block, layout, size) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_size_are_aligned_and_keep_their_bytes() {
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            for size in (1..200).chain([1000, 1025, 1500, 4097, 70_000]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: sizes are above zero, and every block is given back with the layout it was asked for.
                unsafe {
                    for zeroed in [false, true] {
                        let block = match zeroed {
                            true => Allocator.alloc_zeroed(layout),
                            false => Allocator.alloc(layout),
                        };
                        assert_eq!(block.addr() % align, 0, "{size} {align}");
                        if zeroed {
                            let bytes = std::slice::from_raw_parts(block, size);
                            assert!(bytes.iter().all(|byte| *byte == 0));
                        }
                        block.write_bytes(7, size);
                        let longer = Allocator.realloc(block, layout, size * 2 + 1);
                        assert_eq!(longer.addr() % align, 0, "{size} {align}");
                        let bytes = std::slice::from_raw_parts(longer, size);
                        assert!(bytes.iter().all(|byte| *byte == 7));
                        let layout = Layout::from_size_align(size * 2 + 1, align).unwrap();
                        Allocator.dealloc(longer, layout);
                    }
                }
            }
        }
    }
}
