//! The files of cells that are debugged: a client asks for them by the cell's code, and names breakpoints by them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::cell_file;
use crate::wire::dap::read_arguments;

/// The folder of the files of cells. Made when the first is written; removed with its files when this is dropped.
pub struct CellFolder {
    folder: PathBuf,
    made: bool,
}

#[derive(Deserialize)]
struct DumpCell {
    code: String,
}

#[derive(Deserialize)]
struct OfSource {
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    path: String,
}

impl CellFolder {
    /// A folder, which need not be there.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, made: false }
    }

    /// What the names of all cells' files begin with.
    pub fn prefix(&self) -> String {
        format!("{}/", self.folder.display())
    }

    /// Writes the code of a cell to its file. Returns the file's name, or says what is wrong.
    pub fn dump(&mut self, arguments: Option<&RawValue>) -> Result<String, String> {
        let DumpCell { code } = read_arguments(arguments, "dumpCell")?;
        let path = cell_file(&self.folder.display().to_string(), code.as_bytes());
        self.write(Path::new(&path), &code).map_err(|error| format!("{path} cannot be written: {error}"))?;
        Ok(path)
    }

    fn write(&mut self, path: &Path, code: &str) -> io::Result<()> {
        if !self.made {
            match DirBuilder::new().mode(0o700).create(&self.folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.made = true,
            }
        }
        // Not to be read by others, and not through a link that others have put there.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        options.open(path)?.write_all(code.as_bytes())
    }

    /// The text of a source.
    pub fn source(&self, arguments: Option<&RawValue>) -> Result<String, String> {
        let OfSource { source: Source { path } } = read_arguments(arguments, "source")?;
        let bytes = fs::read(&path).map_err(|error| format!("the source {path} cannot be read: {error}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for CellFolder {
    fn drop(&mut self) {
        if self.made {
            // Nothing can be done about a file that stays.
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    #[test]
    fn cells_are_written_for_their_owner_alone_and_removed_at_the_end() {
        let top = std::env::temp_dir().join(format!("callboard-cells-{}", std::process::id()));
        let mut cells = CellFolder::new(top.clone());
        assert!(!top.exists());
        let code = "\n\nprint('\u{e9}')";
        let asked = to_raw_value(&json!({"code": code})).unwrap();
        let path = cells.dump(Some(&asked)).unwrap();
        assert!(
            path.starts_with(&cells.prefix()) && Path::new(&path).extension().is_some_and(|end| end == "py")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), code);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&top).unwrap().permissions().mode() & 0o777, 0o700);
        let source = to_raw_value(&json!({"source": {"path": path}})).unwrap();
        assert_eq!(cells.source(Some(&source)).unwrap(), code);
        drop(cells);
        assert!(!top.exists());
    }

    #[test]
    fn wrong_arguments_are_named() {
        let mut cells = CellFolder::new("/nowhere/at all".into());
        for wrong in [None, Some(json!({})), Some(json!({"code": 1})), Some(json!([]))] {
            let wrong = wrong.map(|wrong| to_raw_value(&wrong).unwrap());
            assert!(cells.dump(wrong.as_deref()).unwrap_err().contains("the arguments of dumpCell"));
        }
        let asked = to_raw_value(&json!({"code": ""})).unwrap();
        assert!(cells.dump(Some(&asked)).unwrap_err().contains("cannot be written"));
        let source = to_raw_value(&json!({"source": {"path": "/nowhere.py"}})).unwrap();
        assert!(cells.source(Some(&source)).unwrap_err().contains("/nowhere.py cannot be read"));
    }
}
