//! The registry of subshells: makes, finds and deletes them (JEP 91).

use std::sync::mpsc;

use actix::prelude::*;
use thiserror::Error;

use super::caller::{Adopt, Caller, CallerError, CallerHandle, Role, Spec, Task, ThreadEnded};
use super::socket::{Barrier, Passed};
use super::subshell::{Close, Delete, Subshell};
use crate::delivery::job::Job;
use crate::delivery::pending::Promise;
use crate::delivery::request::Request;
use crate::publisher::Publisher;
use crate::wire::content::{
    CreateSubshellReply, DeleteSubshellReply, DeleteSubshellRequest, ListSubshellReply, SubshellRequest,
    reply,
};
use crate::wire::sanitize::quoted;

/// The subshells, oldest first, without the main shell.
pub struct Subshells {
    all: Vec<Shell>,
    /// The Caller of the main thread: the parent of theirs.
    parent: CallerHandle,
    /// The Caller whose thread starts their threads, and cancels their cells.
    starter: CallerHandle,
    publisher: Publisher,
    /// The shell socket, which knows what has arrived.
    socket: Recipient<Barrier>,
    /// Whether the kernel's options allow them.
    allowed: bool,
    closing: bool,
}

/// A subshell and the thread that runs its cells.
pub struct Shell {
    id: String,
    /// Its queue of cells.
    pub queue: Addr<Subshell>,
    /// Its thread.
    pub caller: CallerHandle,
}

/// Why there is no such subshell.
#[derive(Debug, Error)]
pub enum SubshellError {
    /// By the kernel's options.
    #[error("subshells are switched off: start the kernel without --no-subshells")]
    Off,
    /// The kernel has been closed.
    #[error("the kernel is ending: it makes no more subshells")]
    Ending,
    /// Its Caller cannot be made.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// No subshell has this id.
    #[error("there is no subshell {}: it was deleted, or is another kernel's", quoted(.0))]
    Unknown(String),
}

/// Make a subshell and return its id, for Python.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CreateSubshell(pub mpsc::Sender<Result<String, SubshellError>>);

/// Delete a subshell, for Python, and keep the promise when its thread has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DeleteSubshell {
    /// Which.
    pub id: String,
    /// Completed when its thread has ended; lost if there is no such subshell.
    pub promise: Promise,
}

/// Return the ids of the subshells, for Python.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ListSubshells(pub mpsc::Sender<Vec<String>>);

/// A request about subshells.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Manage {
    /// The request.
    pub job: Job,
    /// Its content.
    pub content: SubshellRequest,
}

/// Asks for a [`Passed`] when the replies of all cells that have ended by now are with the socket.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SettleAll(pub Recipient<Passed>);

impl Subshells {
    /// A registry without subshells. Their Callers are children of `parent`; the thread of `starter` starts theirs.
    pub fn new(
        parent: CallerHandle,
        starter: CallerHandle,
        publisher: Publisher,
        socket: Recipient<Barrier>,
        allowed: bool,
    ) -> Self {
        Self { all: Vec::new(), parent, starter, publisher, socket, allowed, closing: false }
    }

    /// Whether the kernel's options allow subshells.
    fn check_allowed(&self) -> Result<(), SubshellError> {
        if self.allowed { Ok(()) } else { Err(SubshellError::Off) }
    }

    /// The subshell with this id.
    pub fn find(&self, id: &str) -> Result<&Shell, SubshellError> {
        let found = self.all.iter().find(|shell| shell.id == id);
        found.ok_or_else(|| SubshellError::Unknown(id.to_owned()))
    }

    /// The ids of all subshells.
    pub fn ids(&self) -> Vec<String> {
        self.all.iter().map(|shell| shell.id.clone()).collect()
    }

    /// The queues of all subshells.
    pub fn queues(&self) -> impl Iterator<Item = Addr<Subshell>> {
        self.all.iter().map(|shell| shell.queue.clone())
    }

    /// Answers a request.
    pub fn manage(&mut self, Manage { job, content }: Manage) {
        let request = Request::new(job, self.publisher.clone());
        if let Err(problem) = self.check_allowed() {
            return request.refuse("NoSubshells", &problem.to_string());
        }
        match content {
            SubshellRequest::Create => match self.create() {
                Ok(subshell_id) => request.answer(&CreateSubshellReply { status: reply::Ok, subshell_id }),
                Err(problem) => request.refuse("CallerError", &problem.to_string()),
            },
            SubshellRequest::Delete(DeleteSubshellRequest { subshell_id }) => match self.delete(&subshell_id)
            {
                Ok(_) => request.answer(&DeleteSubshellReply { status: reply::Ok }),
                Err(problem) => request.refuse("UnknownSubshellError", &problem.to_string()),
            },
            SubshellRequest::List => {
                request.answer(&ListSubshellReply { status: reply::Ok, subshell_id: self.ids() });
            }
        }
    }

    /// Makes a subshell and returns its id. Its thread is started later; cells that come before wait in the inbox.
    pub fn create(&mut self) -> Result<String, SubshellError> {
        self.check_allowed()?;
        if self.closing {
            return Err(SubshellError::Ending);
        }
        let Self { parent, starter, .. } = self;
        let id = uuid::Uuid::new_v4().to_string();
        let name = format!("Subshell {}", id.split('-').next().unwrap_or(&id));
        let spec = Spec {
            backend: parent.spec.backend,
            use_uvloop: parent.spec.use_uvloop,
            parent: Some(parent.spec.id),
            ..Spec::new(&name, Role::Subshell(id.clone()))
        };
        let caller = Caller::launch(spec, Some(starter.inbox.clone()), Some(parent.addr.clone()))?;
        parent.addr.do_send(Adopt(caller.clone()));
        if starter.inbox.push(Task::Start(caller.clone())).is_err() {
            caller.addr.do_send(ThreadEnded);
            return Err(SubshellError::Ending);
        }
        let (handle, publisher, socket) = (caller.clone(), self.publisher.clone(), self.socket.clone());
        let queue = Subshell::create(|ctx| Subshell::new(false, handle, publisher, socket, ctx));
        self.all.push(Shell { id: id.clone(), queue, caller });
        Ok(id)
    }

    /// Deletes a subshell: aborts its cells and stops its thread. Returns the Caller of that thread.
    pub fn delete(&mut self, id: &str) -> Result<CallerHandle, SubshellError> {
        let at = self.all.iter().position(|shell| shell.id == id);
        let at = at.ok_or_else(|| SubshellError::Unknown(id.to_owned()))?;
        let Shell { queue, caller, .. } = self.all.remove(at);
        queue.do_send(Delete { canceller: self.starter.inbox.clone() });
        Ok(caller)
    }

    /// Aborts the cells of all subshells and makes no more subshells: the kernel is ending.
    pub fn close(&mut self) {
        self.closing = true;
        for queue in self.queues() {
            queue.do_send(Close);
        }
    }
}
