//! A Caller: stands for one Python thread with its event loop.

pub mod pool;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};
use std::{io, thread};

use actix::prelude::*;
use thiserror::Error;
use tracing::{debug, error, warn};

use self::pool::{Kept, Pool};
use crate::delivery::inbox::Inbox;
use crate::delivery::pending::{Outcome, Promise};
use crate::delivery::request::{Assignment, Request};
use crate::wire::run_mode::{Backend, CallerOptions};

/// The name of workers: children without a name of their own.
pub const WORKER: &str = "callboard_caller";

/// Owns the inbox of a Python thread, and the Callers that are to stop when it stops. Puts work into the
/// inbox and wakes the thread; never runs Python itself.
pub struct Caller {
    spec: Arc<Spec>,
    inbox: Arc<Inbox<Task>>,
    /// The inbox of the thread that starts threads for requests.
    starter: Option<Arc<Inbox<Task>>>,
    parent: Option<Addr<Caller>>,
    children: Vec<CallerHandle>,
    /// The children that are workers with nothing to do.
    pool: Arc<Pool>,
    /// When the pool is to be looked at.
    sweep: Option<SpawnHandle>,
    stopping: bool,
    /// As in [`CallerHandle::ended`].
    ended: Arc<AtomicBool>,
    /// To be kept when its thread has ended.
    promises: Vec<Promise>,
}

/// What a Python thread is given to do.
pub enum Task {
    /// Work on a request.
    Request(Assignment),
    /// Start the thread of a new Caller.
    Start(CallerHandle),
    /// Cancel the cells that run on the thread of the Caller with this id, whatever that thread does.
    Cancel(u64),
    /// Call what was registered under this token.
    Wake(u64),
    /// Finish what runs, then end the event loop.
    Stop,
}

/// What a Caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Unique in this process.
    pub id: u64,
    /// The name, also of its thread.
    pub name: String,
    /// Whose event loop it runs.
    pub backend: Backend,
    /// Whether that is to be uvloop's.
    pub use_uvloop: Option<bool>,
    /// The Caller that stops it.
    pub parent: Option<u64>,
    /// What it is there for.
    pub role: Role,
}

/// What a Caller is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of the kernel's own: `Shell`, `Control`.
    Kernel,
    /// Found by its name.
    Named,
    /// Made for its own sake: its name is for reading only.
    Unnamed,
    /// Runs one call or cell after the other for its parent.
    Worker,
    /// Runs the cells of the subshell with this id.
    Subshell(String),
}

/// A Caller as others hold it.
#[derive(Clone)]
pub struct CallerHandle {
    /// What it is.
    pub spec: Arc<Spec>,
    /// Where its thread takes its work from.
    pub inbox: Arc<Inbox<Task>>,
    /// Its actor.
    pub addr: Addr<Caller>,
    /// Its workers that have nothing to do.
    pub pool: Arc<Pool>,
    /// Its thread has ended, or is about to: nobody is to take it for alive.
    pub ended: Arc<AtomicBool>,
}

/// Why there is no such Caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallerError {
    /// It exists with another event loop.
    #[error("the Caller {name:?} runs on {has}, not on {wanted}: use another name, or leave the backend out")]
    Backend {
        /// Its name.
        name: String,
        /// What it runs on.
        has: Backend,
        /// What was asked for.
        wanted: Backend,
    },
    /// The parent ends.
    #[error("the Caller {0:?} is stopping: it takes no more children")]
    Stopping(String),
    /// The system gives no more.
    #[error("a Caller cannot be made: {0}. Raise the limit for open files (ulimit -n), or stop some Callers")]
    Resources(String),
}

impl Task {
    /// A waker for whatever the thread that drains `inbox` has registered under `token`. It holds nothing of
    /// Python's, so any thread may wake or drop it.
    pub fn waker(inbox: Arc<Inbox<Task>>, token: u64) -> Waker {
        Waker::from(Arc::new(TokenWaker { inbox, token }))
    }
}

struct TokenWaker {
    inbox: Arc<Inbox<Task>>,
    token: u64,
}

