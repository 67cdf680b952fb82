//! A connection: frames out, frames in, and which answer belongs to which request.
//!
//! 1. Requests are answered in the order in which they were sent, which is that of `outstanding`; but some
//!    overtake, and theirs are kept until they are asked for. An answer that nobody waits for any more, for that
//!    of a later request was read, is read over.
//! 2. Sending never waits for room while answers can be read: both sides could otherwise wait for each other
//!    for ever, the daemon for a client that reads and the client for a daemon that does.
//! 3. After the first failure `broken` stays set, for the stream may end within a frame.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use graphite_protocol::message::{Body, Message, write_request_by};
use graphite_protocol::messages::{Notification, Request};
use graphite_protocol::{DecodeError, Encoder, FRAME_BYTES_MAX, FrameError, FrameReader, Wire, WireError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

use crate::error::{Error, Result};

/// What is gathered before it is sent, when many requests are sent one after another.
const SEND_BYTES: usize = 64 << 10;

/// What a sent buffer keeps of its memory.
const KEEP_BYTES: usize = 256 << 10;

/// What was read from an answer.
type Read<T> = std::result::Result<T, DecodeError>;

/// A request whose answer was not read.
#[derive(Debug)]
struct Sent {
    msgid: u32,
    /// The answer, if it came before that of an earlier request.
    overtook: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    reader: FrameReader,
    out: Vec<u8>,
    outstanding: VecDeque<Sent>,
    next_msgid: u32,
    broken: bool,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Connection {
        Connection {
            stream,
            reader: FrameReader::new(FRAME_BYTES_MAX),
            out: Vec::new(),
            outstanding: VecDeque::new(),
            next_msgid: 0,
            broken: false,
        }
    }

    /// Puts a request into the buffer, which is sent when it is long enough or [`Connection::flush`] is called.
    pub(crate) fn enqueue<R: Request>(&mut self, request: &R) -> Result<u32> {
        self.enqueue_by(R::METHOD, |out| request.write(out))
    }

    /// As [`Connection::enqueue`], with the one value that `params` writes as params.
    pub(crate) fn enqueue_by(&mut self, method: &str, params: impl FnOnce(&mut Encoder<'_>)) -> Result<u32> {
        if self.broken {
            return Err(Error::Broken);
        }
        let msgid = self.next_msgid;
        let written = write_request_by(&mut self.out, msgid, method, FRAME_BYTES_MAX, params);
        written.map_err(|error| match error {
            FrameError::TooLong { bytes, max } => Error::RequestTooLong { bytes, max },
            FrameError::Empty => Error::from(error),
        })?;
        self.next_msgid = msgid.wrapping_add(1);
        self.outstanding.push_back(Sent { msgid, overtook: None });
        if self.out.len() >= SEND_BYTES {
            self.flush()?;
        }
        Ok(msgid)
    }

    /// Sends what was put into the buffer.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.broken {
            return Err(Error::Broken);
        }
        let result = self.send_all();
        self.out.clear();
        self.out.shrink_to(KEEP_BYTES);
        self.note(result)
    }

    fn send_all(&mut self) -> Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let mut sent = 0;
        while let Some(rest) = self.out.get(sent..).filter(|rest| !rest.is_empty()) {
            match send(self.stream.as_raw_fd(), rest, flags) {
                Ok(count) => sent += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait_for_room()?,
                Err(error) => return Err(Error::Io(error.into())),
            }
        }
        Ok(())
    }

    /// Waits until the daemon takes more, and meanwhile reads what it answers.
    fn wait_for_room(&mut self) -> Result<()> {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Error::Io(error.into())),
        }
        let ready = fds[0].revents().unwrap_or(PollFlags::empty());
        if ready.contains(PollFlags::POLLIN) {
            self.read_once(None)?;
        } else if ready.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Waits for bytes, at most so long, and reads what is there.
    ///
    /// A thread that sleeps in `recv` itself is woken in vain when the daemon takes its request: the room that becomes free in
    /// the socket wakes whoever sleeps on it, unless they sleep in `poll` and asked for something else. With 32 clients on two
    /// processors that was two of four switches of a commit.
    ///
    /// Tells whether something came. Before the limit nothing may have, too.
    fn read_once(&mut self, limit: Option<Duration>) -> Result<bool> {
        // A part of a millisecond is waited for as a whole one.
        let timeout = limit
            .map_or(Ok(PollTimeout::NONE), |limit| PollTimeout::try_from(limit.as_micros().div_ceil(1000)));
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(Error::Io(error.into())),
        }
        match self.reader.read_from(&mut &self.stream) {
            Ok(0) => Err(Error::Closed),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Error::Closed),
            Err(error) => Err(Error::Io(error)),
        }
    }

    /// As [`Connection::read_once`], until `deadline`, which is `limit` after the beginning.
    fn read_by(&mut self, deadline: Instant, limit: Duration) -> Result<()> {
        // Also when nothing is left: a thread that was stopped for long finds what came meanwhile.
        let left = deadline.saturating_duration_since(Instant::now());
        if !self.read_once(Some(left))? && left.is_zero() {
            let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            return Err(Error::NoAnswer { waited_ms });
        }
        Ok(())
    }

    /// The answer to a request. Those to requests sent before it are read over.
    pub(crate) fn receive<T: Wire>(&mut self, msgid: u32) -> Result<T> {
        self.receive_by(msgid, |answer| answer.read())
    }

    /// As [`Connection::receive`], of the answer what `read` takes out of it.
    pub(crate) fn receive_by<T>(&mut self, msgid: u32, read: impl Fn(Body<'_>) -> Read<T>) -> Result<T> {
        if self.broken {
            return Err(Error::Broken);
        }
        if place_of(&self.outstanding, msgid).is_none() {
            return Err(Error::protocol("this answer was read before, or given up by reading a later one"));
        }
        loop {
            match self.take_answer(msgid, &read) {
                Ok(Some(answer)) => return answer,
                Ok(None) => {
                    let read = self.read_once(None);
                    self.note(read)?;
                }
                Err(error) => return self.note(Err(error)),
            }
        }
    }

    /// As [`Connection::receive`], for a limited time.
    pub(crate) fn receive_within<T: Wire>(&mut self, msgid: u32, limit: Duration) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            match self.take_answer(msgid, &|answer: Body<'_>| answer.read()) {
                Ok(Some(answer)) => return answer,
                Ok(None) => {
                    let read = self.read_by(deadline, limit);
                    self.note(read)?;
                }
                Err(error) => return self.note(Err(error)),
            }
        }
    }

    /// What the daemon tells next unasked, of this kind. Answers that come meanwhile are read over.
    pub(crate) fn notified_within<T: Notification>(&mut self, limit: Duration) -> Result<T> {
        if self.broken {
            return Err(Error::Broken);
        }
        let deadline = Instant::now() + limit;
        loop {
            let told = self.take_notification();
            if let Some(told) = self.note(told)? {
                return Ok(told);
            }
            let read = self.read_by(deadline, limit);
            self.note(read)?;
        }
    }

    fn take_notification<T: Notification>(&mut self) -> Result<Option<T>> {
        while let Some(frame) = self.reader.next_frame()? {
            match Message::read(frame)? {
                Message::Notification { method, params } if method == T::METHOD => {
                    return Ok(Some(params.read()?));
                }
                Message::Response { msgid, .. } => {
                    let place = place_of(&self.outstanding, msgid);
                    let place = place.ok_or(Error::protocol("it answers a request that was not sent"))?;
                    self.outstanding.remove(place);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Looks for the answer among what was received. The outer error breaks the connection, the inner one is
    /// the answer.
    fn take_answer<T>(
        &mut self,
        msgid: u32,
        read: &impl Fn(Body<'_>) -> Read<T>,
    ) -> Result<Option<Result<T>>> {
        let awaited = place_of(&self.outstanding, msgid);
        if let Some(frame) = awaited.and_then(|place| self.outstanding[place].overtook.take()) {
            self.forget(awaited);
            let Message::Response { result, .. } = Message::read(&frame)? else {
                return Err(Error::protocol("an answer was expected"));
            };
            return answer(result, read).map(Some);
        }
        while let Some(frame) = self.reader.next_frame()? {
            let Message::Response { msgid: answered, result } = Message::read(frame)? else {
                continue;
            };
            let place = place_of(&self.outstanding, answered);
            let Some(place) = place.filter(|place| self.outstanding[*place].overtook.is_none()) else {
                return Err(Error::protocol("it answers a request that was not sent"));
            };
            if answered == msgid {
                let found = answer(result, read);
                self.forget(Some(place));
                return found.map(Some);
            }
            if place_of(&self.outstanding, msgid).is_some_and(|awaited| place > awaited) {
                self.outstanding[place].overtook = Some(frame.to_owned());
            } else {
                self.outstanding.remove(place);
            }
        }
        Ok(None)
    }

    /// An answer was read: its request is done with, and so are those before it whose answers are here.
    fn forget(&mut self, place: Option<usize>) {
        let Some(place) = place else { return };
        self.outstanding.remove(place);
        // Mostly it is the first, and there is none before it.
        for before in (0..place).rev() {
            if self.outstanding[before].overtook.is_some() {
                self.outstanding.remove(before);
            }
        }
    }

    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        self.broken |= result.is_err();
        result
    }
}

/// Where a request stands among those whose answers were not read; mostly it is the first.
fn place_of(outstanding: &VecDeque<Sent>, msgid: u32) -> Option<usize> {
    outstanding.iter().position(|sent| sent.msgid == msgid)
}

/// What `read` takes out of an answer. The outer error breaks the connection, the inner one is the answer.
fn answer<T>(
    result: std::result::Result<Body<'_>, WireError>,
    read: &impl Fn(Body<'_>) -> Read<T>,
) -> Result<Result<T>> {
    match result {
        Ok(body) => Ok(Ok(read(body)?)),
        Err(error) => Ok(Err(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graphite_protocol::message::{request_msgid, write_notification, write_response};
    use graphite_protocol::messages::{Close, Empty, Ping};
    use std::io::{Read, Write};

    /// A peer that answers every request with an empty map, and reads nothing more while an answer does not
    /// get through: as a daemon that pauses a client that does not read.
    fn serve(mut stream: UnixStream, bytes_per_answer: usize) {
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            reader.feed(&buffer[..count]);
            let mut out = Vec::new();
            while let Some(frame) = reader.next_frame().unwrap() {
                let msgid = request_msgid(frame).unwrap();
                write_response(&mut out, msgid, &"x".repeat(bytes_per_answer), FRAME_BYTES_MAX);
            }
            if stream.write_all(&out).is_err() {
                return;
            }
        }
    }

    fn pair(bytes_per_answer: usize) -> Connection {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(theirs, bytes_per_answer));
        Connection::new(ours)
    }

    #[test]
    fn many_requests_and_long_answers_do_not_wait_for_each_other() {
        let mut connection = pair(1000);
        let sent: Vec<u32> =
            (0..20_000).map(|cursor| connection.enqueue(&Close { cursor }).unwrap()).collect();
        connection.flush().unwrap();
        for msgid in sent {
            assert_eq!(connection.receive::<String>(msgid).unwrap().len(), 1000);
        }
    }

    #[derive(Debug)]
    struct Told(String);

    impl Wire for Told {
        fn write(&self, out: &mut Encoder<'_>) {
            self.0.write(out);
        }

        fn read(decoder: &mut graphite_protocol::Decoder<'_>) -> std::result::Result<Told, DecodeError> {
            String::read(decoder).map(Told)
        }
    }

    impl Notification for Told {
        const METHOD: &'static str = "told";
    }

    #[test]
    fn who_waits_to_be_told_reads_answers_over_and_does_not_wait_for_ever() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours);
        let ping = connection.enqueue(&Ping {}).unwrap();
        let mut out = Vec::new();
        write_response(&mut out, ping, &Empty {}, FRAME_BYTES_MAX);
        write_notification(&mut out, &Told("x".to_owned()), FRAME_BYTES_MAX).unwrap();
        theirs.write_all(&out).unwrap();
        let told: Told = connection.notified_within(Duration::from_secs(60)).unwrap();
        assert_eq!(told.0, "x");
        let silent = connection.notified_within::<Told>(Duration::from_millis(20));
        assert!(matches!(silent, Err(Error::NoAnswer { waited_ms: 20 })), "{silent:?}");
        assert!(matches!(connection.notified_within::<Told>(Duration::ZERO), Err(Error::Broken)));
    }

    #[test]
    fn an_answer_given_up_is_read_over() {
        let mut connection = pair(1);
        let first = connection.enqueue(&Ping {}).unwrap();
        let second = connection.enqueue(&Ping {}).unwrap();
        connection.flush().unwrap();
        assert_eq!(connection.receive::<String>(second).unwrap(), "x");
        assert!(matches!(connection.receive::<String>(first), Err(Error::Protocol(_))));
        let third = connection.enqueue(&Ping {}).unwrap();
        connection.flush().unwrap();
        assert_eq!(connection.receive::<String>(third).unwrap(), "x");
    }

    /// Answers of the numbers in `order`, each the number as text.
    fn answers(theirs: &mut UnixStream, order: &[u32]) {
        let mut out = Vec::new();
        order.iter().for_each(|msgid| write_response(&mut out, *msgid, &msgid.to_string(), FRAME_BYTES_MAX));
        theirs.write_all(&out).unwrap();
    }

    #[test]
    fn an_answer_that_overtakes_is_kept_until_it_is_asked_for() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours);
        let sent = [(); 6].map(|()| connection.enqueue(&Ping {}).unwrap());
        answers(&mut theirs, &[1, 3, 0, 2, 5, 4]);
        for msgid in &sent[..3] {
            assert_eq!(connection.receive::<String>(*msgid).unwrap(), msgid.to_string());
        }
        assert!(matches!(connection.receive::<String>(1), Err(Error::Protocol(_))), "it was read");
        // The fourth came early, and is given up by reading a later one.
        assert_eq!(connection.receive::<String>(4).unwrap(), "4");
        assert!(matches!(connection.receive::<String>(3), Err(Error::Protocol(_))));
        assert_eq!(connection.receive::<String>(5).unwrap(), "5");
        assert!(connection.outstanding.is_empty());
    }

    #[test]
    fn a_request_that_was_overtaken_can_be_waited_for_afterwards() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours);
        let [first, second] = [(); 2].map(|()| connection.enqueue(&Ping {}).unwrap());
        answers(&mut theirs, &[second, first]);
        assert_eq!(connection.receive::<String>(second).unwrap(), "1");
        assert_eq!(connection.receive::<String>(first).unwrap(), "0");
    }

    #[test]
    fn what_breaks_the_connection_breaks_it_for_good() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours);
        let msgid = connection.enqueue(&Ping {}).unwrap();
        connection.flush().unwrap();
        write_response_to(&mut theirs, 77);
        assert!(matches!(connection.receive::<Empty>(msgid), Err(Error::Protocol(_))));
        assert!(matches!(connection.enqueue(&Ping {}), Err(Error::Broken)));

        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours);
        let msgid = connection.enqueue(&Ping {}).unwrap();
        connection.flush().unwrap();
        drop(theirs);
        assert!(matches!(connection.receive::<Empty>(msgid), Err(Error::Closed)));
        assert!(matches!(connection.flush(), Err(Error::Broken)));
    }

    #[test]
    fn a_silent_daemon_is_waited_for_no_longer_than_asked() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours);
        let msgid = connection.enqueue(&Ping {}).unwrap();
        connection.flush().unwrap();
        let error = connection.receive_within::<Empty>(msgid, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, Error::NoAnswer { waited_ms: 20 }), "{error:?}");
    }

    fn write_response_to(stream: &mut UnixStream, msgid: u32) {
        let mut out = Vec::new();
        write_response(&mut out, msgid, &Empty {}, FRAME_BYTES_MAX);
        stream.write_all(&out).unwrap();
    }
}
