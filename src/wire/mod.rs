//! The Jupyter messaging protocol 5.5 on the wire: frames, signatures, headers and contents.
//!
//! A message is `[identity…, "<IDS|MSG>", signature, header, parent_header, metadata, content,
//! buffer…]` ("The Wire Protocol" in the Jupyter messaging specification). The four dicts are kept as raw JSON and read
//! once each; buffers are never read. This room knows no socket.

mod cell_file;
pub mod content;
pub mod dap;
mod frames;
mod header;
mod incoming;
mod message_type;
mod metadata;
mod object;
mod parent;
pub mod run_mode;
pub(crate) mod sanitize;
mod session;
mod signature;

pub use cell_file::{CELL_HASH_SEED, cell_file};
pub use frames::{Frame, Frames};
pub use header::Header;
pub use incoming::{Incoming, Verifier, WireError};
pub use message_type::MessageType;
pub use metadata::Metadata;
pub use parent::Parent;
pub(crate) use session::write_date;
pub use session::{Outgoing, Session};
pub use signature::{ReplayGuard, Signer};

/// The version of the messaging protocol that this kernel speaks.
pub const PROTOCOL_VERSION: &str = "5.5";

/// The frame between the routing identities and the signature.
pub const DELIMITER: &[u8] = b"<IDS|MSG>";

/// An empty JSON object: the content or metadata of a message that has none.
pub const EMPTY_OBJECT: &[u8] = b"{}";

/// The content of a message as JSON.
pub(crate) fn to_json(content: &impl serde::Serialize) -> Vec<u8> {
    // The protocol's types hold strings, numbers and raw JSON: they always serialize.
    serde_json::to_vec(content).unwrap_or_else(|_| EMPTY_OBJECT.to_vec())
}
