//! The `nvenc-bridge` program: a thin shell around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    nvenc_bridge::args::PROGRAM.main(device::system::table, nvenc_bridge::run::run, nvenc_bridge::tools::run)
}
