//! Links the `kernel` binary and the benchmarks with libpython, and adds the library's folder to their rpath, so that
//! `cargo run --bin kernel` finds it without `LD_LIBRARY_PATH`.
//!
//! The extension module must not be linked with libpython: `.cargo/config.toml` configures PyO3 for that in the whole
//! build. Without that file PyO3 links libpython itself, and this script only adds the rpath. On macOS the linker has to be
//! told that the interpreter brings the missing functions; cargo builds the module for the binary too, without maturin,
//! which would tell it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "python")]
    {
        // For what is different in a free-threaded build of Python: Py_GIL_DISABLED.
        pyo3_build_config::use_pyo3_cfgs();
        link_python();
    }
}

#[cfg(feature = "python")]
fn link_python() {
    pyo3_build_config::add_extension_module_link_args();
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
