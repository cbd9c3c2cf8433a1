//! Compiles the double where a compiler, NVENC's header and openh264 are installed; elsewhere its tests are skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=c");
    // A folder with an `nvEncodeAPI.h` of another version, to hold the declarations against.
    println!("cargo:rerun-if-env-changed=NVENC_HEADERS");
    let headers = std::env::var("NVENC_HEADERS").unwrap_or_else(|_| "/usr/include/ffnvcodec".to_owned());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let double = compile(
        &headers,
        &out.join("double.so"),
        &["c/double.c", "c/config.c", "c/cuda.c", "c/coder.c", "c/report.c"],
        &["-shared", "-fPIC"],
        &["-lopenh264", "-ldl", "-lpthread"],
    );
    let layout = compile(&headers, &out.join("layout"), &["c/layout.c"], &[], &[]);
    println!("cargo:rustc-env=NVENC_DOUBLE={double}");
    println!("cargo:rustc-env=NVENC_LAYOUT={layout}");
}

/// Path of what was made, or nothing.
fn compile(headers: &str, made: &Path, sources: &[&str], before: &[&str], after: &[&str]) -> String {
    let compiled = Command::new("cc")
        .args([
            "-std=gnu11",
            "-O1",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unused-parameter",
            "-I",
            headers,
            "-o",
        ])
        .arg(made)
        .args(before)
        .args(sources)
        .args(after)
        .output();
    match compiled {
        Ok(output) if output.status.success() => made.display().to_string(),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            println!(
                "cargo:warning=the stand-in for NVENC is not built, and its tests are skipped: {}",
                text.lines().next().unwrap_or_default()
            );
            String::new()
        }
        Err(error) => {
            println!(
                "cargo:warning=the stand-in for NVENC is not built (cc: {error}), and its tests are skipped"
            );
            String::new()
        }
    }
}
