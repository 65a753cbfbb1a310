//! The stand-in for Python: a thread on each inbox that runs cells in a small language.
//!
//! A line of code is one of: `ok`, `print TEXT`, `warn TEXT`, `flood N`, `display TEXT`, `where` (prints
//! the thread), `hold NAME` (until the test releases it; the thread is blocked, as in C code), `await NAME`
//! (the same, but tasks run meanwhile; the one that came last is released first), `ask PROMPT` (prints
//! the answer), `fail`, `vanish` (the thread ends and forgets the request).

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use callboard::actors::caller::{CallerHandle, Forget, Role, Spec, Stop, Task, ThreadEnded};
use callboard::actors::stdin::{Answer, Ask};
use callboard::delivery::debug_work::DebugWork;
use callboard::delivery::inbox::Inbox;
use callboard::delivery::request::{Assignment, ReplyStatus, Request};
use callboard::kernel::Kernel;
use callboard::wire::content::{DisplayData, Error, ExecuteReply, InputRequest, StreamName};
use callboard::wire::{Frame, MessageType};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::PATIENCE;

/// How many idle workers are kept.
pub const KEPT: usize = 1;

/// The threads of the stand-in, as the test sees them.
pub struct Python {
    starter: Starter,
    held: mpsc::Receiver<Held>,
    ended: mpsc::Receiver<String>,
    cancelled: mpsc::Receiver<u64>,
    debug_work: mpsc::Receiver<DebugWork>,
    /// How many ends the test has read.
    known_ends: Cell<usize>,
}

/// A cell that waits for the test. Dropping this lets it go on.
pub struct Held {
    pub name: String,
    release: Option<mpsc::Sender<()>>,
    /// The inbox that its thread waits at.
    inbox: Arc<Inbox<Task>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.release.take());
        self.inbox.notify();
    }
}

/// A Caller whose thread the stand-in has started.
#[derive(Clone)]
pub struct Started {
    pub spec: Arc<Spec>,
    pub inbox: Weak<Inbox<Task>>,
}

impl Python {
    /// Starts one thread on the shell inbox and one on the control inbox.
    pub fn start(kernel: &Arc<Kernel>) -> Self {
        let (holds, held) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        let (cancels, cancelled) = mpsc::channel();
        let (debugs, debug_work) = mpsc::channel();
        let kernel = kernel.clone();
        let starter = Starter { kernel, holds, ends, cancels, debugs, shared: Arc::default() };
        starter.start("shell", &starter.kernel.shell, None);
        starter.start("control", &starter.kernel.control, None);
        Self { starter, held, ended, cancelled, debug_work, known_ends: Cell::new(0) }
    }

    #[track_caller]
    pub fn next_held(&self) -> Held {
        self.held.recv_timeout(PATIENCE).expect("a cell was to come to its hold")
    }

    #[track_caller]
    pub fn next_cancelled(&self) -> u64 {
        self.cancelled.recv_timeout(PATIENCE).expect("a cell was to be cancelled")
    }

    #[track_caller]
    pub fn next_debug_work(&self) -> DebugWork {
        self.debug_work.recv_timeout(PATIENCE).expect("the debugger was to want something done")
    }

    #[track_caller]
    pub fn next_ended(&self) -> String {
        let name = self.ended.recv_timeout(PATIENCE).expect("a thread was to be stopped");
        self.known_ends.set(self.known_ends.get() + 1);
        name
    }

    /// In the order of their starts, without the kernel's own two.
    pub fn started(&self) -> Vec<Started> {
        self.starter.shared().started.clone()
    }

    /// Waits until all threads have ended.
    #[track_caller]
    pub fn ended(self) {
        // The count is complete only when the thread that starts others has ended, too.
        while self.known_ends.get() < 2 + self.started().len() {
            self.next_ended();
        }
    }

    /// Stops all threads without the kernel's help.
    #[track_caller]
    pub fn stop(self) {
        for inbox in [&self.starter.kernel.shell, &self.starter.kernel.control] {
            // A thread that has ended already may have closed its inbox.
            drop(inbox.push(Task::Stop));
        }
        while self.known_ends.get() < 2 + self.started().len() {
            for inbox in self.started().iter().filter_map(|started| started.inbox.upgrade()) {
                drop(inbox.push(Task::Stop));
            }
            self.next_ended();
        }
    }
}

