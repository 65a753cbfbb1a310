//! The start-up handshake: the kernel chooses its ports, and tells its launcher (JEP 66).
//!
//! Ports that a launcher chooses may be taken before the kernel binds them. Instead it may give the kernel a registration
//! file, which names a socket of the launcher. The kernel connects to it, sends the ports that it has bound, and goes on
//! when the launcher has confirmed them.
//!
//! There are two forms of the handshake, told apart by the registration file (`Form`):
//!
//! * the messaging protocol's ("Kernel startup handshake"): a signed content alone, over a DEALER socket; any signed
//!   answer confirms;
//! * Positron's, which is older than the specification: the messages `handshake_request` and `handshake_reply` over a
//!   REQ socket.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thiserror::Error;

use crate::startup::registration::{Form, Registration};
use crate::wire::content::ConnectReply;
use crate::wire::{
    DELIMITER, EMPTY_OBJECT, Frame, Frames, Incoming, MessageType, Outgoing, ReplayGuard, Session,
};

/// A handshake that has failed.
#[derive(Debug, Error)]
pub enum RegistrationError {
    /// The address of the registration socket cannot be connected to.
    #[error("cannot connect to the registration socket {address}: {reason}. Check the registration file")]
    NoWay {
        /// Its address.
        address: String,
        /// The error of `ZeroMQ`.
        reason: zmq::Error,
    },
    /// No answer came in time.
    #[error(
        "the registration socket {address} did not answer within {deadline:?}: check that the launcher listens there, \
         or give it more time with --registration-deadline"
    )]
    NoAnswer {
        /// The address of the registration socket.
        address: String,
        /// How long the kernel waited.
        deadline: Duration,
    },
    /// The answer is in no form that is known, or its signature is wrong.
    #[error("the registration socket {address} gave an answer that cannot be used: {reason}")]
    BadAnswer {
        /// The address of the registration socket.
        address: String,
        /// The fault of the answer.
        reason: String,
    },
    /// The launcher answered with an error.
    #[error("the launcher at the registration socket {address} refused this kernel: {reason}")]
    Refused {
        /// The address of the registration socket.
        address: String,
        /// The error in its answer.
        reason: String,
    },
}

/// Tells the launcher which ports the kernel has bound. Returns when the launcher has answered, at the latest after
/// `deadline`. Takes no GIL and needs no running actor.
pub fn register(
    registration: &Registration,
    context: &zmq::Context,
    ports: &ConnectReply,
    deadline: Duration,
) -> Result<(), RegistrationError> {
    let address = registration.address();
    let session = Session::new(registration.key.as_bytes());
    let form = registration.form();
    let request = match form {
        Form::Content => content(registration.kernel_id.as_deref(), &session, ports),
        Form::Message => message(&session, ports),
    };
    let answer = ask(context, form, &address, request, deadline)
        .map_err(|reason| RegistrationError::NoWay { address: address.clone(), reason })?
        .ok_or_else(|| RegistrationError::NoAnswer { address: address.clone(), deadline })?;
    let read = match form {
        Form::Content => read_content(answer, &session),
        Form::Message => read_message(answer, &session),
    };
    let read = read.map_err(|reason| RegistrationError::BadAnswer { address: address.clone(), reason })?;
    match refusal(form, &read) {
        Some(reason) => Err(RegistrationError::Refused { address, reason }),
        None => Ok(()),
    }
}

/// The request of the specification: the ports as text.
fn content(kernel_id: Option<&str>, session: &Session, ports: &ConnectReply) -> Frames {
    let content = json!({
        "kernel_id": kernel_id.unwrap_or_default(),
        "shell_port": ports.shell_port.to_string(),
        "iopub_port": ports.iopub_port.to_string(),
        "stdin_port": ports.stdin_port.to_string(),
        "control_port": ports.control_port.to_string(),
        "hb_port": ports.hb_port.to_string(),
    });
    let content = content.to_string().into_bytes();
    let signature = session.signer().sign([&content, b"", b"", b""]);
    vec![Frame::fixed(DELIMITER), signature.into_bytes().into(), content.into()].into()
}

/// The request of Positron: the ports as numbers.
fn message(session: &Session, ports: &ConnectReply) -> Frames {
    let content = json!({
        "shell_port": ports.shell_port,
        "iopub_port": ports.iopub_port,
        "stdin_port": ports.stdin_port,
        "control_port": ports.control_port,
        "hb_port": ports.hb_port,
    });
    session.encode(Outgoing {
        idents: &[],
        kind: &MessageType::parse("handshake_request"),
        parent: EMPTY_OBJECT,
        metadata: Frame::EMPTY_OBJECT,
        content: content.to_string().into_bytes(),
        buffers: Vec::new(),
    })
}

