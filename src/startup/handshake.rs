//! The start-up handshake: the kernel chooses its ports, and tells its launcher (JEP 66).
//!
//! A launcher that chooses ports can only hope that they are still free when the kernel binds them. Instead it may give
//! the kernel a registration file, which names one socket of the launcher's. The kernel connects to it, says which ports
//! it has bound, and goes on when the launcher has said that it knows.
//!
//! Launchers speak it in two forms, and their files tell them apart:
//!
//! * the messaging protocol's ("Kernel startup handshake"): `registration_ip` and `kernel_id` in the file; a content
//!   alone, signed, over a DEALER socket; any signed answer will do;
//! * the one that Positron came up with before there was a specification: `ip` in the file; the messages
//!   `handshake_request` and `handshake_reply` over a REQ socket.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::startup::connection::{Connection, hmac_sha256, tcp};
use crate::wire::content::ConnectReply;
use crate::wire::{DELIMITER, EMPTY_OBJECT, Frames, Incoming, MessageType, Outgoing, ReplayGuard, Session};

/// The content of a registration file ("Registration file format" in the specification of kernels).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// `tcp` or `ipc`, of the registration socket and of the kernel's.
    #[serde(default = "tcp")]
    pub transport: String,
    /// Where the launcher listens; for ipc the prefix of the socket file.
    #[serde(default)]
    pub registration_ip: Option<String>,
    /// The port there, or the suffix of the socket file.
    pub registration_port: u16,
    /// Where the kernel is to listen, and the launcher listens too if `registration_ip` is missing.
    #[serde(default)]
    pub ip: Option<String>,
    /// What the launcher calls this kernel.
    #[serde(default)]
    pub kernel_id: Option<String>,
    /// Signs every message, those of the handshake too; empty for none.
    pub key: String,
    /// The only one there is: `hmac-sha256`.
    #[serde(default = "hmac_sha256")]
    pub signature_scheme: String,
    /// The kernelspec's name, for clients.
    #[serde(default)]
    pub kernel_name: Option<String>,
    /// See [`Connection`]. The handshake itself is signed, not encrypted.
    #[serde(default)]
    pub curve_publickey: Option<String>,
    /// See [`Connection`].
    #[serde(default)]
    pub curve_secretkey: Option<String>,
}

/// The launcher does not know of this kernel.
#[derive(Debug, Error)]
pub enum RegistrationError {
    /// There is no way to the registration socket.
    #[error("cannot connect to the registration socket {address}: {reason}. Check the registration file")]
    NoWay {
        /// Where it should be.
        address: String,
        /// Why.
        reason: zmq::Error,
    },
    /// Nobody is there.
    #[error(
        "the registration socket {address} did not answer within {deadline:?}: check that the launcher listens there, \
         or give it more time with --registration-deadline"
    )]
    NoAnswer {
        /// Where it should be.
        address: String,
        /// How long the kernel waited.
        deadline: Duration,
    },
    /// Somebody else is there, or a launcher that does it otherwise.
    #[error("the registration socket {address} gave an answer that cannot be used: {reason}")]
    BadAnswer {
        /// Where it is.
        address: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The launcher does not want this kernel.
    #[error("the launcher at the registration socket {address} refused this kernel: {reason}")]
    Refused {
        /// Where it is.
        address: String,
        /// What it said.
        reason: String,
    },
}

/// How a launcher wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A signed content over DEALER.
    Content,
    /// `handshake_request` over REQ.
    Message,
}

