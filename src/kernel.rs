//! Puts the actors together and starts their threads.
// Longer than 400 lines: every actor and every option is named here once.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actix::prelude::*;
use thiserror::Error;
use tracing::{error, warn};

use crate::actors::caller::{Adopt, Caller, CallerError, CallerHandle, Role, Spec, Task, make_home};
use crate::actors::claims::Claims;
use crate::actors::comms::{CommEvent, Comms};
use crate::actors::debugger::{CellFolder, Debugger, python_side};
use crate::actors::heartbeat::Heartbeat;
use crate::actors::iopub::{Drain, IoPub};
use crate::actors::lifecycle::{Lifecycle, ParentEnded};
use crate::actors::router::{Answer, KernelFacts, Registry, Router, Routes};
use crate::actors::signal::Signal;
use crate::actors::socket::{Barrier, Socket};
use crate::actors::stdin::{Ask, Stdin, Withdraw};
use crate::actors::subshell::{Close, Subshell};
use crate::actors::subshells::{
    CreateSubshell, DeleteSubshell, ListSubshells, SettleAll, SubshellError, Subshells,
};
use crate::delivery::inbox::Inbox;
use crate::delivery::job::{Channel, Job, Reply};
use crate::delivery::pending::Promise;
use crate::os;
use crate::os::process::Process;
use crate::publisher::Publisher;
use crate::transport::{Endpoint, TransportError};
use crate::wire::run_mode::Backend;
use crate::wire::{Frames, Session, Verifier};

/// The five sockets of a kernel, bound and not yet served.
pub struct Sockets<E> {
    /// Requests.
    pub shell: E,
    /// Requests that must not wait.
    pub control: E,
    /// Prompts.
    pub stdin: E,
    /// Publications.
    pub iopub: E,
    /// Heartbeats.
    pub heartbeat: E,
}

/// What a kernel needs to know before it starts.
pub struct Options {
    /// Signs and verifies messages; from the connection file.
    pub key: Vec<u8>,
    /// The contents of answers that need no Python.
    pub facts: KernelFacts,
    /// How long Python has to end after a shutdown was asked for.
    pub shutdown_deadline: Duration,
    /// How long a client may leave iopub unread before output of cells is dropped.
    pub subscriber_patience: Duration,
    /// The process whose end ends the kernel.
    pub parent: Option<libc::pid_t>,
    /// Whether cells are told when memory is running out (on Linux).
    pub watch_memory: bool,
    /// What interrupt and the deadline act on.
    pub process: Box<dyn Process>,
    /// Whose event loop the main thread runs.
    pub backend: Backend,
    /// Whether comm messages that name a subshell are handled in its thread at first.
    pub comms_in_subshells: bool,
    /// How long the debugger in Python may take for an answer: an expression that a client evaluates may take long.
    pub debugger_patience: Duration,
    /// The folder of the files that cells are compiled as. It need not exist.
    pub cell_folder: PathBuf,
}

