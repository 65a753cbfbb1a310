//! A request that a thread answers: busy, reply and idle, in the order of the protocol.

use std::ops::Deref;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chrono::{DateTime, Utc};
use tracing::debug;

use crate::delivery::gate::QueueGate;
use crate::delivery::job::{Job, Reply};
use crate::publisher::{Busy, Publisher};
use crate::wire::content::{AbortedReply, Error, ErrorReply, ExecuteInput, ExecuteRequest, reply};
use crate::wire::{Frame, Frames, MessageType, Outgoing, to_json, write_date};

/// A job with the right to answer it.
///
/// Its states: queued, then *either* begun (busy is published), answered and finished (the reply goes out and idle is
/// published), *or* aborted. An atomic decides between the two, so a cell that begins while its queue is aborted is
/// never both.
pub struct Request {
    /// The job.
    pub job: Job,
    /// The content of an `execute_request`, read.
    pub execute: Option<ExecuteRequest>,
    publisher: Publisher,
    gate: Option<Arc<QueueGate>>,
    state: AtomicU8,
    /// The reply, from its making to the end of the request.
    reply: Mutex<Option<Frames>>,
    started: OnceLock<DateTime<Utc>>,
}

const QUEUED: u8 = 0;
const BEGUN: u8 = 1;
/// The cell has failed. Its end waits until its subshell knows which cells were sent before.
const FAILED: u8 = 2;
const FINISHED: u8 = 3;
const ABORTED: u8 = 4;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyStatus {
    /// It did what was asked.
    Ok,
    /// It failed.
    Error,
}

impl Request {
    /// A queued request.
    pub fn new(job: Job, publisher: Publisher) -> Self {
        Self::queued(job, None, publisher, None)
    }

    /// A queued `execute_request`. With a gate it is in the queue of a subshell.
    pub fn execute(
        job: Job,
        content: ExecuteRequest,
        publisher: Publisher,
        gate: Option<Arc<QueueGate>>,
    ) -> Self {
        Self::queued(job, Some(content), publisher, gate)
    }

    fn queued(
        job: Job,
        execute: Option<ExecuteRequest>,
        publisher: Publisher,
        gate: Option<Arc<QueueGate>>,
    ) -> Self {
        Self {
            job,
            execute,
            publisher,
            gate,
            state: AtomicU8::new(QUEUED),
            reply: Mutex::new(None),
            started: OnceLock::new(),
        }
    }

