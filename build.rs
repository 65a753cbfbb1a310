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
        if let Some(loader) = python.executable().and_then(loader_of_its_own) {
            println!("cargo:rustc-link-arg-{kind}=-Wl,--dynamic-linker={loader}");
            println!("cargo:rustc-link-arg-{kind}=-Wl,--disable-new-dtags,--allow-shlib-undefined");
        }
    }
}

/// The dynamic loader that a Python names, if it is another one than that of the system's programs: a Python that was
/// unpacked with a C library of its own needs that in the binary too.
#[cfg(feature = "python")]
fn loader_of_its_own(python: &str) -> Option<String> {
    let loader = loader(&std::fs::canonicalize(python).ok()?)?;
    (Some(&loader) != self::loader("/bin/sh".as_ref()).as_ref()).then_some(loader)
}

/// The dynamic loader that a program names. None where that cannot be said, as on macOS.
#[cfg(feature = "python")]
fn loader(program: &std::path::Path) -> Option<String> {
    let headers =
        std::process::Command::new("readelf").arg("--program-headers").arg(program).output().ok()?;
    let headers = String::from_utf8_lossy(&headers.stdout).into_owned();
    let named = headers.split_once("program interpreter: ")?.1.split_once(']')?.0;
    Some(named.to_owned())
}
