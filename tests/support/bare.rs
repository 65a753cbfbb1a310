//! A minimal stand-in for Python, so that counts and times are those of the kernel: one thread, for which every cell is
//! `pass`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use callboard::actors::caller::Task;
use callboard::delivery::inbox::Inbox;
use callboard::delivery::job::Channel;
use callboard::delivery::request::{ReplyStatus, Request};
use callboard::wire::content::ExecuteReply;
use callboard::wire::{Frames, MessageType};

use super::{ALICE, TestKernel, block_on, cell};

/// The code of a cell that goes on when it is [let go](Bare::release).
pub const HOLD: &str = "hold";

/// The thread on the shell inbox of a kernel. Ends when it is dropped.
pub struct Bare {
    inbox: Arc<Inbox<Task>>,
    thread: Option<JoinHandle<()>>,
    wakeups: Arc<AtomicUsize>,
    release: mpsc::Sender<()>,
}

impl Bare {
    /// Starts the thread.
    pub fn start(kernel: &TestKernel) -> Self {
        let inbox = kernel.kernel.shell.clone();
        let wakeups = Arc::<AtomicUsize>::default();
        let (release, released) = mpsc::channel();
        let thread = thread::spawn({
            let (inbox, wakeups) = (inbox.clone(), wakeups.clone());
            move || serve(&inbox, &wakeups, &released)
        });
        Self { inbox, thread: Some(thread), wakeups, release }
    }

    /// How often the wake fd has woken the thread.
    pub fn wakeups(&self) -> usize {
        self.wakeups.load(Ordering::Acquire)
    }

    /// How many requests wait in the inbox.
    pub fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Releases the cell that holds the thread.
    pub fn release(&self) {
        self.release.send(()).unwrap();
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // If it is closed, the thread has ended.
        drop(self.inbox.push(Task::Stop));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            assert!(thread::panicking(), "the thread that stands for Python has panicked");
        }
    }
}

fn serve(inbox: &Inbox<Task>, wakeups: &AtomicUsize, released: &mpsc::Receiver<()>) {
    let mut count = 0;
    loop {
        inbox.wait().unwrap();
        wakeups.fetch_add(1, Ordering::AcqRel);
        for work in inbox.drain() {
            match work {
                Task::Request(request) => {
                    if request.begin() {
                        count += 1;
                        pass(&request, count, released);
                    }
                }
                Task::Stop => return,
                _ => panic!("only cells are sent to this thread"),
            }
        }
    }
}

fn pass(request: &Request, execution_count: u64, released: &mpsc::Receiver<()>) {
    request.publish_input(execution_count);
    if request.execute.as_ref().is_some_and(|execute| execute.code == HOLD) {
        released.recv().unwrap();
    }
    let reply =
        ExecuteReply::Ok { execution_count, user_expressions: BTreeMap::default(), payload: Vec::new() };
    request.reply(serde_json::to_vec(&reply).unwrap(), None, Vec::new());
    request.finish(ReplyStatus::Ok);
}

/// A client that sends `pass` cells and does not read the answers in detail.
impl TestKernel {
    /// The frames of a cell of Alice, to send later.
    pub fn cell_frames(&self, code: &str) -> Frames {
        let header = self.session.header(&MessageType::ExecuteRequest);
        self.encode(ALICE, &header, &cell(code)).1
    }

    /// Sends frames on shell.
    pub fn send_frames(&mut self, frames: Frames) {
        self.line(Channel::Shell).send(frames);
    }

    /// Waits for this many messages on iopub, without reading them.
    pub fn take_published(&mut self, count: usize) {
        for _ in 0..count {
            assert!(block_on(self.iopub.peer.recv()).is_some(), "iopub was closed");
        }
    }

    /// Waits for this many replies on shell, without reading them.
    pub fn take_replies(&mut self, count: usize) {
        for _ in 0..count {
            assert!(block_on(self.shell.peer.recv()).is_some(), "shell was closed");
        }
    }
}
