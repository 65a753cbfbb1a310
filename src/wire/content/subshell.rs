//! Subshells, further threads that run code (JEP 91; Jupyter protocol, "Kernel subshells").

use serde::{Deserialize, Serialize};

use super::reply;

/// A request about subshells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubshellRequest {
    /// `create_subshell_request`.
    Create,
    /// `delete_subshell_request`.
    Delete(DeleteSubshellRequest),
    /// `list_subshell_request`.
    List,
}

/// Asks for a new subshell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSubshellRequest {}

/// The new subshell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSubshellReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
    /// The id, unique in this kernel; goes into the header of messages for the subshell.
    pub subshell_id: String,
}

/// Asks to end a subshell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteSubshellRequest {
    /// The subshell's id.
    pub subshell_id: String,
}

/// The subshell has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteSubshellReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
}

/// Asks which subshells there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSubshellRequest {}

/// The subshells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSubshellReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
    /// The ids of all subshells; the singular name is the protocol's.
    pub subshell_id: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip};
    use super::*;

    const ID: &str = "1ac71702-5b81-4eb6-a109-a8f05bd25269";

    #[test]
    fn create_is_read_and_written() {
        assert_eq!(round_trip::<CreateSubshellRequest>("{}"), read(r#"{"unknown": 1}"#));
        let reply: CreateSubshellReply = round_trip(&format!(r#"{{"status": "ok", "subshell_id": "{ID}"}}"#));
        assert_eq!(reply.subshell_id, ID);
    }

    #[test]
    fn delete_is_read_and_written() {
        let request: DeleteSubshellRequest = round_trip(&format!(r#"{{"subshell_id": "{ID}"}}"#));
        assert_eq!(request.subshell_id, ID);
        let reply: DeleteSubshellReply = round_trip(r#"{"status": "ok"}"#);
        assert_eq!(reply, DeleteSubshellReply::default());
    }

    #[test]
    fn list_is_read_and_written() {
        assert_eq!(round_trip::<ListSubshellRequest>("{}"), read(r#"{"unknown": 1}"#));
        let reply: ListSubshellReply = round_trip(&format!(r#"{{"status": "ok", "subshell_id": ["{ID}"]}}"#));
        assert_eq!(reply.subshell_id, [ID]);
    }
}
