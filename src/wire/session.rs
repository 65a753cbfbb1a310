//! Writing a message to frames.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{SecondsFormat, Utc};

use super::{DELIMITER, Frames, Header, MessageType, PROTOCOL_VERSION, Signer};

/// The kernel's side of the conversation: gives messages their ids, dates and signatures.
///
/// Shared by all threads; encoding takes no lock.
pub struct Session {
    id: String,
    username: String,
    signer: Signer,
    pid: u32,
    count: AtomicU64,
}

/// The parts of a message to be written.
pub struct Outgoing<'a> {
    /// Where a ROUTER socket sends it, or the topic on iopub.
    pub idents: &'a [Vec<u8>],
    /// Its type.
    pub kind: &'a MessageType,
    /// The header of the request that caused it, raw JSON, echoed as it came; `{}` for none.
    pub parent: &'a [u8],
    /// Raw JSON.
    pub metadata: Vec<u8>,
    /// Raw JSON.
    pub content: Vec<u8>,
    /// Binary buffers, sent as they are.
    pub buffers: Vec<zmq::Message>,
}

impl Session {
    /// A new session that signs with the connection file's key.
    pub fn new(key: &[u8]) -> Self {
        let username = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            username: username.unwrap_or_else(|_| "username".to_owned()),
            signer: Signer::new(key),
            pid: std::process::id(),
            count: AtomicU64::new(0),
        }
    }

    /// The session's id: it is in every header, and in the topics on iopub.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// For reading what clients sign with the same key.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// A header for a new message of this type.
    pub fn header(&self, kind: &MessageType) -> Header {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        Header {
            msg_id: format!("{}_{}_{n}", self.id, self.pid),
            msg_type: kind.as_str().to_owned(),
            session: self.id.clone(),
            username: self.username.clone(),
            date: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            version: PROTOCOL_VERSION.to_owned(),
            subshell_id: None,
            run_mode: None,
        }
    }

    /// The frames of a new message. Content and buffers are moved, not copied.
    pub fn encode(&self, message: Outgoing<'_>) -> Frames {
        let header = self.header(message.kind);
        self.encode_with_header(&header, message)
    }

    /// Like [`Session::encode`], for a header made beforehand (a prompt needs to know its id).
    pub fn encode_with_header(&self, header: &Header, message: Outgoing<'_>) -> Frames {
        // A struct of strings always serializes.
        let header = serde_json::to_vec(header).unwrap_or_default();
        let signature = self.signer.sign([&header, message.parent, &message.metadata, &message.content]);
        let mut frames = Frames::default();
        for ident in message.idents {
            frames.push_back(ident.as_slice().into());
        }
        frames.push_back(DELIMITER.into());
        frames.push_back(signature.as_bytes().into());
        frames.push_back(header.into());
        frames.push_back(message.parent.into());
        frames.push_back(message.metadata.into());
        frames.push_back(message.content.into());
        for buffer in message.buffers {
            frames.push_back(buffer);
        }
        frames
    }
}
