//! The messages to the actor of a Caller.

use std::sync::{Arc, mpsc};

use actix::prelude::*;

use super::handle::CallerHandle;
use super::spec::CallerError;
use crate::delivery::pending::Promise;
use crate::delivery::request::Request;
use crate::wire::run_mode::CallerOptions;

/// Hand a request to the Caller's thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Dispatch(pub Arc<Request>);

/// Hand a request to the thread of a child: the one that the options name, or a worker.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DispatchToChild(pub Arc<Request>, pub CallerOptions);

/// Find a child or make one. The thread that gets a new one starts its thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GetChild {
    /// Which.
    pub options: CallerOptions,
    /// A worker rather than a new Caller, if there is no name.
    pub worker: bool,
    /// Takes the child, and whether it was made.
    pub answer: mpsc::Sender<Result<(CallerHandle, bool), CallerError>>,
}

/// Stop this Caller too when stopping.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Adopt(pub CallerHandle);

/// Stop the Caller's thread and those of its children.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// The Caller's thread has ended: answer with an error what it had not taken.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ThreadEnded;

/// Keep this promise when the Caller's thread has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WhenEnded(pub Promise);

/// A child stops or has ended: do not return it any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget(pub u64);