/// The system cannot give what a kernel needs.
#[derive(Debug, Error)]
pub enum StartError {
    /// No descriptor or no thread.
    #[error("the kernel cannot start: {0}. Raise the limits for open files and processes (ulimit -n, -u)")]
    Resources(#[from] std::io::Error),
    /// No Caller.
    #[error("the kernel cannot start: {0}")]
    Caller(#[from] CallerError),
    /// A bound socket cannot be served.
    #[error("a socket cannot be opened: {0}")]
    Socket(#[from] TransportError),
    /// The thread that serves the sockets ended before it was ready.
    #[error("the io thread ended before it was ready: its message is above")]
    Ended,
}

/// A running kernel, as the Python side sees it. Every method may be called from any thread, and none needs the GIL.
pub struct Kernel {
    /// Publishes on iopub.
    pub publisher: Publisher,
    /// The inbox of Python's main thread.
    pub shell: Arc<Inbox<Task>>,
    /// The inbox of the thread of the Control Caller.
    pub control: Arc<Inbox<Task>>,
    /// The Caller of Python's main thread.
    pub shell_caller: CallerHandle,
    /// Its child, which answers what editors ask and starts further Callers.
    pub control_caller: CallerHandle,
    /// Whether comm messages that name a subshell are handled in its thread, and not in the main shell's.
    pub comms_in_subshells: Arc<AtomicBool>,
    actors: Addresses,
    threads: Mutex<Option<Threads>>,
}

/// The threads that serve the sockets.
struct Threads {
    io: JoinHandle<()>,
    control: Arbiter,
}

#[derive(Clone)]
struct Addresses {
    comms: Addr<Comms>,
    stdin: Addr<Stdin>,
    shell: CallerHandle,
    control: CallerHandle,
    router: Addr<Router>,
    control_socket: Recipient<Barrier>,
    /// Where replies on shell and control go.
    replies: (Recipient<Reply>, Recipient<Reply>),
    claims: Arc<Claims>,
    facts: Arc<KernelFacts>,
    drain: Recipient<Drain>,
    system: System,
}

/// Starts the actors: shell, stdin and iopub on a thread of their own, control and heartbeat on another.
/// Returns when all of them are ready; Python may not be.
pub fn start<E: Endpoint>(sockets: Sockets<E>, options: Options) -> Result<Kernel, StartError> {
    let publisher = Publisher::new(Arc::new(Session::new(&options.key)));
    // The first message that is published.
    publisher.starting();
    let (ready, started) = mpsc::channel();
    let comms_in_subshells = Arc::new(AtomicBool::new(options.comms_in_subshells));
    let context = Assembly { publisher: publisher.clone(), comms_in_subshells: comms_in_subshells.clone() };
    let io = thread::Builder::new().name("callboard-io".into()).spawn(move || {
        os::panic::mark_thread();
        if let Err(error) = os::signals::block_all() {
            warn!(%error, "signals may reach a thread that is not Python's");
        }
        let runner = System::new();
        let assembled = runner.block_on(async { context.assemble(sockets, options) });
        let running = assembled.is_ok();
        if ready.send(assembled).is_ok()
            && running
            && let Err(error) = runner.run()
        {
            error!(%error, "the io thread ended");
        }
    })?;
    let (actors, control_thread) = started.recv().map_err(|_| StartError::Ended)??;
    let threads = Mutex::new(Some(Threads { io, control: control_thread }));
    let (shell_caller, control_caller) = (actors.shell.clone(), actors.control.clone());
    let (shell, control) = (shell_caller.inbox.clone(), control_caller.inbox.clone());
    Ok(Kernel {
        publisher,
        shell,
        control,
        shell_caller,
        control_caller,
        comms_in_subshells,
        actors,
        threads,
    })
}

/// What the actors share while they are put together.
struct Assembly {
    publisher: Publisher,
    comms_in_subshells: Arc<AtomicBool>,
}

impl Assembly {
    fn assemble<E: Endpoint>(
        self,
        sockets: Sockets<E>,
        options: Options,
    ) -> Result<(Addresses, Arbiter), StartError> {
        let Self { publisher, comms_in_subshells } = self;
        let Options { facts, shutdown_deadline, parent, watch_memory, process, key, backend, .. } = options;
        let facts = Arc::new(facts);
        let verifier = Arc::new(Verifier::new(&key));

        // Control: a thread of its own, because actix drains a mailbox without a budget.
        let second = Arbiter::new();
        second.spawn_fn(os::panic::mark_thread);
        let on_control = second.handle();

        let iopub = IoPub::new(sockets.iopub.open()?, publisher.clone(), options.subscriber_patience).start();
        let comms = Comms::new(publisher.clone()).start();

        let stdin_context = Context::new();
        let stdin_socket = Socket::new(
            Channel::Stdin,
            sockets.stdin.open()?,
            verifier.clone(),
            stdin_context.address().recipient(),
        );
        let stdin = stdin_context.run(Stdin::new(publisher.clone(), stdin_socket.start().recipient()));

        make_home();
        let shell_spec = Spec { backend, ..Spec::new("Shell", Role::Kernel) };
        let control_spec = Spec { parent: Some(shell_spec.id), ..Spec::new("Control", Role::Kernel) };
        let control = Caller::launch(control_spec, None, None)?;
        let shell = Caller::launch(shell_spec, Some(control.inbox.clone()), None)?;
        shell.addr.do_send(Adopt(control.clone()));

        let shell_transport = sockets.shell.open()?;
        let shell_context = Context::new();
        let socket: Recipient<Barrier> = shell_context.address().recipient();
        let shell_replies = shell_context.address().recipient();
        let main = Subshell::create(|ctx| {
            Subshell::new(true, shell.clone(), publisher.clone(), socket.clone(), ctx)
        });
        let inbound = Context::new();
        let router: Addr<Router> = inbound.address();

        let shells = router.clone().recipient();
        let to_python = python_side(shell.clone(), control.clone());
        let (cells, patience) = (CellFolder::new(options.cell_folder), options.debugger_patience);
        let debugger = Debugger::new(publisher.clone(), to_python, cells, patience);
        let debugger = Debugger::start_in_arbiter(&on_control, |_| debugger);
        let lifecycle =
            Lifecycle::new(publisher.clone(), process, shells, shell.addr.clone(), shutdown_deadline);
        let lifecycle = Lifecycle::start_in_arbiter(&on_control, |_| lifecycle);
        if watch_memory {
            watch_memory_for(&lifecycle, &second);
        }
        if let Some(pid) = parent {
            let lifecycle = lifecycle.clone();
            second.spawn(async move {
                match os::parent::ended(pid).await {
                    Ok(()) => lifecycle.do_send(ParentEnded),
                    Err(error) => {
                        warn!(%error, pid, "the process that JPY_PARENT_PID names cannot be watched");
                    }
                }
            });
        }

        let claims = Arc::new(Claims::default());
        let where_to = Routes {
            main,
            shell: shell.clone(),
            control: control.clone(),
            comms: comms.clone(),
            debugger,
            lifecycle,
            claims: claims.clone(),
            comms_in_subshells,
        };
        let allowed = facts.offers_subshells();
        let subshells = Subshells::new(shell.clone(), control.clone(), publisher.clone(), socket, allowed);
        let registry = Registry::Here(subshells);
        inbound.run(Router::new(where_to.clone(), registry, facts.clone(), publisher.clone()));
        let jobs = router.clone().recipient();
        shell_context.run(Socket::new(Channel::Shell, shell_transport, verifier.clone(), jobs));

        let (opened, result) = mpsc::channel();
        let control_router =
            Router::new(where_to, Registry::At(router.clone().recipient()), facts.clone(), publisher.clone());
        let (control_socket, heartbeat) = (sockets.control, sockets.heartbeat);
        second.spawn_fn(move || {
            let open = || -> Result<(Recipient<Barrier>, Recipient<Reply>), TransportError> {
                let control = control_socket.open()?;
                Heartbeat::new(heartbeat.open()?).start();
                let jobs = control_router.start().recipient();
                let socket = Socket::new(Channel::Control, control, verifier, jobs).start();
                Ok((socket.clone().recipient(), socket.recipient()))
            };
            // Without a receiver, the start has failed already.
            drop(opened.send(open()));
        });
        let (control_socket, control_replies) = result.recv().map_err(|_| StartError::Ended)??;

        let addresses = Addresses {
            router,
            control_socket,
            replies: (shell_replies, control_replies),
            claims,
            facts,
            comms,
            stdin,
            shell,
            control,
            drain: iopub.recipient(),
            system: System::current(),
        };
        Ok((addresses, second))
    }
}

/// Tells the lifecycle actor when memory is running out.
#[cfg(target_os = "linux")]
fn watch_memory_for(lifecycle: &Addr<Lifecycle>, on: &Arbiter) {
    use crate::actors::lifecycle::MemoryLow;

    let lifecycle = lifecycle.clone();
    on.spawn_fn(move || {
        os::memory::watch(move |os::memory::Shortage { used, limit, of_cgroup }| {
            lifecycle.do_send(MemoryLow { used, limit, of_container: of_cgroup });
        });
    });
}

#[cfg(not(target_os = "linux"))]
fn watch_memory_for(_: &Addr<Lifecycle>, _: &Arbiter) {
    tracing::debug!("memory is not watched: that works on Linux only");
}

impl Kernel {
    /// Notes that Python has opened or closed a comm.
    pub fn comm(&self, event: CommEvent) {
        self.actors.comms.do_send(event);
    }

    /// What does not change while the kernel runs.
    pub fn facts(&self) -> &KernelFacts {
        &self.actors.facts
    }

    /// Sets which types of requests on a channel handlers of Python code get.
    pub fn claim(&self, channel: Channel, kinds: Vec<String>) {
        self.actors.claims.set(channel, kinds);
    }

    /// Answers a request although its type is claimed.
    pub fn answer(&self, job: Job) {
        self.actors.router.do_send(Answer(job));
    }

    /// Sends a message that answers no request of the kernel's own on the control channel, or on shell.
    pub fn send(&self, channel: Channel, frames: Frames) {
        let (shell, control) = &self.actors.replies;
        let socket = if channel == Channel::Control { control } else { shell };
        socket.do_send(Reply(frames));
    }

    /// Asks a client for a line.
    pub fn ask(&self, ask: Ask) {
        self.actors.stdin.do_send(ask);
    }

    /// Withdraws a question.
    pub fn withdraw(&self, withdraw: Withdraw) {
        self.actors.stdin.do_send(withdraw);
    }

    /// The ids of the subshells; waits for the router. None if the kernel has been closed.
    pub fn subshells(&self) -> Option<Vec<String>> {
        let (answer, answered) = mpsc::channel();
        self.actors.router.do_send(ListSubshells(answer));
        answered.recv().ok()
    }

    /// Makes a subshell and returns its id; waits for the router.
    pub fn create_subshell(&self) -> Result<String, SubshellError> {
        let (answer, answered) = mpsc::channel();
        self.actors.router.do_send(CreateSubshell(answer));
        answered.recv().unwrap_or(Err(SubshellError::Ending))
    }

    /// Deletes a subshell. Keeps the promise when its thread has ended.
    pub fn delete_subshell(&self, id: String, promise: Promise) {
        self.actors.router.do_send(DeleteSubshell { id, promise });
    }

    /// Aborts cells that wait, waits for `patience` at most until all replies and publications are with the sockets,
    /// then stops all actors and closes the sockets.
    pub fn close(&self, patience: Duration) {
        let Some(threads) = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        // Replies first: a cell that has just ended publishes its idle when its subshell lets it out.
        let Addresses { router, control_socket, drain, .. } = self.actors.clone();
        router.do_send(Close);
        let (sender, settled) = mpsc::channel();
        self.actors.system.arbiter().spawn_fn(move || {
            router.do_send(SettleAll(Signal(sender.clone()).start().recipient()));
            control_socket.do_send(Barrier(Signal(sender).start().recipient()));
        });
        let deadline = Instant::now() + patience;
        let left = || deadline.saturating_duration_since(Instant::now());
        if (0..2).any(|_| settled.recv_timeout(left()).is_err()) {
            warn!("replies may be lost: the sockets are busy");
        }
        self.publisher.close();
        let (sender, drained) = mpsc::channel();
        self.actors
            .system
            .arbiter()
            .spawn_fn(move || drain.do_send(Drain(Signal(sender).start().recipient())));
        if drained.recv_timeout(left()).is_err() {
            warn!("a subscriber of iopub does not read: what it has not got is lost");
        }
        self.actors.system.stop();
        if threads.io.join().is_err() | threads.control.join().is_err() {
            error!("a thread that served sockets ended with a panic");
        }
    }
}
