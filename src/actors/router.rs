//! The router: sends every request to the actor that answers it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use chrono::Utc;
use tracing::{debug, warn};

use super::caller::{CallerHandle, Dispatch, DispatchToChild, WhenEnded};
use super::claims::Claims;
use super::comms::{CommEvent, Comms, Describe};
use super::debugger::{Debug, Debugger};
use super::lifecycle::{Interrupt, Lifecycle, Shutdown};
use super::socket::{Inbound, Passed};
use super::subshell::{Cell, Close, Settle, Subshell};
use super::subshells::{
    CreateSubshell, DeleteSubshell, ListSubshells, Manage, SettleAll, Shell, SubshellError, Subshells,
};
use crate::delivery::job::{Channel, Job};
use crate::delivery::pending::Outcome;
use crate::delivery::request::Request;
use crate::os::usage::{HostMemory, Meter, Usage};
use crate::publisher::{Busy, Publisher};
use crate::wire::MessageType;
use crate::wire::content::{
    self, Checked, ConnectReply, ExecuteRequest, HostVirtualMemory, KernelInfoReply, UsageReply, reply,
};
use crate::wire::run_mode::RunMode;
use crate::wire::sanitize::clipped;

/// Sends each [`Job`] on by message type, channel, subshell and run mode, and answers requests that need neither Python
/// nor the state of another actor. One serves the shell channel and knows the subshells, one control, on the control
/// thread.
pub struct Router {
    routes: Routes,
    registry: Registry,
    facts: Arc<KernelFacts>,
    publisher: Publisher,
    meter: Meter,
}

/// Where the subshells are registered.
pub enum Registry {
    /// With this router.
    Here(Subshells),
    /// With the router of the shell channel.
    At(Recipient<Manage>),
}

/// Where jobs go.
#[derive(Clone)]
pub struct Routes {
    /// The main shell's queue.
    pub main: Addr<Subshell>,
    /// The Caller of the main thread: cells, comms.
    pub shell: CallerHandle,
    /// Its child: completion, inspection, history, also while a cell runs. Starts the threads of further Callers.
    pub control: CallerHandle,
    /// The open comms.
    pub comms: Addr<Comms>,
    /// Debugging.
    pub debugger: Addr<Debugger>,
    /// Interrupt and shutdown.
    pub lifecycle: Addr<Lifecycle>,
    /// What goes to handlers of Python code instead.
    pub claims: Arc<Claims>,
    /// Comm messages that name a subshell are handled in its thread, and not in the main shell's. May change at any time.
    pub comms_in_subshells: Arc<AtomicBool>,
}

/// What does not change while the kernel runs.
pub struct KernelFacts {
    /// What this kernel is.
    pub kernel_info: KernelInfoReply,
    /// The ports it listens on.
    pub connect: ConnectReply,
}

impl KernelFacts {
    /// Whether kernel info names subshells.
    pub fn offers_subshells(&self) -> bool {
        self.kernel_info.supported_features.iter().any(|feature| feature == SUBSHELLS)
    }
}

/// The name of subshells in kernel info (JEP 91).
pub const SUBSHELLS: &str = "kernel subshells";

impl Router {
    /// A router with these routes.
    pub fn new(routes: Routes, registry: Registry, facts: Arc<KernelFacts>, publisher: Publisher) -> Self {
        Self { routes, registry, facts, publisher, meter: Meter::new() }
    }

    /// Sends a message on, or to the handler of Python code that has claimed its type.
    fn admit(&mut self, job: Job) {
        let Routes { claims, shell, control, .. } = &self.routes;
        if claims.has(job.channel, &job.kind) {
            let caller = if job.channel == Channel::Control { control } else { shell };
            return caller.addr.do_send(Dispatch(Arc::new(self.request(job))));
        }
        self.route(job);
    }

