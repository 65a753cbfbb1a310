//! Times the way from a request on the socket to its first message from Python. The difference to a thread in place of
//! Python (`parts`) is the cost of Python. `cargo bench --bench wakeup`
//!
//! The whole Python side runs, on fake sockets. Which Python: `PYO3_PYTHON`, or else as for the `kernel` binary; it
//! needs the packages that callboard needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use callboard::kernel::{self, Sockets};
use callboard::os::signals;
use callboard::python::embed;
use callboard::startup::boot::Booted;
use callboard::startup::settings::Settings;
use callboard::transport::fake::{self, Peer};
use callboard::wire::content::ShutdownRequest;
use callboard::wire::{EMPTY_OBJECT, Frame, Frames, MessageType, Outgoing, Session};
use criterion::Criterion;
use support::{KEY, block_on, cell, options};

/// The client's ends of the sockets that it uses.
struct Client {
    session: Session,
    shell: Peer,
    control: Peer,
    iopub: Peer,
    /// Open as long as the kernel is to run.
    _others: [Peer; 2],
}

impl Client {
    fn request(&self, kind: &MessageType, content: Vec<u8>) -> Frames {
        self.session.encode(Outgoing {
            idents: &[b"client".to_vec()],
            kind,
            parent: EMPTY_OBJECT,
            metadata: Frame::EMPTY_OBJECT,
            content,
            buffers: Vec::new(),
        })
    }

    /// The time from a request on the socket to its busy, summed over cells that run one after the other.
    fn time_to_busy(&mut self, cells: u64) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..cells {
            let content = serde_json::to_vec(&cell("pass")).unwrap();
            let frames = self.request(&MessageType::ExecuteRequest, content);
            let start = Instant::now();
            self.shell.send(frames);
            take(&mut self.iopub, 1);
            spent += start.elapsed();
            take(&mut self.iopub, 2);
            take(&mut self.shell, 1);
        }
        spent
    }
}

/// Ends the process when its thread panics: Python would go on serving.
struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

/// Waits for this many messages.
fn take(peer: &mut Peer, count: usize) {
    for _ in 0..count {
        assert!(block_on(peer.recv()).is_some(), "the kernel has closed its sockets");
    }
}

/// A kernel on fake sockets, before Python runs.
fn boot(args: &[String]) -> (Booted, Client) {
    let ((shell, to_shell), (control, to_control), (stdin, to_stdin)) =
        (fake::pair(), fake::pair(), fake::pair());
    let ((iopub, mut to_iopub), (heartbeat, to_heartbeat)) = (fake::pair(), fake::pair());
    to_iopub.send(vec![vec![1]].into());
    let sockets = Sockets { shell, control, stdin, iopub, heartbeat };
    let kernel = kernel::start(sockets, options().0).unwrap();
    // The greeting and the first status.
    take(&mut to_iopub, 2);
    let settings = Settings::parse_args("kernel", args).unwrap();
    let connection = settings.connection(|| Ok(PathBuf::new())).unwrap();
    let booted =
        Booted { kernel, settings, connection, connection_file: PathBuf::new(), leftovers: Vec::new() };
    let client = Client {
        session: Session::new(KEY),
        shell: to_shell,
        control: to_control,
        iopub: to_iopub,
        _others: [to_stdin, to_heartbeat],
    };
    (booted, client)
}

fn main() -> ExitCode {
    let named = std::env::var_os("PYO3_PYTHON").map(PathBuf::from);
    let found = embed::find_python(named.as_deref());
    let python = match found.and_then(|python| embed::check_version(&python).map(|()| python)) {
        Ok(python) => python,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    // As `boot` does: an interrupt waits for Python to have a handler.
    signals::block_sigint().unwrap();
    let args = ["--HistoryManager.hist_file=:memory:", "--no-fd-capture"].map(str::to_owned);
    let (booted, mut client) = boot(&args);
    // Python has the main thread.
    thread::spawn(move || {
        let _guard = EndOnPanic;
        // The first one waits until Python is up.
        client.time_to_busy(100);
        let mut criterion = Criterion::default().configure_from_args();
        criterion.bench_function("from a request on the socket to busy, by Python", |bencher| {
            bencher.iter_custom(|cells| client.time_to_busy(cells));
        });
        criterion.final_summary();
        let content = serde_json::to_vec(&ShutdownRequest { restart: false }).unwrap();
        client.control.send(client.request(&MessageType::ShutdownRequest, content));
        // Until the kernel has closed its sockets.
        while block_on(client.control.recv()).is_some() {}
    });
    // Ends the process if all went well, as the end of a kernel does.
    let ended = embed::run(&python, &args, booted);
    eprintln!("the kernel ended before its time: {ended:?}");
    ExitCode::FAILURE
}
