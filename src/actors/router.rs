//! The router: every request to the actor that answers it.

use std::sync::{Arc, mpsc};

use actix::prelude::*;
use thiserror::Error;
use tracing::{debug, warn};

use super::caller::{
    Adopt, Caller, CallerError, CallerHandle, Dispatch, DispatchToChild, Role, Spec, Task, ThreadEnded,
    WhenEnded,
};
use super::comms::{CommEvent, Comms, Describe};
use super::lifecycle::{Interrupt, Lifecycle, Shutdown};
use super::socket::{Barrier, Inbound, Passed};
use super::subshell::{Close, Delete, Settle, Subshell};
use crate::delivery::job::{Channel, Job};
use crate::delivery::pending::{Outcome, Promise};
use crate::delivery::request::Request;
use crate::os::usage::Usage;
use crate::publisher::Publisher;
use crate::wire::MessageType;
use crate::wire::content::{
    self, CommClose, CommOpen, ConnectReply, CreateSubshellReply, DeleteSubshellReply, DeleteSubshellRequest,
    ExecuteRequest, ExecutionState, KernelInfoReply, ListSubshellReply, reply,
};
use crate::wire::run_mode::RunMode;
use crate::wire::sanitize::{clipped, quoted};

/// Sends each [`Job`] on by message type, channel, subshell and run mode, and answers itself what needs neither
/// Python nor another actor's state. There is one for the shell channel, which knows the subshells, and one for
/// control on the control thread.
pub struct Router {
    routes: Routes,
    subshells: Subshells,
    facts: Arc<KernelFacts>,
    publisher: Publisher,
    usage: Usage,
    closing: bool,
}

/// Who knows the subshells.
pub enum Subshells {
    /// This router.
    Here {
        /// Those there are, in the order they were made.
        all: Vec<Shell>,
        /// The shell socket, which knows what has arrived.
        socket: Recipient<Barrier>,
    },
    /// The router of the shell channel.
    At(Addr<Router>),
}

/// A subshell and the thread that runs its cells.
#[derive(Clone)]
pub struct Shell {
    id: String,
    queue: Addr<Subshell>,
    caller: CallerHandle,
}

/// Where jobs go.
#[derive(Clone)]
pub struct Routes {
    /// The main shell's queue.
    pub main: Addr<Subshell>,
    /// The Caller of the main thread: cells, comms.
    pub shell: CallerHandle,
    /// Its child: completion, inspection, history, which are answered while a cell runs. Starts the threads of
    /// further Callers.
    pub control: CallerHandle,
    /// The open comms.
    pub comms: Addr<Comms>,
    /// Interrupt and shutdown.
    pub lifecycle: Addr<Lifecycle>,
}

/// What never changes while the kernel runs.
pub struct KernelFacts {
    /// What this kernel is.
    pub kernel_info: KernelInfoReply,
    /// The ports it listens on.
    pub connect: ConnectReply,
    /// Comm messages that name a subshell are handled in its thread, and not in the main shell's.
    pub comms_in_subshells: bool,
}

impl KernelFacts {
    fn offers_subshells(&self) -> bool {
        self.kernel_info.supported_features.iter().any(|feature| feature == SUBSHELLS)
    }
}

/// What kernel info calls subshells (JEP 91).
pub const SUBSHELLS: &str = "kernel subshells";

impl Router {
    /// A router with these routes.
    pub fn new(routes: Routes, subshells: Subshells, facts: Arc<KernelFacts>, publisher: Publisher) -> Self {
        Self { routes, subshells, facts, publisher, usage: Usage::new(), closing: false }
    }