/// Sends a request and waits for the answer. None if there is none when the deadline is over.
fn ask(
    context: &zmq::Context,
    form: Form,
    address: &str,
    request: Frames,
    deadline: Duration,
) -> zmq::Result<Option<Vec<Vec<u8>>>> {
    // None: the deadline is longer than an `Instant` can count.
    let end = Instant::now().checked_add(deadline);
    let socket = context.socket(match form {
        Form::Content => zmq::DEALER,
        Form::Message => zmq::REQ,
    })?;
    // Closing drops what has not been sent.
    socket.set_linger(0)?;
    if address.contains('[') {
        socket.set_ipv6(true)?;
    }
    socket.connect(address)?;
    socket.send_multipart(request.into_iter().map(Frame::into_vec), zmq::DONTWAIT)?;
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        // At least a millisecond, because 0 would not wait; -1 waits without limit.
        let left = left.map_or(-1, |left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX).max(1));
        match socket.poll(zmq::POLLIN, left) {
            Ok(0) | Err(zmq::Error::EINTR) => {}
            Ok(_) => return socket.recv_multipart(0).map(Some),
            Err(error) => return Err(error),
        }
    }
}

/// The content of an answer in the form of the specification, its signature verified.
fn read_content(answer: Vec<Vec<u8>>, session: &Session) -> Result<Vec<u8>, String> {
    let mut frames = answer.into_iter().skip_while(|frame| frame != DELIMITER).skip(1);
    let (Some(signature), Some(content)) = (frames.next(), frames.next()) else {
        return Err("it is not <IDS|MSG>, a signature and a content".to_owned());
    };
    match session.signer().verify(&signature, [&content, b"", b"", b""]) {
        Ok(_) => Ok(content),
        Err(_) => {
            Err("its signature is wrong: the launcher uses another key than the registration file's"
                .to_owned())
        }
    }
}

/// The content of a `handshake_reply`, its signature verified.
fn read_message(answer: Vec<Vec<u8>>, session: &Session) -> Result<Vec<u8>, String> {
    let message = Incoming::decode(answer.into(), session.signer(), &ReplayGuard::new());
    let message = message.map_err(|error| error.to_string())?;
    if message.kind.as_str() != "handshake_reply" {
        return Err(format!("it is a {}, not a handshake_reply", message.kind.as_str()));
    }
    Ok(message.content.to_vec())
}