impl Wake for TokenWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.inbox.push(Task::Wake(self.token)).is_err() {
            debug!(token = self.token, "the thread to be woken has ended");
        }
    }
}

/// Hand a request to the Caller's thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Dispatch(pub Arc<Request>);

/// Hand a request to the thread of a child: the one that the options name, or a worker.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DispatchToChild(pub Arc<Request>, pub CallerOptions);

/// Find a child or make one. Whoever gets one that was made starts its thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GetChild {
    /// Which.
    pub options: CallerOptions,
    /// A worker rather than a new Caller, if there is no name.
    pub worker: bool,
    /// Takes the child, and whether it was made.
    pub answer: mpsc::Sender<Result<(CallerHandle, bool), CallerError>>,
}

/// Another Caller that is to stop when this one stops.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Adopt(pub CallerHandle);

/// Stop the Caller's thread and those of its children.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// The Caller's thread has ended: whatever it had not taken is answered with an error.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ThreadEnded;

/// Keep this promise when the Caller's thread has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WhenEnded(pub Promise);

/// A child stops or has ended: it is not to be found any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget(pub u64);

/// Stop the workers that have had nothing to do for too long.
#[derive(Message)]
#[rtype(result = "()")]
struct Sweep;

impl Spec {
    /// A Caller with an id of its own.
    pub fn new(name: &str, role: Role) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.to_owned(),
            backend: Backend::default(),
            use_uvloop: None,
            parent: None,
            role,
        }
    }
}

impl Caller {
    /// Starts the actor of a Caller whose thread drains a new inbox, on the calling actor's thread. `starter` is
    /// the inbox of the thread that starts the threads of children which are made for requests.
    pub fn launch(
        spec: Spec,
        starter: Option<Arc<Inbox<Task>>>,
        parent: Option<Addr<Self>>,
    ) -> Result<CallerHandle, CallerError> {
        Self::launch_in(&Arbiter::current(), spec, starter, parent)
    }

    /// Starts the actor of a Caller that has no parent, for a thread of Python's.
    pub fn launch_free(spec: Spec) -> Result<CallerHandle, CallerError> {
        Self::launch_in(&home()?, spec, None, None)
    }

    fn launch_in(
        arbiter: &ArbiterHandle,
        spec: Spec,
        starter: Option<Arc<Inbox<Task>>>,
        parent: Option<Addr<Self>>,
    ) -> Result<CallerHandle, CallerError> {
        let (spec, inbox, pool) = (Arc::new(spec), Arc::new(Inbox::new()?), Arc::new(Pool::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let caller = Self {
            spec: spec.clone(),
            inbox: inbox.clone(),
            starter,
            parent,
            children: Vec::new(),
            pool: pool.clone(),
            sweep: None,
            stopping: false,
            ended: ended.clone(),
            promises: Vec::new(),
        };
        let addr = Self::start_in_arbiter(arbiter, |_| caller);
        Ok(CallerHandle { spec, inbox, addr, pool, ended })
    }

    /// The child that is asked for, and whether it was made.
    fn child(
        &mut self,
        options: &CallerOptions,
        worker: bool,
        ctx: &mut Context<Self>,
    ) -> Result<(CallerHandle, bool), CallerError> {
        if self.stopping {
            return Err(CallerError::Stopping(self.spec.name.clone()));
        }
        let backend = options.backend.unwrap_or(self.spec.backend);
        let found = match &options.name {
            Some(name) => self.children.iter().find(|child| child.is_called(name)).cloned(),
            None if worker => self.pool.take(backend),
            None => None,
        };
        if let Some(child) = found {
            let (name, has) = (child.spec.name.clone(), child.spec.backend);
            if has != backend && options.backend.is_some() {
                return Err(CallerError::Backend { name, has, wanted: backend });
            }
            return Ok((child, false));
        }
        let role = match &options.name {
            Some(_) => Role::Named,
            None if worker => Role::Worker,
            None => Role::Unnamed,
        };
        let new = Spec {
            backend,
            use_uvloop: options.use_uvloop.or(self.spec.use_uvloop),
            parent: Some(self.spec.id),
            ..Spec::new(options.name.as_deref().unwrap_or(WORKER), role)
        };
        let handle = Self::launch(new, self.starter.clone(), Some(ctx.address()))?;
        self.children.push(handle.clone());
        Ok((handle, true))
    }

    /// Stops the workers whose time is up, and comes back when that of the next one will be.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        let (expired, next) = self.pool.expired(Instant::now());
        for worker in expired {
            worker.addr.do_send(Stop);
            self.forget(worker.spec.id);
        }
        self.sweep = next.map(|next| ctx.run_later(next, Self::sweep));
    }

    fn forget(&mut self, id: u64) {
        self.children.retain(|child| child.spec.id != id);
        self.pool.remove(id);
    }
}

impl CallerHandle {
    /// A worker (of this Caller) has nothing to do any more: up to `keep` are kept, this one for `linger` (None:
    /// for ever). False if it is not kept: then it is to be stopped. Nothing happens to one that has ended, or that
    /// has another parent.
    pub fn keep(&self, worker: Self, keep: usize, linger: Option<Duration>) -> bool {
        if worker.spec.parent != Some(self.spec.id) || worker.ended.load(Ordering::SeqCst) {
            return true;
        }
        match self.pool.put(worker, keep, linger) {
            Kept::No => return false,
            Kept::Yes => {}
            Kept::First => self.addr.do_send(Sweep),
        }
        true
    }

