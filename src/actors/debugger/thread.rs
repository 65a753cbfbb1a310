//! The thread of the debugger's Python side, which is started for the first work.

use std::sync::atomic::Ordering;

use super::state::ToPython;
use crate::actors::caller::{Adopt, Caller, CallerHandle, Role, Spec, Task};

/// Gives work to the Python side, in a thread of its own that is started for the first.
pub fn python_side(shell: CallerHandle, control: CallerHandle) -> ToPython {
    let mut thread: Option<CallerHandle> = None;
    Box::new(move |work| {
        let handle = match thread.take().filter(|known| !known.ended.load(Ordering::SeqCst)) {
            Some(known) => known,
            None => {
                let spec = Spec { parent: Some(shell.spec.id), ..Spec::new("Debugger", Role::Kernel) };
                let made = Caller::launch(spec, None, None).map_err(|error| error.to_string())?;
                shell.addr.do_send(Adopt(made.clone()));
                if control.inbox.push(Task::Start(made.clone())).is_err() {
                    return Err("Python has ended".to_owned());
                }
                made
            }
        };
        let pushed = handle.inbox.push(Task::Debug(work));
        thread = Some(handle);
        pushed.map_err(|_| "the thread has ended".to_owned())
    })
}
