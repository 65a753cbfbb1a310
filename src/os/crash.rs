//! What is left when C code crashes: a trace of the thread that did it, in Rust and C, on the terminal.
//!
//! Python's own trace comes from its faulthandler, which is switched on later: its handlers run first, and then hand
//! the signal on to these.

use std::backtrace::Backtrace;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use super::terminal::Terminal;

/// The signals of a crash, and their names.
const CRASHES: [(libc::c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV: memory was used that is not there"),
    (libc::SIGBUS, "SIGBUS: memory was used that is not there any more"),
    (libc::SIGILL, "SIGILL: an instruction that this processor does not know"),
    (libc::SIGFPE, "SIGFPE: an impossible calculation"),
    (libc::SIGABRT, "SIGABRT: code has given up"),
];

/// Finding the names of functions takes locks that the crash may have left taken, and time for large libraries: after
/// this many seconds the trace is given with what names are at hand.
const PATIENCE: libc::c_uint = 5;

/// Room to find the names of functions in, bytes. Python's own, which its main thread has for signals, has too little.
const STACK: usize = 1 << 20;

/// A trace with more functions than this is one of endless recursion: their names do not matter.
const DEEP: usize = 200;

static TERMINAL: OnceLock<Terminal> = OnceLock::new();
/// The signal that is dealt with.
static CRASH: AtomicI32 = AtomicI32::new(0);

/// From now on a crash leaves a trace on the terminal. The process then ends as it would have.
pub fn install(terminal: Terminal) -> io::Result<()> {
    TERMINAL.get_or_init(|| terminal);
    for (signal, _) in CRASHES {
        // Once, so that a crash in the handler ends the process; on the stack for signals, if the thread has one,
        // because its own may be used up.
        handle_with(signal, handle, libc::SA_RESETHAND | libc::SA_NODEFER | libc::SA_ONSTACK)?;
    }
    Ok(())
}

/// Gives the calling thread a stack to leave a trace on when its own is used up. To be called again after Python's
/// faulthandler has been switched on, which does the same with less.
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

fn handle_with(
    signal: libc::c_int,
    handler: extern "C" fn(libc::c_int),
    flags: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the structure is initialised before it is used; the handler ends the process.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags;
        match libc::sigaction(signal, &raw const action, ptr::null_mut()) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

extern "C" fn handle(signal: libc::c_int) {
    CRASH.store(signal, Ordering::Release);
    let name = CRASHES.iter().find(|(known, _)| *known == signal).map_or("a signal", |(_, name)| name);
    say(b"\ncallboard: the kernel has crashed by ");
    say(name.as_bytes());
    say(b"\ncallboard: usually in a library written in C. What Python was doing is above. What else was running:\n");
    // SAFETY: plain system calls; there is room for as many addresses as said.
    let depth = unsafe {
        let mut addresses = [ptr::null_mut(); DEEP];
        usize::try_from(libc::backtrace(addresses.as_mut_ptr(), 200)).unwrap_or(0)
    };
    if depth < DEEP && handle_with(libc::SIGALRM, give_up, libc::SA_NODEFER).is_ok() {
        // SAFETY: plain system call.
        unsafe { libc::alarm(PATIENCE) };
        say(format!("{}", Backtrace::force_capture()).as_bytes());
        // SAFETY: as above.
        unsafe { libc::alarm(0) };
        end(signal);
    }
    give_up(libc::SIGALRM);
}

/// The trace with the names at hand: it takes no lock and no memory.
extern "C" fn give_up(_: libc::c_int) {
    // SAFETY: there is room for as many addresses as said, and as many are there.
    unsafe {
        let mut addresses = [ptr::null_mut(); DEEP];
        let depth = libc::backtrace(addresses.as_mut_ptr(), 200);
        let terminal = TERMINAL.get().map_or(libc::STDERR_FILENO, AsRawFd::as_raw_fd);
        libc::backtrace_symbols_fd(addresses.as_ptr(), depth, terminal);
    }
    end(CRASH.load(Ordering::Acquire));
}

fn end(signal: libc::c_int) {
    say(b"callboard: end of the trace. Restart the kernel to go on.\n");
    // SAFETY: plain system calls; the handler was reset when it was called, so this ends the process.
    unsafe {
        libc::raise(signal);
        libc::_exit(128 + signal);
    }
}

/// Writes to the terminal and does nothing else: it takes no lock and no memory.
fn say(text: &[u8]) {
    if let Some(terminal) = TERMINAL.get() {
        // If the terminal is gone there is nobody left to tell.
        drop(terminal.clone().write_all(text));
    }
}
