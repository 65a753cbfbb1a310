//! A line from the user (Jupyter protocol, "Messages on the stdin channel").
//!
//! The kernel asks and the client replies.

use serde::{Deserialize, Serialize};

/// Asks for a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRequest {
    /// What to show before the line.
    pub prompt: String,
    /// Whether the frontend should hide what is typed.
    pub password: bool,
}

/// The line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputReply {
    /// The line, without its end; `"\x04"` alone means the end of input.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip};
    use super::*;

    #[test]
    fn a_request_is_read_and_written() {
        let request: InputRequest = round_trip(r#"{"prompt": "name: ", "password": true}"#);
        assert_eq!(request.prompt, "name: ");
        assert!(request.password);
    }

    #[test]
    fn a_reply_is_read_and_written() {
        assert_eq!(round_trip::<InputReply>(r#"{"value": "Ada"}"#).value, "Ada");
        // As JupyterLab sends it.
        assert_eq!(read::<InputReply>(r#"{"status": "ok", "value": "Ada"}"#).value, "Ada");
    }
}
