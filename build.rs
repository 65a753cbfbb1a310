//! Links the `kernel` binary and the benchmarks with libpython, and puts the library's folder into their rpath, so
//! that `cargo run --bin kernel` finds it without `LD_LIBRARY_PATH`.
//!
//! The extension module must not be linked with libpython, and `.cargo/config.toml` tells PyO3 so for the
//! whole build; without that file PyO3 links libpython itself and this only adds the rpath.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "python")]
    link_python();
}

#[cfg(feature = "python")]
fn link_python() {
    let python = pyo3_build_config::get();
    for kind in ["bins", "benches"] {
        if let Some(folder) = python.lib_dir() {
            println!("cargo:rustc-link-arg-{kind}=-L{folder}");
            println!("cargo:rustc-link-arg-{kind}=-Wl,-rpath,{folder}");
        }
        if let Some(name) = python.lib_name() {
            println!("cargo:rustc-link-arg-{kind}=-l{name}");
        }
    }
}
