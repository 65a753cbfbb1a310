//! The debugger between clients and a scripted pydevd: slow, wrong, split, giant, dying, never answering.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::needless_pass_by_value, missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use callboard::delivery::debug_work::DebugWork;
use callboard::delivery::job::Channel;
use callboard::wire::content::{DebugEvent, DebugRequest};
use callboard::wire::dap;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use support::{ALICE, PATIENCE, Sent, TestKernel};

/// What dials in: the test says what it sends.
struct Pydevd {
    stream: TcpStream,
    reader: dap::Reader,
    seq: i64,
}

impl Pydevd {
    /// Dials where the work says.
    fn dial(work: &DebugWork) -> (Self, String) {
        let what: Value = serde_json::from_slice(&work.what).unwrap();
        assert_eq!(what["do"], "attach");
        let arguments = &what["arguments"];
        let port = u16::try_from(arguments["port"].as_u64().unwrap()).unwrap();
        let stream = TcpStream::connect((arguments["host"].as_str().unwrap(), port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        (
            Self { stream, reader: dap::Reader::default(), seq: 1000 },
            arguments["token"].as_str().unwrap().into(),
        )
    }

    /// The next request.
    #[track_caller]
    fn request(&mut self) -> Value {
        loop {
            if let Some(body) = self.reader.next_body().unwrap() {
                return serde_json::from_slice(&body).unwrap();
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).expect("a request was to come");
            assert!(count > 0, "the connection was closed");
            self.reader.feed(&chunk[..count]);
        }
    }

    /// The next request, which has to be this one.
    #[track_caller]
    fn expect(&mut self, command: &str) -> Value {
        let request = self.request();
        assert_eq!((&request["type"], &request["command"]), (&json!("request"), &json!(command)));
        assert!(request["arguments"].is_object());
        request
    }

    fn send(&mut self, message: &Value) {
        self.stream.write_all(&dap::frame(message.to_string().as_bytes())).unwrap();
    }

    fn answer(&mut self, request: &Value, body: Value) {
        self.seq += 1;
        let response = json!({
            "type": "response", "seq": self.seq, "request_seq": request["seq"], "command": request["command"],
            "success": true, "body": body,
        });
        self.send(&response);
    }

    fn event(&mut self, name: &str, body: Value) {
        self.seq += 1;
        self.send(&json!({"type": "event", "seq": self.seq, "event": name, "body": body}));
    }

    /// Waits until the kernel has closed the connection.
    fn wait_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
    }
}

trait Debugged {
    fn debug(&mut self, seq: i64, command: &str, arguments: Value) -> Sent;
    fn answer_to(&mut self, sent: &Sent) -> Value;
    fn event(&mut self, parent: &Sent) -> Value;
    fn refusal(&mut self, sent: &Sent) -> String;
    fn attach(&mut self) -> (Pydevd, DebugWork, Sent);
    fn info(&mut self) -> Value;
}

impl Debugged for TestKernel {
    fn debug(&mut self, seq: i64, command: &str, arguments: Value) -> Sent {
        let request = json!({"type": "request", "seq": seq, "command": command, "arguments": arguments});
        self.send(Channel::Control, ALICE, &DebugRequest(to_raw_value(&request).unwrap()))
    }

    #[track_caller]
    fn answer_to(&mut self, sent: &Sent) -> Value {
        let reply: Value = self.control.reply(sent);
        self.iopub.busy(sent);
        self.iopub.idle(sent);
        reply
    }

    #[track_caller]
    fn event(&mut self, parent: &Sent) -> Value {
        let DebugEvent(event) = self.iopub.expect(parent);
        serde_json::from_str(event.get()).unwrap()
    }

    #[track_caller]
    fn refusal(&mut self, sent: &Sent) -> String {
        let reply = self.answer_to(sent);
        assert_eq!(reply["success"], false, "{reply}");
        reply["message"].as_str().unwrap().to_owned()
    }

