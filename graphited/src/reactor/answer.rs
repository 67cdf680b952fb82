//! Answers that the reactor itself writes.

use graphite_protocol::message::{write_error, write_response};
use graphite_protocol::{Wire, WireError};

use super::Core;
use super::session::Session;

/// Bytes of memory that the buffer for answers keeps.
const SCRATCH_BYTES_KEPT: usize = 256 << 10;

impl Core {
    /// Answers behind all earlier requests.
    pub(super) fn reply(&mut self, session: &Session, msgid: u32, reply: &impl Wire) {
        self.scratch.clear();
        write_response(&mut self.scratch, msgid, reply, self.shared.frame_bytes_max());
        session.connection.outbox.copy_in_order(&self.scratch);
        self.tidy_scratch();
    }

    /// Answers with an error behind all earlier requests.
    pub(super) fn reply_error(&mut self, session: &Session, msgid: u32, error: &WireError) {
        self.scratch.clear();
        write_error(&mut self.scratch, msgid, error, self.shared.frame_bytes_max());
        session.connection.outbox.copy_in_order(&self.scratch);
        // The answer that it stands for may have been long.
        self.tidy_scratch();
        tracing::debug!(sid = session.id(), msgid, code = %error.code, "refused");
    }

    /// Answers at once, past what is parked.
    pub(super) fn reply_now(&mut self, session: &Session, msgid: u32, reply: &impl Wire) {
        self.scratch.clear();
        write_response(&mut self.scratch, msgid, reply, self.shared.frame_bytes_max());
        session.connection.outbox.add(&self.scratch);
    }

    /// Answers with an error at once.
    pub(super) fn refuse_now(&mut self, session: &Session, msgid: u32, error: &WireError) {
        self.scratch.clear();
        write_error(&mut self.scratch, msgid, error, self.shared.frame_bytes_max());
        session.connection.outbox.add(&self.scratch);
    }

    /// Answers with an error; the connection is closed when that has left.
    pub(super) fn close_with(&mut self, session: &mut Session, msgid: u32, error: &WireError) {
        self.reply_error(session, msgid, error);
        session.closing = true;
        session.waiting.clear();
        session.waiting_bytes = 0;
        self.schedule(session);
    }

    pub(super) fn tidy_scratch(&mut self) {
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }
}
