//! Properties that hold for any input of clients: the source of the fuzz targets and of `tests/properties.rs`.
//!
//! Each function takes any bytes and panics if a property does not hold. The bytes are text where that is possible, so
//! that the corpus can be read and written by hand.

use callboard::actors::comms::CommEvent;
use callboard::wire::content::{
    self, CommClose, CommInfoRequest, CommMsg, CommOpen, CompleteRequest, ConnectRequest,
    CreateSubshellRequest, DebugRequest, DeleteSubshellRequest, ExecuteRequest, HistoryRequest, InputReply,
    InspectRequest, InterruptRequest, IsCompleteRequest, KernelInfoRequest, ListSubshellRequest,
    ShutdownRequest, UsageRequest,
};
use callboard::wire::dap;
use callboard::wire::run_mode::{CallerOptions, RunMode, RunModeError};
use callboard::wire::{
    DELIMITER, Frame, Incoming, MessageType, Metadata, Outgoing, ReplayGuard, Session, Signer, WireError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The key that corpora are signed with.
pub const KEY: &[u8] = b"key";

/// The longest that an error may be, in bytes: it goes into replies and the log.
const LONGEST_ERROR: usize = 2000;

/// The types that a client may send, in the order of their letters in a corpus of [`contents`].
pub const SENT: [MessageType; 19] = [
    MessageType::ExecuteRequest,
    MessageType::InspectRequest,
    MessageType::CompleteRequest,
    MessageType::HistoryRequest,
    MessageType::IsCompleteRequest,
    MessageType::ConnectRequest,
    MessageType::CommInfoRequest,
    MessageType::KernelInfoRequest,
    MessageType::ShutdownRequest,
    MessageType::InterruptRequest,
    MessageType::DebugRequest,
    MessageType::CreateSubshellRequest,
    MessageType::DeleteSubshellRequest,
    MessageType::ListSubshellRequest,
    MessageType::UsageRequest,
    MessageType::CommOpen,
    MessageType::CommMsg,
    MessageType::CommClose,
    MessageType::InputReply,
];

/// What the debugger in Python may send: any bytes, in pieces whose size the first byte says. The pieces do not matter;
/// what is read can be written and read again; what cannot be read ends the stream, and says why in a few words.
pub fn dap(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let (whole, end) = dap_bodies(stream, stream.len());
    let (pieces, end_of_pieces) = dap_bodies(stream, usize::from(*size));
    assert_eq!((&whole, &end), (&pieces, &end_of_pieces), "the pieces matter");
    if let Some(why) = &end {
        assert!(why.len() < LONGEST_ERROR);
    }
    let again: Vec<u8> = whole.iter().flat_map(|body| dap::frame(body)).collect();
    assert_eq!(dap_bodies(&again, again.len()), (whole.clone(), None), "what is written is read");
    for body in whole {
        match dap::Message::read(&body) {
            Ok(dap::Message::Event(event)) => {
                let written = event.to_json(1);
                assert!(matches!(dap::Message::read(&written), Ok(dap::Message::Event(_))));
            }
            Ok(dap::Message::Response(response)) => {
                let written = response.to_json(1);
                assert!(matches!(dap::Message::read(&written), Ok(dap::Message::Response(_))));
            }
            Ok(dap::Message::Request(_)) => {}
            Err(error) => assert!(error.to_string().len() < LONGEST_ERROR),
        }
    }
}

/// The bodies in a stream that comes in pieces of this size, and why there are no more.
fn dap_bodies(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<String>) {
    let mut reader = dap::Reader::default();
    let mut bodies = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        reader.feed(piece);
        loop {
            match reader.next_body() {
                Ok(Some(body)) => bodies.push(body),
                Ok(None) => break,
                Err(error) => return (bodies, Some(error.to_string())),
            }
        }
    }
    (bodies, None)
}

/// Any frames, separated by line feeds: decoded with a key and without one, and signed as they should be.
pub fn frames(data: &[u8]) {
    decode_all(&data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>());
}

