//! Unix sockets by paths of any length.
//!
//! The address of a Unix socket holds 107 bytes of path, while paths may have 4,096. A longer one is reached through
//! its directory, which is opened and then named `/proc/self/fd/N`. No working directory is changed, for that would
//! be everybody's.
//!
//! A name that does not even fit behind that: the daemon binds a short one beside it and renames it; a client opens
//! the socket's file itself, without reading it, and connects to `/proc/self/fd/N`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Bytes of path that the address of a Unix socket holds.
pub const ADDRESS_BYTES_MAX: usize = 107;

/// `O_PATH`: opens the place in the file system, not what is there.
const O_PATH: i32 = 0o10_000_000;

/// Binds a listener at `path`, where nothing may be yet.
///
/// # Errors
/// The system's; of kind `AddrInUse` if something is there already.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if fits(path) {
        return UnixListener::bind(path);
    }
    let (dir, name) = split(path)?;
    let dir = open_path(&dir)?;
    let through = |name: &Path| through(&dir).join(name);
    if fits(&through(&name)) {
        return UnixListener::bind(through(&name));
    }
    let short = through(Path::new(&format!(".graphite-{}", std::process::id())));
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let _ = fs::remove_file(&short);
    let listener = UnixListener::bind(&short)?;
    fs::rename(&short, path).inspect_err(|_| {
        let _ = fs::remove_file(&short);
    })?;
    Ok(listener)
}

/// Connects to the listener at `path`.
///
/// # Errors
/// The system's: `NotFound` if nothing is there, `ConnectionRefused` if nobody listens.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    if fits(path) {
        return UnixStream::connect(path);
    }
    let socket = open_path(path)?;
    UnixStream::connect(through(&socket))
}

fn fits(path: &Path) -> bool {
    path.as_os_str().as_bytes().len() <= ADDRESS_BYTES_MAX
}

fn split(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((dir.to_owned(), name.into()))
}

/// Opened for its place only; closed on exec, as all files of the standard library.
fn open_path(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_PATH).open(path)
}

fn through(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn talks(path: &Path) {
        let listener = bind(path).unwrap();
        assert_eq!(bind(path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let mut client = connect(path).unwrap();
        let (mut served, _) = listener.accept().unwrap();
        client.write_all(b"hello").unwrap();
        let mut got = [0; 5];
        served.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        drop(listener);
        assert_eq!(connect(path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        fs::remove_file(path).unwrap();
        assert_eq!(connect(path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// A path of every length around the limits of the address: of the whole path, and of the name alone.
    #[test]
    fn paths_of_any_length_bind_and_connect() {
        let top = std::env::temp_dir().join(format!("graphite-socket-{}", std::process::id()));
        let deep = top.join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        for dir in [&top, &deep] {
            for name_len in [1, 50, 80, 90, 107, 108, 200, 255] {
                talks(&dir.join("n".repeat(name_len)));
            }
        }
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0, "nothing is left beside the socket");
        fs::remove_dir_all(&top).unwrap();
    }
}
