//! The contents of the messages of the Jupyter protocol 5.5, one type for each message type.
//!
//! Source: <https://jupyter-client.readthedocs.io/en/stable/messaging.html>, its sections named in
//! each file, and ipykernel where the protocol leaves something open.
//!
//! - Unknown fields are ignored, as the protocol asks.
//! - A `null` for an optional field of a request means the same as no field.
//! - JSON that the kernel only passes on is a [`RawValue`], kept byte for byte.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

mod check;
mod comm;
mod complete;
mod connect;
mod debug;
mod display;
mod error;
mod execute;
mod execute_reply;
mod history;
mod input;
mod inspect;
mod interrupt;
mod is_complete;
mod kernel_info;
pub mod reply;
mod shutdown;
mod status;
mod stream;
mod subshell;
mod typed;
mod usage;
mod welcome;

pub use check::{Checked, Malformed, check};
pub use comm::{CommClose, CommInfo, CommInfoReply, CommInfoRequest, CommMsg, CommOpen};
pub use complete::{CompleteReply, CompleteRequest};
pub use connect::{ConnectReply, ConnectRequest};
pub use debug::{DebugEvent, DebugReply, DebugRequest};
pub use display::{ClearOutput, DisplayData, UpdateDisplayData};
pub use error::Error;
pub use execute::{ExecuteInput, ExecuteRequest, ExecuteResult};
pub use execute_reply::ExecuteReply;
pub use history::{HistoryAccess, HistoryEntry, HistoryReply, HistoryRequest};
pub use input::{InputReply, InputRequest};
pub use inspect::{InspectReply, InspectRequest};
pub use interrupt::{InterruptReply, InterruptRequest};
pub use is_complete::{IsCompleteReply, IsCompleteRequest};
pub use kernel_info::{HelpLink, KernelInfoReply, KernelInfoRequest, LanguageInfo};
pub use reply::{AbortedReply, ErrorReply, OkReply};
pub use shutdown::{ShutdownReply, ShutdownRequest};
pub use status::{ExecutionState, Status};
pub use stream::{Stream, StreamName};
pub use subshell::{
    CreateSubshellReply, CreateSubshellRequest, DeleteSubshellReply, DeleteSubshellRequest,
    ListSubshellReply, ListSubshellRequest, SubshellRequest,
};
pub use typed::Content;
pub use usage::{HostVirtualMemory, UsageReply, UsageRequest};
pub use welcome::IopubWelcome;

/// `{}`, for metadata or data with nothing in it.
pub fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Reads an optional field, `null` as its type's default.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads an optional flag, `null` as true.
fn null_as_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(true))
}

/// The default of a flag that is set unless a client clears it.
fn yes() -> bool {
    true
}

/// What the tests of all contents need.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod sample {
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    /// Reads `json` and checks that it is written back as equal JSON.
    #[track_caller]
    pub fn round_trip<T: DeserializeOwned + Serialize>(json: &str) -> T {
        let content: T = serde_json::from_str(json).unwrap();
        let expected: Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_value(&content).unwrap(), expected);
        content
    }

    /// Reads `json`, which need not be complete.
    #[track_caller]
    pub fn read<T: DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    /// Reads `json`, which must fail, and returns the message.
    #[track_caller]
    pub fn refused<T: DeserializeOwned>(json: &str) -> String {
        serde_json::from_str::<T>(json).err().unwrap().to_string()
    }

    /// The JSON text of `content`.
    #[track_caller]
    pub fn written<T: Serialize>(content: &T) -> String {
        serde_json::to_string(content).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_object_is_empty() {
        assert_eq!(empty_object().get(), "{}");
    }
}
