//! The listening socket's file.
//!
//! 1. It is made for its owner alone: the daemon's umask leaves others nothing.
//! 2. Only a stale socket is ever taken away, and only by whoever holds the database's lock: a file or symbolic link
//!    in its place is somebody's, and a socket that answers is another daemon's.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use graphite_protocol::socket;

/// Binds the socket, which must not be there.
///
/// # Errors
/// The system's.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    socket::bind(path)
}

/// Binds the socket in place of a stale one.
///
/// # Errors
/// What is there, in words; the system's.
pub(crate) fn claim(path: &Path) -> Result<UnixListener, String> {
    let cannot = |error: io::Error| format!("cannot listen at {}: {error}", path.display());
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return bind(path).map_err(cannot),
        Err(error) => return Err(cannot(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(format!(
                "{} is there already and is no socket; it was left untouched",
                path.display()
            ));
        }
        Ok(_) => {}
    }
    match socket::connect(path) {
        Ok(_) => Err(format!("another daemon listens at {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(?path, "taking the place of a stale socket");
            fs::remove_file(path).and_then(|()| bind(path)).map_err(cannot)
        }
        Err(error) => Err(cannot(error)),
    }
}

/// Takes the socket's file away, unless somebody put something else there.
pub(crate) fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = claim(&path).unwrap();
        assert!(claim(&path).unwrap_err().contains("another daemon"));
        drop(first);
        drop(claim(&path).unwrap());
        remove(&path);
        assert!(!path.exists());

        fs::write(&path, "mine").unwrap();
        assert!(claim(&path).unwrap_err().contains("no socket"));
        remove(&path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");

        // A link to a stale socket is a link all the same.
        let link = dir.path().join("l");
        std::os::unix::fs::symlink(dir.path().join("stale"), &link).unwrap();
        drop(claim(&dir.path().join("stale")).unwrap());
        assert!(claim(&link).unwrap_err().contains("no socket"));
        assert!(fs::symlink_metadata(&link).is_ok());
    }
}
