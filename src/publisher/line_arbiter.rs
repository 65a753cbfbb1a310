//! Whose turn it is to write: lines that several threads print into one cell are not cut into each other.
//!
//! `print` writes a line and its end one by one, and the interpreter may go on with another thread in between. So a
//! line belongs to the thread that has begun it. What others have for the same cell meanwhile waits in the order it
//! came, until the line has ended, its thread has flushed it, or half a second has passed: a line that is
//! meant to stay open (a prompt, a progress bar) must not hold up anybody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::Message;
use crate::delivery::job::Parent;
use crate::wire::content::StreamName;

/// For how long others wait for the end of a line. A thread among many gets its turn within the switch interval of
/// each of the others (5 ms).
const PATIENCE: Duration = Duration::from_millis(500);

/// Requests whose lines were left open are forgotten when there are more than this.
const REMEMBERED: usize = 100;

/// A thread that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer(usize);

impl Writer {
    /// The calling thread.
    pub fn current() -> Self {
        thread_local!(static MARK: u8 = const { 0 });
        Self(MARK.with(|mark| std::ptr::from_ref(mark).addr()))
    }
}

/// What a thread has written.
pub struct Piece {
    /// The thread.
    pub writer: Writer,
    /// What it was.
    pub what: What,
}

/// Something that is published for a request.
pub enum What {
    /// Text that can be joined with more.
    Text(StreamName, String),
    /// A message; with the stream it belongs to, and whether it ends a line, if it is text.
    Message(Message, Option<(StreamName, bool)>),
}

impl What {
    /// The stream of text, and whether it ends a line.
    pub fn line(&self) -> Option<(StreamName, bool)> {
        match self {
            Self::Text(name, text) => Some((*name, text.ends_with('\n'))),
            Self::Message(_, line) => *line,
        }
    }
}

/// The open lines, and what waits for their ends.
#[derive(Default)]
pub struct LineArbiter {
    outputs: Vec<Output>,
}

/// The output of one request.
struct Output {
    parent: Arc<Parent>,
    open: [Option<Line>; 2],
    waiting: VecDeque<Piece>,
}

#[derive(Clone, Copy)]
struct Line {
    owner: Writer,
    since: Instant,
}

impl LineArbiter {
    /// Whether something may be published now, and if so, takes note of the line it begins or ends (`line`: its stream,
    /// and whether it ends with the end of a line; none if it is no text).
    pub fn admits(
        &mut self,
        parent: &Arc<Parent>,
        writer: Writer,
        line: Option<(StreamName, bool)>,
        now: Instant,
    ) -> bool {
        let Some(at) = self.position(parent) else {
            if let Some((name, false)) = line {
                self.forget_old(now);
                let mut output = Output { parent: parent.clone(), open: [None; 2], waiting: VecDeque::new() };
                output.note(writer, name, false, now);
                self.outputs.push(output);
            }
            return true;
        };
        let output = &mut self.outputs[at];
        let continues = line.is_some_and(|(name, _)| output.owner(name) == Some(writer));
        let admitted = continues
            || !output.is_blocked(writer, line.map(|(name, _)| name), now)
                && (output.waiting.is_empty()
                    || output.open.iter().flatten().any(|line| line.owner == writer));
        if admitted && let Some((name, ends)) = line {
            output.note(writer, name, ends, now);
            if output.is_settled() {
                self.outputs.swap_remove(at);
            }
        }
        admitted
    }

    /// Text of C code and child processes: it waits for nobody, and nobody waits for the end of its lines.
    pub fn note_foreign(&mut self, parent: &Arc<Parent>, name: StreamName) {
        if let Some(at) = self.position(parent) {
            self.outputs[at].open[name as usize] = None;
        }
    }

    /// Keeps what may not be published yet.
    pub fn wait(&mut self, parent: &Arc<Parent>, piece: Piece, join_limit: usize) {
        let Some(at) = self.position(parent) else {
            return; // what is refused is refused because of an output that is known
        };
        let waiting = &mut self.outputs[at].waiting;
        let last = waiting.len().saturating_sub(1);
        // A thread goes on with its own unfinished line, or with the very last piece: the order in which
        // threads have written is kept otherwise, because one may have told the other to.
        if let What::Text(name, text) = &piece.what
            && let Some((at, own)) = waiting.iter_mut().enumerate().rfind(|(_, p)| p.writer == piece.writer)
            && let What::Text(known, before) = &mut own.what
            && known == name
            && (!before.ends_with('\n') || (at == last && before.len() + text.len() <= join_limit))
        {
            before.push_str(text);
            return;
        }
        waiting.push_back(piece);
    }

