//! Publishes on iopub: one queue for the messages of all threads.
//!
//! It is the mailbox of the `IoPub` actor. actix's own has no bound that `do_send` respects, and text must be joined
//! while it waits.

mod backpressure;
pub mod capture;
mod entry;
mod line_arbiter;
mod queue;
mod running;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;

use self::backpressure::Backpressure;
use self::entry::{Small, What, Writer};
use self::queue::{JOIN_LIMIT, Queue};
use crate::os::wake_fd::WakeFd;
use crate::wire::content::{Content, ExecutionState, Stream, StreamName};
use crate::wire::{EMPTY_OBJECT, Frame, Frames, MessageType, Outgoing, Parent, Session, to_json};

pub use self::backpressure::Urgency;
pub use self::entry::{Entry, Message, Text};
pub use self::running::Busy;

/// Text longer than this is encoded and signed by the thread that wrote it, so that it does not hold up the thread that
/// serves the sockets.
const ENCODE_HERE: usize = 64 * 1024;

/// Messages with fewer bytes of metadata and content than this are encoded and signed by the thread that sends them.
const SMALL: usize = 4096;

/// The length of the JSON of a `stream` message without its text, with room for some escapes.
const ROOM: usize = 128;

/// Publishes on iopub. Cheap to clone; every method may be called from any thread and none blocks.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    session: Arc<Session>,
    queue: Mutex<Queue>,
    backpressure: Backpressure,
    /// The request whose cell runs, or ran last, on the main shell. Output of no known context belongs to it.
    foreground: Mutex<Arc<Parent>>,
}

/// The content of a [`Stream`], whose text is borrowed.
#[derive(Serialize)]
struct Printed<'a> {
    name: StreamName,
    text: &'a str,
}

/// What becomes of text that may still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is sent.
    No,
    /// It is taken again at once, after other threads have had their turn.
    Yield,
    /// It waits until then, or until it ends a line.
    Line(Instant),
    /// It waits until then.
    Until(Instant),
}

/// What the queue has for the actor that empties it.
pub enum Next {
    /// The next one.
    Entry(Entry),
    /// Only text that may still grow, which the calling code holds.
    Held(Hold),
    /// Nothing until then: output waits for the end of a line.
    Waits(Instant),
    /// Nothing.
    Empty,
    /// Nothing, and nothing will come any more.
    Closed,
}

impl Publisher {
    /// A publisher that signs as `session`.
    pub fn new(session: Arc<Session>) -> Self {
        Self {
            shared: Arc::new(Shared {
                session,
                queue: Mutex::default(),
                backpressure: Backpressure::default(),
                foreground: Mutex::new(Arc::new(Parent::none())),
            }),
        }
    }

    /// The session whose key signs what is published.
    pub fn session(&self) -> &Session {
        &self.shared.session
    }

    /// Publishes a message whose content is a type of the protocol.
    pub fn content<C: Content>(&self, parent: &Arc<Parent>, content: &C) {
        self.raw(parent, &C::TYPE, Frame::EMPTY_OBJECT, to_json(content), Vec::new());
    }

    /// Publishes that the kernel starts: the first message.
    pub fn starting(&self) {
        let parent = Arc::new(Parent::none());
        let message = Message::status(&parent, ExecutionState::Starting, Utc::now());
        self.enqueue(message.bytes(), |queue| queue.put_last(&parent, What::Message(message, None)));
    }

    /// Publishes busy for a request.
    pub fn busy(&self, parent: &Arc<Parent>, busy: Busy) {
        let message = Message::status(parent, ExecutionState::Busy, busy.since);
        let bytes = message.bytes();
        let put = |queue: &mut Queue| {
            if busy.runs_code {
                queue.running.begin(parent, busy.since);
            }
            queue.put_last(parent, What::Message(message, None));
        };
        if busy.has_more {
            self.add(&mut self.queue(), bytes, put);
        } else {
            self.enqueue(bytes, put);
        }
    }

    /// Publishes idle for a request that has ended, and busy once more if code of another one runs.
    pub fn idle(&self, parent: &Arc<Parent>) {
        let message = Message::status(parent, ExecutionState::Idle, Utc::now());
        self.enqueue(message.bytes(), |queue| {
            queue.running.end(parent);
            queue.put_idle(parent, message);
        });
    }

    /// Publishes busy once more if code of a request runs: a new subscriber has not seen it.
    pub fn busy_again(&self) {
        self.enqueue(0, Queue::put_busy_again);
    }

