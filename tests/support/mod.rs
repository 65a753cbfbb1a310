//! A kernel on fake sockets, with a frontend that speaks to it and a stand-in for Python.
#![allow(dead_code, unused_imports)] // every test file uses its own part of this

mod bare;
mod line;
mod python;

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use actix_rt::Runtime;
use callboard::actors::caller::{CallerError, CallerHandle, GetChild, Task, ThreadEnded};
use callboard::actors::router::{KernelFacts, SUBSHELLS};
use callboard::actors::stdin::{Answer, Ask};
use callboard::delivery::inbox::Inbox;
use callboard::delivery::job::Channel;
use callboard::kernel::{self, Kernel, Options, Sockets};
use callboard::os::process::Process;
use callboard::transport::fake;
use callboard::wire::content::{
    ConnectReply, Content, CreateSubshellReply, CreateSubshellRequest, DeleteSubshellReply,
    DeleteSubshellRequest, Error, ErrorReply, ExecuteReply, ExecuteRequest, ExecutionState, InputRequest,
    IopubWelcome, KernelInfoReply, KernelInfoRequest, LanguageInfo, ListSubshellReply, ListSubshellRequest,
    Status, reply,
};
use callboard::wire::run_mode::{Backend, CallerOptions};
use callboard::wire::{EMPTY_OBJECT, Frames, Header, MessageType, Outgoing, Parent, Session};
use serde_json::{Value, json};