/// Any frames.
pub fn decode_all(frames: &[Vec<u8>]) {
    let open = decode(frames, b"");
    let verified = decode(frames, KEY);
    assert!(open.is_ok() || verified.is_err(), "a signature makes no message of what is none");
    let Some(at) = frames.iter().position(|frame| frame == DELIMITER) else {
        assert!(matches!(open, Err(WireError::NoDelimiter { .. })));
        return;
    };
    let Some([signature, dicts @ ..]) = frames[at + 1..].first_chunk::<5>() else {
        assert!(matches!(open, Err(WireError::TooFewFrames { got }) if got == frames.len() - at - 1));
        return;
    };
    let dicts = [&dicts[0][..], &dicts[1], &dicts[2], &dicts[3]];
    let right = Signer::new(KEY).sign(dicts);
    let signed = signature.eq_ignore_ascii_case(right.as_bytes());
    assert_eq!(matches!(verified, Err(WireError::BadSignature)), !signed, "verified means signed");
    let mut frames = frames.to_vec();
    frames[at + 1] = right.into_bytes();
    assert_eq!(decode(&frames, KEY).is_ok(), open.is_ok(), "the signature decides nothing else");
    assert!(matches!(decode(&frames, b"another key"), Err(WireError::BadSignature)));
}

/// Decodes frames, and compares the message with them.
fn decode(frames: &[Vec<u8>], key: &[u8]) -> Result<Incoming, WireError> {
    let (signer, replays) = (Signer::new(key), ReplayGuard::new());
    let decoded = Incoming::decode(frames.to_vec().into(), &signer, &replays);
    match &decoded {
        Ok(message) => {
            whole(message, frames);
            let again = Incoming::decode(frames.to_vec().into(), &signer, &replays);
            let replayed = matches!(again, Err(WireError::Replayed));
            assert_eq!(replayed, !key.is_empty(), "what is signed is taken once");
            answerable(message);
        }
        Err(problem) => short(&problem.to_string()),
    }
    decoded
}

/// Nothing of the frames is lost or changed.
fn whole(message: &Incoming, frames: &[Vec<u8>]) {
    let Incoming { idents, raw_header, header, kind, parent, metadata, content, buffers, .. } = message;
    let at = idents.len();
    assert_eq!(idents, &frames[..at]);
    assert_eq!(frames[at], DELIMITER);
    assert_eq!(*raw_header, frames[at + 2]);
    assert_eq!(**parent, *frames[at + 3]);
    assert_eq!(**metadata, *frames[at + 4]);
    assert_eq!(**content, *frames[at + 5]);
    assert!(buffers.iter().map(|buffer| buffer.to_vec()).eq(frames[at + 6..].iter().cloned()));
    assert_eq!(kind.as_str(), header.msg_type);
}

/// The message can be the parent of an answer, which every client can read.
fn answerable(message: &Incoming) {
    let Incoming { idents, raw_header, parent, metadata, header, kind, .. } = message;
    for raw in [raw_header, &parent.to_vec(), &metadata.to_vec()] {
        let text = std::str::from_utf8(raw).expect("text");
        match serde_json::from_str::<Value>(text) {
            Ok(value) => assert!(value.is_object(), "{text}"),
            // serde takes no number and no lone surrogate that a string or a number cannot hold; other parsers do.
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains("number out of range") || error.contains("hex escape"),
                    "{error}: {text}"
                );
            }
        }
    }
    let kind = kind.reply().unwrap_or(MessageType::Status);
    let session = Session::new(KEY);
    let answer = session.encode(Outgoing {
        idents,
        kind: &kind,
        parent: raw_header,
        metadata: Frame::EMPTY_OBJECT,
        content: b"{}".to_vec(),
        buffers: Vec::new(),
    });
    let answer = Incoming::decode(answer, session.signer(), &ReplayGuard::new()).expect("an answer");
    assert_eq!(answer.idents, *idents);
    assert_eq!(answer.kind, kind);
    assert_eq!(*answer.parent, **raw_header);
    let written = serde_json::to_string(header).expect("a header");
    let mut again: callboard::wire::Header = serde_json::from_str(&written).expect("a header");
    // A run mode is a text: numbers in one that is none may lose their last digit on the way.
    if !header.run_mode.as_ref().is_some_and(Value::is_string) {
        again.run_mode.clone_from(&header.run_mode);
    }
    assert_eq!(again, *header);
}

