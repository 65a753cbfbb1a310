//! Writes a trace of the crashed thread, in Rust and C, to the terminal when C code crashes.
//!
//! Python's own trace comes from its faulthandler, which is switched on later: its handlers run first, and then pass the
//! signal on to these.

use std::backtrace::Backtrace;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use super::process::exit_now;
use super::signals::{alarm, set_handler};
use super::terminal::Terminal;

/// The signals of a crash, and their names.
const CRASHES: [(libc::c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV: memory was used that is not there"),
    (libc::SIGBUS, "SIGBUS: memory was used that is not there any more"),
    (libc::SIGILL, "SIGILL: an instruction that this processor does not know"),
    (libc::SIGFPE, "SIGFPE: an impossible calculation"),
    (libc::SIGABRT, "SIGABRT: code has given up"),
];

/// Seconds to find the names of functions in: that takes locks that the crash may have left taken, and time for large
/// libraries. After them the trace is written with the names that need no search.
const PATIENCE: libc::c_uint = 5;

/// The size of the stack for finding the names of functions, in bytes. The one that Python gives its main thread for
/// signals is too small.
const STACK: usize = 1 << 20;

/// A trace with more functions than this comes from endless recursion: their names do not matter.
const DEEP: libc::c_int = 200;

static TERMINAL: OnceLock<Terminal> = OnceLock::new();
/// The signal of the crash.
static CRASH: AtomicI32 = AtomicI32::new(0);

/// From now on a crash leaves a trace on the terminal. The process then ends as it would have.
pub fn install(terminal: Terminal) -> io::Result<()> {
    TERMINAL.get_or_init(|| terminal);
    for (signal, _) in CRASHES {
        // Once, so that a crash in the handler ends the process; on the stack for signals, if the thread has one,
        // because its own may be used up.
        set_handler(signal, handle, libc::SA_RESETHAND | libc::SA_NODEFER | libc::SA_ONSTACK)?;
    }
    Ok(())
}

/// Gives the calling thread a stack for signal handlers, to leave a trace when its own is used up. Call it again after
/// Python's faulthandler has been switched on, which sets a smaller one.
pub fn give_stack() -> io::Result<()> {
    // SAFETY: fresh memory, which is never given back: the thread may crash at its very end.
    unsafe {
        let memory = libc::mmap(
            ptr::null_mut(),
            STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANON,
            -1,
            0,
        );
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = libc::stack_t { ss_sp: memory, ss_flags: 0, ss_size: STACK };
        if libc::sigaltstack(&raw const stack, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The addresses of the functions that run, innermost first. Returns them and how many there are.
fn addresses() -> ([*mut libc::c_void; DEEP as usize], libc::c_int) {
    let mut addresses = [ptr::null_mut(); DEEP as usize];
    // SAFETY: there is room for as many addresses as said.
    let depth = unsafe { libc::backtrace(addresses.as_mut_ptr(), DEEP) };
    (addresses, depth)
}

extern "C" fn handle(signal: libc::c_int) {
    CRASH.store(signal, Ordering::Release);
    let name = CRASHES.iter().find(|(known, _)| *known == signal).map_or("a signal", |(_, name)| name);
    say(b"\ncallboard: the kernel has crashed by ");
    say(name.as_bytes());
    say(b"\ncallboard: usually in a library written in C. What Python was doing is above. What else was running:\n");
    let (_, depth) = addresses();
    if depth < DEEP && set_handler(libc::SIGALRM, give_up, libc::SA_NODEFER).is_ok() {
        alarm(PATIENCE);
        say(format!("{}", Backtrace::force_capture()).as_bytes());
        alarm(0);
        end(signal);
    }
    give_up(libc::SIGALRM);
}

/// Writes the trace with the names that need no search: takes no lock and allocates nothing.
extern "C" fn give_up(_: libc::c_int) {
    let (addresses, depth) = addresses();
    let terminal = TERMINAL.get().map_or(libc::STDERR_FILENO, AsRawFd::as_raw_fd);
    // SAFETY: there are as many addresses as said.
    unsafe { libc::backtrace_symbols_fd(addresses.as_ptr(), depth, terminal) };
    end(CRASH.load(Ordering::Acquire));
}

fn end(signal: libc::c_int) {
    say(b"callboard: end of the trace. Restart the kernel to go on.\n");
    // SAFETY: the handler was reset when it was called, so this ends the process.
    unsafe { libc::raise(signal) };
    exit_now(128 + signal)
}

/// Writes to the terminal; takes no lock and allocates nothing.
fn say(text: &[u8]) {
    if let Some(terminal) = TERMINAL.get() {
        // Without a terminal the text has no reader.
        drop(terminal.clone().write_all(text));
    }
}
