//! The stand-in for Python: a thread on each inbox that does what a cell's code says.
//!
//! A line of code is one of: `ok`, `print TEXT`, `warn TEXT`, `flood N`, `display TEXT`, `where` (prints
//! the thread), `hold NAME` (until the test lets go), `ask PROMPT` (prints the answer), `fail`, `vanish`
//! (the thread ends and forgets the request).

use std::sync::{Arc, mpsc};
use std::thread;

use callboard::actors::caller::Work;
use callboard::actors::stdin::{Answer, Ask};
use callboard::inbox::Inbox;
use callboard::kernel::Kernel;
use callboard::request::{Outcome, Request};
use callboard::wire::MessageType;
use callboard::wire::content::{DisplayData, Error, ExecuteReply, InputRequest, StreamName};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::PATIENCE;

/// The threads of the stand-in, as the test sees them.
pub struct Python {
    held: mpsc::Receiver<Held>,
    ended: mpsc::Receiver<()>,
}

/// A cell that waits for the test. Dropping this lets it go on.
pub struct Held {
    name: String,
    _release: mpsc::Sender<()>,
}

impl Python {
    /// Starts one thread on the shell inbox and one on the control inbox.
    pub fn start(kernel: &Arc<Kernel>) -> Self {
        let (holds, held) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        for (name, inbox) in [("shell", &kernel.shell), ("control", &kernel.control)] {
            let kernel = kernel.clone();
            let mut interpreter = Interpreter { name, kernel, holds: holds.clone(), count: 0 };
            let (inbox, end) = (inbox.clone(), end.clone());
            thread::spawn(move || {
                interpreter.serve(&inbox);
                // What the thread has forgotten is dropped by now.
                end.send(()).unwrap_or_default();
            });
        }
        Self { held, ended }
    }

    #[track_caller]
    pub fn held(&self, name: &str) -> Held {
        let held = self.held.recv_timeout(PATIENCE).expect("a cell was to come to its hold");
        assert_eq!(held.name, name);
        held
    }

    /// Waits until both threads have ended.
    #[track_caller]
    pub fn ended(self) {
        for _ in 0..2 {
            self.ended.recv_timeout(PATIENCE).expect("the threads were to be stopped");
        }
    }

    /// Stops both threads without the kernel's help.
    #[track_caller]
    pub fn stop(self, kernel: &Kernel) {
        for inbox in [&kernel.shell, &kernel.control] {
            // A thread that has ended already may have closed its inbox.
            drop(inbox.push(Work::Stop));
        }
        self.ended();
    }
}

struct Interpreter {
    name: &'static str,
    kernel: Arc<Kernel>,
    holds: mpsc::Sender<Held>,
    count: u64,
}

/// How a cell ends, if not at the end of its code.
enum Ending {
    Failed,
    Vanished,
}

impl Interpreter {
    fn serve(&mut self, inbox: &Inbox<Work>) {
        loop {
            inbox.wait().unwrap();
            for work in inbox.drain() {
                let Work::Request(request) = work else {
                    return;
                };
                if request.begin() && matches!(self.work_on(&request), Err(Ending::Vanished)) {
                    return;
                }
            }
        }
    }

    fn work_on(&mut self, request: &Request) -> Result<(), Ending> {
        let Some(execute) = &request.execute else {
            self.work_on_other(request);
            return Ok(());
        };
        if !execute.silent {
            self.count += 1;
            request.publish_input(self.count);
        }
        match execute.code.lines().try_for_each(|line| self.run(request, line)) {
            Ok(()) => {
                let reply = ExecuteReply::Ok {
                    execution_count: self.count,
                    user_expressions: std::collections::BTreeMap::default(),
                    payload: Vec::new(),
                };
                request.reply(serde_json::to_vec(&reply).unwrap(), None, Vec::new());
                request.finish(Outcome::Ok);
            }
            Err(Ending::Failed) => {
                let (ename, evalue, traceback) = ("Failure".to_owned(), "on purpose".to_owned(), Vec::new());
                let error = Error { ename, evalue, traceback };
                request.publisher().content(&request.job.parent, &error);
                request.reply_error(&error.ename, &error.evalue, error.traceback.clone());
                request.finish(Outcome::Error);
            }
            Err(Ending::Vanished) => return Err(Ending::Vanished),
        }
        Ok(())
    }

    /// Says which thread has seen the request: in its reply, or as text if it has none.
    fn work_on_other(&self, request: &Request) {
        if request.job.kind.reply().is_some() {
            let content = json!({"status": "ok", "thread": self.name});
            request.reply(content.to_string().into_bytes(), None, Vec::new());
        } else {
            self.print(request, StreamName::Stdout, &format!("{} on {}", request.job.kind, self.name));
        }
        request.finish(Outcome::Ok);
    }

    fn run(&self, request: &Request, line: &str) -> Result<(), Ending> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "ok" => {}
            "print" => self.print(request, StreamName::Stdout, rest),
            "warn" => self.print(request, StreamName::Stderr, rest),
            "where" => self.print(request, StreamName::Stdout, self.name),
            "flood" => {
                for n in 0..rest.parse().unwrap() {
                    let n: u32 = n;
                    self.print(request, StreamName::Stdout, &n.to_string());
                }
            }
            "display" => {
                let display = DisplayData {
                    data: to_raw_value(&json!({"text/plain": rest})).unwrap(),
                    metadata: to_raw_value(&json!({})).unwrap(),
                    transient: None,
                };
                let content = serde_json::to_vec(&display).unwrap();
                let (parent, kind) = (&request.job.parent, &MessageType::DisplayData);
                request.publisher().raw(parent, kind, b"{}".to_vec(), content, Vec::new());
            }
            "hold" => {
                let (release, released) = mpsc::channel();
                let held = Held { name: rest.to_owned(), _release: release };
                self.holds.send(held).unwrap_or_default();
                // The error says that the test has let go.
                released.recv().unwrap_or_default();
            }
            "ask" => {
                let answer = Arc::new(Answer::new().unwrap());
                let content = InputRequest { prompt: rest.to_owned(), password: false };
                let parent = request.job.parent.clone();
                self.kernel.ask(Ask { parent, content, answer: answer.clone() });
                answer.bell().wait(None).unwrap();
                let text = format!("{rest}={}", answer.take().unwrap());
                self.print(request, StreamName::Stdout, &text);
            }
            "fail" => return Err(Ending::Failed),
            "vanish" => return Err(Ending::Vanished),
            _ => panic!("{line:?} is not in the language of these tests"),
        }
        Ok(())
    }

    fn print(&self, request: &Request, name: StreamName, line: &str) {
        self.kernel.publisher.text(&request.job.parent, name, &format!("{line}\n"));
    }
}
