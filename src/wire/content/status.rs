//! The state of the kernel (Jupyter protocol, "Kernel status").

use serde::{Deserialize, Serialize};

/// The state of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The state it has just entered.
    pub execution_state: ExecutionState,
}

/// A state of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionState {
    /// The process has started; sent once.
    Starting,
    /// It handles the parent message.
    Busy,
    /// It is done with the parent message and all its output.
    Idle,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{refused, round_trip};
    use super::*;

    #[test]
    fn a_status_is_read_and_written() {
        for (json, state) in [
            (r#"{"execution_state": "starting"}"#, ExecutionState::Starting),
            (r#"{"execution_state": "busy"}"#, ExecutionState::Busy),
            (r#"{"execution_state": "idle"}"#, ExecutionState::Idle),
        ] {
            assert_eq!(round_trip::<Status>(json).execution_state, state);
        }
        refused::<Status>(r#"{"execution_state": "dead"}"#);
    }
}
