//! Where cells run: after the others, or beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::HashSet;

use callboard::actors::caller::{CallerError, Role, WORKER};
use callboard::delivery::job::Channel;
use callboard::wire::content::{ErrorReply, ExecuteRequest, StreamName};
use callboard::wire::run_mode::{Backend, RunMode};
use callboard::wire::{Header, MessageType};
use serde_json::{Value, json};
use support::{ABORTED, ALICE, FAILED, KEPT, RAN, Sent, TestKernel, cell};

const BOTH: [Channel; 2] = [Channel::Shell, Channel::Control];

/// The places where a client can name a run mode.
const PLACES: [&str; 4] = ["header", "metadata", "tag", "first line"];

/// A cell whose mode is named in one of the [`PLACES`].
fn with_mode(
    kernel: &mut TestKernel,
    channel: Channel,
    subshell_id: Option<&str>,
    place: &str,
    mode: &str,
    content: ExecuteRequest,
) -> Sent {
    let mut header = kernel.header_in(subshell_id, &MessageType::ExecuteRequest);
    let (mut metadata, mut content) = (json!({"cellId": "a", "tags": ["x"]}), content);
    match place {
        "header" => header.run_mode = Some(json!(mode)),
        "metadata" => metadata["run_mode"] = json!(mode),
        "tag" => metadata["tags"] = json!(["x", mode]),
        "first line" => content.code = format!("# {mode}\n{}", content.code),
        _ => {}
    }
    kernel.send_with(channel, &header, &metadata, &content)
}

/// The cell has run, on this thread.
#[track_caller]
fn ran_on(kernel: &mut TestKernel, channel: Channel, sent: &Sent, thread: &str) {
    let story = kernel.iopub.stories(&[sent], |last| last == "idle").remove(0);
    assert_eq!(story, format!("busy input stdout:{thread} idle"));
    assert_eq!(kernel.line(channel).replies(&[sent]), ["ok"]);
}

/// The name of the thread that was started last.
fn last_started(kernel: &TestKernel) -> String {
    kernel.started().last().unwrap().spec.name.clone()
}

#[test]
fn a_cell_runs_on_the_thread_that_channel_subshell_and_mode_name() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    let sent = kernel.execute_in(&subshell, "ok");
    assert_eq!(kernel.outcome(&sent), RAN);
    let in_subshell = last_started(&kernel);

    let mut cases = 0;
    for channel in BOTH {
        for subshell_id in [None, Some(&*subshell)] {
            let own = match (channel, subshell_id) {
                (Channel::Shell, None) => "shell",
                (Channel::Shell, Some(_)) => &in_subshell,
                // There are no queues on control.
                _ => "control",
            };
            for place in PLACES {
                for (mode, thread) in [
                    ("queue", own),
                    ("task", own),
                    ("thread", WORKER),
                    ("thread name=X", "X"),
                    ("thread name='a b' backend=asyncio use_uvloop=false", "a b"),
                ] {
                    let content = cell("where");
                    let sent = with_mode(&mut kernel, channel, subshell_id, place, mode, content);
                    ran_on(&mut kernel, channel, &sent, thread);
                    cases += 1;
                }
            }
            let sent = with_mode(&mut kernel, channel, subshell_id, "nowhere", "", cell("where"));
            ran_on(&mut kernel, channel, &sent, own);
        }
    }
    assert_eq!(cases, 2 * 2 * 4 * 5);
    let roles: Vec<Role> = kernel.started().iter().map(|started| started.spec.role.clone()).collect();
    // Whoever has sent them, wherever they said so: they share their Callers.
    assert_eq!(roles, [Role::Subshell(subshell), Role::Worker, Role::Named, Role::Named]);
}

#[test]
fn the_first_place_that_names_a_mode_counts() {
    let mut kernel = TestKernel::start();
    let mut header = kernel.session.header(&MessageType::ExecuteRequest);
    let metadata = json!({"run_mode": "thread name=metadata", "tags": ["thread name=tag"]});
    let content = cell("# thread name=line\nwhere");
    header.run_mode = Some(json!("thread name=header"));
    let sent = kernel.send_with(Channel::Shell, &header, &metadata, &content);
    ran_on(&mut kernel, Channel::Shell, &sent, "header");
    for (metadata, thread) in
        [(&metadata, "metadata"), (&json!({"tags": ["thread name=tag"]}), "tag"), (&json!({}), "line")]
    {
        let header = kernel.session.header(&MessageType::ExecuteRequest);
        let sent = kernel.send_with(Channel::Shell, &header, metadata, &content);
        ran_on(&mut kernel, Channel::Shell, &sent, thread);
    }
}

