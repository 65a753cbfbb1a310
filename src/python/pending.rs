//! `Pending`, a result that is to come, for Python: the state that actors share, and the Python objects that belong to it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyGenericAlias, PyTuple, PyType};

use super::caller::Inbox;
use super::hooks;
use super::pending_state::{End, PendingCancelled, PendingNotDone, PyState};
use super::wait::wait_until;
use crate::delivery::pending::{self, Asked, Outcome, Promise};
use crate::os::wake_fd::WakeFd;

/// The base of `callboard.Pending`.
#[pyclass(subclass, weakref, frozen, module = "callboard._core")]
pub struct Pending {
    inner: Arc<pending::Pending>,
    /// Locked only briefly, and never while Python code runs, an object is dropped or the GIL may be released.
    state: Mutex<PyState>,
}

impl Pending {
    /// Makes a promise for an actor that is to complete it. Callbacks and canceller then run on the Python thread that
    /// `callboard.aio.wakeups` finds for it.
    pub fn promise(slf: &Bound<'_, Self>) -> PyResult<Promise> {
        hooks::adopt(slf)?;
        Ok(Promise::new(slf.get().inner.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, PyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it done, if it is not: with a value or exception, or cancelled (None).
    fn settle(slf: &Bound<'_, Self>, end: Option<End>) -> PyResult<()> {
        let this = slf.get();
        let outcome = match &end {
            Some(End::Value(_)) => Outcome::Value,
            Some(End::Error { .. }) => Outcome::Error,
            None => Outcome::Cancelled,
        };
        let mut state = this.lock();
        if this.inner.done() {
            return Ok(());
        }
        // Set before another thread can see that it is done.
        state.end = end;
        let waiters = this.inner.settle(outcome);
        let unused = if waiters.is_none() || this.inner.cancelled() { state.end.take() } else { None };
        let Some(waiters) = waiters else {
            // An actor was quicker. The callbacks run on the thread of `home`.
            drop(state);
            drop(unused);
            return Ok(());
        };
        let canceller = state.canceller.take();
        let callbacks = mem::take(&mut state.callbacks);
        drop(state);
        drop((canceller, unused));
        let result = hooks::call_all(slf, callbacks);
        // Woken last, so that waiters find the work of the callbacks done.
        result.and(hooks::wake(slf.py(), waiters))
    }

    /// Returns how it ended.
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
        let mut state = self.lock();
        if state.end.is_none() {
            // An actor has completed it. Kept, to raise the same exception every time.
            state.end = Some(made.clone_ref(py));
        }
        let end = state.end.as_ref().map(|end| end.clone_ref(py));
        drop(state);
        Ok(end.unwrap_or(made))
    }

    fn ask_canceller(&self, py: Python<'_>, message: Option<&str>) -> PyResult<()> {
        let canceller = self.lock().canceller.as_ref().map(|canceller| canceller.clone_ref(py));
        canceller.map_or(Ok(()), |canceller| canceller.call1(py, (message,)).map(drop))
    }
}

#[pymethods]
impl Pending {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        // The arguments are for subclasses.
        Self { inner: Arc::new(pending::Pending::new()), state: Mutex::default() }
    }

    /// Returns the class with the type of its result, for annotations and base classes.
    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyGenericAlias>> {
        PyGenericAlias::new(cls.py(), cls, item)
    }

    /// Makes it done, with a result. Does nothing if it is done. Callable from any thread.
    ///
    /// If its cancellation was asked for, it ends cancelled all the same.
    fn set_result(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::settle(slf, Some(End::Value(value)))
    }

    /// Makes it done, with an exception that is raised where its result is asked for. Does nothing if it is done. Callable
    /// from any thread.
    ///
    /// If its cancellation was asked for, it ends cancelled all the same. Raises `TypeError` if it is not an
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

    /// Asks for its cancellation. Does nothing if it is done. Callable from any thread.
    ///
    /// Its canceller is called at once, on the calling thread, and decides when it is done; without a canceller, it is
    /// done at once. A cancellation cannot be undone; asking again adds a line to the message and calls the canceller
    /// again.
    ///
    /// Returns whether it is marked as cancelled.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<&str>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        let state = this.lock();
        let before = this.inner.message();
        let asked = this.inner.ask(msg);
        let has_canceller = state.canceller.is_some();
        drop(state);
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

    /// Sets the callable that carries out a cancellation. Its argument is the message, or None without one. It must have
    /// the pending made done. It is called at once if the cancellation was asked for already, and not at all if the
    /// pending is done.
    ///
    /// It is called on the thread that asks for the cancellation, which may be any.
    #[pyo3(signature = (canceller, /))]
    fn set_canceller(&self, canceller: Py<PyAny>, py: Python<'_>) -> PyResult<()> {
        let mut state = self.lock();
        if self.inner.done() {
            return Ok(());
        }
        let before = state.canceller.replace(canceller);
        let home = state.home.clone();
        drop(state);
        drop(before);
        if let Some(home) = home {
            self.inner.set_canceller(home);
        } else if let Some(message) = self.inner.message() {
            self.ask_canceller(py, Some(&message))?;
        }
        Ok(())
    }

    /// Calls `fn` with this pending once it is done, or at once if it is.
    ///
    /// Callbacks are called one after the other, in the order of registration, on the thread that makes it done, which may
    /// be any. If an actor makes it done, they are called on the thread whose event loop was running when the kernel was
    /// given the pending, or else on the main thread. They should do little, and must be thread-safe. Exceptions that
    /// they raise are logged.
    #[pyo3(signature = (r#fn, /))]
    fn add_done_callback(slf: &Bound<'_, Self>, r#fn: Py<PyAny>) -> PyResult<()> {
        let this = slf.get();
        let mut state = this.lock();
        if this.inner.done() {
            drop(state);
            return r#fn.call1(slf.py(), (slf,)).map(drop);
        }
        state.callbacks.push(r#fn);
        Ok(())
    }

    /// Removes a callback that has not been called. Returns how many times it was registered.
    #[pyo3(signature = (r#fn, /))]
    fn remove_done_callback(&self, r#fn: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = r#fn.py();
        let known: Vec<_> = self.lock().callbacks.iter().map(|callback| callback.clone_ref(py)).collect();
        // A comparison runs Python code: every access to a bound method makes another, equal object.
        let mut equal = Vec::new();
        for callback in known {
            if callback.bind(py).eq(r#fn)? {
                equal.push(callback);
            }
        }
        let mut state = self.lock();
        let is_equal = |callback: &mut Py<PyAny>| equal.iter().any(|equal| equal.is(&*callback));
        let removed: Vec<_> = state.callbacks.extract_if(.., is_equal).collect();
        drop(state);
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
            // Longer than an `Instant` can count: no deadline.
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

    /// Puts `token` into `inbox` once it is done. Returns an id for `_forget`; None if it is done.
    fn _on_done(&self, inbox: &Inbox, token: u64) -> Option<u64> {
        self.inner.on_done_at(inbox.inner().clone(), token)
    }

    /// Undoes `_on_done`.
    fn _forget(&self, id: u64) {
        self.inner.forget(id);
    }

    /// Puts `token` into `inbox` when an actor has made it done or asked for its cancellation; then call `_at_home`. False
    /// if it is done: then call that now.
    fn _live_at(&self, inbox: &Inbox, token: u64) -> bool {
        let home = inbox.waker(token);
        let mut state = self.lock();
        let before = state.home.replace(home.clone());
        let has_canceller = state.canceller.is_some();
        drop(state);
        drop(before);
        if has_canceller {
            self.inner.set_canceller(home.clone());
        }
        self.inner.on_done(home).is_some()
    }

    /// Runs the Python code that an actor cannot: calls the callbacks if it is done, or else the canceller if its
    /// cancellation was asked for. Returns whether it is done.
    fn _at_home(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        if !this.inner.done() {
            if let Some(message) = this.inner.message() {
                this.ask_canceller(py, Some(&message))?;
            }
            return Ok(this.inner.done());
        }
        let mut state = this.lock();
        let callbacks = mem::take(&mut state.callbacks);
        let canceller = state.canceller.take();
        drop(state);
        drop(canceller);
        hooks::call_all(slf, callbacks)?;
        Ok(true)
    }

    /// Why its cancellation was asked for, or None.
    #[getter]
    fn _message(&self) -> Option<String> {
        self.inner.message()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Locked by another thread, it is in use: then nothing in it is garbage.
        let Ok(state) = self.state.try_lock() else {
            return Ok(());
        };
        state.traverse(&visit)
    }

    fn __clear__(&self) {
        let garbage = mem::take(&mut *self.lock());
        drop(garbage);
    }
}
