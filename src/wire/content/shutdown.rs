//! The end of the kernel (Jupyter protocol, "Kernel shutdown").

use serde::{Deserialize, Serialize};

use super::reply;

/// Asks the kernel to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownRequest {
    /// Whether a new kernel follows this one; false by default.
    #[serde(default, deserialize_with = "super::null_as_default")]
    pub restart: bool,
}

/// The kernel ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
    /// As in the request.
    pub restart: bool,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip};
    use super::*;

    #[test]
    fn a_request_is_read_and_written() {
        assert!(round_trip::<ShutdownRequest>(r#"{"restart": true}"#).restart);
        assert!(!round_trip::<ShutdownRequest>(r#"{"restart": false}"#).restart);
    }

    #[test]
    fn no_restart_is_the_default() {
        assert!(!read::<ShutdownRequest>("{}").restart);
        assert!(!read::<ShutdownRequest>(r#"{"restart": null}"#).restart);
    }

    #[test]
    fn a_reply_is_read_and_written() {
        assert!(round_trip::<ShutdownReply>(r#"{"status": "ok", "restart": true}"#).restart);
    }
}
