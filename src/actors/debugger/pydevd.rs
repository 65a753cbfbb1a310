//! The conversation with pydevd: requests that it gets, its answers and its events.

use actix::prelude::*;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tracing::{debug, warn};

use super::state::{Asked, Connected, Debugger, Flight, Purpose, Session};
use super::stops::{self, StopBody};
use crate::wire::dap::{self, Message as FromPydevd, Response, Verified};

/// What a client is told that wants something of a debugger that is off.
pub(super) const NOT_INITIALIZED: &str = "the debugger is off: send the requests initialize and attach first";

impl Debugger {
    pub(super) fn pass_on(
        &mut self,
        asked: Asked,
        purpose: impl FnOnce(Asked) -> Purpose,
        ctx: &mut Context<Self>,
    ) {
        let request = asked.dap.clone();
        self.pass_on_request(&request, asked, purpose, ctx);
    }

    /// Passes on another request than the client's; the answer names the client's.
    pub(super) fn pass_on_as(
        &mut self,
        asked: Asked,
        command: &str,
        arguments: &Value,
        purpose: impl FnOnce(Asked) -> Purpose,
        ctx: &mut Context<Self>,
    ) {
        let request = dap::Request::new(command, to_raw_value(arguments).ok());
        self.pass_on_request(&request, asked, purpose, ctx);
    }

    fn pass_on_request(
        &mut self,
        request: &dap::Request,
        asked: Asked,
        purpose: impl FnOnce(Asked) -> Purpose,
        ctx: &mut Context<Self>,
    ) {
        if self.is_on() {
            self.send(request, purpose(asked), ctx);
        } else {
            self.fail(&asked, NOT_INITIALIZED);
        }
    }

    pub(super) fn send(&mut self, request: &dap::Request, purpose: Purpose, ctx: &mut Context<Self>) {
        self.seq += 1;
        let seq = self.seq;
        let Some(link) = &self.link else { return self.refuse_flight(purpose, NOT_INITIALIZED, ctx) };
        link.send(&request.to_json(seq));
        let deadline = ctx.run_later(self.patience, move |debugger, ctx| debugger.time_is_up(seq, ctx));
        self.flights.insert(seq, Flight { purpose, deadline });
    }

    pub(super) fn time_is_up(&mut self, seq: i64, ctx: &mut Context<Self>) {
        let Some(Flight { purpose, .. }) = self.flights.remove(&seq) else { return };
        warn!(seq, "the debugger has not answered in time");
        let why = format!("the debugger has not answered within {:?}", self.patience);
        self.refuse_flight(purpose, &why, ctx);
    }

    /// Answers a request that pydevd will not answer.
    pub(super) fn refuse_flight(&mut self, purpose: Purpose, why: &str, ctx: &mut Context<Self>) {
        match purpose {
            Purpose::Client(asked)
            | Purpose::Stack(asked)
            | Purpose::Rich(asked)
            | Purpose::Breakpoints(asked, _)
            | Purpose::Attach(asked) => self.fail(&asked, why),
            // Nothing of it is left in any case.
            Purpose::Disconnect(asked) => self.detach(vec![asked], ctx),
            Purpose::Threads { stopped, event } => {
                self.stop_at(stopped, &[], ctx);
                self.publish(&event);
            }
            Purpose::Authorize | Purpose::Initialize => self.give_up(why, ctx),
            Purpose::ConfigurationDone => {}
        }
    }

    pub(super) fn received(&mut self, body: &[u8], ctx: &mut Context<Self>) {
        match FromPydevd::read(body) {
            Ok(FromPydevd::Response(response)) => self.answered(response, ctx),
            Ok(FromPydevd::Event(event)) => self.happened(event, ctx),
            // It asks for terminals and new processes, which there are none of here.
            Ok(FromPydevd::Request(request)) => {
                debug!(request.command, "the debugger wants something of its client");
            }
            Err(problem) => warn!(%problem, "the debugger has sent what cannot be read"),
        }
    }

