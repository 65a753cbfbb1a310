//! Files and folders that are for their owner only.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;

/// The longest path of a Unix socket, bytes: `sun_path` without its zero.
pub const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Makes a new folder that only its owner can enter: in `XDG_RUNTIME_DIR`, or where temporary files go. The path is
/// short, because those of the sockets in it must be.
pub fn new_private_folder() -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
    let mut last = None;
    for folder in runtime.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]) {
        let name = format!("callboard-{}", uuid::Uuid::new_v4().simple());
        let path = folder.join(name);
        let fits = path.as_os_str().len() + "/kernel-65535".len() <= SOCKET_PATH_LIMIT;
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) if fits => return Ok(path),
            Ok(()) => {
                fs::remove_dir(&path)?;
                last = Some(io::Error::from(io::ErrorKind::InvalidFilename));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// Makes the parent folder of `path`, and those above it, for their owner only. A folder that exists stays as it is.
pub fn make_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)
        }
        _ => Ok(()),
    }
}

/// Runs `work` with a file mode mask that makes new files private to their owner. The mask is the process's: files that
/// other threads create meanwhile are private too.
pub fn for_owner_only<T>(work: impl FnOnce() -> T) -> T {
    let before = umask(Mode::RWXG | Mode::RWXO);
    let result = work();
    umask(before);
    result
}

/// Checks that a socket can be bound at `path`: there is nothing, or a socket that no process listens on. libzmq removes
/// any file that it finds there.
pub fn check_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Creates an empty file at a free path, so that no other kernel takes the path. Binding a socket there replaces the
/// file; if another socket was bound there in between, binding fails.
pub fn reserve(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Whether others than its owner can read a file.
pub fn others_can_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.mode() & 0o044 != 0)
}

/// Removes a file, or a folder with its content. It may be gone already.
pub fn remove(path: &Path) {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    if let Err(error) = removed {
        tracing::debug!(%error, path = %path.display(), "could not be removed");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_private_folder_is_new_and_for_its_owner_only() {
        let (one, two) = (new_private_folder().unwrap(), new_private_folder().unwrap());
        assert_ne!(one, two);
        assert_eq!(mode(&one), 0o700);
        fs::write(one.join("file"), "").unwrap();
        remove(&one);
        remove(&two);
        assert!(!one.exists() && !two.exists());
    }

    #[test]
    fn folders_that_are_missing_are_made_private() {
        let folder = tempfile::tempdir().unwrap();
        make_folder_of(&folder.path().join("a/b/socket")).unwrap();
        assert_eq!(mode(&folder.path().join("a")), 0o700);
        assert_eq!(mode(&folder.path().join("a/b")), 0o700);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        make_folder_of(&folder.path().join("socket")).unwrap();
        assert_eq!(mode(folder.path()), 0o755, "a folder that exists is left alone");
        make_folder_of(Path::new("socket")).unwrap();
    }

    #[test]
    fn a_path_is_free_if_no_process_listens_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        check_free(&path).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(check_free(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        check_free(&path).unwrap();
        remove(&path);
        fs::write(&path, "of another program").unwrap();
        assert_eq!(check_free(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_path_is_reserved_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        reserve(&path).unwrap();
        assert_eq!(reserve(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_file_that_others_can_read_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        for (mode, told) in [(0o600, false), (0o700, false), (0o640, true), (0o604, true), (0o644, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(others_can_read(&path), told, "{mode:o}");
        }
    }
}
