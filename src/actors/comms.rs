//! Which comms are open.

use std::collections::BTreeMap;

use actix::prelude::*;

use crate::delivery::job::Job;
use crate::delivery::request::Request;
use crate::publisher::Publisher;
use crate::wire::content::{CommInfo, CommInfoReply, CommInfoRequest, reply};

/// Knows every open comm by id, from the messages that pass in both directions, so that
/// `comm_info_request` is answered without Python.
pub struct Comms {
    publisher: Publisher,
    open: BTreeMap<String, String>,
}

/// Something happened to a comm, in either direction.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum CommEvent {
    /// It was opened.
    Opened {
        /// Its id.
        comm_id: String,
        /// The name of the target that it talks to.
        target_name: String,
    },
    /// It was closed.
    Closed {
        /// Its id.
        comm_id: String,
    },
}

/// A `comm_info_request` to answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Describe(pub Job);

impl Comms {
    /// No comm is open.
    pub fn new(publisher: Publisher) -> Self {
        Self { publisher, open: BTreeMap::new() }
    }
}

impl Actor for Comms {
    type Context = Context<Self>;
}

impl Handler<CommEvent> for Comms {
    type Result = ();

    fn handle(&mut self, event: CommEvent, _: &mut Self::Context) {
        match event {
            CommEvent::Opened { comm_id, target_name } => {
                self.open.insert(comm_id, target_name);
            }
            CommEvent::Closed { comm_id } => {
                self.open.remove(&comm_id);
            }
        }
    }
}

impl Handler<Describe> for Comms {
    type Result = ();

    fn handle(&mut self, Describe(job): Describe, _: &mut Self::Context) {
        // The router has checked the content: what cannot be read here asks for all comms.
        let wanted = serde_json::from_slice::<CommInfoRequest>(&job.content).ok().and_then(|c| c.target_name);
        let comms = self
            .open
            .iter()
            .filter(|(_, target)| wanted.as_ref().is_none_or(|wanted| wanted == *target))
            .map(|(id, target)| (id.clone(), CommInfo { target_name: target.clone() }))
            .collect();
        Request::new(job, self.publisher.clone()).answer(&CommInfoReply { status: reply::Ok, comms });
    }
}
