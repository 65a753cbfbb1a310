//! What Python does for the debugger, and the end of a session, which is Python's to clean up.

use actix::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tracing::warn;

use super::state::{Asked, Connected, Debugger, Flight, Purpose, Session, Work};
use crate::delivery::debug_work::{DebugWork, WorkDone};

impl Debugger {
    /// The session cannot begin, or has broken off: answers everything that waits for it.
    pub(super) fn give_up(&mut self, why: &str, ctx: &mut Context<Self>) {
        let waiting = match std::mem::replace(&mut self.session, Session::Off) {
            Session::Off => Vec::new(),
            Session::Starting { waiting, .. } | Session::Stopping { waiting } => waiting,
            Session::On(Connected { initializing, held, .. }) => {
                initializing.into_iter().chain(held.into_iter().map(|(asked, _)| asked)).collect()
            }
        };
        for asked in &waiting {
            self.fail(asked, why);
        }
        self.detach(Vec::new(), ctx);
    }

    /// Closes the connection and has Python undo what the debugger has done there. These are answered when that is done.
    pub(super) fn detach(&mut self, waiting: Vec<Asked>, ctx: &mut Context<Self>) {
        self.link = None;
        if let Session::On(Connected { held, .. }) =
            std::mem::replace(&mut self.session, Session::Stopping { waiting })
        {
            for (asked, response) in held {
                self.pass_back(&asked, response);
            }
        }
        self.breakpoints.clear();
        self.go_on(None, ctx);
        let mut flights: Vec<_> = std::mem::take(&mut self.flights).into_iter().collect();
        flights.sort_unstable_by_key(|(seq, _)| *seq);
        for (_, Flight { purpose, deadline }) in flights {
            ctx.cancel_future(deadline);
            match purpose {
                Purpose::Disconnect(asked) => self.succeed(&asked, &json!({})),
                Purpose::Client(asked)
                | Purpose::Stack(asked)
                | Purpose::Rich(asked)
                | Purpose::Breakpoints(asked, _)
                | Purpose::Attach(asked) => self.fail(&asked, "the debugger was disconnected"),
                Purpose::Authorize
                | Purpose::Initialize
                | Purpose::ConfigurationDone
                | Purpose::Threads { .. } => {}
            }
        }
        self.give_work(Work::Detach, &json!({"do": "detach"}), ctx);
    }

    pub(super) fn give_work(&mut self, work: Work, what: &Value, ctx: &mut Context<Self>) {
        self.last_work += 1;
        self.work.insert(self.last_work, work);
        let work = DebugWork::new(self.last_work, what.to_string().into_bytes(), ctx.address().recipient());
        // Work that is dropped says so itself.
        if let Err(why) = (self.to_python)(work) {
            warn!(why, "the debugger's thread cannot be started");
        }
    }

    pub(super) fn ask_python(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        let arguments = asked.dap.arguments.clone();
        let what = json!({"do": &asked.dap.command, "arguments": arguments});
        self.give_work(Work::Client(asked), &what, ctx);
    }

    pub(super) fn done(&mut self, WorkDone { id, outcome }: WorkDone, ctx: &mut Context<Self>) {
        match (self.work.remove(&id), outcome) {
            (Some(Work::Client(asked)), Ok(body)) => {
                let body = String::from_utf8(body).ok().and_then(|body| RawValue::from_string(body).ok());
                self.respond(&asked, body);
            }
            (Some(Work::Client(asked)), Err(why)) => self.fail(&asked, &why),
            (Some(Work::Attach), Ok(_)) if id == self.attaching => self.traces(),
            (Some(Work::Attach), Err(why)) if id == self.attaching && self.is_in_use() => {
                self.give_up(&why, ctx);
            }
            // Of a session that has ended.
            (Some(Work::Attach) | None, _) => {}
            (Some(Work::Detach), outcome) => {
                if let Err(why) = outcome {
                    warn!(why, "the debugger has not been removed as a whole");
                }
                if let Session::Stopping { waiting } = &mut self.session {
                    let waiting = std::mem::take(waiting);
                    self.session = Session::Off;
                    for asked in waiting {
                        self.admit(asked, ctx);
                    }
                }
            }
        }
    }

    /// All threads are traced: what waits for that is answered.
    pub(super) fn traces(&mut self) {
        let Session::On(connected) = &mut self.session else { return };
        connected.tracing = true;
        for (asked, response) in std::mem::take(&mut connected.held) {
            self.pass_back(&asked, response);
        }
    }
}
