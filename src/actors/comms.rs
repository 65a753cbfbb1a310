//! The comms actor: which comms are open.

use std::collections::BTreeMap;

use actix::prelude::*;

use crate::delivery::job::Job;
use crate::delivery::request::Request;
use crate::publisher::Publisher;
use crate::wire::MessageType;
use crate::wire::content::{Checked, CommInfo, CommInfoReply, CommInfoRequest, check, reply};

/// Knows every open comm from the messages of both directions, and answers `comm_info_request` without Python.
pub struct Comms {
    publisher: Publisher,
    open: BTreeMap<String, String>,
}

/// A comm was opened or closed, by a client or by Python.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum CommEvent {
    /// It was opened.
    Opened {
        /// Its id.
        comm_id: String,
        /// The name of its target.
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
pub struct Describe {
    /// The request.
    pub job: Job,
    /// Its content.
    pub content: CommInfoRequest,
}

impl CommEvent {
    /// The event that a checked content stands for.
    pub fn of(content: Checked) -> Option<Self> {
        match content {
            Checked::CommOpen { comm_id, target_name } => Some(Self::Opened { comm_id, target_name }),
            Checked::CommClose { comm_id } => Some(Self::Closed { comm_id }),
            _ => None,
        }
    }

    /// The event that a message of the kernel itself stands for.
    pub fn of_published(kind: &MessageType, content: &[u8]) -> Option<Self> {
        match kind {
            MessageType::CommOpen | MessageType::CommClose => check(kind, content).ok().and_then(Self::of),
            _ => None,
        }
    }
}

impl Comms {
    /// An actor that knows no open comm.
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

    fn handle(&mut self, Describe { job, content }: Describe, _: &mut Self::Context) {
        let wanted = content.target_name;
        let comms = self
            .open
            .iter()
            .filter(|(_, target)| wanted.as_ref().is_none_or(|wanted| wanted == *target))
            .map(|(id, target)| (id.clone(), CommInfo { target_name: target.clone() }))
            .collect();
        Request::new(job, self.publisher.clone()).answer(&CommInfoReply { status: reply::Ok, comms });
    }
}
