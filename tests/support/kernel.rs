//! The kernel of a test, on fake sockets.

use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::line::{Line, read};
use super::python::{Held, Python, Started};
use super::sending::cell;
use super::{DEADLINE, KEY, PATIENCE};
use actix_rt::Runtime;
use callboard::actors::router::{KernelFacts, SUBSHELLS};
use callboard::delivery::debug_work::DebugWork;
use callboard::delivery::job::Channel;
use callboard::kernel::{self, Kernel, Options, Sockets};
use callboard::os::process::Process;
use callboard::transport::fake;
use callboard::wire::content::{
    ConnectReply, ExecutionState, IopubWelcome, KernelInfoReply, LanguageInfo, Status, reply,
};
use callboard::wire::run_mode::Backend;
use callboard::wire::{EMPTY_OBJECT, Session};

/// What the kernel did to its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Interrupt,
    ExitAfter(Duration),
}

/// Stands in for the process: records what the kernel does to it.
pub struct Recorder(mpsc::Sender<Act>);

impl Process for Recorder {
    fn interrupt(&self) {
        self.0.send(Act::Interrupt).unwrap_or_default();
    }

    fn exit_after(&self, deadline: Duration) {
        self.0.send(Act::ExitAfter(deadline)).unwrap_or_default();
    }
}

/// A running kernel and all of its clients. Dropping it fails the test if a message of the kernel is unread.
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

/// The options of a kernel, and the receiver of what it does to its process.
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
        facts: KernelFacts { kernel_info, connect },
        shutdown_deadline: DEADLINE,
        subscriber_patience: 2 * PATIENCE,
        parent: None,
        watch_memory: false,
        process: Box::new(Recorder(recorder)),
        backend: Backend::Asyncio,
        comms_in_subshells: false,
        debugger_patience: PATIENCE,
        cell_folder: std::env::temp_dir().join(format!("callboard-test-{}", uuid::Uuid::new_v4())),
    };
    (options, acts)
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

    /// A kernel without readers of its inboxes.
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

    /// The id of the next Caller whose cells are to be cancelled.
    #[track_caller]
    pub fn next_cancelled(&self) -> u64 {
        self.python().next_cancelled()
    }

    /// What the debugger wants done in Python next. Dropping it says that the thread has ended.
    #[track_caller]
    pub fn next_debug_work(&self) -> DebugWork {
        self.python().next_debug_work()
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
