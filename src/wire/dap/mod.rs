//! The Debug Adapter Protocol: the messages, as far as the kernel reads them, and their framing on a stream.
//!
//! Clients send requests of this protocol inside `debug_request`; the debugger in Python (pydevd) speaks it over a
//! connection. Arguments and bodies stay raw JSON until something in them is needed.
//! Source: <https://microsoft.github.io/debug-adapter-protocol/specification>.

mod breakpoints;
mod framing;
mod message;

pub use breakpoints::{Breakpoint, SetBreakpoints, Source, SourceBreakpoint, Verified};
pub use framing::{FramingError, MAX_BODY, Reader, frame};
pub use message::{DapError, Event, Message, Request, Response, fields_for_refusal, read_arguments};
