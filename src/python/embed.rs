//! CPython inside the `kernel` binary.

use std::ffi::{CString, NulError, OsStr};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;
use thiserror::Error;

use super::kernel::hand_over;
use crate::startup::boot::Booted;

/// Python cannot be started.
#[derive(Debug, Error)]
pub enum EmbedError {
    /// No Python is named and none is found.
    #[error("no Python found: name one with --python, activate a venv, or put python3 on PATH")]
    NoPython,
    /// The Python that is named does not exist.
    #[error("there is no Python at {0}: give the path of an interpreter, such as .venv/bin/python")]
    NotThere(PathBuf),
    /// The Python that is named is of another version than this binary.
    #[error(
        "this binary was built for Python {linked}, but {python} is {found}: name another with --python, or build \
         for this one: PYO3_PYTHON={python} cargo build --bin kernel"
    )]
    OtherVersion {
        /// The version that the binary is linked with, such as `3.11`.
        linked: String,
        /// The interpreter.
        python: PathBuf,
        /// Its version.
        found: String,
    },
    /// A path with a zero byte.
    #[error("the path of Python has a zero byte in it")]
    Path(#[from] NulError),
    /// CPython cannot start.
    #[error("Python cannot start: {0}")]
    Init(String),
}

/// Finds the Python to run: the named one, that of `VIRTUAL_ENV`, or the first on PATH.
pub fn find_python(named: Option<&Path>) -> Result<PathBuf, EmbedError> {
    if let Some(named) = named {
        return if named.is_file() {
            Ok(absolute(named))
        } else {
            Err(EmbedError::NotThere(named.to_owned()))
        };
    }
    if let Some(venv) = std::env::var_os("VIRTUAL_ENV").filter(|venv| !venv.is_empty()) {
        let python = Path::new(&venv).join("bin/python");
        return if python.is_file() { Ok(python) } else { Err(EmbedError::NotThere(python)) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("python3"))
        .find(|python| python.is_file())
        .ok_or(EmbedError::NoPython)
}

/// Makes a path absolute and keeps symbolic links: a venv is found by the link in its `bin`.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The version of the CPython that this binary is linked with, as in `sys.version`.
pub fn linked_version() -> String {
    // SAFETY: may be called before Python is initialised; returns a static string.
    let version = unsafe { std::ffi::CStr::from_ptr(ffi::Py_GetVersion()) };
    version.to_string_lossy().into_owned()
}

/// Checks, without starting it, that an interpreter is of the version that this binary is linked with. An interpreter of
/// unknown version passes.
pub fn check_version(python: &Path) -> Result<(), EmbedError> {
    let linked = minor(&linked_version()).unwrap_or_default();
    match version_of(python) {
        Some(found) if found != linked => {
            Err(EmbedError::OtherVersion { linked, python: python.to_owned(), found })
        }
        _ => Ok(()),
    }
}

/// The version of an interpreter, from its venv or else from the name of its file.
fn version_of(python: &Path) -> Option<String> {
    let venv = python.parent()?.parent()?.join("pyvenv.cfg");
    let said = std::fs::read_to_string(venv).unwrap_or_default();
    let said = said.lines().filter_map(|line| line.split_once('='));
    let version = said.into_iter().find(|(key, _)| matches!(key.trim(), "version" | "version_info"));
    if let Some((_, version)) = version {
        return minor(version.trim());
    }
    let file = std::fs::canonicalize(python).ok()?;
    minor(file.file_name()?.to_str()?.strip_prefix("python")?)
}

/// `3.11` of `3.11.7 (main, ...)`.
fn minor(version: &str) -> Option<String> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let (major, minor) = (parts.next()?, parts.next()?);
    (!major.is_empty() && !minor.is_empty()).then(|| format!("{major}.{minor}"))
}

