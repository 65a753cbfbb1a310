//! Whether code is complete (Jupyter protocol, "Code completeness").

use serde::{Deserialize, Serialize};

/// Asks whether code is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsCompleteRequest {
    /// The code so far, one or more lines.
    pub code: String,
}

/// Whether it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum IsCompleteReply {
    /// It can be run as it is.
    Complete,
    /// Another line is needed.
    Incomplete {
        /// What to put before that line, mostly spaces; only a hint.
        indent: String,
    },
    /// No further line can make it right.
    Invalid,
    /// The kernel cannot tell.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::super::sample::round_trip;
    use super::*;

    #[test]
    fn a_request_is_read_and_written() {
        let request: IsCompleteRequest = round_trip(r#"{"code": "for i in range(5):"}"#);
        assert_eq!(request.code, "for i in range(5):");
    }

    #[test]
    fn a_reply_is_read_and_written() {
        for (json, reply) in [
            (r#"{"status": "complete"}"#, IsCompleteReply::Complete),
            (
                r#"{"status": "incomplete", "indent": "    "}"#,
                IsCompleteReply::Incomplete { indent: "    ".to_owned() },
            ),
            (r#"{"status": "invalid"}"#, IsCompleteReply::Invalid),
            (r#"{"status": "unknown"}"#, IsCompleteReply::Unknown),
        ] {
            assert_eq!(round_trip::<IsCompleteReply>(json), reply);
        }
    }
}
