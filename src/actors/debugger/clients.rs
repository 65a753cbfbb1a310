//! What clients ask for: answered here, passed on to pydevd, or given to Python.

use std::time::Duration;

use actix::prelude::*;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use uuid::Uuid;

use super::link;
use super::pydevd::NOT_INITIALIZED;
use super::state::{Asked, Debugger, Purpose, Session, Work};
use crate::wire::dap::{self, Response, SetBreakpoints};

/// How long pydevd may take to dial in: its import takes a second on a slow disk.
const START_PATIENCE: Duration = Duration::from_secs(30);

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

impl Debugger {
    pub(super) fn admit(&mut self, asked: Asked, ctx: &mut Context<Self>) {
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

    /// The state, for clients that come later.
    pub(super) fn info(&self) -> Value {
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

    pub(super) fn initialize(&mut self, asked: Asked, ctx: &mut Context<Self>) {
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
                        self.send(&dap::Request::new("initialize", arguments), Purpose::Initialize, ctx);
                    }
                }
            },
        }
    }

    /// Listens, and has Python start pydevd, which dials in.
    pub(super) fn start(&mut self, asked: Asked, ctx: &mut Context<Self>) {
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

    pub(super) fn attach(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        match &mut self.session {
            // In the order in which they came: behind the initialize that starts it.
            Session::Starting { waiting, .. } | Session::Stopping { waiting } => waiting.push(asked),
            Session::On(connected) if connected.attached => {
                // Another client, or the same after a reload: it waits for this event.
                let initialized = connected.initialized;
                self.succeed_when_traced(asked);
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
    pub(super) fn configuration_done(&mut self, asked: Asked) {
        if self.is_on() { self.succeed_when_traced(asked) } else { self.fail(&asked, NOT_INITIALIZED) }
    }

    /// Answers at once, unless threads are going to be traced and are not yet: then when they are.
    fn succeed_when_traced(&mut self, asked: Asked) {
        let response = Response::success(&asked.dap, None);
        match &mut self.session {
            Session::On(connected) if connected.attached && !connected.tracing => {
                connected.held.push((asked, response));
            }
            _ => self.answer(&asked.job, &response),
        }
    }

    /// Shows a variable as it is displayed: at a stop pydevd knows it, else it is one of the user's globals.
    pub(super) fn show_variable(&mut self, asked: Asked, ctx: &mut Context<Self>) {
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

    pub(super) fn copy_to_globals(&mut self, asked: Asked, ctx: &mut Context<Self>) {
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

    pub(super) fn set_breakpoints(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        match dap::read_arguments(asked.dap.arguments.as_deref(), "setBreakpoints") {
            Ok(SetBreakpoints { source, breakpoints }) if !source.path.is_empty() => {
                if self.is_on() {
                    self.breakpoints.set(source.path.clone(), breakpoints);
                }
                self.pass_on(asked, |asked| Purpose::Breakpoints(asked, source.path), ctx);
            }
            Ok(_) => self.fail(&asked, "setBreakpoints needs the path of a source"),
            Err(why) => self.fail(&asked, &why),
        }
    }

    pub(super) fn disconnect(&mut self, asked: Asked, ctx: &mut Context<Self>) {
        match &mut self.session {
            Session::Off => self.succeed(&asked, &json!({})),
            Session::Starting { waiting, .. } | Session::Stopping { waiting } => waiting.push(asked),
            Session::On(_) => {
                // The kernel goes on, whatever the client says about the program that is debugged.
                let arguments = to_raw_value(&json!({"restart": false, "terminateDebuggee": false})).ok();
                self.send(&dap::Request::new("disconnect", arguments), Purpose::Disconnect(asked), ctx);
            }
        }
    }
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
