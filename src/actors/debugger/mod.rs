//! The debugger: an adapter between clients, which speak the Debug Adapter Protocol in `debug_request`s, and the debugger
//! in Python (pydevd), which speaks it over a connection that it dials.

mod cells;
mod link;
mod stops;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tracing::{debug, warn};
use uuid::Uuid;

pub use self::cells::CellFolder;
use self::link::{FromLink, Link, What};
use self::stops::{Breakpoints, StopBody, Stops};
use crate::delivery::debug_work::{DebugWork, WorkDone};
use crate::delivery::job::Job;
use crate::delivery::request::Request;
use crate::publisher::Publisher;
use crate::wire::dap::{self, Message as FromPydevd, Response, SetBreakpoints, Verified};
use crate::wire::{Frame, MessageType, Parent};

/// How long pydevd may take to dial in: its import takes a second on a slow disk.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long pydevd may take for an answer about a stop that has ended.
const LATE_PATIENCE: Duration = Duration::from_secs(1);

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

/// References to variables from here on are those of the Python side, which inspects while nothing stands; pydevd counts
/// its own from 1.
const FIRST_OWN_REFERENCE: i64 = 1 << 40;

/// What is passed on to pydevd, while it is attached.
const PASSED_ON: [&str; 18] = [
    "breakpointLocations",
    "completions",
    "evaluate",
    "exceptionInfo",
    "goto",
    "gotoTargets",
    "next",
    "pause",
    "scopes",
    "setExceptionBreakpoints",
    "setExpression",
    "setFunctionBreakpoints",
    "setVariable",
    "stepIn",
    "stepInTargets",
    "stepOut",
    "threads",
    "variables",
];

/// Takes work to the Python side; false if there is no thread for it.
pub type ToPython = Box<dyn FnMut(DebugWork) -> Result<(), String> + Send>;

/// A `debug_request`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Debug(pub Job);

/// The debugger.
pub struct Debugger {
    publisher: Publisher,
    to_python: ToPython,
    cells: CellFolder,
    /// How long pydevd may take for an answer.
    patience: Duration,
    session: Session,
    /// The connection to pydevd.
    link: Option<Link>,
    /// The last number given to a message.
    seq: i64,
    /// Requests that pydevd has not answered, by the number that they have there.
    flights: HashMap<i64, Flight>,
    /// Work that Python has not done, by its number.
    work: HashMap<u64, Work>,
    last_work: u64,
    /// The work that attaches in this session.
    attaching: u64,
    breakpoints: Breakpoints,
    stops: Stops,
    /// The last request: the parent of events.
    parent: Arc<Parent>,
}

enum Session {
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
struct Connected {
    /// What it can do: the body of its answer to `initialize`.
    capabilities: Option<Box<RawValue>>,
    /// Clients that wait for that.
    initializing: Vec<Asked>,
    attached: bool,
    /// It has said that it is ready for breakpoints.
    initialized: bool,
    /// It traces the threads.
    tracing: bool,
    /// Answers that wait for that: what a client runs then is debugged.
    held: Vec<(Asked, Response)>,
}

/// A request of a client.
struct Asked {
    job: Arc<Request>,
    dap: dap::Request,
}

/// A request that pydevd has got.
struct Flight {
    purpose: Purpose,
    deadline: SpawnHandle,
}

impl Flight {
    /// Whether a thread that stands has to answer it.
    fn needs_stop(&self) -> bool {
        match &self.purpose {
            Purpose::Client(asked) => OF_A_STOP.contains(&asked.dap.command.as_str()),
            Purpose::Stack(_) | Purpose::Rich(_) => true,
            _ => false,
        }
    }
}

enum Purpose {
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

enum Work {
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
            parent: Arc::new(Parent::none()),
        }
    }

    // -- requests of clients ---------------------------------------------------------------------------

