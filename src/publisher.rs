//! The way to iopub: one queue for everything that is published, by any thread.
//!
//! It is the mailbox of the [`IoPub`](crate::actors::iopub::IoPub) actor. It is not actix's own because
//! that one has no bound that `do_send` respects, and because text must be joined while it waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::job::Parent;
use crate::os::bell::Bell;
use crate::wire::content::{Content, ExecutionState, Status, Stream, StreamName};
use crate::wire::{EMPTY_OBJECT, Frames, MessageType, Outgoing, Session};

/// Text that waits is joined up to this many bytes for each message.
const JOIN_LIMIT: usize = 256 * 1024;

/// Text longer than this is encoded and signed by the thread that wrote it: it must not hold up the
/// thread that serves the sockets.
const ENCODE_HERE: usize = 64 * 1024;

/// With more bytes than this waiting, threads that publish are asked to wait.
const CONGESTED: usize = 32 * 1024 * 1024;

/// Publishes on iopub. Cheap to clone; every method may be called from any thread and none blocks.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    session: Arc<Session>,
    queue: Mutex<Queue>,
    /// Who waits for room.
    bells: Mutex<Vec<Arc<Bell>>>,
    /// Whether `queue.bytes` is above [`CONGESTED`]; read without the lock.
    congested: AtomicBool,
    /// The request whose cell runs, or ran last, on the main shell: what reaches the kernel from no
    /// known context belongs to it.
    foreground: Mutex<Arc<Parent>>,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Someone asked for waiting text to go out now.
    flush: bool,
    closed: bool,
    waker: Option<Waker>,
}

/// Something that waits to be published.
pub enum Entry {
    /// An encoded message.
    Message(Frames),
    /// Text of a stream, still growing.
    Text(Text),
}

/// Text that a request wrote to one of its streams.
pub struct Text {
    /// The request.
    pub parent: Arc<Parent>,
    /// The stream.
    pub name: StreamName,
    /// What was written.
    pub text: String,
    /// When the first of it was written.
    pub since: Instant,
}

/// What the queue has for the actor that empties it.
pub enum Next {
    /// This is next.
    Entry(Entry),
    /// There is nothing but text that may still grow: it can wait as long as the caller likes.
    Held,
    /// There is nothing.
    Empty,
    /// There is nothing, and nothing will come any more.
    Closed,
}

impl Publisher {
    /// A publisher that signs as `session`.
    pub fn new(session: Arc<Session>) -> Self {
        Self {
            shared: Arc::new(Shared {
                session,
                queue: Mutex::default(),
                bells: Mutex::default(),
                congested: AtomicBool::new(false),
                foreground: Mutex::new(Arc::new(Parent::none())),
            }),
        }
    }

    /// The session whose key signs what is published.
    pub fn session(&self) -> &Session {
        &self.shared.session
    }

    /// Publishes a message whose content is a type of the protocol.
    pub fn content<C: Content>(&self, parent: &Parent, content: &C) {
        // The protocol's types hold strings, numbers and raw JSON: they always serialize.
        let content = serde_json::to_vec(content).unwrap_or_else(|_| EMPTY_OBJECT.to_vec());
        self.raw(parent, &C::TYPE, EMPTY_OBJECT.to_vec(), content, Vec::new());
    }

    /// Publishes what the kernel does about a request.
    pub fn status(&self, parent: &Parent, execution_state: ExecutionState) {
        self.content(parent, &Status { execution_state });
    }

    /// Publishes a message whose metadata and content are JSON already. Encodes and signs on the calling
    /// thread.
    pub fn raw(
        &self,
        parent: &Parent,
        kind: &MessageType,
        metadata: Vec<u8>,
        content: Vec<u8>,
        buffers: Vec<zmq::Message>,
    ) {
        let topic = format!("kernel.{}.{kind}", self.shared.session.id()).into_bytes();
        self.frames(self.shared.session.encode(Outgoing {
            idents: &[topic],
            kind,
            parent: &parent.raw_header,
            metadata,
            content,
            buffers,
        }));
    }