    /// Says whether a thread stands in the debugger. Meanwhile busy is not published once more behind each idle: clients
    /// ask for many things at a stop, and some count (ipykernel's own tests do).
    pub fn standing(&self, standing: bool) {
        self.enqueue(0, |queue| queue.set_standing(standing));
    }

    /// Publishes a message whose metadata and content are JSON already. Encodes and signs it on the calling thread,
    /// unless it is small.
    pub fn raw(
        &self,
        parent: &Arc<Parent>,
        kind: &MessageType,
        metadata: Frame,
        content: Vec<u8>,
        buffers: Vec<Frame>,
    ) {
        if Urgency::of(kind) == Urgency::Output && self.shared.backpressure.is_dropping() {
            let bytes = content.len() + buffers.iter().map(|buffer| buffer.len()).sum::<usize>();
            return self.change(|queue| queue.leave_out(parent, bytes));
        }
        let message = if buffers.is_empty() && metadata.len() + content.len() < SMALL {
            Message::small(parent, kind, metadata, content)
        } else {
            Message::Encoded(self.encode_parts(Utc::now(), parent, kind, metadata, content, buffers))
        };
        self.put_message(parent, kind, message.bytes(), message);
    }

    /// Publishes a message that has been encoded and signed by the calling thread.
    pub fn encoded(&self, parent: &Arc<Parent>, kind: &MessageType, frames: Frames) {
        let message = Message::Encoded(frames);
        let bytes = message.bytes();
        if Urgency::of(kind) == Urgency::Output && self.shared.backpressure.is_dropping() {
            return self.change(|queue| queue.leave_out(parent, bytes));
        }
        self.put_message(parent, kind, bytes, message);
    }

    fn put_message(&self, parent: &Arc<Parent>, kind: &MessageType, bytes: usize, message: Message) {
        self.enqueue(bytes, |queue| match kind {
            // Of Python code: no request of the kernel begins or ends with it.
            MessageType::Status => queue.put_idle(parent, message),
            _ => queue.put(parent, Writer::current(), What::Message(message, None)),
        });
    }

    /// The frames of a message that has been taken from the queue.
    pub fn encode(&self, message: Message) -> Frames {
        match message {
            Message::Encoded(frames) => frames,
            Message::Small(Small { parent, kind, metadata, content, date }) => {
                self.encode_parts(date, &parent, &kind, metadata, content, Vec::new())
            }
        }
    }

    fn encode_parts(
        &self,
        date: DateTime<Utc>,
        parent: &Parent,
        kind: &MessageType,
        metadata: Frame,
        content: Vec<u8>,
        buffers: Vec<Frame>,
    ) -> Frames {
        let session = self.session();
        let topic = [b"kernel.", session.id().as_bytes(), b".", kind.as_str().as_bytes()].concat();
        let parent = &parent.raw_header;
        session.encode_dated(date, Outgoing { idents: &[topic], kind, parent, metadata, content, buffers })
    }

    /// Writes text to a stream of a request, as the calling thread. Text joins what waits for the same stream.
    pub fn text(&self, parent: &Arc<Parent>, name: StreamName, text: &str) {
        self.write(parent, name, text, Some(Writer::current()));
    }

    /// Writes text of C code or of a child process to a stream of a request.
    pub fn foreign_text(&self, parent: &Arc<Parent>, name: StreamName, text: &str) {
        self.write(parent, name, text, None);
    }

    fn write(&self, parent: &Arc<Parent>, name: StreamName, text: &str, writer: Option<Writer>) {
        if text.is_empty() {
            return;
        }
        if self.shared.backpressure.is_dropping() {
            return self.change(|queue| queue.leave_out(parent, text.len()));
        }
        if text.len() > ENCODE_HERE {
            let frames = self.encode_text(parent, name, text);
            let what = What::Message(Message::Encoded(frames), Some((name, text.ends_with('\n'))));
            return self.enqueue(text.len(), |queue| match writer {
                Some(writer) => queue.put(parent, writer, what),
                None => queue.put_foreign(parent, name, what),
            });
        }
        self.enqueue(text.len(), |queue| match writer {
            Some(writer) => queue.put_text(parent, writer, name, text),
            None => queue.put_foreign(parent, name, What::Text(name, text.to_owned())),
        });
    }

    fn enqueue(&self, bytes: usize, put: impl FnOnce(&mut Queue)) {
        self.change(|queue| self.add(queue, bytes, put));
    }

