//! Earlier inputs (Jupyter protocol, "History").

use serde::{Deserialize, Serialize};

use super::reply;

/// Asks for earlier inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRequest {
    /// Whether to return the outputs too; false by default.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub output: bool,
    /// Whether to return the inputs as typed, not as transformed; true by default.
    #[serde(default = "super::yes", deserialize_with = "super::null_as_true")]
    pub raw: bool,
    /// Which inputs.
    #[serde(flatten)]
    pub access: HistoryAccess,
}

/// Which inputs a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hist_access_type", rename_all = "lowercase")]
pub enum HistoryAccess {
    /// Those of some lines of one session.
    Range {
        /// The session's number; 0 is this session, a negative number counts back from it.
        #[serde(default, deserialize_with = "super::null_as_default")]
        session: i64,
        /// The first line; 0 by default.
        #[serde(default, deserialize_with = "super::null_as_default")]
        start: i64,
        /// The line after the last one; without it, up to the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop: Option<i64>,
    },
    /// The last ones.
    Tail {
        /// How many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<i64>,
    },
    /// The last ones that match a pattern.
    Search {
        /// A glob pattern, with `*` and `?`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
        /// How many; without it, all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<i64>,
        /// Whether to leave out repeated inputs; false by default.
        #[serde(default, deserialize_with = "super::null_as_default")]
        unique: bool,
    },
}

/// The earlier inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
    /// The inputs, oldest first.
    pub history: Vec<HistoryEntry>,
}

/// An earlier input: the number of its session, its line in that session, and its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HistoryEntry {
    /// When no outputs were asked for.
    Input(i64, i64, String),
    /// When outputs were asked for: the input and its output, if it had one.
    InputOutput(i64, i64, (String, Option<String>)),
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, refused, round_trip};
    use super::*;

    #[test]
    fn a_range_request_is_read_and_written() {
        let request: HistoryRequest = round_trip(
            r#"{
                "output": true,
                "raw": false,
                "hist_access_type": "range",
                "session": -1,
                "start": 2,
                "stop": 5
            }"#,
        );
        let access = HistoryAccess::Range { session: -1, start: 2, stop: Some(5) };
        assert_eq!(request, HistoryRequest { output: true, raw: false, access });
    }

    #[test]
    fn a_tail_request_is_read_and_written() {
        let request: HistoryRequest =
            round_trip(r#"{"output": false, "raw": true, "hist_access_type": "tail", "n": 500}"#);
        let access = HistoryAccess::Tail { n: Some(500) };
        assert_eq!(request, HistoryRequest { output: false, raw: true, access });
    }

    #[test]
    fn a_search_request_is_read_and_written() {
        let request: HistoryRequest = round_trip(
            r#"{
                "output": false,
                "raw": true,
                "hist_access_type": "search",
                "pattern": "imp*",
                "n": 10,
                "unique": true
            }"#,
        );
        let access = HistoryAccess::Search { pattern: Some("imp*".to_owned()), n: Some(10), unique: true };
        assert_eq!(request, HistoryRequest { output: false, raw: true, access });
    }

    #[test]
    fn a_request_has_defaults() {
        for (name, access) in [
            ("range", HistoryAccess::Range { session: 0, start: 0, stop: None }),
            ("tail", HistoryAccess::Tail { n: None }),
            ("search", HistoryAccess::Search { pattern: None, n: None, unique: false }),
        ] {
            let expected = HistoryRequest { output: false, raw: true, access };
            let least = format!(r#"{{"hist_access_type": "{name}"}}"#);
            assert_eq!(read::<HistoryRequest>(&least), expected);
            let nulls = format!(
                r#"{{
                    "hist_access_type": "{name}", "output": null, "raw": null, "session": null,
                    "start": null, "stop": null, "n": null, "pattern": null, "unique": null
                }}"#
            );
            assert_eq!(read::<HistoryRequest>(&nulls), expected);
        }
    }

    #[test]
    fn an_unknown_access_is_refused() {
        let message = refused::<HistoryRequest>(r#"{"hist_access_type": "head"}"#);
        assert!(message.starts_with("unknown variant `head`, expected one of"), "{message}");
    }

    #[test]
    fn a_reply_is_read_and_written() {
        let reply: HistoryReply =
            round_trip(r#"{"status": "ok", "history": [[1, 2, "1/0"], [1, 3, "int?"]]}"#);
        assert_eq!(
            reply.history,
            [HistoryEntry::Input(1, 2, "1/0".to_owned()), HistoryEntry::Input(1, 3, "int?".to_owned()),]
        );
        let reply: HistoryReply =
            round_trip(r#"{"status": "ok", "history": [[1, 2, ["5", "5"]], [1, 3, ["a=1", null]]]}"#);
        assert_eq!(
            reply.history,
            [
                HistoryEntry::InputOutput(1, 2, ("5".to_owned(), Some("5".to_owned()))),
                HistoryEntry::InputOutput(1, 3, ("a=1".to_owned(), None)),
            ]
        );
    }
}
