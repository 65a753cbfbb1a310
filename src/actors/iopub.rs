//! The iopub actor: sends all publications, in one order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::thread;

use actix::prelude::*;
use tokio::time::{Duration, Instant, Sleep};
use tracing::debug;

use super::pump::{Pump, Pumped, receive};
use crate::publisher::{Entry, Hold, Next, Publisher, Text};
use crate::transport::{Outbox, Transport};
use crate::wire::content::IopubWelcome;
use crate::wire::{EMPTY_OBJECT, Frame, Frames, MessageType, Outgoing, Parent, to_json};

/// Text of a request that has just had text waits this long, so that a flood needs few messages.
const JOIN: Duration = Duration::from_millis(10);

/// A line without its end waits this long for it: `print` writes a line and its end one by one, frontends would store two
/// outputs, and on a busy machine the thread that prints may have lost its turn.
const UNFINISHED: Duration = Duration::from_millis(4);

/// A whole line is sent when this time has passed since it was begun: the argument of a `print` may end in a line's end as
/// well. Waking this thread takes about as long; the rest of the time is left to other threads, that which prints among
/// them, because a timer would take a millisecond.
const WHOLE: Duration = Duration::from_micros(50);

/// Nothing is sent before the first subscription, or before this time has passed since the start: a client that restarts
/// the kernel and sends cells at once may be back on shell before it is back on iopub.
const FIRST_SUBSCRIBER: Duration = Duration::from_secs(5);

/// The XPUB socket. Empties the [`Publisher`]'s queue in order, greets every new subscriber (JEP 65), and
/// keeps what it cannot send yet: a slow subscriber slows the threads that publish, and costs no message.
pub struct IoPub<T> {
    outbox: Outbox<T>,
    publisher: Publisher,
    last_text: Option<(Arc<Parent>, Instant)>,
    timer: Pin<Box<Sleep>>,
    /// Until when the first subscriber is awaited.
    awaited: Option<Instant>,
    /// How long the socket may refuse a message before output is dropped.
    patience: Duration,
    refused_since: Option<Instant>,
    draining: Vec<Recipient<Drained>>,
}

/// Asks for a [`Drained`] when everything published so far is with the socket.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain(pub Recipient<Drained>);

/// Everything that was published before is with the socket.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drained;

impl<T: Transport> IoPub<T> {
    /// An actor for an open socket, which empties the queue of `publisher`. When a subscriber has not read for
    /// `patience`, threads that print wait for it no longer.
    pub fn new(transport: T, publisher: Publisher, patience: Duration) -> Self {
        Self {
            outbox: Outbox::new(transport),
            publisher,
            last_text: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            awaited: Some(Instant::now() + FIRST_SUBSCRIBER),
            patience,
            refused_since: None,
            draining: Vec::new(),
        }
    }

    /// Moves entries to the socket until the queue is empty or the socket full.
    fn send(&mut self, task: &mut TaskContext<'_>) {
        while !self.awaits_subscriber(task) && self.has_room(task) {
            let Self { publisher, last_text, .. } = self;
            let due = match publisher.take(task.waker(), |text| hold(last_text.as_ref(), text)) {
                Next::Entry(entry) => {
                    self.push(entry);
                    continue;
                }
                Next::Held(Hold::No | Hold::Yield) => {
                    thread::yield_now();
                    continue;
                }
                Next::Held(Hold::Line(until) | Hold::Until(until)) | Next::Waits(until) => until,
                Next::Empty | Next::Closed => {
                    for asker in self.draining.drain(..) {
                        asker.do_send(Drained);
                    }
                    return;
                }
            };
            if !self.is_past(due.into(), task) {
                return;
            }
        }
    }

    fn push(&mut self, entry: Entry) {
        match entry {
            Entry::Message(message) => self.outbox.push(self.publisher.encode(message)),
            Entry::Text(Text { parent, name, text, .. }) => {
                self.outbox.push(self.publisher.encode_text(&parent, name, &text));
                self.last_text = Some((parent, Instant::now()));
            }
        }
    }

    fn awaits_subscriber(&mut self, task: &mut TaskContext<'_>) -> bool {
        if let Some(until) = self.awaited
            && (!self.draining.is_empty() || self.is_past(until, task))
        {
            self.awaited = None;
        }
        self.awaited.is_some()
    }

    /// Sends what waits in the outbox. False if the socket is full: a subscriber does not read.
    fn has_room(&mut self, task: &mut TaskContext<'_>) -> bool {
        if self.outbox.flush() {
            if self.refused_since.take().is_some() {
                self.publisher.set_stuck(None);
            }
            return true;
        }
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        // A time that the clock cannot show never comes.
        if let Some(due) = since.checked_add(self.patience)
            && self.is_past(due, task)
        {
            self.publisher.set_stuck(Some(since.elapsed()));
        }
        false
    }

