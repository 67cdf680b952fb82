//! What the program asks of the C library's allocator.
//!
//! Batches, pages and frames come and go on some two dozen threads. With its own settings the allocator gives most of the
//! threads a heap of their own, keeps large pieces that were freed for the next ones, and so takes several times what the
//! limits on memory say; the same was found of an allocator with a heap for each thread. docs/architecture.md has figures.

use nix::libc;

/// Pieces from this size on, in bytes, are the system's own, to which they go back as soon as they are freed.
const MMAP_THRESHOLD_BYTES: i32 = 128 << 10;
/// What may be free at the top of a heap before it goes back, in bytes.
const TRIM_THRESHOLD_BYTES: i32 = 128 << 10;

/// Has all threads share as many heaps as there are processors, and freed memory go back soon. To be called before there
/// are other threads.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a setting of the allocator is made through its C interface")]
pub(crate) fn settle() {
    let processors =
        std::thread::available_parallelism().map_or(1, |count| count.get().try_into().unwrap_or(i32::MAX));
    for (setting, value) in [
        (libc::M_ARENA_MAX, processors.max(2)),
        (libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
        (libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES),
    ] {
        // SAFETY: mallopt(3) takes two numbers, and says by its result if it knows no such setting or value. It is not to
        // be called beside other threads that allocate; at the beginning of `main` there are none.
        unsafe { libc::mallopt(setting, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn settle() {}