    pub(super) fn answered(&mut self, response: Response, ctx: &mut Context<Self>) {
        let Some(Flight { purpose, deadline }) = self.flights.remove(&response.request_seq) else {
            return debug!(
                response.request_seq,
                response.command, "the debugger answers what nobody waits for"
            );
        };
        ctx.cancel_future(deadline);
        match purpose {
            Purpose::Authorize => self.authorized(&response, ctx),
            Purpose::Initialize => self.can(&response),
            Purpose::Attach(asked) => {
                if let Session::On(connected) = &mut self.session {
                    connected.attached = response.success;
                    if response.success && !connected.tracing {
                        return connected.held.push((asked, response));
                    }
                }
                self.pass_back(&asked, response);
            }
            Purpose::Stack(asked) => {
                let body = response.body.as_deref().map_or("{}", RawValue::get);
                let body = stops::cut_stack(body, &self.cells.prefix()).or(response.body);
                self.pass_back(&asked, Response { body, ..response });
            }
            Purpose::Rich(asked) => {
                // The result is JSON, because `rich_text` returns an object that is displayed so.
                let body = response.body.as_deref().map_or("{}", RawValue::get);
                let result: Value = serde_json::from_str(body).unwrap_or_default();
                let shown = result["result"].as_str().map(|shown| RawValue::from_string(shown.to_owned()));
                match shown {
                    Some(Ok(body)) if response.success => self.respond(&asked, Some(body)),
                    _ => self.pass_back(&asked, Response { success: false, ..response }),
                }
            }
            Purpose::Breakpoints(asked, path) => {
                let body = response.body.as_deref().map(RawValue::get);
                if let Some(Ok(verified)) = body.map(serde_json::from_str::<Verified>) {
                    self.breakpoints.moved(&path, &verified);
                }
                self.pass_back(&asked, response);
            }
            Purpose::Client(asked) => self.pass_back(&asked, response),
            Purpose::Threads { stopped, event } => {
                let others = response.body.as_deref().map(|body| threads_of(body.get())).unwrap_or_default();
                self.stop_at(stopped, &others, ctx);
                self.publish(&event);
            }
            Purpose::Disconnect(asked) => self.detach(vec![asked], ctx),
            Purpose::ConfigurationDone => {}
        }
    }

    /// pydevd has shown the token, or something else has dialled in.
    pub(super) fn authorized(&mut self, response: &Response, ctx: &mut Context<Self>) {
        let Session::Starting { token, waiting } = &mut self.session else { return };
        let shown = response.body.as_deref().and_then(|body| serde_json::from_str::<Value>(body.get()).ok());
        if shown.as_ref().and_then(|body| body.get("clientAccessToken")?.as_str()) != Some(token.as_str()) {
            return self.give_up("what has connected to the debugger's port does not know its token", ctx);
        }
        let waiting = std::mem::take(waiting);
        self.session = Session::On(Connected::default());
        for asked in waiting {
            self.admit(asked, ctx);
        }
    }

    pub(super) fn can(&mut self, response: &Response) {
        let Session::On(connected) = &mut self.session else { return };
        if response.success {
            connected.capabilities.clone_from(&response.body);
        }
        for asked in std::mem::take(&mut connected.initializing) {
            self.pass_back(&asked, response.clone());
        }
    }

    pub(super) fn happened(&mut self, event: dap::Event, ctx: &mut Context<Self>) {
        let body = event.body.as_deref().map_or("{}", RawValue::get);
        match event.event.as_str() {
            "initialized" => {
                if let Session::On(connected) = &mut self.session {
                    connected.initialized = true;
                }
                self.publish(&event);
                // JupyterLab does not send it. What it holds back at a client's wish is held back for all.
                self.send(&dap::Request::new("configurationDone", None), Purpose::ConfigurationDone, ctx);
            }
            "stopped" => {
                let stop: StopBody = serde_json::from_str(body).unwrap_or_default();
                let Some(stopped) = stop.thread_id else { return self.publish(&event) };
                if stop.all_threads_stopped {
                    self.send(&dap::Request::new("threads", None), Purpose::Threads { stopped, event }, ctx);
                } else {
                    self.stop_at(stopped, &[], ctx);
                    self.publish(&event);
                }
            }
            "continued" => {
                let stop: StopBody = serde_json::from_str(body).unwrap_or_default();
                self.go_on(stop.thread_id.filter(|_| stop.all_threads_continued == Some(false)), ctx);
                self.publish(&event);
            }
            // The kernel's process is none that clients should show, or end.
            "process" | "exited" | "terminated" => {}
            _ => self.publish(&event),
        }
    }
}

/// The numbers of threads in the body of a response to `threads`.
fn threads_of(body: &str) -> Vec<i64> {
    #[derive(serde::Deserialize)]
    struct Threads {
        threads: Vec<Thread>,
    }
    #[derive(serde::Deserialize)]
    struct Thread {
        id: i64,
    }
    let threads = serde_json::from_str::<Threads>(body).map(|body| body.threads).unwrap_or_default();
    threads.into_iter().map(|thread| thread.id).collect()
}
