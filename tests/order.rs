//! The order in which a cell and its outputs reach the clients.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use callboard::delivery::job::Channel;
use callboard::wire::content::{DisplayData, ExecuteReply, KernelInfoReply, KernelInfoRequest, StreamName};
use support::{ALICE, TestKernel, cell};

use StreamName::{Stderr, Stdout};

#[test]
fn a_cell_is_busy_shows_its_input_then_its_output_and_is_idle_at_last() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("print hello");
    kernel.iopub.busy(&sent);
    assert_eq!(kernel.iopub.input(&sent, "print hello"), 1);
    kernel.iopub.text(&sent, Stdout, "hello\n");
    kernel.iopub.idle(&sent);
    let reply: ExecuteReply = kernel.shell.reply(&sent);
    assert!(matches!(reply, ExecuteReply::Ok { execution_count: 1, .. }), "{reply:?}");
}

#[test]
fn stdout_stderr_and_displays_keep_their_order() {
    let mut kernel = TestKernel::start();
    let code = "print 1\nwarn 2\nprint 3\ndisplay 4\nprint 5\nwarn 6\ndisplay 7";
    for _ in 0..50 {
        let sent = kernel.execute(code);
        let iopub = &mut kernel.iopub;
        iopub.busy(&sent);
        iopub.input(&sent, code);
        assert_eq!(iopub.text(&sent, Stdout, "1\n"), 1);
        assert_eq!(iopub.text(&sent, Stderr, "2\n"), 1);
        assert_eq!(iopub.text(&sent, Stdout, "3\n"), 1);
        assert_eq!(iopub.expect::<DisplayData>(&sent).data.get(), r#"{"text/plain":"4"}"#);
        assert_eq!(iopub.text(&sent, Stdout, "5\n"), 1);
        assert_eq!(iopub.text(&sent, Stderr, "6\n"), 1);
        assert_eq!(iopub.expect::<DisplayData>(&sent).data.get(), r#"{"text/plain":"7"}"#);
        iopub.idle(&sent);
        kernel.shell.reply::<ExecuteReply>(&sent);
    }
}

#[test]
fn a_flood_of_text_comes_whole_and_in_few_messages() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("flood 20000");
    let text = (0..20_000).flat_map(|n| [n.to_string(), "\n".to_owned()]).collect::<String>();
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "flood 20000");
    let messages = kernel.iopub.text(&sent, Stdout, &text);
    assert!(messages < 500, "{messages} messages for 20,000 lines");
    kernel.iopub.idle(&sent);
    kernel.shell.reply::<ExecuteReply>(&sent);
}

#[test]
fn text_comes_while_its_cell_still_runs() {
    let mut kernel = TestKernel::start();
    let code = "print first\nhold one\nprint second\nhold two";
    let sent = kernel.execute(code);
    let one = kernel.held("one");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, code);
    kernel.iopub.text(&sent, Stdout, "first\n");
    drop(one);
    // The second text may be kept back for more to come, but not for the cell's end.
    let two = kernel.held("two");
    kernel.iopub.text(&sent, Stdout, "second\n");
    drop(two);
    kernel.iopub.idle(&sent);
    kernel.shell.reply::<ExecuteReply>(&sent);
}

#[test]
fn cells_run_in_the_order_they_were_sent() {
    let mut kernel = TestKernel::start();
    let codes: Vec<String> = (0..200).map(|n| format!("print {n}")).collect();
    let cells: Vec<_> = codes.iter().map(|code| kernel.execute(code)).collect();
    for (n, (sent, count)) in cells.iter().zip(1..).enumerate() {
        kernel.iopub.busy(sent);
        assert_eq!(kernel.iopub.input(sent, &codes[n]), count);
        kernel.iopub.text(sent, Stdout, &format!("{n}\n"));
        kernel.iopub.idle(sent);
        let reply: ExecuteReply = kernel.shell.reply(sent);
        assert!(matches!(reply, ExecuteReply::Ok { execution_count, .. } if execution_count == count));
    }
}

#[test]
fn outputs_of_cells_that_run_at_the_same_time_go_to_their_own_cells() {
    let mut kernel = TestKernel::start();
    let one = kernel.execute("hold one");
    let held_one = kernel.held("one");
    let two = kernel.send(Channel::Control, ALICE, &cell("hold two"));
    let held_two = kernel.held("two");
    for (sent, code) in [(&one, "hold one"), (&two, "hold two")] {
        kernel.iopub.busy(sent);
        kernel.iopub.input(sent, code);
    }
    for n in 0..100 {
        kernel.kernel.publisher.text(&one.parent(), Stdout, &format!("one {n}\n"));
        kernel.kernel.publisher.text(&two.parent(), Stdout, &format!("two {n}\n"));
    }
    for n in 0..100 {
        kernel.iopub.text(&one, Stdout, &format!("one {n}\n"));
        kernel.iopub.text(&two, Stdout, &format!("two {n}\n"));
    }
    drop(held_one);
    kernel.iopub.idle(&one);
    kernel.shell.reply::<ExecuteReply>(&one);
    drop(held_two);
    kernel.iopub.idle(&two);
    kernel.control.reply::<ExecuteReply>(&two);
}

#[test]
fn no_status_is_lost_while_a_subscriber_does_not_read() {
    let mut kernel = TestKernel::start();
    kernel.iopub.peer.stall();
    let mut infos = Vec::new();
    for _ in 0..300 {
        let info = kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {});
        kernel.shell.reply::<KernelInfoReply>(&info);
        infos.push(info);
    }
    let mut cells = Vec::new();
    for _ in 0..300 {
        let cell = kernel.execute("print text");
        kernel.shell.reply::<ExecuteReply>(&cell);
        cells.push(cell);
    }
    assert!(kernel.iopub.peer.try_recv().is_none(), "nothing is sent to a peer that has no room");
    kernel.iopub.peer.resume();
    for info in &infos {
        kernel.iopub.busy(info);
        kernel.iopub.idle(info);
    }
    for (cell, count) in cells.iter().zip(1..) {
        kernel.iopub.busy(cell);
        assert_eq!(kernel.iopub.input(cell, "print text"), count);
        kernel.iopub.text(cell, Stdout, "text\n");
        kernel.iopub.idle(cell);
    }
}
