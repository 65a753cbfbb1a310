//! The messages that the kernel sends, as they are on the wire: one sample of each type.
//!
//! After a change that is meant, write the snapshots anew with `INSTA_UPDATE=always cargo nextest run` and review them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use callboard::wire::content::{
    ClearOutput, CommClose, CommInfo, CommInfoReply, CommMsg, CommOpen, CompleteReply, ConnectReply, Content,
    CreateSubshellReply, DeleteSubshellReply, DisplayData, Error, ErrorReply, ExecuteInput, ExecuteReply,
    ExecuteResult, ExecutionState, HelpLink, HistoryEntry, HistoryReply, HostVirtualMemory, InputRequest,
    InspectReply, InterruptReply, IopubWelcome, IsCompleteReply, KernelInfoReply, LanguageInfo,
    ListSubshellReply, ShutdownReply, Status, Stream, StreamName, UpdateDisplayData, UsageReply, reply,
};
use callboard::wire::{EMPTY_OBJECT, MessageType, Outgoing, Session, Signer};
use insta::assert_snapshot;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

const KEY: &[u8] = b"secret";
const PARENT: &[u8] = br#"{"msg_id":"1","msg_type":"execute_request","session":"client"}"#;

/// Samples of messages, as text: one frame in each line, with `<...>` for what differs each time.
struct Samples {
    session: Session,
    text: String,
    types: BTreeSet<String>,
}

impl Samples {
    fn new() -> Self {
        Self { session: Session::new(KEY), text: String::new(), types: BTreeSet::new() }
    }

    fn add<C: Content>(&mut self, content: &C) {
        self.add_as(&C::TYPE, content);
    }

    fn add_as(&mut self, kind: &MessageType, content: &impl Serialize) {
        let message = Outgoing {
            idents: &[b"client".to_vec()],
            kind,
            parent: PARENT,
            metadata: EMPTY_OBJECT.to_vec().into(),
            content: serde_json::to_vec(content).unwrap(),
            buffers: Vec::new(),
        };
        let frames: Vec<Vec<u8>> =
            self.session.encode(message).into_iter().map(|frame| frame.to_vec()).collect();
        let [_, _, signature, dicts @ ..] = &frames[..] else {
            panic!("{frames:?} are too few frames");
        };
        let [header, parent, metadata, content] = dicts else {
            panic!("{dicts:?} are not four dicts");
        };
        let signed = Signer::new(KEY).sign([header, parent, metadata, content]);
        assert_eq!(signature, signed.as_bytes());
        writeln!(self.text, "## {kind}").unwrap();
        for frame in &frames {
            let frame = String::from_utf8(frame.clone()).unwrap();
            let frame = if frame == signed { "<signature>".to_owned() } else { frame };
            writeln!(self.text, "{}", self.hide(frame)).unwrap();
        }
        writeln!(self.text).unwrap();
        self.types.insert(kind.as_str().to_owned());
    }

