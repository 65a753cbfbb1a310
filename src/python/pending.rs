//! A result that is not there yet, as Python sees it: the state that actors share, and the Python objects that
//! belong to it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyBaseException, PyException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{IntoPyDict, PyDict, PyGenericAlias, PyTraceback, PyTuple, PyType};
use pyo3::{create_exception, intern};

use super::inbox::Inbox;
use super::wait_until;
use crate::actors::caller::Task;
use crate::delivery::pending::{self, Asked, Outcome, Promise, Waiters};
use crate::os::wake_fd::WakeFd;

create_exception!(
    callboard,
    PendingCancelled,
    PyException,
    "The pending was cancelled. The text says why, one reason a line, if reasons were given."
);
create_exception!(
    callboard,
    PendingNotDone,
    PyRuntimeError,
    "The pending is not done, so it has no result yet: wait for it first."
);

/// The base of `callboard.Pending`.
#[pyclass(subclass, weakref, frozen, module = "callboard._core")]
pub struct Pending {
    inner: Arc<pending::Pending>,
    /// Locked for moments, and never while Python code runs, an object is dropped or the GIL may be released.
    slots: Mutex<PyState>,
}

#[derive(Default)]
struct PyState {
    /// What came out, once it is done and was not cancelled.
    end: Option<End>,
    /// What is to be called once it is done, first come first.
    callbacks: Vec<Py<PyAny>>,
    /// What carries out a cancellation.
    canceller: Option<Py<PyAny>>,
    /// Wakes the Python thread that does the above when an actor completes or cancels it.
    home: Option<Waker>,
}

enum End {
    Value(Py<PyAny>),
    Error {
        exception: Py<PyBaseException>,
        /// As it was when it was set: each `raise` adds to the traceback of the exception, and there may be many.
        traceback: Option<Py<PyTraceback>>,
    },
}

impl End {
    fn error(py: Python<'_>, error: &PyErr) -> Self {
        Self::Error {
            exception: error.value(py).clone().unbind(),
            traceback: error.traceback(py).map(Bound::unbind),
        }
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Value(value) => Self::Value(value.clone_ref(py)),
            Self::Error { exception, traceback } => Self::Error {
                exception: exception.clone_ref(py),
                traceback: traceback.as_ref().map(|traceback| traceback.clone_ref(py)),
            },
        }
    }
}

impl Pending {
    /// Gives an actor the duty to complete it. Callbacks and canceller then run on the Python thread that
    /// `callboard.aio.wakeups` finds for it.
    pub fn promise(slf: &Bound<'_, Self>) -> PyResult<Promise> {
        let py = slf.py();
        py.import(intern!(py, "callboard.aio.wakeups"))?.call_method1(intern!(py, "adopt"), (slf,))?;
        Ok(Promise::new(slf.get().inner.clone()))
    }

    fn slots(&self) -> MutexGuard<'_, PyState> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it done, if it is not: with what came out, or cancelled.
    fn settle(slf: &Bound<'_, Self>, end: Option<End>) -> PyResult<()> {
        let this = slf.get();
        let outcome = match &end {
            Some(End::Value(_)) => Outcome::Value,
            Some(End::Error { .. }) => Outcome::Error,
            None => Outcome::Cancelled,
        };
        let mut slots = this.slots();
        if this.inner.done() {
            return Ok(());
        }
        // In place before it can be seen to be done.
        slots.end = end;
        let waiters = this.inner.settle(outcome);
        let unused = if waiters.is_none() || this.inner.cancelled() { slots.end.take() } else { None };
        let Some(waiters) = waiters else {
            // An actor was quicker. The callbacks run at home.
            drop(slots);
            drop(unused);
            return Ok(());
        };
        let canceller = slots.canceller.take();
        let callbacks = mem::take(&mut slots.callbacks);
        drop(slots);
        drop((canceller, unused));
        let result = Self::call_all(slf, callbacks);
        // Only now, so that who waits finds the work of the callbacks done.
        result.and(Self::wake(slf.py(), waiters))
    }

