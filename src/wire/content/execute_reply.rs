//! The outcome of running code (Jupyter protocol, "Execution results").

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The outcome of an `execute_request`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase", try_from = "ReplyFields")]
pub enum ExecuteReply {
    /// The code ran to its end.
    Ok {
        /// The number of the cell, as in `In [3]`.
        execution_count: u64,
        /// For each requested expression a mime bundle or an error, by the client's names.
        user_expressions: BTreeMap<String, Box<RawValue>>,
        /// What the frontend should do next, such as showing a page; deprecated but in use.
        payload: Vec<Box<RawValue>>,
    },
    /// The code raised an exception, or could not be run.
    Error {
        /// The number of the cell, as in `In [3]`.
        execution_count: u64,
        /// The name of the exception, such as `ValueError`.
        ename: String,
        /// The text of the exception.
        evalue: String,
        /// The traceback, one frame each, possibly with ANSI colours.
        traceback: Vec<String>,
        /// Always empty: expressions are not evaluated after an error. ipykernel sends it too.
        user_expressions: BTreeMap<String, Box<RawValue>>,
        /// What the frontend should do next; code can ask for it before it fails.
        payload: Vec<Box<RawValue>>,
    },
    /// The code was not run, because an earlier request failed.
    Aborted {
        /// The number of the last cell; the protocol asks for it, ipykernel leaves it out.
        #[serde(skip_serializing_if = "Option::is_none")]
        execution_count: Option<u64>,
    },
}

/// The fields of all outcomes. An [`ExecuteReply`] is read through it, because serde's own way to
/// read a tagged enum cannot hold raw JSON.
#[derive(Deserialize)]
struct ReplyFields {
    status: ReplyStatus,
    execution_count: Option<u64>,
    ename: Option<String>,
    evalue: Option<String>,
    traceback: Option<Vec<String>>,
    #[serde(default)]
    user_expressions: BTreeMap<String, Box<RawValue>>,
    #[serde(default)]
    payload: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReplyStatus {
    Ok,
    Error,
    Aborted,
}

impl TryFrom<ReplyFields> for ExecuteReply {
    type Error = &'static str;

    fn try_from(fields: ReplyFields) -> Result<Self, &'static str> {
        let execution_count = fields.execution_count;
        let user_expressions = fields.user_expressions;
        let payload = fields.payload;
        Ok(match fields.status {
            ReplyStatus::Ok => Self::Ok {
                execution_count: execution_count.ok_or("missing field `execution_count`")?,
                user_expressions,
                payload,
            },
            ReplyStatus::Error => Self::Error {
                execution_count: execution_count.ok_or("missing field `execution_count`")?,
                ename: fields.ename.ok_or("missing field `ename`")?,
                evalue: fields.evalue.ok_or("missing field `evalue`")?,
                traceback: fields.traceback.ok_or("missing field `traceback`")?,
                user_expressions,
                payload,
            },
            ReplyStatus::Aborted => Self::Aborted { execution_count },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, refused, round_trip, written};
    use super::*;

    #[test]
    fn an_ok_reply_is_read_and_written() {
        let reply: ExecuteReply = round_trip(
            r#"{
                "status": "ok",
                "execution_count": 1,
                "user_expressions": {
                    "a": {"status": "ok", "data": {"text/plain": "2"}, "metadata": {}}
                },
                "payload": [{"source": "set_next_input", "text": "1", "replace": false}]
            }"#,
        );
        let ExecuteReply::Ok { execution_count, user_expressions, payload } = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(execution_count, 1);
        assert_eq!(
            user_expressions["a"].get(),
            r#"{"status": "ok", "data": {"text/plain": "2"}, "metadata": {}}"#
        );
        assert_eq!(payload.len(), 1);
        assert_eq!(payload[0].get(), r#"{"source": "set_next_input", "text": "1", "replace": false}"#);
    }

    #[test]
    fn an_error_reply_is_read_and_written() {
        let reply: ExecuteReply = round_trip(
            r#"{
                "status": "error",
                "execution_count": 2,
                "ename": "ZeroDivisionError",
                "evalue": "division by zero",
                "traceback": ["----> 1 1/0", "ZeroDivisionError: division by zero"],
                "user_expressions": {},
                "payload": []
            }"#,
        );
        let ExecuteReply::Error { execution_count, ename, evalue, traceback, user_expressions, payload } =
            reply
        else {
            panic!("{reply:?}");
        };
        assert_eq!(execution_count, 2);
        assert_eq!(ename, "ZeroDivisionError");
        assert_eq!(evalue, "division by zero");
        assert_eq!(traceback, ["----> 1 1/0", "ZeroDivisionError: division by zero"]);
        assert!(user_expressions.is_empty());
        assert!(payload.is_empty());
    }

    #[test]
    fn an_aborted_reply_is_read_and_written() {
        let reply: ExecuteReply = round_trip(r#"{"status": "aborted"}"#);
        assert!(matches!(reply, ExecuteReply::Aborted { execution_count: None }));
        let reply: ExecuteReply = round_trip(r#"{"status": "aborted", "execution_count": 3}"#);
        assert!(matches!(reply, ExecuteReply::Aborted { execution_count: Some(3) }));
    }

    #[test]
    fn a_reply_without_its_fields_is_refused() {
        assert_eq!(refused::<ExecuteReply>(r#"{"status": "ok"}"#), "missing field `execution_count`");
        assert_eq!(
            refused::<ExecuteReply>(r#"{"status": "error", "execution_count": 1}"#),
            "missing field `ename`"
        );
        refused::<ExecuteReply>(r#"{"status": "abort"}"#);
    }

    #[test]
    fn raw_json_survives_byte_for_byte() {
        let reply = concat!(
            r#"{"status":"ok","execution_count":1,"#,
            r#""user_expressions":{"a":{"b" :  123456789012345678901234567890}},"#,
            r#""payload":[{"z":1,  "a":1e400}]}"#
        );
        assert_eq!(written(&read::<ExecuteReply>(reply)), reply);
    }
}
