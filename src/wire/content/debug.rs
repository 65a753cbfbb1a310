//! The Debug Adapter Protocol inside Jupyter messages (Jupyter protocol, "Debug request" and
//! "Debug event").
//!
//! The whole content is a message of that protocol: the kernel passes it on and does not know its
//! fields. Source: <https://microsoft.github.io/debug-adapter-protocol/>, 1.39 or later.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A request to the debugger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DebugRequest(
    /// A `Request` of the Debug Adapter Protocol.
    pub Box<RawValue>,
);

/// The debugger's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DebugReply(
    /// A `Response` of the Debug Adapter Protocol.
    pub Box<RawValue>,
);

/// Something that happened in the debugger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DebugEvent(
    /// An `Event` of the Debug Adapter Protocol.
    pub Box<RawValue>,
);

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip, written};
    use super::*;

    #[test]
    fn a_request_is_read_and_written() {
        let json = r#"{"type": "request", "seq": 2, "command": "debugInfo"}"#;
        assert_eq!(round_trip::<DebugRequest>(json).0.get(), json);
    }

    #[test]
    fn a_reply_is_read_and_written() {
        let json = r#"{
            "type": "response", "request_seq": 2, "success": true, "command": "dumpCell",
            "body": {"sourcePath": "cell.py"}
        }"#;
        assert_eq!(round_trip::<DebugReply>(json).0.get(), json);
    }

    #[test]
    fn an_event_is_read_and_written() {
        let json = r#"{"seq": 1, "type": "event", "event": "output", "body": {"output": "ptvsd"}}"#;
        assert_eq!(round_trip::<DebugEvent>(json).0.get(), json);
    }

    #[test]
    fn raw_json_survives_byte_for_byte() {
        let json = r#"{"z":  1, "a" : 123456789012345678901234567890}"#;
        assert_eq!(written(&read::<DebugRequest>(json)), json);
        assert_eq!(written(&read::<DebugReply>(json)), json);
        assert_eq!(written(&read::<DebugEvent>(json)), json);
    }
}
