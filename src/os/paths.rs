//! Jupyter's folders, the same as in `jupyter_core.paths`.

use std::path::PathBuf;

use rustix::fs::Access;

/// Jupyter's runtime folder, where connection files live.
pub fn jupyter_runtime_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(runtime) = set("JUPYTER_RUNTIME_DIR") {
        return Some(runtime);
    }
    if let Some(data) = set("JUPYTER_DATA_DIR") {
        return Some(data.join("runtime"));
    }
    let home = set("HOME")?;
    if cfg!(target_os = "macos") {
        return Some(home.join("Library/Jupyter/runtime"));
    }
    let data = set("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
    Some(data.join("jupyter/runtime"))
}
/// The folder of the files that cells are compiled as, by ipykernel's rule: below the first folder for temporary files
/// that can be written to, as Python's `tempfile` has it. It need not exist.
pub fn cell_folder() -> PathBuf {
    let named = ["TMPDIR", "TEMP", "TMP"].map(std::env::var_os).into_iter().flatten();
    let known = ["/tmp", "/var/tmp", "/usr/tmp", "."].map(Into::into);
    let folders = named.filter(|name| !name.is_empty()).chain(known);
    let mut absolute = folders.filter_map(|folder| std::path::absolute(folder).ok());
    let usable = absolute.find(|folder| {
        folder.is_dir() && rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
    });
    usable.unwrap_or_else(|| ".".into()).join(format!("ipykernel_{}", std::process::id()))
}
