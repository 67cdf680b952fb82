//! Whose database it is: its one true path, who may reach it, and the process that owns it.
//!
//! 1. Symbolic links are resolved before anything else, so that database, log and socket have the same names by
//!    whatever path a daemon is started.
//! 2. The lock that decides is the store's, on the file's inode. `PATH.wal/owner.pid` only tells who holds it: it is
//!    written after the lock was taken, and a number in it counts only while that process lives.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid};

const STICKY: u32 = 0o1000;
const WRITABLE_BY_ALL: u32 = 0o002;
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// How often, and how long in between, a second daemon looks for the owner's number: the owner may be so new that it
/// has not written it yet.
const OWNER_LOOKS: u32 = 20;
const OWNER_PAUSE: Duration = Duration::from_millis(25);

/// The path without symbolic links. The file need not exist, its directory has to.
///
/// # Errors
/// The system's; a symbolic link that leads nowhere is not followed into a new file.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(fs::canonicalize(dir)?.join(name))
        }
        result => result,
    }
}

/// The default socket of a database.
pub(crate) fn socket_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".sock");
    name.into()
}

/// Refuses what others could take from under the daemon: a directory in which anybody may rename files, or one of a
/// stranger; a database file that others may write or that is a stranger's.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let found = fs::metadata(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    if found.mode() & WRITABLE_BY_ALL != 0 && found.mode() & STICKY == 0 {
        return Err(format!(
            "{} is writable by everybody; chmod o-w it, or use another directory",
            dir.display()
        ));
    }
    if !is_ours(&found) {
        return Err(format!("{} belongs to user {}", dir.display(), found.uid()));
    }
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    if file.is_file() && file.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(format!("{} is writable by others; chmod go-w it", path.display()));
    }
    if !is_ours(&file) {
        return Err(format!("{} belongs to user {}", path.display(), file.uid()));
    }
    Ok(())
}

/// Root's are everybody's, and everybody's are root's.
fn is_ours(found: &Metadata) -> bool {
    let we = Uid::effective();
    we.is_root() || found.uid() == 0 || found.uid() == we.as_raw()
}

fn owner_file(database: &Path) -> PathBuf {
    graphite_store::wal_dir(database).join("owner.pid")
}

/// Notes that this process holds the lock.
///
/// # Errors
/// The system's.
pub(crate) fn note_owner(database: &Path) -> io::Result<()> {
    fs::write(owner_file(database), format!("{}\n", std::process::id()))
}

/// Takes the note back, while the lock is still held.
pub(crate) fn forget_owner(database: &Path) {
    let _ = fs::remove_file(owner_file(database));
}

/// The process that owns the database, as far as it can be told.
pub(crate) fn owner_of(database: &Path) -> Option<u32> {
    for _ in 0..OWNER_LOOKS {
        let noted =
            fs::read_to_string(owner_file(database)).ok().and_then(|text| text.trim().parse::<i32>().ok());
        if let Some(pid) = noted.filter(|pid| *pid > 0 && is_alive(*pid)) {
            return u32::try_from(pid).ok();
        }
        std::thread::sleep(OWNER_PAUSE);
    }
    None
}

fn is_alive(pid: i32) -> bool {
    // Without a signal, it only asks.
    !matches!(kill(Pid::from_raw(pid), None), Err(nix::errno::Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_resolve_to_the_same_whatever_leads_there() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link/link/db")).unwrap(), real.join("db"), "not there yet");
        fs::write(real.join("db"), "").unwrap();
        std::os::unix::fs::symlink("db", real.join("other")).unwrap();
        assert_eq!(resolve(&real.join("link/other")).unwrap(), real.join("db"));
        std::os::unix::fs::symlink("nothing", real.join("dangling")).unwrap();
        assert!(resolve(&real.join("dangling")).is_err());
        assert!(resolve(&real.join("no/db")).is_err());
    }

    #[test]
    fn what_others_may_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        assert_eq!(check(&db), Ok(()));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(check(&db).unwrap_err().contains("writable by everybody"));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(check(&db), Ok(()), "as /tmp");
        fs::write(&db, "").unwrap();
        fs::set_permissions(&db, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(check(&db).unwrap_err().contains("writable by others"));
    }

    #[test]
    fn the_owner_counts_only_while_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        fs::create_dir(graphite_store::wal_dir(&db)).unwrap();
        assert_eq!(owner_of(&db), None);
        note_owner(&db).unwrap();
        assert_eq!(owner_of(&db), Some(std::process::id()));
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let pid = gone.id();
        gone.wait().unwrap();
        fs::write(owner_file(&db), format!("{pid}\n")).unwrap();
        assert_eq!(owner_of(&db), None);
    }
}
