//! A subshell: an ordered queue of cells.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tracing::{debug, warn};

use super::caller::{CallerHandle, Dispatch, Stop, Task};
use super::socket::{Barrier, Passed};
use crate::delivery::gate::{Done, QueueGate};
use crate::delivery::inbox::Inbox;
use crate::delivery::job::Job;
use crate::delivery::request::Request;
use crate::publisher::Publisher;
use crate::wire::content::ExecuteRequest;

/// The queue of one subshell's `execute_request`s; the main shell is the one without an id.
///
/// Cells go to the thread of the Caller at once, so that it needs no round trip from one to the next. Each begins when its
/// turn has come, unless it is aborted. When a cell fails, the thread closes the [`QueueGate`] before it can begin
/// another. This actor then has the socket put a mark behind all that has arrived. When the mark comes back, it releases
/// the reply of the failed cell, answers every cell ahead of the mark with `aborted`, and opens the gate.
pub struct Subshell {
    gate: Arc<QueueGate>,
    queue: VecDeque<Arc<Request>>,
    caller: CallerHandle,
    publisher: Publisher,
    socket: Recipient<Barrier>,
    aborting: Aborting,
}

/// How long a cell of a deleted subshell may take to end. Then it is answered without its thread, which may be in C code
/// that never returns.
const GRACE: Duration = Duration::from_secs(1);

/// Whether cells are aborted when they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aborting {
    No,
    /// Until all cells that were sent before the failure have come.
    UntilBarrier,
    /// The kernel is ending, or the subshell is deleted.
    ForGood,
}

/// A cell for the queue.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Cell {
    /// The request.
    pub job: Job,
    /// Its content.
    pub content: ExecuteRequest,
}

/// Abort all queued cells and every one that still comes: the kernel is ending.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Close;

/// Abort all queued cells, cancel those that run, and stop the thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Delete {
    /// The inbox of the thread that cancels cells on other threads.
    pub canceller: Arc<Inbox<Task>>,
}

/// Asks for a [`Passed`] when the replies of all cells that have ended by now are with the socket.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Settle {
    /// Gets the [`Passed`].
    pub asker: Recipient<Passed>,
    /// Subshells that are to settle as well, after this one.
    pub others: Vec<Addr<Subshell>>,
}

impl Subshell {
    /// A subshell whose cells run on the thread of `caller`; the `main` one is that without an id. `socket` is
    /// the shell socket's actor: it knows what has arrived.
    pub fn new(
        main: bool,
        caller: CallerHandle,
        publisher: Publisher,
        socket: Recipient<Barrier>,
        ctx: &mut Context<Self>,
    ) -> Self {
        Self {
            gate: Arc::new(QueueGate::new(main, ctx.address().downgrade().recipient())),
            queue: VecDeque::new(),
            caller,
            publisher,
            socket,
            aborting: Aborting::No,
        }
    }

    /// Releases the reply of a failed cell, if one waits, and answers those behind it.
    fn abort_queued(&mut self) {
        // A cell that runs stays: it reports its end.
        self.queue.retain(|request| !(request.release() || request.abort()));
    }
}

impl Actor for Subshell {
    type Context = Context<Self>;
}

impl Handler<Cell> for Subshell {
    type Result = ();

    fn handle(&mut self, Cell { job, content }: Cell, _: &mut Self::Context) {
        let gate = Some(self.gate.clone());
        let request = Arc::new(Request::execute(job, content, self.publisher.clone(), gate));
        match self.aborting {
            Aborting::No => {
                self.queue.push_back(request.clone());
                self.caller.addr.do_send(Dispatch(request));
            }
            // Answered after the cell that failed.
            Aborting::UntilBarrier => self.queue.push_back(request),
            Aborting::ForGood => {
                debug!(msg_id = request.job.parent.msg_id, "aborted: its shell is ending");
                request.abort();
            }
        }
    }
}

impl Handler<Done> for Subshell {
    type Result = ();

    fn handle(&mut self, done: Done, ctx: &mut Self::Context) {
        if done.abort {
            match self.aborting {
                Aborting::No => {
                    self.aborting = Aborting::UntilBarrier;
                    self.socket.do_send(Barrier(ctx.address().recipient()));
                }
                Aborting::UntilBarrier => {}
                Aborting::ForGood => self.abort_queued(),
            }
        } else {
            match self.queue.iter().position(|request| request.job.parent.msg_id == done.msg_id) {
                Some(at) => drop(self.queue.remove(at)),
                None => warn!(msg_id = done.msg_id, "a cell is done that was not queued"),
            }
        }
    }
}

impl Handler<Passed> for Subshell {
    type Result = ();

    fn handle(&mut self, _: Passed, _: &mut Self::Context) {
        self.abort_queued();
        if self.aborting == Aborting::UntilBarrier {
            self.aborting = Aborting::No;
            self.gate.resume();
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

impl Handler<Delete> for Subshell {
    type Result = ();

    fn handle(&mut self, Delete { canceller }: Delete, ctx: &mut Self::Context) {
        self.aborting = Aborting::ForGood;
        self.abort_queued();
        self.caller.addr.do_send(Stop);
        // Also if the queue is empty: there may be tasks.
        if canceller.push(Task::Cancel(self.caller.spec.id)).is_err() {
            debug!("the cells of a deleted subshell are not cancelled: the kernel is ending");
        }
        if self.queue.is_empty() {
            return;
        }
        ctx.run_later(GRACE, |this, _| {
            for request in this.queue.drain(..) {
                request.give_up("SubshellDeleted", "the subshell was deleted while this cell ran");
                request.release();
            }
        });
    }
}

impl Handler<Settle> for Subshell {
    type Result = ();

    fn handle(&mut self, Settle { asker, mut others }: Settle, _: &mut Self::Context) {
        // The reports of ended cells came first, so their replies are ahead of this.
        match others.pop() {
            Some(next) => next.do_send(Settle { asker, others }),
            None => self.socket.do_send(Barrier(asker)),
        }
    }
}
