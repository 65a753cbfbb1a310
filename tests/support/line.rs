//! A client's end of one channel.

use std::collections::HashMap;
use std::rc::Rc;

use actix_rt::Runtime;
use actix_rt::time::timeout;
use callboard::transport::fake::Peer;
use callboard::wire::content::{Content, ExecuteInput, ExecutionState, Status, Stream, StreamName};
use callboard::wire::{DELIMITER, Frames, Incoming, MessageType, ReplayGuard, Signer};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{KEY, PATIENCE};

/// The outcome of a cell without output that ran to its end; see `TestKernel::outcomes`.
pub const RAN: &str = "busy input idle; ok";
/// The outcome of one that failed.
pub const FAILED: &str = "busy input error:Failure idle; error:Failure";
/// The outcome of one that was aborted.
pub const ABORTED: &str = "busy idle; aborted";

/// A request that was sent, as far as its answers name it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub id: String,
    pub kind: MessageType,
    /// As it was in the frames.
    pub header: Vec<u8>,
    pub identity: String,
}

/// One channel, seen by the clients. All clients of a channel share it; the identity of a message names its client.
pub struct Line {
    name: &'static str,
    pub peer: Peer,
    runtime: Rc<Runtime>,
    signer: Signer,
    replays: ReplayGuard,
    statuses: Statuses,
    /// Whether [`Line::message`] gives those that say busy once more.
    pub shows_busy_again: bool,
}

/// The requests whose code runs, as a client sees them. Fails the test if another one's idle is the last status.
#[derive(Default)]
struct Statuses {
    /// The headers of the requests.
    running: Vec<Vec<u8>>,
    /// An idle was read while code runs.
    owed: bool,
}

impl Statuses {
    /// Notes the next message of iopub. Returns whether it says busy once more.
    #[track_caller]
    fn note(&mut self, message: &Incoming) -> bool {
        let is_status = message.kind == MessageType::Status;
        let state = is_status.then(|| read::<Status>(message).execution_state);
        let again = state == Some(ExecutionState::Busy)
            && self.running.iter().any(|header| *header == *message.parent);
        let owed = std::mem::take(&mut self.owed);
        assert!(
            again || !owed,
            "code runs, but this follows the idle of another request: {}",
            describe(message)
        );
        match state {
            Some(ExecutionState::Busy) if !again && runs_code(message) => {
                self.running.push(message.parent.to_vec());
            }
            Some(ExecutionState::Idle) => {
                self.running.retain(|header| *header != *message.parent);
                self.owed = !self.running.is_empty();
            }
            _ => {}
        }
        again
    }
}

/// Whether the request that caused a message runs code.
fn runs_code(message: &Incoming) -> bool {
    let header: Value = serde_json::from_slice(&message.parent).unwrap();
    header["msg_type"].as_str().is_some_and(|kind| MessageType::parse(kind).runs_code())
}

impl Line {
    pub fn new(name: &'static str, peer: Peer, runtime: Rc<Runtime>, key: &[u8]) -> Self {
        Self {
            name,
            peer,
            runtime,
            signer: Signer::new(key),
            replays: ReplayGuard::new(),
            statuses: Statuses::default(),
            shows_busy_again: false,
        }
    }

    /// Sends frames as they are.
    #[track_caller]
    pub fn send(&self, frames: Frames) {
        assert!(self.peer.send(frames), "the kernel has closed {}", self.name);
    }

    /// Signs and sends four dicts, valid or not.
    #[track_caller]
    pub fn send_dicts(&self, identity: &str, dicts: [&str; 4]) {
        self.send(signed(KEY, identity, dicts).into());
    }

    /// The next frames from the kernel.
    #[track_caller]
    pub fn frames(&mut self, awaited: &str) -> Frames {
        match self.runtime.block_on(async { timeout(PATIENCE, self.peer.recv()).await }) {
            Ok(Some(frames)) => frames,
            Ok(None) => panic!("{} was closed; awaited: {awaited}", self.name),
            Err(elapsed) => {
                panic!("nothing came on {} within {PATIENCE:?} ({elapsed}); awaited: {awaited}", self.name)
            }
        }
    }

    /// The next message from the kernel. What says busy once more is checked, and left out.
    #[track_caller]
    pub fn message(&mut self, awaited: &str) -> Incoming {
        loop {
            let frames = self.frames(awaited);
            let decoded = Incoming::decode(frames, &self.signer, &self.replays);
            let message = decoded.expect("the kernel signs its messages");
            if !self.statuses.note(&message) || self.shows_busy_again {
                return message;
            }
        }
    }

    /// The reply to a request: the next message, of the right type, to the right client, with the
    /// request's header as it was sent.
    #[track_caller]
    pub fn reply<T: DeserializeOwned>(&mut self, to: &Sent) -> T {
        let kind = to.kind.reply().expect("a request that has a reply");
        let message = self.caused_by(to, &kind);
        assert_eq!(message.idents, [to.identity.as_bytes()], "the reply goes to the client that asked");
        read(&message)
    }

    /// The next message, which a request has caused and which is of this type.
    #[track_caller]
    pub fn expect<C: Content + DeserializeOwned>(&mut self, parent: &Sent) -> C {
        read(&self.caused_by(parent, &C::TYPE))
    }

    #[track_caller]
    fn caused_by(&mut self, parent: &Sent, kind: &MessageType) -> Incoming {
        let message = self.message(&format!("{kind}, caused by {} {}", parent.kind, parent.id));
        assert_eq!(message.kind, *kind, "{}", describe(&message));
        assert_eq!(
            String::from_utf8_lossy(&message.parent),
            String::from_utf8_lossy(&parent.header),
            "{} has another parent",
            describe(&message)
        );
        message
    }

