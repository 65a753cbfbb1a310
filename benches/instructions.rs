//! Counts the instructions of the Rust parts with callgrind and compares them with bounds, against changes that slow them
//! down unnoticed. `cargo bench --bench instructions`
//!
//! The program runs itself under valgrind, once for each part. The counts are those of a release build on `x86_64`
//! and hardly depend on the machine: valgrind presents a processor of its own to the program, one without
//! instructions for SHA, so signatures are computed by the portable code that machines without them run. The
//! bounds have room for other versions of the compiler and of the C library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write;
use std::hint::black_box;
use std::io::ErrorKind;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::task::Waker;

use callboard::publisher::{Entry, Hold, Next, Publisher};
use callboard::wire::content::StreamName;
use callboard::wire::{DELIMITER, Frames, Parent, Session, Verifier};
use support::{Bare, KEY, TestKernel, cell, signed};

/// One part, and how many instructions it may take. Lower the bound when the part takes fewer.
struct Part {
    name: &'static str,
    /// Runs it that many times.
    run: fn(usize),
    /// How many times, enough to be exact.
    times: usize,
    /// How many instructions for each time.
    bound: u64,
    /// Only what runs in [`measured`] counts; otherwise everything, on all threads, that more times add.
    alone: bool,
}

// The comments give what was measured, with rustc 1.95 and glibc 2.36.
const PARTS: &[Part] = &[
    // Decode and verify an `execute_request`: 36,900. Without signature: 10,900.
    Part { name: "read", run: |times| read(KEY, times), times: 500, bound: 41_500, alone: true },
    Part { name: "read unsigned", run: |times| read(b"", times), times: 500, bound: 12_400, alone: true },
    // Publish a status message, take it from the queue, encode and sign it: 36,100. Without signature: 4,640.
    Part { name: "write", run: |times| write(KEY, times), times: 500, bound: 40_900, alone: true },
    Part { name: "write unsigned", run: |times| write(b"", times), times: 500, bound: 5_330, alone: true },
    // Encode and sign a `stream` message of 64 KiB: 4,225,000.
    Part { name: "write text", run: write_text, times: 5, bound: 4_710_000, alone: true },
    // Print a line, in two writes, and take it from the queue with others: 780.
    Part { name: "print", run: print, times: 5_000, bound: 895, alone: true },
    // A `pass` cell from its request to its idle, through all actors, without signatures, and what the client and the
    // stand-in for Python do: 63,900, of which threads that wait for each other make 1 % more or less.
    Part { name: "cell", run: pass, times: 300, bound: 72_800, alone: false },
];

/// Callgrind counts the calls in here.
#[allow(clippy::no_mangle_with_rust_abi)] // the name is for callgrind; C does not call it
#[unsafe(no_mangle)]
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

/// A request as clients send it, the `n`th of a session.
fn request(key: &[u8], n: usize) -> Frames {
    let header = format!(
        r#"{{"msg_id": "6d0be92e-4b2d35a3b4f5c2f4ab8f5a07_1234_{n:06}", "msg_type": "execute_request", "username": "username", "session": "6d0be92e-4b2d35a3b4f5c2f4ab8f5a07", "date": "2026-01-01T12:00:00.000000Z", "version": "5.4"}}"#
    );
    let content = serde_json::to_string(&cell("pass")).unwrap();
    signed(key, "alice", [&header, "{}", "{}", &content]).into()
}

fn parent() -> Arc<Parent> {
    let frames: Vec<_> = request(b"", 0).iter().map(|frame| frame.to_vec()).collect();
    let at = frames.iter().position(|frame| frame == DELIMITER).unwrap();
    Arc::new(Parent { raw_header: frames[at + 2].clone(), msg_id: "request".to_owned(), ..Parent::none() })
}

fn read(key: &[u8], times: usize) {
    let verifier = Verifier::new(key);
    let mut requests: Vec<_> = (0..times).map(|n| Some(request(key, n))).collect();
    measured(&mut || {
        for request in &mut requests {
            black_box(verifier.decode(request.take().unwrap()).unwrap());
        }
    });
}

