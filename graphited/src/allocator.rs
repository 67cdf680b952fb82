//! The allocator of the program, and the one setting of it that matters here.
//!
//! It wastes little on pages and batches that come and go on several threads, so that what the process takes is about what
//! its limits say. Its default is to keep freed memory for a second before the system gets it back; during an import that
//! would be as much as the import's own limits once more.

use std::ffi::c_long;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`; the bindings have no name for it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Milliseconds after which freed memory goes back, ten times as many for what is free in larger pieces.
const PURGE_DELAY_MS: c_long = 1;

/// Has the allocator give freed memory back soon. To be called before there are other threads.
#[expect(unsafe_code, reason = "a setting of the allocator is made through its C interface")]
pub(crate) fn settle() {
    // SAFETY: the function stores a number into a table of settings, if the first argument is below the table's length,
    // and does nothing else if it is not (`options.c`: it asserts that only in its debug builds). It needs no allocation,
    // no initialisation, and at the beginning of `main` there is no other thread that reads the table.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) }
}