    /// A session with a pydevd that behaves. Returns the work that is not done before the test says so.
    fn attach(&mut self) -> (Pydevd, DebugWork, Sent) {
        let initialize = self.debug(1, "initialize", json!({"clientID": "test"}));
        let work = self.next_debug_work();
        let (mut pydevd, token) = Pydevd::dial(&work);
        let authorize = pydevd.expect("pydevdAuthorize");
        pydevd.answer(&authorize, json!({"clientAccessToken": token}));
        let asked = pydevd.expect("initialize");
        assert_eq!(asked["arguments"]["clientID"], "test");
        pydevd.answer(&asked, json!({"supportsModulesRequest": true}));
        let reply = self.answer_to(&initialize);
        assert_eq!((&reply["request_seq"], &reply["success"]), (&json!(1), &json!(true)));
        assert_eq!(reply["body"]["supportsModulesRequest"], true);
        let attach = self.debug(2, "attach", json!({"rules": [{"module": "mine", "include": true}]}));
        let asked = pydevd.expect("attach");
        // The client's rule comes first.
        assert_eq!(asked["arguments"]["rules"][0], json!({"module": "mine", "include": true}));
        assert_eq!(asked["arguments"]["rules"][1]["include"], false);
        pydevd.answer(&asked, json!({}));
        (pydevd, work, attach)
    }