    /// The same request once more, in no queue: a handler of Python code answers it when it has ended already.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::queued(self.job.again(), self.execute.clone(), self.publisher.clone(), None)
    }

    /// Whether it is a cell in the queue of a shell.
    pub fn has_gate(&self) -> bool {
        self.gate.is_some()
    }

    /// Where the request publishes.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Begins the request and publishes busy. False if it may not begin; then its queue answers it.
    pub fn begin(&self) -> bool {
        // The input of a cell follows its busy as soon as it runs.
        self.may_begin() && self.start(self.execute.as_ref().is_some_and(|execute| !execute.silent))
    }

    fn may_begin(&self) -> bool {
        !self.gate.as_ref().is_some_and(|gate| gate.is_closed())
    }

    /// `has_more`: another message of the request follows at once.
    fn start(&self, has_more: bool) -> bool {
        if !self.move_on(QUEUED, BEGUN) {
            return false;
        }
        // A OnceLock that is set already keeps its value; a request begins only once.
        let since = *self.started.get_or_init(Utc::now);
        if self.gate.as_ref().is_some_and(|gate| gate.is_main()) {
            self.publisher.set_foreground(&self.job.parent);
        }
        self.publish_busy(since, has_more);
        true
    }

    fn publish_busy(&self, since: DateTime<Utc>, has_more: bool) {
        let runs_code = self.job.kind.runs_code();
        self.publisher.busy(&self.job.parent, Busy { since, runs_code, has_more });
    }

    /// Publishes the code that is about to run.
    pub fn publish_input(&self, execution_count: u64) {
        if let Some(execute) = &self.execute {
            let input = ExecuteInput { code: execute.code.as_str().into(), execution_count };
            self.publisher.content(&self.job.parent, &input);
        }
    }

    /// Makes the reply, which goes out when the request ends. Further ones are dropped.
    pub fn reply(&self, content: Vec<u8>, metadata: Option<Vec<u8>>, buffers: Vec<Frame>) {
        let Some(kind) = self.job.kind.reply() else {
            return;
        };
        let metadata = metadata.map_or_else(|| self.metadata(), Frame::from);
        let mut reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        if reply.is_some() {
            debug!(msg_id = self.job.parent.msg_id, "a second reply to the same request is dropped");
            return;
        }
        *reply = Some(self.publisher.session().encode(Outgoing {
            idents: &self.job.parent.idents,
            kind: &kind,
            parent: &self.job.parent.raw_header,
            metadata,
            content,
            buffers,
        }));
    }

    /// When the work started, for clients that show how long a cell took.
    fn metadata(&self) -> Frame {
        match self.started.get() {
            Some(started) if self.job.kind == MessageType::ExecuteRequest => {
                let mut metadata = br#"{"started":""#.to_vec();
                write_date(&mut metadata, *started);
                metadata.extend_from_slice(br#""}"#);
                metadata.into()
            }
            _ => Frame::EMPTY_OBJECT,
        }
    }

    /// Makes an error reply.
    pub fn reply_error(&self, ename: &str, evalue: &str, traceback: Vec<String>) {
        self.reply(
            to_json(&ErrorReply {
                status: reply::Error,
                ename: ename.to_owned(),
                evalue: evalue.to_owned(),
                traceback,
            }),
            None,
            Vec::new(),
        );
    }

    /// Makes an error reply, unless there is a reply.
    pub fn reply_if_none(&self) {
        let is_missing = self.reply.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        if is_missing {
            self.reply_error("NoReply", "what was to answer this request has failed", Vec::new());
        }
    }

    /// Ends the request: the reply goes out, and idle is published after everything else of the request.
    ///
    /// When a cell fails and those behind it are not to run, its subshell [releases](Request::release) the reply: a
    /// client that has seen the failure may send a cell that is to run, so the cells before it must be known first.
    pub fn finish(&self, status: ReplyStatus) {
        let stops = self.execute.as_ref().is_some_and(|execute| execute.stop_on_error && !execute.silent);
        self.finish_and(status == ReplyStatus::Error && stops);
    }

    /// Like [`Request::finish`]; `abort` says whether the cells behind this one are not to run.
    pub fn finish_and(&self, abort: bool) {
        match &self.gate {
            Some(gate) if abort => {
                // Before anything else: the thread may begin the next cell as soon as this returns.
                gate.close();
                if self.move_on(BEGUN, FAILED) {
                    gate.report(&self.job.parent.msg_id, true);
                }
            }
            gate => {
                if self.move_on(BEGUN, FINISHED) {
                    self.end();
                    if let Some(gate) = gate {
                        gate.report(&self.job.parent.msg_id, false);
                    }
                }
            }
        }
    }

    /// Ends a request whose cell has failed; see [`Request::finish`]. False for other requests.
    pub fn release(&self) -> bool {
        let failed = self.move_on(FAILED, FINISHED);
        if failed {
            self.end();
        }
        failed
    }

    fn end(&self) {
        if let Some(reply) = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.job.reply_to.do_send(Reply(reply));
        }
        self.publisher.idle(&self.job.parent);
        self.job.parent.has_ended.store(true, Ordering::Release);
    }

    /// Answers a queued request with `aborted`. False if it has begun.
    pub fn abort(&self) -> bool {
        if !self.move_on(QUEUED, ABORTED) {
            return false;
        }
        self.publish_busy(Utc::now(), true);
        self.reply(to_json(&AbortedReply::default()), None, Vec::new());
        self.end();
        true
    }

    /// Answers a request that cannot be carried out: busy, an error reply, idle. A cell shows the error.
    pub fn refuse(&self, ename: &str, evalue: &str) {
        if self.start(true) {
            self.fail(ename, evalue);
        }
    }

    /// Answers a request that its thread does not answer, begun or not. Later answers of that thread are dropped.
    pub fn give_up(&self, ename: &str, evalue: &str) {
        match self.state.load(Ordering::Acquire) {
            // Its subshell aborts it.
            QUEUED if !self.may_begin() => {}
            QUEUED => self.refuse(ename, evalue),
            BEGUN => self.fail(ename, evalue),
            _ => {}
        }
    }

    /// Whether it has ended, or only its reply is held back.
    pub fn has_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) >= FAILED
    }

    fn fail(&self, ename: &str, evalue: &str) {
        let traceback = vec![format!("{ename}: {evalue}")];
        if self.execute.as_ref().is_some_and(|execute| !execute.silent) {
            let error =
                Error { ename: ename.to_owned(), evalue: evalue.to_owned(), traceback: traceback.clone() };
            self.publisher.content(&self.job.parent, &error);
        }
        self.reply_error(ename, evalue, traceback);
        self.finish(ReplyStatus::Error);
    }

    /// Answers a request that needs no Python: busy, the reply, idle.
    pub fn answer(&self, content: &impl serde::Serialize) {
        self.answer_with(to_json(content));
    }

    /// Like [`Request::answer`], with a content that is JSON already.
    pub fn answer_with(&self, content: Vec<u8>) {
        if self.may_begin() && self.start(true) {
            self.reply(content, None, Vec::new());
            self.finish(ReplyStatus::Ok);
        }
    }

    fn move_on(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The duty of a thread to answer a request. Dropping it unfinished answers with an error: no client waits without end
/// because a thread has ended.
pub struct Assignment(Arc<Request>);

impl Assignment {
    /// The duty to answer `request`.
    pub fn new(request: Arc<Request>) -> Self {
        Self(request)
    }

    /// Shares the request, without the duty to answer it.
    pub fn share(&self) -> Arc<Request> {
        self.0.clone()
    }
}

impl Deref for Assignment {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.0
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        self.give_up("CallerStopped", "the thread that was to answer this request has ended");
    }
}
