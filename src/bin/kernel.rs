//! The kernel with CPython inside: `cargo run --bin kernel -- -f FILE`.
//!
//! Listens first, then starts Python: the kernel answers clients before the interpreter is up.

use std::io::Write;
use std::process::ExitCode;

use callboard::python::embed;
use callboard::startup::boot::boot;
use callboard::startup::settings::Settings;

fn main() -> ExitCode {
    restore_loader_path();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let settings = match Settings::parse_args("kernel", &args) {
        Ok(settings) => settings,
        Err(error) => {
            if let Err(problem) = error.print() {
                return fail(&problem);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let found = embed::find_python(settings.python.as_deref());
    let python = match found.and_then(|python| embed::check_version(&python).map(|()| python)) {
        Ok(python) => python,
        Err(error) => return fail(&error),
    };
    let booted = match boot(settings, &embed::linked_version()) {
        Ok(booted) => booted,
        Err(error) => return fail(&error),
    };
    match embed::run(&python, &args, booted) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => fail(&error),
    }
}

/// Undoes what the launcher of a release's archive (`scripts/kernel-launcher`) has set, so that the loader finds libpython:
/// programs that cells start must not find their libraries there.
fn restore_loader_path() {
    let Some(set) = std::env::var_os("CALLBOARD_LOADER_PATH") else { return };
    let Some((name, before)) = set.to_str().and_then(|set| set.split_once('=')) else { return };
    // SAFETY: the first statement of the program, which has one thread.
    unsafe {
        std::env::remove_var("CALLBOARD_LOADER_PATH");
        if before.is_empty() {
            std::env::remove_var(name);
        } else {
            std::env::set_var(name, before);
        }
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    // Without a terminal the exit code remains.
    drop(writeln!(std::io::stderr(), "kernel: {error}"));
    ExitCode::FAILURE
}
