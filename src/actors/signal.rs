//! The actor through which a thread that is no actor waits for an answer.

use std::sync::mpsc;

use actix::prelude::*;
use tracing::debug;

use super::iopub::Drained;
use super::socket::Passed;

/// Passes a [`Drained`] or a [`Passed`] on to a thread that waits.
pub struct Signal(pub mpsc::Sender<()>);

impl Actor for Signal {
    type Context = Context<Self>;
}

impl Signal {
    fn pass_on(&self, ctx: &mut Context<Self>) {
        if self.0.send(()).is_err() {
            debug!("the thread that closed the kernel waits no more");
        }
        ctx.stop();
    }
}

impl Handler<Drained> for Signal {
    type Result = ();

    fn handle(&mut self, _: Drained, ctx: &mut Self::Context) {
        self.pass_on(ctx);
    }
}

impl Handler<Passed> for Signal {
    type Result = ();

    fn handle(&mut self, _: Passed, ctx: &mut Self::Context) {
        self.pass_on(ctx);
    }
}