    fn is_called(&self, name: &str) -> bool {
        self.spec.name == name && !matches!(self.spec.role, Role::Worker | Role::Unnamed)
    }

    /// Puts a request into the inbox; if the thread has ended, answers it.
    fn assign(&self, request: Arc<Request>) {
        assign(&self.spec, &self.inbox, request);
    }
}

fn assign(spec: &Spec, inbox: &Inbox<Task>, request: Arc<Request>) {
    if let Err(Task::Request(request)) = inbox.push(Task::Request(Assignment::new(request))) {
        debug!(caller = spec.name, kind = %request.job.kind, "the thread has ended: a request is refused");
        request.refuse("CallerStopped", &format!("the Caller {:?} has stopped", spec.name));
    }
}

impl From<io::Error> for CallerError {
    fn from(error: io::Error) -> Self {
        Self::Resources(error.to_string())
    }
}

/// Where the actors of Callers live that Python makes without a parent: the kernel's io thread, or a thread that
/// is made for them in a program that runs no kernel.
static HOME: Mutex<Option<ArbiterHandle>> = Mutex::new(None);

/// Lets the actors of Callers that have no parent live on the calling thread.
pub fn make_home() {
    *HOME.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arbiter::current());
}

fn home() -> io::Result<ArbiterHandle> {
    let mut home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(home) = &*home {
        return Ok(home.clone());
    }
    let (sender, started) = mpsc::channel();
    thread::Builder::new().name("callboard-callers".into()).spawn(move || {
        if let Err(error) = crate::os::signals::block_all() {
            warn!(%error, "signals may reach a thread that is not Python's");
        }
        let system = System::new();
        if sender.send(system.runtime().block_on(async { Arbiter::current() })).is_ok()
            && let Err(error) = system.run()
        {
            error!(%error, "the thread of the Callers ended");
        }
    })?;
    let started = started.recv().map_err(io::Error::other)?;
    Ok(home.insert(started).clone())
}

impl Actor for Caller {
    type Context = Context<Self>;
}

impl Handler<Dispatch> for Caller {
    type Result = ();

    fn handle(&mut self, Dispatch(request): Dispatch, _: &mut Self::Context) {
        assign(&self.spec, &self.inbox, request);
    }
}

impl Handler<DispatchToChild> for Caller {
    type Result = ();

