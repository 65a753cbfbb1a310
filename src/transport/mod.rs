//! Sockets as actors use them: receive whole messages, try to send one.
//!
//! Two implementations: [`zmq`] over real sockets, and [`fake`] in memory for tests of the whole system of actors
//! without a network.

pub mod curve;
pub mod fake;
mod outbox;
pub mod zmq;

use std::task::{Context, Poll};

use thiserror::Error;

use crate::wire::Frames;

pub use outbox::Outbox;

/// An open socket, on the thread that serves it.
pub trait Transport: Unpin + 'static {
    /// Takes the next whole message. When pending, the task is woken for any event on the socket, room to send
    /// included: call this last before returning `Pending`.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frames, TransportError>>;

    /// Sends a message if there is room for it now. Leaves in `frames` what is not sent, also of an unroutable message.
    fn try_send(&mut self, frames: &mut Frames) -> Result<Sent, TransportError>;

    /// Puts the subscription that was received last into force. For publishers only.
    fn subscribe(&mut self, _topic: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }

    /// Takes back a subscription that was received last. For publishers only.
    fn unsubscribe(&mut self, _topic: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }
}

/// A socket that is bound, but not yet on the thread that will serve it.
pub trait Endpoint: Send + 'static {
    /// What it becomes there.
    type Transport: Transport;

    /// Opens it on the current thread's event loop.
    fn open(self) -> Result<Self::Transport, TransportError>;
}

/// What became of a message given to [`Transport::try_send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Whole,
    /// There is no room: try again when woken.
    Later,
}

/// What goes wrong on a socket.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The peer that a message is for has gone. The message is lost, the socket goes on.
    #[error("the client it was for has gone")]
    Unroutable,
    /// The socket is closed.
    #[error("the socket is closed")]
    Closed,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}