    fn route(&mut self, job: Job) {
        if job.kind == MessageType::DebugRequest {
            // Also malformed ones: they are answered in the form of their own protocol.
            return self.routes.debugger.do_send(Debug(job));
        }
        let content = match content::check(&job.kind, &job.content) {
            Ok(content) => content,
            Err(problem) => {
                let kind = clipped(job.kind.as_str());
                let message = format!("the content of this {kind} cannot be read: {problem}");
                warn!(kind, %problem, "a request with malformed content was refused");
                return self.request(job).refuse("InvalidRequest", &message);
            }
        };
        let Routes { comms, lifecycle, .. } = &self.routes;
        match content {
            Checked::Execute(content) => self.execute(job, content),
            Checked::CommOpen { .. } | Checked::CommClose { .. } => {
                if let Some(event) = CommEvent::of(content) {
                    comms.do_send(event);
                }
                self.dispatch_comm(job);
            }
            Checked::CommInfo(content) => comms.do_send(Describe { job, content }),
            Checked::Subshells(content) => self.manage_subshells(Manage { job, content }),
            Checked::Shutdown(content) => lifecycle.do_send(Shutdown { job, content }),
            Checked::InputReply(_) => self.refuse_unknown(job),
            Checked::Raw => self.route_raw(job),
        }
    }

    /// Routes a request of whose content the kernel itself reads nothing.
    fn route_raw(&mut self, job: Job) {
        let Routes { control, lifecycle, .. } = &self.routes;
        match job.kind {
            MessageType::CommMsg => self.dispatch_comm(job),
            MessageType::CompleteRequest
            | MessageType::InspectRequest
            | MessageType::IsCompleteRequest
            | MessageType::HistoryRequest => control.addr.do_send(Dispatch(Arc::new(self.request(job)))),
            MessageType::KernelInfoRequest => self.request(job).answer(&self.facts.kernel_info),
            MessageType::ConnectRequest => self.request(job).answer(&self.facts.connect),
            MessageType::InterruptRequest => lifecycle.do_send(Interrupt(job)),
            MessageType::UsageRequest => {
                let usage = usage_reply(self.meter.measure());
                self.request(job).answer(&usage);
            }
            _ => self.refuse_unknown(job),
        }
    }

    /// Sends a message of a comm to the main shell, or to the subshell that it names if that is wanted.
    fn dispatch_comm(&self, job: Job) {
        let in_subshells = self.routes.comms_in_subshells.load(Ordering::Relaxed);
        let named = job.subshell_id.as_deref().filter(|_| in_subshells);
        let caller =
            named.and_then(|id| self.subshell(id).ok()).map_or(&self.routes.shell, |shell| &shell.caller);
        caller.addr.do_send(Dispatch(Arc::new(self.request(job))));
    }

    fn manage_subshells(&mut self, request: Manage) {
        match &mut self.registry {
            Registry::Here(subshells) => subshells.manage(request),
            Registry::At(router) => router.do_send(request),
        }
    }

    /// Sends a cell to the queue of its subshell, or to a Caller beside all queues. The control channel has no queue: its
    /// cells run on the thread of the Caller `Control`.
    fn execute(&self, job: Job, content: ExecuteRequest) {
        let Routes { main, shell, control, .. } = &self.routes;
        let mode = RunMode::of(job.run_mode.as_ref(), &job.read_metadata, &content.code, content.silent);
        let (queue, caller) = match (&job.subshell_id, job.channel) {
            (_, Channel::Control) => (None, Ok(control)),
            (None, _) => (Some(main), Ok(shell)),
            (Some(id), _) => match self.subshell(id) {
                Ok(shell) => (Some(&shell.queue), Ok(&shell.caller)),
                Err(problem) => (None, Err(problem)),
            },
        };
        if let (Some(queue), Ok(_), Ok(RunMode::Queue)) = (queue, &caller, &mode) {
            return queue.do_send(Cell { job, content });
        }
        let request = Arc::new(Request::execute(job, content, self.publisher.clone(), None));
        match (caller, mode) {
            (Err(problem), _) => request.refuse("UnknownSubshellError", &problem.to_string()),
            (_, Err(problem)) => request.refuse("RunModeError", &problem.to_string()),
            (_, Ok(RunMode::Thread(options))) => shell.addr.do_send(DispatchToChild(request, options)),
            (Ok(caller), Ok(RunMode::Queue | RunMode::Task)) => caller.addr.do_send(Dispatch(request)),
        }
    }

    fn subshell(&self, id: &str) -> Result<&Shell, SubshellError> {
        match &self.registry {
            Registry::Here(subshells) => subshells.find(id),
            Registry::At(_) => Err(SubshellError::Unknown(id.to_owned())),
        }
    }

