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
    /// Does what can be done on the socket now. Ready when the socket has closed for good.
    fn pump(&mut self, ctx: &mut Context<Self>, task: &mut TaskContext<'_>) -> Poll<()>;
}

/// A future that pumps its actor's socket. The actor's mailbox and the socket are polled by one task, and
/// after every message the actor has handled, so what a handler puts in the outbox goes out at once.
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

/// Receives up to a budget of messages. When it returns, the task will be woken for what is left or comes.
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

/// What [`receive`] has seen of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// There is nothing more for now.
    All,
    /// A budget's worth; there may be more.
    Some,
    /// The socket has closed for good.
    Closed,
}

impl From<Received> for Poll<()> {
    fn from(received: Received) -> Self {
        if received == Received::Closed { Self::Ready(()) } else { Self::Pending }
    }
}
