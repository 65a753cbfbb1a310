//! Descriptions of objects (Jupyter protocol, "Introspection").

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::reply;

/// Asks for a description of the object at the cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectRequest {
    /// The code around the object, up to a whole cell.
    pub code: String,
    /// Where the cursor is in `code`, in Unicode code points; its end when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_pos: Option<i64>,
    /// How much to tell: 0 for what `x?` shows, 1 for what `x??` shows; 0 by default.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub detail_level: i64,
    /// Sections of the answer that the client does not want (ipykernel's extension).
    #[serde(default, deserialize_with = "super::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub omit_sections: Vec<String>,
}

/// The description.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InspectReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
    /// Whether there is such an object.
    pub found: bool,
    /// The description in several formats, by MIME type; empty when nothing was found.
    pub data: Box<RawValue>,
    /// What describes the formats.
    pub metadata: Box<RawValue>,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip, written};
    use super::*;

    #[test]
    fn a_request_is_read_and_written() {
        let request: InspectRequest =
            round_trip(r#"{"code": "a = int", "cursor_pos": 7, "detail_level": 1}"#);
        assert_eq!(request.code, "a = int");
        assert_eq!(request.cursor_pos, Some(7));
        assert_eq!(request.detail_level, 1);
        let request: InspectRequest =
            round_trip(r#"{"code": "", "cursor_pos": 0, "detail_level": 0, "omit_sections": ["source"]}"#);
        assert_eq!(request.omit_sections, ["source"]);
    }

    #[test]
    fn a_request_has_defaults() {
        let request: InspectRequest = read(r#"{"code": "int", "cursor_pos": null}"#);
        assert_eq!(request.cursor_pos, None);
        assert_eq!(request.detail_level, 0);
        assert!(request.omit_sections.is_empty());
    }

    #[test]
    fn a_reply_is_read_and_written() {
        let reply: InspectReply = round_trip(
            r#"{
                "status": "ok", "found": true, "data": {"text/plain": "Type: int"}, "metadata": {}
            }"#,
        );
        assert!(reply.found);
        assert_eq!(reply.data.get(), r#"{"text/plain": "Type: int"}"#);
        assert_eq!(reply.metadata.get(), "{}");
    }

    #[test]
    fn raw_json_survives_byte_for_byte() {
        let reply = concat!(
            r#"{"status":"ok","found":true,"data":{"b" :  123456789012345678901234567890},"#,
            r#""metadata":{"z":1,  "a":2}}"#
        );
        assert_eq!(written(&read::<InspectReply>(reply)), reply);
    }
}