    fn admit(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        match asked.dap.command.as_str() {
            "debugInfo" => self.succeed(&asked, &self.info()),
            "dumpCell" => match self.cells.dump(asked.dap.arguments.as_deref()) {
                Ok(path) => self.succeed(&asked, &json!({"sourcePath": path})),
                Err(why) => self.fail(&asked, &why),
            },
            "source" => match self.cells.source(asked.dap.arguments.as_deref()) {
                Ok(content) => self.succeed(&asked, &json!({"content": content})),
                Err(why) => self.fail(&asked, &why),
            },
            "initialize" => self.initialize(asked, ctx),
            "attach" => self.attach(asked, ctx),
            "configurationDone" => self.configuration_done(asked),
            // The kernel is not the client's to end.
            "disconnect" | "terminate" => self.disconnect(asked, ctx),
            "inspectVariables" | "modules" => self.ask_python(asked, ctx),
            "richInspectVariables" => self.show_variable(asked, ctx),
            "copyToGlobals" => self.copy_to_globals(asked, ctx),
            "stackTrace" => self.pass_on(asked, Purpose::Stack, ctx),
            "variables"
                if argument(&asked.dap, "variablesReference").is_some_and(|at| at >= FIRST_OWN_REFERENCE) =>
            {
                self.ask_python(asked, ctx);
            }
            "setBreakpoints" => self.set_breakpoints(asked, ctx),
            // pydevd answers when a thread goes on, so never if none stands.
            "continue" if self.is_on() && !self.stops.any() => {
                self.succeed(&asked, &json!({"allThreadsContinued": true}));
            }
            "continue" => self.pass_on(asked, Purpose::Client, ctx),
            command if PASSED_ON.contains(&command) => self.pass_on(asked, Purpose::Client, ctx),
            command => {
                let why = format!("callboard's debugger does not know the command {command:?}");
                self.fail(&asked, &why);
            }
        }
    }

    fn is_on(&self) -> bool {
        matches!(self.session, Session::On(_))
    }

    fn is_in_use(&self) -> bool {
        matches!(self.session, Session::Starting { .. } | Session::On(_))
    }

    /// The state, for clients that come later.
    fn info(&self) -> Value {
        let sources: Vec<_> = self
            .breakpoints
            .all()
            .map(|(path, breakpoints)| json!({"source": path, "breakpoints": breakpoints}))
            .collect();
        json!({
            "isStarted": self.is_on(),
            "hashMethod": "Murmur2",
            "hashSeed": crate::wire::CELL_HASH_SEED,
            "tmpFilePrefix": self.cells.prefix(),
            "tmpFileSuffix": ".py",
            "breakpoints": sources,
            "stoppedThreads": self.stops.threads(),
            "richRendering": true,
            "exceptionPaths": ["Python Exceptions"],
            "copyToGlobals": true,
        })
    }

    fn initialize(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        match &mut self.session {
            Session::Off => self.start(asked, ctx),
            Session::Starting { waiting, .. } | Session::Stopping { waiting } => waiting.push(asked),
            Session::On(connected) => match connected.capabilities.clone() {
                Some(capabilities) => self.respond(&asked, Some(capabilities)),
                None => {
                    let first = connected.initializing.is_empty();
                    let mut arguments = arguments(&asked.dap);
                    if arguments["adapterID"].is_null() {
                        // pydevd wants one.
                        arguments["adapterID"] = json!("callboard");
                    }
                    connected.initializing.push(asked);
                    if first {
                        let arguments = to_raw_value(&arguments).ok();
                        let request = dap::Request { seq: 0, command: "initialize".to_owned(), arguments };
                        self.send(&request, Purpose::Initialize, ctx);
                    }
                }
            },
        }
    }

    /// Listens, and has Python start pydevd, which dials in.
    fn start(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        // The work that attaches numbers the session.
        self.attaching = self.last_work + 1;
        let port = match link::listen(START_PATIENCE, self.attaching, ctx.address().recipient()) {
            Ok(port) => port,
            Err(error) => {
                return self.fail(&asked, &format!("the debugger cannot listen on 127.0.0.1: {error}"));
            }
        };
        let token = Uuid::new_v4().simple().to_string();
        let what = json!({"do": "attach", "arguments": {"host": "127.0.0.1", "port": port, "token": token}});
        self.session = Session::Starting { token, waiting: vec![asked] };
        self.give_work(Work::Attach, &what, ctx);
    }

    fn attach(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        match &mut self.session {
            // In the order in which they came: behind the initialize that starts it.
            Session::Starting { waiting, .. } | Session::Stopping { waiting } => waiting.push(asked),
            Session::On(connected) if connected.attached => {
                // Another client, or the same after a reload: it waits for this event.
                let initialized = connected.initialized;
                if connected.tracing {
                    self.respond(&asked, None);
                } else {
                    let response = Response::success(&asked.dap, None);
                    connected.held.push((asked, response));
                }
                if initialized {
                    self.publish(&dap::Event { event: "initialized".to_owned(), body: None });
                }
            }
            Session::On(connected) => {
                connected.attached = true;
                let arguments = attach_arguments(arguments(&asked.dap));
                self.pass_on_as(asked, "attach", &arguments, Purpose::Attach, ctx);
            }
            Session::Off => self.fail(&asked, NOT_INITIALIZED),
        }
    }

