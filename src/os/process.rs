//! What the end of the kernel and an interrupt do to the process.

use std::time::Duration;

/// The process that a kernel runs in; tests put their own in its place.
pub trait Process: Send + 'static {
    /// Interrupts the code that Python runs on the main thread, blocking system calls included.
    fn interrupt(&self);

    /// Ends the process after this time, even if no actor is left and Python does not end.
    fn exit_after(&self, deadline: Duration);
}

/// Ends the process at once: no destructor and no exit handler runs. Safe in a signal handler.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: returns to nothing that could be left in a bad state.
    unsafe { libc::_exit(code) }
}
