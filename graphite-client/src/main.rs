//! The command `graphite`: asks, loads and looks after a database from the command line.

fn main() -> std::process::ExitCode {
    graphite_client::cli::main()
}
