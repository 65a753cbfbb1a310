//! An exception for all clients (Jupyter protocol, "Execution errors").

use serde::{Deserialize, Serialize};

/// An exception that ended a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The name of the exception, such as `ValueError`.
    pub ename: String,
    /// The text of the exception.
    pub evalue: String,
    /// The traceback, one frame each, possibly with ANSI colours.
    pub traceback: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::super::sample::round_trip;
    use super::*;

    #[test]
    fn an_error_is_read_and_written() {
        let error: Error = round_trip(
            r#"{
                "ename": "ZeroDivisionError",
                "evalue": "division by zero",
                "traceback": ["\u001b[31mZeroDivisionError\u001b[39m: division by zero"]
            }"#,
        );
        assert_eq!(error.ename, "ZeroDivisionError");
        assert_eq!(error.evalue, "division by zero");
        assert_eq!(error.traceback, ["\u{1b}[31mZeroDivisionError\u{1b}[39m: division by zero"]);
    }
}