    /// The next message says that the kernel is busy with a request.
    #[track_caller]
    pub fn busy(&mut self, parent: &Sent) {
        assert_eq!(self.expect::<Status>(parent).execution_state, ExecutionState::Busy);
    }

    /// The next message says that the kernel is done with a request.
    #[track_caller]
    pub fn idle(&mut self, parent: &Sent) {
        assert_eq!(self.expect::<Status>(parent).execution_state, ExecutionState::Idle);
    }

    /// The next message shows the code that is about to run. Returns its execution count.
    #[track_caller]
    pub fn input(&mut self, parent: &Sent, code: &str) -> u64 {
        let input: ExecuteInput = self.expect(parent);
        assert_eq!(input.code, code);
        input.execution_count
    }

    /// The next messages are text of a stream, `text` together. Returns how many they were.
    #[track_caller]
    pub fn text(&mut self, parent: &Sent, stream: StreamName, text: &str) -> usize {
        let (mut whole, mut count) = (String::new(), 0);
        while whole.len() < text.len() {
            let Stream { name, text } = self.expect(parent);
            assert_eq!(name, stream);
            whole.push_str(&text);
            count += 1;
        }
        assert!(whole == text, "other text came on {stream:?}: {whole:.200?} and so on");
        count
    }

    /// Reads until `done` has recognized the last publication of each of these requests. Returns for each, in short, what
    /// was published, in order: `busy input stdout:TEXT error:NAME idle`. A message of another request fails the test.
    #[track_caller]
    pub fn stories(&mut self, sent: &[&Sent], done: impl Fn(&str) -> bool) -> Vec<String> {
        let mut stories = vec![Vec::<String>::new(); sent.len()];
        let places = places(sent);
        let mut open = sent.len();
        while open > 0 {
            let message =
                self.message(&format!("what {open} of {} requests have to publish yet", sent.len()));
            let at = place(&places, &message);
            let over = stories[at].last().is_some_and(|last| done(last));
            assert!(!over, "after {:?}: {}", stories[at], describe(&message));
            let content: Value = read(&message);
            let text = |key: &str| content[key].as_str().unwrap_or_default().trim_end().replace('\n', ",");
            let told = match message.kind {
                MessageType::Status => text("execution_state"),
                MessageType::ExecuteInput => "input".to_owned(),
                MessageType::Stream => format!("{}:{}", text("name"), text("text")),
                MessageType::Error => format!("error:{}", text("ename")),
                kind => kind.to_string(),
            };
            open -= usize::from(done(&told));
            stories[at].push(told);
        }
        stories.into_iter().map(|story| story.join(" ")).collect()
    }

    /// Reads the replies to these requests, in any order. Returns each in short: `ok`, `error:NAME` or `aborted`.
    #[track_caller]
    pub fn replies(&mut self, sent: &[&Sent]) -> Vec<String> {
        let places = places(sent);
        let mut replies = vec![None; sent.len()];
        for open in (1..=sent.len()).rev() {
            let message = self.message(&format!("{open} replies of {}", sent.len()));
            let at = place(&places, &message);
            assert_eq!(Some(&message.kind), sent[at].kind.reply().as_ref());
            assert_eq!(message.idents, [sent[at].identity.as_bytes()]);
            let content: Value = read(&message);
            let text = |key: &str| content[key].as_str().unwrap_or_default().to_owned();
            let told = match &*text("status") {
                "error" => format!("error:{}", text("ename")),
                status => status.to_owned(),
            };
            assert!(replies[at].replace(told).is_none(), "a second reply: {}", describe(&message));
        }
        replies.into_iter().flatten().collect()
    }

    /// The messages that are left when the kernel has closed its end.
    pub fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        loop {
            match self.runtime.block_on(async { timeout(PATIENCE, self.peer.recv()).await }) {
                Ok(None) => return rest,
                Ok(Some(frames)) => {
                    let what = match Incoming::decode(frames, &self.signer, &self.replays) {
                        Ok(message) if self.statuses.note(&message) => continue,
                        Ok(message) => describe(&message),
                        Err(problem) => problem.to_string(),
                    };
                    rest.push(format!("{}: {what}", self.name));
                }
                Err(_) => {
                    rest.push(format!("{} was not closed", self.name));
                    return rest;
                }
            }
        }
    }
}

/// The frames of a message with these dicts, signed with a key.
pub fn signed(key: &[u8], identity: &str, dicts: [&str; 4]) -> Vec<Vec<u8>> {
    let dicts = dicts.map(str::as_bytes);
    let mut frames =
        vec![identity.as_bytes().to_vec(), DELIMITER.to_vec(), Signer::new(key).sign(dicts).into_bytes()];
    frames.extend(dicts.map(<[u8]>::to_vec));
    frames
}

/// Reads the content of a message.
#[track_caller]
pub fn read<T: DeserializeOwned>(message: &Incoming) -> T {
    match serde_json::from_slice(&message.content) {
        Ok(content) => content,
        Err(problem) => panic!("{problem}: {}", describe(message)),
    }
}

fn places(sent: &[&Sent]) -> HashMap<Vec<u8>, usize> {
    sent.iter().enumerate().map(|(at, sent)| (sent.header.clone(), at)).collect()
}

#[track_caller]
fn place(places: &HashMap<Vec<u8>, usize>, message: &Incoming) -> usize {
    match places.get(&*message.parent) {
        Some(at) => *at,
        None => panic!("this belongs to none of the requests: {}", describe(message)),
    }
}

fn describe(message: &Incoming) -> String {
    let content = String::from_utf8_lossy(&message.content);
    let parent = String::from_utf8_lossy(&message.parent);
    format!("{} {content:.300} with the parent {parent}", message.kind)
}
