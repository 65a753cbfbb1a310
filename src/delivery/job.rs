//! A message on its way from a socket to where it is answered.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::{Message, Recipient};

use serde_json::Value;

use crate::wire::{Frame, Frames, Incoming, MessageType, Metadata, Parent};

/// The channel that a message came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Requests of clients, many of which need Python.
    Shell,
    /// Requests that are answered at once, even while Python is busy.
    Control,
    /// Answers to prompts.
    Stdin,
}

impl Channel {
    /// The protocol's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Control => "control",
            Self::Stdin => "stdin",
        }
    }
}

/// The frames of a reply, for the socket actor that sends it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reply(pub Frames);

/// A request with its reply address.
pub struct Job {
    /// Where it came in.
    pub channel: Channel,
    /// The type its header names.
    pub kind: MessageType,
    /// The subshell that its header names.
    pub subshell_id: Option<String>,
    /// The run mode that its header names.
    pub run_mode: Option<Value>,
    /// Its id, identities and raw header, shared with all messages that it causes.
    pub parent: Arc<Parent>,
    /// The parent header it carries, raw JSON.
    pub parent_header: Frame,
    /// Its metadata, raw JSON.
    pub metadata: Frame,
    /// Its metadata, read.
    pub read_metadata: Metadata,
    /// Its content, raw JSON.
    pub content: Frame,
    /// Its binary buffers.
    pub buffers: Vec<Frame>,
    /// The socket actor that takes the reply.
    pub reply_to: Recipient<Reply>,
    /// When it was read from the socket.
    pub received_at: Instant,
}

impl Job {
    /// A job made of a message that came in on a channel.
    pub fn new(channel: Channel, message: Incoming, reply_to: Recipient<Reply>) -> Self {
        let Incoming { idents, raw_header, header, kind, parent, metadata, read_metadata, content, buffers } =
            message;
        Self {
            channel,
            kind,
            parent: Arc::new(Parent { raw_header, msg_id: header.msg_id, idents, ..Parent::default() }),
            subshell_id: header.subshell_id,
            run_mode: header.run_mode,
            parent_header: parent,
            metadata,
            read_metadata,
            content,
            buffers,
            reply_to,
            received_at: Instant::now(),
        }
    }

    /// The same message once more, to be answered anew.
    #[must_use]
    pub fn again(&self) -> Self {
        let copied = |frame: &Frame| Frame::from(frame.to_vec());
        Self {
            channel: self.channel,
            kind: self.kind.clone(),
            subshell_id: self.subshell_id.clone(),
            run_mode: self.run_mode.clone(),
            parent: self.parent.clone(),
            parent_header: copied(&self.parent_header),
            metadata: copied(&self.metadata),
            read_metadata: Metadata::read(&self.metadata),
            content: copied(&self.content),
            buffers: self.buffers.iter().map(copied).collect(),
            reply_to: self.reply_to.clone(),
            received_at: self.received_at,
        }
    }
}
