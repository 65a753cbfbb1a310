//! Requests, responses and events.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::wire::sanitize::clipped;

/// A message that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DapError {
    /// It is no JSON object, or its fields have wrong types.
    #[error("this is no message of the Debug Adapter Protocol: {0}")]
    Malformed(String),
    /// It is of another type than it has to be.
    #[error("this is no {wanted} of the Debug Adapter Protocol: its type is {found:?}")]
    Type {
        /// What it has to be.
        wanted: &'static str,
        /// What it says that it is.
        found: String,
    },
    /// A request without a command.
    #[error("this request has no command")]
    NoCommand,
}

/// A request of a client.
#[derive(Clone, Debug)]
pub struct Request {
    /// The client's number for it. Two clients may use the same.
    pub seq: i64,
    /// What to do.
    pub command: String,
    /// With what; JSON.
    pub arguments: Option<Box<RawValue>>,
}

/// A response to a request.
#[derive(Clone, Debug)]
pub struct Response {
    /// The number of the request.
    pub request_seq: i64,
    /// Whether it went well.
    pub success: bool,
    /// What was asked for.
    pub command: String,
    /// Why it did not go well.
    pub message: Option<String>,
    /// What comes of it; JSON.
    pub body: Option<Box<RawValue>>,
}

/// Something that has happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// What.
    pub event: String,
    /// More about it; JSON.
    pub body: Option<Box<RawValue>>,
}

/// A message of the debugger.
#[derive(Clone, Debug)]
pub enum Message {
    /// It wants something of the kernel.
    Request(Request),
    /// It answers.
    Response(Response),
    /// It tells what has happened.
    Event(Event),
}

/// The fields of all messages. Those that a message lacks are taken for empty: clients leave out what they do not need.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    seq: i64,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    request_seq: i64,
    #[serde(default)]
    success: bool,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    arguments: Option<Box<RawValue>>,
    #[serde(default)]
    body: Option<Box<RawValue>>,
}

impl Fields {
    fn read(json: &[u8]) -> Result<Self, DapError> {
        // Serde reads a list as a struct too.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(DapError::Malformed("it is no JSON object".to_owned()));
        }
        serde_json::from_slice(json).map_err(|error| DapError::Malformed(clipped(&error.to_string())))
    }
}

/// The number and the command of what is no request, as far as they can be read: its refusal names them.
pub fn fields_for_refusal(json: &[u8]) -> (i64, String) {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let seq = value.get("seq").and_then(serde_json::Value::as_i64).unwrap_or_default();
    let command = value.get("command").and_then(|command| command.as_str()).map(clipped).unwrap_or_default();
    (seq, command)
}

/// Reads the arguments of a command as a type of them. The error says which command's they are.
pub fn read_arguments<'a, T: Deserialize<'a>>(
    arguments: Option<&'a RawValue>,
    command: &str,
) -> Result<T, String> {
    serde_json::from_str(arguments.map_or("null", RawValue::get))
        .map_err(|error| format!("the arguments of {command} cannot be read: {error}"))
}

impl Request {
    /// A request of the kernel's own, which is numbered when it is sent.
    pub fn new(command: &str, arguments: Option<Box<RawValue>>) -> Self {
        Self { seq: 0, command: command.to_owned(), arguments }
    }

    /// Reads what a client has sent.
    pub fn read(json: &[u8]) -> Result<Self, DapError> {
        let fields = Fields::read(json)?;
        // Some clients leave the type out: a `debug_request` has no other.
        if !matches!(fields.kind.as_str(), "" | "request") {
            return Err(DapError::Type { wanted: "request", found: clipped(&fields.kind) });
        }
        if fields.command.is_empty() {
            return Err(DapError::NoCommand);
        }
        Ok(Self { seq: fields.seq, command: fields.command, arguments: fields.arguments })
    }

    /// The request as JSON, with a number of the kernel's own.
    pub fn to_json(&self, seq: i64) -> Vec<u8> {
        #[derive(Serialize)]
        struct Written<'a> {
            seq: i64,
            r#type: &'static str,
            command: &'a str,
            // pydevd wants an object, where the protocol has the field optional.
            arguments: Body<'a>,
        }
        let arguments = Body(self.arguments.as_deref());
        crate::wire::to_json(&Written { seq, r#type: "request", command: &self.command, arguments })
    }
}

impl Response {
    /// A response to a request that went well.
    pub fn success(request: &Request, body: Option<Box<RawValue>>) -> Self {
        let Request { seq, command, .. } = request;
        Self { request_seq: *seq, success: true, command: command.clone(), message: None, body }
    }

    /// A response that says why a request did not go well.
    pub fn failure(request_seq: i64, command: &str, message: String) -> Self {
        Self { request_seq, success: false, command: command.to_owned(), message: Some(message), body: None }
    }

    /// The response as JSON, with a number of the kernel's own.
    pub fn to_json(&self, seq: i64) -> Vec<u8> {
        #[derive(Serialize)]
        struct Written<'a> {
            seq: i64,
            r#type: &'static str,
            request_seq: i64,
            success: bool,
            command: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<&'a str>,
            // Clients read the body of a response without looking whether there is one.
            body: Body<'a>,
        }
        crate::wire::to_json(&Written {
            seq,
            r#type: "response",
            request_seq: self.request_seq,
            success: self.success,
            command: &self.command,
            message: self.message.as_deref(),
            body: Body(self.body.as_deref()),
        })
    }
}