    fn add(&self, queue: &mut Queue, bytes: usize, put: impl FnOnce(&mut Queue)) {
        if !queue.closed {
            queue.bytes += bytes;
            self.shared.backpressure.grown_to(queue.bytes);
            put(queue);
        }
    }

    /// Changes the queue, then wakes the actor if there is something for it.
    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.queue();
        change(&mut queue);
        let waker = queue.take_news();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A `stream` message, encoded and signed.
    pub fn encode_text(&self, parent: &Parent, name: StreamName, text: &str) -> Frames {
        let session = self.session();
        let topic = format!("kernel.{}.stream.{}", session.id(), name.as_str()).into_bytes();
        // With room for the text: growing would double the memory for a large one.
        let mut content = Vec::with_capacity(text.len() + ROOM);
        // Writing to memory does not fail, and a name and a text always serialize.
        if serde_json::to_writer(&mut content, &Printed { name, text }).is_err() {
            content = EMPTY_OBJECT.to_vec();
        }
        session.encode(Outgoing {
            idents: &[topic],
            kind: &Stream::TYPE,
            parent: &parent.raw_header,
            metadata: Frame::EMPTY_OBJECT,
            content,
            buffers: Vec::new(),
        })
    }

    /// Sends text that waits to grow, and closes the lines of the calling thread.
    pub fn flush(&self) {
        self.change(|queue| {
            queue.lines.flush(Writer::current());
            queue.advance(Instant::now());
            if !queue.is_empty() {
                queue.flush = true;
                queue.note_news();
            }
        });
    }

    /// Takes no more messages. Those that wait still go out.
    pub fn close(&self) {
        self.change(|queue| {
            queue.release_all();
            queue.closed = true;
            self.shared.backpressure.close();
            queue.note_news();
        });
        self.shared.backpressure.wake();
    }

    /// Whether a thread that has published this should wait for [room](Publisher::when_room).
    pub fn is_congested(&self, published: Urgency) -> bool {
        self.shared.backpressure.is_congested(published)
    }

    /// Notifies `wake_fd` once when [`Publisher::is_congested`] may have changed; at once if there is room.
    pub fn when_room(&self, published: Urgency, wake_fd: Arc<WakeFd>) {
        self.shared.backpressure.when_room(published, wake_fd);
    }

    /// A subscriber has not read for this long, or reads again (None). While one is stuck and the queue is full,
    /// output is dropped instead of waiting for it, and a notice takes its place.
    pub fn set_stuck(&self, stuck_for: Option<Duration>) {
        if self.shared.backpressure.set_dropping(stuck_for.is_some())
            && let Some(stuck_for) = stuck_for
        {
            self.queue().stuck_for = stuck_for;
            self.shared.backpressure.wake();
        }
    }

    /// The request that output without a context belongs to.
    pub fn foreground(&self) -> Arc<Parent> {
        self.shared.foreground.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on output without a context belongs to this request.
    pub fn set_foreground(&self, parent: &Arc<Parent>) {
        *self.shared.foreground.lock().unwrap_or_else(PoisonError::into_inner) = parent.clone();
    }

    /// Takes the next entry. Wakes `waker` when there is more. `hold` decides about text that is alone in the queue, unless
    /// it is large or was flushed.
    pub fn take(&self, waker: &Waker, hold: impl FnOnce(&Text) -> Hold) -> Next {
        let mut queue = self.queue();
        if !queue.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            queue.waker = Some(waker.clone());
        }
        queue.advance(Instant::now());
        if let Some(text) = queue.only_text()
            && text.text.len() < JOIN_LIMIT / 2
            && !queue.flush
            && !queue.closed
        {
            let decision = hold(text);
            match decision {
                Hold::No | Hold::Yield => {}
                Hold::Line(_) => queue.await_line_end(),
                Hold::Until(_) => queue.sleep(),
            }
            if decision != Hold::No {
                return Next::Held(decision);
            }
        }
        let before = queue.bytes;
        let Some(entry) = queue.pop() else {
            queue.flush = false;
            queue.sleep();
            return match queue.lines.due(Instant::now()) {
                _ if queue.closed => Next::Closed,
                Some(due) => Next::Waits(due),
                None => Next::Empty,
            };
        };
        let room = self.shared.backpressure.shrunk(before, queue.bytes);
        drop(queue);
        if room {
            self.shared.backpressure.wake();
        }
        Next::Entry(entry)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every critical section leaves the queue whole, even one that panics.
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
