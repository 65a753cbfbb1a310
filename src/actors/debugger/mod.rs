//! The debugger: an adapter between clients, which speak the Debug Adapter Protocol in `debug_request`s, and the debugger
//! in Python (pydevd), which speaks it over a connection that it dials.

mod cells;
mod clients;
mod link;
mod pydevd;
mod python;
mod standing;
mod state;
mod stops;
mod thread;

use std::sync::Arc;

use actix::prelude::*;
use tracing::warn;

pub use self::cells::CellFolder;
use self::link::{FromLink, What};
use self::state::{Asked, Purpose, Session};
pub use self::state::{Debugger, ToPython};
pub use self::thread::python_side;
use crate::delivery::debug_work::WorkDone;
use crate::delivery::job::Job;
use crate::delivery::request::Request;
use crate::wire::dap::{self, Response};

/// A `debug_request`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Debug(pub Job);

impl Actor for Debugger {
    type Context = Context<Self>;
}

impl Handler<Debug> for Debugger {
    type Result = ();

    fn handle(&mut self, Debug(job): Debug, ctx: &mut Self::Context) {
        self.parent = job.parent.clone();
        let read = dap::Request::read(&job.content);
        let job = Arc::new(Request::new(job, self.publisher.clone()));
        match read {
            Ok(dap) => self.admit(Asked { job, dap }, ctx),
            Err(problem) => {
                let (seq, command) = dap::fields_for_refusal(&job.job.content);
                self.answer(&job, &Response::failure(seq, &command, problem.to_string()));
            }
        }
    }
}

impl Handler<FromLink> for Debugger {
    type Result = ();

    fn handle(&mut self, FromLink { link, what }: FromLink, ctx: &mut Self::Context) {
        if link != self.attaching {
            return;
        }
        match what {
            What::Open(link) => {
                if matches!(self.session, Session::Starting { .. }) {
                    self.link = Some(link);
                    self.send(&dap::Request::new("pydevdAuthorize", None), Purpose::Authorize, ctx);
                }
            }
            What::Body(body) => self.received(&body, ctx),
            What::Closed(why) => {
                if self.is_in_use() {
                    warn!(why, "the debugger's connection has ended");
                    self.give_up(&format!("the debugger's connection has ended: {why}"), ctx);
                }
            }
        }
    }
}

impl Handler<WorkDone> for Debugger {
    type Result = ();

    fn handle(&mut self, done: WorkDone, ctx: &mut Self::Context) {
        self.done(done, ctx);
    }
}