pub use bare::{Bare, HOLD};
pub use line::{ABORTED, FAILED, Line, RAN, Sent, read, signed};
pub use python::{Held, KEPT, Python, Started, block_on};

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
        supported_features: vec![SUBSHELLS.into()],
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
        facts: KernelFacts { kernel_info, connect, comms_in_subshells: false },
        shutdown_deadline: DEADLINE,
        subscriber_patience: 2 * PATIENCE,
        parent: None,
        watch_memory: false,
        process: Box::new(Recorder(recorder)),
        backend: Backend::Asyncio,
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
        Self::start_with(|_| {})
    }

    /// Like [`TestKernel::start`], without signatures: they take most of the time of a message here.
    pub fn start_unsigned() -> Self {
        Self::build(b"", |_| {}).with_python()
    }

    /// Like [`TestKernel::start`], with other options.
    pub fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        Self::build(KEY, change).with_python()
    }

    /// A kernel whose inboxes nobody reads.
    pub fn without_python() -> Self {
        Self::build(KEY, |_| {})
    }

    /// Like [`TestKernel::without_python`], without signatures.
    pub fn without_python_unsigned() -> Self {
        Self::build(b"", |_| {})
    }

    fn with_python(mut self) -> Self {
        self.python = Some(Python::start(&self.kernel));
        self
    }

    fn build(key: &'static [u8], change: impl FnOnce(&mut Options)) -> Self {
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
        let (mut options, acts) = options();
        options.key = key.to_vec();
        change(&mut options);
        let kernel = Arc::new(kernel::start(sockets, options).unwrap());
        let session = Rc::new(Session::new(key));
        let mut kernel =
            Self { kernel, shell, control, stdin, iopub, heartbeat, session, python: None, acts };
        kernel.iopub.send(vec![vec![1]].into());
        let IopubWelcome { subscription } = read(&kernel.iopub.message("the greeting"));
        assert_eq!(subscription, "");
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

    /// Alice sends these dicts, whatever they are; `kind` is what the header says.
    #[track_caller]
    pub fn send_raw(
        &mut self,
        channel: Channel,
        kind: MessageType,
        header: &Value,
        metadata: &Value,
        content: &Value,
    ) -> Sent {
        let raw = header.to_string();
        self.line(channel).send_dicts(ALICE, [&raw, "{}", &metadata.to_string(), &content.to_string()]);
        let id = header["msg_id"].as_str().unwrap_or_default().to_owned();
        Sent { id, kind, header: raw.into_bytes(), identity: ALICE.to_owned() }
    }

    /// Like [`TestKernel::send_as`], with metadata.
    #[track_caller]
    pub fn send_with<C: Content>(
        &mut self,
        channel: Channel,
        header: &Header,
        metadata: &Value,
        content: &C,
    ) -> Sent {
        let (sent, frames) = self.encode_with(ALICE, header, metadata, content);
        self.line(channel).send(frames);
        sent
    }

    /// The frames of a message, to be sent later.
    pub fn encode<C: Content>(&self, identity: &str, header: &Header, content: &C) -> (Sent, Frames) {
        self.encode_with(identity, header, &json!({}), content)
    }

    fn encode_with<C: Content>(
        &self,
        identity: &str,
        header: &Header,
        metadata: &Value,
        content: &C,
    ) -> (Sent, Frames) {
        let frames = self.session.encode_with_header(
            header,
            Outgoing {
                idents: &[identity.as_bytes().to_vec()],
                kind: &C::TYPE,
                parent: EMPTY_OBJECT,
                metadata: serde_json::to_vec(metadata).unwrap().into(),
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

    /// Alice sends a cell on shell to a subshell.
    #[track_caller]
    pub fn execute_in(&mut self, subshell_id: &str, code: &str) -> Sent {
        let header = self.header_in(Some(subshell_id), &MessageType::ExecuteRequest);
        self.send_as(Channel::Shell, ALICE, &header, &cell(code))
    }

    /// A header that names a subshell.
    pub fn header_in(&self, subshell_id: Option<&str>, kind: &MessageType) -> Header {
        Header { subshell_id: subshell_id.map(str::to_owned), ..self.session.header(kind) }
    }

    /// Makes a subshell, by control. Returns its id.
    #[track_caller]
    pub fn create_subshell(&mut self) -> String {
        let sent = self.send(Channel::Control, ALICE, &CreateSubshellRequest {});
        let CreateSubshellReply { subshell_id, .. } = self.control.reply(&sent);
        self.iopub.busy(&sent);
        self.iopub.idle(&sent);
        subshell_id
    }

    /// Deletes a subshell, by control; aborted cells are published before the reply is.
    #[track_caller]
    pub fn delete_subshell(&mut self, subshell_id: &str) {
        let sent = self.ask_to_delete(subshell_id);
        self.control.reply::<DeleteSubshellReply>(&sent);
        self.iopub.busy(&sent);
        self.iopub.idle(&sent);
    }

    /// Asks for the end of a subshell, by control.
    #[track_caller]
    pub fn ask_to_delete(&mut self, subshell_id: &str) -> Sent {
        let request = DeleteSubshellRequest { subshell_id: subshell_id.to_owned() };
        self.send(Channel::Control, ALICE, &request)
    }

    /// The ids of the subshells, by control.
    #[track_caller]
    pub fn subshells(&mut self) -> Vec<String> {
        let sent = self.send(Channel::Control, ALICE, &ListSubshellRequest {});
        let ListSubshellReply { subshell_id, .. } = self.control.reply(&sent);
        self.iopub.busy(&sent);
        self.iopub.idle(&sent);
        subshell_id
    }

    /// The stand-in has come to `hold NAME` or `await NAME`, and waits until the result is dropped.
    #[track_caller]
    pub fn held(&self, name: &str) -> Held {
        let held = self.next_held();
        assert_eq!(held.name, name);
        held
    }

    /// The next cell that waits, of any thread.
    #[track_caller]
    pub fn next_held(&self) -> Held {
        self.python().next_held()
    }

    /// Sends a cell that holds its thread; when this returns, it does.
    #[track_caller]
    pub fn hold(&mut self, subshell_id: Option<&str>, code: &str) -> (Sent, Held) {
        let sent = match subshell_id {
            Some(id) => self.execute_in(id, code),
            None => self.execute(code),
        };
        let held = self.next_held();
        assert!(code.ends_with(&held.name), "{} is held, and not {code}", held.name);
        self.iopub.busy(&sent);
        self.iopub.input(&sent, code);
        (sent, held)
    }

    /// Lets a cell go on to its end.
    #[track_caller]
    pub fn release(&mut self, sent: &Sent, held: Held) {
        drop(held);
        self.iopub.idle(sent);
        assert_eq!(self.shell.replies(&[sent]), ["ok"]);
    }

    /// The id of the next Caller whose cells are to be cancelled.
    #[track_caller]
    pub fn next_cancelled(&self) -> u64 {
        self.python().next_cancelled()
    }

    /// The name of the next thread that has ended; all actors know of it.
    #[track_caller]
    pub fn next_ended(&self) -> String {
        self.python().next_ended()
    }

    /// The Callers whose threads were started, in that order, without the kernel's own two.
    pub fn started(&self) -> Vec<Started> {
        self.python().started()
    }

    /// Waits until all that was sent on shell is where it belongs: shell is read in order.
    #[track_caller]
    pub fn all_has_arrived(&mut self) {
        let sent = self.send(Channel::Shell, ALICE, &KernelInfoRequest {});
        self.shell.reply::<KernelInfoReply>(&sent);
        self.iopub.busy(&sent);
        self.iopub.idle(&sent);
    }

    /// What becomes of requests of shell that are answered in any order: of each, what is published for it,
    /// then what is replied, in short. See [`Line::stories`] and [`Line::replies`].
    #[track_caller]
    pub fn outcomes(&mut self, sent: &[&Sent]) -> Vec<String> {
        let published = self.iopub.stories(sent, |last| last == "idle");
        let replied = self.shell.replies(sent);
        published.iter().zip(replied).map(|(story, reply)| format!("{story}; {reply}")).collect()
    }

    /// What becomes of one request of shell.
    #[track_caller]
    pub fn outcome(&mut self, sent: &Sent) -> String {
        self.outcomes(&[sent]).remove(0)
    }

    /// Asks a client for a line, as code that runs for a request does.
    pub fn ask(&self, parent: &Arc<Parent>, prompt: &str) -> Arc<Answer> {
        let answer = Arc::new(Answer::new().unwrap());
        let content = InputRequest { prompt: prompt.to_owned(), password: false };
        self.kernel.ask(Ask { parent: parent.clone(), content, answer: answer.clone() });
        answer
    }

    /// Waits until all threads of the stand-in for Python have ended, because the kernel has told them to.
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

    /// A cell was refused: the same error is shown in the cell and replied. Returns its name and what it says.
    #[track_caller]
    pub fn cell_refused(&mut self, channel: Channel, sent: &Sent) -> (String, String) {
        self.iopub.busy(sent);
        let shown: Error = self.iopub.expect(sent);
        self.iopub.idle(sent);
        let ErrorReply { ename, evalue, traceback, .. } = self.line(channel).reply(sent);
        assert_eq!((&shown.ename, &shown.evalue, &shown.traceback), (&ename, &evalue, &traceback));
        assert!(traceback.concat().contains(&evalue), "frontends show the traceback only");
        (ename, evalue)
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

/// What all kernels of this process log from now on.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// To be called once in a process.
    pub fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        log
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

/// Asks a Caller for a child, as Python does.
#[track_caller]
pub fn get_child(
    of: &CallerHandle,
    options: CallerOptions,
    worker: bool,
) -> Result<(CallerHandle, bool), CallerError> {
    let (answer, answered) = mpsc::channel();
    of.addr.do_send(GetChild { options, worker, answer });
    answered.recv_timeout(PATIENCE).expect("the Caller was to answer")
}

/// What is in an inbox, once there is something.
#[track_caller]
pub fn next_work(inbox: &Arc<Inbox<Task>>) -> Vec<Task> {
    let inbox = inbox.clone();
    within_patience("work for a thread", move || {
        inbox.wait().unwrap();
        inbox.drain().into()
    })
}

/// Waits until a Caller is told to stop. Nothing else is in its inbox.
#[track_caller]
pub fn is_stopped(caller: &CallerHandle) {
    let work = next_work(&caller.inbox);
    assert!(matches!(work[..], [Task::Stop]), "{:?} got {} things to do", caller.spec.name, work.len());
}

/// Tells a Caller that its thread has ended, and waits until it and its parent know.
#[track_caller]
pub fn end_thread(caller: &CallerHandle) {
    block_on(caller.addr.send(ThreadEnded)).unwrap();
}

/// The answer to a prompt, once it is here.
#[track_caller]
pub fn awaited(answer: &Arc<Answer>) -> String {
    let answer = answer.clone();
    within_patience("the answer to a prompt", move || {
        answer.wake_fd().wait().unwrap();
        answer.take().unwrap()
    })
}

impl Drop for TestKernel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Some(python) = self.python.take() {
            python.stop();
        }
        self.iopub.peer.resume();
        self.kernel.close(PATIENCE);
        let lines =
            [&mut self.shell, &mut self.control, &mut self.stdin, &mut self.iopub, &mut self.heartbeat];
        let unread: Vec<String> = lines.into_iter().flat_map(Line::rest).collect();
        assert!(unread.is_empty(), "the test ended with messages unread:\n{}", unread.join("\n"));
    }
}
