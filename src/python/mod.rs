//! The extension module `callboard._core`, and the only folder that uses `pyo3`.
//!
//! Only Python threads call in; a thread that serves a socket, a queue or a timer never does. Short work is done with the
//! GIL held, because taking it back can cost a switch interval (5 ms) while another thread computes; work that is large or
//! may wait is done with the GIL released.

mod async_exc_guard;
mod buffer;
mod caller;
mod cell_file;
pub mod embed;
mod hooks;
mod kernel;
mod parent;
pub mod pending;
mod pending_state;
mod request;
mod shared_capture;
mod stream;
mod text;
mod threads;
mod wait;

use pyo3::prelude::*;

/// The extension module.
#[pymodule]
pub mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::async_exc_guard::{AsyncExcGuard, GuardedCoroutine};
    #[pymodule_export]
    use super::buffer::Buffer;
    #[pymodule_export]
    use super::caller::{Cancel, DebugWork, Inbox, PyCallerHandle, thread_options};
    #[pymodule_export]
    use super::cell_file::cell_file;
    #[pymodule_export]
    use super::hooks::set_wakeup_hooks;
    #[pymodule_export]
    use super::kernel::{
        Kernel, block_sigint, check_kernelspec_options, end_group, interrupt_again, prepare_for_crash,
        sigint_noticed, start, watch_sigint,
    };
    #[pymodule_export]
    use super::parent::Parent;
    #[pymodule_export]
    use super::pending::Pending;
    #[pymodule_export]
    use super::pending_state::{PendingCancelled, PendingNotDone};
    #[pymodule_export]
    use super::request::Request;
    #[pymodule_export]
    use super::stream::{Stream, after_fork_in_child};
    #[pymodule_export]
    use super::threads::{enter_thread, raise_in_thread, start_thread};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("has_curve", crate::transport::curve::available())?;
        module.add("current_parent", super::parent::variable(module.py())?)
    }
}
