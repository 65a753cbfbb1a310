//! The stdin actor: sends prompts and matches answers to them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use tracing::{debug, warn};

use super::socket::Inbound;
use crate::delivery::job::{Job, Reply};
use crate::os::wake_fd::WakeFd;
use crate::publisher::Publisher;
use crate::wire::content::{Checked, Content, InputRequest, check};
use crate::wire::sanitize::clipped;
use crate::wire::{Frame, MessageType, Outgoing, Parent, to_json};

/// Sends `input_request`s and gives each answer to the thread that asked.
///
/// An answer names its prompt in its parent header. Clients that leave that out (`jupyter_client` does)
/// answer their oldest open prompt.
pub struct Stdin {
    publisher: Publisher,
    socket: Recipient<Reply>,
    open: Vec<Open>,
}

struct Open {
    msg_id: String,
    idents: Vec<Vec<u8>>,
    answer: Arc<Answer>,
}

/// The place for the answer to one prompt. The thread that asks waits on its wake fd.
pub struct Answer {
    value: Mutex<Option<String>>,
    wake_fd: Arc<WakeFd>,
}

impl Answer {
    /// A place without an answer.
    pub fn new() -> io::Result<Self> {
        Ok(Self { value: Mutex::new(None), wake_fd: Arc::new(WakeFd::new()?) })
    }

    /// Notified when the answer is here.
    pub fn wake_fd(&self) -> &Arc<WakeFd> {
        &self.wake_fd
    }

    /// The answer, if it is here.
    pub fn take(&self) -> Option<String> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn give(&self, value: String) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.wake_fd.notify();
    }
}

/// Ask the client that sent a request for a line.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ask {
    /// The request whose code asks.
    pub parent: Arc<Parent>,
    /// The prompt, and whether to hide the answer.
    pub content: InputRequest,
    /// Where the answer goes.
    pub answer: Arc<Answer>,
}

/// The thread that asked no longer waits for this answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Withdraw(pub Arc<Answer>);

impl Stdin {
    /// An actor whose prompts go out through `socket`.
    pub fn new(publisher: Publisher, socket: Recipient<Reply>) -> Self {
        Self { publisher, socket, open: Vec::new() }
    }

    fn answered(&mut self, job: &Job) {
        let named = serde_json::from_slice::<Named>(&job.parent_header).ok().and_then(|p| p.msg_id);
        let by_id = |open: &Open| Some(&open.msg_id) == named.as_ref();
        // The late answer to a withdrawn prompt is not the answer to another one.
        let ours = named.as_ref().is_some_and(|id| id.starts_with(self.publisher.session().id()));
        let by_client = |open: &Open| !ours && open.idents == job.parent.idents;
        let Some(at) = self.open.iter().position(by_id).or_else(|| self.open.iter().position(by_client))
        else {
            warn!("an input_reply came in that nothing waits for, and was dropped");
            return;
        };
        match check(&job.kind, &job.content) {
            Ok(Checked::InputReply(reply)) => self.open.remove(at).answer.give(reply.value),
            Ok(_) => {}
            Err(problem) => warn!(%problem, "an input_reply could not be read and was dropped: answer again"),
        }
    }
}

#[derive(serde::Deserialize)]
struct Named {
    msg_id: Option<String>,
}

impl Actor for Stdin {
    type Context = Context<Self>;
}

impl Handler<Inbound> for Stdin {
    type Result = ();

    fn handle(&mut self, inbound: Inbound, _: &mut Self::Context) {
        match inbound {
            Inbound::Job(job) if job.kind == MessageType::InputReply => self.answered(&job),
            Inbound::Job(job) => {
                warn!(kind = clipped(job.kind.as_str()), "only input_reply belongs on stdin: dropped");
            }
            Inbound::Barrier(_) => {}
        }
    }
}

impl Handler<Ask> for Stdin {
    type Result = ();

    fn handle(&mut self, Ask { parent, content, answer }: Ask, _: &mut Self::Context) {
        let session = self.publisher.session();
        let header = session.header(&InputRequest::TYPE);
        let frames = session.encode_with_header(
            &header,
            Outgoing {
                idents: &parent.idents,
                kind: &InputRequest::TYPE,
                parent: &parent.raw_header,
                metadata: Frame::EMPTY_OBJECT,
                content: to_json(&content),
                buffers: Vec::new(),
            },
        );
        debug!(msg_id = header.msg_id, "asking for input");
        self.open.push(Open { msg_id: header.msg_id, idents: parent.idents.clone(), answer });
        self.socket.do_send(Reply(frames));
    }
}

impl Handler<Withdraw> for Stdin {
    type Result = ();

    fn handle(&mut self, Withdraw(answer): Withdraw, _: &mut Self::Context) {
        self.open.retain(|open| !Arc::ptr_eq(&open.answer, &answer));
    }
}
