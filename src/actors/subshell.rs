//! A subshell: an ordered queue of cells.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use tracing::{debug, warn};

use super::caller::{Caller, Post};
use super::socket::{Barrier, Passed};
use crate::job::Job;
use crate::publisher::Publisher;
use crate::request::{Done, Lane, Request};
use crate::wire::content::ExecuteRequest;

/// The queue of one subshell's `execute_request`s; the main shell is the one without an id.
///
/// Cells are posted to the Caller's thread at once, so that it goes from one to the next without a round
/// trip; each begins only if its turn has come and nothing has aborted it. When a cell fails, the thread
/// itself closes the [`Lane`] before it can begin another, and this actor answers those that were queued.
pub struct Subshell {
    lane: Arc<Lane>,
    queue: VecDeque<Arc<Request>>,
    caller: Addr<Caller>,
    publisher: Publisher,
    socket: Recipient<Barrier>,
    aborting: Aborting,
}

/// Whether cells that come in are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aborting {
    No,
    /// Until everything that was sent before the failure is known to have come in.
    UntilBarrier,
    /// The kernel is ending.
    ForGood,
}

/// Abort all queued cells and every one that still comes in: the kernel is ending.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Close;

impl Subshell {
    /// The main shell, whose cells run on the thread of `caller`. `socket` is the shell socket's actor:
    /// it knows what has arrived.
    pub fn main(
        caller: Addr<Caller>,
        publisher: Publisher,
        socket: Recipient<Barrier>,
        ctx: &mut Context<Self>,
    ) -> Self {
        Self {
            lane: Arc::new(Lane::new(true, ctx.address().recipient())),
            queue: VecDeque::new(),
            caller,
            publisher,
            socket,
            aborting: Aborting::No,
        }
    }

    fn abort_queued(&mut self) {
        // One that has begun stays: it reports when it is done.
        self.queue.retain(|request| !request.abort());
    }
}

impl Actor for Subshell {
    type Context = Context<Self>;
}

impl Handler<Job> for Subshell {
    type Result = ();

    fn handle(&mut self, job: Job, _: &mut Self::Context) {
        let content: ExecuteRequest = match serde_json::from_slice(&job.content) {
            Ok(content) => content,
            Err(problem) => {
                let request = Request::new(job, self.publisher.clone());
                return request.refuse("InvalidRequest", &problem.to_string());
            }
        };
        let lane = Some(self.lane.clone());
        let request = Arc::new(Request::execute(job, content, self.publisher.clone(), lane));
        if self.aborting == Aborting::No {
            self.queue.push_back(request.clone());
            self.caller.do_send(Post(request));
        } else {
            debug!(msg_id = request.job.parent.msg_id, "aborted: a cell before it failed");
            request.abort();
        }
    }
}

impl Handler<Done> for Subshell {
    type Result = ();

    fn handle(&mut self, done: Done, ctx: &mut Self::Context) {
        match self.queue.iter().position(|request| request.job.parent.msg_id == done.msg_id) {
            Some(at) => drop(self.queue.remove(at)),
            None => warn!(msg_id = done.msg_id, "a cell is done that was not queued"),
        }
        if done.abort {
            self.abort_queued();
            if self.aborting == Aborting::No {
                self.aborting = Aborting::UntilBarrier;
                self.socket.do_send(Barrier(ctx.address().recipient()));
            }
        }
    }
}

impl Handler<Passed> for Subshell {
    type Result = ();

    fn handle(&mut self, _: Passed, _: &mut Self::Context) {
        if self.aborting == Aborting::UntilBarrier {
            self.aborting = Aborting::No;
            self.lane.resume();
        }
    }
}

impl Handler<Close> for Subshell {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Self::Context) {
        self.aborting = Aborting::ForGood;
        self.abort_queued();
    }
}
