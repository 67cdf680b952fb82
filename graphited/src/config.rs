//! Configuration: every limit and timeout of the daemon, in one table.
//!
//! 1. Later wins: built-in value, configuration file, environment (`GRAPHITED_CACHE_BYTES`), flag (`--cache-bytes`).
//! 2. All three are made from the same table, so no key exists in one and not in another.
//! 3. A key that the file has and the table does not is an error with its line, and names the nearest key.

mod file;

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

/// What prefixes a key in the environment.
const ENVIRONMENT_PREFIX: &str = "GRAPHITED_";

/// Why a configuration is refused: one line for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    BuiltIn,
    /// The configuration file.
    File,
    /// The environment.
    Environment,
    /// A flag.
    Flag,
}

impl Origin {
    fn as_str(self) -> &'static str {
        match self {
            Origin::BuiltIn => "built in",
            Origin::File => "file",
            Origin::Environment => "environment",
            Origin::Flag => "flag",
        }
    }
}

/// A key of the configuration.
#[derive(Debug)]
struct Key {
    name: &'static str,
    help: &'static str,
}

impl Key {
    fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// How a value is read from text, and shown.
trait Setting: Sized {
    const TAKES: &'static str;
    fn parse(text: &str) -> Option<Self>;
    fn show(&self) -> String;
}

impl Setting for u64 {
    const TAKES: &'static str = "a whole number, if need be with K, M or G (of 1,024)";
    fn parse(text: &str) -> Option<u64> {
        let (digits, unit) = match text.as_bytes().last()? {
            b'K' => (&text[..text.len() - 1], 1 << 10),
            b'M' => (&text[..text.len() - 1], 1 << 20),
            b'G' => (&text[..text.len() - 1], 1 << 30),
            _ => (text, 1),
        };
        digits.replace('_', "").parse::<u64>().ok()?.checked_mul(unit)
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for String {
    const TAKES: &'static str = "text";
    fn parse(text: &str) -> Option<String> {
        Some(text.to_owned())
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// A threshold; `None` for one that nothing reaches.
impl Setting for Option<u64> {
    const TAKES: &'static str = "a whole number, or off";
    fn parse(text: &str) -> Option<Option<u64>> {
        // As those say it who come from PostgreSQL.
        if matches!(text, "off" | "-1") { Some(None) } else { u64::parse(text).map(Some) }
    }
    fn show(&self) -> String {
        self.map_or("\"off\"".to_owned(), |value| value.to_string())
    }
}

impl Setting for Option<PathBuf> {
    const TAKES: &'static str = "a path";
    fn parse(text: &str) -> Option<Option<PathBuf>> {
        (!text.is_empty()).then(|| Some(text.into()))
    }
    fn show(&self) -> String {
        self.as_ref().map_or("\"\"".to_owned(), |path| format!("{path:?}"))
    }
}

/// Whether commits are synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// They are.
    On,
    /// They are not: a power cut loses commits.
    Off,
}

impl Setting for Durability {
    const TAKES: &'static str = "on or off";
    fn parse(text: &str) -> Option<Durability> {
        match text {
            "on" | "true" => Some(Durability::On),
            "off" | "false" => Some(Durability::Off),
            _ => None,
        }
    }
    fn show(&self) -> String {
        format!("{:?}", if *self == Durability::On { "on" } else { "off" })
    }
}

macro_rules! settings {
    ($($(#[doc = $help:literal])+ $name:ident: $type:ty = $default:expr,)*) => {
        /// All settings.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[doc = $help])+ pub $name: $type,)*
            origins: Vec<(&'static str, Origin)>,
        }

        const KEYS: &[Key] = &[$(Key { name: stringify!($name), help: concat!($($help),+) },)*];

        impl Default for Config {
            fn default() -> Config {
                Config { $($name: $default,)* origins: Vec::new() }
            }
        }

        impl Config {
            /// Sets a key from text; the error says what the key takes.
            fn set(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), String> {
                $(if key == stringify!($name) {
                    self.$name = <$type as Setting>::parse(text)
                        .ok_or_else(|| format!("{key} takes {}, not {text:?}", <$type as Setting>::TAKES))?;
                    self.origins.push((stringify!($name), origin));
                    return Ok(());
                })*
                Err(unknown_key(key))
            }

            /// Every key with its value, in the form of the configuration file, and where the value comes from.
            pub fn show(&self) -> String {
                let mut out = String::new();
                $({
                    let origin = self.origin(stringify!($name)).as_str();
                    out += &format!("{} = {} # {origin}\n", stringify!($name), self.$name.show());
                })*
                out
            }
        }
    };
}

settings! {
    /// The database file; made if it is missing
    db: Option<PathBuf> = None,
    /// The socket to listen on; the database's path with .sock appended if left out
    socket: Option<PathBuf> = None,
    /// Bytes of pages kept in memory
    cache_bytes: u64 = 256 << 20,
    /// Bytes that the log may take on disk
    wal_bytes: u64 = 256 << 20,
    /// Bytes of old page versions kept for snapshots; past it the oldest snapshot is let down
    old_versions_bytes: u64 = 128 << 20,
    /// Bytes of memory for the values that a transaction sets; past it they go to a file until its commit
    transaction_memory_bytes: u64 = graphite_graph::WRITE_SET_MEMORY_BYTES,
    /// Whether commits are synced: on, or off for tests and throwaway loads
    durability: Durability = Durability::On,
    /// Leave when the last client has been gone for this many seconds; 0 for never
    idle_exit: u64 = 0,
    /// Sessions that may be connected
    sessions_max: u64 = 1000,
    /// Bytes of a frame, either way
    frame_bytes_max: u64 = graphite_protocol::FRAME_BYTES_MAX as u64,
    /// Bytes written for a client that it has not read, past which nothing more is done for it
    outbox_bytes_max: u64 = 8 << 20,
    /// Bytes of rows in one answer; a cursor gives the others
    result_bytes_max: u64 = 1 << 20,
    /// Bytes of memory that a statement may take for what it sorts, groups and keeps, and all resting cursors together
    statement_bytes_max: u64 = 64 << 20,
    /// Cursors that a session may have open
    cursors_max: u64 = 64,
    /// Requests of a session that are read before the first of them is answered
    requests_max: u64 = 1024,
    /// Plans that a session keeps ready
    plan_cache_entries: u64 = 64,
    /// Threads for reads that are not answered at once; 0 for as many as there are processors
    read_workers: u64 = 0,
    /// Transactions that may write at a time; others wait until one has ended
    write_transactions_max: u64 = 128,
    /// How long a statement may run, in ms; 0 for ever
    statement_timeout_ms: u64 = 0,
    /// How long a statement waits for a lock, or to be let write at all, in ms; 0 for ever
    lock_timeout_ms: u64 = 10_000,
    /// How long a transaction may wait for its client, in ms, before it is rolled back; 0 for ever
    idle_in_transaction_timeout_ms: u64 = 60_000,
    /// How long a session may say nothing, in ms, before it is dropped; 0 for ever
    idle_timeout_ms: u64 = 0,
    /// How long a connection may take to say hello, in ms; 0 for ever
    hello_timeout_ms: u64 = 10_000,
    /// How long a cursor may rest, in ms, before it is closed; 0 for ever
    cursor_timeout_ms: u64 = 300_000,
    /// How long a client may read nothing of what waits for it, in ms, before it is dropped; 0 for ever
    client_stall_timeout_ms: u64 = 30_000,
    /// A statement on a worker that takes so long, in ms, is kept for monitors; 0 for all of them, off (or -1) for none
    slow_statement_ms: Option<u64> = Some(100),
    /// How long statements may go on when the daemon is asked to leave, in ms
    shutdown_timeout_ms: u64 = 5_000,
    /// What is logged: error, warn, info, debug, trace, or a filter such as graphited=debug
    log: String = "info".to_owned(),
}

/// Most bytes of memory or disk that a setting may name: what an address can reach.
const BYTES_MAX: u64 = 1 << 46;

impl Config {
    fn origin(&self, name: &str) -> Origin {
        self.origins.iter().rev().find(|(key, _)| *key == name).map_or(Origin::BuiltIn, |(_, origin)| *origin)
    }

    /// Puts file, environment and flags together.
    ///
    /// # Errors
    /// The first thing that is wrong, in one line.
    pub fn load(
        matches: &ArgMatches,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        if let Some(path) = matches.get_one::<String>("config") {
            file::read(Path::new(path), &mut config)?;
        }
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX).map(str::to_ascii_lowercase) else {
                continue;
            };
            // Others may use the prefix for purposes of their own, so a strange name is no error here.
            if KEYS.iter().any(|known| known.name == key) {
                config
                    .set(&key, &value, Origin::Environment)
                    .map_err(|why| ConfigError(format!("{name} in the environment: {why}")))?;
            }
        }
        for key in KEYS {
            if let Some(value) = matches.get_one::<String>(key.name) {
                config
                    .set(key.name, value, Origin::Flag)
                    .map_err(|why| ConfigError(format!("--{}: {why}", key.flag())))?;
            }
        }
        config.check()?;
        Ok(config)
    }

    /// What makes no sense, whoever said it.
    fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("cache_bytes", self.cache_bytes, 1 << 20, BYTES_MAX),
            ("wal_bytes", self.wal_bytes, 1 << 20, BYTES_MAX),
            ("old_versions_bytes", self.old_versions_bytes, 1 << 20, BYTES_MAX),
            ("transaction_memory_bytes", self.transaction_memory_bytes, 0, BYTES_MAX),
            ("sessions_max", self.sessions_max, 1, 100_000),
            ("frame_bytes_max", self.frame_bytes_max, 4 << 10, graphite_protocol::FRAME_BYTES_MAX as u64),
            ("outbox_bytes_max", self.outbox_bytes_max, 4 << 10, 1 << 30),
            ("result_bytes_max", self.result_bytes_max, 1 << 10, self.frame_bytes_max / 2),
            ("statement_bytes_max", self.statement_bytes_max, 1 << 20, BYTES_MAX),
            ("cursors_max", self.cursors_max, 1, 10_000),
            ("requests_max", self.requests_max, 1, 100_000),
            ("plan_cache_entries", self.plan_cache_entries, 1, 1_000),
            ("read_workers", self.read_workers, 0, 1_000),
            ("write_transactions_max", self.write_transactions_max, 1, 10_000),
        ];
        for (name, value, least, most) in limits {
            if value < least || value > most {
                return Err(ConfigError(format!("{name} is {value}, and has to be {least} to {most}")));
            }
        }
        Ok(())
    }
}

/// The message for a key that is none.
fn unknown_key(key: &str) -> String {
    let nearest = KEYS.iter().min_by_key(|known| distance(key, known.name));
    match nearest {
        Some(known) if distance(key, known.name) <= key.len().div_ceil(2) => {
            format!("there is no key {key:?}; the nearest is {:?}", known.name)
        }
        _ => format!("there is no key {key:?}"),
    }
}

/// Edits (a letter put in, taken out or replaced) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The command line.
pub fn command() -> Command {
    let mut command = Command::new("graphited")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Owns a Graphite database and serves it over a Unix socket")
        .after_help(crate::exit::TABLE)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .help("A TOML file with any of the settings below, dashes as underscores"),
        )
        .arg(
            Arg::new("ready-fd")
                .long("ready-fd")
                .value_name("N")
                .value_parser(clap::value_parser!(i32).range(1..))
                .help("Write READY, or an error, as one line to this descriptor, and close it"),
        )
        .arg(flag("check-config", "Check the configuration and leave"))
        .arg(
            flag("check", "Check the database without serving or changing it, and answer on standard output in frames of the protocol; `graphite check` shows them")
                .conflicts_with("salvage"),
        )
        .arg(
            Arg::new("salvage")
                .long("salvage")
                .value_name("OUT")
                .value_parser(clap::value_parser!(std::path::PathBuf))
                .help("As --check, and copy what can be read of the database to a new one"),
        )
        .arg(flag("print-config", "Show every setting and where it comes from, and leave"));
    for key in KEYS {
        command = command.arg(
            Arg::new(key.name)
                .long(key.flag())
                .value_name("VALUE")
                .allow_hyphen_values(true)
                .help(key.help.trim()),
        );
    }
    command
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let matches = command().try_get_matches_from([&["graphited"], args].concat()).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(&matches, environment)
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let file = file("cache_bytes = 2_097_152\nwal_bytes = \"3M\"\nidle_exit = 1\ndurability = \"off\"\n");
        let path = file.path().to_str().unwrap();
        let environment =
            [("GRAPHITED_WAL_BYTES", "4M"), ("GRAPHITED_IDLE_EXIT", "2"), ("GRAPHITED_BIN", "x")];
        let config = load(&["--config", path, "--idle-exit", "3"], &environment).unwrap();
        assert_eq!(config.cache_bytes, 2 << 20);
        assert_eq!(config.wal_bytes, 4 << 20);
        assert_eq!(config.idle_exit, 3);
        assert_eq!(config.durability, Durability::Off);
        let shown = config.show();
        for line in
            ["cache_bytes = 2097152 # file", "wal_bytes = 4194304 # environment", "idle_exit = 3 # flag"]
        {
            assert!(shown.contains(line), "{line} in {shown}");
        }
        assert!(shown.contains("sessions_max = 1000 # built in"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest() {
        let file = file("# a comment\n\ncache_byts = 1\n");
        let error = load(&["--config", file.path().to_str().unwrap()], &[]).unwrap_err().to_string();
        assert!(
            error.contains(":3: there is no key \"cache_byts\"; the nearest is \"cache_bytes\""),
            "{error}"
        );
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused() {
        for text in
            ["cache_bytes = [1]\n", "cache_bytes = \"many\"\n", "durability = 3\n", "cache_bytes = -1\n"]
        {
            let file = file(text);
            let error = load(&["--config", file.path().to_str().unwrap()], &[]).unwrap_err().to_string();
            assert!(error.contains(":1: "), "{error}");
        }
        assert!(load(&["--sessions-max", "0"], &[]).is_err());
        assert!(load(&["--cache-bytes", "99999999999G"], &[]).is_err());
    }
}
