//! A request on its way: the job, the right to answer it, the inbox of the thread that works on it, and results that
//! are not there yet.

pub mod gate;
pub mod inbox;
pub mod job;
pub mod pending;
pub mod request;
