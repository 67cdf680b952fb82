//! What is on its way to a client: bytes in the order in which they are sent, and replies that wait for an earlier
//! one.
//!
//! 1. Frames never interleave: whoever adds one adds all of it, under one lock.
//! 2. Replies of ordered requests leave in the order of their [`Slot`]s. A slot is taken when the request is executed;
//!    a reply that is ready while an earlier one is parked waits in its slot.
//! 3. Any thread may add and send. The bytes are sent at once if the socket takes them; what it does not take is sent
//!    by the reactor when the socket has room again.
//! 4. Nothing blocks: the socket is in nonblocking mode, and the lock is not held while the system sends. For that may
//!    hand the processor to the client, which asks for more; and whoever takes that up would wait for the lock.
//! 5. One thread sends at a time. Whoever comes meanwhile has nothing to wait for: the one who is at it sends what was
//!    added, looks at the socket once more before it takes it for full, and says that it was asked.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often a thread that sends goes on with what was added meanwhile.
const ROUNDS_MAX: u32 = 16;
/// An empty buffer past this gives its memory back.
const KEEP_BYTES: usize = 64 << 10;

/// The place of a reply among those of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u64);

impl Slot {
    /// How many slots of the connection were taken before it.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// How a sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Everything that may leave has left, or does by the hand of another thread.
    All,
    /// The reactor has to look: somebody asked meanwhile for what is done now, or more is added all the time than this
    /// thread is to stay for.
    ForReactor,
    /// The socket is full.
    Blocked,
    /// The socket is full, and was not before.
    BlockedNow,
    /// The other side is gone.
    Gone,
}

/// What stands in a slot.
#[derive(Debug)]
enum Reply {
    /// It comes later, with so many bytes.
    Parked(usize),
    /// It waits for those before it.
    Ready(Vec<u8>),
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that were sent.
    sent: usize,
    /// Replies from slot `first` on.
    slots: VecDeque<Reply>,
    first: u64,
    /// Bytes of the replies in `slots`, and of those that come into them.
    held_bytes: usize,
    /// Bytes that a thread is sending, outside of the lock.
    under_way: usize,
    is_sending: bool,
    /// Somebody asked the one who sends to send.
    is_asked: bool,
    is_blocked: bool,
    is_gone: bool,
    /// Bytes that ever left.
    progress: u64,
}

/// The outbox of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    /// Bytes that wait, in order or held: for a look without the lock.
    waiting: AtomicUsize,
    /// Whether there are bytes that may leave, and nobody is sending them at this moment.
    has_to_send: AtomicBool,
    /// Parked replies and those behind them.
    parked: AtomicUsize,
    /// Nothing leaves any more.
    is_gone: AtomicBool,
}