/// Sends a message that is no cell, and asks for a thread in every way.
fn no_cell(kernel: &mut TestKernel, channel: Channel, id: Option<&str>, kind: &str, content: &Value) -> Sent {
    let kind = MessageType::parse(kind);
    let header = Header { run_mode: Some(json!("thread")), ..kernel.header_in(id, &kind) };
    let metadata = json!({"run_mode": "thread", "tags": ["thread"]});
    kernel.send_raw(channel, kind, &json!(header), &metadata, content)
}

#[test]
fn comm_messages_stay_on_the_shell_thread_unless_told_otherwise() {
    for comms_in_subshells in [false, true] {
        let mut kernel =
            TestKernel::start_with(|options| options.facts.comms_in_subshells = comms_in_subshells);
        let subshell = kernel.create_subshell();
        let sent = kernel.execute_in(&subshell, "ok");
        assert_eq!(kernel.outcome(&sent), RAN);
        let its_thread = if comms_in_subshells { last_started(&kernel) } else { "shell".to_owned() };
        for (channel, subshell_id, thread) in [
            (Channel::Shell, None, "shell"),
            (Channel::Shell, Some(&*subshell), &*its_thread),
            (Channel::Shell, Some("nowhere"), "shell"),
            (Channel::Control, None, "shell"),
            // Comm messages belong on shell: control does not look for their subshell.
            (Channel::Control, Some(&*subshell), "shell"),
        ] {
            for kind in ["comm_open", "comm_msg", "comm_close"] {
                let content = json!({"comm_id": "a", "target_name": "t", "data": {}});
                let sent = no_cell(&mut kernel, channel, subshell_id, kind, &content);
                kernel.iopub.busy(&sent);
                kernel.iopub.text(&sent, StreamName::Stdout, &format!("{kind} on {thread}\n"));
                kernel.iopub.idle(&sent);
            }
        }
        assert_eq!(kernel.started().len(), 1, "no thread was started for a comm");
    }
}

#[test]
fn what_is_no_cell_is_answered_where_it_always_is_whatever_it_names() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    let (first, gate) = kernel.hold(None, "hold gate");
    let (second, other) = kernel.hold(Some(&subshell), "hold other");
    for channel in BOTH {
        for subshell_id in [None, Some(&*subshell), Some("nowhere")] {
            for (kind, content, python) in [
                ("complete_request", json!({"code": "# thread\npri"}), true),
                ("inspect_request", json!({"code": "# task"}), true),
                ("is_complete_request", json!({"code": "# thread name=X"}), true),
                ("history_request", json!({"hist_access_type": "tail", "n": 3}), true),
                ("kernel_info_request", json!({}), false),
                ("connect_request", json!({}), false),
                ("comm_info_request", json!({}), false),
                ("usage_request", json!({}), false),
                ("list_subshell_request", json!({}), false),
            ] {
                let sent = no_cell(&mut kernel, channel, subshell_id, kind, &content);
                kernel.iopub.busy(&sent);
                kernel.iopub.idle(&sent);
                let reply: Value = kernel.line(channel).reply(&sent);
                assert_eq!(reply["thread"], if python { json!("control") } else { Value::Null }, "{kind}");
            }
        }
    }
    kernel.release(&first, gate);
    kernel.release(&second, other);
}

#[test]
fn only_cells_of_the_queue_wait_for_it() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    for subshell_id in [None, Some(&*subshell)] {
        let (first, gate) = kernel.hold(subshell_id, "await gate");
        let silent = |code: &str| ExecuteRequest { silent: true, ..cell(code) };
        let shell = Channel::Shell;
        // In turns, so that each that waits has one behind it that does not.
        let mut waiting = vec![with_mode(&mut kernel, shell, subshell_id, "nowhere", "", cell("ok"))];
        let mut beside = Vec::new();
        for place in PLACES {
            for (mode, content) in [("task", cell("ok")), ("thread", cell("ok")), ("task", silent("ok"))] {
                beside.push(with_mode(&mut kernel, shell, subshell_id, place, mode, content));
            }
            for content in [cell("ok"), silent("ok")] {
                waiting.push(with_mode(&mut kernel, shell, subshell_id, place, "queue", content));
            }
        }
        // Leaves no trace, and so has no place in the queue.
        beside.push(with_mode(&mut kernel, shell, subshell_id, "nowhere", "", silent("ok")));

        let outcomes = kernel.outcomes(&beside.iter().collect::<Vec<_>>());
        for (at, outcome) in outcomes.iter().enumerate() {
            let is_silent = at % 3 == 2 || at == 12;
            assert_eq!(outcome, if is_silent { "busy idle; ok" } else { RAN }, "{at}");
        }
        kernel.release(&first, gate);
        for (at, sent) in waiting.iter().enumerate() {
            let is_silent = at > 0 && at % 2 == 0;
            assert_eq!(kernel.outcome(sent), if is_silent { "busy idle; ok" } else { RAN }, "{at}");
        }
    }
}

