//! Frames come out whole, however the stream is split, and what is no frame is refused before room is made.

use graphite_protocol::frame::{self, FrameError, FrameReader};
use proptest::prelude::*;

fn stream(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for body in bodies {
        frame::write_frame(&mut out, body, usize::MAX).unwrap();
    }
    out
}

fn take_all(reader: &mut FrameReader) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        frames.push(frame.to_vec());
    }
    frames
}

/// Gives a few bytes at each read.
struct Trickle<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let len = self.step.min(self.bytes.len()).min(into.len());
        into[..len].copy_from_slice(&self.bytes[..len]);
        self.bytes = &self.bytes[len..];
        Ok(len)
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20),
        cuts in prop::collection::vec(1usize..500, 1..20),
    ) {
        let bytes = stream(&bodies);
        let mut reader = FrameReader::new(1000);
        let mut frames = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            reader.feed(head);
            frames.extend(take_all(&mut reader));
            rest = tail;
        }
        prop_assert_eq!(&frames, &bodies);
        prop_assert_eq!(reader.pending_bytes(), 0);
    }

    #[test]
    fn reading_from_a_source_gives_the_same_frames(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..70_000), 0..6),
        step in 1usize..100_000,
    ) {
        let bytes = stream(&bodies);
        let mut source = Trickle { bytes: &bytes, step };
        let mut reader = FrameReader::new(100_000);
        let mut frames = Vec::new();
        while reader.read_from(&mut source).unwrap() > 0 {
            frames.extend(take_all(&mut reader));
        }
        prop_assert_eq!(&frames, &bodies);
    }
}

#[test]
fn byte_at_a_time() {
    let bodies = vec![vec![1], vec![2; 300], vec![3; 5]];
    let mut reader = FrameReader::new(300);
    let mut frames = Vec::new();
    for byte in stream(&bodies) {
        reader.feed(&[byte]);
        frames.extend(take_all(&mut reader));
    }
    assert_eq!(frames, bodies);
}

#[test]
fn lengths_are_refused_with_their_header() {
    let refused = |len: u32| {
        let mut reader = FrameReader::new(1000);
        reader.feed(&len.to_be_bytes());
        reader.next_frame().map(|frame| frame.map(<[u8]>::to_vec))
    };
    assert_eq!(refused(0), Err(FrameError::Empty));
    assert_eq!(refused(1000), Ok(None));
    assert_eq!(refused(1001), Err(FrameError::TooLong { bytes: 1001, max: 1000 }));
    assert_eq!(refused(u32::MAX), Err(FrameError::TooLong { bytes: u32::MAX as usize, max: 1000 }));
}

#[test]
fn a_refused_stream_stays_refused() {
    let mut reader = FrameReader::new(10);
    reader.feed(&[0, 0, 0, 0, 0, 0, 0, 1, 7]);
    assert_eq!(reader.next_frame(), Err(FrameError::Empty));
    assert_eq!(reader.next_frame(), Err(FrameError::Empty));
}

#[test]
fn an_announced_length_takes_no_memory() {
    // A source that says how much room it was offered at most.
    struct Offered(usize);
    impl std::io::Read for Offered {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0 = self.0.max(into.len());
            Ok(0)
        }
    }
    let mut reader = FrameReader::new(16 << 20);
    reader.feed(&(16u32 << 20).to_be_bytes());
    assert_eq!(reader.next_frame(), Ok(None));
    let mut offered = Offered(0);
    reader.read_from(&mut offered).unwrap();
    assert!(offered.0 <= 64 << 10, "{} bytes of room for a frame of which nothing came", offered.0);
}

#[test]
fn a_body_past_the_limit_is_taken_back() {
    let mut out = vec![9];
    let mark = frame::begin_frame(&mut out);
    out.extend([0; 11]);
    assert_eq!(frame::end_frame(&mut out, mark, 10), Err(FrameError::TooLong { bytes: 11, max: 10 }));
    assert_eq!(out, [9]);
    assert_eq!(frame::write_frame(&mut out, &[], 10), Err(FrameError::Empty));
    assert_eq!(out, [9]);
}
