//! Real sockets: libzmq through tmq.
//!
//! The only file that knows tmq. tmq has no builder for XPUB, so every socket is made with the `zmq` crate and given to
//! tmq's `Pair`, which receives and sends, through its doc-hidden trait `FromZmqSocket`. tmq receives and watches the
//! descriptor. Sends go to the socket itself: tmq's sink copies every frame, large ones included.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use thiserror::Error;
use tmq::pair::Pair;
use tmq::{AsZmqSocket, FromZmqSocket};
use tracing::warn;

use super::{Endpoint, Sent, Transport, TransportError};
use crate::os::files::{SOCKET_PATH_LIMIT, for_owner_only};
use crate::transport::curve::CurveKeys;
use crate::wire::{Frame, Frames};

/// Frames up to this many bytes are copied when sent, which costs less than having libzmq free them. Larger ones are moved.
const COPIED_WHEN_SENT: usize = 16 * 1024;

/// Frames up to this many bytes are copied when received: small messages share memory of libzmq, and one frame would keep
/// all of it. Larger ones are lent.
const COPIED_WHEN_RECEIVED: usize = 4 * 1024;

/// How long closing a socket waits for messages that are still on their way, milliseconds.
const LINGER_MS: i32 = 1000;

/// How many messages may wait for one subscriber of iopub before the kernel holds back.
const IOPUB_HIGH_WATER_MARK: i32 = 1000;

/// How long a message to iopub may be, in bytes: a subscription, which is a byte and a topic. libzmq keeps a node for each
/// byte of a topic. It closes a connection that sends more.
const LONGEST_SUBSCRIPTION: i64 = 1024;

/// How long a frame of a heartbeat may be, in bytes, and how many of them may wait in each direction for one client.
/// They are not signed: without limits, any process that can connect could fill the memory with unread echoes.
const LONGEST_HEARTBEAT: i64 = 1024 * 1024;
const HEARTBEAT_HIGH_WATER_MARK: i32 = 100;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Requests in, replies out, each to the client it is for: shell, control, stdin.
    Router,
    /// Echoes: the heartbeat. Those that a client does not read are dropped.
    Heartbeat,
    /// The same messages to all subscribers: iopub.
    Publisher,
}

/// A socket that could not be bound.
#[derive(Debug, Error)]
#[error("cannot bind {address}: {reason}. {hint}")]
pub struct BindError {
    address: String,
    reason: String,
    hint: &'static str,
    /// Another socket has this address already.
    pub in_use: bool,
}

impl BindError {
    /// For a socket file that cannot be made.
    pub fn of_file(address: &str, reason: &std::io::Error) -> Self {
        use std::io::ErrorKind::{AddrInUse, AlreadyExists, PermissionDenied};
        let hint = match reason.kind() {
            AddrInUse => {
                "Another process listens there: end it, or start the kernel with another connection file"
            }
            AlreadyExists => "A file is in the way that is no socket: check `ip` in the connection file",
            PermissionDenied => "Choose a folder of yours: check `ip` in the connection file",
            _ => "Check `ip` in the connection file: for ipc it is what the paths of the sockets start with",
        };
        let in_use = matches!(reason.kind(), AddrInUse | AlreadyExists);
        Self { address: address.to_owned(), reason: reason.to_string(), hint, in_use }
    }

    fn of_socket(address: &str, reason: zmq::Error) -> Self {
        let hint = match reason {
            zmq::Error::EADDRINUSE => {
                "Another process uses this port: end it, or let callboard choose (port 0)"
            }
            zmq::Error::EADDRNOTAVAIL | zmq::Error::ENODEV => {
                "This machine has no such address: check `ip` in the connection file"
            }
            zmq::Error::EACCES => "Ports below 1024 need special rights: choose a higher one",
            zmq::Error::EPROTONOSUPPORT => "`transport` must be tcp or ipc",
            _ if address.len() > "ipc://".len() + SOCKET_PATH_LIMIT => {
                "The path of a socket is too long: choose a shorter `ip` in the connection file"
            }
            _ => "Check the connection file",
        };
        let in_use = reason == zmq::Error::EADDRINUSE;
        Self { address: address.to_owned(), reason: reason.to_string(), hint, in_use }
    }
}

/// A bound socket, ready to move to the thread that serves it.
pub struct Bound {
    socket: zmq::Socket,
    /// Where it is bound, with the real port where port 0 was asked for.
    pub address: String,
}

