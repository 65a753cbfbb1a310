//! Text of Python's on its way to clients.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// A `str` as valid Unicode, borrowed where it is that already. A Python `str` may hold lone surrogates, which UTF-8 does
/// not have: they become U+FFFD, and pairs of them the character that they stand for (`callboard.util.json.valid_text`).
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'a, 'py> FromPyObject<'a, 'py> for Text<'a> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(valid) = object.extract::<&'a str>() {
            return Ok(Self(Cow::Borrowed(valid)));
        }
        let encoded = object.cast::<PyString>()?.call_method1("encode", ("utf-16-le", "surrogatepass"))?;
        let units =
            encoded.extract::<&[u8]>()?.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        Ok(Self(Cow::Owned(String::from_utf16_lossy(&units.collect::<Vec<_>>()))))
    }
}

impl From<Text<'_>> for String {
    fn from(text: Text<'_>) -> Self {
        text.0.into_owned()
    }
}
