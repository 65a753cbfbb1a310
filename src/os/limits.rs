//! The limits that the system sets to this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// How many open files the kernel asks for. Each connection of a client takes five, each thread of a Caller a few; the
/// usual limits are 1,024 (Linux) and 256 (macOS). No more than Jupyter Server sets for itself and its kernels: `select`
/// cannot take descriptors from 1,024 on, and code of users that calls it meets them only when all below are taken.
const OPEN_FILES: u64 = 4096;

/// Raises the limit of open files to 4,096, or to the hard limit if that is lower. A higher limit stays.
pub fn raise_open_files() {
    // None is no limit.
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }) {
        debug!(%error, "the limit of open files stays as it is");
    }
}

/// Lets all threads take memory from two pools (arenas). glibc would make eight for each processor, and the memory that
/// ended subshells and workers leave free lies scattered in all of them: memory would grow by a tenth in a quarter of an
/// hour of work. `MALLOC_ARENA_MAX` in the environment takes precedence: many threads of a C library that allocates large
/// blocks all the time may be faster with more. Call it before other threads start.
pub fn share_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: sets a parameter of the allocator.
        if unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) } == 0 {
            debug!("the number of memory arenas stays as it is");
        }
    }
}