    /// Publishes an encoded message.
    pub fn frames(&self, frames: Frames) {
        let bytes = size(&frames);
        let mut queue = self.queue();
        if !queue.closed {
            queue.entries.push_back(Entry::Message(frames));
            self.grow(&mut queue, bytes);
            queue.wake();
        }
    }

    /// Writes text to a stream of a request. Text joins what waits for the same stream.
    pub fn text(&self, parent: &Arc<Parent>, name: StreamName, text: &str) {
        if text.is_empty() {
            return;
        }
        if text.len() > ENCODE_HERE {
            return self.content(parent, &Stream { name, text: text.to_owned() });
        }
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        self.grow(&mut queue, text.len());
        if let Some(Entry::Text(last)) = queue.entries.back_mut()
            && last.name == name
            && last.text.len() + text.len() <= JOIN_LIMIT
            && (Arc::ptr_eq(&last.parent, parent) || last.parent.msg_id == parent.msg_id)
        {
            // Whoever wrote the first part has woken the actor.
            last.text.push_str(text);
            return;
        }
        queue.entries.push_back(Entry::Text(Text {
            parent: parent.clone(),
            name,
            text: text.to_owned(),
            since: Instant::now(),
        }));
        queue.wake();
    }

    /// Asks for text that waits to grow to go out now.
    pub fn flush(&self) {
        let mut queue = self.queue();
        if !queue.entries.is_empty() {
            queue.flush = true;
            queue.wake();
        }
    }

