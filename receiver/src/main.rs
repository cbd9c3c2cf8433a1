//! The `receiver` program: a thin shell around the library.

use std::convert::Infallible;
use std::process::ExitCode;

fn main() -> ExitCode {
    receiver::args::PROGRAM.main(
        device::system::table,
        receiver::run::run,
        |none: &Infallible| match *none {},
    )
}