impl Outbox {
    /// Every change of the queue is complete before anything in it can panic.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, queue: &Queue) {
        let unsent = queue.bytes.len() - queue.sent;
        self.waiting.store(unsent + queue.under_way + queue.held_bytes, Ordering::Release);
        self.parked.store(queue.slots.len(), Ordering::Release);
        self.has_to_send.store(unsent > 0 && !queue.is_sending, Ordering::Release);
        self.is_gone.store(queue.is_gone, Ordering::Release);
    }

    /// Whether nothing leaves any more: the outbox was closed, or the socket failed.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Whether there is something to send, and nobody is sending at this moment.
    pub(crate) fn has_to_send(&self) -> bool {
        self.has_to_send.load(Ordering::Acquire)
    }

    /// Bytes that wait for the client.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Replies that may not leave yet.
    pub(crate) fn parked(&self) -> usize {
        self.parked.load(Ordering::Acquire)
    }

    /// Whether the socket took less than there was.
    pub(crate) fn is_blocked(&self) -> bool {
        self.lock().is_blocked
    }

    /// Bytes that ever left: for whoever wants to see whether the client reads.
    pub(crate) fn progress(&self) -> u64 {
        self.lock().progress
    }

    /// Adds frames that overtake parked replies.
    pub(crate) fn add(&self, frames: &[u8]) {
        let mut queue = self.lock();
        queue.append(frames);
        self.publish(&queue);
    }

    /// Takes a slot for a reply of so many bytes that comes later. They count as waiting from now on, for whoever
    /// parked the reply holds it in memory.
    pub(crate) fn reserve(&self, bytes: usize) -> Slot {
        let mut queue = self.lock();
        let bytes = if queue.is_gone { 0 } else { bytes };
        queue.held_bytes += bytes;
        queue.slots.push_back(Reply::Parked(bytes));
        self.publish(&queue);
        Slot(queue.first + queue.slots.len() as u64 - 1)
    }

    /// Adds the reply of a slot.
    pub(crate) fn fill(&self, slot: Slot, frame: Vec<u8>) {
        let mut queue = self.lock();
        let Some(index) = slot.0.checked_sub(queue.first).and_then(|index| usize::try_from(index).ok())
        else {
            return;
        };
        let (bytes, is_gone) = (frame.len(), queue.is_gone);
        let Some(place) = queue.slots.get_mut(index) else { return };
        let frame = if is_gone { Vec::new() } else { frame };
        let reserved = match std::mem::replace(place, Reply::Ready(frame)) {
            Reply::Parked(reserved) => reserved,
            Reply::Ready(earlier) => earlier.len(),
        };
        queue.held_bytes = queue.held_bytes.saturating_sub(reserved) + if is_gone { 0 } else { bytes };
        queue.release();
        self.publish(&queue);
    }

    /// Adds a reply behind all earlier ones, without a copy if nothing waits.
    pub(crate) fn add_in_order(&self, frame: Vec<u8>) {
        let mut queue = self.lock();
        queue.held_bytes += frame.len();
        queue.slots.push_back(Reply::Ready(frame));
        queue.release();
        self.publish(&queue);
    }

    /// Adds replies, copied, behind all earlier ones.
    pub(crate) fn copy_in_order(&self, frames: &[u8]) {
        let mut queue = self.lock();
        if queue.slots.is_empty() {
            queue.append(frames);
        } else {
            queue.held_bytes += frames.len();
            queue.slots.push_back(Reply::Ready(frames.to_owned()));
        }
        self.publish(&queue);
    }

    /// Sends what the socket takes.
    pub(crate) fn send(&self, mut socket: impl Write) -> Sent {
        let mut queue = self.lock();
        if queue.is_sending {
            queue.is_asked = true;
            return Sent::All;
        }
        queue.is_sending = true;
        let (mut buffer, mut rounds) = (Vec::new(), 0);
        loop {
            let sent = queue.take(&mut buffer);
            self.publish(&queue);
            drop(queue);
            let (sent, end) = write(&mut socket, &buffer, sent);
            queue = self.lock();
            rounds += 1;
            let result = match queue.took(&mut buffer, sent, end) {
                None if rounds < ROUNDS_MAX => continue,
                None => queue.leave_to_reactor(),
                Some(result) => result,
            };
            self.publish(&queue);
            return result;
        }
    }

    /// The client is gone: forgets everything, and takes nothing any more.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.is_gone = true;
        queue.bytes = Vec::new();
        queue.sent = 0;
        // What is under way is let go by whoever sends it.
        // Slots stay, so that replies that come later find theirs.
        for reply in &mut queue.slots {
            match reply {
                Reply::Parked(bytes) => *bytes = 0,
                Reply::Ready(frame) => *frame = Vec::new(),
            }
        }
        queue.held_bytes = 0;
        self.publish(&queue);
    }
}

impl Queue {
    fn append(&mut self, frames: &[u8]) {
        if !self.is_gone {
            self.bytes.extend_from_slice(frames);
        }
    }

    /// Moves replies whose turn it is.
    fn release(&mut self) {
        while let Some(Reply::Ready(_)) = self.slots.front() {
            let Some(Reply::Ready(frame)) = self.slots.pop_front() else { return };
            self.first += 1;
            self.held_bytes = self.held_bytes.saturating_sub(frame.len());
            if self.is_gone {
                continue;
            }
            if self.bytes.is_empty() {
                self.bytes = frame;
            } else {
                self.bytes.extend_from_slice(&frame);
            }
        }
    }

    /// Puts what is to be sent into `buffer`, which is empty, and returns how much of it was sent already.
    fn take(&mut self, buffer: &mut Vec<u8>) -> usize {
        std::mem::swap(&mut self.bytes, buffer);
        let sent = std::mem::take(&mut self.sent);
        self.under_way = buffer.len() - sent;
        sent
    }

