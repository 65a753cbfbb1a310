//! Signals: SIGINT is for Python's main thread alone, and none is for the threads of Rust.

use std::io;
use std::mem;
use std::path::PathBuf;
use std::ptr;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_current_process_group};

use super::files;
use super::process::{Process, exit_now};
use super::process_group;

/// Blocks SIGINT for the calling thread and for those it starts from now on.
///
/// Every Python thread but the main one does this (those of Rust block more): then the system delivers a SIGINT for the
/// process to the main thread, whose blocking system call it must cut short.
pub fn block_sigint() -> io::Result<()> {
    hold_sigint().map(drop)
}

/// Blocks SIGINT for the calling thread. Returns the previous mask, to wait with or to [`restore`].
pub fn hold_sigint() -> io::Result<libc::sigset_t> {
    // SAFETY: the set is initialised before it is read, and the signal exists.
    let set = unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        set
    };
    apply_mask(libc::SIG_BLOCK, &set)
}

/// Restores a mask that [`hold_sigint`] returned.
pub fn restore(mask: &libc::sigset_t) {
    // SAFETY: a mask that the system has returned; SIG_SETMASK with a valid mask cannot fail.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}

/// Sets the mask of the calling thread. Returns the previous one.
#[cfg(not(target_os = "linux"))]
pub(super) fn replace(mask: libc::sigset_t) -> io::Result<libc::sigset_t> {
    apply_mask(libc::SIG_SETMASK, &mask)
}

/// Blocks all signals but those of a crash, for the calling thread and for those it starts.
///
/// For threads that never run Python: the handlers that libraries and users install (of SIGCHLD, SIGALRM, SIGPROF) are
/// not meant for them, and each signal would cut short what they wait for.
pub fn block_all() -> io::Result<()> {
    const CRASHES: [libc::c_int; 7] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];
    // SAFETY: the set is initialised before it is read, and the signals exist.
    let set = unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut set);
        for signal in CRASHES {
            libc::sigdelset(&raw mut set, signal);
        }
        set
    };
    apply_mask(libc::SIG_BLOCK, &set).map(drop)
}

fn apply_mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    // SAFETY: both sets are initialised before they are read.
    unsafe {
        let mut before: libc::sigset_t = mem::zeroed();
        match libc::pthread_sigmask(how, ptr::from_ref(set), &raw mut before) {
            0 => Ok(before),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// A function that handles a signal. It may run between any two instructions of any thread, so it may call only what is
/// safe in a signal handler (signal-safety(7)).
pub(super) type Handler = extern "C" fn(libc::c_int);

/// Reads how a signal is handled.
pub(super) fn action(signal: libc::c_int) -> io::Result<libc::sigaction> {
    // SAFETY: the structure is initialised before it is read.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        match libc::sigaction(signal, ptr::null(), &raw mut action) {
            0 => Ok(action),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Sets how a signal is handled. Blocks no other signal meanwhile.
pub(super) fn set_handler(signal: libc::c_int, handler: Handler, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: the structure is initialised before it is used; the type of the handler fits the flags.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags & !libc::SA_SIGINFO;
        match libc::sigaction(signal, &raw const action, ptr::null_mut()) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Has SIGALRM sent to the process after this many seconds; 0 takes that back.
pub(super) fn alarm(seconds: libc::c_uint) {
    // SAFETY: a plain system call.
    unsafe { libc::alarm(seconds) };
}

/// A thread that lives at least as long as this handle is used.
#[derive(Clone, Copy)]
pub(super) struct LivingThread(libc::pthread_t);

impl LivingThread {
    /// The calling thread.
    pub(super) fn current() -> Self {
        // SAFETY: always succeeds.
        Self(unsafe { libc::pthread_self() })
    }

    /// Sends a signal to it.
    pub(super) fn kill(self, signal: libc::c_int) -> io::Result<()> {
        // SAFETY: the thread lives.
        match unsafe { libc::pthread_kill(self.0, signal) } {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Sends SIGINT to the calling thread after a delay, which the thread must outlive.
pub fn interrupt_later(delay: Duration) -> io::Result<()> {
    let target = LivingThread::current();
    thread::Builder::new().name("callboard-interrupt".into()).spawn(move || {
        thread::sleep(delay);
        if let Err(error) = target.kill(libc::SIGINT) {
            tracing::error!(%error, "the interrupt could not be delivered");
        }
    })?;
    Ok(())
}

/// The process this kernel runs in.
pub struct ThisProcess {
    main: LivingThread,
    /// Files that the kernel has made, which are removed when the process is ended.
    pub leftovers: Vec<PathBuf>,
}

impl ThisProcess {
    /// Call it on the thread that will be Python's main thread.
    pub fn new() -> Self {
        Self { main: LivingThread::current(), leftovers: Vec::new() }
    }
}

impl Default for ThisProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl Process for ThisProcess {
    fn interrupt(&self) {
        let sent = if process_group::is_led() {
            // The children of a cell (`!sleep 100`) belong to it. Jupyter starts kernels as leaders of their process
            // group; a shell's group may have other members.
            kill_current_process_group(Signal::INT).map_err(io::Error::from)
        } else {
            // Not raise() or PyErr_SetInterrupt: those do not cut short a blocking system call.
            self.main.kill(libc::SIGINT)
        };
        if let Err(error) = sent {
            tracing::error!(%error, "the interrupt could not be delivered");
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
            process_group::end(Duration::ZERO);
            exit_now(0)
        };
        if let Err(error) = thread::Builder::new().name("callboard-deadline".into()).spawn(watch) {
            tracing::warn!(%error, "there is no thread for the deadline: an alarm ends the process instead");
            exit_by_alarm(deadline);
        }
    }
}

/// Ends the process, with code 0, after this time (rounded up to whole seconds). Takes SIGALRM away from any other use.
fn exit_by_alarm(deadline: Duration) {
    extern "C" fn leave(_: libc::c_int) {
        exit_now(0)
    }
    let seconds = u32::try_from(deadline.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    match set_handler(libc::SIGALRM, leave, libc::SA_RESTART) {
        Ok(()) => alarm(seconds),
        Err(error) => tracing::error!(%error, "nothing ends the process if Python does not"),
    }
}
