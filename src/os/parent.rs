//! Notices the end of the process that started the kernel, without polling.

use std::io;

/// The process that `JPY_PARENT_PID` names, as Jupyter's servers and clients set it.
pub fn from_environment() -> Option<libc::pid_t> {
    std::env::var("JPY_PARENT_PID").ok()?.parse().ok().filter(|pid| *pid > 0)
}

/// Completes when the process has ended.
#[cfg(target_os = "linux")]
pub async fn ended(pid: libc::pid_t) -> io::Result<()> {
    use std::os::fd::{FromRawFd, OwnedFd};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    // SAFETY: plain system call; the result is checked and owned at once.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: fresh descriptor, owned by nobody else, and by `fd` as long as it is watched.
    let fd = unsafe { AsyncFd::register_with_interest(OwnedFd::from_raw_fd(fd), Interest::READABLE)? };
    fd.readable().await.map(drop)
}

/// Completes when the process has ended.
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
    super::signals::block_sigint()?;
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
        let result = if count < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        libc::close(queue);
        result
    }
}
