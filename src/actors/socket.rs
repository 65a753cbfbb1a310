//! The socket actors of shell, control and stdin: make jobs of frames, and send replies.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use actix::prelude::*;

use super::drop_log::{DropLog, SPAN};
use super::pump::{Pump, Pumped, Received, receive};
use crate::delivery::job::{Channel, Job, Reply};
use crate::transport::{Outbox, Transport};
use crate::wire::{Frames, Verifier};

/// A barrier passes when nothing is left to receive, or after this many budgets of messages.
const BARRIER_PATIENCE: u32 = 1000;

/// A ROUTER socket of one channel.
///
/// Verifies messages and makes [`Job`]s of them, with this actor as their reply address. Logs and drops malformed ones.
pub struct Socket<T> {
    channel: Channel,
    outbox: Outbox<T>,
    verifier: Arc<Verifier>,
    drop_log: DropLog,
    router: Recipient<Inbound>,
    /// The recipients of barriers, and for how many more budgets of messages each may wait.
    barriers: Vec<(Recipient<Passed>, u32)>,
    /// Pumps the socket for another try of messages whose clients were not connected.
    retrying: Option<Waker>,
}

/// How long a prompt waits for another try while its client is not connected to stdin.
const RETRY: Duration = Duration::from_millis(20);

/// What a socket actor sends to its router.
#[derive(Message)]
#[rtype(result = "()")]
#[allow(clippy::large_enum_variant)] // nearly every one is a job, and actix boxes messages itself
pub enum Inbound {
    /// A message came in.
    Job(Job),
    /// All that had arrived when this [`Barrier`] was requested is ahead of it. Its recipient is told on the way of the
    /// jobs.
    Barrier(Recipient<Passed>),
}

/// Asks a socket actor for a mark behind everything that has arrived by now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Barrier(pub Recipient<Passed>);

/// The jobs ahead of a [`Barrier`] have all been delivered.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Passed;

impl<T: Transport> Socket<T> {
    /// An actor for an open socket, whose jobs go to `router`. All channels share one verifier.
    pub fn new(channel: Channel, transport: T, verifier: Arc<Verifier>, router: Recipient<Inbound>) -> Self {
        Self {
            channel,
            // A prompt is the only message for a client that may not have sent any on its socket.
            outbox: if channel == Channel::Stdin {
                Outbox::patient(transport)
            } else {
                Outbox::new(transport)
            },
            verifier,
            drop_log: DropLog::default(),
            router,
            barriers: Vec::new(),
            retrying: None,
        }
    }
}

impl<T: Transport> Actor for Socket<T> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // `do_send` ignores the bound of the mailbox; replies are as many as requests.
        ctx.spawn(Pump);
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.outbox.flush();
        Running::Stop
    }
}

impl<T: Transport> Pumped for Socket<T> {
    fn pump(&mut self, ctx: &mut Context<Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let Self { channel, outbox, verifier, drop_log, router, .. } = self;
        let received =
            receive(outbox, task, channel.as_str(), |_, frames: Frames| match verifier.decode(frames) {
                Ok(message) => {
                    router.do_send(Inbound::Job(Job::new(*channel, message, ctx.address().recipient())));
                }
                Err(problem) => {
                    if drop_log.log(channel.as_str(), &problem) {
                        ctx.run_later(SPAN, |socket, _| socket.drop_log.log_rest(socket.channel.as_str()));
                    }
                }
            });
        if self.outbox.has_stranded() && self.retrying.is_none() {
            self.retrying = Some(task.waker().clone());
            ctx.run_later(RETRY, |socket, _| {
                socket.outbox.retry();
                // Not sent from here: a send can swallow the edge of a receive.
                if let Some(waker) = socket.retrying.take() {
                    waker.wake();
                }
            });
        }
        // A barrier passes when nothing is left to receive: all that had arrived before is ahead of it then. Clients that
        // send without a pause delay it by BARRIER_PATIENCE budgets at most.
        self.barriers.retain_mut(|(asker, patience)| {
            *patience -= 1;
            let passes = received != Received::Some || *patience == 0;
            if passes {
                self.router.do_send(Inbound::Barrier(asker.clone()));
            }
            !passes
        });
        received.into()
    }
}

impl<T: Transport> Handler<Reply> for Socket<T> {
    type Result = ();

    fn handle(&mut self, Reply(frames): Reply, _: &mut Self::Context) {
        self.outbox.push(frames);
    }
}

impl<T: Transport> Handler<Barrier> for Socket<T> {
    type Result = ();

    fn handle(&mut self, Barrier(asker): Barrier, _: &mut Self::Context) {
        self.barriers.push((asker, BARRIER_PATIENCE));
    }
}
