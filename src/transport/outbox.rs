//! A transport with the messages that wait to be sent on it.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tracing::{debug, error, warn};

use super::{Sent, Transport, TransportError};
use crate::wire::Frames;

/// One socket, both directions, driven by one task.
///
/// The descriptor of a ZMQ socket is edge-triggered and a send can swallow the edge of a receive, so
/// both directions must be driven together: send what can be sent, then receive until there is nothing.
pub struct Outbox<T> {
    transport: T,
    waiting: VecDeque<Waiting>,
    /// Messages whose clients are not connected. None if such messages are dropped.
    stranded: Option<Vec<Waiting>>,
}

/// A message that is to be sent.
struct Waiting {
    frames: Frames,
    /// When its client was first found not to be connected.
    stranded: Option<Instant>,
}

impl From<Frames> for Waiting {
    fn from(frames: Frames) -> Self {
        Self { frames, stranded: None }
    }
}

/// How long a message waits for its client to connect, where that is wanted.
const PATIENCE: Duration = Duration::from_secs(30);

impl<T: Transport> Outbox<T> {
    /// An outbox over an open transport.
    pub fn new(transport: T) -> Self {
        Self { transport, waiting: VecDeque::new(), stranded: None }
    }

    /// An outbox that keeps messages whose clients are not connected, for [`Outbox::retry`]. A client connects its
    /// sockets one by one: it may send a request on one before it can be reached on another.
    pub fn patient(transport: T) -> Self {
        Self { stranded: Some(Vec::new()), ..Self::new(transport) }
    }

    /// Whether messages wait for their clients to connect.
    pub fn has_stranded(&self) -> bool {
        self.stranded.as_ref().is_some_and(|stranded| !stranded.is_empty())
    }

    /// Tries messages again whose clients were not connected, at the next [`Outbox::poll`]. Drops those that have
    /// waited for 30 s.
    pub fn retry(&mut self) {
        for waiting in self.stranded.iter_mut().flat_map(std::mem::take) {
            if waiting.stranded.is_some_and(|since| since.elapsed() >= PATIENCE) {
                warn!("a message was dropped: the client it is for has not connected, or is gone");
            } else {
                self.waiting.push_back(waiting);
            }
        }
    }

    /// Puts a message at the end of the outbox; [`Outbox::poll`] sends it.
    pub fn push(&mut self, frames: Frames) {
        self.waiting.push_back(frames.into());
    }

    /// Accepts the subscription that was received last, with a message that its subscriber gets before all others.
    pub fn greet(&mut self, topic: &[u8], welcome: Frames) {
        match self.transport.subscribe(topic) {
            // The messages that wait have not been sent in part: a new first one cuts none of them.
            Ok(()) => self.waiting.push_front(welcome.into()),
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
        while let Some(mut waiting) = self.waiting.pop_front() {
            match (self.transport.try_send(&mut waiting.frames), &mut self.stranded) {
                (Ok(Sent::Whole), _) => {}
                (Ok(Sent::Later), _) => {
                    self.waiting.push_front(waiting);
                    return false;
                }
                (Err(TransportError::Unroutable), Some(stranded)) => {
                    waiting.stranded.get_or_insert_with(Instant::now);
                    stranded.push(waiting);
                }
                (Err(TransportError::Unroutable), None) => {
                    debug!("a reply was dropped: the client it was for has gone");
                }
                (Err(problem), _) => error!(%problem, "a message could not be sent and is lost"),
            }
        }
        true
    }

    /// Sends what there is room for, then takes the next message that came in.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frames, TransportError>> {
        self.flush();
        self.transport.poll_recv(cx)
    }
}
