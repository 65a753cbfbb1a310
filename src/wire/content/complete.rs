//! Completions at the cursor (Jupyter protocol, "Completion").

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::reply;

/// Asks for completions at the cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteRequest {
    /// The code around the cursor, up to a whole cell.
    pub code: String,
    /// Where the cursor is in `code`, in Unicode code points; its end when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_pos: Option<i64>,
}

/// The completions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompleteReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
    /// The texts that can stand between `cursor_start` and `cursor_end`.
    pub matches: Vec<String>,
    /// Where the replaced text begins, in Unicode code points.
    pub cursor_start: i64,
    /// Where the replaced text ends, in Unicode code points; mostly the cursor.
    pub cursor_end: i64,
    /// Metadata about the matches, such as `_jupyter_types_experimental`.
    pub metadata: Box<RawValue>,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip, written};
    use super::*;

    #[test]
    fn a_request_is_read_and_written() {
        let request: CompleteRequest = round_trip(r#"{"code": "foo = a.isal", "cursor_pos": 12}"#);
        assert_eq!(request.code, "foo = a.isal");
        assert_eq!(request.cursor_pos, Some(12));
    }

    #[test]
    fn the_cursor_may_be_absent_or_null() {
        let absent: CompleteRequest = read(r#"{"code": "a"}"#);
        let null: CompleteRequest = read(r#"{"code": "a", "cursor_pos": null}"#);
        assert_eq!(absent.cursor_pos, None);
        assert_eq!(null, absent);
    }

    #[test]
    fn a_reply_is_read_and_written() {
        let reply: CompleteReply = round_trip(
            r#"{
                "status": "ok",
                "matches": ["a.isalnum", "a.isalpha"],
                "cursor_start": 6,
                "cursor_end": 12,
                "metadata": {"_jupyter_types_experimental": []}
            }"#,
        );
        assert_eq!(reply.matches, ["a.isalnum", "a.isalpha"]);
        assert_eq!(reply.cursor_start, 6);
        assert_eq!(reply.cursor_end, 12);
        assert_eq!(reply.metadata.get(), r#"{"_jupyter_types_experimental": []}"#);
    }

    #[test]
    fn raw_json_survives_byte_for_byte() {
        let reply = concat!(
            r#"{"status":"ok","matches":[],"cursor_start":0,"cursor_end":0,"#,
            r#""metadata":{"b" :  123456789012345678901234567890}}"#
        );
        assert_eq!(written(&read::<CompleteReply>(reply)), reply);
    }
}
