//! What the system allows this process.

use tracing::debug;

/// How many open files the kernel asks for. Each connection of a client takes five, each thread of a Caller a few;
/// the usual limits are 1,024 (Linux) and 256 (macOS). No more than Jupyter Server sets for itself and its kernels: code
/// of users may call `select`, which knows no descriptors from 1,024 on, and meets them only when all below are taken.
const OPEN_FILES: libc::rlim_t = 4096;

/// Raises the limit of open files to 4,096, or to what the hard limit allows. A limit that is higher stays.
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a limit that lives as long as they take.
    let status = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            -1
        } else if limit.rlim_cur >= OPEN_FILES.min(limit.rlim_max) {
            0
        } else {
            limit.rlim_cur = OPEN_FILES.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
        }
    };
    if status != 0 {
        debug!(error = %std::io::Error::last_os_error(), "the limit of open files stays as it is");
    }
}

/// Lets all threads take memory from two pools (arenas). glibc would make eight for each processor, and what subshells and
/// workers that have ended have left free lies scattered in all of them: memory would grow by a tenth in a quarter of an
/// hour of work. `MALLOC_ARENA_MAX` in the environment counts instead, if it is set: many threads of a library in C that
/// allocate large blocks all the time may be faster with more. To be called before there are threads.
pub fn share_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: sets a parameter of the allocator.
        if unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) } == 0 {
            debug!("the number of memory arenas stays as it is");
        }
    }
}
