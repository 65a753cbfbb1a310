//! The names that cells are compiled under.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::wire;

/// The name of the file of a cell with this code; or what the environment variable `IPYKERNEL_CELL_NAME` says, as
/// ipykernel has it.
#[pyfunction]
pub fn cell_file(folder: &str, code: &Bound<'_, PyString>) -> PyResult<String> {
    if let Ok(name) = std::env::var("IPYKERNEL_CELL_NAME") {
        return Ok(name);
    }
    let utf8: Cow<'_, [u8]> = match code.to_str() {
        Ok(text) => Cow::Borrowed(text.as_bytes()),
        // A lone surrogate.
        Err(_) => {
            let encoded = code.call_method1("encode", ("utf-8", "surrogatepass"))?;
            Cow::Owned(encoded.cast::<PyBytes>()?.as_bytes().to_vec())
        }
    };
    Ok(wire::cell_file(folder, &utf8))
}
