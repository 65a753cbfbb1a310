//! Times the parts of the kernel that need no Python. `cargo bench --bench parts`
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use callboard::publisher::{Hold, Next, Publisher};
use callboard::wire::content::{Content, ExecuteReply, Stream, StreamName};
use callboard::wire::{DELIMITER, Frame, MessageType, Outgoing, Parent, Session, Verifier};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use support::{Bare, KEY, TestKernel, block_on};

/// A line as programs print them, without its end.
const LINE: &str = "A line of text, as long as lines usually are.";

/// How many lines are a flood.
const LINES: usize = 10_000;

/// The parent of messages for a request.
fn parent(kernel: &TestKernel) -> Arc<Parent> {
    let frames = kernel.cell_frames("pass");
    let at = frames.iter().position(|frame| &**frame == DELIMITER).unwrap();
    let raw_header = frames.iter().nth(at + 2).unwrap().to_vec();
    Arc::new(Parent {
        raw_header,
        msg_id: "request".to_owned(),
        idents: vec![b"alice".to_vec()],
        ..Parent::none()
    })
}

fn reading(criterion: &mut Criterion) {
    let kernel = TestKernel::without_python();
    let verifier = Verifier::new(KEY);
    criterion.bench_function("decode and verify an execute_request", |bencher| {
        // Each is different: a repeated message is refused.
        let request = || kernel.cell_frames("pass");
        bencher.iter_batched(request, |frames| verifier.decode(frames).unwrap(), BatchSize::SmallInput);
    });
}

fn writing(criterion: &mut Criterion) {
    let kernel = TestKernel::without_python();
    let (session, parent) = (Session::new(KEY), parent(&kernel));
    let mut write = |name: &str, kind: &MessageType, content: &[u8]| {
        let mut group = criterion.benchmark_group("encode and sign");
        group.throughput(Throughput::Bytes(content.len().try_into().unwrap()));
        group.bench_function(name, |bencher| {
            let content = || content.to_vec();
            let encode = |content| {
                session.encode(Outgoing {
                    idents: &parent.idents,
                    kind,
                    parent: &parent.raw_header,
                    metadata: Frame::EMPTY_OBJECT,
                    content,
                    buffers: Vec::new(),
                })
            };
            bencher.iter_batched(content, encode, BatchSize::LargeInput);
        });
    };
    let reply =
        ExecuteReply::Ok { execution_count: 1, user_expressions: BTreeMap::default(), payload: Vec::new() };
    write("a reply", &MessageType::ExecuteReply, &serde_json::to_vec(&reply).unwrap());
    let text = format!("{LINE}\n").repeat(1024 * 1024 / (LINE.len() + 1));
    let stream = Stream { name: StreamName::Stdout, text };
    write("a stream of 1 MB", &Stream::TYPE, &serde_json::to_vec(&stream).unwrap());
}

fn waking(criterion: &mut Criterion) {
    criterion.bench_function(
        "from a request on the socket to busy, by a thread that stands for Python",
        |bencher| {
            let mut kernel = TestKernel::without_python();
            let python = Bare::start(&kernel);
            bencher.iter_custom(|times| time_to_busy(&mut kernel, times));
            drop(python);
        },
    );
}

/// The time from a request on the socket to its busy, summed over cells that run one after the other.
fn time_to_busy(kernel: &mut TestKernel, cells: u64) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..cells {
        let frames = kernel.cell_frames("pass");
        let start = Instant::now();
        kernel.send_frames(frames);
        kernel.take_published(1);
        spent += start.elapsed();
        kernel.take_published(2);
        kernel.take_replies(1);
    }
    spent
}

fn printing(criterion: &mut Criterion) {
    let mut kernel = TestKernel::without_python();
    let parent = parent(&kernel);
    let mut group = criterion.benchmark_group("print");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a line, in two writes", |bencher| {
        let publisher = Publisher::new(Arc::new(Session::new(KEY)));
        let mut n = 0;
        bencher.iter(|| {
            publisher.text(&parent, StreamName::Stdout, black_box(LINE));
            publisher.text(&parent, StreamName::Stdout, "\n");
            n += 1;
            // What has been written is taken away, in messages of a usual size.
            if n % 1000 == 0 {
                assert!(matches!(publisher.take(Waker::noop(), |_| Hold::No), Next::Entry(_)));
            }
        });
    });
    group.throughput(Throughput::Elements(LINES.try_into().unwrap()));
    group.sample_size(20);
    group.bench_function("a flood of lines, until a client has them", |bencher| {
        bencher.iter(|| {
            let (publisher, parent) = (kernel.kernel.publisher.clone(), parent.clone());
            let printing = thread::spawn(move || {
                for _ in 0..LINES {
                    publisher.text(&parent, StreamName::Stdout, LINE);
                    publisher.text(&parent, StreamName::Stdout, "\n");
                }
                publisher.flush();
            });
            let mut ends = 0;
            while ends < LINES {
                let frames = block_on(kernel.iopub.peer.recv()).unwrap();
                // In JSON the end of a line is a backslash and an n.
                ends += frames.iter().last().unwrap().windows(2).filter(|pair| pair == b"\\n").count();
            }
            printing.join().unwrap();
        });
    });
}

criterion_group!(parts, reading, writing, waking, printing);
criterion_main!(parts);
