//! Drives a socket from inside its actor.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix::fut::ActorFuture;
use actix::prelude::*;

use crate::transport::{Outbox, Transport, TransportError};
use crate::wire::Frames;

/// How many messages are taken from a socket before others on the thread get a turn.
const BUDGET: usize = 64;

/// An actor that owns a socket.
pub(super) trait Pumped: Actor<Context = Context<Self>> {
    /// Sends and receives what it can now. Ready when the socket has closed.
    fn pump(&mut self, ctx: &mut Context<Self>, task: &mut TaskContext<'_>) -> Poll<()>;
}

/// A future that pumps the socket of its actor. One task polls the mailbox and the socket, the latter after every message
/// that the actor has handled: what a handler puts into the outbox goes out at once.
pub(super) struct Pump;

impl<A: Pumped> ActorFuture<A> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut Context<A>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        actor.pump(ctx, task)
    }
}

/// Receives up to [`BUDGET`] messages. Afterwards the task is woken for those that are left or come.
pub(super) fn receive<T: Transport>(
    outbox: &mut Outbox<T>,
    task: &mut TaskContext<'_>,
    name: &str,
    mut on_frames: impl FnMut(&mut Outbox<T>, Frames),
) -> Received {
    for _ in 0..BUDGET {
        match outbox.poll(task) {
            Poll::Ready(Ok(frames)) => on_frames(outbox, frames),
            Poll::Ready(Err(TransportError::Closed)) => return Received::Closed,
            Poll::Ready(Err(problem)) => tracing::error!(socket = name, %problem, "receiving failed"),
            Poll::Pending => return Received::All,
        }
    }
    task.waker().wake_by_ref();
    Received::Some
}

/// How far [`receive`] has emptied a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// It is empty.
    All,
    /// A budget of messages was taken; there may be more.
    Some,
    /// It has closed.
    Closed,
}

impl From<Received> for Poll<()> {
    fn from(received: Received) -> Self {
        if received == Received::Closed { Self::Ready(()) } else { Self::Pending }
    }
}