    /// The system took `buffer` up to `sent`, and stopped for the reason `end`. `None` if there is more to be sent now.
    fn took(&mut self, buffer: &mut Vec<u8>, sent: usize, end: Option<io::Error>) -> Option<Sent> {
        let unsent = buffer.len() - sent;
        self.progress += (self.under_way - unsent) as u64;
        self.under_way = 0;
        let is_full = end.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if self.is_gone || end.is_some() && !is_full {
            self.is_sending = false;
            return Some(self.gone());
        }
        if is_full {
            // What was added meanwhile comes behind the rest.
            let added = std::mem::replace(&mut self.bytes, std::mem::take(buffer));
            self.bytes.extend_from_slice(&added);
            self.sent = sent;
            self.tidy();
            // Whoever asked may have been told by the system that there is room, which it does only once.
            if std::mem::take(&mut self.is_asked) {
                return None;
            }
            self.is_sending = false;
            let was_blocked = std::mem::replace(&mut self.is_blocked, true);
            return Some(if was_blocked { Sent::Blocked } else { Sent::BlockedNow });
        }
        buffer.clear();
        if !self.bytes.is_empty() {
            return None;
        }
        // One of the two empty buffers is kept, if it is not large.
        let kept = std::mem::take(buffer);
        self.bytes = if kept.capacity() > KEEP_BYTES { Vec::new() } else { kept };
        self.is_sending = false;
        self.is_blocked = false;
        Some(if std::mem::take(&mut self.is_asked) { Sent::ForReactor } else { Sent::All })
    }

    /// More was added again and again, and others wait for this thread.
    fn leave_to_reactor(&mut self) -> Sent {
        self.is_sending = false;
        self.is_asked = false;
        Sent::ForReactor
    }

