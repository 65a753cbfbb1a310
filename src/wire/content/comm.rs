//! Comms, which widgets use (Jupyter protocol, "Custom Messages" and "Comm info").
//!
//! `comm_open`, `comm_msg` and `comm_close` go both ways and have no reply.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use super::reply;

/// Opens a comm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommOpen {
    /// The comm's id, chosen by the side that opens it.
    pub comm_id: String,
    /// The target that the other side opens it with.
    pub target_name: String,
    /// The module to find the target in; ipykernel's extension, no longer in the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_module: Option<String>,
    /// Data for the target; `{}` by default.
    #[serde(default = "super::empty_object")]
    pub data: Box<RawValue>,
}

/// A message on a comm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommMsg {
    /// The comm's id.
    pub comm_id: String,
    /// The message; `{}` by default.
    #[serde(default = "super::empty_object")]
    pub data: Box<RawValue>,
}

/// Closes a comm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommClose {
    /// The comm's id.
    pub comm_id: String,
    /// Data for the other side; `{}` by default.
    #[serde(default = "super::empty_object")]
    pub data: Box<RawValue>,
}

/// Asks which comms are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommInfoRequest {
    /// Asks for the comms of this target only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
}

/// The open comms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommInfoReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
    /// The comms, by their ids.
    pub comms: BTreeMap<String, CommInfo>,
}

/// An open comm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommInfo {
    /// The target it was opened with.
    pub target_name: String,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip, written};
    use super::*;

    #[test]
    fn an_open_is_read_and_written() {
        let open: CommOpen =
            round_trip(r#"{"comm_id": "u-u-i-d", "target_name": "my_comm", "data": {"a": 1}}"#);
        assert_eq!(open.comm_id, "u-u-i-d");
        assert_eq!(open.target_name, "my_comm");
        assert_eq!(open.target_module, None);
        assert_eq!(open.data.get(), r#"{"a": 1}"#);
        let open: CommOpen = read(r#"{"comm_id": "a", "target_name": "b", "target_module": null}"#);
        assert_eq!(written(&open), r#"{"comm_id":"a","target_name":"b","data":{}}"#);
        let open: CommOpen =
            read(r#"{"comm_id": "a", "target_name": "b", "target_module": "c", "data": {}}"#);
        assert_eq!(open.target_module.as_deref(), Some("c"));
    }

    #[test]
    fn a_message_is_read_and_written() {
        let msg: CommMsg = round_trip(r#"{"comm_id": "u-u-i-d", "data": {"b": 2}}"#);
        assert_eq!(msg.comm_id, "u-u-i-d");
        assert_eq!(msg.data.get(), r#"{"b": 2}"#);
        assert_eq!(read::<CommMsg>(r#"{"comm_id": "a"}"#).data.get(), "{}");
    }

    #[test]
    fn a_close_is_read_and_written() {
        let close: CommClose = round_trip(r#"{"comm_id": "u-u-i-d", "data": {"c": 3}}"#);
        assert_eq!(close.comm_id, "u-u-i-d");
        assert_eq!(close.data.get(), r#"{"c": 3}"#);
        assert_eq!(read::<CommClose>(r#"{"comm_id": "a"}"#).data.get(), "{}");
    }

    #[test]
    fn raw_json_survives_byte_for_byte() {
        let msg = r#"{"comm_id":"a","data":{"b" :  123456789012345678901234567890,"a":"\ud800"}}"#;
        assert_eq!(written(&read::<CommMsg>(msg)), msg);
        assert_eq!(written(&read::<CommClose>(msg)), msg);
        let open = r#"{"comm_id":"a","target_name":"b","data":{"z" :  1.50, "a":1e400}}"#;
        assert_eq!(written(&read::<CommOpen>(open)), open);
    }

    #[test]
    fn an_info_request_is_read_and_written() {
        let request: CommInfoRequest = round_trip(r#"{"target_name": "my_comm"}"#);
        assert_eq!(request.target_name.as_deref(), Some("my_comm"));
        assert_eq!(round_trip::<CommInfoRequest>("{}").target_name, None);
        assert_eq!(read::<CommInfoRequest>(r#"{"target_name": null}"#).target_name, None);
    }

    #[test]
    fn an_info_reply_is_read_and_written() {
        let reply: CommInfoReply =
            round_trip(r#"{"status": "ok", "comms": {"u-u-i-d": {"target_name": "my_comm"}}}"#);
        assert_eq!(reply.comms.len(), 1);
        assert_eq!(reply.comms["u-u-i-d"].target_name, "my_comm");
    }
}
