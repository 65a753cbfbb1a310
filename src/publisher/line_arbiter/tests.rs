use super::StreamName::{Stderr, Stdout};
use super::*;
use crate::publisher::entry::Message;

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
fn the_next_line_is_not_cut_either() {
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
fn a_line_that_stays_open_holds_up_others_for_half_a_second() {
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
fn the_end_of_a_request_releases_all_that_waits() {
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
fn text_of_c_code_ends_a_line_and_waits_for_none() {
    let mut cell = Cell::new();
    cell.print(A, Stdout, "a");
    cell.lines.note_foreign(&cell.parent.clone(), Stdout);
    cell.print(B, Stdout, "b\n");
    assert_eq!(cell.shown, "ab\n");
}

#[test]
fn lines_that_are_left_open_are_forgotten() {
    let mut lines = LineArbiter::default();
    let start = Instant::now();
    for n in 0..10 * REMEMBERED {
        let parent = Arc::new(Parent { msg_id: n.to_string(), ..Parent::none() });
        let now = start + PATIENCE * u32::try_from(n).unwrap_or(u32::MAX);
        assert!(lines.admits(&parent, A, Some((Stdout, false)), now));
    }
    assert!(lines.outputs.len() <= REMEMBERED + 1);
}
