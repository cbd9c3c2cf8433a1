//! The `receiver` program: a thin shell around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    receiver::args::PROGRAM.main(device::system::table, receiver::run::run)
}
