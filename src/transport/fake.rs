//! Sockets in memory, for tests that drive the actors.
//!
//! [`pair`] returns the end of the kernel and that of the test, which can imitate a network: stop reading
//! ([`Peer::stall`]), hold back messages ([`Peer::delay`]), disconnect single clients ([`Peer::vanish`],
//! [`Peer::appear`]).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Endpoint, Sent, Transport, TransportError};
use crate::wire::Frames;

/// The kernel's end of a fake socket.
pub struct FakeSocket {
    incoming: UnboundedReceiver<Frames>,
    outgoing: UnboundedSender<Frames>,
    network: Arc<Mutex<Network>>,
}

/// The test's end of a fake socket.
pub struct Peer {
    sender: UnboundedSender<Frames>,
    receiver: UnboundedReceiver<Frames>,
    network: Arc<Mutex<Network>>,
}

#[derive(Default)]
struct Network {
    stalled: bool,
    delayed: bool,
    vanished: HashSet<Vec<u8>>,
    waker: Option<Waker>,
}

/// Both ends of a new fake socket.
pub fn pair() -> (FakeSocket, Peer) {
    let (to_kernel, incoming) = unbounded_channel();
    let (outgoing, from_kernel) = unbounded_channel();
    let network = Arc::<Mutex<Network>>::default();
    let kernel = FakeSocket { incoming, outgoing, network: network.clone() };
    (kernel, Peer { sender: to_kernel, receiver: from_kernel, network })
}

impl Peer {
    /// Sends a message to the kernel. False if the kernel has closed its end.
    pub fn send(&self, frames: Frames) -> bool {
        self.sender.send(frames).is_ok()
    }

    /// The next message from the kernel; `None` once it has closed its end.
    pub async fn recv(&mut self) -> Option<Frames> {
        self.receiver.recv().await
    }

    /// A message that is already here.
    pub fn try_recv(&mut self) -> Option<Frames> {
        self.receiver.try_recv().ok()
    }

    /// From now on the kernel finds no room to send, until [`Peer::resume`].
    pub fn stall(&self) {
        self.network().stalled = true;
    }

    /// Holds back what is sent from now on; at [`Peer::resume`] the kernel gets all of it at once.
    pub fn delay(&self) {
        self.network().delayed = true;
    }

    /// Ends [`Peer::stall`] and [`Peer::delay`].
    pub fn resume(&self) {
        let mut network = self.network();
        network.stalled = false;
        network.delayed = false;
        if let Some(waker) = network.waker.take() {
            waker.wake();
        }
    }

    /// Disconnects the client with this identity: messages to it are unroutable.
    pub fn vanish(&self, identity: &[u8]) {
        self.network().vanished.insert(identity.to_vec());
    }

    /// Connects the client with this identity again.
    pub fn appear(&self, identity: &[u8]) {
        self.network().vanished.remove(identity);
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint for FakeSocket {
    type Transport = Self;

    fn open(self) -> Result<Self, TransportError> {
        Ok(self)
    }
}

impl Transport for FakeSocket {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frames, TransportError>> {
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.waker = Some(cx.waker().clone());
        if network.delayed {
            return Poll::Pending;
        }
        drop(network);
        self.incoming.poll_recv(cx).map(|frames| frames.ok_or(TransportError::Closed))
    }

    fn try_send(&mut self, frames: &mut Frames) -> Result<Sent, TransportError> {
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        if network.stalled {
            return Ok(Sent::Later);
        }
        if frames.iter().next().is_some_and(|first| network.vanished.contains(&**first)) {
            return Err(TransportError::Unroutable);
        }
        drop(network);
        self.outgoing.send(std::mem::take(frames)).map_err(|_| TransportError::Closed)?;
        Ok(Sent::Whole)
    }
}