    /// Whether this time has come. If not, wakes the task then.
    fn is_past(&mut self, due: Instant, task: &mut TaskContext<'_>) -> bool {
        if due <= Instant::now() {
            return true;
        }
        self.timer.as_mut().reset(due);
        self.timer.as_mut().poll(task).is_ready()
    }
}

/// How long text that may still grow waits.
fn hold(last: Option<&(Arc<Parent>, Instant)>, text: &Text) -> Hold {
    let now = Instant::now().into_std();
    if let Some((parent, at)) = last
        && parent.msg_id == text.parent.msg_id
        && now < (*at + JOIN).into_std()
    {
        return Hold::Until((*at + JOIN).into_std());
    }
    if text.text.ends_with('\n') {
        return if now < text.since + WHOLE { Hold::Yield } else { Hold::No };
    }
    let due = text.since + UNFINISHED;
    if now < due { Hold::Line(due) } else { Hold::No }
}

impl<T: Transport> Actor for IoPub<T> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(Pump);
    }
}

impl<T: Transport> Pumped for IoPub<T> {
    fn pump(&mut self, _: &mut Context<Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        self.send(task);
        let Self { outbox, publisher, awaited, .. } = self;
        let waited = awaited.is_some();
        // The next poll of the outbox flushes what was pushed; the budget's end wakes the task again. Nothing
        // may be sent after the last poll: a send can swallow the edge of a receive.
        let received = receive(outbox, task, "iopub", |outbox, frames| match subscription(&frames) {
            Some((true, topic)) => {
                outbox.greet(&topic, welcome(publisher, &topic));
                // The first subscriber gets everything from the start.
                if awaited.take().is_none() {
                    publisher.busy_again();
                }
            }
            Some((false, topic)) => outbox.unsubscribe(&topic),
            None => debug!("something other than a subscription came in on iopub and was dropped"),
        });
        if waited && self.awaited.is_none() {
            task.waker().wake_by_ref();
        }
        received.into()
    }
}

impl<T: Transport> Handler<Drain> for IoPub<T> {
    type Result = ();

    fn handle(&mut self, Drain(asker): Drain, _: &mut Self::Context) {
        self.publisher.flush();
        self.draining.push(asker);
    }
}

/// A subscription message of XPUB: one frame, a byte (1: subscribe, 0: unsubscribe), the topic.
fn subscription(frames: &Frames) -> Option<(bool, Vec<u8>)> {
    match frames.iter().next()?.split_first() {
        Some((1, topic)) => Some((true, topic.to_vec())),
        Some((0, topic)) => Some((false, topic.to_vec())),
        _ => None,
    }
}

fn welcome(publisher: &Publisher, topic: &[u8]) -> Frames {
    let content = IopubWelcome { subscription: String::from_utf8_lossy(topic).into_owned() };
    publisher.session().encode(Outgoing {
        idents: &[topic.to_vec()],
        kind: &MessageType::IopubWelcome,
        parent: EMPTY_OBJECT,
        metadata: Frame::EMPTY_OBJECT,
        content: to_json(&content),
        buffers: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::content::StreamName;

    #[test]
    fn a_whole_line_after_a_quiet_time_leaves_at_once_and_all_else_waits_for_more() {
        let now = Instant::now();
        let parent = |id: &str| Arc::new(Parent { msg_id: id.to_owned(), ..Parent::none() });
        let ago = |time: Duration| now.checked_sub(time).unwrap_or(now).into_std();
        let held = |text: &str, age: Duration, last: Option<(Arc<Parent>, Instant)>| {
            let (text, since) = (text.to_owned(), ago(age));
            hold(last.as_ref(), &Text { parent: parent("a"), name: StreamName::Stdout, text, since })
        };
        let ms = Duration::from_millis;
        assert_eq!(held("a\n", ms(1), None), Hold::No);
        // With room for a machine that is slow: by then the time may be over.
        assert!(matches!(held("a\n", Duration::ZERO, None), Hold::Yield | Hold::No));
        let begun = Instant::now().into_std();
        let text =
            Text { parent: parent("a"), name: StreamName::Stdout, text: "a".into(), since: begun + ms(500) };
        assert_eq!(hold(None, &text), Hold::Line(begun + ms(500) + UNFINISHED));
        assert_eq!(held("a", ms(100), None), Hold::No);
        // Behind other text of the same request.
        let last = |id: &str| Some((parent(id), now + ms(500)));
        let joined = Hold::Until((now + ms(500) + JOIN).into_std());
        assert_eq!(held("a\n", ms(100), last("a")), joined);
        assert_eq!(held("a", ms(100), last("a")), joined);
        assert_eq!(held("a\n", ms(100), last("b")), Hold::No);
    }
}
