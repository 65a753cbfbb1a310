//! Requests on their way: the job, the right to answer it, the inbox of the thread that works on it, pending results.

pub mod debug_work;
pub mod gate;
pub mod inbox;
pub mod job;
pub mod pending;
pub mod request;
