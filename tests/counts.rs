//! Bounds for what a cell costs in counts that are the same on every machine, against changes that slow the kernel down
//! unnoticed. Times are in the benchmarks.
//!
//! The kernel runs on fake sockets, with a thread in place of Python. Counts what Rust allocates on the threads of the
//! kernel and on that one, and not what the test itself allocates.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use callboard::wire::content::{Stream, StreamName};
use callboard::wire::{Incoming, MessageType, Parent, Verifier};
use support::{Bare, HOLD, KEY, TestKernel, read, within_patience};

// The bounds, each with what was measured. Lower a bound when its cost becomes lower.

/// Allocations of a cell that comes alone. 60: reading 7, writing four messages 32, and 21 for contents, queues and
/// mailboxes.
const ALLOCATIONS: f64 = 69.0;
/// Allocations of a cell among 500 that come while another one runs. 59.2.
const ALLOCATIONS_IN_A_FLOOD: f64 = 69.0;
/// Allocations of reading and verifying an `execute_request`. 7: the strings of its header, and the list of its identities.
const ALLOCATIONS_OF_READING: f64 = 9.0;
/// Allocations of writing and signing a message on iopub. 8, those of its frames included.
const ALLOCATIONS_OF_WRITING: f64 = 10.0;
/// How often the Python thread is woken for a cell that comes alone. 1.
const WAKEUPS: f64 = 1.0;
/// How often the Python thread is woken for 500 cells that come while it works. 1.
const WAKEUPS_IN_A_FLOOD: usize = 2;
/// Allocations of a line among 10,000 that are printed, each in two writes, as `print` does. 0.03: texts that grow.
const ALLOCATIONS_OF_A_LINE: f64 = 0.1;
/// Messages that 10,000 lines of 49 bytes are sent in when nothing is sent before the last is printed. 8, of 64 KiB;
/// 9 if the first text is handed to the socket, which refuses it, before it has grown.
const MESSAGES_OF_WAITING_LINES: usize = 9;
/// Messages that they are sent in while they are printed, beside one every [`BETWEEN_TEXTS`]. 8; a message of half
/// the size, of which there would be 15, does not wait.
const MESSAGES_OF_A_FLOOD: f64 = 16.0;
/// The shortest time between two messages of a flood of lines, unless they are full.
const BETWEEN_TEXTS: Duration = Duration::from_millis(10);

// The sizes of the tests.

/// Cells before the counting begins: queues and tables have grown.
const WARM_UP: usize = 100;
const ONE_BY_ONE: usize = 400;
const FLOOD: usize = 500;
const LINES: usize = 10_000;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, which counts.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this is a thread of the test, whose allocations do not count.
    static IS_TEST: Cell<bool> = const { Cell::new(false) };
}

