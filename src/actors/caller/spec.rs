//! What a Caller is, and why one cannot be had.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use crate::wire::run_mode::Backend;

/// The name of workers: children without a name of their own.
pub const WORKER: &str = "callboard_caller";

/// What a Caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Unique in this process.
    pub id: u64,
    /// The name, also of its thread.
    pub name: String,
    /// Whose event loop it runs.
    pub backend: Backend,
    /// Whether that is to be uvloop's.
    pub use_uvloop: Option<bool>,
    /// The Caller that stops it.
    pub parent: Option<u64>,
    /// Its role.
    pub role: Role,
}

/// The role of a Caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of the kernel's own: `Shell`, `Control`.
    Kernel,
    /// Found by its name.
    Named,
    /// Not found by its name, which is for display only.
    Unnamed,
    /// Runs one call or cell after the other for its parent.
    Worker,
    /// Runs the cells of the subshell with this id.
    Subshell(String),
}

impl Spec {
    /// A Caller with an id of its own.
    pub fn new(name: &str, role: Role) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.to_owned(),
            backend: Backend::default(),
            use_uvloop: None,
            parent: None,
            role,
        }
    }
}

/// Why there is no such Caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallerError {
    /// It exists with another event loop.
    #[error("the Caller {name:?} runs on {has}, not on {wanted}: use another name, or leave the backend out")]
    Backend {
        /// Its name.
        name: String,
        /// What it runs on.
        has: Backend,
        /// What was asked for.
        wanted: Backend,
    },
    /// The parent ends.
    #[error("the Caller {0:?} is stopping: it takes no more children")]
    Stopping(String),
    /// The system gives no more.
    #[error("a Caller cannot be made: {0}. Raise the limit for open files (ulimit -n), or stop some Callers")]
    Resources(String),
}

impl From<io::Error> for CallerError {
    fn from(error: io::Error) -> Self {
        Self::Resources(error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn ids_are_unique_among_threads() {
        let make = || (0..1000).map(|_| Spec::new("a", Role::Worker).id).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(make)).collect();
        let ids: HashSet<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 4000);
        assert!(!ids.contains(&0));
    }

    #[test]
    fn errors_say_what_to_do() {
        let stopping = CallerError::Stopping("X".to_owned()).to_string();
        assert_eq!(stopping, "the Caller \"X\" is stopping: it takes no more children");
        let resources = CallerError::from(io::Error::from_raw_os_error(libc::EMFILE)).to_string();
        assert!(resources.contains("Too many open files") && resources.contains("ulimit -n"), "{resources}");
    }
}
