//! Jupyter's folders, the same as in `jupyter_core.paths`.

use std::path::PathBuf;

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