    /// Wakes who has waited. Tasks of the event loop that this very task belongs to are scheduled at once: a ring of
    /// the loop's wake fd costs several times as much.
    fn wake(py: Python<'_>, mut waiters: Waiters) -> PyResult<()> {
        static OF_CURRENT_TASK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if !waiters.have_tokens() {
            return Ok(());
        }
        let wakeups = OF_CURRENT_TASK.import(py, "callboard.aio.wakeups", "of_current_task")?.call0()?;
        if wakeups.is_none() {
            return Ok(());
        }
        let inbox = wakeups.getattr(intern!(py, "inbox"))?;
        let inbox = inbox.cast::<Inbox>()?.get().inner();
        let tokens = waiters.take_tokens(inbox);
        drop(waiters);
        let mut result = Ok(());
        for token in tokens {
            if let Err(error) = wakeups.call_method1(intern!(py, "fire"), (token,)) {
                // Perhaps it was interrupted before it began.
                drop(inbox.push(Task::Wake(token)));
                result = Err(error);
            }
        }
        result
    }

    /// Calls callbacks, all of them whatever they raise. Exceptions are logged; one that is meant to end more
    /// than the callback, such as `KeyboardInterrupt`, is raised at the end.
    fn call_all(slf: &Bound<'_, Self>, callbacks: Vec<Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let mut result = Ok(());
        for callback in callbacks {
            let Err(error) = callback.call1(py, (slf,)) else {
                continue;
            };
            if !error.is_instance_of::<PyException>(py) {
                result = Err(error);
            } else if let Err(error) = Self::log(slf, &callback, &error) {
                error.write_unraisable(py, Some(callback.bind(py)));
            }
        }
        result
    }

    fn log(slf: &Bound<'_, Self>, callback: &Py<PyAny>, error: &PyErr) -> PyResult<()> {
        let py = slf.py();
        let logger = py.import(intern!(py, "logging"))?.call_method1("getLogger", ("callboard.pending",))?;
        let options = [("exc_info", error.value(py))].into_py_dict(py)?;
        logger.call_method("error", ("%r, a callback of %r, has failed", callback, slf), Some(&options))?;
        Ok(())
    }

    /// What came out.
    fn end(&self, py: Python<'_>) -> PyResult<End> {
        if let Some(message) = self.inner.message() {
            return Err(PendingCancelled::new_err(message));
        }
        let made = match self.inner.outcome() {
            None => return Err(PendingNotDone::new_err("this is not done yet: wait for it first")),
            Some(Outcome::Lost { ename, evalue }) => {
                End::error(py, &PyRuntimeError::new_err(format!("{ename}: {evalue}")))
            }
            Some(_) => End::Value(py.None()),
        };
        let mut slots = self.slots();
        if slots.end.is_none() {
            // An actor has completed it. The same exception every time.
            slots.end = Some(made.clone_ref(py));
        }
        let end = slots.end.as_ref().map(|end| end.clone_ref(py));
        drop(slots);
        Ok(end.unwrap_or(made))
    }

    fn ask_canceller(&self, py: Python<'_>, message: Option<&str>) -> PyResult<()> {
        let canceller = self.slots().canceller.as_ref().map(|canceller| canceller.clone_ref(py));
        canceller.map_or(Ok(()), |canceller| canceller.call1(py, (message,)).map(drop))
    }
}

