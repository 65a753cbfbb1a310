//! Ties each content to its message type.

use super::{
    ClearOutput, CommClose, CommInfoReply, CommInfoRequest, CommMsg, CommOpen, CompleteReply,
    CompleteRequest, ConnectReply, ConnectRequest, CreateSubshellReply, CreateSubshellRequest, DebugEvent,
    DebugReply, DebugRequest, DeleteSubshellReply, DeleteSubshellRequest, DisplayData, Error, ExecuteInput,
    ExecuteReply, ExecuteRequest, ExecuteResult, HistoryReply, HistoryRequest, InputReply, InputRequest,
    InspectReply, InspectRequest, InterruptReply, InterruptRequest, IopubWelcome, IsCompleteReply,
    IsCompleteRequest, KernelInfoReply, KernelInfoRequest, ListSubshellReply, ListSubshellRequest,
    ShutdownReply, ShutdownRequest, Status, Stream, UpdateDisplayData, UsageReply, UsageRequest,
};
use crate::wire::message_type::MessageType;

/// The content of one message type.
pub trait Content: serde::Serialize {
    /// The message type that goes into the header.
    const TYPE: MessageType;
}

/// Ties each content to the message type of the same name.
macro_rules! contents {
    ($($name:ident,)+) => {
        $(impl Content for $name {
            const TYPE: MessageType = MessageType::$name;
        })+

        /// The message types that have a content here.
        #[cfg(test)]
        const TYPES: &[MessageType] = &[ExecuteInput::TYPE, $($name::TYPE),+];
    };
}

impl Content for ExecuteInput<'_> {
    const TYPE: MessageType = MessageType::ExecuteInput;
}

contents! {
    ExecuteRequest, ExecuteReply, ExecuteResult,
    InspectRequest, InspectReply,
    CompleteRequest, CompleteReply,
    HistoryRequest, HistoryReply,
    IsCompleteRequest, IsCompleteReply,
    ConnectRequest, ConnectReply,
    CommInfoRequest, CommInfoReply, CommOpen, CommMsg, CommClose,
    KernelInfoRequest, KernelInfoReply,
    ShutdownRequest, ShutdownReply,
    InterruptRequest, InterruptReply,
    DebugRequest, DebugReply, DebugEvent,
    CreateSubshellRequest, CreateSubshellReply,
    DeleteSubshellRequest, DeleteSubshellReply,
    ListSubshellRequest, ListSubshellReply,
    UsageRequest, UsageReply,
    Stream, DisplayData, UpdateDisplayData, ClearOutput,
    Error, Status, IopubWelcome,
    InputRequest, InputReply,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_message_type_has_one_content() {
        for kind in MessageType::KNOWN {
            let count = TYPES.iter().filter(|other| *other == kind).count();
            assert_eq!(count, 1, "{kind}");
        }
        assert_eq!(TYPES.len(), MessageType::KNOWN.len());
    }
}
