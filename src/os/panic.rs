//! A panic in an actor ends the process with a message.

use std::cell::Cell;
use std::io::Write;

use super::process::exit_now;
use super::terminal::Terminal;

thread_local! {
    static SERVES: Cell<bool> = const { Cell::new(false) };
}

/// Exit code of a kernel that ended itself because of a bug in it (`EX_SOFTWARE` of sysexits.h).
pub const EXIT_CODE: i32 = 70;

/// Marks the calling thread as one that serves sockets or queues: a panic on it ends the process.
pub fn mark_thread() {
    SERVES.set(true);
    if let Err(error) = super::crash::give_stack() {
        tracing::debug!(%error, "a crash of this thread may leave no trace");
    }
}

/// From now on a panic on a [marked](mark_thread) thread writes a message to `terminal` and ends the process. An actor
/// that panics is closed for good, and clients would wait for its answers without end.
pub fn install(terminal: Terminal) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !SERVES.get() {
            return before(panic);
        }
        let thread = std::thread::current();
        let message = format!(
            "callboard: internal error on the thread {:?}: {panic}\ncallboard: the kernel ends, restart it. \
             Please report this with what led to it.\n",
            thread.name().unwrap_or("unnamed"),
        );
        // Without a terminal the message has no reader; the exit code remains.
        drop(terminal.clone().write_all(message.as_bytes()));
        exit_now(EXIT_CODE)
    }));
}