    /// The debugger has been told when it said that it is ready.
    fn configuration_done(&mut self, asked: Asked) {
        match &mut self.session {
            Session::On(connected) if connected.attached && !connected.tracing => {
                let response = Response::success(&asked.dap, None);
                connected.held.push((asked, response));
            }
            Session::On(_) => self.succeed(&asked, &json!({})),
            _ => self.fail(&asked, NOT_INITIALIZED),
        }
    }

    /// Shows a variable as it is displayed: at a stop pydevd knows it, else it is one of the user's globals.
    fn show_variable(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        let arguments = arguments(&asked.dap);
        let name = arguments["variableName"].as_str().unwrap_or_default();
        match (arguments["frameId"].as_i64(), name) {
            // What pydevd groups variables under.
            (_, "special variables" | "function variables" | "class variables" | "protected variables") => {
                self.succeed(&asked, &json!({"data": {}, "metadata": {}}));
            }
            (_, name) if !is_identifier(name) => {
                self.fail(&asked, &format!("{name:?} is no name of a variable"));
            }
            (Some(frame), name) if self.stops.any() => {
                let expression =
                    format!("__import__('callboard.debugger.variables', fromlist=['_']).rich_text({name})");
                let evaluate = json!({"expression": expression, "frameId": frame, "context": "clipboard"});
                self.pass_on_as(asked, "evaluate", &evaluate, Purpose::Rich, ctx);
            }
            _ => self.ask_python(asked, ctx),
        }
    }

    fn copy_to_globals(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        let arguments = arguments(&asked.dap);
        let [from, to] = ["srcVariableName", "dstVariableName"]
            .map(|name| arguments[name].as_str().filter(|name| is_identifier(name)));
        let (Some(from), Some(to), Some(frame)) = (from, to, arguments["srcFrameId"].as_i64()) else {
            let why = "copyToGlobals needs srcVariableName, dstVariableName and srcFrameId";
            return self.fail(&asked, why);
        };
        let set = json!({"expression": format!("globals()['{to}']"), "value": from, "frameId": frame});
        self.pass_on_as(asked, "setExpression", &set, Purpose::Client, ctx);
    }

    fn set_breakpoints(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        let arguments = asked.dap.arguments.as_deref().map_or("null", RawValue::get);
        match serde_json::from_str::<SetBreakpoints>(arguments) {
            Ok(SetBreakpoints { source, breakpoints }) if !source.path.is_empty() => {
                if self.is_on() {
                    self.breakpoints.set(source.path.clone(), breakpoints);
                }
                self.pass_on(asked, |asked| Purpose::Breakpoints(asked, source.path), ctx);
            }
            Ok(_) => self.fail(&asked, "setBreakpoints needs the path of a source"),
            Err(error) => {
                self.fail(&asked, &format!("the arguments of setBreakpoints cannot be read: {error}"));
            }
        }
    }

    fn disconnect(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        match &mut self.session {
            Session::Off => self.succeed(&asked, &json!({})),
            Session::Starting { waiting, .. } | Session::Stopping { waiting } => waiting.push(asked),
            Session::On(_) => {
                // The kernel goes on, whatever the client says about the program that is debugged.
                let arguments = to_raw_value(&json!({"restart": false, "terminateDebuggee": false})).ok();
                let command = dap::Request { seq: 0, command: "disconnect".to_owned(), arguments };
                self.send(&command, Purpose::Disconnect(asked), ctx);
            }
        }
    }

    // -- pydevd ----------------------------------------------------------------------------------------

    fn pass_on(&mut self, asked: Asked, purpose: impl FnOnce(Asked) -> Purpose, ctx: &mut Context<Self>) {
        if !self.is_on() {
            return self.fail(&asked, NOT_INITIALIZED);
        }
        let request = asked.dap.clone();
        self.send(&request, purpose(asked), ctx);
    }

    /// Passes on another request than the client's; the answer names the client's.
    fn pass_on_as(
        &mut self,
        asked: Asked,
        command: &str,
        arguments: &Value,
        purpose: impl FnOnce(Asked) -> Purpose,
        ctx: &mut Context<Self>,
    ) {
        if !self.is_on() {
            return self.fail(&asked, NOT_INITIALIZED);
        }
        let arguments = to_raw_value(arguments).ok();
        let request = dap::Request { seq: 0, command: command.to_owned(), arguments };
        self.send(&request, purpose(asked), ctx);
    }

