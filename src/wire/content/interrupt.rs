//! Interrupts (Jupyter protocol, "Kernel interrupt").

use serde::{Deserialize, Serialize};

use super::reply;

/// Asks the kernel to interrupt the code that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptRequest {}

/// The interrupt was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip};
    use super::*;

    #[test]
    fn a_request_is_empty() {
        assert_eq!(round_trip::<InterruptRequest>("{}"), read(r#"{"unknown": 1}"#));
    }

    #[test]
    fn a_reply_is_read_and_written() {
        assert_eq!(round_trip::<InterruptReply>(r#"{"status": "ok"}"#), InterruptReply::default());
    }
}