fn write(key: &[u8], times: usize) {
    let (publisher, parent) = (Publisher::new(Arc::new(Session::new(key))), parent());
    measured(&mut || {
        for _ in 0..times {
            publisher.idle(&parent);
            let Next::Entry(Entry::Message(message)) = publisher.take(Waker::noop(), |_| Hold::No) else {
                panic!("nothing was published");
            };
            black_box(publisher.encode(message));
        }
    });
}

fn write_text(times: usize) {
    let (publisher, parent) = (Publisher::new(Arc::new(Session::new(KEY))), parent());
    let text = "A line of text, as long as lines usually are.\n".repeat(64 * 1024 / 46);
    measured(&mut || {
        for _ in 0..times {
            black_box(publisher.encode_text(&parent, StreamName::Stdout, &text));
        }
    });
}

fn print(times: usize) {
    let (publisher, parent) = (Publisher::new(Arc::new(Session::new(KEY))), parent());
    measured(&mut || {
        for n in 0..times {
            publisher.text(&parent, StreamName::Stdout, "A line of text, as long as lines usually are.");
            publisher.text(&parent, StreamName::Stdout, "\n");
            if n % 100 == 99 {
                assert!(matches!(publisher.take(Waker::noop(), |_| Hold::No), Next::Entry(_)));
            }
        }
    });
}

fn pass(times: usize) {
    let mut kernel = TestKernel::without_python_unsigned();
    let _python = Bare::start(&kernel);
    // The first hundred are in both runs, and so not in the difference.
    for n in 0..100 + times {
        kernel.send_frames(request(b"", n));
        kernel.take_published(3);
        kernel.take_replies(1);
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    // Cargo adds `--bench`.
    if let [_, name, times, ..] = &args[..]
        && let Some(part) = PARTS.iter().find(|part| part.name == name)
    {
        (part.run)(times.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if !cfg!(target_arch = "x86_64") {
        println!("Instructions: NOT CHECKED, the bounds are for x86_64");
        return ExitCode::SUCCESS;
    }
    check()
}

/// Counts all parts. Fails if one takes more than its bound.
fn check() -> ExitCode {
    let mut problems = String::new();
    for part in PARTS {
        let counted = match count(part) {
            Ok(counted) => counted,
            Err(problem) => {
                println!("{problem}");
                return ExitCode::FAILURE;
            }
        };
        println!("{}: {counted} instructions, at most {}", part.name, part.bound);
        if counted > part.bound {
            writeln!(problems, "{} takes {counted} instructions, more than {}", part.name, part.bound)
                .unwrap();
        }
    }
    if problems.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\n{problems}Make it cheaper again, or raise its bound in benches/instructions.rs and say why.");
    ExitCode::FAILURE
}

/// The instructions of a part for each time.
fn count(part: &Part) -> Result<u64, String> {
    let times = u64::try_from(part.times).unwrap();
    if part.alone {
        return Ok(callgrind(part, part.times)? / times);
    }
    Ok(callgrind(part, 2 * part.times)?.saturating_sub(callgrind(part, part.times)?) / times)
}

/// The instructions of a run of a part.
fn callgrind(part: &Part, times: usize) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut valgrind = Command::new("valgrind");
    // Threads take turns: without it one may wait for its turn as long as another has something to do.
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--fair-sched=try"]);
    if part.alone {
        valgrind.arg("--toggle-collect=measured");
    }
    let output = valgrind.arg(this).arg(part.name).arg(times.to_string()).output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            "valgrind is not installed. On Debian and Ubuntu: apt-get install valgrind".to_owned()
        }
        _ => format!("valgrind cannot be run: {error}"),
    })?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected =
        told.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    match collected.and_then(|count| count.parse().ok()) {
        Some(count) if output.status.success() && count > 0 => Ok(count),
        _ => Err(format!("valgrind did not count {}: {}\n{told}", part.name, output.status)),
    }
}
