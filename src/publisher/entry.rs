//! What is published: messages and growing text, and the thread that wrote them.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::wire::content::{Content, ExecutionState, Status, StreamName};
use crate::wire::{Frame, Frames, MessageType, Parent, to_json};

/// Something that waits to be published.
pub enum Entry {
    /// A message.
    Message(Message),
    /// Text of a stream, which still grows.
    Text(Text),
}

/// A message that waits.
pub enum Message {
    /// Encoded and signed by the thread that has published it.
    Encoded(Frames),
    /// A small one, encoded by the thread that sends it: the publishing thread has more to do, and memory that one thread
    /// allocates and another frees makes both wait in the allocator.
    Small(Small),
}

/// A small message without buffers.
pub struct Small {
    /// The request that it belongs to.
    pub parent: Arc<Parent>,
    /// Its type.
    pub kind: MessageType,
    /// Raw JSON.
    pub metadata: Frame,
    /// Raw JSON.
    pub content: Vec<u8>,
    /// When it was published.
    pub date: DateTime<Utc>,
}

/// Text that a request wrote to one of its streams.
pub struct Text {
    /// The request.
    pub parent: Arc<Parent>,
    /// The stream.
    pub name: StreamName,
    /// What was written.
    pub text: String,
    /// When the first of it was written.
    pub since: Instant,
}

/// A thread that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer(pub(super) usize);

impl Writer {
    /// The calling thread.
    pub fn current() -> Self {
        thread_local!(static MARK: u8 = const { 0 });
        Self(MARK.with(|mark| std::ptr::from_ref(mark).addr()))
    }
}

/// A message or text with its writer.
pub struct Piece {
    /// The thread.
    pub writer: Writer,
    /// What it has written.
    pub what: What,
}

/// Something that is published for a request.
pub enum What {
    /// Text that can be joined with more.
    Text(StreamName, String),
    /// A message. If it is text: its stream, and whether it ends a line.
    Message(Message, Option<(StreamName, bool)>),
}

impl What {
    /// The stream of text, and whether it ends a line.
    pub fn line(&self) -> Option<(StreamName, bool)> {
        match self {
            Self::Text(name, text) => Some((*name, text.ends_with('\n'))),
            Self::Message(_, line) => *line,
        }
    }
}

impl Entry {
    /// How many bytes it takes in the queue.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.bytes(),
            Self::Text(text) => text.text.len(),
        }
    }
}

impl Message {
    /// A small message, published now.
    pub fn small(parent: &Arc<Parent>, kind: &MessageType, metadata: Frame, content: Vec<u8>) -> Self {
        let (parent, kind) = (parent.clone(), kind.clone());
        Self::Small(Small { parent, kind, metadata, content, date: Utc::now() })
    }

    /// The state of the kernel for a request.
    pub fn status(parent: &Arc<Parent>, execution_state: ExecutionState, date: DateTime<Utc>) -> Self {
        let (parent, content) = (parent.clone(), to_json(&Status { execution_state }));
        Self::Small(Small { parent, kind: Status::TYPE, metadata: Frame::EMPTY_OBJECT, content, date })
    }

    /// How many bytes it takes in the queue.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Encoded(frames) => frames.iter().map(|frame| frame.len()).sum(),
            Self::Small(small) => small.parent.raw_header.len() + small.metadata.len() + small.content.len(),
        }
    }
}
