//! Waits of a test, each with a limit.

use std::io;
use std::sync::{Arc, Mutex, mpsc};

use super::PATIENCE;
use super::kernel::options;
use super::python::{Python, block_on};
use callboard::actors::caller::{CallerError, CallerHandle, GetChild, Task, ThreadEnded};
use callboard::actors::stdin::Answer;
use callboard::delivery::inbox::Inbox;
use callboard::wire::run_mode::CallerOptions;

/// The log of all kernels of this process, from now on.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Call once in a process.
    pub fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        log
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what `wait` returns. Fails the test if it takes longer than [`PATIENCE`].
#[track_caller]
pub fn within_patience<T: Send + 'static>(awaited: &str, wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    // The thread stays behind if the test fails.
    std::thread::spawn(move || drop(sender.send(wait())));
    match receiver.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(problem) => panic!("{problem}; awaited: {awaited}"),
    }
}

/// Asks a Caller for a child, as Python does.
#[track_caller]
pub fn get_child(
    of: &CallerHandle,
    options: CallerOptions,
    worker: bool,
) -> Result<(CallerHandle, bool), CallerError> {
    let (answer, answered) = mpsc::channel();
    of.addr.do_send(GetChild { options, worker, answer });
    answered.recv_timeout(PATIENCE).expect("the Caller was to answer")
}

/// Waits for work in an inbox and returns it.
#[track_caller]
pub fn next_work(inbox: &Arc<Inbox<Task>>) -> Vec<Task> {
    let inbox = inbox.clone();
    within_patience("work for a thread", move || {
        inbox.wait().unwrap();
        inbox.drain().into()
    })
}

/// Waits until a Caller is told to stop. Nothing else is in its inbox.
#[track_caller]
pub fn is_stopped(caller: &CallerHandle) {
    let work = next_work(&caller.inbox);
    assert!(matches!(work[..], [Task::Stop]), "{:?} got {} things to do", caller.spec.name, work.len());
}

/// Tells a Caller that its thread has ended, and waits until it and its parent know.
#[track_caller]
pub fn end_thread(caller: &CallerHandle) {
    block_on(caller.addr.send(ThreadEnded)).unwrap();
}

/// The answer to a prompt, once it is here.
#[track_caller]
pub fn awaited(answer: &Arc<Answer>) -> String {
    let answer = answer.clone();
    within_patience("the answer to a prompt", move || {
        answer.wake_fd().wait().unwrap();
        answer.take().unwrap()
    })
}