    fn handle(&mut self, DispatchToChild(request, options): DispatchToChild, ctx: &mut Self::Context) {
        match self.child(&options, true, ctx) {
            Ok((child, made)) => {
                child.assign(request);
                if made
                    && let Some(starter) = &self.starter
                    && starter.push(Task::Start(child.clone())).is_err()
                {
                    // Its thread never starts: what was assigned is answered.
                    child.addr.do_send(ThreadEnded);
                }
            }
            Err(problem) => request.refuse("CallerError", &problem.to_string()),
        }
    }
}

impl Handler<GetChild> for Caller {
    type Result = ();

    fn handle(&mut self, GetChild { options, worker, answer }: GetChild, ctx: &mut Self::Context) {
        let found = self.child(&options, worker, ctx);
        let Err(mpsc::SendError(Ok((handle, made)))) = answer.send(found) else {
            return;
        };
        // Whoever asked has gone: nobody starts the thread of a child that was made, and a worker that was
        // handed out would never be idle again.
        if made || handle.spec.role == Role::Worker {
            handle.addr.do_send(Stop);
            self.forget(handle.spec.id);
        }
    }
}

impl Handler<Adopt> for Caller {
    type Result = ();

    fn handle(&mut self, Adopt(handle): Adopt, _: &mut Self::Context) {
        if self.stopping {
            handle.addr.do_send(Stop);
        }
        self.children.push(handle);
    }
}

impl Handler<Sweep> for Caller {
    type Result = ();

    fn handle(&mut self, _: Sweep, ctx: &mut Self::Context) {
        self.sweep(ctx);
    }
}

impl Handler<Stop> for Caller {
    type Result = ();

    fn handle(&mut self, _: Stop, _: &mut Self::Context) {
        self.stopping = true;
        self.pool.close();
        for child in &self.children {
            child.addr.do_send(Stop);
        }
        if self.inbox.push(Task::Stop).is_err() {
            debug!(caller = self.spec.name, "asked to stop, but its thread has ended already");
        }
    }
}

impl Handler<WhenEnded> for Caller {
    type Result = ();

    fn handle(&mut self, WhenEnded(promise): WhenEnded, _: &mut Self::Context) {
        if self.ended.load(Ordering::SeqCst) {
            promise.complete(Outcome::Value);
        } else {
            self.promises.push(promise);
        }
    }
}

impl Handler<ThreadEnded> for Caller {
    type Result = ();

    fn handle(&mut self, _: ThreadEnded, ctx: &mut Self::Context) {
        self.stopping = true;
        self.ended.store(true, Ordering::SeqCst);
        // A timer would keep the actor alive.
        if let Some(sweep) = self.sweep.take() {
            ctx.cancel_future(sweep);
        }
        let left = self.inbox.close();
        if left.iter().any(|work| matches!(work, Task::Request(_))) {
            error!(caller = self.spec.name, left = left.len(), "the thread ended with work in its inbox");
        }
        for work in left {
            // Dropping an assignment that was never taken answers it; a thread that was never started ends.
            if let Task::Start(handle) = work {
                handle.addr.do_send(ThreadEnded);
            }
        }
        self.pool.close();
        for child in &self.children {
            child.addr.do_send(Stop);
        }
        if let Some(parent) = &self.parent {
            parent.do_send(Forget(self.spec.id));
        }
        for promise in self.promises.drain(..) {
            promise.complete(Outcome::Value);
        }
    }
}

impl Handler<Forget> for Caller {
    type Result = ();

    fn handle(&mut self, Forget(id): Forget, _: &mut Self::Context) {
        self.forget(id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_among_threads() {
        let make = || (0..1000).map(|_| Spec::new("a", Role::Worker).id).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(make)).collect();
        let ids: HashSet<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 4000);
        assert!(!ids.contains(&0));
    }

    #[test]
    fn errors_say_what_to_do() {
        let stopping = CallerError::Stopping("X".to_owned()).to_string();
        assert_eq!(stopping, "the Caller \"X\" is stopping: it takes no more children");
        let resources = CallerError::from(io::Error::from_raw_os_error(libc::EMFILE)).to_string();
        assert!(resources.contains("Too many open files") && resources.contains("ulimit -n"), "{resources}");
    }
}