    fn send(&mut self, request: &dap::Request, purpose: Purpose, ctx: &mut Context<Self>) {
        self.seq += 1;
        let seq = self.seq;
        let Some(link) = &self.link else { return self.refuse_flight(purpose, NOT_INITIALIZED, ctx) };
        link.send(&request.to_json(seq));
        let deadline = ctx.run_later(self.patience, move |debugger, ctx| debugger.time_is_up(seq, ctx));
        self.flights.insert(seq, Flight { purpose, deadline });
    }

    fn time_is_up(&mut self, seq: i64, ctx: &mut Context<Self>) {
        let Some(Flight { purpose, .. }) = self.flights.remove(&seq) else { return };
        warn!(seq, "the debugger has not answered in time");
        let why = format!("the debugger has not answered within {:?}", self.patience);
        self.refuse_flight(purpose, &why, ctx);
    }

    /// Answers a request that pydevd will not answer.
    fn refuse_flight(&mut self, purpose: Purpose, why: &str, ctx: &mut Context<Self>) {
        match purpose {
            Purpose::Client(asked)
            | Purpose::Stack(asked)
            | Purpose::Rich(asked)
            | Purpose::Breakpoints(asked, _)
            | Purpose::Attach(asked) => self.fail(&asked, why),
            // Nothing of it is left in any case.
            Purpose::Disconnect(asked) => self.detach(vec![asked], ctx),
            Purpose::Threads { stopped, event } => {
                self.stop_at(stopped, &[]);
                self.publish(&event);
            }
            Purpose::Authorize | Purpose::Initialize => self.give_up(why, ctx),
            Purpose::ConfigurationDone => {}
        }
    }

