//! Thousands of messages: none is lost, and none waits for the next one to be noticed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use callboard::delivery::job::Channel;
use callboard::kernel::{self, Options, Sockets};
use callboard::transport::zmq::{Bound, Role, bind};
use callboard::wire::content::{CompleteRequest, Content, IopubWelcome, KernelInfoRequest, StreamName};
use callboard::wire::{Frames, Incoming, MessageType, Parent, ReplayGuard, Session};
use support::{ALICE, PATIENCE, Sent, TestKernel, cell, options, signed};

/// Enough for a rare loss to show.
const ROUNDS: usize = 20_000;

/// How many clients of real sockets ask at the same time.
const CLIENTS: usize = 4;

#[test]
fn no_cell_of_20_000_is_lost() {
    // In bursts, so that the threads between the sockets and Python fall asleep again and again.
    let mut kernel = TestKernel::start_unsigned();
    let mut count = 0;
    while count < ROUNDS {
        let burst: Vec<_> = (0..=count % 40).map(|_| kernel.execute("ok")).collect();
        for sent in &burst {
            count += 1;
            assert_eq!(kernel.ran(sent, "ok"), count as u64);
        }
    }
}

#[test]
fn no_request_of_20_000_of_many_kinds_is_lost() {
    let mut kernel = TestKernel::start_unsigned();
    let complete = CompleteRequest { code: "pri".into(), cursor_pos: None };
    for _ in 0..ROUNDS / 40 {
        // Four ways through the kernel: Python and no Python, shell and control.
        let mut shell = Vec::new();
        let mut control = Vec::new();
        for _ in 0..10 {
            shell.push(kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {}));
            control.push(kernel.send(Channel::Control, ALICE, &KernelInfoRequest {}));
            shell.push(kernel.send(Channel::Shell, ALICE, &complete));
            control.push(kernel.send(Channel::Control, ALICE, &cell("ok")));
        }
        let mut idle = 0;
        while idle < shell.len() + control.len() {
            let message = kernel.iopub.message("the status of every request");
            if message.kind == MessageType::Status && message.content.ends_with(b"\"idle\"}") {
                idle += 1;
            }
        }
        for (channel, sent) in [(Channel::Shell, shell), (Channel::Control, control)] {
            let mut open: Vec<&Sent> = sent.iter().collect();
            while !open.is_empty() {
                let reply = kernel.line(channel).message("a reply to every request");
                let at = open.iter().position(|sent| *sent.header == *reply.parent).expect("a known request");
                open.swap_remove(at);
            }
        }
    }
}

/// A kernel on real sockets, and their addresses.
struct Real {
    context: zmq::Context,
    kernel: Arc<kernel::Kernel>,
    addresses: [String; 4],
}

impl Real {
    fn start() -> Self {
        let context = zmq::Context::new();
        let bind = |role| -> Bound { bind(&context, role, "tcp://127.0.0.1:*", None).unwrap() };
        let sockets = Sockets {
            shell: bind(Role::Router),
            control: bind(Role::Router),
            stdin: bind(Role::Router),
            iopub: bind(Role::Publisher),
            heartbeat: bind(Role::Router),
        };
        let addresses = [&sockets.shell, &sockets.control, &sockets.iopub, &sockets.heartbeat]
            .map(|socket| socket.address.clone());
        let options = Options { key: Vec::new(), ..options().0 };
        let kernel = Arc::new(kernel::start(sockets, options).unwrap());
        Self { context, kernel, addresses }
    }

    fn connect(&self, kind: zmq::SocketType, address: &str) -> zmq::Socket {
        let socket = self.context.socket(kind).unwrap();
        socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
        socket.set_linger(0).unwrap();
        socket.connect(address).unwrap();
        socket
    }

