//! What the program asks of the C library's allocator.
//!
//! Batches, pages and frames come and go on some two dozen threads. With its own settings the allocator gives most of the
//! threads a heap of their own, keeps large pieces that were freed for the next ones, and so takes several times what the
//! limits on memory say; the same was found of an allocator with a heap for each thread. docs/architecture.md has figures.

/// Has all threads share as many heaps as there are processors, and freed memory go back soon. To be called before there
/// are other threads.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a setting of the allocator is made through its C interface")]
pub(crate) fn settle() {
    use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};

    /// Pieces from this size on are the system's own, to which they go back as soon as they are freed; and what may be free
    /// at the top of a heap before it goes back. With less, a picture for the monitor costs twice as much, for its frame is
    /// then taken from the system piece by piece as it grows.
    const KEPT_BYTES_MAX: i32 = 1 << 20;

    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let heaps = i32::try_from(processors).unwrap_or(i32::MAX).max(2);
    for (setting, value) in
        [(M_ARENA_MAX, heaps), (M_MMAP_THRESHOLD, KEPT_BYTES_MAX), (M_TRIM_THRESHOLD, KEPT_BYTES_MAX)]
    {
        // SAFETY: mallopt(3) takes two numbers, and says by its result if it knows no such setting or value. It is not to
        // be called beside other threads that allocate; at the beginning of `main` there are none.
        let is_set = unsafe { mallopt(setting, value) } == 1;
        // Without it all works, and takes more memory.
        debug_assert!(is_set, "mallopt({setting}, {value}) is refused");
    }
}

/// Other C libraries have one heap, or no such settings.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn settle() {}