impl Registration {
    /// Checks what the file says, and that a kernel can be made of it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.registration_port == 0 {
            return Err("registration_port is 0, so the kernel cannot know where to connect".into());
        }
        self.connection().check()
    }

    /// Where the kernel is to listen, all ports left open.
    pub fn connection(&self) -> Connection {
        let default = Connection::default();
        Connection {
            transport: self.transport.clone(),
            ip: self.ip.clone().or_else(|| self.registration_ip.clone()).unwrap_or(default.ip),
            key: self.key.clone(),
            signature_scheme: self.signature_scheme.clone(),
            kernel_name: self.kernel_name.clone(),
            curve_publickey: self.curve_publickey.clone(),
            curve_secretkey: self.curve_secretkey.clone(),
            ..default
        }
    }

    /// The address of the registration socket.
    pub fn address(&self) -> String {
        let here = self.connection();
        let ip = self.registration_ip.clone().unwrap_or_else(|| here.ip.clone());
        Connection { ip, ..here }.address(self.registration_port)
    }

    fn form(&self) -> Form {
        if self.registration_ip.is_some() || self.kernel_id.is_some() { Form::Content } else { Form::Message }
    }

    /// Tells the launcher which ports the kernel has bound. Returns when it has answered, at the latest after
    /// `deadline`. Waits without the GIL, and without a running actor.
    pub fn register(
        &self,
        context: &zmq::Context,
        ports: &ConnectReply,
        deadline: Duration,
    ) -> Result<(), RegistrationError> {
        let address = self.address();
        let session = Session::new(self.key.as_bytes());
        let form = self.form();
        let request = match form {
            Form::Content => self.content(&session, ports),
            Form::Message => message(&session, ports),
        };
        let answer = ask(context, form, &address, request, deadline)
            .map_err(|reason| RegistrationError::NoWay { address: address.clone(), reason })?
            .ok_or_else(|| RegistrationError::NoAnswer { address: address.clone(), deadline })?;
        let said = match form {
            Form::Content => read_content(answer, &session),
            Form::Message => read_message(answer, &session),
        };
        let said =
            said.map_err(|reason| RegistrationError::BadAnswer { address: address.clone(), reason })?;
        match refusal(form, &said) {
            Some(reason) => Err(RegistrationError::Refused { address, reason }),
            None => Ok(()),
        }
    }

    /// The request of the specification: the ports as text.
    fn content(&self, session: &Session, ports: &ConnectReply) -> Frames {
        let content = json!({
            "kernel_id": self.kernel_id.as_deref().unwrap_or_default(),
            "shell_port": ports.shell_port.to_string(),
            "iopub_port": ports.iopub_port.to_string(),
            "stdin_port": ports.stdin_port.to_string(),
            "control_port": ports.control_port.to_string(),
            "hb_port": ports.hb_port.to_string(),
        });
        let content = content.to_string().into_bytes();
        let signature = session.signer().sign([&content, b"", b"", b""]);
        let frames: [&[u8]; 3] = [DELIMITER, signature.as_bytes(), &content];
        frames.into_iter().map(zmq::Message::from).collect::<Vec<_>>().into()
    }
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
        metadata: EMPTY_OBJECT.to_vec(),
        content: content.to_string().into_bytes(),
        buffers: Vec::new(),
    })
}

/// Sends a request and waits for the answer, at the latest until the deadline: `None`.
fn ask(
    context: &zmq::Context,
    form: Form,
    address: &str,
    request: Frames,
    deadline: Duration,
) -> zmq::Result<Option<Vec<Vec<u8>>>> {
    // None for a deadline beyond all time.
    let end = Instant::now().checked_add(deadline);
    let socket = context.socket(match form {
        Form::Content => zmq::DEALER,
        Form::Message => zmq::REQ,
    })?;
    // What has not been sent when the kernel gives up need not be sent any more.
    socket.set_linger(0)?;
    if address.contains('[') {
        socket.set_ipv6(true)?;
    }
    socket.connect(address)?;
    socket.send_multipart(request, zmq::DONTWAIT)?;
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        // At least a millisecond: 0 would not wait, and -1 waits for ever.
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
    let frames: Vec<zmq::Message> = answer.into_iter().map(zmq::Message::from).collect();
    let message = Incoming::decode(frames.into(), session.signer(), &ReplayGuard::new());
    let message = message.map_err(|error| error.to_string())?;
    if message.kind.as_str() != "handshake_reply" {
        return Err(format!("it is a {}, not a handshake_reply", message.kind.as_str()));
    }
    Ok(message.content.to_vec())
}