#[test]
fn the_2000_tasks_that_come_while_the_shell_is_held_are_all_answered() {
    let mut kernel = TestKernel::start();
    // In C code: no task can run.
    let (first, gate) = kernel.hold(None, "hold gate");
    let tasks: Vec<Sent> = (0..2000).map(|_| kernel.execute("# task\nok")).collect();
    kernel.all_has_arrived();
    kernel.release(&first, gate);
    for sent in &tasks {
        assert_eq!(kernel.outcome(sent), RAN);
    }
    // While it awaits: all of them run beside it.
    let (first, gate) = kernel.hold(None, "await gate");
    let tasks: Vec<Sent> = (0..2000).map(|_| kernel.execute("# task\nok")).collect();
    for sent in &tasks {
        assert_eq!(kernel.outcome(sent), RAN);
    }
    kernel.release(&first, gate);
}

#[test]
fn tasks_run_beside_tasks() {
    const COUNT: usize = 50;
    let mut kernel = TestKernel::start();
    let tasks: Vec<Sent> = (0..COUNT).map(|n| kernel.execute(&format!("# task\nawait {n}"))).collect();
    let tasks: Vec<&Sent> = tasks.iter().collect();
    let gates: Vec<_> = (0..COUNT).map(|n| kernel.held(&n.to_string())).collect();
    for story in kernel.iopub.stories(&tasks, |last| last == "input") {
        assert_eq!(story, "busy input");
    }
    drop(gates);
    assert_eq!(kernel.outcomes(&tasks), vec!["idle; ok"; COUNT]);
}

#[test]
fn threads_start_while_the_queue_is_held_500_at_once() {
    const COUNT: usize = 500;
    let mut kernel = TestKernel::start_unsigned();
    let (first, gate) = kernel.hold(None, "hold gate");
    let behind = kernel.execute("ok");
    let cells: Vec<Sent> = (0..COUNT).map(|n| kernel.execute(&format!("# thread\nhold {n}"))).collect();
    let cells: Vec<&Sent> = cells.iter().collect();
    let held: Vec<_> = (0..COUNT).map(|_| kernel.next_held()).collect();
    let names: HashSet<&str> = held.iter().map(|held| &*held.name).collect();
    assert_eq!(names.len(), COUNT);
    let started = kernel.started();
    assert_eq!(started.len(), COUNT, "a thread for each");
    assert!(started.iter().all(|started| started.spec.role == Role::Worker));
    for story in kernel.iopub.stories(&cells, |last| last == "input") {
        assert_eq!(story, "busy input");
    }
    drop(held);
    assert_eq!(kernel.outcomes(&cells), vec!["idle; ok"; COUNT]);
    // One worker is kept for the next cell, the others end.
    for _ in 0..COUNT - KEPT {
        assert_eq!(kernel.next_ended(), WORKER);
    }
    let next = kernel.execute("# thread\nok");
    assert_eq!(kernel.outcome(&next), RAN);
    assert_eq!(kernel.started().len(), COUNT);
    kernel.release(&first, gate);
    assert_eq!(kernel.outcome(&behind), RAN);
}

#[test]
fn control_answers_while_shell_and_threads_are_held() {
    let mut kernel = TestKernel::start();
    let (first, gate) = kernel.hold(None, "hold gate");
    let (second, other) = kernel.hold(None, "# thread\nhold other");
    kernel.answers();
    let sent = kernel.send(Channel::Control, ALICE, &cell("# task\nwhere"));
    ran_on(&mut kernel, Channel::Control, &sent, "control");
    kernel.release(&first, gate);
    kernel.release(&second, other);
}

#[test]
fn a_mode_that_says_nothing_sensible_is_refused_at_once_and_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    let bad = ["thread nam=x", "thread backend=curio", "thread name='x", "thread use_uvloop=maybe"];
    for subshell_id in [None, Some(&*subshell)] {
        let (first, gate) = kernel.hold(subshell_id, "hold gate");
        let queued: Vec<Sent> = (0..3)
            .map(|_| with_mode(&mut kernel, Channel::Shell, subshell_id, "nowhere", "", cell("ok")))
            .collect();
        for place in PLACES {
            // "# tomorrow" is a comment, and "tomorrow" a tag like others.
            let words: &[&str] =
                if ["header", "metadata"].contains(&place) { &["tomorrow", ""] } else { &[] };
            for mode in bad.iter().chain(words) {
                for channel in BOTH {
                    let sent = with_mode(&mut kernel, channel, subshell_id, place, mode, cell("print never"));
                    let (ename, evalue) = kernel.cell_refused(channel, &sent);
                    assert_eq!(ename, "RunModeError");
                    let told = RunMode::parse(mode).unwrap_err().to_string();
                    assert_eq!(evalue, told);
                }
            }
        }
        let behind = with_mode(&mut kernel, Channel::Shell, subshell_id, "nowhere", "", cell("ok"));
        kernel.release(&first, gate);
        for sent in queued.iter().chain([&behind]) {
            assert_eq!(kernel.outcome(sent), RAN);
        }
    }
    assert_eq!(kernel.started().len(), 1, "the subshell's only");
}

