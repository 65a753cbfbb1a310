//! callboard: a Jupyter kernel for Python, as a system of actors.
//!
//! Rust owns the sockets, the routing, the queues, the signing, the timers, interrupt and shutdown; Python
//! runs what only Python can run: the user's code. The one rule: **no thread that serves a socket, a queue
//! or a timer takes the GIL.** So only [`python`] may name PyO3, and everything else compiles and is
//! tested without it. `actors.md` at the top of the repository is the map.
//!
//! In layers, each of which uses only those above it:
//!
//! * [`wire`]: frames, signatures, headers, contents, run modes; [`os`]: signals, descriptors, processes
//! * [`transport`]: sockets, real and fake; [`publisher`]: the way to iopub
//! * [`delivery`]: a request with its reply address, and where it crosses to a Python thread
//! * [`actors`]: who takes it where
//! * [`startup`]: from the command line to bound sockets; [`kernel`]: puts all of these together
//! * `python`: the extension module

pub mod actors;
pub mod delivery;
pub mod kernel;
pub mod os;
pub mod publisher;
#[cfg(feature = "python")]
pub mod python;
pub mod startup;
pub mod transport;
pub mod wire;