/// A header, correctly signed: read or refused.
pub fn headers(data: &[u8]) {
    let dicts = [data, b"{}", b"{}", b"{}"];
    let signature = Signer::new(KEY).sign(dicts).into_bytes();
    let mut frames = vec![b"client".to_vec(), DELIMITER.to_vec(), signature];
    frames.extend(dicts.map(<[u8]>::to_vec));
    decode_all(&frames);
    // A header is also a valid parent header, which need only be an object. What is no valid parent header is no header.
    let object = |place: usize| {
        let mut dicts = [&br#"{"msg_id":"1","msg_type":"a"}"#[..], b"{}", b"{}", b"{}"];
        dicts[place] = data;
        let mut frames = vec![DELIMITER.to_vec(), Vec::new()];
        frames.extend(dicts.map(<[u8]>::to_vec));
        decode(&frames, b"").is_ok()
    };
    let (header, parent, metadata) = (object(0), object(1), object(2));
    assert_eq!(parent, metadata);
    assert!(parent || !header);
    assert!(object(3), "the content is not looked at here");
}

/// A content. The first byte says of which type: a letter from `a` on, in the order of [`SENT`]; anything else is the
/// beginning of the name of an unknown type, which ends with the line.
pub fn contents(data: &[u8]) {
    let Some((first, content)) = data.split_first() else { return };
    let known = first.checked_sub(b'a').and_then(|at| SENT.get(usize::from(at)));
    match known {
        Some(kind) => content_of(kind, content),
        None => {
            let name = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let kind = MessageType::parse(&String::from_utf8_lossy(name));
            content_of(&kind, data.get(name.len() + 1..).unwrap_or_default());
        }
    }
}

/// A content of a type, through the router's check.
pub fn content_of(kind: &MessageType, content: &[u8]) {
    let object = matches!(serde_json::from_slice(content), Ok(Value::Object(_)));
    match content::check(kind, content) {
        Err(problem) => {
            short(&problem.to_string());
            let empty = kind.as_str().ends_with("_request") && content == b"{}";
            assert!(!empty || matches!(kind.as_str(), name if NEEDS_FIELDS.contains(&name)), "{kind}");
            let typed = NEEDS_FIELDS.contains(&kind.as_str()) || HAS_FIELDS.contains(&kind.as_str());
            assert!(typed || !object, "{kind} takes any object: {problem}");
            return;
        }
        Ok(_) => {
            let text = std::str::from_utf8(content).expect("text");
            assert!(text.trim_start().starts_with('{'), "{text}");
        }
    }
    let opens_or_closes = matches!(kind, MessageType::CommOpen | MessageType::CommClose);
    assert_eq!(
        CommEvent::of_published(kind, content).is_some(),
        opens_or_closes,
        "what is checked can be read"
    );
    match kind {
        MessageType::ExecuteRequest => {
            let request: ExecuteRequest = reads_back(content);
            assert!(!(request.silent && request.stores_history()));
            if let Err(problem) = run_mode(None, content, &request.code, request.silent) {
                short(&problem.to_string());
            }
        }
        MessageType::InspectRequest => drop(reads_back::<InspectRequest>(content)),
        MessageType::CompleteRequest => drop(reads_back::<CompleteRequest>(content)),
        MessageType::HistoryRequest => drop(reads_back::<HistoryRequest>(content)),
        MessageType::IsCompleteRequest => drop(reads_back::<IsCompleteRequest>(content)),
        MessageType::ConnectRequest => drop(reads_back::<ConnectRequest>(content)),
        MessageType::CommInfoRequest => drop(reads_back::<CommInfoRequest>(content)),
        MessageType::KernelInfoRequest => drop(reads_back::<KernelInfoRequest>(content)),
        MessageType::ShutdownRequest => drop(reads_back::<ShutdownRequest>(content)),
        MessageType::InterruptRequest => drop(reads_back::<InterruptRequest>(content)),
        MessageType::DebugRequest => drop(reads_back::<DebugRequest>(content)),
        MessageType::CreateSubshellRequest => drop(reads_back::<CreateSubshellRequest>(content)),
        MessageType::DeleteSubshellRequest => drop(reads_back::<DeleteSubshellRequest>(content)),
        MessageType::ListSubshellRequest => drop(reads_back::<ListSubshellRequest>(content)),
        MessageType::UsageRequest => drop(reads_back::<UsageRequest>(content)),
        MessageType::CommOpen => drop(reads_back::<CommOpen>(content)),
        MessageType::CommMsg => drop(reads_back::<CommMsg>(content)),
        MessageType::CommClose => drop(reads_back::<CommClose>(content)),
        MessageType::InputReply => drop(reads_back::<InputReply>(content)),
        _ => {}
    }
}

/// The run mode of a cell whose metadata is raw JSON.
fn run_mode(
    header: Option<&Value>,
    metadata: &[u8],
    code: &str,
    silent: bool,
) -> Result<RunMode, RunModeError> {
    RunMode::of(header, &Metadata::read(metadata), code, silent)
}

/// Types whose content cannot be `{}`.
const NEEDS_FIELDS: [&str; 10] = [
    "execute_request",
    "inspect_request",
    "complete_request",
    "history_request",
    "is_complete_request",
    "delete_subshell_request",
    "comm_open",
    "comm_msg",
    "comm_close",
    "input_reply",
];

/// Types whose content can be `{}`, but not every object.
const HAS_FIELDS: [&str; 2] = ["comm_info_request", "shutdown_request"];

/// Reads a content that was checked, writes it, and reads it again: the same comes out. Its actors
/// read it as bytes.
fn reads_back<T: DeserializeOwned + Serialize>(content: &[u8]) -> T {
    let read: T = serde_json::from_slice(content).expect("checked content can be read");
    let written = serde_json::to_string(&read).expect("what was read can be written");
    let again: T = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).expect("and written"), written);
    read
}

