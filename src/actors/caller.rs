//! A Caller: stands for one Python thread with its event loop.

use std::sync::Arc;

use actix::prelude::*;
use tracing::{debug, error};

use crate::inbox::Inbox;
use crate::job::Job;
use crate::publisher::Publisher;
use crate::request::{Assignment, Request};

/// Owns the inbox of a Python thread. Puts work there and wakes the thread; never runs Python itself.
pub struct Caller {
    name: String,
    inbox: Arc<Inbox<Work>>,
    publisher: Publisher,
    children: Vec<Addr<Caller>>,
}

/// What a Python thread is given to do.
pub enum Work {
    /// Work on a request.
    Request(Assignment),
    /// Finish what runs, then end the event loop.
    Stop,
}

/// Hand a request to the Caller's thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Post(pub Arc<Request>);

/// Another Caller that is to stop when this one stops.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Adopt(pub Addr<Caller>);

/// Stop the Caller's thread and those of its children.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// The Caller's thread has ended: whatever it had not taken is answered with an error.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ThreadEnded;

impl Caller {
    /// A Caller whose thread drains `inbox`.
    pub fn new(name: &str, inbox: Arc<Inbox<Work>>, publisher: Publisher) -> Self {
        Self { name: name.to_owned(), inbox, publisher, children: Vec::new() }
    }

    fn assign(&self, request: Arc<Request>) {
        if let Err(Work::Request(request)) = self.inbox.push(Work::Request(Assignment::new(request))) {
            debug!(caller = self.name, kind = %request.job.kind, "the thread has ended: a request is refused");
            request.refuse("CallerStopped", &format!("the Caller {:?} has stopped", self.name));
        }
    }
}

impl Actor for Caller {
    type Context = Context<Self>;
}

impl Handler<Job> for Caller {
    type Result = ();

    fn handle(&mut self, job: Job, _: &mut Self::Context) {
        self.assign(Arc::new(Request::new(job, self.publisher.clone())));
    }
}

impl Handler<Post> for Caller {
    type Result = ();

    fn handle(&mut self, Post(request): Post, _: &mut Self::Context) {
        self.assign(request);
    }
}

impl Handler<Adopt> for Caller {
    type Result = ();

    fn handle(&mut self, Adopt(child): Adopt, _: &mut Self::Context) {
        self.children.push(child);
    }
}

impl Handler<Stop> for Caller {
    type Result = ();

    fn handle(&mut self, _: Stop, _: &mut Self::Context) {
        for child in &self.children {
            child.do_send(Stop);
        }
        if self.inbox.push(Work::Stop).is_err() {
            debug!(caller = self.name, "asked to stop, but its thread has ended already");
        }
    }
}

impl Handler<ThreadEnded> for Caller {
    type Result = ();

    fn handle(&mut self, _: ThreadEnded, _: &mut Self::Context) {
        let left = self.inbox.close();
        if !left.is_empty() {
            error!(caller = self.name, left = left.len(), "the thread ended with work in its inbox");
        }
        // Dropping an assignment that was never taken answers it.
        drop(left);
    }
}