    /// The session cannot begin, or has broken off: answers everything that waits for it.
    fn give_up(&mut self, why: &str, ctx: &mut Context<Self>) {
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
    fn detach(&mut self, waiting: Vec<Asked>, ctx: &mut Context<Self>) {
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

    fn received(&mut self, body: &[u8], ctx: &mut Context<Self>) {
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

    fn answered(&mut self, response: Response, ctx: &mut Context<Self>) {
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
                self.stop_at(stopped, &others);
                self.publish(&event);
            }
            Purpose::Disconnect(asked) => self.detach(vec![asked], ctx),
            Purpose::ConfigurationDone => {}
        }
    }

    /// pydevd has shown the token, or something else has dialled in.
    fn authorized(&mut self, response: &Response, ctx: &mut Context<Self>) {
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

    fn can(&mut self, response: &Response) {
        let Session::On(connected) = &mut self.session else { return };
        if response.success {
            connected.capabilities.clone_from(&response.body);
        }
        for asked in std::mem::take(&mut connected.initializing) {
            self.pass_back(&asked, response.clone());
        }
    }

    fn happened(&mut self, event: dap::Event, ctx: &mut Context<Self>) {
        let body = event.body.as_deref().map_or("{}", RawValue::get);
        match event.event.as_str() {
            "initialized" => {
                if let Session::On(connected) = &mut self.session {
                    connected.initialized = true;
                }
                self.publish(&event);
                // JupyterLab does not send it. What it holds back at a client's wish is held back for all.
                let command = "configurationDone".to_owned();
                let request = dap::Request { seq: 0, command, arguments: None };
                self.send(&request, Purpose::ConfigurationDone, ctx);
            }
            "stopped" => {
                let stop: StopBody = serde_json::from_str(body).unwrap_or_default();
                let Some(stopped) = stop.thread_id else { return self.publish(&event) };
                if stop.all_threads_stopped {
                    let request = dap::Request { seq: 0, command: "threads".to_owned(), arguments: None };
                    self.send(&request, Purpose::Threads { stopped, event }, ctx);
                } else {
                    self.stop_at(stopped, &[]);
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

    fn stop_at(&mut self, thread: i64, others: &[i64]) {
        self.stops.stopped(thread, others);
    }

    fn go_on(&mut self, thread: Option<i64>, ctx: &mut Context<Self>) {
        let stood = self.stops.any();
        self.stops.continued(thread);
        if stood && !self.stops.any() {
            // pydevd would answer at the next stop.
            let left: Vec<i64> =
                self.flights.iter().filter(|(_, flight)| flight.needs_stop()).map(|(seq, _)| *seq).collect();
            if !left.is_empty() {
                ctx.run_later(LATE_PATIENCE, move |debugger, ctx| debugger.refuse_late(&left, ctx));
            }
        }
    }

    fn refuse_late(&mut self, seqs: &[i64], ctx: &mut Context<Self>) {
        for seq in seqs {
            if let Some(Flight { purpose, deadline }) = self.flights.remove(seq) {
                ctx.cancel_future(deadline);
                self.refuse_flight(purpose, "the thread has gone on", ctx);
            }
        }
    }

    // -- Python ----------------------------------------------------------------------------------------

    fn give_work(&mut self, work: Work, what: &Value, ctx: &mut Context<Self>) {
        self.last_work += 1;
        self.work.insert(self.last_work, work);
        let work = DebugWork::new(self.last_work, what.to_string().into_bytes(), ctx.address().recipient());
        // Work that is dropped says so itself.
        if let Err(why) = (self.to_python)(work) {
            warn!(why, "the debugger's thread cannot be started");
        }
    }

    fn ask_python(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        let arguments = asked.dap.arguments.clone();
        let what = json!({"do": &asked.dap.command, "arguments": arguments});
        self.give_work(Work::Client(asked), &what, ctx);
    }

    fn done(&mut self, WorkDone { id, outcome }: WorkDone, ctx: &mut Context<Self>) {
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
    fn traces(&mut self) {
        let Session::On(connected) = &mut self.session else { return };
        connected.tracing = true;
        for (asked, response) in std::mem::take(&mut connected.held) {
            self.pass_back(&asked, response);
        }
    }

    // -- answers ---------------------------------------------------------------------------------------

    fn succeed(&mut self, asked: &Asked, body: &impl Serialize) {
        self.respond(asked, to_raw_value(body).ok());
    }

    fn respond(&mut self, asked: &Asked, body: Option<Box<RawValue>>) {
        let response = Response::success(&asked.dap, body);
        self.answer(&asked.job, &response);
    }

    fn fail(&mut self, asked: &Asked, why: &str) {
        let response = Response::failure(asked.dap.seq, &asked.dap.command, why.to_owned());
        self.answer(&asked.job, &response);
    }

    /// What pydevd has answered, with the client's own number.
    fn pass_back(&mut self, asked: &Asked, response: Response) {
        let response =
            Response { request_seq: asked.dap.seq, command: asked.dap.command.clone(), ..response };
        self.answer(&asked.job, &response);
    }

    fn answer(&mut self, job: &Request, response: &Response) {
        self.seq += 1;
        job.answer_with(response.to_json(self.seq));
    }

    fn publish(&mut self, event: &dap::Event) {
        self.seq += 1;
        let content = event.to_json(self.seq);
        let kind = MessageType::DebugEvent;
        self.publisher.raw(&self.parent, &kind, Frame::EMPTY_OBJECT, content, Vec::new());
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
                    let command = "pydevdAuthorize".to_owned();
                    let request = dap::Request { seq: 0, command, arguments: None };
                    self.send(&request, Purpose::Authorize, ctx);
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

/// What a client is told that wants something of a debugger that is off.
const NOT_INITIALIZED: &str = "the debugger is off: send the requests initialize and attach first";

/// Code that runs cells: a step goes through it, whether or not libraries are debugged.
const NOT_DEBUGGED: [&str; 9] = [
    "IPython",
    "asyncio",
    "callboard",
    "contextlib",
    "outcome",
    "selectors",
    "threading",
    "traitlets",
    "trio",
];

/// The arguments of `attach`, as pydevd gets them.
fn attach_arguments(mut arguments: Value) -> Value {
    let own = NOT_DEBUGGED.iter().map(|module| json!({"module": module, "include": false}));
    let rules = match arguments["rules"].take() {
        Value::Array(rules) => rules.into_iter().chain(own).collect(),
        _ => own.collect(),
    };
    arguments["rules"] = Value::Array(rules);
    // Processes that cells have started are none of the debugger's.
    arguments["terminateChildProcesses"] = json!(false);
    arguments
}

/// The arguments of a request: an object, empty if there are none.
fn arguments(request: &dap::Request) -> Value {
    let given = request.arguments.as_deref().and_then(|json| serde_json::from_str(json.get()).ok());
    given.filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// A number among the arguments of a request.
fn argument(request: &dap::Request, name: &str) -> Option<i64> {
    arguments(request)[name].as_i64()
}

/// Whether this can be a name in Python, and nothing else.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && name.chars().all(|each| each.is_alphanumeric() || each == '_')
}
