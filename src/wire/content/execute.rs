//! Runs code (Jupyter protocol, "Execute", "Code inputs" and "Execution results").

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Asks the kernel to run code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecuteRequest {
    /// The code, one or more lines.
    pub code: String,
    /// Whether to run without publishing input and result and without counting; false by default.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub silent: bool,
    /// Whether to keep the code in the history; see [`Self::stores_history`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_history: Option<bool>,
    /// Expressions to evaluate after the code, by the client's names for them.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub user_expressions: BTreeMap<String, String>,
    /// Whether the client answers an `input_request`; false by default, as in ipykernel.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub allow_stdin: bool,
    /// Whether an exception aborts the requests queued behind this one; true by default.
    #[serde(default = "super::yes", deserialize_with = "super::null_as_true")]
    pub stop_on_error: bool,
}

impl ExecuteRequest {
    /// Whether the code goes into the history: by default yes, never when silent.
    pub fn stores_history(&self) -> bool {
        !self.silent && self.store_history.unwrap_or(true)
    }
}

/// Tells all clients which code is about to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecuteInput<'a> {
    /// The code, one or more lines.
    pub code: Cow<'a, str>,
    /// The number of the cell, as in `In [3]`.
    pub execution_count: u64,
}

/// The value of the last expression of a cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecuteResult {
    /// The number of the cell, as in `Out[3]`.
    pub execution_count: u64,
    /// The value in several formats, by MIME type.
    pub data: Box<RawValue>,
    /// What describes the formats, such as the size of an image.
    pub metadata: Box<RawValue>,
    /// What holds only while the kernel lives, such as a `display_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transient: Option<Box<RawValue>>,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip, written};
    use super::*;

    #[test]
    fn a_request_is_read_and_written() {
        let request: ExecuteRequest = round_trip(
            r#"{
                "code": "a = 1\na",
                "silent": false,
                "store_history": true,
                "user_expressions": {"sum": "1 + 1"},
                "allow_stdin": true,
                "stop_on_error": false
            }"#,
        );
        assert_eq!(request.code, "a = 1\na");
        assert!(!request.silent);
        assert_eq!(request.store_history, Some(true));
        assert_eq!(request.user_expressions["sum"], "1 + 1");
        assert!(request.allow_stdin);
        assert!(!request.stop_on_error);
    }

    #[test]
    fn a_request_has_the_protocols_defaults() {
        let expected = ExecuteRequest {
            code: "1".to_owned(),
            silent: false,
            store_history: None,
            user_expressions: BTreeMap::new(),
            allow_stdin: false,
            stop_on_error: true,
        };
        assert_eq!(read::<ExecuteRequest>(r#"{"code": "1", "unknown": [1]}"#), expected);
        let nulls = r#"{
            "code": "1",
            "silent": null,
            "store_history": null,
            "user_expressions": null,
            "allow_stdin": null,
            "stop_on_error": null
        }"#;
        assert_eq!(read::<ExecuteRequest>(nulls), expected);
    }

    #[test]
    fn silent_code_is_never_stored() {
        let stores =
            |fields: &str| read::<ExecuteRequest>(&format!(r#"{{"code": "1"{fields}}}"#)).stores_history();
        assert!(stores(""));
        assert!(stores(r#", "store_history": true"#));
        assert!(!stores(r#", "store_history": false"#));
        assert!(!stores(r#", "silent": true"#));
        assert!(!stores(r#", "silent": true, "store_history": true"#));
    }

    #[test]
    fn an_input_is_read_and_written() {
        let input: ExecuteInput = round_trip(r#"{"code": "1/0", "execution_count": 2}"#);
        assert_eq!(input, ExecuteInput { code: "1/0".into(), execution_count: 2 });
    }

    #[test]
    fn a_result_is_read_and_written() {
        let result: ExecuteResult =
            round_trip(r#"{"data": {"text/plain": "5"}, "metadata": {}, "execution_count": 1}"#);
        assert_eq!(result.execution_count, 1);
        assert_eq!(result.data.get(), r#"{"text/plain": "5"}"#);
        assert_eq!(result.metadata.get(), "{}");
        assert!(result.transient.is_none());
    }

    #[test]
    fn raw_json_survives_byte_for_byte() {
        let json = concat!(
            r#"{"execution_count":1,"data":{"b" :  123456789012345678901234567890},"#,
            r#""metadata":{"z":1,  "a":2},"transient":{"display_id" : "a"}}"#
        );
        let result: ExecuteResult = read(json);
        assert_eq!(written(&result), json);
        assert_eq!(result.transient.as_deref().map(RawValue::get), Some(r#"{"display_id" : "a"}"#));
    }
}
