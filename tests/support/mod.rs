//! A kernel on fake sockets, with a frontend that speaks to it and a stand-in for Python.
#![allow(dead_code, unused_imports)] // every test file uses its own part of this

mod line;
mod python;

use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actix_rt::Runtime;
use callboard::actors::lifecycle::Process;
use callboard::actors::router::Facts;
use callboard::actors::stdin::{Answer, Ask};
use callboard::job::{Channel, Parent};
use callboard::kernel::{self, Kernel, Options, Sockets};
use callboard::transport::fake;
use callboard::wire::content::{ConnectReply, LanguageInfo, reply};
use callboard::wire::content::{
    Content, Error, ErrorReply, ExecuteReply, ExecuteRequest, ExecutionState, InputRequest, KernelInfoReply,
    KernelInfoRequest, Status,
};
use callboard::wire::{EMPTY_OBJECT, Frames, Header, Outgoing, Session};

pub use line::{Line, Sent, read, signed};
pub use python::{Held, Python};

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The key that both sides sign with.
pub const KEY: &[u8] = b"secret";

/// The deadline that the kernel is given for a shutdown.
pub const DEADLINE: Duration = Duration::from_secs(7);

/// The client that sends what a test sends without saying who.
pub const ALICE: &str = "alice";

/// What the kernel did to its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Interrupt,
    ExitAfter(Duration),
}

/// Takes the place of the process: nothing is interrupted and nothing ends.
pub struct Recorder(mpsc::Sender<Act>);

impl Process for Recorder {
    fn interrupt(&self) {
        self.0.send(Act::Interrupt).unwrap_or_default();
    }

    fn exit_after(&self, deadline: Duration) {
        self.0.send(Act::ExitAfter(deadline)).unwrap_or_default();
    }
}

/// A running kernel and all of its clients. When it is dropped, everything that the kernel has sent must
/// have been read, so a message too many fails the test.
pub struct TestKernel {
    pub kernel: Arc<Kernel>,
    pub shell: Line,
    pub control: Line,
    pub stdin: Line,
    pub iopub: Line,
    pub heartbeat: Line,
    pub session: Rc<Session>,
    python: Option<Python>,
    acts: mpsc::Receiver<Act>,
}

/// What a kernel is started with, and where it says what it did to its process.
pub fn options() -> (Options, mpsc::Receiver<Act>) {
    let (recorder, acts) = mpsc::channel();
    let kernel_info = KernelInfoReply {
        status: reply::Ok,
        protocol_version: "5.5".into(),
        implementation: "callboard".into(),
        implementation_version: "0.1.0".into(),
        language_info: LanguageInfo {
            name: "python".into(),
            version: "3.13.1".into(),
            mimetype: "text/x-python".into(),
            file_extension: ".py".into(),
            pygments_lexer: Some("ipython3".into()),
            codemirror_mode: None,
            nbconvert_exporter: Some("python".into()),
        },
        banner: "Python 3.13.1\n".into(),
        debugger: Some(false),
        help_links: Vec::new(),
        supported_features: Vec::new(),
    };
    let connect = ConnectReply {
        status: reply::Ok,
        shell_port: 1001,
        iopub_port: 1002,
        stdin_port: 1003,
        hb_port: 1004,
        control_port: 1005,
    };
    let options = Options {
        key: KEY.to_vec(),
        facts: Facts { kernel_info, connect },
        shutdown_deadline: DEADLINE,
        parent: None,
        process: Box::new(Recorder(recorder)),
    };
    (options, acts)
}

/// A cell with the defaults of the protocol.
pub fn cell(code: &str) -> ExecuteRequest {
    ExecuteRequest {
        code: code.to_owned(),
        silent: false,
        store_history: None,
        user_expressions: std::collections::BTreeMap::new(),
        allow_stdin: true,
        stop_on_error: true,
    }
}

impl Sent {
    /// What the kernel knows of the request.
    pub fn parent(&self) -> Arc<Parent> {
        Arc::new(Parent {
            raw_header: self.header.clone(),
            msg_id: self.id.clone(),
            idents: vec![self.identity.clone().into_bytes()],
        })
    }
}

impl TestKernel {
    /// A kernel with the stand-in for Python on both of its inboxes.
    pub fn start() -> Self {
        let mut kernel = Self::without_python();
        kernel.python = Some(Python::start(&kernel.kernel));
        kernel
    }

