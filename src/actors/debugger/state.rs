//! The state of the debugger: its session, what pydevd and Python have not answered, breakpoints and stops.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::cells::CellFolder;
use super::link::Link;
use super::stops::{Breakpoints, Stops};
use crate::delivery::debug_work::DebugWork;
use crate::delivery::request::Request;
use crate::publisher::Publisher;
use crate::wire::dap::{self, Response};
use crate::wire::{Frame, MessageType, Parent};

/// What a thread that stands answers.
const OF_A_STOP: [&str; 8] = [
    "completions",
    "copyToGlobals",
    "evaluate",
    "exceptionInfo",
    "scopes",
    "setExpression",
    "setVariable",
    "variables",
];

/// Takes work to the Python side; an error says why there is no thread for it.
pub type ToPython = Box<dyn FnMut(DebugWork) -> Result<(), String> + Send>;

/// The debugger.
pub struct Debugger {
    pub(super) publisher: Publisher,
    pub(super) to_python: ToPython,
    pub(super) cells: CellFolder,
    /// How long pydevd may take for an answer.
    pub(super) patience: Duration,
    pub(super) session: Session,
    /// The connection to pydevd.
    pub(super) link: Option<Link>,
    /// The last number given to a message.
    pub(super) seq: i64,
    /// Requests that pydevd has not answered, by the number that they have there.
    pub(super) flights: HashMap<i64, Flight>,
    /// Work that Python has not done, by its number.
    pub(super) work: HashMap<u64, Work>,
    pub(super) last_work: u64,
    /// The work that attaches in this session.
    pub(super) attaching: u64,
    pub(super) breakpoints: Breakpoints,
    pub(super) stops: Stops,
    /// When a client was answered last, and whether busy has been published since.
    pub(super) quiet_since: Instant,
    pub(super) is_announced: bool,
    /// Whether `busy_when_quiet` is going to be called.
    pub(super) is_watched: bool,
    /// The last request: the parent of events.
    pub(super) parent: Arc<Parent>,
}

pub(super) enum Session {
    /// Nothing is loaded, or it is detached.
    Off,
    /// pydevd is being started, or what has dialled in has not shown yet that it is pydevd. These wait for it.
    Starting { token: String, waiting: Vec<Asked> },
    /// pydevd is connected.
    On(Connected),
    /// It is being detached. These wait for the end of that.
    Stopping { waiting: Vec<Asked> },
}

#[derive(Default)]
pub(super) struct Connected {
    /// What it can do: the body of its answer to `initialize`.
    pub(super) capabilities: Option<Box<RawValue>>,
    /// Clients that wait for that.
    pub(super) initializing: Vec<Asked>,
    pub(super) attached: bool,
    /// It has said that it is ready for breakpoints.
    pub(super) initialized: bool,
    /// It traces the threads.
    pub(super) tracing: bool,
    /// Answers that wait for that: what a client runs then is debugged.
    pub(super) held: Vec<(Asked, Response)>,
}

/// A request of a client.
pub(super) struct Asked {
    pub(super) job: Arc<Request>,
    pub(super) dap: dap::Request,
}

/// A request that pydevd has got.
pub(super) struct Flight {
    pub(super) purpose: Purpose,
    pub(super) deadline: SpawnHandle,
}

impl Flight {
    /// Whether a thread that stands has to answer it.
    pub(super) fn needs_stop(&self) -> bool {
        match &self.purpose {
            Purpose::Client(asked) => OF_A_STOP.contains(&asked.dap.command.as_str()),
            Purpose::Stack(_) | Purpose::Rich(_) => true,
            _ => false,
        }
    }
}

pub(super) enum Purpose {
    /// For a client, as it is.
    Client(Asked),
    /// For a client: the stack of a thread, without the kernel's own part.
    Stack(Asked),
    /// For a client: the displayed form of a variable.
    Rich(Asked),
    /// For a client: its breakpoints in this file.
    Breakpoints(Asked, String),
    /// Whether what has dialled in is what was started.
    Authorize,
    Initialize,
    Attach(Asked),
    ConfigurationDone,
    /// Which threads stand with this one; the event that tells it waits for the answer.
    Threads {
        stopped: i64,
        event: dap::Event,
    },
    /// For a client that waits for the end of the session.
    Disconnect(Asked),
}

pub(super) enum Work {
    Attach,
    Detach,
    /// For a client: the result is the body.
    Client(Asked),
}

impl Debugger {
    /// A debugger that is off.
    /// pydevd has `patience` for each answer.
    pub fn new(publisher: Publisher, to_python: ToPython, cells: CellFolder, patience: Duration) -> Self {
        Self {
            publisher,
            to_python,
            cells,
            patience,
            session: Session::Off,
            link: None,
            seq: 0,
            flights: HashMap::new(),
            work: HashMap::new(),
            last_work: 0,
            attaching: 0,
            breakpoints: Breakpoints::default(),
            stops: Stops::default(),
            quiet_since: Instant::now(),
            is_announced: false,
            is_watched: false,
            parent: Arc::new(Parent::none()),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(self.session, Session::On(_))
    }

    pub(super) fn is_in_use(&self) -> bool {
        matches!(self.session, Session::Starting { .. } | Session::On(_))
    }

    pub(super) fn succeed(&mut self, asked: &Asked, body: &impl Serialize) {
        self.respond(asked, to_raw_value(body).ok());
    }

    pub(super) fn respond(&mut self, asked: &Asked, body: Option<Box<RawValue>>) {
        let response = Response::success(&asked.dap, body);
        self.answer(&asked.job, &response);
    }

    pub(super) fn fail(&mut self, asked: &Asked, why: &str) {
        let response = Response::failure(asked.dap.seq, &asked.dap.command, why.to_owned());
        self.answer(&asked.job, &response);
    }

    /// What pydevd has answered, with the client's own number.
    pub(super) fn pass_back(&mut self, asked: &Asked, response: Response) {
        let response =
            Response { request_seq: asked.dap.seq, command: asked.dap.command.clone(), ..response };
        self.answer(&asked.job, &response);
    }

    pub(super) fn answer(&mut self, job: &Request, response: &Response) {
        self.seq += 1;
        job.answer_with(response.to_json(self.seq));
        self.quiet_since = Instant::now();
        self.is_announced = false;
    }

    pub(super) fn publish(&mut self, event: &dap::Event) {
        self.seq += 1;
        let content = event.to_json(self.seq);
        let kind = MessageType::DebugEvent;
        self.publisher.raw(&self.parent, &kind, Frame::EMPTY_OBJECT, content, Vec::new());
    }
}
