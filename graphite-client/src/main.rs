//! The command `graphite`: asks, loads and looks after a database from the command line.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
