//! File descriptors: pipes, copies, flags.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A pipe whose ends child processes do not inherit: read, write.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: room for two descriptors; the result is checked and owned at once.
    if unsafe { libc::pipe(fds.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fresh descriptors, owned by nobody else.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    for end in [&read, &write] {
        // SAFETY: an open descriptor.
        if unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((read, write))
}

/// Makes reads and writes of this end fail instead of wait.
pub fn set_nonblocking(end: &OwnedFd) -> io::Result<()> {
    // SAFETY: an open descriptor.
    let status = unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Another descriptor for the same file, not inherited by child processes.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fails cleanly if `fd` is not open; the result is checked and owned at once.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: fresh descriptor, owned by nobody else.
    if copy < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(copy) }) }
}
