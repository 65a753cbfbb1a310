//! callboard: a Jupyter kernel for Python, as a system of actors.
//!
//! Rust owns the sockets, the routing, the queues, the signing, the timers, interrupt and shutdown; Python
//! runs what only Python can run: the user's code. The one rule: **no thread that serves a socket, a queue
//! or a timer takes the GIL.** So only [`python`] may name PyO3, and everything else compiles and is
//! tested without it. `actors.md` at the top of the repository is the map.
//!
//! In the order a message meets them:
//!
//! * [`transport`]: sockets, real and fake; [`wire`]: frames, signatures, headers, contents
//! * [`job`]: a message with its reply address; [`actors`]: who takes it where
//! * [`run_mode`]: whether a cell waits for others
//! * [`inbox`]: where it crosses to a Python thread; [`request`]: what that thread may say about it
//! * [`pending`]: a result that any thread may complete, cancel and wait for
//! * [`publisher`]: the way to iopub
//! * [`kernel`]: puts all of these together; [`boot`]: from the command line ([`settings`],
//!   [`connection`], [`registration`], [`curve`]) to a kernel that answers
//! * `shown`: what others have sent, in messages of ours
//! * [`os`]: signals, descriptors, the parent process

pub mod actors;
pub mod boot;
pub mod connection;
pub mod curve;
pub mod inbox;
pub mod job;
pub mod kernel;
pub mod os;
pub mod pending;
pub mod publisher;
#[cfg(feature = "python")]
pub mod python;
pub mod registration;
pub mod request;
pub mod run_mode;
pub mod settings;
mod shown;
pub mod transport;
pub mod wire;
