//! Makes sure that Python notices a SIGINT.
//!
//! A signal handler of Python only sets a flag, which the interpreter checks between bytecodes. A signal that comes after
//! that check and before a blocking system call (`sock.recv()`, `lock.acquire()`) is not noticed until the call returns,
//! which may be never. So after each SIGINT a thread waits a moment for Python to report that it has noticed. If it does
//! not, the thread cuts the system call short with SIGURG, whose handler does nothing: Python checks the flag before it
//! resumes the call. A second SIGINT would interrupt twice. SIGURG is ignored by default, and few programs use it (Go's
//! runtime does, with a handler of its own, which is left alone).

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::signals::{Handler, LivingThread, action, block_all, set_handler};
use super::wake_fd::WakeFd;

/// How long Python has to notice a signal before its system call is cut short, the first time.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often it is cut short, each time after twice as long. Each attempt can come just before the call, as the signal
/// did; code in C may take long before it calls. Code that never returns to Python notices nothing: after these attempts,
/// which take a minute and a half, it is left alone.
const ATTEMPTS: u32 = 11;

/// Notified by the handler of SIGINT.
static CALLED: OnceLock<WakeFd> = OnceLock::new();
static PYTHONS_HANDLER: AtomicUsize = AtomicUsize::new(0);
/// How many SIGINT have come.
static CAME: AtomicU64 = AtomicU64::new(0);
/// How many of them Python has noticed.
static NOTICED: AtomicU64 = AtomicU64::new(0);

/// Records that Python has noticed every SIGINT that has come so far.
pub fn noticed() {
    NOTICED.store(CAME.load(Ordering::Acquire), Ordering::Release);
}

/// Puts a handler in front of Python's. Call it on Python's main thread, after Python has installed its handler, and again
/// whenever code may have installed it anew, which ends the watch.
pub fn watch() -> io::Result<()> {
    if CALLED.get().is_none() && CALLED.set(WakeFd::new()?).is_ok() {
        make_harmless()?;
        let main = LivingThread::current();
        thread::Builder::new().name("callboard-interrupt".into()).spawn(move || run(main))?;
    }
    let ours: Handler = handle;
    let found = action(libc::SIGINT)?;
    let known = PYTHONS_HANDLER.load(Ordering::Acquire);
    // Python has one function for all its handlers. A handler that is neither that one nor ours belongs to other code.
    if found.sa_sigaction == ours as usize || (known != 0 && found.sa_sigaction != known) {
        return Ok(());
    }
    PYTHONS_HANDLER.store(found.sa_sigaction, Ordering::Release);
    set_handler(libc::SIGINT, handle, found.sa_flags)
}

/// Gives SIGURG a handler that does nothing, so that it only cuts system calls short. A handler of other code stays.
fn make_harmless() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    if action(libc::SIGURG)?.sa_sigaction == libc::SIG_DFL {
        set_handler(libc::SIGURG, nothing, 0)?;
    }
    Ok(())
}

extern "C" fn handle(signal: libc::c_int) {
    let handler = PYTHONS_HANDLER.load(Ordering::Acquire);
    if handler != libc::SIG_DFL && handler != libc::SIG_IGN {
        // SAFETY: what sigaction() returned for a handler without SA_SIGINFO, as Python installs them.
        let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
        handler(signal);
    }
    // Counted after Python's flag is set: a signal that is recorded as noticed must have been visible to Python.
    CAME.fetch_add(1, Ordering::AcqRel);
    if let Some(wake_fd) = CALLED.get() {
        wake_fd.notify();
    }
}

fn run(main: LivingThread) {
    super::panic::mark_thread();
    let Some(wake_fd) = CALLED.get() else {
        return;
    };
    if let Err(error) = block_all().and_then(|()| watch_over(main, wake_fd)) {
        tracing::error!(%error, "an interrupt may go unnoticed: send it again");
    }
}

fn watch_over(main: LivingThread, wake_fd: &WakeFd) -> io::Result<()> {
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
            main.kill(libc::SIGURG)?;
            patience *= 2;
            // Another signal starts the attempts anew: Python may be in another call by then.
            if wake_fd.wait_for(None, Some(patience))? {
                break;
            }
        }
    }
}