/// Why the launcher refuses; `None` if it does not. What the specification's answer says is left to the launcher: only
/// an object that says `"status": "error"` refuses. A `handshake_reply` must have the status `"ok"`.
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

    /// Registers as the specification says, with a launcher that answers this.
    fn register_content(answer: Vec<Vec<u8>>) -> (Result<(), RegistrationError>, Vec<Vec<u8>>) {
        let context = zmq::Context::new();
        let reply = |request: &[Vec<u8>]| [vec![request[0].clone()], answer].concat();
        let (port, served) = launcher(&context, zmq::ROUTER, reply);
        let text = format!(
            r#"{{"registration_ip": "127.0.0.1", "registration_port": {port}, "kernel_id": "me", "key": "k"}}"#
        );
        let result = file(&text).register(&context, &PORTS, DEADLINE);
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
                metadata: EMPTY_OBJECT.to_vec(),
                content: status.as_bytes().to_vec(),
                buffers: Vec::new(),
            });
            frames.into_iter().map(|frame| frame.to_vec()).collect()
        };
        let (port, served) = launcher(&context, zmq::REP, answer);
        let text = format!(r#"{{"ip": "127.0.0.1", "registration_port": {port}, "key": "k"}}"#);
        let result = file(&text).register(&context, &PORTS, DEADLINE);
        let frames: Vec<zmq::Message> = served.join().unwrap().into_iter().map(zmq::Message::from).collect();
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
    fn nobody_there_is_told_after_the_deadline() {
        let context = zmq::Context::new();
        let silent = context.socket(zmq::ROUTER).unwrap();
        let port = bound(&silent);
        let text = format!(r#"{{"registration_ip": "127.0.0.1", "registration_port": {port}, "key": "k"}}"#);
        let told = file(&text).register(&context, &PORTS, Duration::from_millis(100)).unwrap_err();
        assert!(matches!(told, RegistrationError::NoAnswer { .. }), "{told}");
        assert!(told.to_string().contains("within 100ms"), "{told}");
    }

    #[test]
    fn a_way_that_cannot_be_is_told() {
        for ip in ["a b", "256.0.0.1.2", ""] {
            let text = json!({"registration_ip": ip, "registration_port": 1, "key": ""}).to_string();
            let told = file(&text).register(&zmq::Context::new(), &PORTS, Duration::ZERO).unwrap_err();
            let expected =
                matches!(told, RegistrationError::NoWay { .. } | RegistrationError::NoAnswer { .. });
            assert!(expected, "{ip}: {told}");
        }
    }

    #[test]
    fn where_it_listens_follows_from_the_file() {
        let both =
            file(r#"{"registration_ip": "192.0.2.1", "ip": "127.0.0.1", "registration_port": 5, "key": ""}"#);
        assert_eq!((both.address(), both.connection().ip), ("tcp://192.0.2.1:5".into(), "127.0.0.1".into()));
        let old = file(r#"{"ip": "::1", "registration_port": 5, "key": ""}"#);
        assert_eq!((old.address(), old.connection().ip), ("tcp://[::1]:5".into(), "::1".into()));
        assert_eq!(old.form(), Form::Message);
        let ipc =
            file(r#"{"transport": "ipc", "registration_ip": "/run/k", "registration_port": 5, "key": ""}"#);
        assert_eq!((ipc.address(), ipc.connection().ip), ("ipc:///run/k-5".into(), "/run/k".into()));
        assert_eq!(ipc.form(), Form::Content);
    }

    #[test]
    fn a_bad_file_says_what_is_wrong() {
        for (change, told) in [
            (json!({"registration_port": 0}), "registration_port is 0"),
            (json!({"transport": "pigeon"}), "pigeon"),
            (json!({"signature_scheme": "hmac-md5"}), "hmac-md5"),
            (json!({"curve_publickey": "k"}), "curve_secretkey"),
            (json!({"transport": "ipc", "ip": ""}), "path"),
        ] {
            let mut text = json!({"registration_port": 5, "key": "k"});
            text.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let registration: Registration = serde_json::from_value(text).unwrap();
            let error = registration.check().unwrap_err();
            assert!(error.contains(told), "{change}: {error}");
        }
    }
}