    fn route(&mut self, job: Job) {
        if let Err(problem) = content::check(&job.kind, &job.content) {
            let kind = clipped(job.kind.as_str());
            let message = format!("the content of this {kind} cannot be read: {problem}");
            warn!(kind, %problem, "a request with malformed content was refused");
            return self.request(job).refuse("InvalidRequest", &message);
        }
        let Routes { shell, control, comms, lifecycle, .. } = &self.routes;
        match job.kind {
            MessageType::ExecuteRequest => self.execute(job),
            MessageType::CommOpen | MessageType::CommMsg | MessageType::CommClose => {
                if let Some(event) = comm_event(&job.kind, &job.content) {
                    comms.do_send(event);
                }
                let named = job.header.subshell_id.as_deref().filter(|_| self.facts.comms_in_subshells);
                let caller = named.and_then(|id| self.subshell(id)).map_or(shell, |shell| &shell.caller);
                caller.addr.do_send(Dispatch(Arc::new(self.request(job))));
            }
            MessageType::CompleteRequest
            | MessageType::InspectRequest
            | MessageType::IsCompleteRequest
            | MessageType::HistoryRequest => control.addr.do_send(Dispatch(Arc::new(self.request(job)))),
            MessageType::CreateSubshellRequest
            | MessageType::DeleteSubshellRequest
            | MessageType::ListSubshellRequest => match &self.subshells {
                Subshells::At(router) => router.do_send(Inbound::Job(job)),
                Subshells::Here { .. } => self.manage_subshells(job),
            },
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

    /// A cell goes to the queue of its subshell, or to a Caller beside all queues. On the control channel there
    /// is no queue: cells run on the control Caller's thread.
    fn execute(&self, job: Job) {
        let content = match serde_json::from_slice::<ExecuteRequest>(&job.content) {
            Ok(content) => content,
            Err(problem) => return self.request(job).refuse("InvalidRequest", &problem.to_string()),
        };
        let Routes { main, shell, control, .. } = &self.routes;
        let header = job.header.run_mode.as_ref();
        let mode = RunMode::of(header, &job.metadata, &content.code, content.silent);
        let (queue, caller) = match (&job.header.subshell_id, job.channel) {
            (_, Channel::Control) => (None, Ok(control)),
            (None, _) => (Some(main), Ok(shell)),
            (Some(id), _) => match self.subshell(id) {
                Some(shell) => (Some(&shell.queue), Ok(&shell.caller)),
                None => (None, Err(unknown_subshell(id))),
            },
        };
        if let (Some(queue), Ok(_), Ok(RunMode::Queue)) = (queue, &caller, &mode) {
            return queue.do_send(job);
        }
        let request = Arc::new(Request::execute(job, content, self.publisher.clone(), None));
        match (caller, mode) {
            (Err(message), _) => request.refuse("UnknownSubshell", &message),
            (_, Err(problem)) => request.refuse("RunModeError", &problem.to_string()),
            (_, Ok(RunMode::Thread(options))) => shell.addr.do_send(DispatchToChild(request, options)),
            (Ok(caller), Ok(RunMode::Queue | RunMode::Task)) => caller.addr.do_send(Dispatch(request)),
        }
    }

    fn subshell(&self, id: &str) -> Option<&Shell> {
        match &self.subshells {
            Subshells::Here { all, .. } => all.iter().find(|shell| shell.id == id),
            Subshells::At(_) => None,
        }
    }

    /// Makes, deletes or lists subshells (JEP 91).
    fn manage_subshells(&mut self, job: Job) {
        if !self.facts.offers_subshells() {
            return self.request(job).refuse("NoSubshells", &SubshellError::Off.to_string());
        }
        let kind = job.kind.clone();
        let deleted = serde_json::from_slice::<DeleteSubshellRequest>(&job.content);
        let request = self.request(job);
        match (kind, deleted) {
            (MessageType::CreateSubshellRequest, _) => match self.create_subshell() {
                Ok(subshell_id) => request.answer(&CreateSubshellReply { status: reply::Ok, subshell_id }),
                Err(problem) => request.refuse("CallerError", &problem.to_string()),
            },
            (MessageType::DeleteSubshellRequest, Ok(DeleteSubshellRequest { subshell_id })) => {
                if self.delete_subshell(&subshell_id).is_some() {
                    request.answer(&DeleteSubshellReply { status: reply::Ok });
                } else {
                    request.refuse("UnknownSubshell", &unknown_subshell(&subshell_id));
                }
            }
            _ => request.answer(&ListSubshellReply { status: reply::Ok, subshell_id: self.subshell_ids() }),
        }
    }

    fn subshell_ids(&self) -> Vec<String> {
        match &self.subshells {
            Subshells::Here { all, .. } => all.iter().map(|shell| shell.id.clone()).collect(),
            Subshells::At(_) => Vec::new(),
        }
    }

    fn create_subshell(&mut self) -> Result<String, SubshellError> {
        if !self.facts.offers_subshells() {
            return Err(SubshellError::Off);
        }
        let Routes { shell, control, .. } = &self.routes;
        let Subshells::Here { all, socket } = &mut self.subshells else {
            return Err(SubshellError::Ending);
        };
        if self.closing {
            return Err(SubshellError::Ending);
        }
        let id = uuid::Uuid::new_v4().to_string();
        let name = format!("Subshell {}", id.split('-').next().unwrap_or(&id));
        let spec = Spec {
            backend: shell.spec.backend,
            use_uvloop: shell.spec.use_uvloop,
            parent: Some(shell.spec.id),
            ..Spec::new(&name, Role::Subshell(id.clone()))
        };
        let caller = Caller::launch(spec, Some(control.inbox.clone()), Some(shell.addr.clone()))?;
        shell.addr.do_send(Adopt(caller.clone()));
        if control.inbox.push(Task::Start(caller.clone())).is_err() {
            caller.addr.do_send(ThreadEnded);
            return Err(SubshellError::Ending);
        }
        let (publisher, socket) = (self.publisher.clone(), socket.clone());
        let handle = caller.clone();
        let queue = Subshell::create(|ctx| Subshell::new(false, handle, publisher, socket, ctx));
        all.push(Shell { id: id.clone(), queue, caller });
        Ok(id)
    }

    /// The Caller of the subshell, if there was one with this id.
    fn delete_subshell(&mut self, id: &str) -> Option<CallerHandle> {
        let Subshells::Here { all, .. } = &mut self.subshells else {
            return None;
        };
        let at = all.iter().position(|shell| shell.id == id)?;
        let Shell { queue, caller, .. } = all.remove(at);
        queue.do_send(Delete { canceller: self.routes.control.inbox.clone() });
        Some(caller)
    }

    /// The queues of all shells, the main one first.
    fn queues(&self) -> Vec<Addr<Subshell>> {
        let mut queues = vec![self.routes.main.clone()];
        if let Subshells::Here { all, .. } = &self.subshells {
            queues.extend(all.iter().map(|shell| shell.queue.clone()));
        }
        queues
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
        let (kind, channel) = (clipped(job.kind.as_str()), job.channel.as_str());
        warn!(kind, channel, "a message of an unknown type came in");
        if job.kind.reply().is_some() {
            let message = format!("callboard does not know {kind} on the {channel} channel");
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

/// Why there is no new subshell.
#[derive(Debug, Error)]
pub enum SubshellError {
    /// By the kernel's options.
    #[error("subshells are switched off: start the kernel without --no-subshells")]
    Off,
    /// The kernel has been closed.
    #[error("the kernel is ending: it makes no more subshells")]
    Ending,
    /// Its Caller cannot be made.
    #[error(transparent)]
    Caller(#[from] CallerError),
}

/// Make a subshell, and say its id: as `create_subshell_request` does, for Python.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CreateSubshell(pub mpsc::Sender<Result<String, SubshellError>>);

impl Handler<CreateSubshell> for Router {
    type Result = ();

    fn handle(&mut self, CreateSubshell(answer): CreateSubshell, _: &mut Self::Context) {
        let made = self.create_subshell();
        let id = made.as_ref().ok().cloned();
        // Whoever asked may have been interrupted: nobody would ever use or delete it.
        if answer.send(made).is_err()
            && let Some(id) = id
        {
            self.delete_subshell(&id);
        }
    }
}

/// Delete a subshell as `delete_subshell_request` does, for Python: the promise is kept when its thread has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DeleteSubshell {
    /// Which.
    pub id: String,
    /// Completed when its thread has ended; lost if there is no such subshell.
    pub promise: Promise,
}

impl Handler<DeleteSubshell> for Router {
    type Result = ();

    fn handle(&mut self, DeleteSubshell { id, promise }: DeleteSubshell, _: &mut Self::Context) {
        match self.delete_subshell(&id) {
            Some(caller) => caller.addr.do_send(WhenEnded(promise)),
            None => {
                let (ename, evalue) = ("UnknownSubshell".to_owned(), unknown_subshell(&id));
                promise.complete(Outcome::Lost { ename, evalue });
            }
        }
    }
}

/// The ids of the subshells, for Python.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ListSubshells(pub mpsc::Sender<Vec<String>>);

impl Handler<ListSubshells> for Router {
    type Result = ();

    fn handle(&mut self, ListSubshells(answer): ListSubshells, _: &mut Self::Context) {
        if answer.send(self.subshell_ids()).is_err() {
            debug!("nobody waits for the subshells any more");
        }
    }
}

/// Abort the queued cells of all shells, and every one that still comes in: the kernel is ending.
impl Handler<Close> for Router {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Self::Context) {
        self.closing = true;
        for queue in self.queues() {
            queue.do_send(Close);
        }
    }
}

/// Asks for a [`Passed`] when the replies of all cells that have ended by now are with the socket.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SettleAll(pub Recipient<Passed>);

impl Handler<SettleAll> for Router {
    type Result = ();

    fn handle(&mut self, SettleAll(asker): SettleAll, _: &mut Self::Context) {
        let mut others = self.queues();
        let main = others.remove(0);
        main.do_send(Settle { asker, others });
    }
}

fn unknown_subshell(id: &str) -> String {
    format!("there is no subshell {}: it was deleted, or is another kernel's", quoted(id))
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