    /// Hides what differs from message to message in a header.
    fn hide(&self, frame: String) -> String {
        if !frame.contains(self.session.id()) {
            return frame;
        }
        let header: Value = serde_json::from_str(&frame).unwrap();
        let mut hidden = frame;
        for field in ["msg_id", "date", "username"] {
            let value = &header[field];
            hidden = hidden.replace(&format!(r#""{field}":{value}"#), &format!(r#""{field}":"<{field}>""#));
        }
        hidden.replace(self.session.id(), "<session>")
    }
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn bundle() -> Box<RawValue> {
    json(r#"{"text/plain":"'é'"}"#)
}

fn on_iopub() -> Samples {
    let mut samples = Samples::new();
    samples.add(&IopubWelcome { subscription: String::new() });
    samples.add(&Status { execution_state: ExecutionState::Busy });
    samples.add(&ExecuteInput { code: "1 + 1".into(), execution_count: 3 });
    samples.add(&Stream { name: StreamName::Stdout, text: "a\n".to_owned() });
    samples.add(&DisplayData { data: bundle(), metadata: json("{}"), transient: None });
    let transient = json(r#"{"display_id":"d"}"#);
    samples.add(&UpdateDisplayData { data: bundle(), metadata: json("{}"), transient });
    samples.add(&ClearOutput { wait: true });
    samples.add(&ExecuteResult { execution_count: 3, data: bundle(), metadata: json("{}"), transient: None });
    samples.add(&Error {
        ename: "ValueError".to_owned(),
        evalue: "no".to_owned(),
        traceback: vec!["ValueError: no".to_owned()],
    });
    let (comm_id, target_name) = ("c".to_owned(), "jupyter.widget".to_owned());
    samples.add(&CommOpen { comm_id, target_name, target_module: None, data: json("{}") });
    samples.add(&CommMsg { comm_id: "c".to_owned(), data: json(r#"{"a":1}"#) });
    samples.add(&CommClose { comm_id: "c".to_owned(), data: json("{}") });
    samples
}

fn replies() -> Samples {
    let mut samples = Samples::new();
    samples.add(&ExecuteReply::Ok {
        execution_count: 3,
        user_expressions: BTreeMap::from([("a".to_owned(), json(r#"{"status":"ok"}"#))]),
        payload: Vec::new(),
    });
    samples.add(&ExecuteReply::Error {
        execution_count: 3,
        ename: "ValueError".to_owned(),
        evalue: "no".to_owned(),
        traceback: vec!["ValueError: no".to_owned()],
        user_expressions: BTreeMap::new(),
        payload: Vec::new(),
    });
    samples.add(&ExecuteReply::Aborted { execution_count: None });
    samples.add(&InspectReply { status: reply::Ok, found: true, data: bundle(), metadata: json("{}") });
    samples.add(&CompleteReply {
        status: reply::Ok,
        matches: vec!["print".to_owned()],
        cursor_start: 0,
        cursor_end: 2,
        metadata: json("{}"),
    });
    samples.add(&HistoryReply {
        status: reply::Ok,
        history: vec![
            HistoryEntry::Input(1, 2, "a".to_owned()),
            HistoryEntry::InputOutput(1, 3, ("b".to_owned(), Some("2".to_owned()))),
            HistoryEntry::InputOutput(1, 4, ("c".to_owned(), None)),
        ],
    });
    samples.add(&IsCompleteReply::Complete);
    samples.add(&IsCompleteReply::Incomplete { indent: "    ".to_owned() });
    samples.add(&ConnectReply {
        status: reply::Ok,
        shell_port: 1,
        iopub_port: 2,
        stdin_port: 3,
        hb_port: 4,
        control_port: 5,
    });
    let comm = CommInfo { target_name: "jupyter.widget".to_owned() };
    samples.add(&CommInfoReply { status: reply::Ok, comms: BTreeMap::from([("c".to_owned(), comm)]) });
    samples.add(&KernelInfoReply {
        status: reply::Ok,
        protocol_version: "5.5".to_owned(),
        implementation: "callboard".to_owned(),
        implementation_version: "1.0".to_owned(),
        language_info: LanguageInfo {
            name: "python".to_owned(),
            version: "3.11.7".to_owned(),
            mimetype: "text/x-python".to_owned(),
            file_extension: ".py".to_owned(),
            pygments_lexer: Some("ipython3".to_owned()),
            codemirror_mode: Some(serde_json::json!({"name": "ipython", "version": 3})),
            nbconvert_exporter: Some("python".to_owned()),
        },
        banner: "Python 3.11.7\n".to_owned(),
        debugger: Some(false),
        help_links: vec![HelpLink { text: "Python".to_owned(), url: "https://docs.python.org".to_owned() }],
        supported_features: vec!["kernel subshells".to_owned()],
    });
    samples.add(&ShutdownReply { status: reply::Ok, restart: true });
    samples.add(&InterruptReply { status: reply::Ok });
    samples.add(&CreateSubshellReply { status: reply::Ok, subshell_id: "s".to_owned() });
    samples.add(&DeleteSubshellReply { status: reply::Ok });
    samples.add(&ListSubshellReply { status: reply::Ok, subshell_id: vec!["s".to_owned()] });
    samples.add(&UsageReply {
        status: reply::Ok,
        hostname: "host".to_owned(),
        pid: 7,
        kernel_cpu: 12.5,
        kernel_memory: 1 << 20,
        host_cpu_percent: Some(3.5),
        cpu_count: 2,
        host_virtual_memory: HostVirtualMemory { total: 8, available: 6, percent: 25.0, used: 2, free: 4 },
    });
    samples.add_as(
        &MessageType::InspectReply,
        &ErrorReply {
            status: reply::Error,
            ename: "ValueError".to_owned(),
            evalue: "no".to_owned(),
            traceback: Vec::new(),
        },
    );
    samples
}

fn on_stdin() -> Samples {
    let mut samples = Samples::new();
    samples.add(&InputRequest { prompt: "Name: ".to_owned(), password: false });
    samples
}

#[test]
fn iopub() {
    assert_snapshot!("iopub", on_iopub().text);
}

#[test]
fn shell_and_control() {
    assert_snapshot!("shell_and_control", replies().text);
}

#[test]
fn stdin() {
    assert_snapshot!("stdin", on_stdin().text);
}

#[test]
fn every_type_that_the_kernel_sends_has_a_sample() {
    let sampled: BTreeSet<_> =
        [on_iopub(), replies(), on_stdin()].into_iter().flat_map(|it| it.types).collect();
    // What clients send, and the debugger's, which the kernel does not have.
    let is_sent = |name: &str| {
        let is_request = name.ends_with("_request") && name != "input_request";
        !is_request && name != "input_reply" && !name.starts_with("debug_")
    };
    let sent: BTreeSet<_> = MessageType::KNOWN.iter().map(|kind| kind.as_str().to_owned()).collect();
    let sent: BTreeSet<_> = sent.into_iter().filter(|name| is_sent(name)).collect();
    assert_eq!(sampled, sent);
}