    /// Nothing more is taken; what waits still goes out.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        self.shared.congested.store(false, Ordering::Release);
        queue.wake();
        drop(queue);
        self.tell_of_room();
    }

    /// Whether so much waits that threads which publish should wait for [room](Publisher::when_room).
    pub fn is_congested(&self) -> bool {
        self.shared.congested.load(Ordering::Acquire)
    }

    /// Rings `bell` once when there is room again; at once, if there is.
    pub fn when_room(&self, bell: Arc<Bell>) {
        let mut bells = self.bells();
        // Under the lock that the other side takes after it has cleared the flag: no ring is missed.
        if self.is_congested() {
            bells.push(bell);
        } else {
            bell.ring();
        }
    }

    fn tell_of_room(&self) {
        for bell in self.bells().drain(..) {
            bell.ring();
        }
    }

    fn bells(&self) -> MutexGuard<'_, Vec<Arc<Bell>>> {
        self.shared.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request that output without a context belongs to.
    pub fn foreground(&self) -> Arc<Parent> {
        self.shared.foreground.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on output without a context belongs to this request.
    pub fn set_foreground(&self, parent: &Arc<Parent>) {
        *self.shared.foreground.lock().unwrap_or_else(PoisonError::into_inner) = parent.clone();
    }

    /// Takes the next entry. `waker` is woken when there is more. Text at the end of the queue is kept
    /// back while `hold` says that its request has just had a message, unless it is large or someone has
    /// asked for it.
    pub fn take(&self, waker: &Waker, hold: impl FnOnce(&Text) -> bool) -> Next {
        let mut queue = self.queue();
        if !queue.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            queue.waker = Some(waker.clone());
        }
        if let [Entry::Text(text)] = queue.entries.make_contiguous()
            && text.text.len() < JOIN_LIMIT / 2
            && !queue.flush
            && !queue.closed
        {
            // Borrowed anew: the slice above cannot live across the check of the flags.
            if let Some(Entry::Text(text)) = queue.entries.front()
                && hold(text)
            {
                return Next::Held;
            }
        }
        let Some(entry) = queue.entries.pop_front() else {
            queue.flush = false;
            return if queue.closed { Next::Closed } else { Next::Empty };
        };
        let was_full = queue.bytes > CONGESTED / 2;
        queue.bytes = queue.bytes.saturating_sub(match &entry {
            Entry::Message(frames) => size(frames),
            Entry::Text(text) => text.text.len(),
        });
        let room = was_full && queue.bytes <= CONGESTED / 2;
        if room {
            self.shared.congested.store(false, Ordering::Release);
        }
        drop(queue);
        if room {
            self.tell_of_room();
        }
        Next::Entry(entry)
    }

    fn grow(&self, queue: &mut Queue, bytes: usize) {
        queue.bytes += bytes;
        if queue.bytes > CONGESTED {
            self.shared.congested.store(true, Ordering::Release);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every critical section leaves the queue whole, even one that panics.
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

fn size(frames: &Frames) -> usize {
    frames.iter().map(|frame| frame.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher() -> Publisher {
        Publisher::new(Arc::new(Session::new(b"")))
    }

    fn parent(id: &str) -> Arc<Parent> {
        Arc::new(Parent { msg_id: id.into(), ..Parent::none() })
    }

    fn take(publisher: &Publisher) -> String {
        match publisher.take(Waker::noop(), |_| false) {
            Next::Entry(Entry::Text(text)) => format!("{}:{:?}:{}", text.parent.msg_id, text.name, text.text),
            Next::Entry(Entry::Message(_)) => "message".into(),
            Next::Held => "held".into(),
            Next::Empty => "empty".into(),
            Next::Closed => "closed".into(),
        }
    }

    #[test]
    fn text_joins_until_something_else_comes_between() {
        let (publisher, a, b) = (publisher(), parent("a"), parent("b"));
        publisher.text(&a, StreamName::Stdout, "1");
        publisher.text(&a, StreamName::Stdout, "2");
        publisher.text(&a, StreamName::Stderr, "3");
        publisher.text(&b, StreamName::Stderr, "4");
        publisher.status(&b, ExecutionState::Idle);
        publisher.text(&b, StreamName::Stderr, "5");
        assert_eq!(take(&publisher), "a:Stdout:12");
        assert_eq!(take(&publisher), "a:Stderr:3");
        assert_eq!(take(&publisher), "b:Stderr:4");
        assert_eq!(take(&publisher), "message");
        assert_eq!(take(&publisher), "b:Stderr:5");
        assert_eq!(take(&publisher), "empty");
    }

    #[test]
    fn the_last_text_is_held_until_flushed_or_followed() {
        let (publisher, a) = (publisher(), parent("a"));
        publisher.text(&a, StreamName::Stdout, "1");
        assert!(matches!(publisher.take(Waker::noop(), |_| true), Next::Held));
        publisher.flush();
        assert_eq!(take(&publisher), "a:Stdout:1");
        assert_eq!(take(&publisher), "empty");
        publisher.text(&a, StreamName::Stdout, "2");
        publisher.status(&a, ExecutionState::Idle);
        assert!(matches!(publisher.take(Waker::noop(), |_| true), Next::Entry(Entry::Text(_))));
    }

    #[test]
    fn large_text_does_not_wait_and_makes_congestion_visible() {
        let (publisher, a) = (publisher(), parent("a"));
        publisher.text(&a, StreamName::Stdout, &"x".repeat(CONGESTED + 1));
        assert!(publisher.is_congested());
        assert_eq!(take(&publisher), "message");
        assert!(!publisher.is_congested());
    }

    #[test]
    fn who_waits_for_room_is_told_when_half_of_it_is_free() -> std::io::Result<()> {
        let (publisher, a) = (publisher(), parent("a"));
        for _ in 0..3 {
            publisher.text(&a, StreamName::Stdout, &"x".repeat(CONGESTED / 2 - 1000));
        }
        assert!(publisher.is_congested());
        let bell = Arc::new(Bell::new()?);
        publisher.when_room(bell.clone());
        assert_eq!(take(&publisher), "message");
        assert!(publisher.is_congested(), "half is still full");
        assert_eq!(take(&publisher), "message");
        assert!(!publisher.is_congested());
        bell.wait(None)?;
        bell.clear();
        publisher.when_room(bell.clone());
        bell.wait(None)
    }

    #[test]
    fn a_closed_publisher_gives_out_what_it_has_and_takes_no_more() {
        let (publisher, a) = (publisher(), parent("a"));
        publisher.text(&a, StreamName::Stdout, "1");
        publisher.close();
        publisher.text(&a, StreamName::Stdout, "2");
        assert_eq!(take(&publisher), "a:Stdout:1");
        assert_eq!(take(&publisher), "closed");
    }
}
