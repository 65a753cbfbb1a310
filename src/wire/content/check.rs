//! Reads the content of a message, once, and checks it against its type.

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use thiserror::Error;

use super::{
    CommInfoRequest, CompleteRequest, ConnectRequest, CreateSubshellRequest, ExecuteRequest, HistoryRequest,
    InputReply, InspectRequest, InterruptRequest, IsCompleteRequest, KernelInfoRequest, ListSubshellRequest,
    ShutdownRequest, SubshellRequest, UsageRequest,
};
use crate::wire::message_type::MessageType;
use crate::wire::sanitize::clipped;

/// What the kernel itself reads of a checked content. Python reads the raw JSON.
#[derive(Debug)]
pub enum Checked {
    /// Of an `execute_request`.
    Execute(ExecuteRequest),
    /// Of a `comm_open`, without its data.
    CommOpen {
        /// The comm's id.
        comm_id: String,
        /// The name of its target.
        target_name: String,
    },
    /// Of a `comm_close`, without its data.
    CommClose {
        /// The comm's id.
        comm_id: String,
    },
    /// Of a `comm_info_request`.
    CommInfo(CommInfoRequest),
    /// Of a request about subshells.
    Subshells(SubshellRequest),
    /// Of a `shutdown_request`.
    Shutdown(ShutdownRequest),
    /// Of an `input_reply`.
    InputReply(InputReply),
    /// Of any other message: the kernel itself reads nothing of it.
    Raw,
}

/// Checks that `content` is what a client may send as a message of type `kind`, and reads it; the error says what is
/// wrong and where.
///
/// A type that only the kernel sends, or that it does not know, need only be a JSON object.
pub fn check(kind: &MessageType, content: &[u8]) -> Result<Checked, Malformed> {
    check_text(kind, content).map_err(|error| Malformed(clipped(&error.to_string())))
}

/// What is wrong with a content, short enough for a reply and the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Malformed(String);

fn check_text(kind: &MessageType, content: &[u8]) -> Result<Checked, serde_json::Error> {
    let text = std::str::from_utf8(content).map_err(serde_json::Error::custom)?;
    // Serde would read a list as a struct, so other JSON than an object is refused first.
    if !text.trim_start().starts_with('{') {
        return checked::<Object>(text);
    }
    // No `_` arm: the compiler asks where a new message type belongs.
    match kind {
        MessageType::ExecuteRequest => read(text, Checked::Execute),
        MessageType::CommInfoRequest => read(text, Checked::CommInfo),
        MessageType::ShutdownRequest => read(text, Checked::Shutdown),
        MessageType::CreateSubshellRequest => {
            read(text, |CreateSubshellRequest {}| Checked::Subshells(SubshellRequest::Create))
        }
        MessageType::DeleteSubshellRequest => {
            read(text, |request| Checked::Subshells(SubshellRequest::Delete(request)))
        }
        MessageType::ListSubshellRequest => {
            read(text, |ListSubshellRequest {}| Checked::Subshells(SubshellRequest::List))
        }
        MessageType::CommOpen => {
            read(text, |OpenedComm { comm_id, target_name, .. }| Checked::CommOpen { comm_id, target_name })
        }
        MessageType::CommClose => read(text, |NamedComm { comm_id, .. }| Checked::CommClose { comm_id }),
        MessageType::InputReply => read(text, Checked::InputReply),
        MessageType::CommMsg => checked::<NamedComm>(text),
        MessageType::InspectRequest => checked::<InspectRequest>(text),
        MessageType::CompleteRequest => checked::<CompleteRequest>(text),
        MessageType::HistoryRequest => checked::<HistoryRequest>(text),
        MessageType::IsCompleteRequest => checked::<IsCompleteRequest>(text),
        MessageType::ConnectRequest => checked::<ConnectRequest>(text),
        MessageType::KernelInfoRequest => checked::<KernelInfoRequest>(text),
        MessageType::InterruptRequest => checked::<InterruptRequest>(text),
        MessageType::UsageRequest => checked::<UsageRequest>(text),
        MessageType::ExecuteReply
        | MessageType::InspectReply
        | MessageType::CompleteReply
        | MessageType::HistoryReply
        | MessageType::IsCompleteReply
        | MessageType::ConnectReply
        | MessageType::CommInfoReply
        | MessageType::KernelInfoReply
        | MessageType::ShutdownReply
        | MessageType::InterruptReply
        | MessageType::DebugReply
        | MessageType::CreateSubshellReply
        | MessageType::DeleteSubshellReply
        | MessageType::ListSubshellReply
        | MessageType::UsageReply
        | MessageType::Stream
        | MessageType::DisplayData
        | MessageType::UpdateDisplayData
        | MessageType::ExecuteInput
        | MessageType::ExecuteResult
        | MessageType::Error
        | MessageType::Status
        | MessageType::ClearOutput
        | MessageType::DebugEvent
        | MessageType::IopubWelcome
        | MessageType::InputRequest
        // The debugger reads it itself, and answers it in the form of its protocol.
        | MessageType::DebugRequest
        | MessageType::Unknown(_) => checked::<Object>(text),
    }
}