    fn refuse_unknown(&self, job: Job) {
        let (kind, channel) = (clipped(job.kind.as_str()), job.channel.as_str());
        warn!(kind, channel, "a message of an unknown type came in");
        if job.kind.reply().is_some() {
            let message = format!("callboard does not know {kind} on the {channel} channel");
            self.request(job).refuse("UnknownMessageType", &message);
        } else {
            // There is no reply, but clients wait for idle.
            let busy = Busy { since: Utc::now(), runs_code: false, has_more: true };
            self.publisher.busy(&job.parent, busy);
            self.publisher.idle(&job.parent);
        }
    }

    fn request(&self, job: Job) -> Request {
        Request::new(job, self.publisher.clone())
    }
}

fn usage_reply(usage: Usage) -> UsageReply {
    let HostMemory { total, available, percent, used, free } = usage.host_memory;
    UsageReply {
        status: reply::Ok,
        hostname: usage.hostname,
        pid: usage.pid,
        kernel_cpu: usage.cpu,
        kernel_memory: usage.memory,
        host_cpu_percent: usage.host_cpu,
        cpu_count: usage.cpu_count,
        host_virtual_memory: HostVirtualMemory { total, available, percent, used, free },
    }
}

impl Actor for Router {
    type Context = Context<Self>;
}

impl Handler<Manage> for Router {
    type Result = ();

    fn handle(&mut self, request: Manage, _: &mut Self::Context) {
        self.manage_subshells(request);
    }
}

impl Handler<CreateSubshell> for Router {
    type Result = ();

    fn handle(&mut self, CreateSubshell(answer): CreateSubshell, _: &mut Self::Context) {
        // Only the router of the shell channel is asked, and it has them.
        let Registry::Here(subshells) = &mut self.registry else {
            return;
        };
        let made = subshells.create();
        let id = made.as_ref().ok().cloned();
        // The thread that asked may have been interrupted: it would never use or delete the subshell.
        if answer.send(made).is_err()
            && let Some(id) = id
            && let Err(problem) = subshells.delete(&id)
        {
            debug!(%problem, "a new subshell that nothing uses is gone already");
        }
    }
}

impl Handler<DeleteSubshell> for Router {
    type Result = ();

    fn handle(&mut self, DeleteSubshell { id, promise }: DeleteSubshell, _: &mut Self::Context) {
        let Registry::Here(subshells) = &mut self.registry else {
            return;
        };
        match subshells.delete(&id) {
            Ok(caller) => caller.addr.do_send(WhenEnded(promise)),
            Err(problem) => {
                let (ename, evalue) = ("UnknownSubshellError".to_owned(), problem.to_string());
                promise.complete(Outcome::Lost { ename, evalue });
            }
        }
    }
}

impl Handler<ListSubshells> for Router {
    type Result = ();

    fn handle(&mut self, ListSubshells(answer): ListSubshells, _: &mut Self::Context) {
        if let Registry::Here(subshells) = &self.registry
            && answer.send(subshells.ids()).is_err()
        {
            debug!("the thread that asked for the subshells waits no more");
        }
    }
}

/// Aborts the queued cells of all shells and every one that still comes: the kernel is ending.
impl Handler<Close> for Router {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Self::Context) {
        self.routes.main.do_send(Close);
        if let Registry::Here(subshells) = &mut self.registry {
            subshells.close();
        }
    }
}

/// A request to be answered although its type is claimed: the handler that has claimed it wants that.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Answer(pub Job);

impl Handler<Answer> for Router {
    type Result = ();

    fn handle(&mut self, Answer(job): Answer, _: &mut Self::Context) {
        self.route(job);
    }
}

impl Handler<SettleAll> for Router {
    type Result = ();

    fn handle(&mut self, SettleAll(asker): SettleAll, _: &mut Self::Context) {
        let others = match &self.registry {
            Registry::Here(subshells) => subshells.queues().collect(),
            Registry::At(_) => Vec::new(),
        };
        self.routes.main.do_send(Settle { asker, others });
    }
}

impl Handler<Inbound> for Router {
    type Result = ();

    fn handle(&mut self, inbound: Inbound, _: &mut Self::Context) {
        match inbound {
            Inbound::Job(job) => self.admit(job),
            // The subshell that asked got its jobs on the same way before.
            Inbound::Barrier(asker) => asker.do_send(Passed),
        }
    }
}
