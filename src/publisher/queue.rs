//! What waits to be published, in order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::entry::{Entry, Piece, Text, What, Writer};
use super::line_arbiter::LineArbiter;
use crate::wire::Parent;
use crate::wire::content::StreamName;

/// Text that waits is joined up to this many bytes for each message.
pub(super) const JOIN_LIMIT: usize = 64 * 1024;

/// The queue behind a [`Publisher`](super::Publisher).
#[derive(Default)]
pub(super) struct Queue {
    slots: VecDeque<Slot>,
    /// What all of them and what waits in `lines` take.
    pub bytes: usize,
    /// Someone asked for waiting text to go out now.
    pub flush: bool,
    pub closed: bool,
    pub waker: Option<Waker>,
    actor: Actor,
    /// What waits for the end of another thread's line.
    pub lines: LineArbiter,
    /// For how long a subscriber had not read when output began to be dropped.
    pub stuck_for: Duration,
    /// The gaps in the queue, by the ids of their requests.
    gaps: HashMap<String, Arc<AtomicU64>>,
}

/// What the actor that empties the queue does.
#[derive(Default, PartialEq)]
enum Actor {
    /// It has found the queue empty.
    #[default]
    Sleeps,
    /// There is something for it, and it has not been woken yet.
    HasNews,
    /// It has been woken, and has not found the queue empty since.
    Woken,
}

enum Slot {
    Entry(Entry),
    /// Here output of a request was left out: how many bytes.
    Gap(Arc<Parent>, Arc<AtomicU64>),
}

impl Queue {
    /// There is something for the actor.
    pub fn note_news(&mut self) {
        if self.actor == Actor::Sleeps {
            self.actor = Actor::HasNews;
        }
    }

    /// What wakes the actor, if it is to be woken; for when the lock is released: it would only wait for that.
    pub fn take_news(&mut self) -> Option<Waker> {
        if self.actor != Actor::HasNews {
            return None;
        }
        // Without a waker it has not come yet, and will look when it does.
        let waker = self.waker.clone()?;
        self.actor = Actor::Woken;
        Some(waker)
    }

    /// The actor has taken what there was, and wants to be woken for more.
    pub fn sleep(&mut self) {
        self.actor = Actor::Sleeps;
    }

    /// Publishes something when no other thread's line is in the way.
    pub fn put(&mut self, parent: &Arc<Parent>, writer: Writer, what: What) {
        let now = Instant::now();
        if self.lines.admits(parent, writer, what.line(), now) {
            self.append(parent, what);
            self.advance(now);
        } else {
            self.lines.wait(parent, Piece { writer, what }, JOIN_LIMIT);
        }
        self.note_news();
    }

    /// As [`Queue::put`], for text, which joins what waits for the same stream.
    pub fn put_text(&mut self, parent: &Arc<Parent>, writer: Writer, name: StreamName, text: &str) {
        let now = Instant::now();
        if self.lines.admits(parent, writer, Some((name, text.ends_with('\n'))), now) {
            self.append_text(parent, name, text, now);
            self.advance(now);
        } else {
            self.lines.wait(parent, Piece { writer, what: What::Text(name, text.to_owned()) }, JOIN_LIMIT);
            // Somebody must look at the clock.
            self.note_news();
        }
    }

    /// Publishes text that waits for no line.
    pub fn put_foreign(&mut self, parent: &Arc<Parent>, name: StreamName, what: What) {
        self.lines.note_foreign(parent, name);
        self.append(parent, what);
        self.advance(Instant::now());
        self.note_news();
    }

    /// Publishes something that follows everything of its request.
    pub fn put_last(&mut self, parent: &Arc<Parent>, what: What) {
        for piece in self.lines.release(parent) {
            self.append(parent, piece.what);
        }
        self.append(parent, what);
        self.note_news();
    }

    /// Moves on what need not wait any longer.
    pub fn advance(&mut self, now: Instant) {
        if self.lines.is_empty() {
            return;
        }
        while let Some((parent, what)) = self.lines.next(now) {
            self.append(&parent, what);
        }
    }

    /// Nothing waits for a line any more.
    pub fn release_all(&mut self) {
        for (parent, what) in self.lines.release_all() {
            self.append(&parent, what);
        }
    }

    /// Leaves out output of a request. The gap is where it began.
    pub fn leave_out(&mut self, parent: &Arc<Parent>, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Some(gap) = self.gaps.get(&parent.msg_id) {
            gap.fetch_add(bytes, Ordering::Relaxed);
        } else if !self.closed {
            let gap = Arc::new(AtomicU64::new(bytes));
            self.gaps.insert(parent.msg_id.clone(), gap.clone());
            self.slots.push_back(Slot::Gap(parent.clone(), gap));
            self.note_news();
        }
    }

    /// The text that waits, if there is nothing else.
    pub fn only_text(&self) -> Option<&Text> {
        match self.slots.front() {
            Some(Slot::Entry(Entry::Text(text))) if self.slots.len() == 1 => Some(text),
            _ => None,
        }
    }

    /// Whether nothing waits but for the end of a line.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The first entry; a gap as text that tells of it.
    pub fn pop(&mut self) -> Option<Entry> {
        let (parent, bytes) = match self.slots.pop_front()? {
            Slot::Entry(entry) => {
                self.bytes = self.bytes.saturating_sub(entry.bytes());
                return Some(entry);
            }
            Slot::Gap(parent, bytes) => (parent, bytes),
        };
        self.gaps.remove(&parent.msg_id);
        let (bytes, seconds) = (bytes.load(Ordering::Relaxed), self.stuck_for.as_secs_f64());
        let text = format!(
            "\n[callboard: {bytes} bytes of output were dropped here, because a client of this kernel had not read \
             for {seconds:.1} s]\n"
        );
        Some(Entry::Text(Text { parent, name: StreamName::Stderr, text, since: Instant::now() }))
    }

    fn append(&mut self, parent: &Arc<Parent>, what: What) {
        match what {
            What::Text(name, text) => self.append_text(parent, name, &text, Instant::now()),
            What::Message(message, _) => self.slots.push_back(Slot::Entry(Entry::Message(message))),
        }
    }

    fn append_text(&mut self, parent: &Arc<Parent>, name: StreamName, text: &str, now: Instant) {
        if let Some(Slot::Entry(Entry::Text(last))) = self.slots.back_mut()
            && last.name == name
            && last.text.len() + text.len() <= JOIN_LIMIT
            && (Arc::ptr_eq(&last.parent, parent) || last.parent.msg_id == parent.msg_id)
        {
            // Whoever wrote the first part has woken the actor.
            last.text.push_str(text);
            return;
        }
        let text = Text { parent: parent.clone(), name, text: text.to_owned(), since: now };
        self.slots.push_back(Slot::Entry(Entry::Text(text)));
        self.note_news();
    }
}
