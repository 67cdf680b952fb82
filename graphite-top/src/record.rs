//! Recordings: what was watched, to be looked at again by whoever was not there.
//!
//! A file is one line that names it, then pictures as the daemon sends them: frames of the protocol, each a notification
//! `picture`. So whatever reads the protocol reads recordings. A recording that ends within a frame, for its writer was
//! killed, is read up to there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use graphite_client::messages::{Notification, Picture};
use graphite_protocol::message::{Message, write_notification};
use graphite_protocol::{FRAME_BYTES_MAX, FrameReader};

/// The first line of a recording.
const HEADER: &[u8] = b"graphite-top recording 1\n";

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is no recording of graphite-top, or one of another version")]
    NotOurs,
    /// Bytes in it are wrong.
    #[error("picture {at} is damaged: {why}")]
    Damaged {
        /// Which picture, from 1 on.
        at: u64,
        /// What is wrong.
        why: String,
    },
}

/// A picture in the form in which it is kept.
pub fn encoded(picture: &Picture) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    write_notification(&mut frame, picture, FRAME_BYTES_MAX).ok()?;
    Some(frame)
}

/// The picture that was kept so.
pub fn decoded(frame: &[u8]) -> Option<Picture> {
    let mut reader = FrameReader::new(FRAME_BYTES_MAX);
    reader.feed(frame);
    picture_of(reader.next_frame().ok()??).ok()
}

fn picture_of(body: &[u8]) -> Result<Picture, String> {
    match Message::read(body).map_err(|error| error.to_string())? {
        Message::Notification { method, params } if method == Picture::METHOD => {
            params.read().map_err(|error| error.to_string())
        }
        _ => Err("it is no picture".to_owned()),
    }
}

/// A recording that is being written. It is for its owner's eyes: statements may name what is secret.
#[derive(Debug)]
pub struct Recorder {
    file: File,
}

impl Recorder {
    /// Begins a recording; a file that is there already is not written over.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<Recorder> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(HEADER)?;
        Ok(Recorder { file })
    }

    /// Adds an encoded picture.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.write_all(frame)
    }
}

/// A recording that is read, one picture after another.
#[derive(Debug)]
pub struct Replay {
    file: File,
    reader: FrameReader,
    read: u64,
}

impl Replay {
    /// Opens a recording.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn open(path: &Path) -> Result<Replay, RecordError> {
        let mut file = File::open(path)?;
        let mut header = [0; HEADER.len()];
        match file.read_exact(&mut header) {
            Ok(()) if header == *HEADER => {}
            Ok(()) => return Err(RecordError::NotOurs),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(RecordError::NotOurs),
            Err(error) => return Err(error.into()),
        }
        Ok(Replay { file, reader: FrameReader::new(FRAME_BYTES_MAX), read: 0 })
    }

    /// The next picture; `None` at the end.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn next_picture(&mut self) -> Result<Option<Picture>, RecordError> {
        let at = self.read + 1;
        let damaged = |why: String| RecordError::Damaged { at, why };
        loop {
            if let Some(body) = self.reader.next_frame().map_err(|error| damaged(error.to_string()))? {
                self.read = at;
                return picture_of(body).map(Some).map_err(damaged);
            }
            if self.reader.read_from(&mut self.file)? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_recording_gives_back_what_was_recorded_up_to_where_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recording");
        let pictures = [samples::chain().picture, samples::quiet().picture];
        let mut recorder = Recorder::create(&path).unwrap();
        for picture in &pictures {
            recorder.add(&encoded(picture).unwrap()).unwrap();
        }
        let half = encoded(&pictures[0]).unwrap();
        recorder.add(&half[..half.len() / 2]).unwrap();
        let mut replay = Replay::open(&path).unwrap();
        for picture in &pictures {
            assert_eq!(replay.next_picture().unwrap().as_ref(), Some(picture));
        }
        assert!(replay.next_picture().unwrap().is_none());
        assert!(Recorder::create(&path).is_err(), "it is not written over");
        assert_eq!(decoded(&half).as_ref(), Some(&pictures[0]));
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "hello").unwrap();
        assert!(matches!(Replay::open(&path), Err(RecordError::NotOurs)));
        std::fs::write(&path, [HEADER, &[0, 0, 0, 2, 0xc1, 0xc1]].concat()).unwrap();
        let mut replay = Replay::open(&path).unwrap();
        assert!(matches!(replay.next_picture(), Err(RecordError::Damaged { at: 1, .. })));
    }
}
