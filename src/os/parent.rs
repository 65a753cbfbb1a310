//! Notices the end of the process that started the kernel, without polling.
//!
//! The process with a given id is watched, not the id of the parent: an orphan is given to process 1 or to a subreaper,
//! and a provisioner need not be the parent.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, getpid, getppid, test_kill_process};

use super::process_group::session;

/// The environment variable in which Jupyter's servers and clients put their process id.
const VARIABLE: &str = "JPY_PARENT_PID";

/// Reads the process id that `JPY_PARENT_PID` names. None if that process is not to be watched: there is no number, or it
/// is process 1, which outlives all others of its container, or the number is from another container.
pub fn from_environment() -> Option<libc::pid_t> {
    let value = std::env::var(VARIABLE).ok()?;
    let Some(pid) = parse(&value) else {
        tracing::warn!(value, "{VARIABLE} is no process id: the kernel does not notice when its parent ends");
        return None;
    };
    if pid <= 1 || pid == getpid().as_raw_pid() {
        return None;
    }
    if !exists(pid) && !is_known_here(Pid::as_raw(getppid()), session()) {
        tracing::info!(pid, "{VARIABLE} names a process outside of this container, which is not watched");
        return None;
    }
    Some(pid)
}

/// A process id, or 0 for none.
fn parse(value: &str) -> Option<libc::pid_t> {
    match value.trim() {
        "" => Some(0),
        value => value.parse().ok().filter(|pid| *pid >= 0),
    }
}

/// Whether process ids mean the same here as to the process that started this one. They do not in a container that has
/// inherited the environment from outside: there the parent is the container's first process or outside (0), and so is
/// the leader of the session. An orphan may be a child of the first process too, but is in its own session, or in that of
/// the processes that started it.
fn is_known_here(parent: libc::pid_t, session: libc::pid_t) -> bool {
    parent > 1 || (parent == 1 && session > 1)
}

fn exists(pid: libc::pid_t) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Completes when the process has ended; at once if it had ended before.
#[cfg(target_os = "linux")]
pub async fn ended(pid: libc::pid_t) -> io::Result<()> {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(error) => return if_gone(error.into()),
    };
    // SAFETY: the descriptor stays open while it is watched: the `AsyncFd` owns it.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
    fd.readable().await.map(drop)
}

/// Completes when the process has ended; at once if it had ended before.
#[cfg(not(target_os = "linux"))]
pub async fn ended(pid: libc::pid_t) -> io::Result<()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("parent-watch".into()).spawn(move || {
        let waited = wait_with_kqueue(pid);
        // The receiver is gone when the kernel ends by itself.
        drop(sender.send(waited));
    })?;
    receiver.await.map_err(io::Error::other)?
}

#[cfg(not(target_os = "linux"))]
fn wait_with_kqueue(pid: libc::pid_t) -> io::Result<()> {
    super::signals::block_all()?;
    // SAFETY: plain system calls on a descriptor that is checked first; the structures outlive the calls.
    unsafe {
        let queue = libc::kqueue();
        if queue < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut event: libc::kevent = std::mem::zeroed();
        event.ident = usize::try_from(pid).map_err(io::Error::other)?;
        event.filter = libc::EVFILT_PROC;
        event.flags = libc::EV_ADD | libc::EV_ONESHOT;
        event.fflags = libc::NOTE_EXIT;
        let mut seen: libc::kevent = std::mem::zeroed();
        let count = libc::kevent(queue, &raw const event, 1, &raw mut seen, 1, std::ptr::null());
        let error = if count < 0 {
            Some(io::Error::last_os_error())
        } else if seen.flags & libc::EV_ERROR != 0 {
            Some(io::Error::from_raw_os_error(i32::try_from(seen.data).unwrap_or_default()))
        } else {
            None
        };
        libc::close(queue);
        error.map_or(Ok(()), if_gone)
    }
}

/// Turns the error that there is no such process into success: it has ended.
fn if_gone(error: io::Error) -> io::Result<()> {
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_variable_may_hold() {
        for (value, pid) in [("", 0), ("0", 0), ("1", 1), ("4711", 4711), (" 4711\n", 4711)] {
            assert_eq!(parse(value), Some(pid), "{value:?}");
        }
        for value in ["-1", "abc", "12x", "99999999999999", "1.5"] {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }

    #[test]
    fn numbers_from_outside_a_container_mean_nothing() {
        // Started from outside of it; by its first process, in whose session it is; in a session from outside.
        for (parent, session) in [(0, 0), (0, 1), (0, 7), (1, 1), (1, 0)] {
            assert!(!is_known_here(parent, session), "{parent} {session}");
        }
        // An orphan; a child of a subreaper; a child of any other process.
        for (parent, session) in [(1, 7), (50, 7), (50, 0), (50, 1)] {
            assert!(is_known_here(parent, session), "{parent} {session}");
        }
    }
}
