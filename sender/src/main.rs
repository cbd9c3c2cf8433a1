//! The `sender` program: a thin shell around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sender::args::PROGRAM.main(device::system::table, sender::run::run, sender::tools::run)
}