/// Reads `text` as a `T` and keeps what `keep` makes of it.
fn read<'de, T: Deserialize<'de>>(
    text: &'de str,
    keep: impl FnOnce(T) -> Checked,
) -> Result<Checked, serde_json::Error> {
    serde_json::from_str(text).map(keep)
}

/// Reads `text` as a `T` and keeps nothing of it.
fn checked<'de, T: Deserialize<'de>>(text: &'de str) -> Result<Checked, serde_json::Error> {
    read(text, |_: T| Checked::Raw)
}

/// A `comm_open` whose data is checked and not copied.
#[derive(Deserialize)]
struct OpenedComm {
    comm_id: String,
    target_name: String,
    #[serde(default, rename = "target_module")]
    _target_module: Option<String>,
    #[serde(default, rename = "data")]
    _data: IgnoredAny,
}

/// A `comm_msg` or `comm_close` whose data is checked and not copied.
#[derive(Deserialize)]
struct NamedComm {
    comm_id: String,
    #[serde(default, rename = "data")]
    _data: IgnoredAny,
}

/// Any JSON object. Keeps nothing of it.
struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Object)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(kind: &MessageType, content: &str) -> String {
        check(kind, content.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn check_accepts_contents_with_only_the_required_fields() {
        for (kind, content) in [
            (MessageType::ExecuteRequest, r#"{"code": ""}"#),
            (MessageType::InspectRequest, r#"{"code": ""}"#),
            (MessageType::CompleteRequest, r#"{"code": ""}"#),
            (MessageType::HistoryRequest, r#"{"hist_access_type": "tail"}"#),
            (MessageType::IsCompleteRequest, r#"{"code": ""}"#),
            (MessageType::ConnectRequest, "{}"),
            (MessageType::CommInfoRequest, "{}"),
            (MessageType::KernelInfoRequest, "{}"),
            (MessageType::ShutdownRequest, "{}"),
            (MessageType::InterruptRequest, "{}"),
            (MessageType::DebugRequest, "{}"),
            (MessageType::CreateSubshellRequest, "{}"),
            (MessageType::DeleteSubshellRequest, r#"{"subshell_id": "a"}"#),
            (MessageType::ListSubshellRequest, "{}"),
            (MessageType::UsageRequest, "{}"),
            (MessageType::CommOpen, r#"{"comm_id": "a", "target_name": "b"}"#),
            (MessageType::CommMsg, r#"{"comm_id": "a"}"#),
            (MessageType::CommClose, r#"{"comm_id": "a"}"#),
            (MessageType::InputReply, r#"{"value": ""}"#),
            (MessageType::parse("nonsense_request"), r#"{"any": [1, {}]}"#),
        ] {
            check(&kind, content.as_bytes()).unwrap();
            let padded = format!(" \n{content}\t");
            check(&kind, padded.as_bytes()).unwrap();
        }
    }

    #[test]
    fn check_refuses_missing_fields() {
        for (kind, field) in [
            (MessageType::ExecuteRequest, "code"),
            (MessageType::InspectRequest, "code"),
            (MessageType::CompleteRequest, "code"),
            (MessageType::HistoryRequest, "hist_access_type"),
            (MessageType::IsCompleteRequest, "code"),
            (MessageType::DeleteSubshellRequest, "subshell_id"),
            (MessageType::CommOpen, "comm_id"),
            (MessageType::CommMsg, "comm_id"),
            (MessageType::CommClose, "comm_id"),
            (MessageType::InputReply, "value"),
        ] {
            let message = refusal(&kind, "{}");
            assert!(message.starts_with(&format!("missing field `{field}`")), "{kind}: {message}");
        }
        let message = refusal(&MessageType::CommOpen, r#"{"comm_id": "a"}"#);
        assert!(message.starts_with("missing field `target_name`"), "{message}");
    }

    #[test]
    fn check_refuses_wrong_types() {
        for (kind, content) in [
            (MessageType::ExecuteRequest, r#"{"code": 1}"#),
            (MessageType::ExecuteRequest, r#"{"code": null}"#),
            (MessageType::ExecuteRequest, r#"{"code": "", "silent": "no"}"#),
            (MessageType::ExecuteRequest, r#"{"code": "", "user_expressions": []}"#),
            (MessageType::InspectRequest, r#"{"code": "", "cursor_pos": "1"}"#),
            (MessageType::CompleteRequest, r#"{"code": "", "cursor_pos": 1.5}"#),
            (MessageType::HistoryRequest, r#"{"hist_access_type": "tail", "n": "1"}"#),
            (MessageType::HistoryRequest, r#"{"hist_access_type": "head"}"#),
            (MessageType::CommInfoRequest, r#"{"target_name": 1}"#),
            (MessageType::ShutdownRequest, r#"{"restart": 1}"#),
            (MessageType::DeleteSubshellRequest, r#"{"subshell_id": null}"#),
            (MessageType::CommMsg, r#"{"comm_id": 1, "data": {}}"#),
            (MessageType::InputReply, r#"{"value": 1}"#),
        ] {
            check(&kind, content.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn check_refuses_what_is_no_object() {
        let kinds = MessageType::KNOWN.iter().cloned();
        for kind in kinds.chain([MessageType::parse("nonsense_request")]) {
            let message = refusal(&kind, r#"["1 + 1"]"#);
            let expected = "invalid type: sequence, expected a JSON object";
            assert!(message.starts_with(expected), "{kind}: {message}");
            for content in ["", "[]", "null", "1", "\"code\"", "{", "{} {}", "{'code': 1}"] {
                assert!(check(&kind, content.as_bytes()).is_err(), "{kind}: {content}");
            }
            assert!(check(&kind, b"{\"code\": \"\xff\"}").is_err(), "{kind}: not UTF-8");
        }
    }

    #[test]
    fn the_message_is_short() {
        let long = "\u{1f980}\\n".repeat(100_000);
        for (kind, content) in [
            (MessageType::ExecuteRequest, format!(r#"{{"code": "", "silent": "{long}"}}"#)),
            (MessageType::HistoryRequest, format!(r#"{{"hist_access_type": "{long}"}}"#)),
            (MessageType::HistoryRequest, format!(r#"{{"hist_access_type": "tail", "n": "{long}"}}"#)),
        ] {
            let message = refusal(&kind, &content);
            assert!(message.contains("expected") && !message.contains('\n'), "{message:.2000}");
            assert!(message.chars().count() < 500, "{message:.2000}");
        }
    }

    #[test]
    fn the_message_says_what_is_wrong_and_where() {
        let message = refusal(&MessageType::ExecuteRequest, "{\n\"code\": 1}");
        let expected = "invalid type: integer `1`, expected a string at line 2 column ";
        assert!(message.starts_with(expected), "{message}");
    }
}
