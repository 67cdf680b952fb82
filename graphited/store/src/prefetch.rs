//! Asking for memory before it is looked at, so that looks at several places wait together and not one after another.
//!
//! The one `unsafe` of this crate. It is not in the way of any look: what is asked for here is looked at later, in the
//! safe way and as if nobody had asked.

/// Asks for the cache line of `address`, whatever is there. Does nothing on processors other than x86-64.
#[inline]
#[cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "the instruction is there only as a function on pointers")
)]
pub(crate) fn prefetch(address: *const u8) {
    // SAFETY: the instruction is a hint. It reads nothing that the program could see, changes nothing, and passes over
    // an address that is not mapped, or not any more. So any address will do, null and freed ones among them.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_may_be_asked_for() {
        let freed = std::ptr::from_ref(&*Box::new(7_u8));
        [std::ptr::null(), std::ptr::dangling(), freed, freed.wrapping_add(1 << 46)]
            .into_iter()
            .for_each(prefetch);
    }
}
