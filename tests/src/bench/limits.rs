//! What the machine allows: a round trip through a Unix socket, a write that is synced, a file that is written.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::latency::Latencies;
use super::processes::Running;
use super::{PEER_COMMAND, Result, at};

/// Bytes that go each way.
const PING_BYTES: usize = 64;
/// Bytes of the file that is overwritten, again from its start when its end is reached.
const SYNC_FILE_BYTES: usize = 64 << 20;

/// Another process at the other end of a socket, which sends back what it gets.
#[derive(Debug)]
pub(crate) struct PingPong {
    stream: UnixStream,
    // Dropped after the stream, whose end it takes as a sign to leave.
    peer: Running,
}

impl PingPong {
    pub(crate) fn start() -> Result<PingPong> {
        let (stream, theirs) = UnixStream::pair()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(PEER_COMMAND).stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        Ok(PingPong { stream, peer: Running::start(&mut command)? })
    }

    /// The process at the other end.
    pub(crate) fn peer_pid(&self) -> u32 {
        self.peer.pid()
    }

    /// Makes so many round trips.
    pub(crate) fn run(&mut self, count: usize, latencies: &mut Latencies) -> Result<()> {
        let mut bytes = [7; PING_BYTES];
        for _ in 0..count {
            latencies.time(|| {
                self.stream.write_all(&bytes)?;
                self.stream.read_exact(&mut bytes)
            })?;
        }
        Ok(())
    }
}

/// The other end: sends back what comes from standard input, which is a socket, until it is closed.
pub(crate) fn be_peer() -> Result<()> {
    let mut stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut bytes = [0; PING_BYTES];
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..count])?;
    }
}

/// A file that is there in its full length, as the log's segments are.
#[derive(Debug)]
pub(crate) struct SyncedFile {
    path: PathBuf,
    file: File,
    offset: usize,
}

impl SyncedFile {
    pub(crate) fn make(dir: &Path) -> Result<SyncedFile> {
        let path = dir.join("synced");
        let file = File::create_new(&path).map_err(at(&path))?;
        fill(&file, SYNC_FILE_BYTES).map_err(at(&path))?;
        Ok(SyncedFile { path, file, offset: 0 })
    }

    /// Writes so many bytes behind those before, and syncs them; does so several times.
    pub(crate) fn write(&mut self, bytes: usize, times: usize, latencies: &mut Latencies) -> Result<()> {
        let payload = vec![7; bytes.clamp(1, SYNC_FILE_BYTES)];
        for _ in 0..times {
            if self.offset + payload.len() > SYNC_FILE_BYTES {
                self.offset = 0;
            }
            let offset = self.offset as u64;
            let write = || self.file.write_all_at(&payload, offset).and_then(|()| self.file.sync_data());
            latencies.time(write).map_err(at(&self.path))?;
            self.offset += payload.len();
        }
        Ok(())
    }
}

impl Drop for SyncedFile {
    fn drop(&mut self) {
        // If it stays, it goes with its directory.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// How long it takes to write a file of so many bytes and to sync it.
pub(crate) fn write_file(dir: &Path, bytes: u64) -> Result<Duration> {
    let path = dir.join("written");
    let began = Instant::now();
    let file = File::create_new(&path).map_err(at(&path))?;
    fill(&file, usize::try_from(bytes)?).map_err(at(&path))?;
    let took = began.elapsed();
    std::fs::remove_file(&path).map_err(at(&path))?;
    Ok(took)
}

/// How long it takes to read a file and to sum up its bytes by the checksum of pages.
pub(crate) fn read_file(path: &Path) -> Result<Duration> {
    let (mut piece, mut sum) = (vec![0; 1 << 20], crc32fast::Hasher::new());
    let began = Instant::now();
    let mut file = File::open(path).map_err(at(path))?;
    loop {
        let count = file.read(&mut piece).map_err(at(path))?;
        if count == 0 {
            break;
        }
        sum.update(&piece[..count]);
    }
    std::hint::black_box(sum.finalize());
    Ok(began.elapsed())
}

fn fill(file: &File, bytes: usize) -> std::io::Result<()> {
    let piece = vec![7; 1 << 20];
    let mut offset = 0;
    while offset < bytes {
        let count = piece.len().min(bytes - offset);
        file.write_all_at(&piece[..count], offset as u64)?;
        offset += count;
    }
    file.sync_all()
}
