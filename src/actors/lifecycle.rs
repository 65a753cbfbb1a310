//! The lifecycle actor: interrupt, shutdown, and the deadline after which the process ends in any case.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tracing::{info, warn};

use super::caller::{Caller, Stop};
use super::subshell::Close;
use crate::delivery::job::Job;
use crate::delivery::request::Request;
use crate::os::process::Process;
use crate::publisher::Publisher;
use crate::wire::Parent;
use crate::wire::content::{InterruptReply, ShutdownReply, ShutdownRequest, StreamName, reply};

/// Serves interrupt and shutdown on the control thread.
pub struct Lifecycle {
    publisher: Publisher,
    process: Box<dyn Process>,
    shells: Recipient<Close>,
    shell: Addr<Caller>,
    deadline: Duration,
    stopping: bool,
    /// The cell that was warned last of low memory.
    warned: Option<String>,
}

/// An `interrupt_request`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Interrupt(pub Job);

/// A `shutdown_request`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// The request.
    pub job: Job,
    /// Its content.
    pub content: ShutdownRequest,
}

/// The process that started this one has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ParentEnded;

/// Memory is running out, of the machine or of the container.
#[derive(Message)]
#[rtype(result = "()")]
pub struct MemoryLow {
    /// Bytes in use.
    pub used: u64,
    /// Bytes in all.
    pub limit: u64,
    /// Whether the limit is that of a container (cgroup), and not the machine's memory.
    pub of_container: bool,
}

impl Lifecycle {
    /// An actor that ends the process at the latest `deadline` after a shutdown was requested.
    pub fn new(
        publisher: Publisher,
        process: Box<dyn Process>,
        shells: Recipient<Close>,
        shell: Addr<Caller>,
        deadline: Duration,
    ) -> Self {
        Self { publisher, process, shells, shell, deadline, stopping: false, warned: None }
    }

    fn stop(&mut self, parent: &Arc<Parent>, restart: bool) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.publisher.content(parent, &ShutdownReply { status: reply::Ok, restart });
        self.shells.do_send(Close);
        self.shell.do_send(Stop);
        // Python ignores this when no cell runs.
        self.process.interrupt();
        self.process.exit_after(self.deadline);
    }
}

impl Actor for Lifecycle {
    type Context = Context<Self>;
}

impl Handler<Interrupt> for Lifecycle {
    type Result = ();

    fn handle(&mut self, Interrupt(job): Interrupt, _: &mut Self::Context) {
        self.process.interrupt();
        Request::new(job, self.publisher.clone()).answer(&InterruptReply { status: reply::Ok });
    }
}

impl Handler<Shutdown> for Lifecycle {
    type Result = ();

    fn handle(&mut self, Shutdown { job, content }: Shutdown, _: &mut Self::Context) {
        let ShutdownRequest { restart } = content;
        let parent: Arc<Parent> = job.parent.clone();
        info!(restart, "shutdown");
        Request::new(job, self.publisher.clone()).answer(&ShutdownReply { status: reply::Ok, restart });
        self.stop(&parent, restart);
    }
}

impl Handler<ParentEnded> for Lifecycle {
    type Result = ();

    fn handle(&mut self, _: ParentEnded, _: &mut Self::Context) {
        warn!("the process that started this kernel has ended: shutting down");
        self.stop(&Arc::new(Parent::none()), false);
    }
}

impl Handler<MemoryLow> for Lifecycle {
    type Result = ();

    /// Warns in the cell that runs, once for each cell.
    fn handle(&mut self, MemoryLow { used, limit, of_container }: MemoryLow, _: &mut Self::Context) {
        let cell = self.publisher.foreground();
        if self.warned.as_ref() == Some(&cell.msg_id) {
            return;
        }
        self.warned = Some(cell.msg_id.clone());
        let whose = if of_container { "container" } else { "machine" };
        let percent = used.saturating_mul(100) / limit.max(1);
        let told = format!(
            "memory is running out: {} of the {} of this {whose} are in use ({percent} %)",
            gib(used),
            gib(limit)
        );
        // In the log as well: if the kernel is killed, it says why.
        warn!("{told}");
        let text = format!(
            "callboard: {told}. When it is used up, the system ends the kernel and its variables are lost: delete what \
             you no longer need (del, %reset), or interrupt the cell.\n"
        );
        self.publisher.foreign_text(&cell, StreamName::Stderr, &text);
    }
}

fn gib(bytes: u64) -> String {
    let mib = bytes >> 20;
    format!("{}.{:02} GiB", mib >> 10, (mib & 1023) * 100 / 1024)
}
