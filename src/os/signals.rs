//! Signals: SIGINT is for Python's main thread alone, and none is for the threads of Rust.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::process::Process;
use super::process_group as group;
use crate::os::files;

/// Blocks SIGINT for the calling thread and for those it starts from now on.
///
/// Every Python thread but the main one does this (those of Rust block more), so that a SIGINT sent to the
/// process reaches the thread whose blocking system call it must cut short.
pub fn block_sigint() -> io::Result<()> {
    change_mask(libc::SIG_BLOCK).map(drop)
}

/// Blocks SIGINT and returns the mask that was in force, to wait with or to put back.
pub fn hold_sigint() -> io::Result<libc::sigset_t> {
    change_mask(libc::SIG_BLOCK)
}

/// Puts back a mask that [`hold_sigint`] returned.
pub fn restore(mask: &libc::sigset_t) {
    // SAFETY: a mask that the system has given out; SIG_SETMASK with a valid mask cannot fail.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}

/// Blocks all signals for the calling thread and for those it starts, but for those that tell of a crash.
///
/// To be called by the threads that never run Python: the handlers that libraries and users install (of SIGCHLD,
/// SIGALRM, SIGPROF) are not for them, and each would cut short what they wait for.
pub fn block_all() -> io::Result<()> {
    const CRASHES: [libc::c_int; 7] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];
    // SAFETY: the set is initialised before it is read, and the signals exist.
    let set = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        for signal in CRASHES {
            libc::sigdelset(&raw mut set, signal);
        }
        set
    };
    apply_mask(libc::SIG_BLOCK, &set).map(drop)
}

fn change_mask(how: libc::c_int) -> io::Result<libc::sigset_t> {
    // SAFETY: the set is initialised before it is read, and the signal exists.
    let set = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        set
    };
    apply_mask(how, &set)
}

fn apply_mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    // SAFETY: both sets are initialised before they are read.
    unsafe {
        let mut before: libc::sigset_t = std::mem::zeroed();
        match libc::pthread_sigmask(how, std::ptr::from_ref(set), &raw mut before) {
            0 => Ok(before),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Sends SIGINT to the calling thread after a delay. The thread must outlive it.
pub fn interrupt_later(delay: Duration) -> io::Result<()> {
    // SAFETY: always succeeds.
    let target = unsafe { libc::pthread_self() };
    thread::Builder::new().name("callboard-interrupt".into()).spawn(move || {
        thread::sleep(delay);
        // SAFETY: the caller vouches for the thread.
        unsafe { libc::pthread_kill(target, libc::SIGINT) };
    })?;
    Ok(())
}

/// The process this kernel runs in.
pub struct ThisProcess {
    main: libc::pthread_t,
    /// Removed when the process is ended: the files that the kernel has made.
    pub leftovers: Vec<PathBuf>,
}

impl ThisProcess {
    /// To be made on the thread that Python will call its main one.
    pub fn new() -> Self {
        // SAFETY: always succeeds.
        Self { main: unsafe { libc::pthread_self() }, leftovers: Vec::new() }
    }
}

impl Default for ThisProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl Process for ThisProcess {
    fn interrupt(&self) {
        // SAFETY: plain system calls; `main` is a thread that lives as long as the process.
        let status = unsafe {
            if libc::getpgrp() == libc::getpid() {
                // The children of a cell (`!sleep 100`) belong to it. Jupyter starts kernels as leaders
                // of their process group; in a shell's group there may be others that are not ours.
                libc::kill(0, libc::SIGINT)
            } else {
                // Not raise() or PyErr_SetInterrupt: those do not cut short a blocking system call.
                libc::pthread_kill(self.main, libc::SIGINT)
            }
        };
        if status != 0 {
            tracing::error!(error = %io::Error::last_os_error(), "the interrupt could not be delivered");
        }
    }

    fn exit_after(&self, deadline: Duration) {
        let leftovers = self.leftovers.clone();
        let watch = move || {
            thread::sleep(deadline);
            tracing::warn!(?deadline, "Python has not ended: the process ends now");
            for path in &leftovers {
                files::remove(path);
            }
            group::end(Duration::ZERO);
            // SAFETY: ends the process at once; nothing of Python or of the actors runs any more.
            unsafe { libc::_exit(0) }
        };
        if let Err(error) = thread::Builder::new().name("callboard-deadline".into()).spawn(watch) {
            tracing::warn!(%error, "there is no thread for the deadline: an alarm ends the process instead");
            exit_by_alarm(deadline);
        }
    }
}

/// Ends the process, with code 0, when this time is up (in whole seconds).
fn exit_by_alarm(deadline: Duration) {
    extern "C" fn leave(_: libc::c_int) {
        // SAFETY: one of the few functions that a signal handler may call.
        unsafe { libc::_exit(0) }
    }
    let handler: extern "C" fn(libc::c_int) = leave;
    let seconds = u32::try_from(deadline.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    // SAFETY: the handler keeps to what is safe in one; whoever used SIGALRM is to end.
    unsafe {
        libc::signal(libc::SIGALRM, handler as libc::sighandler_t);
        libc::alarm(seconds);
    }
}