impl Event {
    /// The event as JSON, with a number of the kernel's own.
    pub fn to_json(&self, seq: i64) -> Vec<u8> {
        #[derive(Serialize)]
        struct Written<'a> {
            seq: i64,
            r#type: &'static str,
            event: &'a str,
            body: Body<'a>,
        }
        let body = Body(self.body.as_deref());
        crate::wire::to_json(&Written { seq, r#type: "event", event: &self.event, body })
    }
}

impl Message {
    /// Reads what the debugger has sent.
    pub fn read(json: &[u8]) -> Result<Self, DapError> {
        let fields = Fields::read(json)?;
        match fields.kind.as_str() {
            "request" => Ok(Self::Request(Request {
                seq: fields.seq,
                command: fields.command,
                arguments: fields.arguments,
            })),
            "response" => Ok(Self::Response(Response {
                request_seq: fields.request_seq,
                success: fields.success,
                command: fields.command,
                message: fields.message,
                body: fields.body,
            })),
            "event" => Ok(Self::Event(Event { event: fields.event, body: fields.body })),
            _ => Err(DapError::Type { wanted: "message", found: clipped(&fields.kind) }),
        }
    }
}

/// A body, which is an empty object where there is none.
struct Body<'a>(Option<&'a RawValue>);

impl Serialize for Body<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match self.0 {
            Some(body) => body.serialize(serializer),
            None => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(json: &[u8]) -> Value {
        serde_json::from_slice(json).unwrap()
    }

    #[test]
    fn a_request_keeps_its_arguments_and_gets_another_number() {
        let sent =
            br#"{"seq": 7, "type": "request", "command": "evaluate", "arguments": {"x":  1e400}, "more": 1}"#;
        let request = Request::read(sent).unwrap();
        assert_eq!((request.seq, request.command.as_str()), (7, "evaluate"));
        assert_eq!(request.arguments.as_ref().unwrap().get(), r#"{"x":  1e400}"#);
        let passed_on = String::from_utf8(request.to_json(99)).unwrap();
        assert_eq!(
            passed_on,
            r#"{"seq":99,"type":"request","command":"evaluate","arguments":{"x":  1e400}}"#
        );
    }

    #[test]
    fn fields_that_clients_leave_out_are_empty() {
        let request = Request::read(br#"{"command": "debugInfo"}"#).unwrap();
        assert_eq!((request.seq, request.arguments.is_none()), (0, true));
        assert_eq!(
            value(&request.to_json(1)),
            json!({"seq": 1, "type": "request", "command": "debugInfo", "arguments": {}})
        );
    }

    #[test]
    fn what_is_no_request_says_why() {
        for (sent, why) in [
            ("[]", "no JSON object"),
            ("[1, \"request\", \"a\"]", "no JSON object"),
            ("", "no JSON object"),
            ("{", "EOF"),
            ("{\"seq\": \"1\", \"command\": \"a\"}", "invalid type: string"),
            ("{\"seq\": 1.5, \"command\": \"a\"}", "invalid type: floating point"),
            ("{\"command\": 1}", "invalid type: integer"),
            ("{\"command\": null}", "invalid type: null"),
            ("{\"seq\": 1}", "no command"),
            ("{\"type\": \"event\", \"command\": \"a\"}", "its type is \"event\""),
            ("{\"command\": \"\u{e9}\", \"command\": \"b\"}", "duplicate field"),
        ] {
            let error = Request::read(sent.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{sent}: {error}");
        }
        let long = format!("{{\"type\": \"{}\", \"command\": \"a\"}}", "x".repeat(10_000));
        assert!(Request::read(long.as_bytes()).unwrap_err().to_string().len() < 1000);
    }

    #[test]
    fn a_response_always_has_a_body() {
        let request = Request::read(br#"{"seq": 3, "command": "pause"}"#).unwrap();
        assert_eq!(
            value(&Response::success(&request, None).to_json(5)),
            json!({"seq": 5, "type": "response", "request_seq": 3, "success": true, "command": "pause", "body": {}})
        );
        let failed = Response::failure(3, "pause", "why".to_owned()).to_json(6);
        assert_eq!(value(&failed)["message"], "why");
        assert_eq!((&value(&failed)["success"], &value(&failed)["body"]), (&json!(false), &json!({})));
    }

    #[test]
    fn messages_of_the_debugger_are_told_apart() {
        let event =
            Message::read(br#"{"seq": 1, "type": "event", "event": "stopped", "body": {"threadId": 1}}"#);
        let Ok(Message::Event(event)) = event else { panic!("{event:?}") };
        assert_eq!(event.event, "stopped");
        assert_eq!(
            String::from_utf8(event.to_json(4)).unwrap(),
            r#"{"seq":4,"type":"event","event":"stopped","body":{"threadId": 1}}"#
        );
        let response =
            br#"{"type": "response", "request_seq": 2, "success": false, "command": "a", "message": "no"}"#;
        let Ok(Message::Response(response)) = Message::read(response) else { panic!("no response") };
        assert_eq!((response.request_seq, response.success), (2, false));
        let request = Message::read(br#"{"type": "request", "seq": 1, "command": "runInTerminal"}"#);
        assert!(matches!(request, Ok(Message::Request(_))), "{request:?}");
        for wrong in ["{}", "{\"type\": \"\"}", "{\"type\": 1}", "null"] {
            assert!(Message::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