    fn info(&mut self) -> Value {
        let sent = self.debug(0, "debugInfo", json!({}));
        self.answer_to(&sent)["body"].take()
    }
}

/// An attached session.
fn attached() -> (TestKernel, Pydevd) {
    let mut kernel = TestKernel::start();
    let (pydevd, work, attach) = kernel.attach();
    work.finish(Ok(b"{}".to_vec()));
    assert_eq!(kernel.answer_to(&attach)["success"], true);
    (kernel, pydevd)
}

/// Ends the session as clients do.
fn detach(mut kernel: TestKernel, mut pydevd: Pydevd) {
    let disconnect = kernel.debug(99, "disconnect", json!({"terminateDebuggee": true}));
    let asked = pydevd.expect("disconnect");
    // The kernel goes on.
    assert_eq!(asked["arguments"]["terminateDebuggee"], false);
    pydevd.answer(&asked, json!({}));
    let work = kernel.next_debug_work();
    assert_eq!(serde_json::from_slice::<Value>(&work.what).unwrap()["do"], "detach");
    pydevd.wait_end();
    work.finish(Ok(b"{}".to_vec()));
    let reply = kernel.answer_to(&disconnect);
    assert_eq!((&reply["command"], &reply["success"]), (&json!("disconnect"), &json!(true)));
    assert_eq!(kernel.info()["isStarted"], false);
}

#[test]
fn a_session_from_its_begin_to_its_end() {
    let mut kernel = TestKernel::start();
    let (mut pydevd, work, attach) = kernel.attach();
    // It is attached when all threads are traced, and no sooner: `configurationDone` waits with it.
    pydevd.event("initialized", json!({}));
    assert_eq!(kernel.event(&attach)["event"], "initialized");
    pydevd.expect("configurationDone");
    let done = kernel.debug(3, "configurationDone", json!({}));
    assert_eq!(kernel.info()["isStarted"], true);
    work.finish(Ok(b"{}".to_vec()));
    let replies = kernel.control.replies(&[&attach, &done]);
    assert_eq!(replies.len(), 2);
    for sent in [&attach, &done] {
        kernel.iopub.busy(sent);
        kernel.iopub.idle(sent);
    }
    detach(kernel, pydevd);
}

#[test]
fn requests_are_numbered_anew_and_answered_with_the_clients_numbers() {
    let (mut kernel, mut pydevd) = attached();
    let sent: Vec<Sent> = (0..3).map(|n| kernel.debug(700, "evaluate", json!({"expression": n}))).collect();
    let asked: Vec<Value> = sent.iter().map(|_| pydevd.expect("evaluate")).collect();
    assert!(asked.iter().all(|request| request["seq"] != 700));
    // In another order than they came.
    for request in asked.iter().rev() {
        pydevd.answer(request, json!({"result": request["arguments"]["expression"]}));
    }
    for (n, sent) in sent.iter().enumerate().rev() {
        let reply = kernel.answer_to(sent);
        assert_eq!((&reply["request_seq"], &reply["body"]["result"]), (&json!(700), &json!(n)));
    }
    detach(kernel, pydevd);
}

#[test]
fn a_message_in_pieces_and_a_giant_one_arrive_whole() {
    let (mut kernel, mut pydevd) = attached();
    let sent = kernel.debug(3, "evaluate", json!({}));
    let asked = pydevd.expect("evaluate");
    let text = "Content-Length: 5\r\n\r\n".repeat(1_000_000);
    let response = json!({
        "type": "response", "seq": 1, "request_seq": asked["seq"], "command": "evaluate", "success": true,
        "body": {"result": text},
    });
    let framed = dap::frame(response.to_string().as_bytes());
    for byte in &framed[..60] {
        pydevd.stream.write_all(&[*byte]).unwrap();
        pydevd.stream.flush().unwrap();
    }
    pydevd.stream.write_all(&framed[60..]).unwrap();
    assert_eq!(kernel.answer_to(&sent)["body"]["result"].as_str().unwrap().len(), text.len());
    detach(kernel, pydevd);
}

#[test]
fn what_does_not_know_the_token_is_refused() {
    let mut kernel = TestKernel::start();
    let initialize = kernel.debug(1, "initialize", json!({}));
    let work = kernel.next_debug_work();
    let (mut stranger, _) = Pydevd::dial(&work);
    let authorize = stranger.expect("pydevdAuthorize");
    stranger.answer(&authorize, json!({"clientAccessToken": "guessed"}));
    assert!(kernel.refusal(&initialize).contains("token"));
    stranger.wait_end();
    drop(work);
    kernel.next_debug_work().finish(Ok(b"{}".to_vec()));
    let (pydevd, work, attach) = kernel.attach();
    work.finish(Ok(b"{}".to_vec()));
    kernel.answer_to(&attach);
    detach(kernel, pydevd);
}

#[test]
fn python_that_cannot_attach_says_why() {
    let mut kernel = TestKernel::start();
    let initialize = kernel.debug(1, "initialize", json!({}));
    // It waits for the first.
    let second = kernel.debug(2, "initialize", json!({}));
    kernel.next_debug_work().finish(Err("there is no debugpy".to_owned()));
    assert_eq!(kernel.refusal(&initialize), "there is no debugpy");
    assert_eq!(kernel.refusal(&second), "there is no debugpy");
    kernel.next_debug_work().finish(Ok(b"{}".to_vec()));
    let third = kernel.debug(3, "initialize", json!({}));
    // The thread ends.
    drop(kernel.next_debug_work());
    assert!(kernel.refusal(&third).contains("thread of the debugger has ended"));
    drop(kernel.next_debug_work());
    assert_eq!(kernel.info()["isStarted"], false);
}

#[test]
fn a_pydevd_that_dies_leaves_no_request_and_no_stop() {
    for how in ["closed", "no frame", "giant header"] {
        let (mut kernel, mut pydevd) = attached();
        let parent = kernel.debug(3, "debugInfo", json!({}));
        kernel.answer_to(&parent);
        pydevd.event("stopped", json!({"threadId": 5, "reason": "breakpoint"}));
        assert_eq!(kernel.event(&parent)["event"], "stopped");
        let stack = kernel.debug(4, "stackTrace", json!({"threadId": 5}));
        pydevd.expect("stackTrace");
        let variables = kernel.debug(5, "variables", json!({"variablesReference": 1}));
        pydevd.expect("variables");
        match how {
            "closed" => pydevd.stream.shutdown(Shutdown::Both).unwrap(),
            "no frame" => pydevd.stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(),
            // The kernel may close before all is written.
            _ => drop(pydevd.stream.write_all(&b"x".repeat(1 << 20))),
        }
        assert!(kernel.refusal(&stack).contains("disconnected"), "{how}");
        assert!(kernel.refusal(&variables).contains("disconnected"), "{how}");
        kernel.next_debug_work().finish(Ok(b"{}".to_vec()));
        assert_eq!(kernel.info()["stoppedThreads"], json!([]));
        assert_eq!(kernel.info()["isStarted"], false);
    }
}

#[test]
fn a_pydevd_that_never_answers_is_waited_for_no_longer_than_its_time() {
    let mut kernel = TestKernel::start_with(|options| options.debugger_patience = PATIENCE / 20);
    let (mut pydevd, work, attach) = kernel.attach();
    work.finish(Ok(b"{}".to_vec()));
    kernel.answer_to(&attach);
    let sent = kernel.debug(3, "evaluate", json!({"expression": "sleep"}));
    let late = pydevd.expect("evaluate");
    assert!(kernel.refusal(&sent).contains("has not answered within"));
    // Too late, and what nobody has asked for: nothing comes of it.
    pydevd.answer(&late, json!({"result": "late"}));
    pydevd.send(&json!({"type": "response", "request_seq": 12345, "success": true, "command": "threads"}));
    pydevd.send(&json!({"type": "request", "seq": 1, "command": "runInTerminal", "arguments": {}}));
    pydevd.send(&json!({"type": "nonsense"}));
    pydevd.send(&json!([1, 2]));
    pydevd.event("process", json!({"name": "python"}));
    let sent = kernel.debug(4, "threads", json!({}));
    let asked = pydevd.expect("threads");
    pydevd.answer(&asked, json!({"threads": []}));
    assert_eq!(kernel.answer_to(&sent)["body"]["threads"], json!([]));
    detach(kernel, pydevd);
}

#[test]
fn the_thread_that_has_stopped_is_first_among_those_that_stand() {
    let (mut kernel, mut pydevd) = attached();
    let parent = kernel.debug(3, "debugInfo", json!({}));
    kernel.answer_to(&parent);
    pydevd.event("stopped", json!({"threadId": 5, "reason": "breakpoint", "allThreadsStopped": true}));
    let asked = pydevd.expect("threads");
    pydevd.answer(&asked, json!({"threads": [{"id": 1, "name": "a"}, {"id": 5, "name": "b"}]}));
    assert_eq!(kernel.event(&parent)["body"]["threadId"], 5);
    assert_eq!(kernel.info()["stoppedThreads"], json!([5, 1]));
    let parent = kernel.debug(4, "debugInfo", json!({}));
    kernel.answer_to(&parent);
    pydevd.event("continued", json!({"threadId": 5, "allThreadsContinued": true}));
    assert_eq!(kernel.event(&parent)["event"], "continued");
    assert_eq!(kernel.info()["stoppedThreads"], json!([]));
    // pydevd would answer when a thread goes on, so never.
    let sent = kernel.debug(5, "continue", json!({"threadId": 5}));
    assert_eq!(kernel.answer_to(&sent)["success"], true);
    detach(kernel, pydevd);
}

#[test]
fn a_request_about_a_stop_that_has_ended_is_answered() {
    let (mut kernel, mut pydevd) = attached();
    let parent = kernel.debug(3, "debugInfo", json!({}));
    kernel.answer_to(&parent);
    pydevd.event("stopped", json!({"threadId": 5, "reason": "breakpoint"}));
    assert_eq!(kernel.event(&parent)["event"], "stopped");
    let sent = kernel.debug(4, "evaluate", json!({"expression": "x"}));
    pydevd.expect("evaluate");
    pydevd.event("continued", json!({"threadId": 5}));
    let reply: Value = kernel.control.reply(&sent);
    assert!(reply["message"].as_str().unwrap().contains("gone on"), "{reply}");
    assert_eq!(kernel.event(&sent)["event"], "continued");
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
    detach(kernel, pydevd);
}

#[test]
fn breakpoints_are_known_with_their_conditions_until_the_end() {
    let (mut kernel, mut pydevd) = attached();
    let breakpoints = json!([{"line": 2, "condition": "x"}, {"line": 9}]);
    let sent =
        kernel.debug(3, "setBreakpoints", json!({"source": {"path": "/a.py"}, "breakpoints": breakpoints}));
    let asked = pydevd.expect("setBreakpoints");
    assert_eq!(asked["arguments"]["breakpoints"], breakpoints);
    pydevd.answer(&asked, json!({"breakpoints": [{"verified": true, "line": 3}, {"verified": false}]}));
    kernel.answer_to(&sent);
    let known = json!([{"source": "/a.py", "breakpoints": [{"line": 3, "condition": "x"}, {"line": 9}]}]);
    assert_eq!(kernel.info()["breakpoints"], known);
    detach(kernel, pydevd);
}

#[test]
fn the_stack_ends_at_the_cell() {
    let (mut kernel, mut pydevd) = attached();
    let prefix = kernel.info()["tmpFilePrefix"].as_str().unwrap().to_owned();
    let sent = kernel.debug(3, "stackTrace", json!({"threadId": 1}));
    let asked = pydevd.expect("stackTrace");
    let frame = |path: String| json!({"id": 1, "source": {"path": path}});
    let frames = json!([frame("/lib.py".into()), frame(format!("{prefix}1.py")), frame("/kernel.py".into())]);
    pydevd.answer(&asked, json!({"stackFrames": frames, "totalFrames": 3}));
    let body = kernel.answer_to(&sent)["body"].take();
    assert_eq!(body["stackFrames"].as_array().unwrap().len(), 2);
    assert_eq!(body["totalFrames"], 2);
    detach(kernel, pydevd);
}

#[test]
fn a_kernel_that_ends_while_attached_answers_all() {
    let (mut kernel, mut pydevd) = attached();
    let sent = kernel.debug(3, "evaluate", json!({"expression": "x"}));
    pydevd.expect("evaluate");
    kernel.kernel.close(PATIENCE);
    pydevd.wait_end();
    drop(sent);
    while !kernel.control.rest().is_empty() || !kernel.iopub.rest().is_empty() {}
}
