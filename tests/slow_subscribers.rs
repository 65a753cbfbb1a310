//! Subscribers of iopub that do not read for long, and threads that print at the same time.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use callboard::delivery::job::Channel;
use callboard::os::wake_fd::WakeFd;
use callboard::publisher::Urgency;
use callboard::wire::content::StreamName::{Stderr, Stdout};
use callboard::wire::content::{Content, ExecuteReply, KernelInfoReply, KernelInfoRequest, Stream};
use callboard::wire::{Frame, MessageType};
use support::{ALICE, TestKernel};

/// More than there is room for.
const FULL: usize = 33 << 20;

fn impatient() -> TestKernel {
    TestKernel::start_with(|options| {
        options.subscriber_patience = Duration::from_millis(20);
    })
}

/// Waits for room as a thread does after publishing.
fn wait_for_room(kernel: &TestKernel, published: Urgency) {
    let wake_fd = Arc::new(WakeFd::new().unwrap());
    while kernel.kernel.publisher.is_congested(published) {
        kernel.kernel.publisher.when_room(published, wake_fd.clone());
        wake_fd.wait_for(None, Some(support::PATIENCE)).unwrap();
        wake_fd.clear();
    }
}

#[test]
fn output_is_dropped_when_a_subscriber_is_stuck_and_the_gap_is_announced_and_no_status_is_lost() {
    let mut kernel = impatient();
    let sent = kernel.execute("hold gate");
    let gate = kernel.held("gate");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "hold gate");
    kernel.iopub.peer.stall();
    let publisher = kernel.kernel.publisher.clone();
    // The first waits at the socket, and the second fills the queue.
    let text = "x".repeat(FULL);
    publisher.text(&sent.parent(), Stdout, &text);
    publisher.text(&sent.parent(), Stdout, &text);
    // The thread that prints goes on, though nothing was read.
    wait_for_room(&kernel, Urgency::Output);
    assert!(publisher.is_congested(Urgency::Kept), "messages of comms are not dropped: they wait");
    for _ in 0..5 {
        publisher.text(&sent.parent(), Stdout, &"y".repeat(1000));
    }
    publisher.raw(&sent.parent(), &MessageType::DisplayData, Frame::EMPTY_OBJECT, b"{}".to_vec(), Vec::new());
    let infos: Vec<_> = (0..100)
        .map(|_| {
            let info = kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {});
            kernel.shell.reply::<KernelInfoReply>(&info);
            info
        })
        .collect();
    drop(gate);
    kernel.shell.reply::<ExecuteReply>(&sent);
    kernel.iopub.peer.resume();
    kernel.iopub.text(&sent, Stdout, &"x".repeat(2 * FULL));
    let Stream { name, text } = kernel.iopub.expect(&sent);
    assert_eq!(name, Stderr);
    assert!(text.contains("5002 bytes of output were dropped"), "{text}");
    for info in &infos {
        kernel.iopub.busy(info);
        kernel.iopub.idle(info);
    }
    kernel.iopub.idle(&sent);
    // From now on nothing is dropped.
    let sent = kernel.execute("print text");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "print text");
    kernel.iopub.text(&sent, Stdout, "text\n");
    kernel.iopub.idle(&sent);
    kernel.shell.reply::<ExecuteReply>(&sent);
}

#[test]
fn a_subscriber_that_is_slow_but_reads_costs_no_output() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 50;
    let mut kernel = impatient();
    let sent = kernel.execute("hold gate");
    let gate = kernel.held("gate");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "hold gate");
    let publisher = kernel.kernel.publisher.clone();
    let parent = sent.parent();
    let printing = thread::spawn(move || {
        let (text, wake_fd) = ("x".repeat(CHUNK), Arc::new(WakeFd::new().unwrap()));
        for _ in 0..CHUNKS {
            publisher.text(&parent, Stdout, &text);
            while publisher.is_congested(Urgency::Output) {
                publisher.when_room(Urgency::Output, wake_fd.clone());
                wake_fd.wait_for(None, Some(support::PATIENCE)).unwrap();
                wake_fd.clear();
            }
        }
    });
    kernel.iopub.text(&sent, Stdout, &"x".repeat(CHUNKS * CHUNK));
    printing.join().unwrap();
    drop(gate);
    kernel.iopub.idle(&sent);
    kernel.shell.reply::<ExecuteReply>(&sent);
}

#[test]
fn lines_of_threads_that_print_into_one_cell_are_whole_and_each_thread_keeps_its_order() {
    const THREADS: usize = 8;
    const LINES: usize = 2_000;
    let mut kernel = TestKernel::start_unsigned();
    let sent = kernel.execute("hold gate");
    let gate = kernel.held("gate");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "hold gate");
    let printing: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (publisher, parent) = (kernel.kernel.publisher.clone(), sent.parent());
            thread::spawn(move || {
                for n in 0..LINES {
                    let name = if n % 3 == 0 { Stderr } else { Stdout };
                    // As print() does it, in pieces and with other threads in between.
                    for piece in [format!("{thread}"), " ".into(), format!("{n}"), "\n".into()] {
                        publisher.text(&parent, name, &piece);
                        thread::yield_now();
                    }
                    if n % 10 == 0 {
                        let content = format!(r#"{{"thread":{thread},"n":{n}}}"#).into_bytes();
                        let kind = MessageType::DisplayData;
                        publisher.raw(&parent, &kind, Frame::EMPTY_OBJECT, content, Vec::new());
                    }
                }
            })
        })
        .collect();
    for thread in printing {
        thread.join().unwrap();
    }
    drop(gate);
    // Of each thread: the number of its last line, and of its last display.
    let mut seen: HashMap<usize, usize> = HashMap::new();
    let mut open: HashMap<&str, String> = HashMap::new();
    loop {
        let message = kernel.iopub.message("the output of the cell");
        if message.kind == Stream::TYPE {
            let Stream { name, text } = support::read(&message);
            let mut whole: String = open.remove(name.as_str()).unwrap_or_default();
            whole += &text;
            for line in whole.split_inclusive('\n') {
                if !line.ends_with('\n') {
                    open.insert(name.as_str(), line.to_owned());
                    continue;
                }
                let (thread, n) = line.trim_end().split_once(' ').expect("a whole line");
                let (thread, n): (usize, usize) = (thread.parse().unwrap(), n.parse().unwrap());
                let expected = seen.entry(thread).or_default();
                assert_eq!(n, *expected, "of thread {thread}");
                *expected += 1;
            }
        } else if message.kind == MessageType::DisplayData {
            let content: HashMap<String, usize> = support::read(&message);
            assert_eq!(content["n"] + 1, seen[&content["thread"]], "a display follows its line");
        } else {
            assert_eq!(message.kind, MessageType::Status);
            break;
        }
    }
    assert_eq!(seen.len(), THREADS);
    assert!(seen.values().all(|count| *count == LINES));
    kernel.shell.reply::<ExecuteReply>(&sent);
}
