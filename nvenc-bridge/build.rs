//! Compiles the encoders in C that were asked for, against the headers of the system.

fn main() {
    println!("cargo::rerun-if-changed=c");
    #[cfg(any(feature = "x264", feature = "x265", feature = "svtav1"))]
    for (name, library, wanted) in [
        ("x264", "x264", cfg!(feature = "x264")),
        ("x265", "x265", cfg!(feature = "x265")),
        ("svtav1", "SvtAv1Enc", cfg!(feature = "svtav1")),
    ] {
        if wanted {
            cc::Build::new()
                .file(format!("c/{name}.c"))
                .warnings_into_errors(true)
                .compile(&format!("shim_{name}"));
            println!("cargo::rustc-link-lib={library}");
        }
    }
}
