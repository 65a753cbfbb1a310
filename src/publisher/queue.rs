//! The queue of messages and text that wait to be published.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::entry::{Entry, Message, Piece, Text, What, Writer};
use super::line_arbiter::LineArbiter;
use super::running::Running;
use crate::wire::Parent;
use crate::wire::content::StreamName;

/// Text that waits is joined up to this many bytes for each message.
pub(super) const JOIN_LIMIT: usize = 64 * 1024;

/// The queue behind a [`Publisher`](super::Publisher).
#[derive(Default)]
pub(super) struct Queue {
    slots: VecDeque<Slot>,
    /// How many bytes wait, here and in `lines`.
    pub bytes: usize,
    /// Text that waits to grow is to go out now.
    pub flush: bool,
    pub closed: bool,
    pub waker: Option<Waker>,
    actor: Actor,
    /// Output that waits for the end of a line of another thread.
    pub lines: LineArbiter,
    /// The requests whose code runs.
    pub running: Running,
    /// How long a subscriber had not read when output began to be dropped.
    pub stuck_for: Duration,
    /// The gaps in the queue, by the ids of their requests.
    gaps: HashMap<String, Arc<AtomicU64>>,
}

/// The state of the actor that empties the queue.
#[derive(Default, PartialEq)]
enum Actor {
    /// Has found the queue empty, or waits for its timer.
    #[default]
    Sleeps,
    /// Waits for the end of the line that is alone in the queue, or for its timer.
    AwaitsLineEnd,
    /// Has entries to take, and has not been woken yet.
    HasNews,
    /// Has been woken, and has not found the queue empty since.
    Woken,
}

enum Slot {
    Entry(Entry),
    /// Output of a request was dropped here: how many bytes.
    Gap(Arc<Parent>, Arc<AtomicU64>),
}

impl Queue {
    /// Notes that there are entries for the actor.
    pub fn note_news(&mut self) {
        if matches!(self.actor, Actor::Sleeps | Actor::AwaitsLineEnd) {
            self.actor = Actor::HasNews;
        }
    }

    /// Returns the waker of the actor if it needs waking. Wake it after unlocking, or it wakes only to block.
    pub fn take_news(&mut self) -> Option<Waker> {
        if self.actor != Actor::HasNews {
            return None;
        }
        // Without a waker the actor has not come yet; it looks when it does.
        let waker = self.waker.clone()?;
        self.actor = Actor::Woken;
        Some(waker)
    }

    /// Notes that the actor has taken all entries and wants to be woken for more.
    pub fn sleep(&mut self) {
        self.actor = Actor::Sleeps;
    }

    /// Notes that the actor wants to be woken for more, or when the text that it has left in the queue ends a line.
    pub fn await_line_end(&mut self) {
        self.actor = Actor::AwaitsLineEnd;
    }

    /// Publishes output when no line of another thread is open.
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
            // The actor sets a timer for it.
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

    /// Publishes a message behind all output of its request.
    pub fn put_last(&mut self, parent: &Arc<Parent>, what: What) {
        for piece in self.lines.release(parent) {
            self.append(parent, piece.what);
        }
        self.append(parent, what);
        self.note_news();
    }

    /// Publishes the idle of a request behind all of its output, and busy once more if code of another one runs, and does
    /// not stand in the debugger.
    pub fn put_idle(&mut self, parent: &Arc<Parent>, idle: Message) {
        self.put_last(parent, What::Message(idle, None));
        if !self.running.standing {
            self.put_busy_again();
        }
    }

    /// A thread stands in the debugger, or none does any more.
    pub fn set_standing(&mut self, standing: bool) {
        if std::mem::replace(&mut self.running.standing, standing) && !standing {
            self.put_busy_again();
        }
    }

    /// Publishes busy once more if the code of a request runs.
    pub fn put_busy_again(&mut self) {
        if let Some(busy) = self.running.busy_again() {
            self.bytes += busy.bytes();
            self.slots.push_back(Slot::Entry(Entry::Message(busy)));
            self.note_news();
        }
    }

    /// Moves on output that no longer waits for a line.
    pub fn advance(&mut self, now: Instant) {
        if self.lines.is_empty() {
            return;
        }
        while let Some((parent, what)) = self.lines.next(now) {
            self.append(&parent, what);
        }
    }

    /// Moves on all output that waits for a line.
    pub fn release_all(&mut self) {
        for (parent, what) in self.lines.release_all() {
            self.append(&parent, what);
        }
    }

    /// Drops output of a request and leaves a gap in its place.
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

    /// Whether no entry can be taken; output may still wait for a line.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes the first entry. A gap becomes text that tells of it.
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
            // The writer of the first part has woken the actor.
            last.text.push_str(text);
            if self.actor == Actor::AwaitsLineEnd && text.ends_with('\n') {
                self.actor = Actor::HasNews;
            }
            return;
        }
        let text = Text { parent: parent.clone(), name, text: text.to_owned(), since: now };
        self.slots.push_back(Slot::Entry(Entry::Text(text)));
        self.note_news();
    }
}
