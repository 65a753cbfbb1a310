//! A transport with the messages that wait to be sent on it.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use tracing::{debug, error};

use super::{Sent, Transport, TransportError};
use crate::wire::Frames;

/// One socket, both directions, driven by one task.
///
/// The descriptor of a ZMQ socket is edge-triggered and a send can swallow the edge of a receive, so
/// both directions must be driven together: send what can be sent, then receive until there is nothing.
pub struct Link<T> {
    transport: T,
    outbox: VecDeque<Frames>,
}

impl<T: Transport> Link<T> {
    /// A link over an open transport.
    pub fn new(transport: T) -> Self {
        Self { transport, outbox: VecDeque::new() }
    }

    /// Puts a message at the end of the outbox; [`Link::poll`] sends it.
    pub fn push(&mut self, frames: Frames) {
        self.outbox.push_back(frames);
    }

    /// Puts the subscription that was received last into force, with a message that its subscriber gets
    /// before all others.
    pub fn greet(&mut self, topic: &[u8], welcome: Frames) {
        match self.transport.subscribe(topic) {
            // What waits has not been sent to anybody, not even in part.
            Ok(()) => self.outbox.push_front(welcome),
            Err(problem) => error!(%problem, "a subscriber of iopub was not admitted"),
        }
    }

    /// Takes back a subscription that was received last.
    pub fn unsubscribe(&mut self, topic: &[u8]) {
        if let Err(problem) = self.transport.unsubscribe(topic) {
            debug!(%problem, "a subscription could not be taken back: the subscriber has gone");
        }
    }

    /// Sends what there is room for. True if nothing is left waiting.
    pub fn flush(&mut self) -> bool {
        while let Some(frames) = self.outbox.front_mut() {
            match self.transport.try_send(frames) {
                Ok(Sent::Whole) => {}
                Ok(Sent::Later) => return false,
                Err(TransportError::Unroutable) => {
                    debug!("a reply was dropped: the client it was for has gone");
                }
                Err(problem) => error!(%problem, "a message could not be sent and is lost"),
            }
            self.outbox.pop_front();
        }
        true
    }

    /// Sends what there is room for, then takes the next message that came in.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frames, TransportError>> {
        self.flush();
        self.transport.poll_recv(cx)
    }
}