    /// The next piece that may be published after all.
    pub fn next(&mut self, now: Instant) -> Option<(Arc<Parent>, What)> {
        for at in 0..self.outputs.len() {
            let output = &mut self.outputs[at];
            let Some(front) = output.waiting.front() else {
                continue;
            };
            let line = front.what.line();
            if output.is_blocked(front.writer, line.map(|(name, _)| name), now) {
                continue;
            }
            let Some(Piece { writer, what }) = output.waiting.pop_front() else {
                continue;
            };
            if let Some((name, ends)) = line {
                output.note(writer, name, ends, now);
            }
            let parent = output.parent.clone();
            if output.is_settled() {
                self.outputs.swap_remove(at);
            }
            return Some((parent, what));
        }
        None
    }

    /// Everything that waits for a request, which ends: nothing waits for its lines any more.
    pub fn release(&mut self, parent: &Arc<Parent>) -> VecDeque<Piece> {
        self.position(parent).map(|at| self.outputs.swap_remove(at).waiting).unwrap_or_default()
    }

    /// Everything that waits for any request.
    pub fn release_all(&mut self) -> Vec<(Arc<Parent>, What)> {
        let all = self.outputs.drain(..);
        all.flat_map(|output| {
            output.waiting.into_iter().map(move |piece| (output.parent.clone(), piece.what))
        })
        .collect()
    }

    /// A thread wants its unfinished lines shown as they are.
    pub fn flush(&mut self, writer: Writer) {
        for output in &mut self.outputs {
            for line in &mut output.open {
                line.take_if(|line| line.owner == writer);
            }
        }
    }

    /// When something that waits may be published, whatever happens; none if nothing waits.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let waiting = self.outputs.iter().filter(|output| !output.waiting.is_empty());
        let lines = waiting.flat_map(|output| output.open.iter().flatten());
        lines.filter(|line| line.holds(now)).map(|line| line.since + PATIENCE).min()
    }

    /// Whether there is nothing to look after.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    fn position(&self, parent: &Arc<Parent>) -> Option<usize> {
        let same =
            |output: &Output| Arc::ptr_eq(&output.parent, parent) || output.parent.msg_id == parent.msg_id;
        self.outputs.iter().position(same)
    }

    fn forget_old(&mut self, now: Instant) {
        if self.outputs.len() > REMEMBERED {
            self.outputs.retain(|output| {
                !output.waiting.is_empty() || output.open.iter().flatten().any(|line| line.holds(now))
            });
        }
    }
}

impl Output {
    fn owner(&self, name: StreamName) -> Option<Writer> {
        self.open[name as usize].map(|line| line.owner)
    }

    /// Whether another thread's line is open: on this stream, or for what is no text, on either.
    fn is_blocked(&self, writer: Writer, name: Option<StreamName>, now: Instant) -> bool {
        let lines =
            [StreamName::Stdout, StreamName::Stderr].into_iter().filter(|n| name.is_none_or(|it| it == *n));
        lines.filter_map(|n| self.open[n as usize]).any(|line| line.owner != writer && line.holds(now))
    }

    fn note(&mut self, writer: Writer, name: StreamName, ends: bool, now: Instant) {
        let line = &mut self.open[name as usize];
        if ends {
            *line = None;
        } else if !line.is_some_and(|line| line.owner == writer) {
            *line = Some(Line { owner: writer, since: now });
        }
    }

    fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.open.iter().all(Option::is_none)
    }
}

