//! callboard: a Jupyter kernel for Python, as a system of actors.
//!
//! Rust owns the sockets, the routing, the queues, the signing, the timers, interrupt and shutdown; Python
//! runs the user's code. The one rule: **no thread that serves a socket, a queue
//! or a timer takes the GIL.** So only [`python`] may name PyO3, and everything else compiles and is
//! tested without it. `actors.md` at the top of the repository is the map.
//!
//! Its layers, lowest first. Each uses only those above it in this list (`tests/layers.rs` checks that):
//!
//! * [`wire`]: frames, signatures, headers, contents, run modes; [`os`]: signals, descriptors, processes
//! * [`transport`]: sockets, real and fake; [`publisher`]: the queue of iopub
//! * [`delivery`]: a request with its reply address, the inbox of a Python thread, pending results
//! * [`actors`]: take it to where it is answered
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
