//! Binary buffers of messages: lent to Python without a copy, and copied from Python.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::delivery::request::Request;
use crate::wire::Frame;

/// Read-only memory of a frame; supports the buffer protocol, so `memoryview(buffer)` copies nothing.
#[pyclass(frozen, module = "callboard._core")]
pub struct Buffer {
    request: Arc<Request>,
    index: usize,
}

impl Buffer {
    pub(super) fn new(request: Arc<Request>, index: usize) -> Self {
        Self { request, index }
    }
}

#[pymethods]
impl Buffer {
    fn __len__(&self) -> usize {
        self.request.job.buffers[self.index].len()
    }

    #[allow(clippy::needless_pass_by_value)] // the signature that PyO3 requires
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let frame: &[u8] = &slf.get().request.job.buffers[slf.get().index];
        let length =
            isize::try_from(frame.len()).map_err(|_| PyBufferError::new_err("the buffer is too large"))?;
        let start: *mut c_void = if frame.is_empty() {
            // An empty frame may have no memory, but consumers expect a pointer that is not null.
            ptr::NonNull::<u8>::dangling().as_ptr().cast()
        } else {
            frame.as_ptr().cast_mut().cast()
        };
        // SAFETY: the memory belongs to the request, which `slf` keeps alive as long as the view holds its reference; the
        // view is read-only, and Rust never changes a received frame.
        let status = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, length, 1, flags) };
        if status == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Copies Python buffers into frames. Python's memory cannot be lent to libzmq, which frees frames on a thread that must
/// not take the GIL.
pub(super) fn to_frames(buffers: Option<Vec<PyBuffer<u8>>>, py: Python<'_>) -> PyResult<Vec<Frame>> {
    buffers.unwrap_or_default().iter().map(|buffer| Ok(Frame::from(buffer.to_vec(py)?))).collect()
}