/// Why the launcher refuses; `None` if it does not. The specification leaves the content of the answer to the launcher:
/// only an object with `"status": "error"` refuses. A `handshake_reply` must have the status `"ok"`.
fn refusal(form: Form, content: &[u8]) -> Option<String> {
    let content: Value = serde_json::from_slice(content).unwrap_or_default();
    let text = |field| content.get(field).and_then(Value::as_str);
    match (form, text("status")) {
        (_, Some("ok")) | (Form::Content, None) => None,
        (Form::Content, Some(status)) if status != "error" => None,
        (_, status) => {
            let said = [text("ename"), text("evalue"), text("error")];
            let said: Vec<&str> = said.into_iter().flatten().filter(|text| !text.is_empty()).collect();
            let status = format!("status {}", status.unwrap_or("missing"));
            Some(if said.is_empty() { status } else { said.join(": ") })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::wire::content::reply;

    const PORTS: ConnectReply = ConnectReply {
        status: reply::Ok,
        shell_port: 1,
        iopub_port: 2,
        stdin_port: 3,
        hb_port: 4,
        control_port: 5,
    };

    const DEADLINE: Duration = Duration::from_secs(60);

    fn file(text: &str) -> Registration {
        let registration: Registration = serde_json::from_str(text).unwrap();
        registration.check().unwrap();
        registration
    }

    /// A launcher that answers one request with what `answer` makes of it, and returns the request.
    fn launcher(
        context: &zmq::Context,
        kind: zmq::SocketType,
        answer: impl FnOnce(&[Vec<u8>]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> (u16, JoinHandle<Vec<Vec<u8>>>) {
        let socket = context.socket(kind).unwrap();
        let port = bound(&socket);
        let served = thread::spawn(move || {
            let request = socket.recv_multipart(0).unwrap();
            socket.send_multipart(answer(&request), 0).unwrap();
            request
        });
        (port, served)
    }

    /// Binds a socket and returns its port.
    fn bound(socket: &zmq::Socket) -> u16 {
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let address = socket.get_last_endpoint().unwrap().unwrap();
        address.rsplit(':').next().unwrap().parse().unwrap()
    }

    fn signed(key: &[u8], content: &[u8]) -> Vec<Vec<u8>> {
        let signature = crate::wire::Signer::new(key).sign([content, b"", b"", b""]);
        vec![DELIMITER.to_vec(), signature.into_bytes(), content.to_vec()]
    }

    /// Registers in the form of the specification, with a launcher that answers this.
    fn register_content(answer: Vec<Vec<u8>>) -> (Result<(), RegistrationError>, Vec<Vec<u8>>) {
        let context = zmq::Context::new();
        let reply = |request: &[Vec<u8>]| [vec![request[0].clone()], answer].concat();
        let (port, served) = launcher(&context, zmq::ROUTER, reply);
        let text = format!(
            r#"{{"registration_ip": "127.0.0.1", "registration_port": {port}, "kernel_id": "me", "key": "k"}}"#
        );
        let result = register(&file(&text), &context, &PORTS, DEADLINE);
        (result, served.join().unwrap())
    }

    fn register_message(
        status: &'static str,
        kind: &'static str,
    ) -> (Result<(), RegistrationError>, Incoming) {
        let context = zmq::Context::new();
        let answer = move |_: &[Vec<u8>]| {
            let frames = Session::new(b"k").encode(Outgoing {
                idents: &[],
                kind: &MessageType::parse(kind),
                parent: EMPTY_OBJECT,
                metadata: Frame::EMPTY_OBJECT,
                content: status.as_bytes().to_vec(),
                buffers: Vec::new(),
            });
            frames.into_iter().map(|frame| frame.to_vec()).collect()
        };
        let (port, served) = launcher(&context, zmq::REP, answer);
        let text = format!(r#"{{"ip": "127.0.0.1", "registration_port": {port}, "key": "k"}}"#);
        let result = register(&file(&text), &context, &PORTS, DEADLINE);
        let frames = served.join().unwrap();
        let signer = crate::wire::Signer::new(b"k");
        (result, Incoming::decode(frames.into(), &signer, &ReplayGuard::new()).unwrap())
    }

    #[test]
    fn the_specification_s_request_is_a_signed_content() {
        let (result, request) = register_content(signed(b"k", b"ACK"));
        result.unwrap();
        assert_eq!(request[1..], signed(b"k", &request[3]));
        let content: Value = serde_json::from_slice(&request[3]).unwrap();
        let expected = json!({
            "kernel_id": "me", "shell_port": "1", "iopub_port": "2", "stdin_port": "3", "hb_port": "4",
            "control_port": "5",
        });
        assert_eq!(content, expected);
    }

    #[test]
    fn any_signed_answer_will_do_unless_it_says_error() {
        for answer in ["", "ACK", "{}", r#"{"status": "ok"}"#, r#"{"status": "busy"}"#, "[1]", "\u{fffd}"] {
            register_content(signed(b"k", answer.as_bytes())).0.unwrap();
        }
        let error = r#"{"status": "error", "ename": "Unknown", "evalue": "no such kernel"}"#;
        let told = register_content(signed(b"k", error.as_bytes())).0.unwrap_err();
        assert!(matches!(told, RegistrationError::Refused { .. }), "{told}");
        assert!(told.to_string().contains("Unknown: no such kernel"), "{told}");
    }

    #[test]
    fn an_answer_that_is_not_signed_with_the_key_is_refused() {
        let told = register_content(signed(b"other", b"ACK")).0.unwrap_err();
        assert!(told.to_string().contains("another key"), "{told}");
        for frames in
            [vec![], vec![DELIMITER.to_vec()], vec![b"x".to_vec(); 3], signed(b"k", b"")[..2].to_vec()]
        {
            let frames = if frames.is_empty() { vec![Vec::new()] } else { frames };
            let told = register_content(frames).0.unwrap_err();
            assert!(told.to_string().contains("<IDS|MSG>"), "{told}");
        }
    }

    #[test]
    fn the_other_form_is_a_message() {
        let (result, request) = register_message(r#"{"status": "ok"}"#, "handshake_reply");
        result.unwrap();
        assert_eq!(request.header.msg_type, "handshake_request");
        let content: Value = serde_json::from_slice(&request.content).unwrap();
        let expected =
            json!({"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "hb_port": 4, "control_port": 5});
        assert_eq!(content, expected);
    }

    #[test]
    fn a_reply_that_is_not_ok_is_refused() {
        for (content, kind, expected) in [
            (r#"{"status": "error", "evalue": "no"}"#, "handshake_reply", "refused this kernel: no"),
            (r#"{"status": "error"}"#, "handshake_reply", "status error"),
            ("{}", "handshake_reply", "status missing"),
            ("no json", "handshake_reply", "status missing"),
            (r#"{"status": "ok"}"#, "kernel_info_reply", "not a handshake_reply"),
        ] {
            let told = register_message(content, kind).0.unwrap_err().to_string();
            assert!(told.contains(expected), "{content}: {told}");
        }
    }

    #[test]
    fn without_an_answer_the_deadline_ends_the_wait() {
        let context = zmq::Context::new();
        let silent = context.socket(zmq::ROUTER).unwrap();
        let port = bound(&silent);
        let text = format!(r#"{{"registration_ip": "127.0.0.1", "registration_port": {port}, "key": "k"}}"#);
        let told = register(&file(&text), &context, &PORTS, Duration::from_millis(100)).unwrap_err();
        assert!(matches!(told, RegistrationError::NoAnswer { .. }), "{told}");
        assert!(told.to_string().contains("within 100ms"), "{told}");
    }

    #[test]
    fn an_address_that_cannot_be_connected_to_is_an_error() {
        for ip in ["a b", "256.0.0.1.2", ""] {
            let text = json!({"registration_ip": ip, "registration_port": 1, "key": ""}).to_string();
            let told = register(&file(&text), &zmq::Context::new(), &PORTS, Duration::ZERO).unwrap_err();
            let expected =
                matches!(told, RegistrationError::NoWay { .. } | RegistrationError::NoAnswer { .. });
            assert!(expected, "{ip}: {told}");
        }
    }
}