/// A run mode in all of its spellings: a header's and a metadata's, a tag's, a first line's.
pub fn run_modes(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let parsed = RunMode::parse(text);
    told(&parsed);
    let header = run_mode(Some(&Value::from(text)), b"{}", "", false);
    assert_eq!(header, parsed);
    let metadata = json!({"run_mode": text}).to_string();
    assert_eq!(run_mode(None, metadata.as_bytes(), "", true), parsed);
    let tags = json!({"tags": [text]}).to_string();
    let tag = run_mode(None, tags.as_bytes(), "", false);
    let line = run_mode(None, b"{}", &format!("# {text}\n1"), false);
    told(&tag);
    told(&line);
    if let Ok(mode) = &parsed {
        assert_eq!(tag.as_ref(), Ok(mode));
        let lines = rendered(mode);
        assert_eq!(RunMode::parse(&lines).as_ref(), Ok(mode), "{lines}");
        assert_eq!(RunMode::parse(&format!("# {lines}")).as_ref(), Ok(mode), "{lines}");
        if lines.lines().count() == 1 && !lines.ends_with('\n') {
            let code = format!("\n \n\t# {lines}\nraise Never");
            assert_eq!(run_mode(None, b"no metadata", &code, true).as_ref(), Ok(mode), "{lines}");
        }
    }
    // Whole cells, and invalid metadata: no error where other text may stand, except for bad options.
    for silent in [false, true] {
        let beside = if silent { RunMode::Task } else { RunMode::Queue };
        match run_mode(None, data, text, silent) {
            Ok(RunMode::Thread(_)) => assert!(text.contains("thread"), "{text}"),
            Ok(mode) if mode == beside => {}
            Ok(RunMode::Task) => assert!(text.contains("task"), "{text}"),
            Ok(RunMode::Queue) => assert!(text.contains("queue"), "{text}"),
            // Metadata can hold a run mode of any kind; a comment only bad options of a thread.
            Err(problem) => short(&problem.to_string()),
        }
    }
    match CallerOptions::parse(text) {
        Ok(options) => assert!(options.name.is_none_or(|name| !name.is_empty())),
        Err(problem) => short(&problem.to_string()),
    }
}

fn told(mode: &Result<RunMode, RunModeError>) {
    if let Err(problem) = mode {
        short(&problem.to_string());
    }
}

/// A run mode as a client would write it.
pub fn rendered(mode: &RunMode) -> String {
    let CallerOptions { name, backend, use_uvloop } = match mode {
        RunMode::Queue => return "queue".to_owned(),
        RunMode::Task => return "task".to_owned(),
        RunMode::Thread(options) => options,
    };
    let mut words = vec!["thread".to_owned()];
    if let Some(name) = name {
        // As in a shell: one kind of quotation mark can stand between two of the other kind.
        let parts: Vec<String> = name.split('"').map(|part| format!("\"{part}\"")).collect();
        words.push(format!("name={}", parts.join("'\"'")));
    }
    words.extend(backend.map(|backend| format!("backend={backend}")));
    words.extend(use_uvloop.map(|use_uvloop| format!("use_uvloop={use_uvloop}")));
    words.join(" ")
}

/// Checks that an error can be shown: short, and in one line.
fn short(error: &str) {
    assert!(error.len() <= LONGEST_ERROR, "{} bytes: {error:.500}", error.len());
    assert!(!error.contains(char::is_control), "{error:?}");
}