impl Counting {
    fn count() {
        if !IS_TEST.try_with(Cell::get).unwrap_or(true) {
            ALLOCATED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: the system's allocator does the work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as the calling code promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as the calling code promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as the calling code promises.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the calling code promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Makes the other tests of this process wait: all share the counter.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    IS_TEST.set(true);
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::cast_precision_loss)] // they are small
fn per(count: usize, of: usize) -> f64 {
    count as f64 / of as f64
}

/// Fails the test if `count` is above its bound. `--nocapture` shows what was counted.
#[allow(clippy::print_stdout)]
#[track_caller]
fn bounded(what: &str, count: f64, bound: f64) {
    println!("{what}: {count:.2}, at most {bound}");
    assert!(count <= bound, "{what}: {count:.2}, but at most {bound} are allowed (see the top of this file)");
}

fn one_by_one(kernel: &mut TestKernel, cells: usize) {
    for _ in 0..cells {
        let frames = kernel.cell_frames("pass");
        kernel.send_frames(frames);
        kernel.take_published(3);
        kernel.take_replies(1);
    }
}

#[test]
fn a_cell_that_comes_alone() {
    let _turn = alone();
    let mut kernel = TestKernel::without_python();
    let python = Bare::start(&kernel);
    one_by_one(&mut kernel, WARM_UP);
    let (allocated, woken) = (ALLOCATED.load(Ordering::Relaxed), python.wakeups());
    // Each has three messages on iopub and one on shell. The end of the test finds any further ones.
    one_by_one(&mut kernel, ONE_BY_ONE);
    let allocated = ALLOCATED.load(Ordering::Relaxed) - allocated;
    bounded("allocations of a cell", per(allocated, ONE_BY_ONE), ALLOCATIONS);
    bounded("wake-ups for a cell", per(python.wakeups() - woken, ONE_BY_ONE), WAKEUPS);
}

#[test]
fn cells_that_come_while_python_works() {
    let _turn = alone();
    let mut kernel = TestKernel::without_python();
    let python = Bare::start(&kernel);
    one_by_one(&mut kernel, WARM_UP);
    let frames: Vec<_> = (0..FLOOD).map(|_| kernel.cell_frames("pass")).collect();
    let frame = kernel.cell_frames(HOLD);
    kernel.send_frames(frame);
    // Busy and the code: the thread is in the cell.
    kernel.take_published(2);
    let (allocated, woken) = (ALLOCATED.load(Ordering::Relaxed), python.wakeups());
    for frames in frames {
        kernel.send_frames(frames);
    }
    let python = within_patience("500 cells in the inbox", move || {
        while python.waiting() < FLOOD {
            thread::yield_now();
        }
        python
    });
    python.release();
    kernel.take_published(1 + 3 * FLOOD);
    kernel.take_replies(1 + FLOOD);
    let allocated = ALLOCATED.load(Ordering::Relaxed) - allocated;
    bounded("allocations of a cell of 500", per(allocated, FLOOD), ALLOCATIONS_IN_A_FLOOD);
    bounded("wake-ups for 500 cells", per(python.wakeups() - woken, 1), per(WAKEUPS_IN_A_FLOOD, 1));
}

#[test]
fn reading_and_writing_a_message() {
    let _turn = alone();
    let kernel = TestKernel::without_python();
    let verifier = Verifier::new(KEY);
    let requests: Vec<_> = (0..ONE_BY_ONE).map(|_| kernel.cell_frames("pass")).collect();
    let parent = Parent { raw_header: requests[0].iter().nth(3).unwrap().to_vec(), ..Parent::none() };
    let publisher = kernel.kernel.publisher.clone();
    // On another thread: those of the test do not count.
    let counting = thread::spawn(move || {
        let before = ALLOCATED.load(Ordering::Relaxed);
        for frames in requests {
            verifier.decode(frames).unwrap();
        }
        let read = ALLOCATED.load(Ordering::Relaxed);
        for _ in 0..ONE_BY_ONE {
            publisher.encode_text(&parent, StreamName::Stdout, "text\n");
        }
        (read - before, ALLOCATED.load(Ordering::Relaxed) - read)
    });
    let (read, written) = counting.join().unwrap();
    bounded("allocations of reading a request", per(read, ONE_BY_ONE), ALLOCATIONS_OF_READING);
    bounded("allocations of writing a message", per(written, ONE_BY_ONE), ALLOCATIONS_OF_WRITING);
}

/// Prints the lines on another thread, calls `ready`, and reads them all. Returns allocations and messages.
fn print_lines(kernel: &mut TestKernel, ready: impl Fn(&TestKernel)) -> (usize, usize) {
    let parent = Arc::new(Parent::none());
    let line = "x".repeat(48);
    let publisher = kernel.kernel.publisher.clone();
    let allocated = ALLOCATED.load(Ordering::Relaxed);
    let printing = thread::spawn({
        let line = line.clone();
        move || {
            for _ in 0..LINES {
                publisher.text(&parent, StreamName::Stdout, &line);
                publisher.text(&parent, StreamName::Stdout, "\n");
            }
        }
    });
    printing.join().unwrap();
    ready(kernel);
    let (mut length, mut messages) = (0, 0);
    while length < LINES * (line.len() + 1) {
        let message: Incoming = kernel.iopub.message("more text");
        assert_eq!(message.kind, MessageType::Stream);
        length += read::<Stream>(&message).text.len();
        messages += 1;
    }
    (ALLOCATED.load(Ordering::Relaxed) - allocated, messages)
}

#[test]
fn lines_that_wait_for_a_subscriber() {
    let _turn = alone();
    let mut kernel = TestKernel::without_python();
    kernel.iopub.peer.stall();
    let (allocated, messages) = print_lines(&mut kernel, |kernel| kernel.iopub.peer.resume());
    bounded("allocations of a line that waits", per(allocated, LINES), ALLOCATIONS_OF_A_LINE);
    bounded("messages of lines that wait", per(messages, 1), per(MESSAGES_OF_WAITING_LINES, 1));
}

#[test]
fn lines_of_a_flood() {
    let _turn = alone();
    let mut kernel = TestKernel::without_python();
    let start = Instant::now();
    let (allocated, messages) = print_lines(&mut kernel, |_| ());
    let in_time = start.elapsed().div_duration_f64(BETWEEN_TEXTS).ceil();
    bounded("allocations of a line of a flood", per(allocated, LINES), ALLOCATIONS_OF_A_LINE);
    bounded("messages of a flood, for the time it took", per(messages, 1), MESSAGES_OF_A_FLOOD + in_time);
}