    /// Like [`TestKernel::start`], without signatures: they take most of the time of a message here.
    pub fn start_unsigned() -> Self {
        let mut kernel = Self::build(b"", None);
        kernel.python = Some(Python::start(&kernel.kernel));
        kernel
    }

    /// Like [`TestKernel::start`], for a kernel that ends with another process.
    pub fn start_with_parent(pid: libc::pid_t) -> Self {
        let mut kernel = Self::build(KEY, Some(pid));
        kernel.python = Some(Python::start(&kernel.kernel));
        kernel
    }

    /// A kernel whose inboxes nobody reads.
    pub fn without_python() -> Self {
        Self::build(KEY, None)
    }

    fn build(key: &'static [u8], parent: Option<libc::pid_t>) -> Self {
        let runtime = Rc::new(Runtime::new().unwrap());
        let line = |name| {
            let (socket, peer) = fake::pair();
            (socket, Line::new(name, peer, runtime.clone(), key))
        };
        let (shell_socket, shell) = line("shell");
        let (control_socket, control) = line("control");
        let (stdin_socket, stdin) = line("stdin");
        let (iopub_socket, iopub) = line("iopub");
        let (heartbeat_socket, heartbeat) = line("heartbeat");
        let sockets = Sockets {
            shell: shell_socket,
            control: control_socket,
            stdin: stdin_socket,
            iopub: iopub_socket,
            heartbeat: heartbeat_socket,
        };
        let (options, acts) = options();
        let options = Options { key: key.to_vec(), parent, ..options };
        let kernel = Arc::new(kernel::start(sockets, options).unwrap());
        let session = Rc::new(Session::new(key));
        let mut kernel =
            Self { kernel, shell, control, stdin, iopub, heartbeat, session, python: None, acts };
        let starting = kernel.iopub.message("the first status");
        assert_eq!(&*starting.parent, EMPTY_OBJECT);
        let Status { execution_state } = serde_json::from_slice(&starting.content).unwrap();
        assert_eq!(execution_state, ExecutionState::Starting);
        kernel
    }

    /// The line of a channel.
    pub fn line(&mut self, channel: Channel) -> &mut Line {
        match channel {
            Channel::Shell => &mut self.shell,
            Channel::Control => &mut self.control,
            Channel::Stdin => &mut self.stdin,
        }
    }

    /// Sends a message whose content is a type of the protocol.
    #[track_caller]
    pub fn send<C: Content>(&mut self, channel: Channel, identity: &str, content: &C) -> Sent {
        let header = self.session.header(&C::TYPE);
        self.send_as(channel, identity, &header, content)
    }

    /// Like [`TestKernel::send`], with a header that the test has made.
    #[track_caller]
    pub fn send_as<C: Content>(
        &mut self,
        channel: Channel,
        identity: &str,
        header: &Header,
        content: &C,
    ) -> Sent {
        let (sent, frames) = self.encode(identity, header, content);
        self.line(channel).send(frames);
        sent
    }

    /// The frames of a message, to be sent later.
    pub fn encode<C: Content>(&self, identity: &str, header: &Header, content: &C) -> (Sent, Frames) {
        let frames = self.session.encode_with_header(
            header,
            Outgoing {
                idents: &[identity.as_bytes().to_vec()],
                kind: &C::TYPE,
                parent: EMPTY_OBJECT,
                metadata: EMPTY_OBJECT.to_vec(),
                content: serde_json::to_vec(content).unwrap(),
                buffers: Vec::new(),
            },
        );
        let sent = Sent {
            id: header.msg_id.clone(),
            kind: C::TYPE,
            header: serde_json::to_vec(header).unwrap(),
            identity: identity.to_owned(),
        };
        (sent, frames)
    }

    /// Alice sends a cell on shell.
    #[track_caller]
    pub fn execute(&mut self, code: &str) -> Sent {
        self.send(Channel::Shell, ALICE, &cell(code))
    }

    /// The stand-in has come to `hold NAME` and waits until the result is dropped.
    #[track_caller]
    pub fn held(&self, name: &str) -> Held {
        self.python().held(name)
    }