#[pymethods]
impl Pending {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        // The arguments are for subclasses.
        Self { inner: Arc::new(pending::Pending::new()), slots: Mutex::default() }
    }

    /// Returns the class with the type of its result, for annotations and base classes.
    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyGenericAlias>> {
        PyGenericAlias::new(cls.py(), cls, item)
    }

    /// Makes it done, with a result. Does nothing if it is done. From any thread.
    ///
    /// If its cancellation was asked for, it ends cancelled all the same.
    fn set_result(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::settle(slf, Some(End::Value(value)))
    }

    /// Makes it done, with an exception that is raised where its result is asked for. Does nothing if it is
    /// done. From any thread.
    ///
    /// If its cancellation was asked for, it ends cancelled all the same. Raises `TypeError` if this is no
    /// exception.
    fn set_exception(slf: &Bound<'_, Self>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
        let error = PyErr::from_value(exception.clone());
        let fits = match exception.cast::<PyType>() {
            Ok(class) => class.is_subclass_of::<PyBaseException>()?,
            Err(_) => exception.is_instance_of::<PyBaseException>(),
        };
        if !fits {
            let name = exception.get_type().name()?;
            return Err(PyTypeError::new_err(format!("an exception is needed, not {name}")));
        }
        Self::settle(slf, Some(End::error(slf.py(), &error)))
    }

    /// Asks for its cancellation. Does nothing if it is done. From any thread.
    ///
    /// With a canceller, that is called, here and now, and decides when it is done; without one, it is done at
    /// once. A cancellation cannot be undone; asking again adds a line to the message and asks the canceller
    /// again.
    ///
    /// Returns whether it is marked as cancelled.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<&str>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        let slots = this.slots();
        let before = this.inner.message();
        let asked = this.inner.ask(msg);
        let has_canceller = slots.canceller.is_some();
        drop(slots);
        match asked {
            Asked::Ended => {}
            _ if has_canceller => match (before.as_deref(), msg) {
                (Some(before), Some(msg)) if !before.is_empty() && !msg.is_empty() => {
                    this.ask_canceller(py, Some(&format!("{before}\n{msg}")))?;
                }
                _ => this.ask_canceller(py, msg)?,
            },
            Asked::Canceller(canceller) => canceller.wake(),
            Asked::AtOnce => Self::settle(slf, None)?,
        }
        Ok(this.inner.cancelled())
    }

    /// Whether it is marked as cancelled. That may be before it is done.
    fn cancelled(&self) -> bool {
        self.inner.cancelled()
    }

    /// Whether it has ended: with a result, with an exception or cancelled.
    fn done(&self) -> bool {
        self.inner.done()
    }

    /// The result.
    ///
    /// Raises the exception if it ended with one, `PendingCancelled` if it is marked as cancelled, and
    /// `PendingNotDone` if it is not done.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.end(py)? {
            End::Value(value) => Ok(value),
            End::Error { exception, traceback } => {
                let error = PyErr::from_value(exception.into_bound(py).into_any());
                error.set_traceback(py, traceback.map(|traceback| traceback.into_bound(py)));
                Err(error)
            }
        }
    }

    /// The exception it ended with, or None.
    ///
    /// Raises `PendingCancelled` if it is marked as cancelled, and `PendingNotDone` if it is not done.
    fn exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyBaseException>>> {
        Ok(match self.end(py)? {
            End::Value(_) => None,
            End::Error { exception, .. } => Some(exception),
        })
    }

    /// Sets what carries out a cancellation: a callable that gets the message, or None if there is none. It has
    /// to see to it that the pending is made done. Does nothing if the pending is done; is called at once if its
    /// cancellation was asked for already.
    ///
    /// It is called by the thread that asks for the cancellation, whichever that is.
    #[pyo3(signature = (canceller, /))]
    fn set_canceller(&self, canceller: Py<PyAny>, py: Python<'_>) -> PyResult<()> {
        let mut slots = self.slots();
        if self.inner.done() {
            return Ok(());
        }
        let before = slots.canceller.replace(canceller);
        let home = slots.home.clone();
        drop(slots);
        drop(before);
        if let Some(home) = home {
            self.inner.set_canceller(home);
        } else if let Some(message) = self.inner.message() {
            self.ask_canceller(py, Some(&message))?;
        }
        Ok(())
    }

    /// Has `fn` called with this pending once it is done, or at once if it is.
    ///
    /// Callbacks are called one after the other, first come first, by the thread that makes it done: any
    /// thread. If that is one of the kernel's own, which run no Python, it is the thread whose event loop was
    /// running when the kernel was given the pending, or else the main thread. They should do little, and look
    /// after their own thread safety. What they raise is logged.
    #[pyo3(signature = (r#fn, /))]
    fn add_done_callback(slf: &Bound<'_, Self>, r#fn: Py<PyAny>) -> PyResult<()> {
        let this = slf.get();
        let mut slots = this.slots();
        if this.inner.done() {
            drop(slots);
            return r#fn.call1(slf.py(), (slf,)).map(drop);
        }
        slots.callbacks.push(r#fn);
        Ok(())
    }

    /// Takes back a callback that has not been called. Returns how often it was there.
    #[pyo3(signature = (r#fn, /))]
    fn remove_done_callback(&self, r#fn: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = r#fn.py();
        let known: Vec<_> = self.slots().callbacks.iter().map(|callback| callback.clone_ref(py)).collect();
        // A comparison runs Python code: every access to a bound method makes another, equal object.
        let mut equal = Vec::new();
        for callback in known {
            if callback.bind(py).eq(r#fn)? {
                equal.push(callback);
            }
        }
        let mut slots = self.slots();
        let is_equal = |callback: &mut Py<PyAny>| equal.iter().any(|equal| equal.is(&*callback));
        let removed: Vec<_> = slots.callbacks.extract_if(.., is_equal).collect();
        drop(slots);
        Ok(removed.len())
    }

    /// Blocks the thread until it is done, or for `timeout` seconds. Returns whether it is done.
    #[pyo3(signature = (timeout=None))]
    fn _wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        if self.inner.done() {
            return Ok(true);
        }
        let deadline = match timeout {
            Some(seconds) if seconds.is_nan() => {
                return Err(PyValueError::new_err("a timeout is a number of seconds, not nan"));
            }
            // What is too long to count has no end.
            Some(seconds) => Duration::try_from_secs_f64(seconds.max(0.0))
                .ok()
                .and_then(|timeout| Instant::now().checked_add(timeout)),
            None => None,
        };
        let wake_fd = Arc::new(WakeFd::new()?);
        let Some(id) = self.inner.on_done(wake_fd.clone().into()) else {
            return Ok(true);
        };
        let result = wait_until(py, &wake_fd, deadline, || self.inner.done().then_some(()));
        self.inner.forget(id);
        Ok(result?.is_some())
    }

    /// Has `token` put into `inbox` once it is done. Returns an id for `_forget`; None if it is done.
    fn _on_done(&self, inbox: &Inbox, token: u64) -> Option<u64> {
        self.inner.on_done_at(inbox.inner().clone(), token)
    }

    /// Takes back what `_on_done` has arranged.
    fn _forget(&self, id: u64) {
        self.inner.forget(id);
    }

    /// From now on `token` is put into `inbox` when an actor has made it done or asked for its cancellation; then
    /// `_at_home` is to be called. False if it is done: then that is to be called now.
    fn _live_at(&self, inbox: &Inbox, token: u64) -> bool {
        let home = inbox.waker(token);
        let mut slots = self.slots();
        let before = slots.home.replace(home.clone());
        let has_canceller = slots.canceller.is_some();
        drop(slots);
        drop(before);
        if has_canceller {
            self.inner.set_canceller(home.clone());
        }
        self.inner.on_done(home).is_some()
    }

    /// Does what an actor cannot: calls the callbacks if it is done, or else the canceller if its cancellation
    /// was asked for. Returns whether it is done.
    fn _at_home(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        if !this.inner.done() {
            if let Some(message) = this.inner.message() {
                this.ask_canceller(py, Some(&message))?;
            }
            return Ok(this.inner.done());
        }
        let mut slots = this.slots();
        let callbacks = mem::take(&mut slots.callbacks);
        let canceller = slots.canceller.take();
        drop(slots);
        drop(canceller);
        Self::call_all(slf, callbacks)?;
        Ok(true)
    }

    /// Why its cancellation was asked for, or None.
    #[getter]
    fn _message(&self) -> Option<String> {
        self.inner.message()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // If another thread has it locked, it is in use: then nothing in it is garbage.
        let Ok(slots) = self.slots.try_lock() else {
            return Ok(());
        };
        match &slots.end {
            Some(End::Value(value)) => visit.call(value)?,
            Some(End::Error { exception, traceback }) => {
                visit.call(exception)?;
                visit.call(traceback)?;
            }
            None => {}
        }
        for callback in &slots.callbacks {
            visit.call(callback)?;
        }
        visit.call(&slots.canceller)
    }

    fn __clear__(&self) {
        let garbage = mem::take(&mut *self.slots());
        drop(garbage);
    }
}