    /// Drops what was sent, once that is most of it.
    fn tidy(&mut self) {
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn gone(&mut self) -> Sent {
        self.is_gone = true;
        self.bytes.clear();
        self.sent = 0;
        Sent::Gone
    }
}

/// Writes `bytes` from `sent` on; returns up to where they were taken, and why no further.
fn write(socket: &mut impl Write, bytes: &[u8], mut sent: usize) -> (usize, Option<io::Error>) {
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match socket.write(rest) {
            Ok(0) => return (sent, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (sent, Some(error)),
        }
    }
    (sent, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that takes so many bytes.
    struct Narrow {
        room: usize,
        got: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.room).min(3);
            self.room -= count;
            self.got.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn replies_leave_in_the_order_of_their_slots() {
        let outbox = Outbox::default();
        let mut socket = Narrow { room: 100, got: Vec::new() };
        outbox.copy_in_order(b"a");
        let first = outbox.reserve(1);
        let second = outbox.reserve(10);
        assert_eq!(outbox.waiting_bytes(), 12, "what comes later is in memory already");
        outbox.add_in_order(b"d".to_vec());
        outbox.add(b"!");
        assert_eq!(outbox.send(&mut socket), Sent::All);
        assert_eq!(socket.got, b"a!", "what overtakes, overtakes");
        outbox.fill(second, b"c".to_vec());
        assert_eq!(outbox.waiting_bytes(), 3);
        assert_eq!(outbox.send(&mut socket), Sent::All);
        assert_eq!(socket.got, b"a!");
        assert_eq!((outbox.parked(), outbox.waiting_bytes()), (3, 3));
        outbox.fill(first, b"b".to_vec());
        outbox.send(&mut socket);
        assert_eq!(socket.got, b"a!bcd");
        assert_eq!((outbox.parked(), outbox.waiting_bytes(), outbox.progress()), (0, 0, 5));
        outbox.add_in_order(b"e".to_vec());
        outbox.send(&mut socket);
        assert_eq!(socket.got, b"a!bcde");
    }

    #[test]
    fn a_full_socket_is_told_once_and_goes_on_where_it_was() {
        let outbox = Outbox::default();
        let mut socket = Narrow { room: 4, got: Vec::new() };
        outbox.add(b"0123456789");
        assert_eq!(outbox.send(&mut socket), Sent::BlockedNow);
        assert_eq!(outbox.send(&mut socket), Sent::Blocked);
        assert_eq!(outbox.waiting_bytes(), 6);
        socket.room = 2;
        outbox.add(b"ab");
        assert_eq!(outbox.send(&mut socket), Sent::Blocked);
        socket.room = 100;
        assert_eq!(outbox.send(&mut socket), Sent::All);
        assert_eq!(socket.got, b"0123456789ab");
    }

    /// A socket during whose sending others do something with the outbox.
    struct Busy<'a, F: FnMut(usize)> {
        socket: &'a mut Narrow,
        meanwhile: F,
        writes: usize,
    }

    impl<F: FnMut(usize)> Write for Busy<'_, F> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let result = self.socket.write(bytes);
            (self.meanwhile)(self.writes);
            self.writes += 1;
            result
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_comes_while_a_thread_sends_is_sent_by_it_and_nobody_waits() {
        let outbox = Outbox::default();
        let mut socket = Narrow { room: 100, got: Vec::new() };
        outbox.add(b"012");
        let meanwhile = |writes| {
            if writes == 0 {
                outbox.add(b"34");
                assert_eq!(outbox.waiting_bytes(), 5, "what is under way counts");
                assert!(!outbox.has_to_send());
                assert_eq!(outbox.send(Narrow { room: 0, got: Vec::new() }), Sent::All);
            }
        };
        let result = outbox.send(Busy { socket: &mut socket, meanwhile, writes: 0 });
        assert_eq!((result, outbox.waiting_bytes(), outbox.progress()), (Sent::ForReactor, 0, 5));
        assert_eq!(socket.got, b"01234");
        outbox.add(b"5");
        assert!(outbox.has_to_send());
        assert_eq!(outbox.send(&mut socket), Sent::All, "who asked was told");
    }

    #[test]
    fn a_thread_that_sends_is_let_go_though_more_comes_all_the_time() {
        let outbox = Outbox::default();
        let mut socket = Narrow { room: 1000, got: Vec::new() };
        outbox.add(b"0");
        let result = outbox.send(Busy { socket: &mut socket, meanwhile: |_| outbox.add(b"1"), writes: 0 });
        assert_eq!((result, socket.got.len()), (Sent::ForReactor, ROUNDS_MAX as usize));
        assert!(outbox.has_to_send());
        assert_eq!(outbox.send(&mut socket), Sent::All);
        assert_eq!(socket.got.len(), ROUNDS_MAX as usize + 1);
    }

    #[test]
    fn a_long_answer_s_memory_is_given_back() {
        let outbox = Outbox::default();
        let long = vec![7; 2 * KEEP_BYTES];
        outbox.add(&long);
        let meanwhile = |writes| {
            if writes == 0 {
                outbox.add(&long);
            }
        };
        let mut socket = Narrow { room: usize::MAX, got: Vec::new() };
        outbox.send(Busy { socket: &mut socket, meanwhile, writes: 0 });
        assert_eq!(socket.got.len(), 4 * KEEP_BYTES);
        assert!(outbox.lock().bytes.capacity() <= KEEP_BYTES);
    }

    /// The system says only once that there is room. If it says so to somebody who finds a thread at it that has just
    /// been told the opposite, that thread has to look again.
    #[test]
    fn room_that_comes_while_a_thread_finds_none_is_not_missed() {
        let outbox = Outbox::default();
        let mut socket = Narrow { room: 0, got: Vec::new() };
        outbox.add(b"0");
        assert_eq!(outbox.send(&mut socket), Sent::BlockedNow);
        let mut asked = false;
        let meanwhile = |_| {
            if !std::mem::replace(&mut asked, true) {
                outbox.add(b"1");
                outbox.send(Narrow { room: 0, got: Vec::new() });
            }
        };
        let mut busy = Busy { socket: &mut socket, meanwhile, writes: 0 };
        assert_eq!(outbox.send(&mut busy), Sent::Blocked);
        assert_eq!(busy.writes, 2, "it looked again");
        socket.room = 9;
        assert_eq!(outbox.send(&mut socket), Sent::All);
        assert_eq!(socket.got, b"01");
    }

    #[test]
    fn an_outbox_that_is_closed_while_a_thread_sends_stays_empty() {
        let outbox = Outbox::default();
        let mut socket = Narrow { room: 2, got: Vec::new() };
        outbox.add(b"0123");
        let result = outbox.send(Busy { socket: &mut socket, meanwhile: |_| outbox.close(), writes: 0 });
        assert_eq!((result, outbox.waiting_bytes(), outbox.has_to_send()), (Sent::Gone, 0, false));
    }

    #[test]
    fn a_closed_outbox_keeps_nothing() {
        let outbox = Outbox::default();
        let slot = outbox.reserve(4);
        outbox.copy_in_order(b"held");
        outbox.close();
        assert_eq!(outbox.waiting_bytes(), 0);
        outbox.fill(slot, b"late".to_vec());
        outbox.add(b"later");
        let mut socket = Narrow { room: 100, got: Vec::new() };
        assert_eq!(outbox.send(&mut socket), Sent::Gone);
        assert!(socket.got.is_empty());
        assert_eq!((outbox.waiting_bytes(), outbox.parked()), (0, 0));
    }
}
