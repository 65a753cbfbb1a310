//! A descriptor that becomes readable when it is rung: how a Rust thread wakes a Python event loop
//! without the GIL.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

/// An eventfd on Linux, a pipe elsewhere. Ringing never blocks; rings add up until they are cleared.
pub struct WakeFd {
    read: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    write: OwnedFd,
}

impl WakeFd {
    /// A new, silent wake fd.
    pub fn new() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: plain system call; the result is checked and owned at once.
            let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: fresh descriptor, owned by nobody else.
            Ok(Self { read: unsafe { OwnedFd::from_raw_fd(fd) } })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let (read, write) = super::fd::pipe()?;
            super::fd::set_nonblocking(&read)?;
            super::fd::set_nonblocking(&write)?;
            Ok(Self { read, write })
        }
    }

    /// Makes the descriptor readable.
    pub fn notify(&self) {
        #[cfg(target_os = "linux")]
        let (fd, one) = (self.read.as_raw_fd(), 1_u64.to_ne_bytes());
        #[cfg(not(target_os = "linux"))]
        let (fd, one) = (self.write.as_raw_fd(), [1_u8]);
        // SAFETY: the buffer outlives the call and the descriptor is open. The only possible failure is
        // that the wake fd is already as loud as can be.
        unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
    }

    /// Makes the descriptor silent again.
    pub fn clear(&self) {
        let mut buffer = [0_u8; 64];
        // SAFETY: as above; it fails only when there was nothing to read.
        unsafe { libc::read(self.read.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    }

    /// The descriptor to watch for reading.
    pub fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// Waits until the wake fd is rung, whatever signals come.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            match self.wait_for(None, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                waited => return waited.map(drop),
            }
        }
    }

    /// As [`wait`](Self::wait), but for no longer than `timeout`; it may be a little less than a millisecond
    /// longer. Returns whether the wake fd was rung. Fails with [`io::ErrorKind::Interrupted`] when a signal comes; `unblocked` is a signal mask to wait
    /// with.
    pub fn wait_for(
        &self,
        unblocked: Option<&libc::sigset_t>,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        let mut poll = libc::pollfd { fd: self.fd(), events: libc::POLLIN, revents: 0 };
        #[cfg(target_os = "linux")]
        // SAFETY: one pollfd and a timeout that outlive the call; a null timeout waits; the mask is valid or
        // null.
        let ready = unsafe {
            let mask = unblocked.map_or(std::ptr::null(), std::ptr::from_ref);
            let timeout = timeout.map(|timeout| libc::timespec {
                tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: timeout.subsec_nanos().cast_signed().into(),
            });
            let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            libc::ppoll(&raw mut poll, 1, timeout, mask)
        };
        #[cfg(not(target_os = "linux"))]
        // SAFETY: as above. Without ppoll a signal between the change of mask and the wait is seen only
        // at the next one.
        let ready = unsafe {
            let mut blocked = std::mem::zeroed();
            if let Some(mask) = unblocked {
                libc::pthread_sigmask(libc::SIG_SETMASK, mask, &raw mut blocked);
            }
            let millis =
                |timeout: Duration| timeout.as_micros().div_ceil(1000).try_into().unwrap_or(libc::c_int::MAX);
            let ready = libc::poll(&raw mut poll, 1, timeout.map_or(-1, millis));
            if unblocked.is_some() {
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, std::ptr::null_mut());
            }
            ready
        };
        if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(ready > 0) }
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
    fn a_ring_is_seen_until_cleared() {
        let wake_fd = WakeFd::new().unwrap();
        wake_fd.notify();
        wake_fd.notify();
        wake_fd.wait().unwrap();
        wake_fd.wait().unwrap();
        wake_fd.clear();
        let mut poll = libc::pollfd { fd: wake_fd.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd that outlives the call.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 0) }, 0);
    }

    #[test]
    fn a_wait_can_end_without_a_ring() {
        let wake_fd = WakeFd::new().unwrap();
        let start = std::time::Instant::now();
        assert!(!wake_fd.wait_for(None, Some(Duration::from_millis(20))).unwrap());
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
