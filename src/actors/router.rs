//! The router: every request to the actor that answers it.

use std::sync::Arc;

use actix::prelude::*;
use tracing::warn;

use super::caller::{Caller, Post};
use super::comms::{CommEvent, Comms, Describe};
use super::lifecycle::{Interrupt, Lifecycle, Shutdown};
use super::socket::{Inbound, Passed};
use super::subshell::Subshell;
use crate::job::{Channel, Job};
use crate::os::usage::Usage;
use crate::publisher::Publisher;
use crate::request::Request;
use crate::wire::MessageType;
use crate::wire::content::{
    self, CommClose, CommOpen, ConnectReply, ExecuteRequest, ExecutionState, KernelInfoReply,
};

/// Sends each [`Job`] on by message type, channel and subshell, and answers itself what needs neither
/// Python nor another actor's state. There is one for the shell channel, and one for control on the
/// control thread.
pub struct Router {
    routes: Routes,
    facts: Arc<Facts>,
    publisher: Publisher,
    usage: Usage,
}

/// Where jobs go.
#[derive(Clone)]
pub struct Routes {
    /// The main shell's queue.
    pub main: Addr<Subshell>,
    /// The Caller of the main thread: cells, comms.
    pub shell: Addr<Caller>,
    /// Its child: completion, inspection, history, which are answered while a cell runs.
    pub control: Addr<Caller>,
    /// The open comms.
    pub comms: Addr<Comms>,
    /// Interrupt and shutdown.
    pub lifecycle: Addr<Lifecycle>,
}

/// What never changes while the kernel runs.
pub struct Facts {
    /// What this kernel is.
    pub kernel_info: KernelInfoReply,
    /// The ports it listens on.
    pub connect: ConnectReply,
}

impl Router {
    /// A router with these routes.
    pub fn new(routes: Routes, facts: Arc<Facts>, publisher: Publisher) -> Self {
        Self { routes, facts, publisher, usage: Usage::new() }
    }

    fn route(&mut self, job: Job) {
        if let Err(problem) = content::check(&job.kind, &job.content) {
            let message = format!("the content of this {} cannot be read: {problem}", job.kind);
            warn!(kind = %job.kind, %problem, "a request with malformed content was refused");
            return self.request(job).refuse("InvalidRequest", &message);
        }
        let Routes { main, shell, control, comms, lifecycle } = &self.routes;
        match job.kind {
            MessageType::ExecuteRequest if job.channel == Channel::Control => self.execute_on_control(job),
            MessageType::ExecuteRequest => match &job.header.subshell_id {
                None => main.do_send(job),
                Some(id) => {
                    let message = format!("there is no subshell {id:?}");
                    self.request(job).refuse("UnknownSubshell", &message);
                }
            },
            MessageType::CommOpen | MessageType::CommMsg | MessageType::CommClose => {
                if let Some(event) = comm_event(&job.kind, &job.content) {
                    comms.do_send(event);
                }
                shell.do_send(job);
            }
            MessageType::CompleteRequest
            | MessageType::InspectRequest
            | MessageType::IsCompleteRequest
            | MessageType::HistoryRequest => control.do_send(job),
            MessageType::KernelInfoRequest => self.request(job).answer(&self.facts.kernel_info),
            MessageType::ConnectRequest => self.request(job).answer(&self.facts.connect),
            MessageType::CommInfoRequest => comms.do_send(Describe(job)),
            MessageType::InterruptRequest => lifecycle.do_send(Interrupt(job)),
            MessageType::ShutdownRequest => lifecycle.do_send(Shutdown(job)),
            MessageType::UsageRequest => {
                let usage = self.usage.measure();
                self.request(job).answer(&usage);
            }
            MessageType::DebugRequest => self.refuse_debugging(job),
            _ => self.refuse_unknown(job),
        }
    }

    /// A cell on the control channel runs on the control Caller's thread, beside the queues.
    fn execute_on_control(&self, job: Job) {
        if let Ok(content) = serde_json::from_slice::<ExecuteRequest>(&job.content) {
            let request = Request::execute(job, content, self.publisher.clone(), None);
            self.routes.control.do_send(Post(Arc::new(request)));
        }
    }

    /// There is no debugger yet, and kernel info says so; a client that asks all the same is told in the
    /// form that the Debug Adapter Protocol has for it.
    fn refuse_debugging(&self, job: Job) {
        #[derive(serde::Deserialize)]
        struct DapRequest {
            #[serde(default)]
            seq: i64,
            #[serde(default)]
            command: String,
        }
        let Ok(DapRequest { seq, command }) = serde_json::from_slice(&job.content) else {
            return self.request(job).refuse("InvalidRequest", "the debug_request has no DAP request");
        };
        self.request(job).answer(&serde_json::json!({
            "type": "response",
            "seq": seq,
            "request_seq": seq,
            "command": command,
            "success": false,
            "message": "callboard has no debugger yet",
        }));
    }

    fn refuse_unknown(&self, job: Job) {
        warn!(kind = %job.kind, channel = job.channel.as_str(), "a message of an unknown type came in");
        if job.kind.reply().is_some() {
            let message =
                format!("callboard does not know {} on the {} channel", job.kind, job.channel.as_str());
            self.request(job).refuse("UnknownMessageType", &message);
        } else {
            // No reply is known, but clients wait for idle.
            self.publisher.status(&job.parent, ExecutionState::Busy);
            self.publisher.status(&job.parent, ExecutionState::Idle);
        }
    }

    fn request(&self, job: Job) -> Request {
        Request::new(job, self.publisher.clone())
    }
}

/// What a comm message says about which comms are open.
pub fn comm_event(kind: &MessageType, content: &[u8]) -> Option<CommEvent> {
    match kind {
        MessageType::CommOpen => {
            let CommOpen { comm_id, target_name, .. } = serde_json::from_slice(content).ok()?;
            Some(CommEvent::Opened { comm_id, target_name })
        }
        MessageType::CommClose => {
            let CommClose { comm_id, .. } = serde_json::from_slice(content).ok()?;
            Some(CommEvent::Closed { comm_id })
        }
        _ => None,
    }
}

impl Actor for Router {
    type Context = Context<Self>;
}

impl Handler<Inbound> for Router {
    type Result = ();

    fn handle(&mut self, inbound: Inbound, _: &mut Self::Context) {
        match inbound {
            Inbound::Job(job) => self.route(job),
            // The asker is a subshell: jobs for it went the same way before.
            Inbound::Barrier(asker) => asker.do_send(Passed),
        }
    }
}