    /// Asks a client for a line, as code that runs for a request does.
    pub fn ask(&self, parent: &Arc<Parent>, prompt: &str) -> Arc<Answer> {
        let answer = Arc::new(Answer::new().unwrap());
        let content = InputRequest { prompt: prompt.to_owned(), password: false };
        self.kernel.ask(Ask { parent: parent.clone(), content, answer: answer.clone() });
        answer
    }

    /// Waits until the stand-in for Python has left both of its inboxes.
    #[track_caller]
    pub fn python_ended(&mut self) {
        self.python.take().unwrap().ended();
    }

    fn python(&self) -> &Python {
        self.python.as_ref().unwrap()
    }

    /// What the kernel does next to its process.
    #[track_caller]
    pub fn act(&self) -> Act {
        self.acts.recv_timeout(PATIENCE).expect("the kernel was to act on its process")
    }

    /// Whether the kernel has done nothing to its process since.
    pub fn no_act(&self) -> bool {
        self.acts.try_recv().is_err()
    }

    /// A cell without output ran to its end. Returns its execution count.
    #[track_caller]
    pub fn ran(&mut self, sent: &Sent, code: &str) -> u64 {
        self.iopub.busy(sent);
        let shown = self.iopub.input(sent, code);
        self.iopub.idle(sent);
        self.succeeded(sent, shown)
    }

    #[track_caller]
    fn succeeded(&mut self, sent: &Sent, shown: u64) -> u64 {
        match self.shell.reply(sent) {
            ExecuteReply::Ok { execution_count, .. } => assert_eq!(execution_count, shown),
            other => panic!("the cell was to succeed, but: {other:?}"),
        }
        shown
    }

    /// A cell without output failed.
    #[track_caller]
    pub fn failed(&mut self, sent: &Sent) {
        let reply: ErrorReply = self.shell.reply(sent);
        assert_eq!(reply.ename, "Failure");
        self.iopub.busy(sent);
        self.iopub.input(sent, "fail");
        let Error { ename, .. } = self.iopub.expect(sent);
        assert_eq!(ename, "Failure");
        self.iopub.idle(sent);
    }

    /// A cell was aborted.
    #[track_caller]
    pub fn aborted(&mut self, sent: &Sent) {
        match self.shell.reply(sent) {
            ExecuteReply::Aborted { .. } => {}
            other => panic!("the cell was to be aborted, but: {other:?}"),
        }
        self.iopub.busy(sent);
        self.iopub.idle(sent);
    }

    /// A request on a channel was refused with an error reply, whose name is returned.
    #[track_caller]
    pub fn refused(&mut self, channel: Channel, sent: &Sent) -> String {
        self.iopub.busy(sent);
        self.iopub.idle(sent);
        let ErrorReply { ename, evalue, .. } = self.line(channel).reply(sent);
        assert!(!evalue.is_empty(), "an error says what is wrong");
        ename
    }

    /// The kernel still says what it is, on shell and on control.
    #[track_caller]
    pub fn answers(&mut self) {
        for channel in [Channel::Shell, Channel::Control] {
            let sent = self.send(channel, ALICE, &KernelInfoRequest {});
            let reply: KernelInfoReply = self.line(channel).reply(&sent);
            assert_eq!(reply.implementation, "callboard");
            self.iopub.busy(&sent);
            self.iopub.idle(&sent);
        }
    }
}

/// What `wait` returns, if it does not take too long.
#[track_caller]
pub fn within_patience<T: Send + 'static>(awaited: &str, wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    // The thread stays behind if the test fails.
    std::thread::spawn(move || drop(sender.send(wait())));
    match receiver.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(problem) => panic!("{problem}; awaited: {awaited}"),
    }
}

/// The answer to a prompt, once it is here.
#[track_caller]
pub fn awaited(answer: &Arc<Answer>) -> String {
    let answer = answer.clone();
    within_patience("the answer to a prompt", move || {
        answer.bell().wait(None).unwrap();
        answer.take().unwrap()
    })
}

impl Drop for TestKernel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Some(python) = self.python.take() {
            python.stop(&self.kernel);
        }
        self.iopub.peer.resume();
        self.kernel.close(PATIENCE);
        let lines =
            [&mut self.shell, &mut self.control, &mut self.stdin, &mut self.iopub, &mut self.heartbeat];
        let unread: Vec<String> = lines.into_iter().flat_map(Line::rest).collect();
        assert!(unread.is_empty(), "the test ended with messages unread:\n{}", unread.join("\n"));
    }
}