impl Line {
    fn holds(&self, now: Instant) -> bool {
        now < self.since + PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::StreamName::{Stderr, Stdout};
    use super::*;

    const A: Writer = Writer(1);
    const B: Writer = Writer(2);
    const C: Writer = Writer(3);

    /// What is published, as `(thread, stream, text)`; displays are `<text>`.
    struct Cell {
        lines: LineArbiter,
        parent: Arc<Parent>,
        now: Instant,
        shown: String,
    }

    impl Cell {
        fn new() -> Self {
            let parent = Arc::new(Parent { msg_id: "cell".into(), ..Parent::none() });
            Self { lines: LineArbiter::default(), parent, now: Instant::now(), shown: String::new() }
        }

        fn print(&mut self, writer: Writer, name: StreamName, text: &str) {
            if self.lines.admits(&self.parent, writer, Some((name, text.ends_with('\n'))), self.now) {
                self.shown.push_str(text);
            } else {
                let what = What::Text(name, text.to_owned());
                self.lines.wait(&self.parent, Piece { writer, what }, 1000);
            }
            self.advance();
        }

        fn display(&mut self, writer: Writer) {
            if self.lines.admits(&self.parent, writer, None, self.now) {
                self.shown.push_str("<>");
            } else {
                let what = What::Message(Message::Encoded(crate::wire::Frames::default()), None);
                self.lines.wait(&self.parent, Piece { writer, what }, 1000);
            }
            self.advance();
        }

        fn advance(&mut self) {
            while let Some((_, what)) = self.lines.next(self.now) {
                self.show(&what);
            }
        }

        fn show(&mut self, what: &What) {
            match what {
                What::Text(_, text) => self.shown.push_str(text),
                What::Message(..) => self.shown.push_str("<>"),
            }
        }
    }

    #[test]
    fn a_line_is_not_cut_by_another_thread() {
        let mut cell = Cell::new();
        cell.print(A, Stdout, "a");
        cell.print(B, Stdout, "b");
        cell.print(C, Stdout, "c\n");
        cell.print(B, Stdout, "\n");
        cell.display(B);
        assert_eq!(cell.shown, "a");
        cell.print(A, Stdout, "\n");
        assert_eq!(cell.shown, "a\nb\nc\n<>");
        assert!(cell.lines.is_empty());
    }

    #[test]
    fn the_next_line_that_waits_is_not_cut_either() {
        let mut cell = Cell::new();
        cell.print(A, Stdout, "a");
        cell.print(B, Stdout, "b");
        cell.print(A, Stdout, "\n");
        assert_eq!(cell.shown, "a\nb");
        cell.print(A, Stdout, "2\n");
        assert_eq!(cell.shown, "a\nb");
        cell.print(B, Stdout, "\n");
        assert_eq!(cell.shown, "a\nb\n2\n");
    }

    #[test]
    fn the_order_of_a_threads_own_streams_and_displays_is_kept() {
        let mut cell = Cell::new();
        cell.print(A, Stdout, "a");
        cell.print(B, Stdout, "1\n");
        cell.print(B, Stderr, "2\n");
        cell.display(B);
        cell.print(B, Stdout, "3\n");
        cell.print(C, Stderr, "4\n");
        assert_eq!(cell.shown, "a");
        cell.display(A);
        cell.print(A, Stderr, "e\n");
        cell.print(A, Stdout, "\n");
        assert_eq!(cell.shown, "a<>e\n\n1\n2\n<>3\n4\n");
    }

    #[test]
    fn other_streams_and_requests_do_not_wait() {
        let mut cell = Cell::new();
        cell.print(A, Stdout, "a");
        cell.print(B, Stderr, "b\n");
        assert_eq!(cell.shown, "ab\n");
        let other = Arc::new(Parent { msg_id: "other".into(), ..Parent::none() });
        assert!(cell.lines.admits(&other, B, Some((Stdout, true)), cell.now));
    }

    #[test]
    fn a_line_that_stays_open_holds_up_nobody_for_long() {
        let mut cell = Cell::new();
        cell.print(A, Stdout, "> ");
        assert_eq!(cell.lines.due(cell.now), None);
        cell.print(B, Stdout, "b\n");
        assert_eq!(cell.lines.due(cell.now), Some(cell.now + PATIENCE));
        cell.now += PATIENCE;
        cell.advance();
        assert_eq!(cell.shown, "> b\n");
        assert_eq!(cell.lines.due(cell.now), None);
        cell.print(A, Stdout, "> ");
        cell.lines.flush(A);
        cell.print(B, Stdout, "b\n");
        assert_eq!(cell.shown, "> b\n> b\n");
    }

    #[test]
    fn the_end_of_a_request_lets_everything_out() {
        let mut cell = Cell::new();
        cell.print(A, Stdout, "a");
        cell.print(B, Stdout, "b\n");
        cell.print(B, Stderr, "c\n");
        for piece in cell.lines.release(&cell.parent.clone()) {
            cell.show(&piece.what);
        }
        assert_eq!(cell.shown, "ab\nc\n");
        assert!(cell.lines.is_empty());
    }

    #[test]
    fn what_c_code_prints_ends_a_line_and_waits_for_nobody() {
        let mut cell = Cell::new();
        cell.print(A, Stdout, "a");
        cell.lines.note_foreign(&cell.parent.clone(), Stdout);
        cell.print(B, Stdout, "b\n");
        assert_eq!(cell.shown, "ab\n");
    }

    #[test]
    fn lines_left_open_for_ever_are_forgotten() {
        let mut lines = LineArbiter::default();
        let start = Instant::now();
        for n in 0..10 * REMEMBERED {
            let parent = Arc::new(Parent { msg_id: n.to_string(), ..Parent::none() });
            let now = start + PATIENCE * u32::try_from(n).unwrap_or(u32::MAX);
            assert!(lines.admits(&parent, A, Some((Stdout, false)), now));
        }
        assert!(lines.outputs.len() <= REMEMBERED + 1);
    }
}
