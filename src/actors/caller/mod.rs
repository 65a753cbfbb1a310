//! The actor of a Caller, which stands for one Python thread with its event loop.

mod handle;
mod messages;
mod pool;
mod spec;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;
use std::{io, thread};

use actix::prelude::*;
use tracing::{debug, error, warn};

use self::handle::{Sweep, assign};
use self::pool::Pool;
use crate::delivery::inbox::Inbox;
use crate::delivery::pending::Outcome;
use crate::wire::run_mode::CallerOptions;

pub use self::handle::{Caller, CallerHandle, Task};
pub use self::messages::{Adopt, Dispatch, DispatchToChild, Forget, GetChild, Stop, ThreadEnded, WhenEnded};
pub use self::spec::{CallerError, Role, Spec, WORKER};

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

    /// Finds or makes a child. Returns it, and whether it was made.
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

    /// Stops the workers whose time is up, and sets the timer for the next one.
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

/// The thread of the actors of Callers that Python makes without a parent: the kernel's io thread or, in a program that
/// runs no kernel, one that is made for them.
static HOME: Mutex<Option<ArbiterHandle>> = Mutex::new(None);

/// Makes the calling thread that of the actors of Callers without a parent.
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
        // The thread that asked has gone. The thread of a new child would never be started, and a worker that was taken
        // would never be idle again.
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
