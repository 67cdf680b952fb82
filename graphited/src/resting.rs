//! Memory of cursors that rest between two requests.
//!
//! 1. All cursors of all sessions together keep no more than one statement may take. Their number alone is no limit:
//!    each may have sorted as much as a statement can.
//! 2. A cursor that is the only one may rest, whatever it keeps; so no statement is refused for good.
//! 3. What a cursor keeps is counted when it comes to rest, and given back when it is dropped or closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use graphite_protocol::{ErrorCode, WireError};

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
        let mut share = Share { room: self.clone(), bytes: 0 };
        share.resize(bytes)?;
        Ok(share)
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
    /// `too-many-requests` if it has grown and there is no room for that.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<(), WireError> {
        let (before, max) = (self.bytes, self.room.bytes_max);
        let changed = self.room.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            let others = taken.saturating_sub(before);
            let after = others.saturating_add(bytes);
            (bytes <= before || others == 0 || after <= max).then_some(after)
        });
        match changed {
            Ok(_) => {
                self.bytes = bytes;
                Ok(())
            }
            Err(taken) => {
                let others = taken.saturating_sub(before);
                let message = format!(
                    "cursors that rest keep {others} bytes in memory, and the {bytes} of this one would pass the \
                     limit of {max} for all sessions together; fetch the rest of some, or close them"
                );
                Err(WireError::new(ErrorCode::TooManyRequests, message))
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
        let room = Room::new(100);
        let mut first = room.take(1000).unwrap();
        assert_eq!(room.take(1).unwrap_err().code, ErrorCode::TooManyRequests);
        first.resize(60).unwrap();
        let mut second = room.take(40).unwrap();
        assert!(second.resize(41).is_err());
        assert!(room.take(1).is_err());
        second.resize(30).unwrap();
        let third = room.take(10).unwrap();
        drop(first);
        second.resize(90).unwrap();
        drop((second, third));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