/// Binds a socket. With keys, it encrypts and accepts only clients that know the public key. Port 0 (tcp) lets the system
/// choose. Only the owner of the process can use the file of an ipc socket, in any folder.
pub fn bind(
    context: &zmq::Context,
    role: Role,
    address: &str,
    curve: Option<&CurveKeys>,
) -> Result<Bound, BindError> {
    let bound = || -> zmq::Result<Bound> {
        let mut socket = context.socket(match role {
            Role::Router | Role::Heartbeat => zmq::ROUTER,
            Role::Publisher => zmq::XPUB,
        })?;
        socket.set_linger(LINGER_MS)?;
        if address.contains('[') {
            socket.set_ipv6(true)?;
        }
        if let Some(keys) = curve {
            socket.set_curve_server(true)?;
            socket.set_curve_publickey(&keys.public)?;
            socket.set_curve_secretkey(&keys.secret)?;
        }
        match role {
            Role::Router => {
                // Handover: a client that comes back under its old identity takes it over. Mandatory: a reply to a
                // client that has gone is an error, not a silent loss. No high-water mark: a client that does not
                // read its replies does not delay the others.
                socket.set_router_handover(true)?;
                socket.set_router_mandatory(true)?;
                socket.set_sndhwm(0)?;
            }
            Role::Heartbeat => {
                socket.set_router_handover(true)?;
                socket.set_sndhwm(HEARTBEAT_HIGH_WATER_MARK)?;
                socket.set_rcvhwm(HEARTBEAT_HIGH_WATER_MARK)?;
                socket.set_maxmsgsize(LONGEST_HEARTBEAT)?;
            }
            Role::Publisher => {
                // Manual: the actor accepts each subscription, and greets its subscriber before any other message.
                // No drop: sending is refused while the queue of a subscriber is full.
                switch_on(&mut socket, zmq_sys::ZMQ_XPUB_MANUAL)?;
                switch_on(&mut socket, zmq_sys::ZMQ_XPUB_NODROP)?;
                socket.set_sndhwm(IOPUB_HIGH_WATER_MARK)?;
                socket.set_maxmsgsize(LONGEST_SUBSCRIPTION)?;
            }
        }
        for_owner_only(|| socket.bind(address))?;
        let address = socket.get_last_endpoint()?.unwrap_or_else(|_| address.to_owned());
        Ok(Bound { socket, address })
    };
    bound().map_err(|reason| BindError::of_socket(address, reason))
}

/// Sets an option that the `zmq` crate does not name.
fn switch_on(socket: &mut zmq::Socket, option: u32) -> zmq::Result<()> {
    let on: libc::c_int = 1;
    let option = option.cast_signed();
    // SAFETY: the socket is open, and the option takes an int that outlives the call.
    let status = unsafe {
        zmq_sys::zmq_setsockopt(socket.as_mut_ptr(), option, (&raw const on).cast(), size_of_val(&on))
    };
    // SAFETY: reads the calling thread's error number.
    if status == 0 { Ok(()) } else { Err(zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() })) }
}

impl Endpoint for Bound {
    type Transport = Socket;

    fn open(self) -> Result<Socket, TransportError> {
        let pair = Pair::from_zmq_socket(self.socket).map_err(|e| TransportError::Failed(e.to_string()))?;
        Ok(Socket { pair })
    }
}

/// A real socket on the thread that serves it.
pub struct Socket {
    pair: Pair,
}

/// A frame of a received message.
fn frame(message: zmq::Message) -> Frame {
    if message.len() <= COPIED_WHEN_RECEIVED { Frame::from(&*message) } else { Frame::lent(message) }
}

fn failed(error: zmq::Error) -> TransportError {
    TransportError::Failed(error.to_string())
}

impl Transport for Socket {
    fn subscribe(&mut self, topic: &[u8]) -> Result<(), TransportError> {
        self.pair.get_socket().set_subscribe(topic).map_err(failed)
    }

    fn unsubscribe(&mut self, topic: &[u8]) -> Result<(), TransportError> {
        self.pair.get_socket().set_unsubscribe(topic).map_err(failed)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frames, TransportError>> {
        Pin::new(&mut self.pair).poll_next(cx).map(|next| match next {
            Some(Ok(received)) => Ok(received.into_iter().map(frame).collect()),
            Some(Err(problem)) => Err(TransportError::Failed(problem.to_string())),
            None => Err(TransportError::Closed),
        })
    }

    fn try_send(&mut self, frames: &mut Frames) -> Result<Sent, TransportError> {
        let socket = self.pair.get_socket();
        while let Some(frame) = frames.pop_front() {
            let flags = if frames.is_empty() { zmq::DONTWAIT } else { zmq::DONTWAIT | zmq::SNDMORE };
            let (sent, kept) = if frame.len() > COPIED_WHEN_SENT {
                (socket.send(frame.into_vec(), flags), None)
            } else {
                (socket.send(&*frame, flags), Some(frame))
            };
            match (sent, kept) {
                (Ok(()), _) => {}
                (Err(zmq::Error::EAGAIN), Some(frame)) => {
                    frames.push_front(frame);
                    return Ok(Sent::Later);
                }
                (Err(zmq::Error::EHOSTUNREACH), kept) => {
                    // Refused at the first frame: the message is still whole and can be tried again.
                    if let Some(frame) = kept {
                        frames.push_front(frame);
                    }
                    return Err(TransportError::Unroutable);
                }
                (Err(zmq::Error::ETERM | zmq::Error::ENOTSOCK), _) => return Err(TransportError::Closed),
                (Err(error), kept) => {
                    // libzmq refuses only at the first frame, which is small and kept.
                    warn!(%error, kept = kept.is_some(), "sending stopped in the middle of a message");
                    return Err(TransportError::Failed(error.to_string()));
                }
            }
        }
        Ok(Sent::Whole)
    }
}
