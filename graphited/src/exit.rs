//! Exit codes, after `sysexits.h`: a service manager decides by them whether to start the daemon again.

use std::path::Path;

use graphite_store::Error;

/// All went well.
pub const OK: u8 = 0;
/// Wrong flags or configuration.
pub const USAGE: u8 = 64;
/// The file is no database, is damaged, or has a format version that this program does not read.
pub const DATA: u8 = 65;
/// A mistake in Graphite.
pub const SOFTWARE: u8 = 70;
/// The system refused something: a thread, a descriptor, a limit.
pub const SYSTEM: u8 = 71;
/// The database or the socket cannot be made.
pub const CANNOT_CREATE: u8 = 73;
/// The disk refused.
pub const IO: u8 = 74;
/// Another daemon owns the database, or the disk is full: try again later.
pub const TRY_AGAIN: u8 = 75;
/// The file or its directory is open to others, or not ours.
pub const NOT_PERMITTED: u8 = 77;
/// Asked twice to leave, it left at once; the next start recovers.
pub const KILLED: u8 = 143;

/// The table at the end of `--help`.
pub const TABLE: &str = "\
Every setting may also stand in the configuration file (--config), dashes as underscores, or in the
environment in capitals behind GRAPHITED_. Flags win over the environment, and that over the file.

Exit codes:
    0  left as asked; the database is clean
   64  wrong flags or configuration
   65  not a database, damaged, or of another format version
   70  a mistake in Graphite; the log has more
   71  the system refused a thread, a descriptor or a limit
   73  the database or the socket cannot be made
   74  the disk refused a read, a write or a sync
   75  another daemon owns the database, or there is no room on the disk
   77  the database or its directory is open to others, or not ours
  143  asked twice to leave, it left at once; the next start recovers";

/// Ends the process as it stands, for it was asked to leave again while it left.
pub(crate) fn at_once(socket: &Path) -> ! {
    tracing::warn!("asked again to leave: leaving at once; the next start recovers");
    let _ = std::fs::remove_file(socket);
    std::process::exit(i32::from(KILLED));
}

/// The code for a database that does not open.
pub fn of_store(error: &Error) -> u8 {
    match error {
        Error::NotADatabase { .. }
        | Error::FormatVersion { .. }
        | Error::CorruptPage { .. }
        | Error::CorruptLog { .. }
        | Error::CorruptSuperblock { .. } => DATA,
        Error::InUse { .. } => TRY_AGAIN,
        Error::HardLinked { .. } => NOT_PERMITTED,
        _ if error.is_disk_full() => TRY_AGAIN,
        Error::Io { kind: std::io::ErrorKind::PermissionDenied, .. } => NOT_PERMITTED,
        Error::Io { doing: "create", .. } => CANNOT_CREATE,
        _ => IO,
    }
}