/// Starts CPython as `python` would, and runs the Python side of `booted` until it ends. Returns the exit code. Call it
/// once, on the main thread.
pub fn run(python: &Path, args: &[String], booted: Booted) -> Result<i32, EmbedError> {
    hand_over(booted);
    initialize(python)?;
    let ended = Python::attach(|py| {
        let ended = launch(py, python, args);
        ended.unwrap_or_else(|error| exit_code(py, &error))
    });
    // SAFETY: this is the thread that initialised Python, and PyO3 has detached it. Waits for threads that are not daemons
    // and runs atexit handlers; the lifecycle's deadline bounds both.
    unsafe {
        ffi::PyGILState_Ensure();
        ffi::Py_FinalizeEx();
    }
    Ok(ended)
}

fn launch(py: Python<'_>, python: &Path, args: &[String]) -> PyResult<i32> {
    let sys = py.import("sys")?;
    let core = pyo3::wrap_pymodule!(super::_core)(py);
    sys.getattr("modules")?.set_item("callboard._core", core)?;
    let program = std::env::args().next().unwrap_or_default();
    sys.setattr("argv", [&[program], args].concat())?;
    // PYTHONPATH may name the current folder: its files must not be imported.
    let search_path = PyModule::from_code(
        py,
        ffi::c_str!(include_str!("../../python/callboard/util/search_path.py")),
        c"callboard/util/search_path.py",
        c"callboard.util.search_path",
    )?;
    search_path.call_method0("hide_current_folder")?;
    // A binary that runs from a source tree (`cargo run`) imports the package of that tree first.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
    let path = sys.getattr("path")?;
    let path = path.cast::<PyList>()?;
    let in_tree = Path::new(source).join("callboard/__init__.py").is_file();
    if in_tree {
        path.insert(0, source)?;
    }
    let main = py.import("callboard.launch");
    if in_tree {
        path.del_item(0)?;
    }
    let main = main.map_err(|error| {
        let missing = error.value(py).getattr("name").and_then(|name| name.extract::<String>());
        if missing.is_ok_and(|name| name == "callboard") {
            let message = format!(
                "kernel: {python} has no package callboard: install it there, {python} -m pip install callboard",
                python = python.display()
            );
            return pyo3::exceptions::PySystemExit::new_err(message);
        }
        error
    })?;
    main.call_method1("main", (args.to_vec(),))?.extract()
}

/// Prints an exception that ended Python, as Python would. Returns the exit code.
fn exit_code(py: Python<'_>, error: &PyErr) -> i32 {
    if error.is_instance_of::<pyo3::exceptions::PySystemExit>(py) {
        let code = error.value(py).getattr("code").ok();
        return match code {
            Some(code) if code.is_none() => 0,
            Some(code) => code.extract().unwrap_or_else(|_| {
                // Without a terminal the exit code remains.
                drop(writeln!(std::io::stderr(), "{code}"));
                1
            }),
            None => 1,
        };
    }
    error.print(py);
    1
}

fn initialize(python: &Path) -> Result<(), EmbedError> {
    let path = CString::new(OsStr::as_bytes(python.as_os_str()))?;
    // SAFETY: the configuration is initialised before it is used and cleared on every path; CPython copies strings.
    unsafe {
        let mut config: ffi::PyConfig = std::mem::zeroed();
        ffi::PyConfig_InitPythonConfig(&raw mut config);
        config.parse_argv = 0;
        // Both are the link in the venv: site finds pyvenv.cfg from it. VIRTUAL_ENV alone is not enough.
        let fields = [&raw mut config.program_name, &raw mut config.executable];
        let mut status = ffi::PyStatus_Ok();
        for field in fields {
            if ffi::PyStatus_Exception(status) == 0 {
                status = ffi::PyConfig_SetBytesString(&raw mut config, field, path.as_ptr());
            }
        }
        if ffi::PyStatus_Exception(status) == 0 {
            status = ffi::Py_InitializeFromConfig(&raw const config);
        }
        ffi::PyConfig_Clear(&raw mut config);
        if ffi::PyStatus_Exception(status) != 0 {
            let told = if status.err_msg.is_null() {
                "no reason given".into()
            } else {
                std::ffi::CStr::from_ptr(status.err_msg).to_string_lossy().into_owned()
            };
            return Err(EmbedError::Init(told));
        }
        // Python is initialised and this thread holds the GIL; PyO3 attaches and detaches from here on.
        ffi::PyEval_SaveThread();
    }
    Ok(())
}
