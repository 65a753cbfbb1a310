//! The heartbeat actor: sends all messages back.

use std::task::{Context as TaskContext, Poll};

use actix::prelude::*;

use super::pump::{Pump, Pumped, receive};
use crate::transport::{Outbox, Transport};

/// Echoes the frames of the heartbeat socket, on the control thread.
pub struct Heartbeat<T> {
    outbox: Outbox<T>,
}

impl<T: Transport> Heartbeat<T> {
    /// An actor for an open socket.
    pub fn new(transport: T) -> Self {
        Self { outbox: Outbox::new(transport) }
    }
}

impl<T: Transport> Actor for Heartbeat<T> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(Pump);
    }
}

impl<T: Transport> Pumped for Heartbeat<T> {
    fn pump(&mut self, _: &mut Context<Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        // The next poll of the outbox flushes what was pushed; the budget's end wakes the task again.
        receive(&mut self.outbox, task, "heartbeat", Outbox::push).into()
    }
}
