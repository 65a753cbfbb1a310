//! The message types of the Jupyter protocol 5.5, as one enum.

use std::fmt;

macro_rules! message_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A message type of the Jupyter messaging protocol 5.5 (`msg_type` in a header).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum MessageType {
            $($(#[$doc])* $variant,)+
            /// A type that this kernel does not know, as the header names it.
            Unknown(String),
        }

        impl MessageType {
            /// Every type this kernel knows, in the protocol's order.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The type that a header's `msg_type` names.
            pub fn parse(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)+
                    other => Self::Unknown(other.to_owned()),
                }
            }

            /// The name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Unknown(name) => name,
                }
            }
        }
    };
}

message_types! {
    /// Run code.
    ExecuteRequest = "execute_request",
    /// The outcome of an `execute_request`.
    ExecuteReply = "execute_reply",
    /// Ask what an object is.
    InspectRequest = "inspect_request",
    /// What the object is.
    InspectReply = "inspect_reply",
    /// Ask for completions at the cursor.
    CompleteRequest = "complete_request",
    /// The completions.
    CompleteReply = "complete_reply",
    /// Ask for earlier inputs.
    HistoryRequest = "history_request",
    /// The earlier inputs.
    HistoryReply = "history_reply",
    /// Ask whether code is complete.
    IsCompleteRequest = "is_complete_request",
    /// Whether it is.
    IsCompleteReply = "is_complete_reply",
    /// Ask for the ports of all channels.
    ConnectRequest = "connect_request",
    /// The ports of all channels.
    ConnectReply = "connect_reply",
    /// Ask which comms are open.
    CommInfoRequest = "comm_info_request",
    /// The open comms.
    CommInfoReply = "comm_info_reply",
    /// Ask what this kernel is.
    KernelInfoRequest = "kernel_info_request",
    /// What this kernel is.
    KernelInfoReply = "kernel_info_reply",
    /// Ask the kernel to end.
    ShutdownRequest = "shutdown_request",
    /// The kernel ends; also broadcast on iopub.
    ShutdownReply = "shutdown_reply",
    /// Ask the kernel to stop what runs.
    InterruptRequest = "interrupt_request",
    /// The interrupt was delivered.
    InterruptReply = "interrupt_reply",
    /// A request of the Debug Adapter Protocol.
    DebugRequest = "debug_request",
    /// A response of the Debug Adapter Protocol.
    DebugReply = "debug_reply",
    /// Create a subshell (JEP 91).
    CreateSubshellRequest = "create_subshell_request",
    /// The new subshell's id.
    CreateSubshellReply = "create_subshell_reply",
    /// Delete a subshell (JEP 91).
    DeleteSubshellRequest = "delete_subshell_request",
    /// Whether it was deleted.
    DeleteSubshellReply = "delete_subshell_reply",
    /// List the subshells (JEP 91).
    ListSubshellRequest = "list_subshell_request",
    /// The ids of the subshells.
    ListSubshellReply = "list_subshell_reply",
    /// Ask for the kernel's use of processor and memory (ipykernel's extension).
    UsageRequest = "usage_request",
    /// The kernel's use of processor and memory.
    UsageReply = "usage_reply",
    /// Open a comm; both directions.
    CommOpen = "comm_open",
    /// A message on a comm; both directions.
    CommMsg = "comm_msg",
    /// Close a comm; both directions.
    CommClose = "comm_close",
    /// Text for stdout or stderr.
    Stream = "stream",
    /// Something to show.
    DisplayData = "display_data",
    /// New content for something shown earlier.
    UpdateDisplayData = "update_display_data",
    /// Code that is about to run, for all clients.
    ExecuteInput = "execute_input",
    /// The value of the last expression of a cell.
    ExecuteResult = "execute_result",
    /// An exception, for all clients.
    Error = "error",
    /// What the kernel does: starting, busy, idle.
    Status = "status",
    /// Clear what the cell has shown.
    ClearOutput = "clear_output",
    /// An event of the Debug Adapter Protocol.
    DebugEvent = "debug_event",
    /// Greets a new subscriber of iopub (JEP 65).
    IopubWelcome = "iopub_welcome",
    /// Ask the user for a line.
    InputRequest = "input_request",
    /// The line.
    InputReply = "input_reply",
}

impl MessageType {
    /// The type of the reply to this request; `None` where the protocol has no reply.
    ///
    /// An unknown `x_request` is answered with `x_reply`, or its client would wait without end.
    pub fn reply(&self) -> Option<Self> {
        let stem = self.as_str().strip_suffix("_request")?;
        if *self == Self::InputRequest {
            return None;
        }
        Some(Self::parse(&format!("{stem}_reply")))
    }

    /// Whether a kernel runs the code of its user to handle a message of this type: a cell, the handler of a comm.
    pub fn runs_code(&self) -> bool {
        matches!(self, Self::ExecuteRequest | Self::CommOpen | Self::CommMsg | Self::CommClose)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_reads_back_as_itself() {
        for kind in MessageType::KNOWN {
            assert_eq!(MessageType::parse(kind.as_str()), *kind);
        }
    }

    #[test]
    fn replies_are_named_after_their_requests() {
        assert_eq!(MessageType::ExecuteRequest.reply(), Some(MessageType::ExecuteReply));
        assert_eq!(
            MessageType::parse("nonsense_request").reply(),
            Some(MessageType::Unknown("nonsense_reply".into()))
        );
        assert_eq!(MessageType::CommMsg.reply(), None);
        assert_eq!(MessageType::InputRequest.reply(), None);
    }
}
