//! The header of a message.

use serde::{Deserialize, Serialize};

/// What a message says about itself ("General Message Format" in the messaging specification).
///
/// An answer needs only `msg_id` and `msg_type`. Clients leave out others and newer protocols add more, so the rest is
/// optional and unknown fields are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Unique for each message.
    pub msg_id: String,
    /// The name of the message's type; see [`crate::wire::MessageType`].
    pub msg_type: String,
    /// The session of the process that sent it.
    #[serde(default)]
    pub session: String,
    /// The user that sent it.
    #[serde(default)]
    pub username: String,
    /// When it was made, ISO 8601 with a time zone.
    #[serde(default)]
    pub date: String,
    /// The protocol version of the sender.
    #[serde(default)]
    pub version: String,
    /// The subshell it is for; none is the main shell (JEP 91).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subshell_id: Option<String>,
    /// Where the cell of an `execute_request` runs: see [`crate::wire::run_mode`]. An extension of callboard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_mode: Option<serde_json::Value>,
}
