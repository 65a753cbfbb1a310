//! A descriptor that becomes readable when it is notified: wakes a Python event loop from a Rust thread, without the
//! GIL.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

/// An eventfd on Linux, a pipe elsewhere. To notify it never blocks; it stays readable until it is cleared.
pub struct WakeFd {
    read: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    write: OwnedFd,
}

impl WakeFd {
    /// Opens one that is not readable.
    pub fn new() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            use rustix::event::{EventfdFlags, eventfd};

            Ok(Self { read: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)? })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let (read, write) = io::pipe()?;
            rustix::io::ioctl_fionbio(&read, true)?;
            rustix::io::ioctl_fionbio(&write, true)?;
            Ok(Self { read: read.into(), write: write.into() })
        }
    }

    /// Makes the descriptor readable. Safe in a signal handler.
    pub fn notify(&self) {
        #[cfg(target_os = "linux")]
        let written = rustix::io::write(&self.read, &1_u64.to_ne_bytes());
        #[cfg(not(target_os = "linux"))]
        let written = rustix::io::write(&self.write, &[1]);
        // Fails only if the counter or the pipe is full: then it is readable already.
        written.ok();
    }

    /// Makes the descriptor not readable.
    pub fn clear(&self) {
        // An eventfd is read once; a pipe has one byte for each time it was notified. Fails only if there is nothing to
        // read.
        let mut bytes = [0_u8; 512];
        while rustix::io::read(&self.read, &mut bytes).is_ok_and(|count| count == bytes.len()) {}
    }

    /// The descriptor to watch for reading.
    pub fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// Waits until it is notified, whatever signals come.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            match self.wait_for(None, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                waited => return waited.map(drop),
            }
        }
    }

    /// Waits until it is notified, or for `timeout` (rounded up to milliseconds where there is no `ppoll`). Returns whether
    /// it was notified. Fails with [`io::ErrorKind::Interrupted`] when a signal comes; `unblocked` is the signal mask to
    /// wait with.
    pub fn wait_for(
        &self,
        unblocked: Option<&libc::sigset_t>,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        {
            let mut watched = libc::pollfd { fd: self.fd(), events: libc::POLLIN, revents: 0 };
            let timeout = timeout.map(|timeout| libc::timespec {
                tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: timeout.subsec_nanos().cast_signed().into(),
            });
            let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            let mask = unblocked.map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: one pollfd, and a timeout and a mask that are valid or null; all outlive the call.
            let ready = unsafe { libc::ppoll(&raw mut watched, 1, timeout, mask) };
            if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(ready > 0) }
        }
        #[cfg(not(target_os = "linux"))]
        {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};

            // Without ppoll, a SIGINT between the change of the mask and the wait does not end the wait. The SIGURG that
            // follows it does (see `sigint`).
            let blocked = unblocked.copied().map(super::signals::replace).transpose()?;
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            let ready = poll(&mut [PollFd::new(&self.read, PollFlags::IN)], timeout.as_ref());
            if let Some(blocked) = &blocked {
                super::signals::restore(blocked);
            }
            Ok(ready? > 0)
        }
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Wake for WakeFd {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stays_readable_until_cleared() {
        let wake_fd = WakeFd::new().unwrap();
        for _ in 0..3000 {
            wake_fd.notify();
        }
        wake_fd.wait().unwrap();
        wake_fd.wait().unwrap();
        wake_fd.clear();
        assert!(!wake_fd.wait_for(None, Some(Duration::ZERO)).unwrap());
    }

    #[test]
    fn a_wait_ends_after_its_timeout() {
        let wake_fd = WakeFd::new().unwrap();
        let start = std::time::Instant::now();
        assert!(!wake_fd.wait_for(None, Some(Duration::from_millis(20))).unwrap());
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
