//! Breakpoints of a source: as a client asks for them, and as the debugger has set them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The arguments of `setBreakpoints`: all breakpoints of a source, in place of those before.
#[derive(Clone, Debug, Deserialize)]
pub struct SetBreakpoints {
    /// The source.
    pub source: Source,
    /// The breakpoints.
    #[serde(default)]
    pub breakpoints: Vec<SourceBreakpoint>,
}

/// A source.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Source {
    /// Its file.
    #[serde(default)]
    pub path: String,
}

/// A breakpoint, as a client asks for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceBreakpoint {
    /// The line, from 1.
    pub line: i64,
    /// The column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<i64>,
    /// An expression: it stops only where this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// How often it has to be hit before it stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit_condition: Option<String>,
    /// What is printed in place of a stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_message: Option<String>,
}

/// The body of the response to `setBreakpoints`.
#[derive(Clone, Debug, Deserialize)]
pub struct Verified {
    /// One for each that was asked for, in the same order.
    #[serde(default)]
    pub breakpoints: Vec<Breakpoint>,
}

/// A breakpoint, as the debugger has set it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Breakpoint {
    /// The debugger's number for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// Whether it can be hit.
    #[serde(default)]
    pub verified: bool,
    /// The line where it is: the next that has code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<i64>,
    /// Why it cannot be hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The source; JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<RawValue>>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_conditions() {
        let asked: SetBreakpoints = serde_json::from_str(
            r#"{
                "source": {"path": "/tmp/a.py", "name": "a.py"}, "sourceModified": false, "lines": [2],
                "breakpoints": [
                    {"line": 2, "condition": "x > 1"},
                    {"line": 3, "hitCondition": "5", "logMessage": "{x}", "column": 4, "mode": "hardware"}
                ]
            }"#,
        )
        .unwrap();
        assert_eq!(asked.source.path, "/tmp/a.py");
        assert_eq!(
            serde_json::to_string(&asked.breakpoints).unwrap(),
            r#"[{"line":2,"condition":"x > 1"},{"line":3,"column":4,"hitCondition":"5","logMessage":"{x}"}]"#
        );
        let none: SetBreakpoints = serde_json::from_str(r#"{"source": {"path": "a"}}"#).unwrap();
        assert!(none.breakpoints.is_empty());
        assert!(serde_json::from_str::<SetBreakpoints>(r#"{"breakpoints": []}"#).is_err());
        assert!(serde_json::from_str::<SetBreakpoints>(r#"{"source": {}, "breakpoints": [{}]}"#).is_err());
    }

    #[test]
    fn what_the_debugger_has_set_is_read() {
        let set: Verified = serde_json::from_str(
            r#"{"breakpoints": [{"verified": true, "id": 0, "line": 3, "source": {"path": "a"}}, {"message": "no code"}]}"#,
        )
        .unwrap();
        assert_eq!((set.breakpoints[0].verified, set.breakpoints[0].line), (true, Some(3)));
        assert_eq!((set.breakpoints[1].verified, set.breakpoints[1].line), (false, None));
    }
}
