//! `graphited`: the command line, the log, the exit code.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use graphited::config::{self, Config};
use graphited::daemon;
use graphited::exit;
use graphited::ready::Ready;
use tracing_subscriber::EnvFilter;

/// Wastes little on large pieces that come and go on several threads, so that what the process takes is about what its
/// limits say.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After how many milliseconds the allocator gives freed memory back, if nobody set it: it would be a second.
const PURGE_DELAY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "1");

/// The allocator reads its settings before `main` begins, from the environment and nowhere else. So a process that has
/// none becomes one that has, with the same number, descriptors and arguments; if it cannot, it goes on as it is, and
/// takes more memory at times.
fn settle_allocator() {
    let (name, value) = PURGE_DELAY;
    if std::env::var_os(name).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut args = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(own_name) = args.next() {
        command.arg0(own_name);
    }
    let error = command.args(args).env(name, value).exec();
    eprintln!("graphited: the allocator has no settings: {error}");
}

fn main() -> ExitCode {
    settle_allocator();
    let matches = match config::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let mut ready = Ready::new(matches.get_one::<i32>("ready-fd").copied());
    let config = match Config::load(&matches, environment()) {
        Ok(config) => config,
        Err(error) => return fail(&mut ready, exit::USAGE, &error.to_string()),
    };
    if matches.get_flag("print-config") {
        print!("{}", config.show());
        return ExitCode::from(exit::OK);
    }
    if matches.get_flag("check-config") {
        return ExitCode::from(exit::OK);
    }
    if let Err(why) = start_log(&config.log) {
        return fail(&mut ready, exit::USAGE, &why);
    }
    match daemon::run(config, &mut ready) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(failure) => fail(&mut ready, failure.code, &failure.message),
    }
}

/// What is no text cannot be meant for us.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn start_log(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log = {filter:?}: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    Ok(())
}

fn fail(ready: &mut Ready, code: u8, why: &str) -> ExitCode {
    eprintln!("graphited: {why}");
    ready.failed(why);
    ExitCode::from(code)
}