#[test]
fn a_silent_cell_that_is_refused_shows_no_error() {
    let mut kernel = TestKernel::start();
    let content = ExecuteRequest { silent: true, ..cell("print never") };
    let sent = with_mode(&mut kernel, Channel::Shell, None, "header", "tomorrow", content);
    assert_eq!(kernel.refused(Channel::Shell, &sent), "RunModeError");
}

#[test]
fn another_backend_than_the_caller_has_is_refused_and_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("# thread name=X\nwhere");
    ran_on(&mut kernel, Channel::Shell, &sent, "X");
    let (first, gate) = kernel.hold(None, "hold gate");
    let queued = kernel.execute("ok");
    let sent = kernel.execute("# thread name=X backend=trio\nprint never");
    let (ename, evalue) = kernel.cell_refused(Channel::Shell, &sent);
    let problem = CallerError::Backend { name: "X".into(), has: Backend::Asyncio, wanted: Backend::Trio };
    assert_eq!((&*ename, evalue), ("CallerError", problem.to_string()));
    // The one that it has may be named.
    let sent = kernel.execute("# thread name=X backend=asyncio\nwhere");
    ran_on(&mut kernel, Channel::Shell, &sent, "X");
    let sent = kernel.execute("# thread name=Y backend=trio\nwhere");
    ran_on(&mut kernel, Channel::Shell, &sent, "Y");
    kernel.release(&first, gate);
    assert_eq!(kernel.outcome(&queued), RAN);
    let backends: Vec<_> = kernel.started().iter().map(|started| started.spec.backend).collect();
    assert_eq!(backends, [Backend::Asyncio, Backend::Trio]);
}

#[test]
fn a_task_or_thread_that_fails_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    for subshell_id in [None, Some(&*subshell)] {
        let (first, gate) = kernel.hold(subshell_id, "await gate");
        let plain = |kernel: &mut TestKernel| {
            with_mode(kernel, Channel::Shell, subshell_id, "nowhere", "", cell("ok"))
        };
        let mut queued = vec![plain(&mut kernel)];
        for mode in ["task", "thread", "thread name=X"] {
            let failing =
                with_mode(&mut kernel, Channel::Shell, subshell_id, "first line", mode, cell("fail"));
            queued.push(plain(&mut kernel));
            assert_eq!(kernel.outcome(&failing), FAILED, "{mode}");
        }
        kernel.release(&first, gate);
        for sent in &queued {
            assert_eq!(kernel.outcome(sent), RAN);
        }
    }
}

#[test]
fn a_failing_cell_aborts_no_task_and_no_thread() {
    let mut kernel = TestKernel::start();
    for _ in 0..20 {
        // All of it is there when the cell fails.
        kernel.shell.peer.delay();
        let failing = kernel.execute("fail");
        let queued = kernel.execute("print never");
        let task = kernel.execute("# task\nok");
        let thread = kernel.execute("# thread\nok");
        let last = kernel.execute("print never");
        kernel.shell.peer.resume();
        let outcomes = kernel.outcomes(&[&failing, &queued, &task, &thread, &last]);
        assert_eq!(outcomes, [FAILED, ABORTED, RAN, RAN, ABORTED]);
    }
}

#[test]
fn the_error_of_a_task_goes_to_the_client_that_sent_it() {
    let mut kernel = TestKernel::start();
    for code in ["# task\nfail", "# thread\nfail"] {
        let one = kernel.send(Channel::Shell, "alice", &cell("ok"));
        let two = kernel.send(Channel::Shell, "bob", &cell(code));
        // `outcomes` checks whom each reply goes to.
        assert_eq!(kernel.outcomes(&[&one, &two]), [RAN, FAILED]);
    }
}

#[test]
fn a_cell_whose_thread_forgets_it_is_answered_and_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let (first, gate) = kernel.hold(None, "hold gate");
    let queued = kernel.execute("ok");
    let sent = kernel.execute("# thread\nvanish");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "# thread\nvanish");
    assert_eq!(kernel.iopub.stories(&[&sent], |last| last == "idle"), ["error:CallerStopped idle"]);
    assert_eq!(kernel.shell.reply::<ErrorReply>(&sent).ename, "CallerStopped");
    kernel.release(&first, gate);
    assert_eq!(kernel.outcome(&queued), RAN);
}