/// Starts the threads of Callers.
#[derive(Clone)]
struct Starter {
    kernel: Arc<Kernel>,
    holds: mpsc::Sender<Held>,
    ends: mpsc::Sender<String>,
    cancels: mpsc::Sender<u64>,
    debugs: mpsc::Sender<DebugWork>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    started: Vec<Started>,
    /// The Callers whose cells are to end.
    cancelled: HashSet<u64>,
}

impl Starter {
    fn start(&self, name: &str, inbox: &Arc<Inbox<Task>>, handle: Option<CallerHandle>) {
        if let Some(CallerHandle { spec, inbox, .. }) = &handle {
            let started = Started { spec: spec.clone(), inbox: Arc::downgrade(inbox) };
            self.shared().started.push(started);
        }
        let mut interpreter = Interpreter {
            name: name.to_owned(),
            starter: self.clone(),
            handle: handle.clone(),
            inbox: inbox.clone(),
            backlog: VecDeque::new(),
            count: 0,
        };
        let (name, ends) = (name.to_owned(), self.ends.clone());
        thread::spawn(move || {
            interpreter.serve();
            // Also the requests that the thread has forgotten.
            drop(interpreter);
            if let Some(CallerHandle { addr, .. }) = handle {
                // Closed: the kernel has ended before.
                block_on(addr.send(ThreadEnded)).unwrap_or_default();
            }
            ends.send(name).unwrap_or_default();
        });
    }

    fn cancel(&self, id: u64) {
        let mut shared = self.shared();
        shared.cancelled.insert(id);
        let started = shared.started.iter().find(|started| started.spec.id == id);
        if let Some(inbox) = started.and_then(|started| started.inbox.upgrade()) {
            inbox.notify();
        }
        drop(shared);
        self.cancels.send(id).unwrap_or_default();
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Interpreter {
    name: String,
    starter: Starter,
    /// Of a Caller that is not one of the kernel.
    handle: Option<CallerHandle>,
    inbox: Arc<Inbox<Task>>,
    /// Taken from the inbox, and not begun.
    backlog: VecDeque<Task>,
    count: u64,
}

/// How a cell ends, if not at the end of its code.
enum Ending {
    Failed,
    Vanished,
    /// The thread was told to stop.
    Stopped,
}

impl Interpreter {
    fn serve(&mut self) {
        loop {
            while let Some(work) = self.backlog.pop_front() {
                if self.take(work).is_err() {
                    return;
                }
            }
            self.inbox.wait().unwrap();
            self.backlog.extend(self.inbox.drain());
        }
    }

    /// An error says that the thread ends.
    fn take(&mut self, work: Task) -> Result<(), Ending> {
        match work {
            Task::Request(request) => self.answer(&request)?,
            Task::Start(handle) => {
                let (name, inbox) = (handle.spec.name.clone(), handle.inbox.clone());
                self.starter.start(&name, &inbox, Some(handle));
            }
            // The test releases a held cell, as C code would end.
            Task::Cancel(id) => self.starter.cancel(id),
            // The test does it.
            Task::Debug(work) => self.starter.debugs.send(work).unwrap_or_default(),
            // Nothing is registered with these threads.
            Task::Wake(_) => {}
            Task::Stop => return Err(Ending::Stopped),
        }
        Ok(())
    }

    fn answer(&mut self, request: &Assignment) -> Result<(), Ending> {
        if request.begin() { self.work_on(request) } else { Ok(()) }
    }

    fn work_on(&mut self, request: &Request) -> Result<(), Ending> {
        let Some(execute) = &request.execute else {
            self.work_on_other(request);
            return Ok(());
        };
        if !execute.silent {
            self.count += 1;
            request.publish_input(self.count);
        }
        match execute.code.lines().try_for_each(|line| self.run(request, line)) {
            Ok(()) => {
                let reply = ExecuteReply::Ok {
                    execution_count: self.count,
                    user_expressions: std::collections::BTreeMap::default(),
                    payload: Vec::new(),
                };
                request.reply(serde_json::to_vec(&reply).unwrap(), None, Vec::new());
                self.be_idle();
                request.finish(ReplyStatus::Ok);
            }
            Err(Ending::Failed) => {
                let (ename, evalue, traceback) = ("Failure".to_owned(), "on purpose".to_owned(), Vec::new());
                let error = Error { ename, evalue, traceback };
                request.publisher().content(&request.job.parent, &error);
                request.reply_error(&error.ename, &error.evalue, error.traceback.clone());
                self.be_idle();
                request.finish(ReplyStatus::Error);
            }
            Err(ending) => return Err(ending),
        }
        Ok(())
    }

    /// Puts an idle worker back into the pool, before its reply goes out: a cell that is sent then finds it there.
    fn be_idle(&self) {
        let parent = &self.starter.kernel.shell_caller;
        if let Some(worker) = &self.handle
            && worker.spec.role == Role::Worker
            && !parent.keep(worker.clone(), KEPT, None)
        {
            parent.addr.do_send(Forget(worker.spec.id));
            worker.addr.do_send(Stop);
        }
    }

    /// Names the thread that has the request: in its reply, or as text if it has none.
    fn work_on_other(&self, request: &Request) {
        if request.job.kind.reply().is_some() {
            let content = json!({"status": "ok", "thread": self.name});
            request.reply(content.to_string().into_bytes(), None, Vec::new());
        } else {
            self.print(request, StreamName::Stdout, &format!("{} on {}", request.job.kind, self.name));
        }
        request.finish(ReplyStatus::Ok);
    }

    fn run(&mut self, request: &Request, line: &str) -> Result<(), Ending> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            // A comment may name a run mode.
            "ok" | "#" | "##" => {}
            "print" => self.print(request, StreamName::Stdout, rest),
            "warn" => self.print(request, StreamName::Stderr, rest),
            "where" => self.print(request, StreamName::Stdout, &self.name),
            "flood" => {
                for n in 0..rest.parse().unwrap() {
                    let n: u32 = n;
                    self.print(request, StreamName::Stdout, &n.to_string());
                }
            }
            "display" => {
                let display = DisplayData {
                    data: to_raw_value(&json!({"text/plain": rest})).unwrap(),
                    metadata: to_raw_value(&json!({})).unwrap(),
                    transient: None,
                };
                let content = serde_json::to_vec(&display).unwrap();
                let (parent, kind) = (&request.job.parent, &MessageType::DisplayData);
                request.publisher().raw(parent, kind, Frame::EMPTY_OBJECT, content, Vec::new());
            }
            "hold" => {
                // The error means that the test has released it.
                self.hold(rest).recv().unwrap_or_default();
            }
            "await" => {
                let released = self.hold(rest);
                return self.serve_beside(&released);
            }
            "ask" => {
                let answer = Arc::new(Answer::new().unwrap());
                let content = InputRequest { prompt: rest.to_owned(), password: false };
                let parent = request.job.parent.clone();
                self.starter.kernel.ask(Ask { parent, content, answer: answer.clone() });
                answer.wake_fd().wait().unwrap();
                let text = format!("{rest}={}", answer.take().unwrap());
                self.print(request, StreamName::Stdout, &text);
            }
            "fail" => return Err(Ending::Failed),
            "vanish" => return Err(Ending::Vanished),
            _ => panic!("{line:?} is not in the language of these tests"),
        }
        Ok(())
    }

