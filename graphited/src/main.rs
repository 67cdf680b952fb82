//! `graphited`: the command line, the log, the exit code.

mod allocator;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use graphited::config::{self, Config};
use graphited::daemon;
use graphited::exit;
use graphited::offline;
use graphited::ready::Ready;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    allocator::settle();
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
    if matches.get_flag("check") {
        return answer(offline::check(&config));
    }
    if let Some(out) = matches.get_one::<PathBuf>("salvage") {
        return answer(offline::salvage(&config, out));
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
        // A log on a full disk is a log that is lost. To complain of it on standard error, where it goes, would panic.
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// What was found is in the answer. The exit code tells whether it could be given.
fn answer(given: std::io::Result<()>) -> ExitCode {
    ExitCode::from(if given.is_ok() { exit::OK } else { exit::IO })
}

fn fail(ready: &mut Ready, code: u8, why: &str) -> ExitCode {
    // The exit code tells too, if nothing can be written.
    let _ = writeln!(std::io::stderr(), "graphited: {why}");
    ready.failed(why);
    ExitCode::from(code)
}
