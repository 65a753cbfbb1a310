//! The request that caused a message, as far as the message needs it.

use std::sync::atomic::AtomicBool;

use super::EMPTY_OBJECT;

/// The part of a request that every message it causes needs. Owns nothing of its metadata, content or buffers: output
/// that waits, and tasks that outlive their cell, keep only this.
#[derive(Debug, Default)]
pub struct Parent {
    /// The request's header as it came: it is echoed verbatim.
    pub raw_header: Vec<u8>,
    /// The request's id.
    pub msg_id: String,
    /// The identities of the client that sent it.
    pub idents: Vec<Vec<u8>>,
    /// Whether it has been answered, and idle published.
    pub has_ended: AtomicBool,
}

impl Parent {
    /// The parent of a message that no request has caused.
    pub fn none() -> Self {
        Self { raw_header: EMPTY_OBJECT.to_vec(), ..Self::default() }
    }
}
