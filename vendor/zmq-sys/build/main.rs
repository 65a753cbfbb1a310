fn main() {
    println!("cargo:rerun-if-changed=build/main.rs");
    println!("cargo:rerun-if-env-changed=PROFILE");
    // Nobody here can act on the warnings about libzmq's source, and Cargo shows those of a package in the workspace.
    for flags in ["CFLAGS", "CXXFLAGS"] {
        let given = std::env::var(flags).unwrap_or_default();
        std::env::set_var(flags, format!("{} -w", given));
    }
    zeromq_src::Build::new().with_libsodium(libsodium()).build();
}

/// Where libsodium-sys-stable has put the libsodium that it has built; `None` builds libzmq without CURVE.
fn libsodium() -> Option<zeromq_src::LibLocation> {
    std::env::var_os("CARGO_FEATURE_CURVE")?;
    // Cargo hands on what a dependency with `links = "sodium"` says of itself.
    println!("cargo:rerun-if-env-changed=DEP_SODIUM_LIB");
    println!("cargo:rerun-if-env-changed=DEP_SODIUM_INCLUDE");
    let library = std::env::var_os("DEP_SODIUM_LIB");
    let include = std::env::var_os("DEP_SODIUM_INCLUDE");
    match (library, include) {
        (Some(library), Some(include)) => Some(zeromq_src::LibLocation::new(library, include)),
        _ => panic!("libsodium-sys-stable does not say where its libsodium is: unset SODIUM_LIB_DIR"),
    }
}