    /// Clients that send kernel info requests at about the same time, and wait for all answers before the next round: if
    /// the kernel overlooks one request, no other one wakes it.
    fn ask(&self, address: &str, rounds: usize) -> impl FnOnce() + use<> {
        let clients: Vec<_> = (0..CLIENTS).map(|_| self.connect(zmq::DEALER, address)).collect();
        let id = uuid();
        move || {
            for round in 0..rounds {
                let header = format!(r#"{{"msg_id":"{id} {round}","msg_type":"kernel_info_request"}}"#);
                let mut frames = signed(b"", "", [&header, "{}", "{}", "{}"]);
                // The identity is added by the kernel's socket.
                frames.remove(0);
                for client in &clients {
                    client.send_multipart(&frames, 0).unwrap();
                }
                for client in &clients {
                    let reply = match client.recv_multipart(0) {
                        Ok(reply) => reply,
                        Err(problem) => panic!("no reply in round {round}: {problem}"),
                    };
                    assert_eq!(String::from_utf8_lossy(&reply[3]), header, "it is the reply to this request");
                }
            }
        }
    }

    /// A subscriber of all topics that has been greeted.
    fn subscribe(&self) -> zmq::Socket {
        let socket = self.connect(zmq::SUB, &self.addresses[2]);
        socket.set_subscribe(b"").unwrap();
        loop {
            // The status that says that the kernel starts may be ahead of the greeting.
            let message = decode(&socket);
            if message.kind == IopubWelcome::TYPE {
                return socket;
            }
        }
    }
}

#[track_caller]
fn decode(socket: &zmq::Socket) -> Incoming {
    let frames: Frames = socket.recv_multipart(0).expect("a message on iopub").into();
    Incoming::decode(frames, Session::new(b"").signer(), &ReplayGuard::new()).unwrap()
}

#[test]
fn no_request_of_20_000_on_each_channel_is_lost_on_real_sockets() {
    let real = Real::start();
    let subscriber = real.subscribe();
    let [shell, control, _, heartbeat] = &real.addresses;
    let over = Arc::new(AtomicBool::new(false));

    let asking = thread::spawn(real.ask(shell, ROUNDS / CLIENTS));
    let on_control = thread::spawn(real.ask(control, ROUNDS / CLIENTS));
    let beats = real.connect(zmq::DEALER, heartbeat);
    let beating = thread::spawn({
        let over = over.clone();
        move || {
            let mut count = 0_u64;
            while !over.load(Ordering::Acquire) {
                let beat = count.to_le_bytes();
                beats.send(&beat[..], 0).unwrap();
                assert_eq!(beats.recv_bytes(0).expect("the echo of a heartbeat"), beat);
                count += 1;
            }
        }
    });

    // A reader of iopub that sees every status of every request, among text of no request.
    let publisher = real.kernel.publisher.clone();
    let no_request = Arc::new(Parent::none());
    let mut idle = 0;
    while idle < 2 * ROUNDS {
        let frames = subscriber.recv_multipart(0).expect("the status of every request");
        if frames.last().is_some_and(|content| content.ends_with(b"\"idle\"}")) {
            idle += 1;
            if idle % 100 == 0 {
                publisher.text(&no_request, StreamName::Stdout, "text\n");
            }
        }
    }
    asking.join().unwrap();
    on_control.join().unwrap();
    over.store(true, Ordering::Release);
    beating.join().unwrap();
    real.kernel.close(PATIENCE);
}

#[test]
fn new_subscribers_are_greeted_among_traffic_on_real_sockets() {
    let real = Real::start();
    let over = Arc::new(AtomicBool::new(false));
    let publishing = thread::spawn({
        let (publisher, over) = (real.kernel.publisher.clone(), over.clone());
        move || {
            let no_request = Arc::new(Parent::none());
            while !over.load(Ordering::Acquire) {
                publisher.text(&no_request, StreamName::Stdout, "text\n");
                publisher.flush();
                thread::yield_now();
            }
        }
    });
    for _ in 0..200 {
        // Waits for its greeting, however much else there is to read.
        drop(real.subscribe());
    }
    over.store(true, Ordering::Release);
    publishing.join().unwrap();
    real.kernel.close(PATIENCE);
}

#[test]
fn a_client_that_goes_and_comes_back_is_answered_on_real_sockets() {
    let real = Real::start();
    for _ in 0..50 {
        let gone = real.connect(zmq::DEALER, &real.addresses[0]);
        gone.set_identity(b"client").unwrap_or_default();
        let header = format!(r#"{{"msg_id":"{}","msg_type":"kernel_info_request"}}"#, uuid());
        let mut frames = signed(b"", "", [&header, "{}", "{}", "{}"]);
        frames.remove(0);
        gone.send_multipart(frames, 0).unwrap();
        // Does not wait for the reply.
        drop(gone);
        real.ask(&real.addresses[0], 1)();
    }
    real.kernel.close(PATIENCE);
}

fn uuid() -> String {
    Session::new(b"").id().to_owned()
}
