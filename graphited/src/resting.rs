//! Memory of cursors that rest between two requests.
//!
//! 1. A cursor is let in only if all of all sessions together keep no more than one statement may take. Their number
//!    alone is no limit: each may have sorted as much as a statement can.
//! 2. A cursor that is the only one may rest, whatever it keeps, and so may one that keeps little, for the number of
//!    cursors bounds those; so no statement is refused for good.
//! 3. What a cursor keeps is counted when it comes to rest, and given back when it is dropped or closed. One that was let
//!    in stays though it keeps more after a fetch, as long as that is not more than rows on their way may be: for when it
//!    is closed, the client cannot get its rows again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use graphite_protocol::{ErrorCode, WireError};

/// What a cursor may keep in any case.
const SMALL_BYTES: u64 = 64 << 10;
/// What the rows that a cursor has taken and not shown may be, which is now little and now much.
const ROWS_BYTES: u64 = 1 << 20;

/// The room that there is for cursors.
#[derive(Debug)]
pub(crate) struct Room {
    bytes_max: u64,
    /// What is taken of it. The shares are its whole truth; nothing else is ordered by it.
    taken: AtomicU64,
}

/// What one cursor has of the room.
#[derive(Debug)]
pub(crate) struct Share {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    /// Room for so many bytes.
    pub(crate) fn new(bytes_max: u64) -> Arc<Room> {
        Arc::new(Room { bytes_max, taken: AtomicU64::new(0) })
    }

    /// Room for a cursor that keeps so many bytes.
    ///
    /// # Errors
    /// `too-many-requests`.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Result<Share, WireError> {
        let max = self.bytes_max;
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |others| {
            let after = others.saturating_add(bytes);
            (others == 0 || bytes <= SMALL_BYTES || after <= max).then_some(after)
        });
        match taken {
            Ok(_) => Ok(Share { room: self.clone(), bytes }),
            Err(others) => {
                let message = format!(
                    "cursors that rest keep {others} bytes in memory, and the {bytes} of this one would pass the \
                     limit of {max} for all sessions together; fetch the rest of some, or close them"
                );
                Err(WireError::new(ErrorCode::TooManyRequests, message))
            }
        }
    }
}

impl Share {
    /// The cursor is about to be dropped.
    pub(crate) fn release(&mut self) {
        self.room.taken.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }

    /// The cursor keeps so many bytes by now.
    ///
    /// # Errors
    /// `too-large` if it has grown much and there is no room for that.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<(), WireError> {
        let (before, max) = (self.bytes, self.room.bytes_max);
        let taken = self.room.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            let others = taken.saturating_sub(before);
            let after = others.saturating_add(bytes);
            (bytes <= before.max(ROWS_BYTES) || others == 0 || after <= max).then_some(after)
        });
        match taken {
            Ok(_) => {
                self.bytes = bytes;
                Ok(())
            }
            Err(taken) => {
                let message = format!(
                    "the cursor was closed: it keeps {bytes} bytes in memory by now, which with those of other \
                     cursors would pass the limit of {max} for all sessions together; run the statement again when \
                     they have ended ({} bytes), or raise statement_bytes_max",
                    taken.saturating_sub(before)
                );
                Err(WireError::new(ErrorCode::TooLarge, message))
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_and_come_back() {
        const MAX: u64 = 100 * SMALL_BYTES;
        let room = Room::new(MAX);
        let mut first = room.take(10 * MAX).unwrap();
        let refused = |bytes| room.take(bytes).is_err_and(|error| error.code == ErrorCode::TooManyRequests);
        assert!(refused(SMALL_BYTES + 1));
        first.resize(MAX - 2 * SMALL_BYTES).unwrap();
        let mut second = room.take(2 * SMALL_BYTES).unwrap();
        assert!(refused(SMALL_BYTES + 1));
        let small = room.take(SMALL_BYTES).expect("what keeps little may always rest");
        second.resize(ROWS_BYTES).expect("rows on their way are no reason to close a cursor");
        assert_eq!(second.resize(ROWS_BYTES + 1).unwrap_err().code, ErrorCode::TooLarge);
        drop(first);
        second.resize(MAX - SMALL_BYTES).unwrap();
        assert!(refused(SMALL_BYTES + 1));
        second.resize(0).unwrap();
        let third = room.take(MAX - SMALL_BYTES).unwrap();
        drop((second, third, small));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
