//! The ports of the channels (Jupyter protocol, "Connect"; deprecated since 5.1).

use serde::{Deserialize, Serialize};

use super::reply;

/// Asks for the ports of all channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectRequest {}

/// The ports of all channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
    /// The port of the shell channel.
    pub shell_port: u16,
    /// The port of the iopub channel.
    pub iopub_port: u16,
    /// The port of the stdin channel.
    pub stdin_port: u16,
    /// The port of the heartbeat channel.
    pub hb_port: u16,
    /// The port of the control channel.
    pub control_port: u16,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip};
    use super::*;

    #[test]
    fn a_request_is_empty() {
        assert_eq!(round_trip::<ConnectRequest>("{}"), read(r#"{"unknown": 1}"#));
    }

    #[test]
    fn a_reply_is_read_and_written() {
        let reply: ConnectReply = round_trip(
            r#"{
                "status": "ok",
                "shell_port": 55675,
                "iopub_port": 43321,
                "stdin_port": 40393,
                "hb_port": 37147,
                "control_port": 40035
            }"#,
        );
        assert_eq!(reply.shell_port, 55675);
        assert_eq!(reply.iopub_port, 43321);
        assert_eq!(reply.stdin_port, 40393);
        assert_eq!(reply.hb_port, 37147);
        assert_eq!(reply.control_port, 40035);
    }
}
