//! Makes sure that a SIGINT is noticed.
//!
//! A signal handler of Python only sets a flag, which the interpreter looks at between bytecodes. A signal that
//! comes after that look and before a blocking system call (`sock.recv()`, `lock.acquire()`) is not noticed until
//! the call returns, which may be never. So whenever SIGINT comes, a thread waits a moment for Python to say that
//! it has noticed, and if not, cuts the system call short with another signal that does nothing else (SIGURG, unless
//! the process handles it, as one with Go's runtime does): Python looks at the flag before it goes on with the call.
//! SIGINT itself, sent twice, would interrupt twice.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::wake_fd::WakeFd;

/// How long Python has to notice a signal before its system call is cut short, the first time.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often it is cut short, each time after twice as long. Each attempt can come just before the call, as the signal
/// did; code in C may take long before it calls. Code that never returns to Python notices nothing: after these, which
/// take a minute and a half, it is left alone.
const ATTEMPTS: u32 = 11;

static BELL: OnceLock<WakeFd> = OnceLock::new();
static PYTHONS_HANDLER: AtomicUsize = AtomicUsize::new(0);
static CAME: AtomicU64 = AtomicU64::new(0);
static NOTICED: AtomicU64 = AtomicU64::new(0);

/// Python has noticed every SIGINT that has come so far.
pub fn noticed() {
    NOTICED.store(CAME.load(Ordering::Acquire), Ordering::Release);
}

/// Watches over the signals that come to Python's handler. To be called on Python's main thread, after Python has
/// installed it; and again whenever code may have installed it anew, which ends the watch.
pub fn watch() -> io::Result<()> {
    if BELL.get().is_none() && BELL.set(WakeFd::new()?).is_ok() {
        make_harmless()?;
        // SAFETY: always succeeds.
        let main = unsafe { libc::pthread_self() };
        thread::Builder::new().name("callboard-interrupt".into()).spawn(move || run(main))?;
    }
    // SAFETY: the structures are initialised before they are read; the handler keeps to what is safe in one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut action) != 0 {
            return Err(io::Error::last_os_error());
        }
        let handler: extern "C" fn(libc::c_int) = handle;
        let known = PYTHONS_HANDLER.load(Ordering::Acquire);
        // Python has one function for all its handlers. What is neither that nor ours is somebody else's.
        if action.sa_sigaction == handler as usize || (known != 0 && action.sa_sigaction != known) {
            return Ok(());
        }
        PYTHONS_HANDLER.store(action.sa_sigaction, Ordering::Release);
        action.sa_sigaction = handler as usize;
        action.sa_flags &= !libc::SA_SIGINFO;
        if libc::sigaction(libc::SIGINT, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Lets SIGURG cut system calls short, and do nothing else. Leaves a handler that is installed already.
fn make_harmless() -> io::Result<()> {
    // SAFETY: the structures are initialised before they are read; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGURG, std::ptr::null(), &raw mut action) != 0 {
            return Err(io::Error::last_os_error());
        }
        if action.sa_sigaction == libc::SIG_DFL {
            extern "C" fn nothing(_: libc::c_int) {}
            let handler: extern "C" fn(libc::c_int) = nothing;
            action.sa_sigaction = handler as usize;
            action.sa_flags = 0;
            if libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

extern "C" fn handle(signal: libc::c_int) {
    let handler = PYTHONS_HANDLER.load(Ordering::Acquire);
    if handler != libc::SIG_DFL && handler != libc::SIG_IGN {
        // SAFETY: what sigaction() gave out for a handler without SA_SIGINFO, as Python installs them.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
        handler(signal);
    }
    // Afterwards: what counts as noticed must have been there for Python to see.
    CAME.fetch_add(1, Ordering::AcqRel);
    if let Some(wake_fd) = BELL.get() {
        wake_fd.notify();
    }
}

fn run(main: libc::pthread_t) {
    super::panic::mark_thread();
    let Some(wake_fd) = BELL.get() else {
        return;
    };
    if let Err(error) = super::signals::block_all().and_then(|()| watch_over(main, wake_fd)) {
        tracing::error!(%error, "an interrupt may go unnoticed: send it again");
    }
}

fn watch_over(main: libc::pthread_t, wake_fd: &WakeFd) -> io::Result<()> {
    loop {
        wake_fd.wait()?;
        wake_fd.clear();
        let mut patience = PATIENCE;
        thread::sleep(patience);
        for _ in 0..ATTEMPTS {
            if NOTICED.load(Ordering::Acquire) >= CAME.load(Ordering::Acquire) {
                break;
            }
            tracing::debug!("SIGINT has not been noticed yet");
            // SAFETY: the main thread lives as long as the process.
            unsafe { libc::pthread_kill(main, libc::SIGURG) };
            patience *= 2;
            // For another signal it begins anew: what keeps Python from noticing may be something else by then.
            if wake_fd.wait_for(None, Some(patience))? {
                break;
            }
        }
    }
}