    fn hold(&self, name: &str) -> mpsc::Receiver<()> {
        let (release, released) = mpsc::channel();
        let held = Held { name: name.to_owned(), release: Some(release), inbox: self.inbox.clone() };
        self.starter.holds.send(held).unwrap_or_default();
        released
    }

    /// Runs work beside the queue until the test releases the cell or it is cancelled.
    fn serve_beside(&mut self, released: &mpsc::Receiver<()>) -> Result<(), Ending> {
        let beside = |work: &Task| match work {
            Task::Request(request) => !request.has_gate(),
            Task::Start(_) | Task::Cancel(_) | Task::Debug(_) | Task::Wake(_) => true,
            Task::Stop => false,
        };
        loop {
            self.backlog.extend(self.inbox.drain());
            while let Some(at) = self.backlog.iter().position(beside) {
                let work = self.backlog.remove(at).unwrap();
                self.take(work)?;
            }
            if released.try_recv() == Err(TryRecvError::Disconnected) {
                return Ok(());
            }
            let id = self.handle.as_ref().map_or(0, |handle| handle.spec.id);
            if self.starter.shared().cancelled.contains(&id) {
                return Err(Ending::Failed);
            }
            self.inbox.wait().unwrap();
        }
    }

    fn print(&self, request: &Request, name: StreamName, line: &str) {
        self.starter.kernel.publisher.text(&request.job.parent, name, &format!("{line}\n"));
    }
}

/// The value of a future, on a thread without a runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
